"""`BertEstimator`: what every estimator of the house does with X and with its net."""

from __future__ import annotations

import copy
import os
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackContext, CallbackSupportMixin
from sklearn.utils import Tags
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from sklearn_bert._process._scalars import as_python, to_float
from sklearn_bert._process._sklearn import Interval, StrOptions, get_feature_names
from sklearn_bert._process._versions import PickledWithVersion
from sklearn_bert.compute._device import resolve_device
from sklearn_bert.compute._memory import give_back
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._pooling import POOLINGS
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.model._torch_state import own_torch_state
from sklearn_bert.text._columns import excerpt
from sklearn_bert.text._input import Texts, check_texts
from sklearn_bert.text._long import LONG_TEXT
from sklearn_bert.text._template import template_columns
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.text._truncation import truncation_report, warn_if_cut
from sklearn_bert.text._unknown import count_unknown, unknown_report, warn_if_unknown
from sklearn_bert.training._net import BertNet

# How many texts are tokenised while those before them are computed.
TEXTS_PER_PART = 16384

CHECKPOINT_CONSTRAINTS: dict[str, list[Any]] = {
    "checkpoint": [str, os.PathLike],
    "revision": [str, None],
    "max_length": [Interval(Integral, 4, None, closed="left"), None],
    "precision": [StrOptions({"auto", "float32", "tf32", "bfloat16"})],
    "device": [str],
    "random_state": ["random_state"],
}

TEXT_CONSTRAINTS: dict[str, list[Any]] = {
    "template": [str, None],
    "missing": [StrOptions({"error", "empty"})],
    "pooling": [StrOptions({"auto", *POOLINGS})],
    "long_text": [StrOptions(set(LONG_TEXT))],
    "window_stride": [Interval(Integral, 1, None, closed="left"), None],
}


def check_validation_lengths(X_val: Any, y_val: Any) -> None:
    """Raise ValueError where the caller's validation has not one target per row."""
    try:
        check_consistent_length(X_val, y_val)
    except ValueError as error:
        raise ValueError(f"X_val and y_val do not match: {error}") from error


