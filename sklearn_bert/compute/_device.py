"""Where to compute, how precisely, and with whose random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sklearn_bert._process._warn import warn


def resolve_device(device: str) -> torch.device:
    """Return the device of that name; `"auto"` is the first GPU, or else the CPU.

    Raises
    ------
    ValueError
        Where the name is no device, or this machine has none of that kind.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # torch accepts names of devices that the machine lacks, and fails much later.
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device is {device!r}; expected 'auto', 'cpu', 'cuda' or 'cuda:<number>'."
        ) from error
    if not _is_here(resolved):
        raise ValueError(
            f"device is {device!r}, which this machine does not have; use "
            "device='auto' to take a GPU only where there is one."
        )
    return resolved


def check_not_forked(device: torch.device) -> None:
    """Raise RuntimeError where a forked process would use its parent's GPU."""
    if device.type == "cuda" and torch.cuda._is_in_bad_fork():
        raise RuntimeError(
            f"this process was forked from one that had used {device}, which CUDA "
            "does not allow. Load the model in the forked process, start processes "
            "with 'spawn' instead of 'fork', or use device='cpu'."
        )


def available_device(device: str) -> torch.device:
    """Return the device of that name, or the CPU where this machine lacks it."""
    try:
        return resolve_device(device)
    except ValueError:
        return torch.device("cpu")


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Return the number format of the encoder: bfloat16 only where hardware has it.

    A CPU without AMX or AVX512-BF16 emulates bfloat16 up to a hundred times slower than
    float32, so it is never used there, not even where it was asked for.
    """
    # tf32 is float32 in memory; `matmul_precision` sets how it is multiplied.
    if precision == "float32" or (precision == "tf32" and device.type == "cuda"):
        return torch.float32
    if precision != "tf32" and _has_native_bfloat16(device):
        return torch.bfloat16
    if precision != "auto":
        warn(
            f"precision={precision!r}, but this {device.type} has no native "
            f"{precision}; float32 is used."
        )
    return torch.float32


@contextmanager
def matmul_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Multiply float32 matrices exactly, or in TF32 where that was asked for.

    The caller's own setting is given back afterwards. Only CUDA has one.
    """
    if device.type != "cuda":  # a CPU multiplies as exactly as it can
        yield
        return
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


def _is_here(device: torch.device) -> bool:
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"


def _has_native_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # torch names these two questions only in private.
        return (
            torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        )
    return False
