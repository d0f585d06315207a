"""The device: where to compute, how precisely, and when its memory runs out."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sklearn_bert._process._launch import local_rank
from sklearn_bert._process._warn import warn
from sklearn_bert.text._columns import excerpt

# glibc keeps what is freed, several times what a small fit needs, until it is asked.
_TRIM = None
if sys.platform == "linux":
    _TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)
# How torch and oneDNN say that a CPU has no memory left: they have no class for that.
_CPU_SHORTAGES = (
    *("can't allocate memory", "not enough memory", "bad_alloc"),
    *("could not create a memory object", "Cannot allocate memory"),
)


def resolve_device(device: str) -> torch.device:
    """Return the device of that name; `"auto"` is the first GPU, or else the CPU.

    Of the processes that a launcher has started on a machine each has a GPU of its own
    for the first, as far as there are so many.

    Raises
    ------
    ValueError
        Where the name is no device, or this machine has none of that kind.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    # torch accepts names of devices that the machine lacks, and fails much later.
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device is {excerpt(device)}; expected 'auto', 'cpu', 'cuda' or "
            "'cuda:<number>'."
        ) from error
    if not _is_here(resolved):
        raise ValueError(
            f"device is {device!r}, which this machine does not have; use "
            "device='auto' to take a GPU only where there is one."
        )
    rank = local_rank()
    if device == "cuda" and rank is not None:
        return torch.device("cuda", rank % torch.cuda.device_count())
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


# -- memory ------------------------------------------------------------------------


class BertOutOfMemoryError(torch.OutOfMemoryError):
    """Not even one text fits into the memory of the device."""

    __module__ = "sklearn_bert"


def give_back(device: torch.device) -> None:
    """Give the device's memory that is no longer used back to other processes."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif _TRIM is not None:
        _TRIM(0)


def is_shortage(error: BaseException) -> bool:
    """Return whether an error says that there is too little memory, of a GPU or CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if not isinstance(error, (RuntimeError, OSError)):
        return False
    return any(words in str(error) for words in _CPU_SHORTAGES)


@contextmanager
def shortage_named(what: str) -> Iterator[None]:
    """Raise BertOutOfMemoryError where memory runs out in here, and no batch is halved.

    Parameters
    ----------
    what : str
        What is done, for the message.
    """
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        if isinstance(error, BertOutOfMemoryError) or not is_shortage(error):
            raise
        raise BertOutOfMemoryError(
            f"memory ran out while {what}. Hand in fewer texts at a time, lower "
            "max_length, hidden_size or n_layers, or choose a smaller checkpoint. "
            f"{_first_line(str(error))}"
        ) from error


def make_room(device: torch.device) -> None:
    """Free whatever can be freed, also what only refers to itself; slow."""
    gc.collect()  # an error's frames and their tensors refer to each other
    give_back(device)


def nothing_fits(
    what: str, device: torch.device, n_texts: int, n_tokens: int, shortage: str
) -> BertOutOfMemoryError:
    """Return the error to raise when the batch cannot be made smaller.

    Parameters
    ----------
    what : {"training", "predicting"}
    n_texts, n_tokens : int
        Size of the batch that was asked for, and of its longest text.
    shortage : str
        torch's own words, which tell the bytes needed; the first line of them is shown.
    """
    remedy = "Lower max_length or choose a smaller checkpoint"
    if what == "training":
        remedy += ", or set trainable='head' or adapter='lora'"
    return BertOutOfMemoryError(
        f"{device} ran out of memory while {what}: a batch of {n_texts} texts was "
        f"divided down to one text of {n_tokens} tokens, which does not fit either; "
        f"{_free_bytes(device)} bytes are free. {remedy}. {_first_line(shortage)}"
    )


def no_room_to_step(
    device: torch.device, n_weights: int, shortage: str
) -> BertOutOfMemoryError:
    """Return the error to raise when the optimizer's moments do not fit.

    Parameters
    ----------
    n_weights : int
        How many weights learn.
    shortage : str
        torch's own words.
    """
    return BertOutOfMemoryError(
        f"{device} ran out of memory while stepping {n_weights:,} weights, for which "
        f"the optimizer takes {8 * n_weights:,} bytes; {_free_bytes(device)} bytes are "
        "free. Set trainable to a number of top layers or adapter='lora', or choose a "
        f"smaller checkpoint. {_first_line(shortage)}"
    )


def _free_bytes(device: torch.device) -> str:
    if device.type != "cuda":
        return "unknown"
    return f"{torch.cuda.mem_get_info(device)[0]:,}"


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
