"""`BertEstimator`: what every estimator of the house does with X and with its net."""

from __future__ import annotations

import copy
import os
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data

from sklearn_bert._sklearn import Interval, StrOptions, get_feature_names
from sklearn_bert.model import POOLINGS, TextModel, load_checkpoint
from sklearn_bert.text import (
    Texts,
    TextTokenizer,
    check_texts,
    template_columns,
    truncation_report,
    warn_if_cut,
)
from sklearn_bert.training import (
    BertNet,
    BestWeights,
    Examples,
    FitProgress,
    resolve_device,
)

# How many texts are tokenised while those before them are computed.
TEXTS_PER_PART = 16384

INPUT_CONSTRAINTS: dict[str, list[Any]] = {
    "checkpoint": [str, os.PathLike],
    "revision": [str, None],
    "template": [str, None],
    "missing": [StrOptions({"error", "empty"})],
    "max_length": [Interval(Integral, 4, None, closed="left"), None],
    "pooling": [StrOptions({"auto", *POOLINGS})],
    "precision": [StrOptions({"auto", "float32", "tf32", "bfloat16"})],
    "device": [str],
    "random_state": ["random_state"],
}

TRAINING_CONSTRAINTS: dict[str, list[Any]] = {
    "trainable": [
        StrOptions({"all", "head"}),
        Interval(Integral, 1, None, closed="left"),
    ],
    "adapter": [StrOptions({"lora"}), None],
    "gradient_checkpointing": ["boolean", StrOptions({"auto"})],
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
    trainable: str | int
    adapter: str | None
    gradient_checkpointing: bool | str
    max_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float
    n_iter_no_change: int
    callbacks: list[Any] | None
    verbose: int
    net_: BertNet
    max_length_: int
    tokenizer_: TextTokenizer

    def _read_X(self, X: Any) -> tuple[Texts, dict[str, Any]]:
        """Texts of a fit, and the `n_features_in_`, `feature_names_in_` to publish."""
        resolve_device(self.device)
        columns = None if self.template is None else template_columns(self.template)
        texts = check_texts(X, template=self.template, missing=self.missing)
        seen: dict[str, Any] = {
            "n_features_in_": texts.n_features,
            "_template": self.template,
            "_missing": self.missing,
        }
        if columns is not None:
            seen["feature_names_in_"] = np.array(columns, dtype=object)
        elif texts.is_2d and (names := get_feature_names(X)) is not None:
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
        if self._template is None and texts.is_2d:
            self._check_names(X)
        return texts

    def _check_names(self, X: Any) -> None:
        """Hold column names against those of fit, by scikit-learn's rules.

        Names guard the order of columns. A single column has none, so where one side
        has no name there is nothing to warn about: a list may follow a frame.
        """
        was_named = hasattr(self, "feature_names_in_")
        is_named = get_feature_names(X) is not None
        if self.n_features_in_ > 1 or (was_named and is_named):
            validate_data(self, X, reset=False, skip_check_array=True)

    def _load_model(
        self,
        *,
        trainable: str | int,
        n_outputs: int | None = None,
        dropout: float | None = None,
        normalize: bool | None = None,
    ) -> tuple[TextModel, TextTokenizer, str | None]:
        """The checkpoint as a model, its tokenizer, a fingerprint of what is frozen.

        `normalize` is for models of vectors: whether to scale them to length 1, beyond
        what the checkpoint does itself; None: never.
        """
        checkpoint = load_checkpoint(
            self.checkpoint,
            revision=self.revision,
            # A frozen encoder drops nothing, so every dropout may share its weights.
            dropout=None if trainable == "head" else dropout,
            shared=trainable == "head",
        )
        if normalize is not None and self.pooling == "auto":
            normalize = checkpoint.ends_normalized() or normalize
        model = TextModel(
            checkpoint.encoder,
            pooling=checkpoint.resolve_pooling(self.pooling),
            normalize=bool(normalize),
            n_outputs=n_outputs,
            dropout=checkpoint.head_dropout if dropout is None else dropout,
            trainable=trainable,
        )
        tokenizer = checkpoint.text_tokenizer(self.max_length)
        frozen = None if trainable == "all" else checkpoint.fingerprint()
        return model, tokenizer, frozen

    def _build_net(
        self,
        model: TextModel,
        tokenizer: TextTokenizer,
        fingerprint: str | None,
        **training: Any,
    ) -> BertNet:
        return BertNet(
            model,
            placement=self.device,
            precision=self.precision,
            pad_id=tokenizer.pad_id,
            fingerprint=fingerprint,
            **training,
        )

    def _fit_net(
        self,
        model: TextModel,
        tokenizer: TextTokenizer,
        fingerprint: str | None,
        train: Examples,
        valid: Examples | None,
        *,
        shuffle_seed: int,
    ) -> BertNet:
        """Train a model with this estimator's training parameters: the one road up."""
        callbacks = copy.deepcopy(self.callbacks or [])
        if valid is not None:
            callbacks.append(BestWeights(self.n_iter_no_change))
        if self.verbose:
            callbacks.append(FitProgress())
        checkpointing = self.gradient_checkpointing
        if checkpointing != "auto":
            checkpointing = bool(checkpointing)  # NumPy's is not True itself
        net = self._build_net(
            model,
            tokenizer,
            fingerprint,
            lr=self.learning_rate,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            checkpointing=checkpointing,
            adapter=self.adapter,
            shuffle_seed=shuffle_seed,
            valid_examples=valid,
            callbacks=callbacks,
        )
        return net.fit(train)

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
        """Texts -> `scores` or `vectors` of the net, float32: the one road back."""
        texts, row_of = self._read_X_again(X).distinct()
        compute = getattr(self.net_, method)
        output: np.ndarray | None = None
        whole_lengths, begin = [], 0
        # A call of several parts is a stream: what it computes is not kept for later.
        remember = len(texts) <= TEXTS_PER_PART
        parts = self.tokenizer_.in_parts(texts, TEXTS_PER_PART, remember=remember)
        for table in parts:
            part = compute(table, remember=remember)
            if output is None:
                output = np.empty((len(texts), part.shape[1]), dtype=np.float32)
            output[begin : begin + len(part)] = part
            begin += len(part)
            whole_lengths.append(table.whole_lengths)
        assert output is not None  # there is at least one text
        report = truncation_report(
            np.concatenate(whole_lengths)[row_of], self.max_length_
        )
        warn_if_cut(report)
        return output if len(output) == len(row_of) else output[row_of]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags
