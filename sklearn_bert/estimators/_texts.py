"""Read X of texts in `fit`, compare later ones with it, and compute their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from sklearn_bert._process._sklearn import get_feature_names
from sklearn_bert.text._input import Texts, check_texts
from sklearn_bert.text._rows import rows_of_texts
from sklearn_bert.text._stream import read_stream
from sklearn_bert.text._template import template_columns
from sklearn_bert.text._tokenizer import TextTokenizer


class TextInputMixin:
    """Reads X as columns of texts, and compares it with X of `fit`."""

    template: str | None
    missing: str
    n_features_in_: int
    feature_names_in_: np.ndarray
    _template: str | None

    def _read_X(
        self, X: ArrayLike, *, is_like_before: bool = False
    ) -> tuple[Texts, dict[str, Any]]:
        """Return the texts of a fit, and the attributes that describe X.

        With `is_like_before` X has to be of the form that an earlier fit saw.
        """
        columns = None if self.template is None else template_columns(self.template)
        texts = check_texts(X, template=self.template, missing=self.missing)
        attributes: dict[str, Any] = {
            "n_features_in_": texts.n_features,
            "_template": self.template,
        }
        if columns is not None:
            attributes["feature_names_in_"] = np.array(columns, dtype=object)
        elif texts.is_2d and (names := get_feature_names(X)) is not None:
            attributes["feature_names_in_"] = names
        if is_like_before:
            self._check_like_before(X, texts)
            # A list may follow a frame, whose names are still those of the model.
            if hasattr(self, "feature_names_in_"):
                attributes.setdefault("feature_names_in_", self.feature_names_in_)
        return texts, attributes

    def _read_stream(self, X: Any) -> tuple[Iterator[str], dict[str, Any]]:
        """Return the texts of a fit that come one by one, checked as they are read."""
        if self.template is not None:
            raise ValueError(
                f"template is {self.template!r}, but X is a {type(X).__name__}, which "
                "has no columns; hand in a data frame, or joined texts with "
                "template=None."
            )
        return read_stream(X, missing=self.missing), {
            "n_features_in_": 1,
            "_template": None,
        }

    def _read_validation(
        self, X_val: ArrayLike | None, y_val: ArrayLike | None, texts: Texts
    ) -> Texts | None:
        """Return the texts to validate on, of the same form as those to train on."""
        if X_val is None:
            return None
        try:
            found = check_texts(X_val, template=self.template, missing=self.missing)
        except (TypeError, ValueError) as error:
            raise type(error)(f"in X_val: {error}") from error
        if found.n_features != texts.n_features:
            raise ValueError(
                f"X_val has {found.n_features} features and X has "
                f"{texts.n_features}; expected the same."
            )
        check_validation_lengths(found, y_val)
        return found

    def _read_X_again(self, X: ArrayLike) -> Texts:
        """Return the texts of a call after fit, which must have the form of those."""
        check_is_fitted(self)
        texts = check_texts(X, template=self._template, missing=self.missing)
        self._check_like_before(X, texts)
        return texts

    def _check_like_before(self, X: ArrayLike, texts: Texts) -> None:
        """Raise ValueError unless X has as many columns as in fit, of the same names.

        Names guard the order of columns. A single column has none, so where one side
        has no name there is nothing to warn about: a list may follow a frame.
        """
        if texts.n_features != self.n_features_in_:
            raise ValueError(
                f"X has {texts.n_features} features, but {type(self).__name__} is "
                f"expecting {self.n_features_in_} features as input."
            )
        # A template finds its columns by name, in any order.
        if self._template is not None or not texts.is_2d:
            return
        was_named = hasattr(self, "feature_names_in_")
        is_named = get_feature_names(X) is not None
        # scikit-learn's own check of names, so that its errors read as elsewhere.
        if self.n_features_in_ > 1 or (was_named and is_named):
            validate_data(self, X, reset=False, skip_check_array=True)


class TextModelMixin(TextInputMixin):
    """Computes rows for texts by the fitted net."""

    tokenizer_: TextTokenizer

    def _compute(
        self, X: ArrayLike, compute: Callable[..., np.ndarray], *merge_windows: Any
    ) -> np.ndarray:
        """Compute a row per text, float32, by a method of the net.

        Parameters
        ----------
        X : as in `fit`, of length n_texts
        compute : callable
            `net_.scores` or `net_.vectors`.
        *merge_windows : callable
            Of the loss: makes scores of a text from those of its windows.

        Returns
        -------
        ndarray of shape (n_texts, n_outputs), float32
        """
        return rows_of_texts(
            self.tokenizer_,
            self._read_X_again(X),
            lambda table, remember: compute(table, *merge_windows, remember=remember),
        )


def check_validation_lengths(X_val: Any, y_val: ArrayLike | None) -> None:
    """Raise ValueError where the caller's validation has not one target per row."""
    try:
        check_consistent_length(X_val, y_val)
    except ValueError as error:
        raise ValueError(f"X_val and y_val do not match: {error}") from error
