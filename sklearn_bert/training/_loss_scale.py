"""The factor on a loss in float16, which keeps small gradients from becoming 0.

P. Micikevicius et al., "Mixed Precision Training", ICLR 2018, section 3.2.

Proof: scale, steps and weights are those of `torch.amp.GradScaler`, bit for bit
(`tests/training/test_loss_scale.py`). Not yet measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from sklearn_bert.compute._inference import REMEDY

# Those of torch.amp.GradScaler.
FIRST_SCALE = 2.0**16
LARGEST_SCALE = 2.0**127  # of float32
GROW_AFTER = 2000  # updates
# Overflows in a row: the scale is below 1 by then, and not the cause.
MOST_IN_A_ROW = 20


class LossScale:
    """Scales losses up before the backward pass, and gradients down after it.

    Float16 has numbers from 6e-8 to 65504, and many gradients are below. The scale is
    as large as they allow: it is halved where one has overflowed, and doubled after
    2000 updates in which none has.

    The arithmetic is that of `torch.amp.GradScaler`, which does not say whether it has
    skipped an update: the learning rate must not move on then.

    Attributes
    ----------
    scale : float
    """

    def __init__(self) -> None:
        self.scale = FIRST_SCALE
        self._n_good = 0  # updates since the scale has last changed
        self._n_bad = 0  # that have overflowed in a row

    def unscale(self, weights: Iterable[Tensor]) -> bool:
        """Divide the gradients of weights by the scale, and say whether to step.

        The scale is then that of the next attempt.

        Here alone an update waits for the device: after its backward pass, for one
        number. The device idles until the next kernel, and not while the texts of the
        next batch are laid out.

        Returns
        -------
        bool
            False: one of them has overflowed.

        Raises
        ------
        FloatingPointError
            Where it is not the scale that they overflow of.
        """
        gradients = [w.grad for w in weights if w.grad is not None]
        device = gradients[0].device
        overflow = torch.zeros((), device=device)
        inverse = torch.full((), 1 / self.scale, device=device)
        torch._amp_foreach_non_finite_check_and_unscale_(gradients, overflow, inverse)
        if not overflow.item():
            self._n_good += 1
            self._n_bad = 0
            if self._n_good == GROW_AFTER:
                self.scale = min(2 * self.scale, LARGEST_SCALE)
                self._n_good = 0
            return True
        self.scale /= 2
        self._n_good = 0
        self._n_bad += 1
        if self._n_bad == MOST_IN_A_ROW:
            raise FloatingPointError(
                f"the gradients of {MOST_IN_A_ROW} updates in a row have overflowed in "
                f"float16; training has diverged. {REMEDY}"
            )
        return False

    def state(self) -> dict[str, Any]:
        """Return what `put_back` takes, as plain data."""
        return {"scale": self.scale, "n_good": self._n_good, "n_bad": self._n_bad}

    def put_back(self, state: dict[str, Any]) -> None:
        """Go on from where `state` was called."""
        scale = float(state["scale"])
        counts = [int(state[name]) for name in ("n_good", "n_bad")]
        if not 0 < scale <= LARGEST_SCALE or min(counts) < 0:
            raise ValueError(f"the scale of its losses is none: {state}")
        self.scale = scale
        self._n_good, self._n_bad = counts
