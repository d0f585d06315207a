"""Weights of texts: what they mean, and which are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_bert.testing._data import Problem, new_rows, problem
from sklearn_bert.testing._registry import (
    classifies,
    is_deterministic,
    takes_weights,
    text_check,
)
from sklearn_bert.testing._tools import (
    answers,
    assert_refused,
    assert_same_answers,
    differ,
    fit,
    fitted,
    optional,
)


@text_check(takes_weights, is_deterministic)
def check_text_weights_of_one(name: str, estimator: BaseEstimator) -> None:
    """Weights that are all 1 change nothing."""
    X, y = problem(estimator)
    new = new_rows(estimator)
    got = answers(fit(estimator, X, y, sample_weight=np.ones(len(X))), new)
    message = "weights of 1 are not the same as none"
    assert_same_answers(got, answers(fitted(estimator), new), message)


@text_check(takes_weights, is_deterministic)
def check_text_weights_matter(name: str, estimator: BaseEstimator) -> None:
    """Weights that differ change the answers."""
    X, y = problem(estimator)
    new, weights = new_rows(estimator), np.linspace(0.1, 2, len(X))
    got = answers(fit(estimator, X, y, sample_weight=weights), new)
    assert differ(got, answers(fitted(estimator), new)), "weights change nothing"


@text_check(takes_weights, is_deterministic)
def check_text_weight_of_zero(name: str, estimator: BaseEstimator) -> None:
    """A text of weight 0 is as good as absent."""
    X, y = problem(estimator)
    new, n = new_rows(estimator), len(X) - 4
    weights = np.repeat([1.0, 0.0], [n, 4])
    # The targets of these texts are reversed: it shows if they are learnt.
    wrong = Problem(X, y if y is None else [*y[:n], *y[n:][::-1]])
    got = answers(fit(estimator, *wrong, sample_weight=weights), new)
    absent = answers(fit(estimator, X[:n], y if y is None else y[:n]), new)
    assert_same_answers(got, absent, "texts of weight 0 are not as good as absent")


@text_check(takes_weights, classifies)
def check_text_heavy_weight_decides(name: str, estimator: BaseEstimator) -> None:
    """Of equal texts with two labels, that which weighs ten times as much wins."""
    X, y = ["a film"] * 16, ["pos", "neg"] * 8
    for heavy, pair in (("pos", [10.0, 1.0]), ("neg", [1.0, 10.0])):
        model = fit(estimator, X, y, sample_weight=np.array(pair * 8))
        (predicted,) = model.predict(["a film"])
        assert predicted == heavy, f"predicts {predicted!r} where {heavy!r} weighs more"


@text_check(takes_weights, is_deterministic)
def check_text_weights_in_any_container(name: str, estimator: BaseEstimator) -> None:
    """Weights as a list, integers or a Series of another index are the same."""
    pd = optional("pandas")
    X, y = problem(estimator)
    new, weights = new_rows(estimator), np.arange(1, len(X) + 1)
    expected = answers(fit(estimator, X, y, sample_weight=weights.astype(float)), new)
    kinds = {
        "a list": weights.tolist(),
        "integers": weights,
        "a Series": pd.Series(weights, index=weights[::-1]),
    }
    for what, same in kinds.items():
        got = answers(fit(estimator, X, y, sample_weight=same), new)
        assert_same_answers(got, expected, f"{what} as weights gives other answers")


def assert_weights_are_refused(
    estimator: BaseEstimator, weights: Any, what: str
) -> None:
    """Raise unless a fit with these weights is refused."""
    X, y = problem(estimator)
    assert_refused(lambda: fit(estimator, X, y, sample_weight=weights), what)


@text_check(takes_weights)
def check_text_weights_all_zero_are_refused(
    name: str, estimator: BaseEstimator
) -> None:
    """Weights that are all 0 are refused."""
    n = len(problem(estimator).X)
    assert_weights_are_refused(estimator, np.zeros(n), "weights that are all 0")


@text_check(takes_weights)
def check_text_negative_weight_is_refused(name: str, estimator: BaseEstimator) -> None:
    """A negative weight is refused."""
    weights = np.ones(len(problem(estimator).X))
    weights[0] = -1
    assert_weights_are_refused(estimator, weights, "a negative weight")


@text_check(takes_weights)
def check_text_weight_of_nan_is_refused(name: str, estimator: BaseEstimator) -> None:
    """A weight that is NaN or infinite is refused."""
    for wrong in (np.nan, np.inf):
        weights = np.ones(len(problem(estimator).X))
        weights[0] = wrong
        assert_weights_are_refused(estimator, weights, f"a weight of {wrong}")


@text_check(takes_weights)
def check_text_other_number_of_weights_is_refused(
    name: str, estimator: BaseEstimator
) -> None:
    """Fewer or more weights than texts are refused."""
    n = len(problem(estimator).X)
    assert_weights_are_refused(estimator, np.ones(n - 1), "one weight too few")
    assert_weights_are_refused(estimator, np.ones(n + 1), "one weight too many")
