"""Some texts of a table -> the tensors that a model takes, on its device.

Proof of packing: on a CPU, packed texts have the scores and gradients of padded ones
(`tests/model/test_attention.py`). Not yet measured on a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_bert.text._table import Table


class Feed:
    """Lays out rows of a table as those of a rectangle, or packed in one line.

    Parameters
    ----------
    device : torch.device
    pad_id : int
    packed : bool
        One line without padding, for attention that knows where a text ends.
    """

    def __init__(
        self, device: torch.device, pad_id: int, *, packed: bool = False
    ) -> None:
        self.device = device
        self.pad_id = pad_id
        self.packed = packed

    def __call__(
        self, table: Table, rows: np.ndarray, multiple: int | None = None
    ) -> dict[str, Any]:
        """Return the arguments of `TextModel` for these rows, on the device.

        With `multiple` a line of packed tokens is lengthened to one by a text of
        padding, which comes last.
        """
        batch = table.lay_out(rows, self.pad_id, packed=self.packed, multiple=multiple)
        return {
            name: value if isinstance(value, int) else self.move(torch.as_tensor(value))
            for name, value in batch.items()
        }

    def move(self, tensor: Tensor) -> Tensor:
        """Return the tensor on the device; a GPU fetches it while the CPU goes on."""
        # From pinned memory a copy runs beside the kernels of the batch before.
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)
