"""Read a file of safetensors."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from sklearn_bert._process._interrupts import interrupts_wait


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file; Ctrl-C waits until they are there.

    The library's C code turns an interrupt into an error of another type.
    """
    with interrupts_wait():
        return load_file(path)
