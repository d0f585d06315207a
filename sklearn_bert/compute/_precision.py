"""The number formats that a device computes in fast, and the one to compute in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sklearn_bert._process._warn import warn

DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,  # in memory; `matmul_precision` sets how it is multiplied
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Return the number format of the encoder: a short one only where it is fast.

    A CPU without AMX or AVX512-BF16 emulates bfloat16 up to a hundred times slower than
    float32, so it is never used there, not even where it was asked for.
    """
    fast = (*fast_formats(device), "float32")
    if precision == "auto":
        precision = fast[0]
    elif precision not in fast:
        warn(
            f"precision={precision!r}, but this {device.type} has no native "
            f"{precision}; float32 is used."
        )
        precision = "float32"
    return DTYPES[precision]


def fast_formats(device: torch.device) -> tuple[str, ...]:
    """Return the formats other than float32 that a device computes in, best first."""
    if device.type == "cuda":
        # Not torch.cuda.is_bf16_supported, which asks the current device. AMD's count
        # otherwise: of them torch says that all have bfloat16.
        capability = torch.cuda.get_device_capability(device)
        if torch.version.hip is not None or capability >= (8, 0):
            return "bfloat16", "float16", "tf32"
        return ("float16",) if capability >= (7, 0) else ()
    if device.type == "xpu":
        properties = torch.xpu.get_device_properties(device)
        return ("bfloat16",) if properties.has_bfloat16_conversions else ()
    # torch names these two questions only in private.
    if device.type == "cpu" and (
        torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    ):
        return ("bfloat16",)
    return ()  # of MPS: nobody has measured anything shorter than float32


@contextmanager
def matmul_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Multiply float32 matrices exactly, or in TF32 where that was asked for.

    The caller's own setting is given back afterwards. Only CUDA has one.
    """
    if device.type != "cuda":  # a CPU multiplies as exactly as it can
        yield
        return
    # The setting belongs to the process, so it is changed only where it has to be.
    # "none" is torch's default, which multiplies exactly.
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    wanted = "tf32" if precision == "tf32" else "ieee"
    if wanted == ("ieee" if before == "none" else before):
        yield
        return
    settings.fp32_precision = wanted
    try:
        yield
    finally:
        settings.fp32_precision = before
