"""Which weights are trained how: parameter groups, and the learning rate over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

# The head starts from nothing and the encoder does not, so the head takes longer steps;
# still longer ones where it learns alone and can spoil nothing below it.
HEAD_RATE = 10.0
LONE_HEAD_RATE = 100.0


def parameter_groups(
    named_parameters: Iterable[tuple[str, Tensor]], weight_decay: float
) -> list[dict[str, Any]]:
    """Weights that are stepped alike: `weight_decay`, and a factor on the rate.

    Matrices decay; biases and the scales of norms, which are vectors, do not (as in
    Devlin et al., 2019, appendix A.2).
    """
    named = list(named_parameters)
    is_alone = all(name.startswith("head.") for name, _ in named)
    head_rate = LONE_HEAD_RATE if is_alone else HEAD_RATE
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in named:
        kind = (name.startswith("head."), parameter.ndim > 1)
        groups.setdefault(kind, []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if is_matrix else 0.0,
            "rate_factor": head_rate if is_head else 1.0,
        }
        for (is_head, is_matrix), parameters in groups.items()
    ]


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
