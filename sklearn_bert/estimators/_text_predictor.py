"""`TextPredictor`: what the classifier and the regressor of texts have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_bert.estimators._base import BertEstimator
from sklearn_bert.estimators._pairs import check_divides, check_pooling
from sklearn_bert.estimators._pretrainer import BertPretrainer
from sklearn_bert.estimators._texts import TextModelMixin
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._input import Texts
from sklearn_bert.text._tokenizer import TextTokenizer


class TextPredictor(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, TextModelMixin, BertEstimator
):
    """Base of the estimators that put a head on the vectors of texts."""

    pooling: str
    trainable: str | int
    long_text: str
    window_stride: int | None

    def _read_X(
        self, X: ArrayLike, *, is_like_before: bool = False
    ) -> tuple[Texts, dict[str, Any]]:
        """Return the texts of a fit, pairs where these are to be compared."""
        texts, attributes = super()._read_X(X, is_like_before=is_like_before)
        check_pooling(self, texts)
        return texts, attributes

    def _load(
        self, n_outputs: int, *, of_pairs: bool, adapted: BertPretrainer | None
    ) -> tuple[TextModel, TextTokenizer]:
        """Load the checkpoint, or what a pretrainer made of it, with a new head."""
        model, tokenizer = self._load_model(
            trainable=self.trainable,
            pooling=self.pooling,
            long_text=self.long_text,
            window_stride=self.window_stride,
            of_pairs=of_pairs,
            n_outputs=n_outputs,
            dropout=self.dropout,
            adapted=None if adapted is None else adapted.net_,
        )
        check_divides(self, tokenizer)
        return model, tokenizer

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Compute the fine-tuned vector of each text: what the head sees.

        Parameters
        ----------
        X : as in `fit`, of length n_texts

        Returns
        -------
        ndarray of shape (n_texts, width), float32
            With `pooling="similarity"` of width 1: the cosine.
        """
        check_is_fitted(self)  # `self.net_` would raise AttributeError
        return self._compute(X, self.net_.vectors)

    @property
    def pooling_(self) -> str:
        """How texts are pooled: `pooling`, or what "auto" has come to."""
        check_is_fitted(self)
        return self.net_.module.pooling

    @property
    def _n_features_out(self) -> int:
        return self.net_.module.pooled_width

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # Texts have no dtype that the vectors could keep.
        tags.transformer_tags.preserves_dtype = []
        return tags
