"""From the values of a text's windows to those of the text, in NumPy.

What `compute._windows` and the objectives do with tensors. Each function takes the
values of windows, (n_windows, width), the share of its text that is new in each, and
where in them each text begins.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

MergeWindows = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def mean(values: np.ndarray, shares: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Average the windows of each text, by their shares of it."""
    return np.add.reduceat(values * shares[:, None], begins)


def maximum(values: np.ndarray, shares: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Take the maximum over the windows of each text."""
    return np.maximum.reduceat(values, begins)


def log_of_mean_softmax(
    scores: np.ndarray, shares: np.ndarray, begins: np.ndarray
) -> np.ndarray:
    """Average the probabilities of classes, and return their logarithms."""
    scores = scores - scores.max(axis=1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return _log_sum(logs + np.log(shares)[:, None], begins)


def logit_of_mean_sigmoid(
    scores: np.ndarray, shares: np.ndarray, begins: np.ndarray
) -> np.ndarray:
    """Average the probability of each label, and return the logits."""
    # The two sides apart: 1 - p would lose what is close to 1.
    log_shares = np.log(shares)[:, None]
    yes = log_shares - np.logaddexp(0, -scores)
    no = log_shares - np.logaddexp(0, scores)
    return _log_sum(yes, begins) - _log_sum(no, begins)


def _log_sum(logs: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Add up what the rows of each text are logarithms of; the logarithm of the sum."""
    # The largest of a text is taken out first: the others cannot overflow beside it.
    top = np.maximum.reduceat(logs, begins)
    counts = np.diff(begins, append=len(logs))
    shares = np.exp(logs - np.repeat(top, counts, axis=0))
    return top + np.log(np.add.reduceat(shares, begins))
