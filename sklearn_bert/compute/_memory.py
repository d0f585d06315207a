"""When the device's memory runs out."""

from __future__ import annotations

import ctypes
import gc
import sys

import torch

# glibc keeps what is freed, several times what a small fit needs, until it is asked.
_TRIM = None
if sys.platform == "linux":
    _TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)
# How torch begins to say that a CPU has no memory left: it has no class for that.
_CPU_SHORTAGES = ("can't allocate memory", "not enough memory")


class BertOutOfMemoryError(torch.OutOfMemoryError):
    """Not even one text fits into the memory of the device."""

    __module__ = "sklearn_bert"


def give_back(device: torch.device) -> None:
    """Give the device's memory that is no longer used back to other processes."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif _TRIM is not None:
        _TRIM(0)


def is_shortage(error: Exception) -> bool:
    """Return whether this is torch's error for too little memory, of a GPU or CPU."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in _CPU_SHORTAGES)


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
