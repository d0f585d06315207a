"""Run the checks: in one call, or under pytest as one test each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any
from unittest import SkipTest

from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.exceptions import EstimatorCheckFailedWarning, SkipTestWarning

# Each of these makes its functions checks.
from sklearn_bert.testing import (  # noqa: F401
    _bad_input,
    _containers,
    _guests,
    _label_checks,
    _manners,
    _odd_strings,
    _rows,
    _state,
    _targets,
    _vectors,
    _weights,
    _word_checks,
)
from sklearn_bert.testing._official import official_checks
from sklearn_bert.testing._registry import Check, reads_words, text_checks

NOT_EXPECTED = "Check is not expected to fail"


def check_text_estimator(
    estimator: BaseEstimator,
    *,
    expected_failed_checks: dict[str, str] | None = None,
    on_skip: str | None = "warn",
    on_fail: str | None = "raise",
    callback: Callable[..., None] | None = None,
) -> list[dict[str, Any]]:
    """Check whether an estimator of texts keeps to the conventions of scikit-learn.

    scikit-learn's `check_estimator` asks next to nothing of an estimator whose X is no
    matrix of numbers. This function asks all that can be asked of texts:

    - scikit-learn's own checks, on matrices whose rows are written as texts, a word of
      two letters for each number. Eight of them cannot mean anything for texts; they
      are skipped, with the reason.
    - checks of our own, named `check_text_...`, about what only texts have: containers
      and missing texts, odd strings, kinds of labels, and much that scikit-learn
      promises without checking it.

    Type and tags of the estimator decide which are asked. An estimator whose X holds
    lists of words, and whose y holds a list of tags for each, says so by a method
    `__sklearn_text_input__` that returns `"words"`; without one, X holds texts.
    scikit-learn's own checks are not for words, because they have one label per row.
    Where a row may also be a list of sentences, it returns `"documents"`; where X may
    also be an iterator, `"stream"`; where both, `"documents or stream"`. A method
    `__sklearn_text_output__` that returns `"lists"` says that what `transform` gives is
    no matrix.

    The estimator is used as it is configured, except that every `random_state` is set
    to 0 or 1. A small model and few passes make the checks quick.

    Parameters
    ----------
    estimator : estimator object
        Instance to check. It is cloned, never fitted itself.
    expected_failed_checks : dict, default=None
        `{"check_name": "why it fails"}`: failures that are reported as `"xfail"`.
    on_skip : "warn" or None, default="warn"
        Whether a skipped check gives a `SkipTestWarning`.
    on_fail : {"raise", "warn"} or None, default="raise"
        Whether the first failed check raises its error, each gives an
        `EstimatorCheckFailedWarning`, or failures are only reported in the result.
    callback : callable, default=None
        Called after each check with the entries of its result as keyword arguments. Not
        together with `on_fail="raise"`.

    Returns
    -------
    list of dict
        One per check: `estimator`, `check_name`, `exception` (None, or the error),
        `status` (`"passed"`, `"failed"`, `"skipped"` or `"xfail"`), `expected_to_fail`
        and `expected_to_fail_reason`.

    Raises
    ------
    AssertionError or other error of the first failed check
        With `on_fail="raise"`.

    See Also
    --------
    parametrize_with_text_checks : The same, with one test for each check under pytest.

    Notes
    -----
    Answers that should be equal are compared to 1e-5, relative and absolute, which is
    what sums in float32 keep. An estimator that computes in bfloat16 is to be checked
    with its float32 setting.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import HashingVectorizer
    >>> from sklearn_bert.testing import check_text_estimator
    >>> results = check_text_estimator(
    ...     HashingVectorizer(n_features=64), on_skip=None, on_fail=None
    ... )
    >>> {result["check_name"] for result in results if result["status"] == "failed"}
    {...'check_text_none_is_refused'...}
    """
    if isinstance(estimator, type):
        raise TypeError(
            f"estimator is the class {estimator.__name__}; expected an instance, e.g. "
            f"{estimator.__name__}()."
        )
    if on_skip not in ("warn", None):
        raise ValueError(f"on_skip is {on_skip!r}; expected 'warn' or None.")
    if on_fail not in ("raise", "warn", None):
        raise ValueError(f"on_fail is {on_fail!r}; expected 'raise', 'warn' or None.")
    if on_fail == "raise" and callback is not None:
        raise ValueError(
            "callback is given and on_fail is 'raise'; expected on_fail='warn' or None "
            "where there is a callback."
        )
    expected = expected_failed_checks or {}
    results = []
    for check in all_checks(estimator):
        result = _run(check, estimator, expected.get(check.name))
        if result["status"] == "failed" and on_fail == "raise":
            raise result["exception"]
        if result["status"] in ("failed", "xfail") and on_fail == "warn":
            warnings.warn(EstimatorCheckFailedWarning(**result), stacklevel=2)
        if result["status"] == "skipped" and on_skip == "warn":
            warnings.warn(
                f"Skipping {check} for {type(estimator).__name__}: "
                f"{result['exception']}",
                SkipTestWarning,
                stacklevel=2,
            )
        results.append(result)
        if callback is not None:
            callback(**result)
    return results


def parametrize_with_text_checks(
    estimators: Iterable[Any],
    *,
    expected_failed_checks: Callable[[Any], dict[str, str]] | None = None,
    xfail_strict: bool | None = None,
) -> Any:
    """Turn a test function into one test for each estimator and check, under pytest.

    Parameters
    ----------
    estimators : list of estimator objects
        Instances to check.
    expected_failed_checks : callable, default=None
        Takes an estimator, returns `{"check_name": "why it fails"}`; these tests are
        marked as `xfail`.
    xfail_strict : bool, default=None
        Whether such a test fails when it passes. None: as pytest is configured.

    Returns
    -------
    pytest.mark.parametrize
        For a function with the arguments `estimator` and `check`.

    See Also
    --------
    check_text_estimator : The same in one call, without pytest.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn_bert.testing import parametrize_with_text_checks
    >>> @parametrize_with_text_checks([TfidfVectorizer()])
    ... def test_text_conventions(estimator, check):
    ...     check(estimator)
    """
    pytest = import_module("pytest")  # not needed by `check_text_estimator`
    strict = {} if xfail_strict is None else {"strict": xfail_strict}
    cases = []
    for estimator in estimators:
        if isinstance(estimator, type):
            raise TypeError(
                f"estimators holds the class {estimator.__name__}; expected instances, "
                f"e.g. {estimator.__name__}()."
            )
        reasons = expected_failed_checks(estimator) if expected_failed_checks else {}
        for check in all_checks(estimator):
            reason = reasons.get(check.name)
            marks = (
                [] if reason is None else [pytest.mark.xfail(reason=reason, **strict)]
            )
            case_id = f"{_short(estimator)}-{check}"
            cases.append(pytest.param(estimator, check, marks=marks, id=case_id))
    return pytest.mark.parametrize(("estimator", "check"), cases)


def all_checks(estimator: BaseEstimator) -> list[Check]:
    """Return the checks that are for this estimator: scikit-learn's, then our own."""
    official = [] if reads_words(estimator) else official_checks(estimator)
    return official + text_checks(estimator)


def _run(check: Check, estimator: BaseEstimator, reason: str | None) -> dict[str, Any]:
    """Run a check, and return its result."""
    status: str = "passed"
    exception: Exception | None = None
    try:
        check(estimator)
    except SkipTest as skip:
        status, exception = "skipped", skip
    except Exception as error:
        status, exception = "failed" if reason is None else "xfail", error
    return {
        "estimator": estimator,
        "check_name": check.name,
        "exception": exception,
        "status": status,
        "expected_to_fail": reason is not None,
        "expected_to_fail_reason": NOT_EXPECTED if reason is None else reason,
    }


def _short(estimator: BaseEstimator) -> str:
    """Write the estimator in one line, with only those parameters that were changed."""
    with config_context(print_changed_only=True):
        return " ".join(repr(estimator).split())
