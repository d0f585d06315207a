import random

import numpy as np
import pytest
import torch

from sklearn_bert._process._random import OWN, seeded
from sklearn_bert.compute._device import available_device, on_device, resolve_device

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_auto_takes_the_accelerator(pretend, kind, n):
    """ "auto" is the accelerator of this machine, or the CPU if there is none."""
    pretend(kind, n)
    assert resolve_device("auto") == torch.device(kind if n else "cpu")
    assert available_device(kind) == torch.device(kind if n else "cpu")


def test_auto_takes_no_accelerator_that_nobody_knows(monkeypatch):
    """What torch has beside CUDA, ROCm, MPS and XPU is left alone."""
    found = torch.device("mtia")
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda check_available: found
    )
    assert resolve_device("auto") == CPU


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "expected 'auto', 'cpu', 'cuda', 'mps', 'xpu'"),
        ("cuda:-1", "expected 'auto'"),
        ("meta", "does not have .'meta' is none of 'cpu', 'cuda', 'mps', 'xpu'"),
        ("cuda", "does not have .Torch not compiled with CUDA.*device='auto'"),
        ("xpu", "does not have .Torch not compiled with XPU"),
        ("mps", "does not have .this torch was built without MPS"),
    ],
)
def test_impossible_devices_are_named(pretend, device, message):
    """A wrong device is an error that says what to write, and why it is not here."""
    kind = device if device in ("cuda", "xpu", "mps") else "cuda"
    pretend(kind, 0)
    if kind != "mps" and torch.get_device_module(kind)._is_compiled():
        message = "does not have"
    if kind == "mps" and torch.backends.mps.is_built():
        message = "does not have .MPS needs an Apple GPU"
    with pytest.raises(ValueError, match=f"'{device}'.*{message}"):
        resolve_device(device)


def test_gpus_are_counted(pretend):
    """A number that is too high is an error that says how many there are."""
    pretend("cuda", 2)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(
        ValueError, match="'cuda:9'.*it has 2, and counts from 'cuda:0'"
    ):
        resolve_device("cuda:9")


def test_an_old_driver_is_told(pretend, monkeypatch):
    """A GPU that is there and cannot be used is an error with CUDA's own words."""
    pretend("cuda", 0)
    # NVML counts it all the same.
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)

    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found 11040).")

    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(ValueError, match="'cuda'.*driver on your system is too old"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    with pytest.raises(ValueError, match="'cuda'.*torch finds no cuda"):
        resolve_device("cuda")


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_launched_processes_have_a_gpu_each(kind, pretend, monkeypatch):
    """The first GPU is another one for each process that a launcher has started."""
    pretend(kind, 2)
    assert resolve_device("auto") == torch.device(kind)
    for rank, gpu in enumerate([0, 1, 0]):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert resolve_device("auto") == torch.device(kind, gpu)
        assert resolve_device(kind) == torch.device(kind, gpu)
        assert resolve_device(f"{kind}:1") == torch.device(kind, 1)
        assert resolve_device("cpu") == CPU


def test_fitted_model_falls_back_to_the_cpu():
    """A model from a machine with more GPUs works where there are fewer."""
    assert available_device("cuda:99") == CPU


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_a_forked_process_is_told_that_it_has_no_gpu(monkeypatch, kind):
    """After a fork a GPU cannot be used, which is said with its remedies."""
    module = torch.get_device_module(kind)
    monkeypatch.setattr(module, "_is_in_bad_fork", lambda: True)
    with on_device(CPU):
        pass
    message = f"forked from one that had used {kind}.*spawn"
    with pytest.raises(RuntimeError, match=message), on_device(torch.device(kind)):
        raise AssertionError("it computes")


def test_a_missing_operator_of_mps_has_a_remedy():
    """What Apple's GPUs lack is an error that says how to compute it elsewhere."""
    error = NotImplementedError("aten::x is not implemented for the MPS device")
    with pytest.raises(NotImplementedError) as caught, on_device(torch.device("mps")):
        raise error
    assert caught.value is error
    assert "PYTORCH_ENABLE_MPS_FALLBACK=1" in error.__notes__[0]
    other = NotImplementedError("not implemented")
    with pytest.raises(NotImplementedError), on_device(CPU):
        raise other
    assert not hasattr(other, "__notes__")


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


@pytest.mark.parametrize("name", ["cuda:1", "xpu", "xpu:1", "mps"])
def test_generators_of_every_gpu_are_restored(pretend, monkeypatch, name):
    """The generator of the device, and no other, follows the seed, and is put back."""
    device, generators = torch.device(name), [torch.Generator() for _ in range(2)]
    pretend(device.type, 2)
    if device.type == "mps":
        get = lambda: generators[0]  # noqa: E731
        monkeypatch.setattr(torch.mps, "_get_default_mps_generator", get)
    else:
        module = torch.get_device_module(device)
        monkeypatch.setattr(module, "default_generators", generators, raising=False)
        monkeypatch.setattr(module, "init", lambda: None)
        monkeypatch.setattr(module, "current_device", lambda: 0)
    own, other = generators[device.index or 0], generators[1 - (device.index or 0)]
    before = [generator.get_state() for generator in (own, other)]
    with seeded(5, device):
        assert OWN.gpu is own
        assert own.initial_seed() == 5
        torch.rand(3, generator=own)
        assert torch.equal(other.get_state(), before[1])
    assert OWN.gpu is None
    assert torch.equal(own.get_state(), before[0])
