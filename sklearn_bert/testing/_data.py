"""The texts, words and targets that the checks fit: small, and one word decides."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.utils import get_tags

from sklearn_bert.testing._registry import needs_target, reads_words

GOOD = ["good", "great", "fine", "nice"]
BAD = ["bad", "awful", "poor", "dull"]
THINGS = ["film", "movie", "plot", "cat", "dog"]

# Ordinary strings that no fit has seen; one with capitals, one with words twice.
NEW_TEXTS = [
    "the dog is great",
    "nice film",
    "a dull plot",
    "It was an AWFUL movie",
    "the cat was good and the dog was good",
]


class Problem(NamedTuple):
    """Rows and their targets; `y` is None where an estimator needs none."""

    X: list[Any]
    y: Any


def texts(n_each: int = 8) -> list[str]:
    """Return good texts and bad ones by turns."""
    # Each thing is once good and once bad, so that only the adjective decides.
    return [
        f"the {THINGS[i % 5]} was {words[i % 4]}"
        for i in range(n_each)
        for words in (GOOD, BAD)
    ]


def by_turns(*labels: Any, n: int = 16) -> list[Any]:
    """Repeat some labels: of two, one falls on good texts and the other on bad ones."""
    return [labels[i % len(labels)] for i in range(n)]


def problem(estimator: BaseEstimator, n_each: int = 8) -> Problem:
    """Return rows, and a target of the kind that the estimator learns."""
    X = texts(n_each)
    if reads_words(estimator):
        return words_problem(X)
    n = len(X)
    tags = get_tags(estimator).target_tags
    if not needs_target(estimator):
        return Problem(X, None)
    if is_regressor(estimator):
        y = np.array(by_turns(1.5, -0.5, n=n))
        return Problem(X, y if tags.single_output else np.column_stack([y, -y]))
    if is_classifier(estimator) and not tags.single_output:
        return Problem(X, np.array(by_turns([1, 0], [0, 1], n=n)))
    return Problem(X, by_turns("pos", "neg", n=n))


def words_problem(sentences: list[str]) -> Problem:
    """Return sentences as lists of words, and a tag for each word."""
    X = [sentence.split() for sentence in sentences]
    tag_of = dict.fromkeys(GOOD, "B-POS") | dict.fromkeys(BAD, "B-NEG")
    return Problem(X, [[tag_of.get(word, "O") for word in row] for row in X])


def new_rows(estimator: BaseEstimator) -> list[Any]:
    """Return rows that no fit has seen."""
    if reads_words(estimator):
        return [text.split() for text in NEW_TEXTS]
    return list(NEW_TEXTS)
