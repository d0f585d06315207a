import pytest
import torch

from sklearn_bert.compute._memory import give_back, is_shortage, nothing_fits


@pytest.mark.parametrize(
    "words",
    [
        "MPS backend out of memory (MPS allocated: 7.50 GB)",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "level_zero failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
        "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_every_device_has_its_words(words):
    """A shortage is known by its words, where torch has no class for it."""
    assert is_shortage(RuntimeError(words))
    assert not is_shortage(ValueError(words))
    assert not is_shortage(RuntimeError("CUDA error: device-side assert triggered"))


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_every_gpu_gives_back(monkeypatch, kind):
    """The cache of the device's own kind is emptied."""
    emptied = []
    for name in ("cuda", "mps", "xpu"):
        module = torch.get_device_module(name)
        monkeypatch.setattr(
            module, "empty_cache", lambda name=name: emptied.append(name)
        )
    give_back(torch.device(kind))
    assert emptied == [kind]


@pytest.mark.parametrize(("kind", "free"), [("cuda", 7), ("xpu", 7), ("mps", 4)])
def test_the_free_bytes_of_every_gpu_are_named(monkeypatch, kind, free):
    """The error has the bytes that are free, as the device's own kind counts them."""
    module = torch.get_device_module(kind)
    for name, answer in (
        ("mem_get_info", lambda device: (7_000, 9_000)),
        ("recommended_max_memory", lambda: 6_000),
        ("driver_allocated_memory", lambda: 2_000),
    ):
        monkeypatch.setattr(module, name, answer, raising=False)
    error = nothing_fits("training", torch.device(kind), 8, 5, "out of memory")
    assert f"{free},000 bytes are free" in str(error)
