"""The learning rate over time, as a share of its peak."""

from __future__ import annotations

from collections.abc import Callable

N_FIRST = 10  # updates in which a steady rate is reached


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
