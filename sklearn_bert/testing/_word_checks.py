"""Estimators whose rows are lists of words, and whose answers are lists of tags."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_bert.testing._data import new_rows, problem
from sklearn_bert.testing._registry import has, learns_well, reads_words, text_check
from sklearn_bert.testing._tools import (
    answers,
    assert_close,
    assert_refused,
    assert_same_answers,
    assert_X_is_refused,
    fit,
    fitted,
    optional,
)


def in_objects(rows: list[Any]) -> np.ndarray:
    """Put lists into an array of objects."""
    # np.array would make a table of lists of equal length.
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


def assert_words_agree(estimator: BaseEstimator, hold: Any, what: str) -> None:
    """Fit and ask with other containers; the answers must not change."""
    X, y = problem(estimator)
    new = new_rows(estimator)
    expected = answers(fitted(estimator), new)
    got = answers(fit(estimator, hold(X), hold(y)), hold(new))
    assert_same_answers(got, expected, f"words in {what} get other answers")


@text_check(reads_words)
def check_text_words_one_tag_each(name: str, estimator: BaseEstimator) -> None:
    """`predict` gives a list of lists of tags, one for each word."""
    new = new_rows(estimator)
    predicted = fitted(estimator).predict(new)
    assert isinstance(predicted, list), f"predict gives a {type(predicted).__name__}"
    for row, tags in enumerate(predicted):
        assert isinstance(tags, list), f"row {row} is a {type(tags).__name__}"
        assert len(tags) == len(new[row]), (
            f"row {row} has {len(new[row])} words and {len(tags)} tags"
        )


@text_check(reads_words)
def check_text_words_tags_come_back(name: str, estimator: BaseEstimator) -> None:
    """Tags are those of y, as str, and `classes_` holds them sorted."""
    model = fitted(estimator)
    assert list(model.classes_) == ["B-NEG", "B-POS", "O"], f"{model.classes_}"
    for tags in model.predict(new_rows(estimator)):
        for tag in tags:
            assert isinstance(tag, str), f"a tag is a {type(tag).__name__}"
            assert tag in model.classes_, f"{tag!r} is no tag of y"


@text_check(reads_words)
def check_text_words_tuples(name: str, estimator: BaseEstimator) -> None:
    """Tuples of words are read as lists are."""
    assert_words_agree(estimator, lambda rows: [tuple(row) for row in rows], "tuples")


@text_check(reads_words)
def check_text_words_arrays(name: str, estimator: BaseEstimator) -> None:
    """Arrays of words are read as lists are."""
    assert_words_agree(
        estimator, lambda rows: [np.array(row) for row in rows], "arrays"
    )


@text_check(reads_words)
def check_text_words_array_of_lists(name: str, estimator: BaseEstimator) -> None:
    """An array of objects that are lists is read as a list of lists is."""
    assert_words_agree(estimator, in_objects, "an array of lists")


@text_check(reads_words)
def check_text_words_series(name: str, estimator: BaseEstimator) -> None:
    """A pandas Series of lists is read by position."""
    pd = optional("pandas")
    assert_words_agree(
        estimator,
        lambda rows: pd.Series(rows, index=range(len(rows), 0, -1)),
        "a Series",
    )


@text_check(reads_words)
def check_text_words_sentence_is_refused(name: str, estimator: BaseEstimator) -> None:
    """A str in the place of a list of words is refused, not read by letters."""
    assert_X_is_refused(estimator, lambda X: [" ".join(row) for row in X], "sentences")


@text_check(reads_words)
def check_text_words_one_row_is_refused(name: str, estimator: BaseEstimator) -> None:
    """A single list of words in the place of a list of them is refused."""
    assert_X_is_refused(estimator, lambda X: X[0], "one list of words")


@text_check(reads_words)
def check_text_words_missing_is_refused(name: str, estimator: BaseEstimator) -> None:
    """A word that is None, or a number, or a row that is None, is refused."""
    for wrong in ([None, "film"], [7, "film"], None):
        spoil = partial(_replace_first, wrong)
        assert_X_is_refused(estimator, spoil, f"{wrong} in the place of words")


def _replace_first(row: Any, X: list[Any]) -> list[Any]:
    return [row, *X[1:]]


@text_check(reads_words)
def check_text_words_other_number_of_tags_is_refused(
    name: str, estimator: BaseEstimator
) -> None:
    """A row with more tags than words is refused, and the error names it."""
    X, y = problem(estimator)
    y[3] = [*y[3], "O"]
    error = assert_refused(lambda: fit(estimator, X, y), "more tags than words")
    assert "3" in str(error), f"the error does not name row 3: {error}"


@text_check(reads_words)
def check_text_words_missing_tag_is_refused(
    name: str, estimator: BaseEstimator
) -> None:
    """A tag that is None is refused."""
    X, y = problem(estimator)
    y[3] = [None, *y[3][1:]]
    assert_refused(lambda: fit(estimator, X, y), "None among the tags")


@text_check(reads_words)
def check_text_words_odd_words(name: str, estimator: BaseEstimator) -> None:
    """Empty, blank, very long and exotic words each get a tag."""
    odd = ["", " ", "\0", "x" * 5000, "\U0001f469\u200d\U0001f52c", "two words"]
    (tags,) = fitted(estimator).predict([odd])
    assert len(tags) == len(odd), f"{len(tags)} tags for {len(odd)} odd words"


@text_check(reads_words, has("predict_proba"))
def check_text_words_probabilities(name: str, estimator: BaseEstimator) -> None:
    """Each word has probabilities that sum to 1; the highest is the predicted tag."""
    model, new = fitted(estimator), new_rows(estimator)
    for row, (proba, tags) in enumerate(
        zip(model.predict_proba(new), model.predict(new), strict=True)
    ):
        assert proba.shape == (len(new[row]), 3), f"row {row}: shape {proba.shape}"
        assert_close(proba.sum(axis=1), 1)
        assert model.classes_[proba.argmax(axis=1)].tolist() == tags, f"row {row}"


@text_check(reads_words, has("score"), learns_well)
def check_text_words_learns_decisive_words(name: str, estimator: BaseEstimator) -> None:
    """Of tags that the word decides, more than 83 % are right; `score` is in 0 to 1."""
    X, y = problem(estimator, 40)
    model = fit(estimator, X, y)
    pairs = [
        (tag, told)
        for tags, guesses in zip(y, model.predict(X), strict=True)
        for tag, told in zip(tags, guesses, strict=True)
    ]
    # Three of four words are O, so that predicting only O would be 75 % right.
    accuracy = np.mean([tag == told for tag, told in pairs if tag != "O"])
    assert accuracy > 0.83, f"accuracy on the words that decide is {accuracy:.2f}"
    assert 0 <= model.score(X, y) <= 1, f"score is {model.score(X, y)}"
