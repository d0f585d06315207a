"""The answer to a row depends on that row alone, and keeps its place."""

from __future__ import annotations

import pickle

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_bert.testing._data import new_rows
from sklearn_bert.testing._registry import is_deterministic, text_check
from sklearn_bert.testing._tools import (
    answers,
    as_python,
    assert_same,
    fitted,
    pick,
)


@text_check()
def check_text_one_answer_per_row(name: str, estimator: BaseEstimator) -> None:
    """There are as many answers as rows."""
    new = new_rows(estimator)
    for method, answer in answers(fitted(estimator), new).items():
        n_answers = len(as_python(answer))
        assert n_answers == len(new), (
            f"{method}: {n_answers} answers to {len(new)} rows"
        )


@text_check()
def check_text_single_row(name: str, estimator: BaseEstimator) -> None:
    """A row that is alone gets the answer that it gets among others."""
    model, new = fitted(estimator), new_rows(estimator)
    for method, answer in answers(model, new).items():
        for row, text in enumerate(new):
            alone = getattr(model, method)([text])
            message = f"{method} of row {row} alone is not that among other rows"
            assert_same(pick(alone, [0]), pick(answer, [row]), message)


@text_check()
def check_text_subset(name: str, estimator: BaseEstimator) -> None:
    """Some of the rows get the answers that they get among all."""
    model, new = fitted(estimator), new_rows(estimator)
    some = [0, 2, 3]
    for method, answer in answers(model, new).items():
        by_itself = getattr(model, method)([new[row] for row in some])
        assert_same(by_itself, pick(answer, some), f"{method} of a subset")


@text_check()
def check_text_order_of_rows(name: str, estimator: BaseEstimator) -> None:
    """Rows in another order get the same answers, in that order."""
    model, new = fitted(estimator), new_rows(estimator)
    order = np.random.default_rng(0).permutation(len(new))
    for method, answer in answers(model, new).items():
        shuffled = getattr(model, method)([new[row] for row in order])
        assert_same(shuffled, pick(answer, order), f"{method} of rows in another order")


@text_check()
def check_text_rows_of_mixed_length(name: str, estimator: BaseEstimator) -> None:
    """A short row next to a long one gets the answer that it gets alone."""
    model, new = fitted(estimator), new_rows(estimator)
    short, long = new[0], new[1] * 8  # `*` repeats a str or a list of words
    for method, answer in answers(model, [short, long]).items():
        alone = getattr(model, method)([short])
        assert_same(pick(answer, [0]), pick(alone, [0]), f"{method} next to a long row")


@text_check()
def check_text_duplicates(name: str, estimator: BaseEstimator) -> None:
    """Equal rows get equal answers, wherever they are."""
    model, new = fitted(estimator), new_rows(estimator)
    n = len(new)
    for method, answer in answers(model, [*new, *new[::-1]]).items():
        first, again = range(n), range(2 * n - 1, n - 1, -1)
        assert_same(pick(answer, again), pick(answer, first), f"{method} of duplicates")


@text_check(is_deterministic)
def check_text_asking_twice(name: str, estimator: BaseEstimator) -> None:
    """The same question gets the same answer, exactly."""
    model, new = fitted(estimator), new_rows(estimator)
    for method, answer in answers(model, new).items():
        # Pickles compare to the last bit, also in lists of arrays.
        again = pickle.dumps(as_python(getattr(model, method)(new)))
        assert again == pickle.dumps(as_python(answer)), (
            f"{method} answers the same question differently"
        )
