"""Weights in a mapping of their own, which the system gets back with the last of them.

The C library keeps what is freed until it is asked, several times what a small fit
needs, and nobody knows when an estimator will be dropped.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterable

import torch
from torch import Tensor, nn

ALIGNMENT = 64  # bytes, as torch aligns a tensor


def move_to_one_piece(parameters: Iterable[nn.Parameter]) -> None:
    """Put weights one behind the other where that helps, which is on Linux.

    Parameters
    ----------
    parameters : iterable of Parameter
        In float32, on the CPU. Their data move, with the same values.
    """
    weights = list(dict.fromkeys(parameters))
    if sys.platform != "linux" or not weights:
        return
    sizes = [-(-p.nbytes // ALIGNMENT) * ALIGNMENT for p in weights]
    # Private: what a forked process writes must not be seen by its parent.
    piece = mmap.mmap(-1, sum(sizes), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    begin = 0
    for parameter, size in zip(weights, sizes, strict=True):
        flat: Tensor = torch.frombuffer(
            piece, dtype=torch.float32, count=parameter.numel(), offset=begin
        )
        parameter.data = flat.view(parameter.shape).copy_(parameter.data)
        begin += size
