import types

import pytest
import torch

from sklearn_bert.compute._precision import matmul_precision, resolve_precision

CPU = torch.device("cpu")


@pytest.fixture
def cpu_with_bfloat16(monkeypatch):
    """A CPU that computes in bfloat16, or not."""

    def be(native):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)

    return be


@pytest.mark.parametrize(
    ("precision", "native", "expected"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
        ("float32", True, torch.float32),
        ("bfloat16", True, torch.bfloat16),
    ],
)
def test_precision_follows_the_processor(
    cpu_with_bfloat16, precision, native, expected
):
    """bfloat16 is used where the processor has it, float32 elsewhere."""
    cpu_with_bfloat16(native)
    assert resolve_precision(precision, CPU) == expected


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "tf32"])
def test_what_a_cpu_would_emulate_is_not_used(cpu_with_bfloat16, precision):
    """Where a format would be slow, float32 is used, and said."""
    cpu_with_bfloat16(False)
    with pytest.warns(UserWarning, match=f"no native {precision}; float32 is used"):
        assert resolve_precision(precision, CPU) == torch.float32


GPUS = {
    "Pascal": ((6, 1), "float32", ()),
    "Volta": ((7, 0), "float16", ("float16",)),
    "Turing": ((7, 5), "float16", ("float16",)),
    "Ampere": ((8, 0), "bfloat16", ("bfloat16", "float16", "tf32")),
    "Hopper": ((9, 0), "bfloat16", ("bfloat16", "float16", "tf32")),
}


@pytest.mark.parametrize(("capability", "best", "fast"), GPUS.values(), ids=GPUS)
def test_precision_follows_the_gpu(pretend, capability, best, fast):
    """ "auto" takes bfloat16, else float16, else float32; others if they are fast."""
    pretend("cuda", capabilities=[capability])
    gpu = torch.device("cuda")
    assert resolve_precision("auto", gpu) == getattr(torch, best)
    assert resolve_precision("float32", gpu) == torch.float32
    for precision in ("bfloat16", "float16", "tf32"):
        if precision in fast:
            expected = "float32" if precision == "tf32" else precision
            assert resolve_precision(precision, gpu) == getattr(torch, expected)
        else:
            with pytest.warns(
                UserWarning, match=f"this cuda has no native {precision}"
            ):
                assert resolve_precision(precision, gpu) == torch.float32


def test_each_of_two_gpus_is_asked(pretend):
    """The device that computes decides, not the current one."""
    pretend("cuda", n=2, capabilities=[(8, 6), (7, 5)])
    found = [resolve_precision("auto", torch.device("cuda", i)) for i in range(2)]
    assert found == [torch.bfloat16, torch.float16]


def test_amd_s_gpus_have_bfloat16(pretend, monkeypatch):
    """ROCm's capabilities are other numbers; of these torch says that they have it."""
    pretend("cuda", capabilities=[(7, 0)])
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert resolve_precision("auto", torch.device("cuda")) == torch.bfloat16


@pytest.mark.parametrize(
    ("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)]
)
def test_intel_s_gpus_are_asked(monkeypatch, native, expected):
    """An XPU has bfloat16 where torch says so."""
    properties = types.SimpleNamespace(has_bfloat16_conversions=native)
    monkeypatch.setattr(torch.xpu, "get_device_properties", lambda device: properties)
    assert resolve_precision("auto", torch.device("xpu", 1)) == expected


def test_apple_s_gpus_compute_in_float32():
    """MPS computes in float32, whatever was asked for; the rest is said."""
    gpu = torch.device("mps")
    assert resolve_precision("auto", gpu) == torch.float32
    with pytest.warns(UserWarning, match="this mps has no native float16; float32"):
        assert resolve_precision("float16", gpu) == torch.float32


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
