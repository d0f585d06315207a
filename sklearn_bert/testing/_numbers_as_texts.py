"""`NumbersAsTexts`: a text estimator that takes matrices of numbers."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from string import ascii_lowercase
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import Tags, TransformerTags, get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

FITS = ("fit", "fit_predict", "fit_transform")
READS_X = (
    *FITS,
    "partial_fit",
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "score",
    "score_samples",
    "transform",
)
OWN = ("estimator", "n_features_in_", "feature_names_in_")
N_LETTERS = len(ascii_lowercase)
MIDDLE = 12  # the letter "m" is zero
LARGEST = 100.0  # and beyond: the letter "y", which is as far from "m" as "a" is


class NumbersAsTexts(BaseEstimator):
    """A text estimator that takes numbers: each row is written as a text, then read.

    The matrix is validated as any scikit-learn estimator does it, and then the wrapped
    estimator gets one text per row. It is everything else: parameters, tags, methods,
    signatures and fitted attributes are its own. A sparse matrix is handed on as it is,
    because it is a kind of X that a text estimator may well be given, by mistake.
    """

    def __init__(self, estimator: BaseEstimator) -> None:
        self.estimator = estimator

    # -- everything is the wrapped estimator's own ------------------------------------

    def __getattr__(self, name: str) -> Any:
        # Python calls this for attributes that it does not find. While `estimator` is
        # not set, looking it up below would recurse without end.
        if name in OWN or name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self.estimator, name)
        return self._on_numbers(name, value) if name in READS_X else value

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OWN:
            object.__setattr__(self, name, value)
        else:
            setattr(self.estimator, name, value)

    def __delattr__(self, name: str) -> None:
        if name in OWN:
            object.__delattr__(self, name)
        else:
            delattr(self.estimator, name)

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        """Return the state of the wrapped estimator, which checks compare."""
        return dict(vars(self.estimator))

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        return f"NumbersAsTexts({self.estimator!r})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the wrapped estimator."""
        return self.estimator.get_params(deep=deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the wrapped estimator."""
        self.estimator.set_params(**params)
        return self

    def __sklearn_clone__(self) -> NumbersAsTexts:
        return NumbersAsTexts(clone(self.estimator))

    def __reduce__(self) -> Any:
        own = {name: getattr(self, name) for name in OWN[1:] if hasattr(self, name)}
        return _restore, (self.estimator, own)

    def __sklearn_is_fitted__(self) -> bool:
        try:
            check_is_fitted(self.estimator)
        except NotFittedError:
            return False
        return True

    def __sklearn_tags__(self) -> Tags:
        tags = copy.deepcopy(get_tags(self.estimator))
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        tags.input_tags.string = False
        tags.input_tags.allow_nan = False
        # Vectorizers are tagged thus because numbers are no texts; here they are.
        tags._skip_test = False
        if tags.transformer_tags is None and hasattr(self.estimator, "transform"):
            tags.transformer_tags = TransformerTags()
        return tags

    # -- but X ------------------------------------------------------------------------

    def _on_numbers(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)  # with its signature, which checks look at
        def call(X: Any, *args: Any, **kwargs: Any) -> Any:
            result = method(self._read(name, X), *args, **kwargs)
            return self if result is self.estimator else result

        return call

    def _read(self, name: str, X: Any) -> Any:
        if issparse(X):
            return X
        is_first = name == "partial_fit" and not hasattr(self, "n_features_in_")
        reset = name in FITS or is_first
        # An X without rows goes through: to refuse it is up to the estimator.
        return spell(validate_data(self, X, reset=reset, ensure_min_samples=0))


def _restore(estimator: BaseEstimator, own: dict[str, Any]) -> NumbersAsTexts:
    adapter = NumbersAsTexts(estimator)
    for name, value in own.items():
        setattr(adapter, name, value)
    return adapter


def spell(X: np.ndarray) -> list[str]:
    """Write each row as a text, with a word of two letters for each number.

    The first letter is the column's, the second tells the size, from "a" (below -78)
    over "m" (zero) to "y" (above 78), in steps that are fine near zero and coarse far
    from it. So equal rows give equal texts, whatever the other rows are; rows that are
    close share words; and a word is short enough for any tokenizer, letter by letter.
    From column 27 on, columns share letters.
    """
    sizes = np.arcsinh(2 * np.clip(X.astype(np.float64), -LARGEST, LARGEST))
    levels = np.round(2 * sizes).astype(int) + MIDDLE
    return [
        " ".join(
            ascii_lowercase[column % N_LETTERS] + ascii_lowercase[level]
            for column, level in enumerate(row)
        )
        for row in levels
    ]
