"""X that holds no texts is refused, by a TypeError or ValueError that says why."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_bert.testing._data import new_rows, problem
from sklearn_bert.testing._registry import (
    needs_target,
    reads_texts,
    refuses_iterators,
    refuses_lists,
    text_check,
)
from sklearn_bert.testing._tools import (
    assert_refused,
    assert_X_is_refused,
    fit,
    fitted,
    methods_of,
    optional,
)

SPOILT_ROW = 3  # the five new rows have it, too


def spoilt_by(cell: Any) -> Callable[[list[Any]], list[Any]]:
    """Put something else in the place of one text."""

    def spoil(X: list[Any]) -> list[Any]:
        return [cell if row == SPOILT_ROW else text for row, text in enumerate(X)]

    return spoil


# -- missing texts -----------------------------------------------------------------


@text_check(reads_texts)
def check_text_none_is_refused(name: str, estimator: BaseEstimator) -> None:
    """None among the texts is refused, in fit and after it."""
    assert_X_is_refused(estimator, spoilt_by(None), "None among the texts")


@text_check(reads_texts)
def check_text_nan_is_refused(name: str, estimator: BaseEstimator) -> None:
    """NaN among the texts is refused, in fit and after it."""
    assert_X_is_refused(estimator, spoilt_by(np.nan), "NaN among the texts")


@text_check(reads_texts)
def check_text_pandas_na_is_refused(name: str, estimator: BaseEstimator) -> None:
    """NA of pandas among the texts is refused, in fit and after it."""
    pd = optional("pandas")

    def spoil(X: list[str]) -> Any:
        return pd.Series(spoilt_by(None)(X), dtype="string")

    assert_X_is_refused(estimator, spoil, "NA among the texts")


@text_check(reads_texts)
def check_text_missing_row_is_named(name: str, estimator: BaseEstimator) -> None:
    """The error about a missing text names its row, in fit and after it."""
    X, y = problem(estimator)
    spoil = spoilt_by(None)
    errors = {"fit": assert_refused(lambda: fit(estimator, spoil(X), y), "None in fit")}
    model, new = fitted(estimator), spoil(new_rows(estimator))
    for method in methods_of(estimator):
        ask = getattr(model, method)
        errors[method] = assert_refused(partial(ask, new), f"None in {method}")
    for method, error in errors.items():
        assert re.search(rf"\b{SPOILT_ROW}\b", str(error)), (
            f"the error of {method} does not name row {SPOILT_ROW}, which is None: "
            f"{error}"
        )


# -- what is no text ---------------------------------------------------------------


@text_check(reads_texts)
def check_text_bytes_are_refused(name: str, estimator: BaseEstimator) -> None:
    """Bytes are refused rather than read in some encoding."""
    assert_X_is_refused(estimator, lambda X: [text.encode() for text in X], "bytes")


@text_check(reads_texts)
def check_text_numbers_are_refused(name: str, estimator: BaseEstimator) -> None:
    """A list of numbers is refused rather than spelled out."""
    assert_X_is_refused(estimator, lambda X: list(range(len(X))), "numbers")


@text_check(reads_texts)
def check_text_array_of_numbers_is_refused(name: str, estimator: BaseEstimator) -> None:
    """An array of numbers, of one dimension or two, is refused."""
    assert_X_is_refused(estimator, lambda X: np.arange(float(len(X))), "a float array")
    assert_X_is_refused(estimator, lambda X: np.eye(len(X)), "a matrix of floats")


@text_check(reads_texts)
def check_text_number_among_texts_is_refused(
    name: str, estimator: BaseEstimator
) -> None:
    """One number among the texts is refused."""
    assert_X_is_refused(estimator, spoilt_by(7), "a number among the texts")


@text_check(refuses_lists)
def check_text_lists_of_words_are_refused(name: str, estimator: BaseEstimator) -> None:
    """Texts that are already split into words are refused."""
    assert_X_is_refused(estimator, lambda X: [text.split() for text in X], "word lists")


# -- what is no column -------------------------------------------------------------


@text_check(reads_texts)
def check_text_bare_string_is_refused(name: str, estimator: BaseEstimator) -> None:
    """A single string is refused rather than read letter by letter."""
    # As many letters as there are targets: it must not be refused for its length.
    assert_X_is_refused(estimator, lambda X: "".join(X)[: len(X)], "a single string")


@text_check(reads_texts)
def check_text_dict_is_refused(name: str, estimator: BaseEstimator) -> None:
    """A dict is refused rather than read as its keys."""
    # All keys differ: a dict of fewer would be refused for its length.
    assert_X_is_refused(
        estimator,
        lambda X: {f"{text} {row}": text for row, text in enumerate(X)},
        "a dict",
    )


@text_check(reads_texts)
def check_text_set_is_refused(name: str, estimator: BaseEstimator) -> None:
    """A set is refused, since its rows are in no order."""
    # All items differ, for the same reason.
    assert_X_is_refused(
        estimator, lambda X: {f"{text} {row}" for row, text in enumerate(X)}, "a set"
    )


@text_check(refuses_iterators)
def check_text_generator_is_refused(name: str, estimator: BaseEstimator) -> None:
    """A generator is refused, since it can be read only once."""
    assert_X_is_refused(estimator, lambda X: (text for text in X), "a generator")


@text_check(reads_texts)
def check_text_nothing_is_refused(name: str, estimator: BaseEstimator) -> None:
    """None in the place of X is refused."""
    assert_X_is_refused(estimator, lambda X: None, "None as X")


@text_check(reads_texts)
def check_text_zero_dimensions_are_refused(name: str, estimator: BaseEstimator) -> None:
    """An array of no dimension is refused."""
    assert_X_is_refused(estimator, lambda X: np.array(X[0]), "an array of no dimension")


@text_check(reads_texts)
def check_text_three_dimensions_are_refused(
    name: str, estimator: BaseEstimator
) -> None:
    """An array of three dimensions is refused."""
    assert_X_is_refused(
        estimator,
        lambda X: np.array(X).reshape(-1, 1, 1),
        "an array of three dimensions",
    )


@text_check()
def check_text_empty_X_is_refused(name: str, estimator: BaseEstimator) -> None:
    """An X without rows is refused, in fit and after it."""
    X, y = problem(estimator)
    # y is as short as X, so that no difference in length is refused.
    y = None if y is None else y[:0]
    assert_refused(lambda: fit(estimator, X[:0], y), "fit of no rows")
    model = fitted(estimator)
    for method in methods_of(estimator):
        ask = getattr(model, method)
        assert_refused(partial(ask, []), f"{method} of no rows")


@text_check(reads_texts)
def check_text_other_number_of_columns_is_refused(
    name: str, estimator: BaseEstimator
) -> None:
    """After a fit on single texts, a frame of two columns is refused."""
    pd = optional("pandas")
    new = new_rows(estimator)
    model = fitted(estimator)
    for method in methods_of(estimator):
        ask = getattr(model, method)
        frame = pd.DataFrame({"first": new, "second": new})
        assert_refused(partial(ask, frame), f"{method} of two columns")


@text_check(needs_target)
def check_text_other_length_of_y_is_refused(
    name: str, estimator: BaseEstimator
) -> None:
    """A y of another length than X is refused, longer or shorter."""
    X, y = problem(estimator)
    assert_refused(lambda: fit(estimator, X, y[:-1]), "a y that is too short")
    assert_refused(lambda: fit(estimator, X[:-1], y), "a y that is too long")


@text_check(needs_target)
def check_text_no_y_is_refused(name: str, estimator: BaseEstimator) -> None:
    """A fit without y is refused by an error that speaks of y."""
    X, _ = problem(estimator)
    error = assert_refused(lambda: fit(estimator, X), "a fit without y")
    assert re.search(r"\by\b", str(error)), f"the error does not speak of y: {error}"
