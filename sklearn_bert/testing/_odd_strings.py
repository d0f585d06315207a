"""Strings that are texts, if odd ones: they are read, and disturb no other row."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_bert.testing._data import new_rows, problem
from sklearn_bert.testing._registry import reads_texts, text_check
from sklearn_bert.testing._tools import (
    answers,
    as_python,
    assert_same,
    assert_same_answers,
    fit,
    fitted,
    pick,
)


def assert_text_is_read(estimator: BaseEstimator, *odd: str) -> None:
    """Ask and fit with odd texts among ordinary ones."""
    X, y = problem(estimator)
    new = new_rows(estimator)
    rows = range(len(new))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may well warn of them
        model = fitted(estimator)
        calm = answers(model, new)
        disturbed = answers(model, new + list(odd))
        own = {method: pick(answer, rows) for method, answer in disturbed.items()}
        assert_same_answers(own, calm, "odd texts change the answers to others")
        assert_finite(disturbed)
        # Odd texts take the place of ordinary ones at the end, so y fits.
        assert_finite(answers(fit(estimator, X[: -len(odd)] + list(odd), y), new))


def assert_finite(told: dict[str, Any]) -> None:
    """Raise where an answer is NaN or infinite (a log may be minus infinity)."""
    for method, answer in told.items():
        answer = as_python(answer)
        if getattr(answer, "dtype", np.dtype(object)).kind == "f":
            good = ~np.isnan(answer) if "log" in method else np.isfinite(answer)
            assert good.all(), f"{method} gives numbers that are not finite"


@text_check(reads_texts)
def check_text_empty_string(name: str, estimator: BaseEstimator) -> None:
    """An empty string is a text."""
    assert_text_is_read(estimator, "")


@text_check(reads_texts)
def check_text_nothing_but_empty_strings(name: str, estimator: BaseEstimator) -> None:
    """After fit, texts that are all empty get answers, and equal ones."""
    told = answers(fitted(estimator), ["", "", ""])
    assert_finite(told)
    for method, answer in told.items():
        message = f"{method} answers equal texts differently"
        assert_same(pick(answer, [0, 1]), pick(answer, [1, 2]), message)


@text_check(reads_texts)
def check_text_white_space(name: str, estimator: BaseEstimator) -> None:
    """Nothing but spaces, tabs and line ends is a text."""
    assert_text_is_read(estimator, " ", "\t\n\r\n", "\u00a0\u2028\u3000")


@text_check(reads_texts)
def check_text_line_ends(name: str, estimator: BaseEstimator) -> None:
    """A text of several lines is one text."""
    assert_text_is_read(estimator, "a good film\nand\r\na bad plot\n")


@text_check(reads_texts)
def check_text_punctuation(name: str, estimator: BaseEstimator) -> None:
    """Nothing but punctuation is a text, as are braces and percent signs."""
    assert_text_is_read(estimator, "?!...", "{0} {name} %s %d", "\\n \\x00 '\"")


@text_check(reads_texts)
def check_text_special_tokens(name: str, estimator: BaseEstimator) -> None:
    """A text may spell out the marks that models use themselves."""
    assert_text_is_read(estimator, "[CLS] [SEP] [PAD] [MASK] <s> </s> <|endoftext|>")


@text_check(reads_texts)
def check_text_emoji(name: str, estimator: BaseEstimator) -> None:
    """Emoji are text, also those of several code points."""
    assert_text_is_read(
        estimator, "\U0001f600", "\U0001f469\u200d\U0001f52c", "\U0001f1eb\U0001f1f7"
    )


@text_check(reads_texts)
def check_text_accents_and_scripts(name: str, estimator: BaseEstimator) -> None:
    """Combining accents, CJK and a script from right to left are text."""
    assert_text_is_read(
        estimator,
        "cafe\u0301",
        "\u4e2d\u6587\u3067\u3059",
        "\u202b\u0633\u0644\u0627\u0645 \u05e9\u05dc\u05d5\u05dd\u202c",
    )


@text_check(reads_texts)
def check_text_control_characters(name: str, estimator: BaseEstimator) -> None:
    """NUL and other control characters, alone or inside, are read."""
    assert_text_is_read(estimator, "\0", "a good\0film", "\x07\x1b[31m\ufeff\ufffe")


@text_check(reads_texts)
def check_text_lone_surrogates(name: str, estimator: BaseEstimator) -> None:
    """Half a surrogate pair, as in badly decoded files, is read."""
    assert_text_is_read(estimator, "\ud800", "a good film \udcff")


@text_check(reads_texts)
def check_text_very_long(name: str, estimator: BaseEstimator) -> None:
    """A text of 20,000 words, and a word of 20,000 letters, are read."""
    assert_text_is_read(estimator, "good film " * 10_000, "x" * 20_000)


@text_check(reads_texts)
def check_text_single_characters(name: str, estimator: BaseEstimator) -> None:
    """Texts of one character are texts."""
    assert_text_is_read(estimator, "a", "7", ".")


@text_check(reads_texts)
def check_text_unseen_words(name: str, estimator: BaseEstimator) -> None:
    """After fit, a text without any word of the training texts gets an answer."""
    assert_finite(answers(fitted(estimator), ["zyx wvu", "quokka"]))
