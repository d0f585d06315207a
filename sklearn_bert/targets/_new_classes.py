"""Classes that a fitted model does not know yet, and where their rows start."""

from __future__ import annotations

import numpy as np

from sklearn_bert.targets._descriptions import SCALE, HeadInputs
from sklearn_bert.targets._labels import Labels
from sklearn_bert.targets._probe import label_probe


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


def rows_of_new(
    inputs: HeadInputs, is_new: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Make the rows of new classes from vectors, beside those that were learnt.

    Where texts have any number of labels, each new one is a regression of its own.
    Where they have one, few texts may be of known classes, or none, and a regression
    would take every text for a new one. So a row points from the mean of the other
    texts (or from 0) to that of its own, and its score is 0 midway: the imprinted
    weights of H. Qi, M. Brown, D. G. Lowe, "Low-Shot Learning with Imprinted Weights",
    CVPR 2018, with a bias. It is as long as a row that is made of descriptions.

    Parameters
    ----------
    inputs : tuple of ndarray
        Vectors, targets and weights of texts; targets are codes, or an indicator.
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
    rows, biases = [], []
    for code in np.flatnonzero(is_new):
        is_own = targets == code
        own, others = (_mean(vectors[r], weights[r]) for r in (is_own, ~is_own))
        way = own - others
        length = np.linalg.norm(way)
        row = SCALE / np.sqrt(len(way)) * (way / length if length > 0 else way)
        rows.append(row)
        biases.append(-row @ (own + others) / 2)
    return np.array(rows), np.array(biases)


def _mean(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean of some vectors, 0 of none."""
    return weights @ vectors / max(weights.sum(), np.finfo(float).tiny)
