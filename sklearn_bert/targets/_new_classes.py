"""Classes that a fitted model does not know yet, and where their rows start."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from sklearn_bert.targets._descriptions import HeadInputs
from sklearn_bert.targets._labels import Labels
from sklearn_bert.targets._probe import STRENGTH, label_probe


def check_go_on(known: Labels, labels: Labels, *, may_grow: bool) -> None:
    """Raise ValueError where a head of some labels cannot go on with others.

    Parameters
    ----------
    known : Labels
        Of the earlier fit.
    labels : Labels
        All that there are from now on.
    may_grow : bool
        Whether there may be more.
    """
    before, now = known.classes.tolist(), labels.classes.tolist()
    is_like_before = type(labels) is type(known) and set(before) <= set(now)
    if not is_like_before or (len(now) > len(before) and not may_grow):
        raise ValueError(
            f"the classes are {now}, but those of the earlier call were {before}; "
            "training can only go on with the same ones, or more where partial_fit "
            "is told all of them as classes. Or set warm_start=False and call fit."
        )


def places_of(known: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return where each class that is known stands among all of them."""
    places: dict[Any, int] = {label: i for i, label in enumerate(classes.tolist())}
    return np.array([places[label] for label in known.tolist()])


def probe_new_classes(
    inputs: HeadInputs, weight: np.ndarray, bias: np.ndarray, is_new: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the rows of new classes to vectors, beside those that there are.

    Where texts have any number of labels, each new one is a regression of its own.
    Where they have one, it is that of all classes, of which only the rows of the new
    ones are free: texts of these become theirs, by as little as it takes, and those of
    the others stay where they are.

    Parameters
    ----------
    inputs : tuple of ndarray
        Vectors, targets and weights of texts; targets are codes, or an indicator.
    weight : ndarray of shape (n_known, width)
    bias : ndarray of shape (n_known,)
        The rows of the known classes, in order.
    is_new : ndarray of bool, of shape (n_classes,)

    Returns
    -------
    weight : ndarray of shape (n_new, width)
    bias : ndarray of shape (n_new,)
    """
    vectors, targets, weights = inputs
    if targets.ndim == 2:
        weights = np.broadcast_to(weights.reshape(len(targets), -1), targets.shape)
        return label_probe(vectors, targets[:, is_new], weights[:, is_new])
    width = vectors.shape[1]
    # The penalty is meant for vectors of length 1, as in `class_probe`. It is also on
    # the bias, which would have no bound where every text is of a new class.
    X = np.column_stack([vectors / np.sqrt(width), np.ones(len(vectors))])
    is_of = np.eye(len(is_new))[targets]
    scores = np.empty_like(is_of)
    scores[:, ~is_new] = vectors @ weight.T + bias

    def loss(rows: np.ndarray) -> tuple[float, np.ndarray]:
        rows = rows.reshape(-1, width + 1)
        scores[:, is_new] = X @ rows.T
        totals = logsumexp(scores, axis=1)
        value = weights @ (totals - (scores * is_of).sum(axis=1))
        errors = (np.exp(scores - totals[:, None]) - is_of)[:, is_new]
        slope = (errors * weights[:, None]).T @ X + rows / STRENGTH
        return value + (rows**2).sum() / (2 * STRENGTH), slope.ravel()

    start = np.zeros(is_new.sum() * (width + 1))
    rows = minimize(loss, start, jac=True, method="L-BFGS-B").x.reshape(-1, width + 1)
    return rows[:, :-1] / np.sqrt(width), rows[:, -1]
