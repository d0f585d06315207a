"""Which weights are stepped alike, at what share of the rate; the rate over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

# The head starts from nothing and the encoder does not, so the head takes longer steps;
# still longer ones where it learns alone and can spoil nothing below it.
HEAD_RATE = 10.0
LONE_HEAD_RATE = 100.0
N_FIRST = 10  # updates in which a steady rate is reached


def parameter_groups(
    named_parameters: Iterable[tuple[str, Tensor]],
    weight_decay: float,
    rate_factors: Mapping[str, float] | None = None,
    *,
    new_parameters: tuple[str, ...] = ("head.",),
) -> list[dict[str, Any]]:
    """Group the weights that are stepped alike: by weight decay and factor on the rate.

    Matrices decay; biases and the scales of norms, which are vectors, do not (as in
    Devlin et al., 2019, appendix A.2).

    Parameters
    ----------
    named_parameters : iterable of (str, Tensor)
    weight_decay : float
    rate_factors : mapping of str to float, or None
        By parameter, from `layer_factors`; None: 1.
    new_parameters : tuple of str
        How the names of weights begin that start from nothing.
    """
    named = list(named_parameters)
    is_alone = all(name.startswith(new_parameters) for name, _ in named)
    head_rate = LONE_HEAD_RATE if is_alone else HEAD_RATE
    # AdamW steps a group in one kernel: few groups, whatever the number of layers.
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for name, parameter in named:
        factor = 1.0 if rate_factors is None else rate_factors[name]
        if name.startswith(new_parameters):
            factor = head_rate
        groups.setdefault((factor, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if is_matrix else 0.0,
            "rate_factor": factor,
        }
        for (factor, is_matrix), parameters in groups.items()
    ]


def layer_factors(
    depths: Mapping[str, int], layer_decay: float
) -> dict[str, float] | None:
    """Return the share of the rate of each parameter: less, the farther below the head.

    K. Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than
    Generators", ICLR 2020, appendix B: the top layer steps at `layer_decay` times the
    rate, the one below at its square, the embeddings last. None: all step alike.
    """
    if layer_decay == 1:
        return None
    return {name: float(layer_decay) ** depth for name, depth in depths.items()}


def steady(update: int) -> float:
    """Return the peak rate, where nobody knows how many updates there will be.

    It is reached after ten updates, because AdamW begins with steps of full length in
    every direction, until it has seen which gradients last.
    """
    return min(1.0, (update + 1) / N_FIRST)


def warmup_then_decay(n_updates: int, warmup: float) -> Callable[[int], float]:
    """Make a rate that goes up in a line, and then down in a line.

    Parameters
    ----------
    n_updates : int
        Updates of the whole fit.
    warmup : float
        Share of the updates that it takes to reach the peak.

    Returns
    -------
    callable
        From the number of updates done to a share of the peak rate. It is never 0, so
        that neither the first nor the last update is lost.
    """
    n_warmup = int(warmup * n_updates)
    n_decay = n_updates - n_warmup

    def share(update: int) -> float:
        if update < n_warmup:
            return (update + 1) / (n_warmup + 1)
        return max(n_updates - update, 1) / max(n_decay, 1)

    return share
