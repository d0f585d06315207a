"""Scores of words by gradients, or by hiding them."""

from __future__ import annotations

import numpy as np

from sklearn_bert.inspection._word_shares import WordShares

METHODS = ("integrated_gradients", "gradient", "occlusion")
# How far scores may be from adding up to f(x) - f(baseline), as a share of it, before
# more points of the path are computed.
TOLERANCE = 0.05
# Where the gradient alone is taken. At the text itself, where the share is 1, a
# fine-tuned BERT is so sure that the gradient is noise: on SST-2 its rank agreement
# with hiding each word is 0, and here 0.4.
SHARE = 0.25


def score_words(
    shares: WordShares,
    method: str,
    n_steps: int,
    values: np.ndarray,
    baselines: np.ndarray,
) -> list[np.ndarray]:
    """Return the scores of the words of each goal.

    Parameters
    ----------
    shares : WordShares
    method : one of METHODS
    n_steps : int
        Most points of the path, for integrated gradients.
    values, baselines : ndarray of shape (n_goals,)
        f of the whole texts, and of texts whose words are all hidden.
    """
    if method == "occlusion":
        return hide_each(shares, values)
    if method == "gradient":
        return sum_slopes(shares, np.arange(len(values)), np.array([SHARE]), np.ones(1))
    return integrate(shares, n_steps, values - baselines)


def integrate(
    shares: WordShares, n_steps: int, changes: np.ndarray
) -> list[np.ndarray]:
    """Integrate the slopes of f over shares of all words from 0 to 1.

    First by a third of the points; by all where the scores do not add up to the changes
    of f yet.
    """
    n_first = -(-n_steps // 3)
    goals = np.arange(len(changes))
    scores = sum_slopes(shares, goals, *path(n_first))
    sums = np.array([score.sum() for score in scores])
    goals = np.flatnonzero(abs(sums - changes) > TOLERANCE * abs(changes))
    # The middles of thirds of steps: every third is that of a whole step, and known.
    points, weights = path(3 * n_first)
    is_new = np.arange(3 * n_first) % 3 != 1
    rest = sum_slopes(shares, goals, points[is_new], weights[is_new])
    for goal, more in zip(goals, rest, strict=True):
        scores[goal] = scores[goal] / 3 + more
    return scores


def path(n_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return shares from 0 to 1 to compute slopes at, and the weight of each.

    They are the middles of equal steps, drawn towards 0: f of a fine-tuned BERT changes
    most where a quarter of the words' embeddings is there. Gauss and Legendre's points,
    which crowd at both ends, need twice as many.
    """
    middles = (np.arange(n_points) + 0.5) / n_points
    return (middles + middles**3) / 2, (1 + 3 * middles**2) / (2 * n_points)


def sum_slopes(
    shares: WordShares, goals: np.ndarray, points: np.ndarray, weights: np.ndarray
) -> list[np.ndarray]:
    """Sum the slopes of some goals' f by the words, at each point by its weight."""
    sums = [np.zeros(n) for n in n_words_of(shares)[goals]]
    n_points = len(points)
    slopes = shares.gradients(
        np.repeat(goals, n_points), lambda item: points[item % n_points]
    )
    for item, slope in slopes:
        sums[item // n_points] += weights[item % n_points] * slope
    return sums


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
    return np.split(effects, ends[:-1]) if len(ends) else []


def n_words_of(shares: WordShares) -> np.ndarray:
    """Return how many words the text of each goal has."""
    words = shares.reading.words
    return np.array([len(words[text]) for text in shares.goals.texts], dtype=np.int64)
