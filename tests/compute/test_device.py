import random

import numpy as np
import pytest
import torch

from sklearn_bert._process._random import OWN, seeded
from sklearn_bert.compute import _device
from sklearn_bert.compute._device import (
    available_device,
    check_not_forked,
    matmul_precision,
    resolve_device,
    resolve_precision,
)

CPU = torch.device("cpu")


def test_auto_takes_a_gpu_only_where_there_is_one():
    """ "auto" is the GPU, or the CPU if there is none."""
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected


@pytest.mark.parametrize(
    ("device", "message"),
    [("gpu", "expected 'auto'"), ("cuda:99", "does not have"), ("xpu", "not have")],
)
def test_impossible_devices_are_named(device, message):
    """A wrong device is an error that says what to write."""
    with pytest.raises(ValueError, match=f"'{device}'.*{message}"):
        resolve_device(device)


def test_launched_processes_have_a_gpu_each(monkeypatch):
    """The first GPU is another one for each process that a launcher has started."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda")
    for rank, gpu in enumerate([0, 1, 0]):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert resolve_device("auto") == torch.device("cuda", gpu)
        assert resolve_device("cuda") == torch.device("cuda", gpu)
        assert resolve_device("cuda:1") == torch.device("cuda", 1)
        assert resolve_device("cpu") == CPU


def test_fitted_model_falls_back_to_the_cpu():
    """A model from a machine with more GPUs works where there are fewer."""
    assert available_device("cuda:99") == CPU


def test_a_forked_process_is_told_that_it_has_no_gpu(monkeypatch):
    """After a fork CUDA cannot be used, which is said with its remedies."""
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    check_not_forked(CPU)
    with pytest.raises(RuntimeError, match="forked from one that had used cuda.*spawn"):
        check_not_forked(torch.device("cuda"))


@pytest.mark.parametrize(
    ("precision", "native", "expected"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
        ("float32", True, torch.float32),
        ("bfloat16", True, torch.bfloat16),
    ],
)
def test_precision_follows_the_hardware(monkeypatch, precision, native, expected):
    """bfloat16 is used where the hardware has it, float32 elsewhere."""
    monkeypatch.setattr(_device, "_has_native_bfloat16", lambda device: native)
    assert resolve_precision(precision, CPU) == expected


def test_emulated_bfloat16_is_not_used(monkeypatch):
    """Where bfloat16 would be emulated, float32 is used, and said."""
    monkeypatch.setattr(_device, "_has_native_bfloat16", lambda device: False)
    with pytest.warns(UserWarning, match="no native bfloat16; float32 is used"):
        assert resolve_precision("bfloat16", CPU) == torch.float32


def test_a_cpu_has_no_tf32():
    """Where there is no TF32, float32 is used, and said; on a GPU it is float32."""
    with pytest.warns(UserWarning, match="no native tf32; float32 is used"):
        assert resolve_precision("tf32", CPU) == torch.float32
    assert resolve_precision("tf32", torch.device("cuda")) == torch.float32


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("before", ["ieee", "tf32"])
def test_products_are_as_precise_as_asked_for(before):
    """Only "tf32" rounds products, whatever the caller has set; who gets it back."""
    device = torch.device("cuda")
    settings = torch.backends.cuda.matmul
    callers, settings.fp32_precision = settings.fp32_precision, before
    x = torch.randn(512, 512, device=device)
    exact = x.double() @ x.double()
    errors = {}
    try:
        for precision in ("float32", "tf32", "bfloat16"):
            with matmul_precision(precision, device):
                errors[precision] = (x @ x - exact).abs().max().item()
            assert settings.fp32_precision == before
    finally:
        settings.fp32_precision = callers
    assert errors["float32"] == errors["bfloat16"] < errors["tf32"] / 10


def test_seeded_numbers_repeat_and_the_caller_s_go_on():
    """Inside, numbers follow the seed; the caller's generators are not touched."""
    torch.manual_seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    with seeded(5, CPU):
        first = torch.rand(3, generator=OWN.cpu)
    with seeded(5, CPU):
        assert torch.equal(first, torch.rand(3, generator=OWN.cpu))
        with seeded(6, CPU):
            assert not torch.equal(first, torch.rand(3, generator=OWN.cpu))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])


def test_generators_are_restored_after_an_error():
    """An exception inside does not leave the seed behind."""

    def fail():
        with seeded(5, CPU):
            torch.rand(1 // 0)

    with pytest.raises(ZeroDivisionError, match="by zero"):
        fail()
    assert OWN.cpu is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_generators_are_restored():
    """The GPU's generator is as before, too."""
    before = torch.cuda.get_rng_state()
    with seeded(5, torch.device("cuda")):
        torch.rand(3, device="cuda")
    assert torch.equal(torch.cuda.get_rng_state(), before)
