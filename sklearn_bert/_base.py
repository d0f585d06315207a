"""`BertEstimator`: what every estimator of the house does with X and with its net."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data

from sklearn_bert._sklearn import Interval, StrOptions, get_feature_names
from sklearn_bert.model import POOLINGS, Checkpoint, TextModel, load_checkpoint
from sklearn_bert.text import Texts, TextTokenizer, check_texts, parse_template
from sklearn_bert.training import BertNet, resolve_device

INPUT_CONSTRAINTS: dict[str, list[Any]] = {
    "checkpoint": [str, os.PathLike],
    "revision": [str, None],
    "template": [str, None],
    "missing": [StrOptions({"error", "empty"})],
    "max_length": [Interval(Integral, 4, None, closed="left"), None],
    "pooling": [StrOptions({"auto", *POOLINGS})],
    "precision": [StrOptions({"auto", "float32", "bfloat16"})],
    "device": [str],
    "random_state": ["random_state"],
}

TRAINING_CONSTRAINTS: dict[str, list[Any]] = {
    "max_epochs": [Interval(Integral, 1, None, closed="left")],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "learning_rate": [Interval(Real, 0, None, closed="neither")],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "warmup": [Interval(Real, 0, 1, closed="both")],
    "dropout": [Interval(Real, 0, 1, closed="left"), None],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "callbacks": [list, None],
    "verbose": ["verbose"],
}


class BertEstimator(BaseEstimator):
    """Base of the estimators: X on the way in, scores on the way out.

    Calls go down only: a subclass composes these methods, and none of them calls back
    into the subclass. Think twice before adding anything here.
    """

    checkpoint: str | os.PathLike[str]
    revision: str | None
    template: str | None
    missing: str
    max_length: int | None
    pooling: str
    precision: str
    device: str
    random_state: Any
    net_: BertNet
    tokenizer_: TextTokenizer

    def _read_X(self, X: Any) -> tuple[Texts, dict[str, Any]]:
        """Texts of a fit, and the `n_features_in_`, `feature_names_in_` to publish."""
        resolve_device(self.device)
        if self.template is not None:
            parse_template(self.template)
        texts = check_texts(X, template=self.template, missing=self.missing)
        seen: dict[str, Any] = {
            "n_features_in_": texts.n_features,
            "_template": self.template,
            "_missing": self.missing,
        }
        names = get_feature_names(X) if texts.is_2d else None
        if names is not None:
            seen["feature_names_in_"] = names
        return texts, seen

    def _read_X_again(self, X: Any) -> Texts:
        """Texts of a call after fit, held against what fit saw."""
        check_is_fitted(self)
        texts = check_texts(X, template=self._template, missing=self._missing)
        if texts.n_features != self.n_features_in_:
            raise ValueError(
                f"X has {texts.n_features} features, but {type(self).__name__} is "
                f"expecting {self.n_features_in_} features as input."
            )
        # Names guard the order of columns; one column without a name to compare has
        # none, so a Series may follow a frame and a frame a list.
        was_named = hasattr(self, "feature_names_in_")
        is_named = texts.is_2d and get_feature_names(X) is not None
        if (was_named and is_named) or (texts.is_2d and texts.n_features > 1):
            validate_data(self, X, reset=False, skip_check_array=True)
        return texts

    def _load_checkpoint(self, dropout: float | None = None) -> Checkpoint:
        return load_checkpoint(self.checkpoint, revision=self.revision, dropout=dropout)

    def _build_net(
        self, model: TextModel, tokenizer: TextTokenizer, **training: Any
    ) -> BertNet:
        return BertNet(
            model,
            placement=self.device,
            precision=self.precision,
            pad_id=tokenizer.pad_id,
            **training,
        )

    def _draw_seed(self) -> int:
        """One seed for everything random in a fit.

        With `random_state=None` it comes from the operating system, because drawing
        from NumPy's global generator would change the caller's next numbers.
        """
        if self.random_state is None:
            return int(np.random.SeedSequence().generate_state(1)[0])
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _publish(self, **fitted: Any) -> Self:
        """Set every fitted attribute at once, and drop those of an earlier fit."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            if not name.startswith("__"):
                delattr(self, name)
        for name, value in fitted.items():
            setattr(self, name, value)
        return self

    def _compute(self, X: Any, method: str) -> np.ndarray:
        """Texts -> `scores` or `vectors` of the net, float32, in the order of X."""
        texts = self._read_X_again(X)
        table = self.tokenizer_(texts)
        table.warn_if_cut()
        return getattr(self.net_, method)(table)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags
