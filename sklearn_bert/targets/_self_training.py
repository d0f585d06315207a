"""Let a linear model of vectors learn from texts without labels, by its own guesses.

D. Yarowsky, "Unsupervised Word Sense Disambiguation Rivaling Supervised Methods", ACL
1995; the share of each class that counts, which grows from round to round, is that of
Y. Zou et al., "Unsupervised Domain Adaptation for Semantic Segmentation via
Class-Balanced Self-Training", ECCV 2018, section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from sklearn_bert.targets._probe import class_probe

# Of the texts that are guessed to be of a class, the most confident share that counts
# in the last round.
MOST_SHARE = 0.5


@dataclass(frozen=True)
class SelfTrained:
    """A linear model, and the guesses that it was fitted on beside the labels.

    Attributes
    ----------
    weight : ndarray of shape (n_classes, width)
    bias : ndarray of shape (n_classes,)
    rows : ndarray of int, of shape (n_guessed,)
        Which texts without labels.
    codes : ndarray of shape (n_guessed,)
        Their guessed classes.
    """

    weight: np.ndarray
    bias: np.ndarray
    rows: np.ndarray
    codes: np.ndarray


def self_trained(
    vectors: np.ndarray,
    codes: np.ndarray,
    weights: np.ndarray,
    others: np.ndarray,
    n_classes: int,
    n_rounds: int,
) -> SelfTrained:
    """Fit `class_probe`, and in each round again with guesses of the round before.

    Parameters
    ----------
    vectors : ndarray of shape (n_texts, width)
        As the head gets them.
    codes : ndarray of shape (n_texts,)
    weights : ndarray of shape (n_texts,)
        All guesses together weigh as much as the labelled texts, for they make a model
        too sure of itself, but none weighs more than 1.
    others : ndarray of shape (n_others, width)
        Vectors of the texts without labels.
    n_classes : int
    n_rounds : int
    """
    weight, bias = class_probe(vectors, codes, weights, n_classes)
    rows, guesses = np.empty(0, np.int64), np.empty(0, np.int64)
    found = np.unique(codes)
    for n_done in range(1, n_rounds + 1):
        # A class without a label has the logit 0, and is no guess.
        proba = softmax(others @ weight[found].T + bias[found], axis=1)
        rows, places = most_confident(proba, MOST_SHARE * n_done / n_rounds)
        guesses = found[places]
        each = min(1.0, weights.sum() / len(rows))
        weight, bias = class_probe(
            np.concatenate([vectors, others[rows]]),
            np.concatenate([codes, guesses]),
            np.concatenate([weights, np.full(len(rows), each)]),
            n_classes,
        )
    return SelfTrained(weight, bias, rows, guesses)


def most_confident(proba: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Choose of each class the same share of the texts that are guessed to be of it.

    So classes stay as frequent as they are guessed to be. The most confident texts of
    all together would be of few classes; as many of each class would teach that all are
    equally frequent.

    Parameters
    ----------
    proba : ndarray of shape (n_texts, n_classes)
    share : float
        Of the texts of each class, rounded up.

    Returns
    -------
    rows : ndarray of int, sorted
    codes : ndarray of int
        The guessed class of each.
    """
    codes, confidence = proba.argmax(axis=1), proba.max(axis=1)
    chosen = []
    for code in np.unique(codes):
        members = np.flatnonzero(codes == code)
        order = np.argsort(-confidence[members], kind="stable")
        chosen.append(members[order[: int(np.ceil(share * len(members)))]])
    rows = np.sort(np.concatenate(chosen))
    return rows, codes[rows]