class BertEstimator(PickledWithVersion, CallbackSupportMixin, BaseEstimator):
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
    long_text: str
    window_stride: int | None
    net_: BertNet
    max_length_: int
    tokenizer_: TextTokenizer

    def _validate_params(self) -> None:
        super()._validate_params()
        for name, value in self.get_params(deep=False).items():
            if isinstance(value, Real) and np.isinf(to_float(value)):
                raise ValueError(
                    f"The {name!r} parameter of {type(self).__name__} must be a number "
                    f"that fits into a float. Got {excerpt(value)} instead."
                )

    def _read_X(self, X: Any) -> tuple[Texts, dict[str, Any]]:
        """Texts of a fit, and the `n_features_in_`, `feature_names_in_` to publish."""
        resolve_device(self.device)
        columns = None if self.template is None else template_columns(self.template)
        texts = check_texts(X, template=self.template, missing=self.missing)
        seen: dict[str, Any] = {
            "n_features_in_": texts.n_features,
            "_template": self.template,
        }
        if columns is not None:
            seen["feature_names_in_"] = np.array(columns, dtype=object)
        elif texts.is_2d and (names := get_feature_names(X)) is not None:
            seen["feature_names_in_"] = names
        return texts, seen

    def _read_validation(self, X_val: Any, texts: Texts, y_val: Any) -> Texts:
        """Texts to validate on, of the same form as those to train on."""
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

    def _read_X_again(self, X: Any) -> Texts:
        """Texts of a call after fit, held against what fit saw."""
        check_is_fitted(self)
        texts = check_texts(X, template=self._template, missing=self.missing)
        self._check_like_before(X, texts)
        return texts

    def _check_like_before(self, X: Any, texts: Texts) -> None:
        """As many columns as in fit, of the same names."""
        if texts.n_features != self.n_features_in_:
            raise ValueError(
                f"X has {texts.n_features} features, but {type(self).__name__} is "
                f"expecting {self.n_features_in_} features as input."
            )
        if self._template is None and texts.is_2d:
            self._check_names(X)

    def _check_names(self, X: Any) -> None:
        """Hold column names against those of fit, by scikit-learn's rules.

        Names guard the order of columns. A single column has none, so where one side
        has no name there is nothing to warn about: a list may follow a frame.
        """
        was_named = hasattr(self, "feature_names_in_")
        is_named = get_feature_names(X) is not None
        if self.n_features_in_ > 1 or (was_named and is_named):
            validate_data(self, X, reset=False, skip_check_array=True)

    @own_torch_state()
    def _load_model(
        self,
        *,
        trainable: str | int,
        pooling: str,
        long_text: str = "truncate",
        window_stride: int | None = None,
        of_pairs: bool = False,
        n_outputs: int | None = None,
        dropout: float | None = None,
        normalize: bool | None = None,
        adapted: BertNet | None = None,
    ) -> tuple[TextModel, TextTokenizer, str | None]:
        """The checkpoint as a model, its tokenizer, a fingerprint of what is frozen.

        `normalize` is for models of vectors: whether to scale them to length 1, beyond
        what the checkpoint does itself; None: never. `adapted` is a net whose encoder
        has learnt more than the checkpoint's.
        """
        trainable, dropout = as_python(trainable), as_python(dropout)
        checkpoint = load_checkpoint(
            self.checkpoint,
            revision=self.revision,
            # A frozen encoder drops nothing, so every dropout may share its weights.
            dropout=None if trainable == "head" else dropout,
            shared=trainable == "head" and adapted is None,
        )
        left_to_right = checkpoint.left_to_right
        if adapted is not None:
            # A pooler that a family's language model lacks stays the checkpoint's.
            weights = adapted.module.encoder.state_dict()
            lost, _ = checkpoint.encoder.load_state_dict(weights, strict=False)
            assert all(name.startswith("pooler.") for name in lost)
            left_to_right = bool(adapted.module.left_to_right)
        steps: list[Any] = []
        if normalize is not None and pooling == "auto":
            steps = checkpoint.steps()
            checkpoint.check_prompt(is_written_out=self.template is not None)
            if checkpoint.ends_normalized():
                steps.pop()
                normalize = True
        tokenizer = checkpoint.text_tokenizer(
            as_python(self.max_length),
            long_text=long_text,
            window_stride=as_python(window_stride),
        )
        model = TextModel(
            checkpoint.encoder,
            pooling=checkpoint.resolve_pooling(
                pooling,
                of_pairs=of_pairs,
                is_trained=n_outputs is not None or trainable != "head",
            ),
            attention=copy.deepcopy(checkpoint.attention),
            normalize=bool(normalize),
            n_outputs=n_outputs,
            dropout=checkpoint.head_dropout if dropout is None else dropout,
            trainable=trainable,
            left_to_right=left_to_right,
        )
        model.steps.extend(steps)
        is_as_read = trainable != "all" and adapted is None
        frozen = checkpoint.fingerprint() if is_as_read else None
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
            **{"placement": self.device, **training},
            precision=self.precision,
            pad_id=tokenizer.pad_id,
            fingerprint=fingerprint,
        )

    def _begin_fit(
        self, X: Any, y: Any, max_subtasks: int = 0, **metadata: Any
    ) -> tuple[CallbackContext, dict[str, Any]]:
        """Tell scikit-learn's callbacks; their context, and what they are told."""
        given = {name: value for name, value in metadata.items() if value is not None}
        data = {"X": X, "y": y, "metadata": given or None}
        context = self._init_callback_context(max_subtasks=max_subtasks)
        context.call_on_fit_task_begin(estimator=self, **data)
        return context, data

    def _end_fit(self, context: CallbackContext, data: dict[str, Any]) -> None:
        context.call_on_fit_task_end(
            estimator=self, **data, reconstruction_attributes={}
        )

    def _publish(self, **fitted: Any) -> Self:
        """Set every fitted attribute at once, and drop those of an earlier fit."""
        kept = {
            name: value
            for name, value in vars(self).items()
            if not name.endswith("_") or name.startswith("__")
        }
        # In one step: another thread, or an interrupt, finds either fit and no mixture.
        self.__dict__ = kept | fitted
        give_back(torch.device("cpu"))  # the weights of the earlier fit
        return self

    def _compute(self, X: Any, method: str, *merge_windows: Any) -> np.ndarray:
        """Texts -> `scores` or `vectors` of the net, float32: the one road back.

        `merge_windows` of an objective makes scores of a text from those of its
        windows.
        """
        texts, row_of = self._read_X_again(X).distinct()
        compute = getattr(self.net_, method)
        output: np.ndarray | None = None
        whole_lengths, is_cut, unknown, begin = [], [], [], 0
        # A call of several parts is a stream: what it computes is not kept for later.
        remember = len(texts) <= TEXTS_PER_PART
        parts = self.tokenizer_.in_parts(texts, TEXTS_PER_PART, remember=remember)
        for table in parts:
            part = compute(table, *merge_windows, remember=remember)
            if output is None:
                output = np.empty((len(texts), part.shape[1]), dtype=np.float32)
            output[begin : begin + len(part)] = part
            begin += len(part)
            whole_lengths.append(table.whole_lengths)
            assert table.is_cut is not None
            is_cut.append(table.is_cut)
            unknown.append(count_unknown(self.tokenizer_, table))
        assert output is not None  # there is at least one text
        report = truncation_report(
            np.concatenate(whole_lengths)[row_of],
            self.max_length_,
            np.concatenate(is_cut)[row_of],
        )
        warn_if_cut(report)
        warn_if_unknown(unknown_report(np.concatenate(unknown)[row_of]))
        return output if len(output) == len(row_of) else output[row_of]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags
