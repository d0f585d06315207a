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
    """Return the bytes of contiguous weights on the CPU, and where each one lies."""
    layout: Layout = []
    begin = 0
    for name, value in weights.items():
        dtype = str(value.dtype).removeprefix("torch.")
        layout.append((name, dtype, list(value.shape), begin))
        begin += -(-value.nbytes // ALIGNMENT) * ALIGNMENT
    array = np.zeros(begin, np.uint8)
    for value, (*_, start) in zip(weights.values(), layout, strict=True):
        content = value.reshape(-1).view(torch.uint8).numpy()
        array[start : start + len(content)] = content
    return layout, array


def from_array(layout: Layout, array: np.ndarray) -> dict[str, Tensor]:
    """Return the weights that `to_array` put there; nothing is copied.

    Where the array is read-only, as memory that processes share is, a write into one of
    them would end the process.
    """
    memory = array if array.flags.writeable else _unguarded(array)
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


def _unguarded(array: np.ndarray) -> Any:
    """Return a read-only array's memory as a buffer of which torch does not warn."""
    memory: Any = (ctypes.c_uint8 * array.nbytes).from_address(array.ctypes.data)
    memory.array = array  # which keeps the memory
    return memory
