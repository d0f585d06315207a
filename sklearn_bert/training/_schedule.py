"""Which weights are trained how: parameter groups, and the learning rate over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor


def parameter_groups(
    named_parameters: Iterable[tuple[str, Tensor]], weight_decay: float
) -> list[dict[str, Any]]:
    """Two groups: matrices decay; biases and the scales of norms do not.

    As in BERT (Devlin et al., 2019, appendix A.2): biases and LayerNorm are vectors.
    """
    matrices: list[Tensor] = []
    vectors: list[Tensor] = []
    for _, parameter in named_parameters:
        (matrices if parameter.ndim > 1 else vectors).append(parameter)
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def warmup_then_decay(n_updates: int, warmup: float) -> Callable[[int], float]:
    """Share of the peak rate at each update: up in a line, then down in a line.

    Parameters
    ----------
    n_updates : int
        Updates of the whole fit.
    warmup : float
        Share of the updates that it takes to reach the peak.

    Returns
    -------
    callable
        Takes the number of updates done so far. Never 0, so that neither the first nor
        the last update is lost.
    """
    n_warmup = int(warmup * n_updates)
    n_decay = n_updates - n_warmup

    def share(update: int) -> float:
        if update < n_warmup:
            return (update + 1) / (n_warmup + 1)
        return max(n_updates - update, 1) / max(n_decay, 1)

    return share
