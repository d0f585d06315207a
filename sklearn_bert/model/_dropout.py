"""Dropout on a CPU, several times as fast as torch's.

torch draws one random number per entry, one at a time; here one number of 64 bits
serves four entries. Training BERT on short texts spends a tenth of its time on dropout.

Proof: the share and the scale of what is kept are torch's
(`tests/model/test_dropout.py`). On two cores of an Intel Sapphire Rapids with AMX
training on 160 short texts takes 1.19 times as long without it (1.03 to 1.29 in five
rounds; `benchmarks/results/ablation.json`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_bert._process._random import OWN
from sklearn_bert._process._techniques import uses

LEVELS = 2**16  # a rate is rounded to a multiple of 1 / LEVELS


def drop(x: Tensor, rate: float) -> Tensor:
    """Set a share of the entries to 0 and scale the others up, as torch's dropout.

    Parameters
    ----------
    x : Tensor
    rate : float
        At least 0 and less than 1; the probability of each entry to be dropped.
    """
    if x.device.type != "cpu":
        return functional.dropout(x, rate)
    n_draws = -(-x.numel() // 4)
    draws = torch.empty(n_draws, dtype=torch.int64, device=x.device)
    # `random_` up to None: all 64 bits are random, and each 16 of them are one number.
    draws.random_(-(2**63), None, generator=OWN.cpu)
    levels = draws.view(torch.int16)[: x.numel()].view(x.shape)
    lowest = min(round(rate * LEVELS), LEVELS - 1) - LEVELS // 2
    kept = levels.ge_(lowest)  # in place it stays a number: 0 or 1
    scale = torch.tensor(1 / (1 - rate), dtype=x.dtype, device=x.device)
    if x.dtype.itemsize == kept.dtype.itemsize:
        # The bits of the scale, or none: no number is converted, which takes longest.
        return x * kept.mul_(scale.view(kept.dtype)).view(x.dtype)
    return x * kept.to(x.dtype).mul_(scale)


class Dropout(nn.Dropout):
    """`nn.Dropout` that computes with `drop`."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop entries of a tensor of any shape, in training only."""
        if self.training and self.p > 0:
            return drop(x, self.p)
        return x


def use_own_dropout(model: nn.Module) -> None:
    """Replace every `nn.Dropout` of the model by a `Dropout`."""
    if not uses("own_dropout"):
        return
    for parent in model.modules():
        for name, child in parent.named_children():
            # Of this very class: a subclass may drop something else.
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p).train(child.training))
