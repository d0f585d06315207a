"""What checks share: fitting a clone, calling its methods, comparing results."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import Any
from unittest import SkipTest

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, clone

from sklearn_bert.testing._data import new_rows, problem

METHODS = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "transform",
    "score_samples",
)

# Models may compute in float32, whose sums over some hundred terms are right to about
# 1e-5; to be computed in another batch, or order, is no more of a difference than that.
TOLERANCE = 1e-5


def fresh(estimator: BaseEstimator) -> Any:
    """Return a clone with the same parameters, but with every `random_state` an int."""
    copied = clone(estimator)
    names = copied.get_params(deep=True)
    own = [name for name in names if name.split("__")[-1] == "random_state"]
    return copied.set_params(**dict.fromkeys(own, 0))


def fit(estimator: BaseEstimator, X: Any, y: Any = None, **weights: Any) -> Any:
    """Return a fitted clone; it is fitted without y where there is none."""
    copied = fresh(estimator)
    # fit(X), not fit(X, None): a caller without a target passes none.
    if y is None and not weights:
        copied.fit(X)
    else:
        copied.fit(X, y, **weights)
    return copied


def fitted(estimator: BaseEstimator) -> Any:
    """Return a clone that is fitted on the problem of its kind."""
    return fit(estimator, *problem(estimator))


def methods_of(estimator: BaseEstimator) -> list[str]:
    """Return the names of its methods that compute something for each row."""
    return [method for method in METHODS if hasattr(estimator, method)]


def answers(estimator: BaseEstimator, X: Any) -> dict[str, Any]:
    """Return what each of these methods gives for X."""
    return {method: getattr(estimator, method)(X) for method in methods_of(estimator)}


def as_python(answer: Any) -> Any:
    """Turn an answer into a dense array, or into a list where rows differ in size."""
    if issparse(answer):
        return answer.toarray()
    if isinstance(answer, (list, tuple)):
        return [as_python(part) for part in answer]
    return np.asarray(answer)


def pick(answer: Any, rows: Iterable[int]) -> Any:
    """Return some rows of an answer."""
    answer = as_python(answer)
    return [answer[row] for row in rows] if isinstance(answer, list) else answer[rows]


def assert_same(got: Any, expected: Any, message: str) -> None:
    """Raise unless two answers are equal, numbers to float32's precision."""
    got, expected = as_python(got), as_python(expected)
    assert type(got) is type(expected), (
        f"{message}: got a {type(got).__name__} for a {type(expected).__name__}"
    )
    if isinstance(got, list):
        assert len(got) == len(expected), (
            f"{message}: {len(got)} parts for {len(expected)}"
        )
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other, message)
    elif expected.dtype.kind == "f":
        assert_close(got, expected, message)
    else:
        np.testing.assert_array_equal(got, expected, err_msg=message)


def assert_close(got: Any, expected: Any, message: str = "") -> None:
    """Raise unless numbers are equal to float32's precision."""
    np.testing.assert_allclose(
        got, expected, rtol=TOLERANCE, atol=TOLERANCE, err_msg=message
    )


def assert_same_answers(
    got: dict[str, Any], expected: dict[str, Any], message: str
) -> None:
    """Raise unless every method gives the same."""
    assert got.keys() == expected.keys(), f"{message}: methods differ"
    for method, answer in expected.items():
        assert_same(got[method], answer, f"{method}: {message}")


def differ(got: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Tell whether any method gives something else."""
    try:
        assert_same_answers(got, expected, "")
    except AssertionError:
        return True
    return False


def assert_refused(call: Callable[[], Any], what: str) -> Exception:
    """Raise unless a call ends in TypeError or ValueError; return that error.

    Any other error is an accident somewhere inside, which does not tell the user what
    was wrong with the input.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except (TypeError, ValueError) as error:
        return error
    except Exception as error:  # but no KeyboardInterrupt
        raise AssertionError(
            f"{what} ended in {type(error).__name__} ({error}); expected TypeError or "
            "ValueError that says what is wrong with it"
        ) from error
    raise AssertionError(f"{what} was accepted; expected TypeError or ValueError")


def assert_asking_is_refused(fitted: Any, X: Any, what: str) -> None:
    """Raise unless every method that reads X refuses it."""
    for method in methods_of(fitted):
        assert_refused(partial(getattr(fitted, method), X), f"{method} of {what}")


def assert_X_is_refused(
    estimator: BaseEstimator, spoil: Callable[[Any], Any], what: str
) -> None:
    """Raise unless `fit`, and every method after a good fit, refuses a spoilt X."""
    X, y = problem(estimator)
    assert_refused(partial(fit, estimator, spoil(X), y), f"fit of {what}")
    assert_asking_is_refused(fitted(estimator), spoil(new_rows(estimator)), what)


def optional(library: str) -> Any:
    """Import a library of containers; raise SkipTest where it is not installed."""
    try:
        return import_module(library)
    except ImportError as error:
        raise SkipTest(f"{library} is not installed") from error
