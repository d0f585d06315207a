"""`BertEstimator`: parameters, the model they describe, and what is fitted."""

from __future__ import annotations

import copy
import os
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import Tags

from sklearn_bert._process._sklearn import Interval, StrOptions, VisualBlock
from sklearn_bert._process._versions import PickledWithVersion
from sklearn_bert.compute._memory import give_back
from sklearn_bert.compute._runner import WORKING_COPY
from sklearn_bert.estimators._parameters import CheckedParameters
from sklearn_bert.estimators._summary import summary
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._pooling import POOLINGS
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.model._torch_state import own_torch_state
from sklearn_bert.text._columns import as_python
from sklearn_bert.text._long import LONG_TEXT
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.training._net import BertNet

CHECKPOINT_CONSTRAINTS: dict[str, list[Any]] = {
    "checkpoint": [str, os.PathLike],
    "revision": [str, None],
    "max_length": [Interval(Integral, 4, None, closed="left"), None],
    "precision": [StrOptions({"auto", "float32", "tf32", "bfloat16", "float16"})],
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

# Of the estimators that pool pairs.
PAIR_CONSTRAINTS: dict[str, list[Any]] = {
    "pooling": [StrOptions({"auto", *POOLINGS, "similarity"})]
}

TRAINING_CONSTRAINTS: dict[str, list[Any]] = {
    "trainable": [
        StrOptions({"all", "head"}),
        Interval(Integral, 1, None, closed="left"),
    ],
    "adapter": [StrOptions({"lora"}), None],
    "adapter_rank": [Interval(Integral, 1, None, closed="left")],
    "gradient_checkpointing": ["boolean", StrOptions({"auto"})],
    "max_epochs": [Interval(Integral, 1, None, closed="left")],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "learning_rate": [Interval(Real, 0, None, closed="neither")],
    "layer_decay": [Interval(Real, 0, 1, closed="right")],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "warmup": [Interval(Real, 0, 1, closed="both")],
    "dropout": [Interval(Real, 0, 1, closed="left"), None],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "warm_start": ["boolean"],
    "callbacks": [list, None],
    "checkpoint_folder": [str, os.PathLike, None],
    "checkpoint_minutes": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
}


# Of the estimators that choose these by the number of texts.
AUTO_CONSTRAINTS: dict[str, list[Any]] = {
    name: [*TRAINING_CONSTRAINTS[name], StrOptions({"auto"})]
    for name in ("max_epochs", "batch_size", "learning_rate")
}


class BertEstimator(
    CheckedParameters, PickledWithVersion, CallbackSupportMixin, BaseEstimator
):
    """Base of the estimators that have a net: load its model, publish what is fitted.

    `fit` of a subclass reads from top to bottom (`FitCall` says how); nothing here
    calls back into it.
    """

    checkpoint: str | os.PathLike[str]
    revision: str | None
    max_length: int | None
    precision: str
    device: str
    random_state: int | np.random.RandomState | None
    max_epochs: int | str
    batch_size: int | str
    learning_rate: float | str
    weight_decay: float
    warmup: float
    dropout: float | None
    gradient_checkpointing: bool | str
    callbacks: list[Any] | None
    checkpoint_folder: str | os.PathLike[str] | None
    checkpoint_minutes: float
    verbose: int
    net_: BertNet
    tokenizer_: TextTokenizer
    max_length_: int
    n_iter_: int
    history_: list[dict[str, float]]
    # Fitted attributes that are not public, which a saved folder has to hold as well.
    _private_state: ClassVar[tuple[str, ...]] = ("_template", "_made_of")

    @own_torch_state()
    def _load_model(
        self,
        *,
        trainable: str | int,
        pooling: str,
        long_text: str = "truncate",
        window_stride: int | None = None,
        reads_template: bool = False,
        of_pairs: bool = False,
        n_outputs: int | None = None,
        dropout: float | None = None,
        normalize: bool | None = None,
        adapted: BertNet | None = None,
    ) -> tuple[TextModel, TextTokenizer]:
        """Load the checkpoint as a model, with its tokenizer.

        `normalize` is for models of vectors: whether to scale them to length 1, beyond
        what the checkpoint does itself; None: never. `adapted` is a net whose encoder
        has learnt more than the checkpoint's.
        """
        trainable, dropout = as_python(trainable), as_python(dropout)
        checkpoint = load_checkpoint(
            self.checkpoint,
            revision=self.revision,
            # A frozen encoder has no dropout, so any value of it may share its weights.
            dropout=None if trainable == "head" else dropout,
            shared=trainable == "head" and adapted is None,
        )
        left_to_right = checkpoint.left_to_right
        if adapted is not None:
            # A pooler that a family's language model lacks stays the checkpoint's.
            weights = adapted.module.encoder.state_dict()
            missing, _ = checkpoint.encoder.load_state_dict(weights, strict=False)
            assert all(name.startswith("pooler.") for name in missing)
            left_to_right = bool(adapted.module.left_to_right)
        steps: list[Any] = []
        # The checkpoint's steps were learnt for its own pooling: another has none.
        if normalize is not None and pooling == "auto":
            steps = checkpoint.steps()
            checkpoint.check_prompt(is_written_out=reads_template)
            # Scaling to length 1 has to stay the last step, behind any added later.
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
            text_pooling=checkpoint.text_pooling,
            # The checkpoint is cached: other estimators get the same attention.
            attention=copy.deepcopy(checkpoint.attention),
            normalize=bool(normalize),
            n_outputs=n_outputs,
            dropout=checkpoint.head_dropout if dropout is None else dropout,
            trainable=trainable,
            left_to_right=left_to_right,
        )
        model.steps.extend(steps)
        # Features of frozen layers are kept under this name, so it must not stand for
        # weights that differ from the checkpoint's.
        if trainable != "all" and adapted is None:
            model.fingerprint = checkpoint.fingerprint()
        return model, tokenizer

    def _build_net(
        self, model: TextModel, tokenizer: TextTokenizer, **training: Any
    ) -> BertNet:
        return BertNet(
            model,
            # A fit passes the device that it has reserved.
            **{"placement": self.device, **training},
            precision=self.precision,
            pad_id=tokenizer.pad_id,
            fingerprint=model.fingerprint,
        )

    def _publish(self, **fitted: Any) -> Self:
        """Set every fitted attribute at once, and drop those of an earlier fit."""
        private = {name for name in fitted if name.startswith("_")}
        assert private <= {*self._private_state}, "a saved folder would lack these"
        # scikit-learn's `check_is_fitted` tells fitted attributes by the same rule.
        kept = {
            name: value
            for name, value in vars(self).items()
            if not name.endswith("_") or name.startswith("__")
        }
        # Made to compare with the texts of validation; `predict` makes it again.
        WORKING_COPY.forget(fitted["net_"].runner_)
        # In one step: another thread, or an interrupt, finds either fit and no mixture.
        self.__dict__ = kept | fitted
        give_back(torch.device("cpu"))  # the weights of the earlier fit
        return self

    def _sk_visual_block_(self) -> VisualBlock:
        """Return the estimator's box in scikit-learn's diagrams.

        After a fit its caption says what matters. One with an estimator inside is drawn
        around it, as scikit-learn does by itself, and has no caption.
        """
        name = type(self).__name__
        inner = {
            name: value
            for name, value in self.get_params(deep=False).items()
            if isinstance(value, BaseEstimator)
        }
        if inner:
            return VisualBlock(
                "parallel",
                list(inner.values()),
                names=[f"{n}: {type(e).__name__}" for n, e in inner.items()],
                name_details=[str(e) for e in inner.values()],
            )
        caption = summary(self) if hasattr(self, "net_") else None
        return VisualBlock(
            "single", self, names=name, name_details=str(self), name_caption=caption
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags
