"""When the device's memory runs out."""

from __future__ import annotations

import gc

import torch


class BertOutOfMemoryError(torch.OutOfMemoryError):
    """Not even one text fits into the memory of the device."""

    __module__ = "sklearn_bert"


def free_memory(device: torch.device) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def nothing_fits(
    what: str, device: torch.device, n_texts: int, n_tokens: int, shortage: str
) -> BertOutOfMemoryError:
    """The error to raise when the batch cannot be made smaller.

    Parameters
    ----------
    what : str
        What was tried.
    n_texts, n_tokens : int
        Size of the batch that was asked for, and of the longest text that was tried.
    shortage : str
        torch's own words, which tell the bytes needed.
    """
    free = "unknown"
    if device.type == "cuda":
        free = f"{torch.cuda.mem_get_info(device)[0]:,}"
    return BertOutOfMemoryError(
        f"{device} ran out of memory while {what}: a batch of {n_texts} texts was "
        f"halved down to one text of {n_tokens} tokens, which does not fit either; "
        f"{free} bytes are free. Lower max_length, choose a smaller checkpoint, or set "
        f"trainable='head' or adapter='lora'. ({shortage.splitlines()[0]})"
    )
