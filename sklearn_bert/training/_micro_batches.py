"""How a batch is cut into the parts that pass through a model at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sklearn_bert.compute._memory import nothing_fits
from sklearn_bert.model._recompute import Checkpointing, can_checkpoint
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.training._examples import Examples

# Tokens that pass through a model at a time on a CPU: what they leave for the backward
# pass stays near its caches. Whatever the number of cores, for a seed to mean the same.
TRAINING_TOKENS = 1024


class MicroBatches:
    """Cuts batches into parts, smaller ones when memory has run out.

    First the layers keep less for the backward pass, if that is allowed; then the parts
    are halved until they fit. They stay as small for the rest of the fit, because what
    has run out once would again.

    Parameters
    ----------
    model : TextModel
    device : torch.device
    batch_size : int
    checkpointing : bool or "auto"
        Whether to compute the layers' insides again in the backward pass instead of
        keeping them; "auto": when memory runs out, before batches are halved.

    Attributes
    ----------
    size : int
        Texts, or windows of texts, in a part.
    """

    def __init__(
        self,
        model: TextModel,
        device: torch.device,
        batch_size: int,
        checkpointing: bool | str,
    ) -> None:
        self.size = batch_size
        self._encoder: Any = model.encoder
        self._device = device
        self._checkpointing: Checkpointing | None = None
        self._may_keep_less = (
            checkpointing == "auto"
            and model.encoder is not None
            and can_checkpoint(model.encoder)
        )
        if checkpointing is True:
            self._keep_less()

    def parts(self, examples: Examples, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Return what of a batch passes through the model at a time."""
        if self._device.type != "cpu":
            return examples.parts(rows, self.size)
        # The order within a batch does not matter to the sum of its gradients.
        lengths = replace(examples, rows=rows).lengths()
        rows = rows[np.argsort(lengths, kind="stable")]  # little padding in each part
        return examples.parts(rows, self.size, TRAINING_TOKENS)

    def make_smaller(self, examples: Examples, rows: np.ndarray, shortage: str) -> None:
        """Make do with less memory than a batch has just asked for.

        Raises
        ------
        BertOutOfMemoryError
            Where not even one text fits; `shortage` is what torch said.
        """
        if self._may_keep_less:
            self._keep_less()
            return
        n_rows = len(rows)
        if examples.windows is not None:
            n_rows = int(examples.windows.counts[rows].sum())
        tried = min(self.size, n_rows)
        if tried == 1:
            if examples.windows is not None:
                rows = examples.windows.take(rows).rows()
            n_tokens = int(examples.table.lengths[rows].max())
            raise nothing_fits("training", self._device, len(rows), n_tokens, shortage)
        # Half of what was tried, not of the size: a last batch may be smaller.
        self.size = tried // 2

    def finish(self) -> None:
        """Let the layers keep everything again."""
        if self._checkpointing is not None:
            self._checkpointing.stop()

    def _keep_less(self) -> None:
        self._may_keep_less = False
        if self._encoder is not None:
            self._checkpointing = Checkpointing(self._encoder)
