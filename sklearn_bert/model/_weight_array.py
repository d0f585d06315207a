"""Weights one behind the other in one array, whose memory processes can share.

A pickle passes the bytes of a NumPy array on beside itself where it is asked to
(protocol 5, as Ray and Dask do), and joblib maps an array of more than a megabyte into
all of its workers. Neither knows a tensor.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_bert.model._one_piece import ALIGNMENT

# Of each weight its name, its dtype in torch, its shape, and where its bytes begin.
Layout = list[tuple[str, str, list[int], int]]


def to_array(weights: Mapping[str, Tensor]) -> tuple[Layout, np.ndarray]:
    """Return the bytes of contiguous weights on the CPU, and where each one lies.

    Nothing is copied where they lie so already, as after `move_to_one_piece`.
    """
    layout: Layout = []
    size = 0
    for name, value in weights.items():
        dtype = str(value.dtype).removeprefix("torch.")
        layout.append((name, dtype, list(value.shape), size))
        size += -(-value.nbytes // ALIGNMENT) * ALIGNMENT
    values, starts = list(weights.values()), [start for *_, start in layout]
    first = values[0].data_ptr()
    if all(v.data_ptr() - first == at for v, at in zip(values, starts, strict=True)):
        return layout, np.frombuffer(_memory_at(first, size, keep=values), np.uint8)
    array = np.zeros(size, np.uint8)
    for value, start in zip(values, starts, strict=True):
        content = value.reshape(-1).view(torch.uint8).numpy()
        array[start : start + len(content)] = content
    return layout, array


def from_array(layout: Layout, array: np.ndarray) -> dict[str, Tensor]:
    """Return the weights that `to_array` put there; nothing is copied.

    Where the array is read-only, as memory that processes share is, a write into one of
    them would end the process.
    """
    memory: Any = array
    if not array.flags.writeable:  # of which torch would warn
        memory = _memory_at(array.ctypes.data, array.nbytes, keep=array)
    return {
        name: _view(memory, getattr(torch, dtype), shape, start)
        for name, dtype, shape, start in layout
    }


def _view(memory: Any, dtype: torch.dtype, shape: list[int], start: int) -> Tensor:
    count = math.prod(shape)
    if not count:  # frombuffer refuses it
        return torch.empty(shape, dtype=dtype)
    flat: Tensor = torch.frombuffer(memory, dtype=dtype, count=count, offset=start)
    return flat.reshape(shape)


def _memory_at(address: int, size: int, *, keep: Any) -> Any:
    """Return memory as a buffer, which keeps what the memory belongs to."""
    memory: Any = (ctypes.c_uint8 * size).from_address(address)
    memory.keeps = keep
    return memory
