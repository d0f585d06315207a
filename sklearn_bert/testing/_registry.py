"""`Check`, the list of all checks, and conditions on the estimators they are for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

Condition = Callable[[Any], bool]

INPUT_KINDS = {
    "texts": "each row of X is a str",
    "words": "a list of str",
    "documents": "a str, or a list of str",
    "stream": "a str, and X may be an iterator",
    "documents or stream": "a str, or a list of str, and X may be an iterator of str",
}


@dataclass(frozen=True)
class Check:
    """A named check of an estimator; raises AssertionError where the estimator fails.

    Attributes
    ----------
    name : str
        As in `check_text_one_text`.
    summary : str
        What it checks, in one line.
    ask : callable
        `ask(name_of_the_estimator, estimator)`.
    variant : str
        Tells apart checks of one name, e.g. `"readonly_memmap=True"`.
    """

    name: str
    summary: str
    ask: Callable[[str, Any], None]
    variant: str = ""

    def __call__(self, estimator: BaseEstimator) -> None:
        self.ask(type(estimator).__name__, estimator)

    def __str__(self) -> str:
        return f"{self.name}({self.variant})" if self.variant else self.name


# Filled as the modules of checks are imported, in the order in which `_run` does that.
_CHECKS: list[tuple[Check, tuple[Condition, ...]]] = []


def text_check(
    *conditions: Condition,
) -> Callable[[Callable[[str, Any], None]], Callable[[str, Any], None]]:
    """Register a function as a check, for estimators that meet every condition."""

    def register(ask: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
        # `python -OO` leaves no docstrings.
        summary = (ask.__doc__ or "").partition("\n")[0]
        _CHECKS.append((Check(ask.__name__, summary, ask), conditions))
        return ask

    return register


def text_checks(estimator: BaseEstimator = None) -> list[Check]:
    """Return the checks that are for this estimator; None: all of them."""
    return [
        check
        for check, conditions in _CHECKS
        if estimator is None or all(holds(estimator) for holds in conditions)
    ]


# -- conditions --------------------------------------------------------------------


def input_kind(estimator: BaseEstimator) -> str:
    """Return what a row of X is, a key of `INPUT_KINDS`; `"texts"` where not told.

    An estimator says it by a method `__sklearn_text_input__`.
    """
    ask = getattr(estimator, "__sklearn_text_input__", None)
    kind = "texts" if ask is None else ask()
    if kind not in INPUT_KINDS:
        choices = [f"{name!r} ({what})" for name, what in INPUT_KINDS.items()]
        raise ValueError(
            f"{type(estimator).__name__}.__sklearn_text_input__() gives {kind!r}; "
            f"expected {' or '.join(choices)}."
        )
    return kind


def reads_texts(estimator: BaseEstimator) -> bool:
    """Tell whether a row of X may be a text."""
    return input_kind(estimator) != "words"


def refuses_lists(estimator: BaseEstimator) -> bool:
    """Tell whether a row of X may not be a list."""
    return input_kind(estimator) in ("texts", "stream")


def refuses_iterators(estimator: BaseEstimator) -> bool:
    """Tell whether X may not be an iterator of texts."""
    return input_kind(estimator) in ("texts", "documents")


def gives_vectors(estimator: BaseEstimator) -> bool:
    """Tell whether `transform` gives a matrix; an estimator may say `"lists"` instead.

    It says so by a method `__sklearn_text_output__`.
    """
    ask = getattr(estimator, "__sklearn_text_output__", None)
    return hasattr(estimator, "transform") and (ask is None or ask() == "vectors")


def reads_words(estimator: BaseEstimator) -> bool:
    """Tell whether each row of X is a list of words, and each row of y one of tags."""
    return input_kind(estimator) == "words"


def needs_target(estimator: BaseEstimator) -> bool:
    """Tell whether `fit` needs y (the tags of a pipeline do not say so)."""
    supervised = is_classifier(estimator) or is_regressor(estimator)
    return supervised or get_tags(estimator).target_tags.required


def classifies(estimator: BaseEstimator) -> bool:
    """Tell whether it predicts one label for each text."""
    one_label = get_tags(estimator).target_tags.single_output
    return reads_texts(estimator) and is_classifier(estimator) and one_label


def is_multiclass(estimator: BaseEstimator) -> bool:
    """Tell whether it can learn more than two classes."""
    # Evaluated after `classifies`, so that the tags of a classifier exist.
    return get_tags(estimator).classifier_tags.multi_class


def is_multilabel(estimator: BaseEstimator) -> bool:
    """Tell whether it can predict several labels for each text."""
    tags = get_tags(estimator).classifier_tags
    return reads_texts(estimator) and tags is not None and tags.multi_label


def regresses(estimator: BaseEstimator) -> bool:
    """Tell whether it predicts one number for each text."""
    one_number = get_tags(estimator).target_tags.single_output
    return reads_texts(estimator) and is_regressor(estimator) and one_number


def is_multioutput(estimator: BaseEstimator) -> bool:
    """Tell whether it can predict several numbers for each text."""
    several = get_tags(estimator).target_tags.multi_output
    return reads_texts(estimator) and is_regressor(estimator) and several


def learns_well(estimator: BaseEstimator) -> bool:
    """Tell whether its tags do not warn of a poor score."""
    tags = get_tags(estimator)
    own = tags.classifier_tags or tags.regressor_tags
    return own is None or not own.poor_score


def is_deterministic(estimator: BaseEstimator) -> bool:
    """Tell whether two fits with one seed are promised to agree."""
    return not get_tags(estimator).non_deterministic


def must_be_fitted(estimator: BaseEstimator) -> bool:
    """Tell whether its methods need a fit first."""
    return get_tags(estimator).requires_fit


def has(*methods: str) -> Condition:
    """Return the condition that it has these methods."""

    def holds(estimator: BaseEstimator) -> bool:
        return all(hasattr(estimator, method) for method in methods)

    return holds


def has_parameter(name: str) -> Condition:
    """Return the condition that it has a parameter of this name itself."""

    def holds(estimator: BaseEstimator) -> bool:
        return name in estimator.get_params(deep=False)

    return holds


def takes_weights(estimator: BaseEstimator) -> bool:
    """Tell whether `fit` takes a weight for each text."""
    return reads_texts(estimator) and has_fit_parameter(estimator, "sample_weight")
