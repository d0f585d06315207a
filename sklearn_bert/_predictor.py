"""`BertPredictor`: what the estimators that learn from a target have in common."""

from __future__ import annotations

import copy
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils.validation import check_random_state

from sklearn_bert._base import BertEstimator
from sklearn_bert._hold_out import check_groups, hold_out
from sklearn_bert._random import seeded
from sklearn_bert._sklearn import Interval, StrOptions, check_sample_weight
from sklearn_bert._task import Task
from sklearn_bert.model import TextModel
from sklearn_bert.text import TextTokenizer, TokenTable, truncation_report, warn_if_cut
from sklearn_bert.training import (
    BertNet,
    BestWeights,
    Examples,
    FitProgress,
    FitTasks,
    device_turn,
    resolve_device,
)

HISTORY = (
    "epoch",
    "train_loss",
    "valid_loss",
    "valid_score",
    "learning_rate",
    "texts_per_second",
    "seconds",
)

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
    "layer_decay": [Interval(Real, 0, 1, closed="right")],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "warmup": [Interval(Real, 0, 1, closed="both")],
    "dropout": [Interval(Real, 0, 1, closed="left"), None],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "warm_start": ["boolean"],
    "callbacks": [list, None],
    "verbose": ["verbose"],
}


class BertPredictor(BertEstimator):
    """Base of the estimators that learn from a target: one training run."""

    trainable: str | int
    adapter: str | None
    gradient_checkpointing: bool | str
    max_epochs: int
    batch_size: int
    learning_rate: float
    layer_decay: float
    weight_decay: float
    warmup: float
    dropout: float | None
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    warm_start: bool
    callbacks: list[Any] | None
    verbose: int
    n_iter_: int
    history_: list[dict[str, float]]

    # -- before the training -------------------------------------------------------

    def _check_training(self, X_val: Any, y_val: Any, is_partial: bool) -> None:
        """Hold parameters and arguments against each other."""
        if self.adapter is not None and self.trainable != "all":
            raise ValueError(
                f"adapter is {self.adapter!r} and trainable is {self.trainable!r}; an "
                "adapter trains additions to all layers, so it takes trainable='all'."
            )
        if (X_val is None) != (y_val is None):
            given, absent = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
            raise ValueError(
                f"{given} is given and {absent} is not; validation needs both."
            )
        if is_partial and self.early_stopping:
            raise ValueError(
                "early_stopping is True, which partial_fit cannot do: it does not know "
                "how many calls are to come. Set early_stopping=False, or use fit."
            )

    def _earlier_run(self, is_partial: bool) -> BertNet | None:
        """The net to go on with; None: a fit begins with the checkpoint."""
        goes_on = is_partial or self.warm_start
        return getattr(self, "net_", None) if goes_on else None

    def _draw_seed(self) -> int:
        """One seed for everything random in a fit.

        With `random_state=None` it comes from the operating system, because drawing
        from NumPy's global generator would change the caller's next numbers.
        """
        if self.random_state is None:
            return int(np.random.SeedSequence().generate_state(1)[0])
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _divide(
        self,
        n_train: int,
        n_valid: int,
        weights: np.ndarray,
        rng: np.random.Generator,
        *,
        codes: np.ndarray | None,
        groups: Any,
        what: str,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Texts to train and to validate on; a weight of 0 leaves a text out.

        The caller's own validation texts follow those to train on.
        """
        seed = int(rng.integers(2**31))
        numbers = check_groups(groups, range(n_train))
        rows = np.flatnonzero(weights > 0)
        if n_valid:
            return rows, np.arange(n_train, n_train + n_valid)
        if not self.early_stopping:
            return rows, None
        try:
            return hold_out(
                rows, self.validation_fraction, codes=codes, groups=numbers, seed=seed
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping cannot hold out validation_fraction="
                f"{self.validation_fraction} of {len(rows)} {what}: {error} Raise "
                "validation_fraction, pass X_val and y_val, or set "
                "early_stopping=False."
            ) from error

    # -- the training --------------------------------------------------------------

    def _learn(
        self,
        task: Task,
        rng: np.random.Generator,
        told: tuple[Any, dict[str, Any]],
        fitted: dict[str, Any],
        *,
        is_partial: bool,
        pooling: str,
        long_text: str = "truncate",
        window_stride: int | None = None,
    ) -> None:
        """Train on a task, and publish all that is fitted: the one road up.

        Parameters
        ----------
        task : Task
        rng : numpy.random.Generator
        told : tuple
            From `_begin_fit`.
        fitted : dict
            Attributes that are known already.
        is_partial : bool
            Whether this is one of many calls, an epoch each, at a steady rate.
        pooling, long_text, window_stride
            How texts are read.
        """
        start = self._earlier_run(is_partial)
        history = list(self.history_) if start is not None else []
        context, data = told
        with (
            device_turn(self.device) as device,
            seeded(int(rng.integers(2**63)), resolve_device(device)),
        ):
            if start is None:
                model, tokenizer, fingerprint = self._load_model(
                    trainable=self.trainable,
                    pooling=pooling,
                    long_text=long_text,
                    window_stride=window_stride,
                    n_outputs=task.n_outputs,
                    dropout=self.dropout,
                )
            else:
                model, tokenizer, fingerprint = self._go_on(start)
            table = task.tokenize(tokenizer)
            report = truncation_report(
                table.whole_lengths, tokenizer.max_length, table.is_cut
            )
            warn_if_cut(report)
            fitted = {
                **fitted,
                "tokenizer_": tokenizer,
                "max_length_": tokenizer.max_length,
                "truncation_report_": report,
            }

            def fitted_now(net: BertNet) -> dict[str, Any]:
                whole = self._build_net(net.trained_module(), tokenizer, fingerprint)
                rows = [*history, *_tidy(net.history, len(history))]
                return {
                    **fitted,
                    "net_": whole,
                    "history_": rows,
                    "n_iter_": len(rows),
                    "batch_size_used_": self.batch_size,
                }

            net = self._fit_net(
                model,
                tokenizer,
                fingerprint,
                task,
                table,
                device=device,
                shuffle_seed=int(rng.integers(2**63)),
                is_partial=is_partial,
                callbacks=[FitTasks(self, context, data, fitted_now)],
            )
        net.place(self.device)
        history += _tidy(net.history, len(history))
        self._publish(
            **fitted,
            net_=net,
            n_iter_=len(history),
            history_=history,
            batch_size_used_=net.batch_size_used_,
        )
        self._end_fit(context, data)

    def _go_on(self, start: BertNet) -> tuple[TextModel, TextTokenizer, str | None]:
        """A copy of the net's model: should the training fail, the old one is there."""
        frozen = start.module.encoder
        shared = {id(frozen): frozen} if self.trainable == "head" else {}
        was_trainable = start.module.trainable
        model = copy.deepcopy(start.module, shared)
        model.set_trainable(self.trainable)
        # What is frozen now may have learnt before.
        fingerprint = start.fingerprint if was_trainable == self.trainable else None
        return model, self.tokenizer_, fingerprint

    def _fit_net(
        self,
        model: TextModel,
        tokenizer: TextTokenizer,
        fingerprint: str | None,
        task: Task,
        table: TokenTable,
        *,
        device: str,
        shuffle_seed: int,
        is_partial: bool,
        callbacks: list[Any],
    ) -> BertNet:
        """Train a model with this estimator's training parameters."""

        def examples(texts: np.ndarray) -> Examples:
            return Examples(table, table.rows_of(texts), task.targets, task.weights)

        valid = None if task.valid is None else examples(task.valid)
        callbacks = [*copy.deepcopy(self.callbacks or []), *callbacks]
        if valid is not None and self.early_stopping:
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
            placement=device,
            objective=task.objective,
            lr=self.learning_rate,
            layer_decay=self.layer_decay,
            decays=not is_partial,
            max_epochs=1 if is_partial else self.max_epochs,
            batch_size=self.batch_size,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            checkpointing=checkpointing,
            adapter=self.adapter,
            shuffle_seed=shuffle_seed,
            valid_examples=valid,
            callbacks=callbacks,
        )
        return net.fit(examples(task.train))


def weigh(sample_weight: Any, n_texts: int) -> np.ndarray:
    """The sample weights, or 1 for each text."""
    if sample_weight is None:
        return np.ones(n_texts)
    return check_sample_weight(
        sample_weight, np.empty(n_texts), dtype=np.float64, ensure_non_negative=True
    )


def with_validation(values: np.ndarray, n_valid: int) -> np.ndarray:
    """The weights of the texts to train on, and 1 for each of the caller's own."""
    return np.concatenate([values, np.ones((n_valid, *values.shape[1:]))])


def scaled(weights: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Weights whose mean over the texts to train on is 1, in float32."""
    return (weights / weights[train].mean()).astype(np.float32)


def _tidy(history: Any, n_before: int) -> list[dict[str, float]]:
    """One dict per epoch; the first follows those of earlier runs."""
    rows = [{name: row[name] for name in HISTORY if name in row} for row in history]
    for place, row in enumerate(rows):
        row["epoch"] = n_before + place + 1
    return rows


Tokenize = Callable[[TextTokenizer], TokenTable]
