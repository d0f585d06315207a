"""Scores of words by gradients, or by hiding them."""

from __future__ import annotations

import numpy as np

from sklearn_bert.inspection._word_shares import WordShares

METHODS = ("integrated_gradients", "gradient", "occlusion")
# How far scores may be from adding up to f(x) - f(baseline), as a share of it, before
# more points of the path are computed.
TOLERANCE = 0.05
# The fewest steps of the path that are tried where more are allowed.
LEAST_STEPS = 8
# The middle and the width of the part of the path that most points lie in. With them
# texts of SST-2 need half as many as at equal distances or as Gauss and Legendre's.
CENTER, WIDTH = 0.2, 0.15
# Where the gradient alone is taken. At the text itself, where the share is 1, a
# fine-tuned BERT is so sure that the gradient is noise: on SST-2 its rank agreement
# with hiding each word is 0, and here 0.4.
SHARE = 0.25


def score_words(
    shares: WordShares, method: str, n_steps: int
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return the scores of the words of each goal, and f with and without all words.

    Parameters
    ----------
    shares : WordShares
    method : one of METHODS
    n_steps : int
        Most steps of the path, for integrated gradients.

    Returns
    -------
    scores : list of ndarray
    values, baselines : ndarray of shape (n_goals,)
        f of the whole texts, and of texts whose words are all hidden.
    """
    if method == "integrated_gradients":
        return integrate(shares, n_steps)
    goals = np.arange(len(shares.goals))
    values = shares.values(goals, lambda item: 1.0)
    baselines = shares.values(goals, lambda item: 0.0)
    if method == "occlusion":
        return hide_each(shares, values), values, baselines
    sums, _ = sum_slopes(shares, goals, np.array([SHARE]), np.ones((1, 1)))
    return [score for (score,) in sums], values, baselines


def integrate(
    shares: WordShares, n_steps: int
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Integrate the slopes of f over shares of all words from 0 to 1.

    With few steps first, and with twice as many as long as the scores do not add up to
    the change of f. f at both ends comes with the slopes.
    """
    sizes = [n_steps]
    while sizes[0] % 2 == 0 and sizes[0] // 2 >= LEAST_STEPS:
        sizes.insert(0, sizes[0] // 2)
    points, _ = path(n_steps)
    # The points of a rule are every second of the next one.
    weights = np.zeros((len(sizes), len(points)))
    for of_rule, size in zip(weights, sizes, strict=True):
        of_rule[:: n_steps // size] = path(size)[1]
    goals = np.arange(len(shares.goals))
    new = np.arange(0, n_steps + 1, n_steps // sizes[0])
    sums, f = sum_slopes(shares, goals, points[new], weights[:, new])
    values, baselines = f[:, -1], f[:, 0]
    scores = [by_rule[0] for by_rule in sums]
    for number, size in enumerate(sizes[1:], start=1):
        errors = [scores[g].sum() - (values[g] - baselines[g]) for g in goals]
        is_far = np.abs(errors) > TOLERANCE * np.abs(values - baselines)[goals]
        goals = goals[is_far]
        new = np.arange(n_steps // size, n_steps, 2 * (n_steps // size))
        more, _ = sum_slopes(shares, goals, points[new], weights[:, new])
        for goal, by_rule in zip(goals, more, strict=True):
            sums[goal] += by_rule
            scores[goal] = sums[goal][number]
    return scores, values, baselines


def path(n_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return shares from 0 to 1 to compute slopes at, and the weight of each.

    They are close to each other about CENTER, where f of a fine-tuned BERT changes
    most, and the closer the smaller WIDTH is. The rule is the trapezoidal one, with
    the end corrections of Gregory for an f that still changes at the ends.
    """
    low, high = np.arcsinh(np.array([-CENTER, 1 - CENTER]) / WIDTH)
    places = np.linspace(low, high, n_steps + 1)
    shares = np.clip(CENTER + WIDTH * np.sinh(places), 0, 1)
    weights = (high - low) * WIDTH * np.cosh(places) / n_steps
    weights[[0, -1]] *= 5 / 12 if n_steps > 2 else 1 / 2
    if n_steps > 2:
        weights[[1, -2]] *= 13 / 12
    return shares, weights


def sum_slopes(
    shares: WordShares, goals: np.ndarray, points: np.ndarray, weights: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Sum the slopes of some goals' f by the words at points, by weights.

    Parameters
    ----------
    shares : WordShares
    goals : ndarray of shape (n_goals,)
    points : ndarray of shape (n_points,)
    weights : ndarray of shape (n_sums, n_points)

    Returns
    -------
    sums : list of n_goals ndarrays of shape (n_sums, n_words)
    f : ndarray of shape (n_goals, n_points)
        At the points.
    """
    sums = [np.zeros((len(weights), n)) for n in n_words_of(shares)[goals]]
    n_points = len(points)
    f = np.zeros((len(goals), n_points))
    slopes = shares.gradients(
        np.repeat(goals, n_points), lambda item: points[item % n_points]
    )
    for item, value, slope in slopes:
        goal, point = divmod(item, n_points)
        f[goal, point] = value
        sums[goal] += np.outer(weights[:, point], slope)
    return sums, f


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
