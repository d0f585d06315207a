"""The memory of a device: what is freed, and what is said when it runs out."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# glibc keeps what is freed, several times what a small fit needs, until it is asked.
_TRIM = None
if sys.platform == "linux":
    _TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)
# How a shortage is said where torch raises no OutOfMemoryError: by a CPU and oneDNN, by
# MPS, by CUDA and its libraries outside of torch's own allocator, and by XPU.
_SHORTAGES = (
    *("can't allocate memory", "not enough memory", "bad_alloc"),
    *("could not create a memory object", "Cannot allocate memory"),
    *("MPS backend out of memory", "CUDA error: out of memory"),
    *("STATUS_ALLOC_FAILED", "OUT_OF_DEVICE_MEMORY"),
)


class BertOutOfMemoryError(torch.OutOfMemoryError):
    """Not even one text fits into the memory of the device."""

    __module__ = "sklearn_bert"


def give_back(device: torch.device) -> None:
    """Give the device's memory that is no longer used back to other processes."""
    if device.type != "cpu":
        torch.get_device_module(device.type).empty_cache()
    elif _TRIM is not None:
        _TRIM(0)


def is_shortage(error: BaseException) -> bool:
    """Return whether an error says that there is too little memory, of a GPU or CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if not isinstance(error, (RuntimeError, OSError)):
        return False
    return any(words in str(error) for words in _SHORTAGES)


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
    if device.type == "cpu":
        return "unknown"
    if device.type == "mps":  # whose memory is that of the CPU, up to a limit
        limit = torch.mps.recommended_max_memory()
        return f"{limit - torch.mps.driver_allocated_memory():,}"
    return f"{torch.get_device_module(device.type).mem_get_info(device)[0]:,}"


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
