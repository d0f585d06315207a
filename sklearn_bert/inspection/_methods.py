"""Scores of words by gradients, or by hiding them."""

from __future__ import annotations

import numpy as np

from sklearn_bert.inspection._word_shares import WordShares

METHODS = ("integrated_gradients", "gradient", "occlusion")


def score_words(
    shares: WordShares, method: str, n_steps: int, values: np.ndarray
) -> list[np.ndarray]:
    """Return the scores of the words of each goal.

    Parameters
    ----------
    shares : WordShares
    method : one of METHODS
    n_steps : int
        Points of the path, for integrated gradients.
    values : ndarray of shape (n_goals,)
        f of the whole texts.
    """
    if method == "occlusion":
        return hide_each(shares, values)
    if method == "gradient":
        return integrate(shares, np.ones(1), np.ones(1))
    # Gauss and Legendre's points, from [-1, 1] to [0, 1].
    points, weights = np.polynomial.legendre.leggauss(n_steps)
    return integrate(shares, (points + 1) / 2, weights / 2)


def integrate(
    shares: WordShares, points: np.ndarray, weights: np.ndarray
) -> list[np.ndarray]:
    """Sum the slopes of f at some shares of all words, by weights."""
    n_words = n_words_of(shares)
    scores = [np.zeros(n) for n in n_words]
    n_points = len(points)
    goals = np.repeat(np.arange(len(n_words)), n_points)
    slopes = shares.gradients(goals, lambda item: points[item % n_points])
    for item, slope in slopes:
        scores[goals[item]] += weights[item % n_points] * slope
    return scores


def hide_each(shares: WordShares, values: np.ndarray) -> list[np.ndarray]:
    """Return how much f falls when each word is hidden."""
    n_words = n_words_of(shares)
    goals = np.repeat(np.arange(len(n_words)), n_words)
    ends = np.cumsum(n_words)
    words = np.arange(len(goals)) - np.repeat(ends - n_words, n_words)

    def without(item: int) -> np.ndarray:
        kept = np.ones(n_words[goals[item]])
        kept[words[item]] = 0.0
        return kept

    effects = values[goals] - shares.values(goals, without)
    return np.split(effects, ends[:-1])


def n_words_of(shares: WordShares) -> np.ndarray:
    """Return how many words the text of each goal has."""
    words = shares.reading.words
    return np.array([len(words[text]) for text in shares.goals.texts], dtype=np.int64)
