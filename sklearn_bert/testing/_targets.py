"""Targets other than one label: several labels, one number, several numbers."""

from __future__ import annotations

from functools import partial

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, r2_score

from sklearn_bert.testing._data import by_turns, new_rows, texts
from sklearn_bert.testing._registry import (
    has,
    is_multilabel,
    is_multioutput,
    learns_well,
    regresses,
    text_check,
)
from sklearn_bert.testing._tools import (
    answers,
    assert_refused,
    assert_same,
    assert_same_answers,
    fit,
    optional,
)

# -- several labels ----------------------------------------------------------------


def indicator(n: int = 16) -> np.ndarray:
    """Return three labels: good, bad, and one that every fourth text has."""
    return np.array(by_turns([1, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 0], n=n))


@text_check(is_multilabel)
def check_text_multilabel_predictions(name: str, estimator: BaseEstimator) -> None:
    """For an indicator of labels, `predict` gives one of its shape and dtype."""
    y = indicator()
    predicted = fit(estimator, texts(), y).predict(texts())
    assert predicted.shape == y.shape, f"shape is {predicted.shape}, not {y.shape}"
    assert predicted.dtype == y.dtype, f"dtype is {predicted.dtype}, not {y.dtype}"
    assert np.isin(predicted, [0, 1]).all(), "a prediction is neither 0 nor 1"


@text_check(is_multilabel)
def check_text_multilabel_list_of_lists(name: str, estimator: BaseEstimator) -> None:
    """An indicator as a list of lists gives the same answers as an array."""
    expected = answers(fit(estimator, texts(), indicator()), new_rows(estimator))
    got = answers(fit(estimator, texts(), indicator().tolist()), new_rows(estimator))
    assert_same_answers(got, expected, "lists give other answers than an array")


@text_check(is_multilabel, has("predict_proba"))
def check_text_multilabel_probabilities(name: str, estimator: BaseEstimator) -> None:
    """A label is predicted where its probability is above one half."""
    model = fit(estimator, texts(), indicator())
    proba = model.predict_proba(texts())
    if isinstance(proba, list):  # one array per label, of its two classes
        proba = np.column_stack([part[:, 1] for part in proba])
    assert proba.shape == (16, 3), f"shape is {proba.shape}"
    assert_same(model.predict(texts()), (proba > 0.5) * 1, "predict and predict_proba")


@text_check(is_multilabel, has("decision_function"))
def check_text_multilabel_decision_function(
    name: str, estimator: BaseEstimator
) -> None:
    """A label is predicted where its `decision_function` is above 0."""
    model = fit(estimator, texts(), indicator())
    scores = model.decision_function(texts())
    assert scores.shape == (16, 3), f"shape is {scores.shape}"
    assert_same(model.predict(texts()), (scores > 0) * 1, "predict and scores")


@text_check(is_multilabel, learns_well)
def check_text_multilabel_learns_decisive_words(
    name: str, estimator: BaseEstimator
) -> None:
    """Of labels that one word decides, it gets more than 83 % right."""
    X, y = texts(40), np.array(by_turns([1, 0], [0, 1], n=80))
    accuracy = accuracy_score(y, fit(estimator, X, y).predict(X))
    assert accuracy > 0.83, f"accuracy on the training texts is {accuracy:.2f}"


# -- one number --------------------------------------------------------------------


def numbers(n: int = 16) -> np.ndarray:
    """Return 1.5 for good texts and -0.5 for bad ones."""
    return np.array(by_turns(1.5, -0.5, n=n))


@text_check(regresses)
def check_text_regression_predictions(name: str, estimator: BaseEstimator) -> None:
    """`predict` gives one finite float per text."""
    predicted = fit(estimator, texts(), numbers()).predict(new_rows(estimator))
    assert predicted.shape == (len(new_rows(estimator)),), f"shape {predicted.shape}"
    assert predicted.dtype.kind == "f", f"dtype is {predicted.dtype}"
    assert np.isfinite(predicted).all(), "a prediction is not finite"


@text_check(regresses)
def check_text_regression_kinds_of_y(name: str, estimator: BaseEstimator) -> None:
    """A list, an array of integers and a Series of another index are the same y."""
    pd = optional("pandas")
    y = np.array(by_turns(3, -1))
    new = new_rows(estimator)
    expected = answers(fit(estimator, texts(), y.astype(float)), new)
    kinds = {
        "a list": y.tolist(),
        "integers": y,
        "a Series": pd.Series(y, index=range(len(y), 0, -1)),
    }
    for what, same in kinds.items():
        got = answers(fit(estimator, texts(), same), new)
        assert_same_answers(got, expected, f"{what} as y gives other answers")


@text_check(regresses)
def check_text_regression_bad_y_is_refused(name: str, estimator: BaseEstimator) -> None:
    """NaN, infinity, None and words are refused as numbers."""
    for wrong in (np.nan, np.inf, None, "much"):
        y = [wrong, *numbers().tolist()[1:]]
        assert_refused(partial(fit, estimator, texts(), y), f"{wrong} in y")


@text_check(regresses, has("score"))
def check_text_score_is_r2(name: str, estimator: BaseEstimator) -> None:
    """`score` is the R2 of `predict`."""
    X, y = texts(), numbers()
    model = fit(estimator, X, y)
    np.testing.assert_allclose(model.score(X, y), r2_score(y, model.predict(X)))


@text_check(regresses, learns_well)
def check_text_regression_learns_a_decisive_word(
    name: str, estimator: BaseEstimator
) -> None:
    """Of numbers that one word decides, R2 on the training texts is above 0.5.

    The bound is that of scikit-learn's `check_regressors_train`.
    """
    X, y = texts(40), numbers(80)
    score = r2_score(y, fit(estimator, X, y).predict(X))
    assert score > 0.5, f"R2 on the training texts is {score:.2f}"


@text_check(regresses, learns_well)
def check_text_regression_scale_of_y(name: str, estimator: BaseEstimator) -> None:
    """Numbers in the thousands are learnt as well as small ones."""
    # Small steps from 0 would hardly reach 5000: the estimator has to standardise.
    X, y = texts(40), 5000 + 1000 * numbers(80)
    score = r2_score(y, fit(estimator, X, y).predict(X))
    assert score > 0.5, f"R2 on the training texts is {score:.2f}"


# -- several numbers ---------------------------------------------------------------


@text_check(is_multioutput)
def check_text_multioutput_predictions(name: str, estimator: BaseEstimator) -> None:
    """For two columns of numbers, `predict` gives two columns of floats."""
    y = np.column_stack([numbers(), -2 * numbers()])
    predicted = fit(estimator, texts(), y).predict(new_rows(estimator))
    assert predicted.shape == (len(new_rows(estimator)), 2), f"shape {predicted.shape}"
    assert predicted.dtype.kind == "f", f"dtype is {predicted.dtype}"


@text_check(is_multioutput, learns_well)
def check_text_multioutput_keeps_columns_apart(
    name: str, estimator: BaseEstimator
) -> None:
    """Two targets that are opposites are predicted as opposites."""
    y = np.column_stack([numbers(80), -numbers(80)])
    predicted = fit(estimator, texts(40), y).predict(texts(40))
    scores = r2_score(y, predicted, multioutput="raw_values")
    assert min(scores) > 0.5, f"R2 of the two columns is {scores}"
