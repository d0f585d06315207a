"""The losses of an epoch, kept on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sklearn_bert.compute._copies import Fetch
from sklearn_bert.compute._inference import REMEDY

CHECK_EVERY = 25  # updates between two looks at a GPU's losses


class EpochLosses:
    """Gathers one loss per update without waiting for it.

    Looks whether a loss is no longer finite: on a CPU after each update, on a GPU now
    and then; where CUDA is, at a copy that has arrived meanwhile.

    Parameters
    ----------
    n_updates : int
        Of the epoch.
    n_before : int
        Updates of earlier epochs, for the error.
    device : torch.device
    n_parts : int
        Losses of an update, which add up to the whole.
    may_overflow : bool
        Whether a loss may be infinite, and its update skipped, as in float16. A
        `LossScale` looks after that; an epoch of such losses alone is an error.
    """

    def __init__(
        self,
        n_updates: int,
        n_before: int,
        device: torch.device,
        n_parts: int = 1,
        *,
        may_overflow: bool = False,
    ) -> None:
        # Infinite, so that a loss that was never written cannot pass for one.
        shape, dtype = (n_updates, n_parts), torch.float32
        self._losses = torch.full(shape, torch.inf, dtype=dtype, device=device)
        self._n = 0
        self._n_before = n_before
        self._may_overflow = may_overflow
        self._copy: Fetch | None = None

    def append(self, loss: Tensor) -> None:
        """Note the loss of the next update."""
        self._losses[self._n] = loss
        self._n += 1
        if self._may_overflow:
            return
        if self._losses.device.type == "cpu":
            self._check(self._losses[self._n - 1 : self._n], self._n - 1)
        elif self._n % CHECK_EVERY == 0:
            self._look()

    def so_far(self) -> Tensor:
        """Return the losses that are there, on the CPU."""
        return self._losses[: self._n].cpu()

    def put_back(self, losses: Tensor, n_done: int) -> None:
        """Go on after the losses that `so_far` returned, after so many updates."""
        self._n = len(losses)
        self._losses[: self._n] = losses
        self._n_before = n_done - self._n

    def read(self) -> np.ndarray:
        """Return all losses, (n_updates, n_parts): here alone a GPU is waited for.

        Raises
        ------
        FloatingPointError
            Where one is not finite, naming the first such update.
        """
        losses = self._losses[: self._n].cpu()
        self._check(losses, 0)
        return losses.numpy()

    def _look(self) -> None:
        """Check the last copy if it is here, and send for the next."""
        if not self._losses.is_cuda:
            self._check(self.so_far(), 0)
            return
        if self._copy is not None:
            if not self._copy.has_arrived():
                return
            self._check(self._copy.result(), 0)
        self._copy = Fetch(self._losses[: self._n])

    def _check(self, losses: Tensor, n_earlier: int) -> None:
        totals = losses.sum(1)
        finite = torch.isfinite(totals)
        if finite.all() or (self._may_overflow and finite.any()):
            return
        place = int((~finite).nonzero()[0, 0])
        update = self._n_before + n_earlier + place + 1
        raise FloatingPointError(
            f"the loss of update {update} is {totals[place].item()}; training has "
            f"diverged. {REMEDY}"
        )


def average(losses: np.ndarray, weights: list[int]) -> float:
    """Average the losses of an epoch, without those that have overflowed."""
    finite = np.isfinite(losses)
    return float(np.average(losses[finite], weights=np.array(weights)[finite]))
