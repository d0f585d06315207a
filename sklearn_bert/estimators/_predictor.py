"""`BertPredictor`: what the estimators that learn from a target have in common."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sized
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.callback import CallbackContext
from sklearn.utils.validation import check_random_state

from sklearn_bert._process._random import seeded
from sklearn_bert._process._scalars import as_python, to_float
from sklearn_bert._process._sklearn import Interval, StrOptions, check_sample_weight
from sklearn_bert.compute._device import resolve_device
from sklearn_bert.compute._gpu_lock import reserve_gpu
from sklearn_bert.estimators._base import BertEstimator
from sklearn_bert.estimators._task import Task
from sklearn_bert.model._recompute import can_checkpoint
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.model._torch_state import own_torch_state
from sklearn_bert.targets._numbers import is_no_number, read_cells
from sklearn_bert.targets._validation_split import check_groups, hold_out
from sklearn_bert.text._input import Texts, cell_name, excerpt, is_missing
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.text._truncation import truncation_report, warn_if_cut
from sklearn_bert.text._unknown import count_unknown, unknown_report, warn_if_unknown
from sklearn_bert.training._best_weights import BestWeights
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._net import BertNet
from sklearn_bert.training._progress import FitProgress
from sklearn_bert.training._sklearn_callbacks import FitTasks
from sklearn_bert.training._user_callbacks import copy_callbacks

HISTORY = (
    "epoch",
    "train_loss",
    "mlm_loss",
    "nsp_loss",
    "valid_loss",
    "valid_score",
    "learning_rate",
    "texts_per_second",
    "seconds",
)

# What a network is made of, and how it reads texts.
MADE_OF = (
    "checkpoint",
    "revision",
    "template",
    "max_length",
    "long_text",
    "window_stride",
    "pooling",
    "dropout",
    "hidden_size",
    "n_layers",
    "n_heads",
    "position_encoding",
    "next_sentence",
)

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
    "verbose": ["verbose"],
}


@dataclass(frozen=True)
class Run:
    """One call of `fit` or `partial_fit`.

    Attributes
    ----------
    context : sklearn.callback.CallbackContext
    told : dict
        What callbacks are told.
    rng : numpy.random.Generator
    is_partial : bool
        Whether there are more calls to come, so that the rate is to be steady.
    n_epochs : int
    start : BertNet or None
        What to go on with; None: the checkpoint.
    callbacks : list
        Copies of the caller's skorch callbacks.
    """

    context: CallbackContext
    told: dict[str, Any]
    rng: np.random.Generator
    is_partial: bool
    n_epochs: int
    start: BertNet | None
    callbacks: list[Any]


def refuse_name(y: Any, name: str, of: str = "X", what: str = "target") -> None:
    """Raise TypeError where a column's name is handed in and not the column."""
    if isinstance(y, (str, bytes)):
        raise TypeError(
            f"{name} is the {type(y).__name__} {excerpt(y)}; expected one {what} per "
            "text. If it names a column of a data frame, hand in the column: "
            f"frame[{y!r}] as {name}, and as {of} the columns of texts alone."
        )


class BertPredictor(BertEstimator):
    """Base of the estimators that learn from a target: one training run."""

    trainable: str | int
    adapter: str | None
    adapter_rank: int
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

    def _start(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        X_val: Any = None,
        y_val: Any = None,
        is_partial: bool = False,
        parts: tuple[str, ...] = (),
    ) -> Run:
        """Hold parameters and arguments against each other, and tell callbacks.

        `parts` are names of the losses in `history_` that add up, where there are.
        """
        refuse_name(y, "y")
        refuse_name(y_val, "y_val", "X_val")
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
        callbacks = copy_callbacks(
            self.callbacks,
            is_validated=self.early_stopping or X_val is not None,
            parts=parts,
        )
        n_epochs = 1 if is_partial else as_python(self.max_epochs)
        context, told = self._begin_fit(X, y, n_epochs, sample_weight=sample_weight)
        start = None
        if is_partial or self.warm_start:
            start = getattr(self, "net_", None)
        if start is not None:
            self._check_unchanged()
        rng = np.random.default_rng(draw_seed(self.random_state))
        return Run(context, told, rng, is_partial, n_epochs, start, callbacks)

    def _check_unchanged(self) -> None:
        """What reads texts can only go on with what it was made of."""
        for name in [n for n in MADE_OF if n in self._made_of]:
            before = self._made_of[name]
            now = getattr(self, name)
            if as_str_path(now) != as_str_path(before):
                raise ValueError(
                    f"{name} is {now!r}, but it was {before!r} in the earlier call; "
                    "training can only go on with the same network, which reads texts "
                    "as it did. Set it back, or set warm_start=False and call fit."
                )

    def _read_texts(
        self, run: Run, X: Any, X_val: Any, y_val: Any
    ) -> tuple[Texts, Texts | None, dict[str, Any]]:
        """Texts to train on, those to validate on, and what X looked like."""
        texts, seen = self._read_X(X)
        if run.start is not None:
            self._check_like_before(X, texts)
            if hasattr(self, "feature_names_in_"):
                seen.setdefault("feature_names_in_", self.feature_names_in_)
        more = None if X_val is None else self._read_validation(X_val, texts, y_val)
        return texts, more, seen

    def _divide(
        self,
        run: Run,
        texts: Sized,
        more: Sized | None,
        weights: np.ndarray,
        groups: Any,
        *,
        codes: np.ndarray | None = None,
        what: str = "texts",
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Texts to train and to validate on, and the weights of all.

        A weight of 0 leaves a text out. The caller's own validation texts follow those
        to train on, and weigh 1 each.
        """
        refuse_name(groups, "groups", what="group")
        numbers = check_groups(groups, texts)
        rows = np.flatnonzero(weights > 0)
        if more is not None:
            weights = np.concatenate([weights, np.ones(len(more))])
            return rows, np.arange(len(texts), len(weights)), weights
        if not self.early_stopping:
            return rows, None, weights
        try:
            train, valid = hold_out(
                rows,
                self.validation_fraction,
                codes=codes,
                groups=numbers,
                seed=int(run.rng.integers(2**31)),
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping cannot hold out validation_fraction="
                f"{self.validation_fraction} of {len(rows)} {what}: {error} Raise "
                "validation_fraction, pass validation data, or set "
                "early_stopping=False."
            ) from error
        return train, valid, weights

    # -- the training --------------------------------------------------------------

    def _learn(
        self,
        run: Run,
        task: Task,
        fitted: dict[str, Any],
        load: Callable[[], tuple[TextModel, TextTokenizer, str | None]],
    ) -> Self:
        """Train on a task, and publish all that is fitted: the one road up."""
        net, fitted = self._train(run, task, fitted, load)
        self._publish(**fitted, net_=net)
        self._end_fit(run.context, run.told)
        return self

    def _train(
        self,
        run: Run,
        task: Task,
        fitted: dict[str, Any],
        load: Callable[[], tuple[TextModel, TextTokenizer, str | None]],
        finish: Callable[[BertNet], dict[str, Any]] | None = None,
    ) -> tuple[BertNet, dict[str, Any]]:
        """A trained net, and what else is fitted.

        `fitted` are the attributes that are known already; `load` gives the model to
        start from, with its tokenizer and a fingerprint of what is frozen. `finish`
        makes the attributes of which a trained net is no more than a part, for an
        estimator in the middle of the fit; None: there are none.
        """
        history = list(self.history_) if run.start is not None else []
        with (
            own_torch_state(),
            reserve_gpu(self.device) as device,
            seeded(int(run.rng.integers(2**63)), resolve_device(device)),
        ):
            if run.start is None:
                model, tokenizer, fingerprint = load()
            else:
                model, tokenizer, fingerprint = self._go_on(run.start)
            self._check_checkpointing(model)
            train, valid = task.examples(tokenizer, run.rng)
            fitted |= {
                "tokenizer_": tokenizer,
                "max_length_": tokenizer.max_length,
                "_made_of": {n: getattr(self, n) for n in MADE_OF if hasattr(self, n)},
            }
            table = train.table
            assert isinstance(table, TokenTable)
            if table.is_cut is not None:
                # sentences of words, and texts that are packed, are not cut
                fitted["truncation_report_"] = report = truncation_report(
                    table.whole_lengths, tokenizer.max_length, table.is_cut
                )
                warn_if_cut(report)
            fitted["unknown_report_"] = unknown = unknown_report(
                count_unknown(tokenizer, table)
            )
            warn_if_unknown(unknown)

            def fitted_now(net: BertNet) -> dict[str, Any]:
                module = net.trained_module()
                found = self._build_net(module, tokenizer, fingerprint)
                now = {**fitted, **_results(net, history), "net_": found}
                return now if finish is None else {**now, **finish(found)}

            net = self._net_to_fit(
                model, tokenizer, fingerprint, run, task, valid, device, fitted_now
            )
            net.fit(train, valid)
        net.place(self.device)
        return net, {**fitted, **_results(net, history)}

    def _check_checkpointing(self, model: TextModel) -> None:
        """Raise ValueError where the insides of layers cannot be computed again."""
        if self.gradient_checkpointing in ("auto", False):
            return
        if not can_checkpoint(model.encoder):
            family = model.encoder.config.model_type  # type: ignore[union-attr]
            raise ValueError(
                "gradient_checkpointing is True, but transformers cannot do that for "
                f"the family {family!r} of this checkpoint. Set it to False; a batch "
                "that does not fit into memory is halved in any case."
            )

    def _go_on(self, start: BertNet) -> tuple[TextModel, TextTokenizer, str | None]:
        """A copy of the net's model: should the training fail, the old one is there."""
        frozen = start.module.encoder
        shared = {id(frozen): frozen} if self.trainable == "head" else {}
        was_trainable = start.module.trainable
        model = copy.deepcopy(start.module, shared)
        model.set_trainable(self.trainable)
        if model.ties_words:
            model.new_parameters = ()  # they have learnt, as the rest has
        # What is frozen now may have learnt before.
        fingerprint = start.fingerprint if was_trainable == self.trainable else None
        return model, self.tokenizer_, fingerprint

    def _net_to_fit(
        self,
        model: TextModel,
        tokenizer: TextTokenizer,
        fingerprint: str | None,
        run: Run,
        task: Task,
        valid: Examples | None,
        device: str,
        fitted_now: Callable[[BertNet], dict[str, Any]],
    ) -> BertNet:
        """The net that trains a model with this estimator's parameters."""
        callbacks: list[Any] = []
        if self.verbose:  # the first, to be closed whatever another one raises
            callbacks.append(FitProgress(type(self).__name__))
        callbacks += run.callbacks
        if hasattr(self, "_skl_callbacks"):
            callbacks.append(FitTasks(self, run.context, run.told, fitted_now))
        if valid is not None and self.early_stopping:
            callbacks.append(BestWeights(self.n_iter_no_change))
        checkpointing = self.gradient_checkpointing
        if checkpointing != "auto":
            checkpointing = bool(checkpointing)  # NumPy's is not True itself
        return self._build_net(
            model,
            tokenizer,
            fingerprint,
            placement=device,
            objective=task.objective,
            lr=as_python(self.learning_rate),
            layer_decay=as_python(self.layer_decay),
            decays=not run.is_partial,
            max_epochs=run.n_epochs,
            batch_size=as_python(self.batch_size),
            weight_decay=as_python(self.weight_decay),
            warmup=as_python(self.warmup),
            checkpointing=checkpointing,
            adapter=self.adapter,
            adapter_rank=as_python(self.adapter_rank),
            shuffle_seed=int(run.rng.integers(2**63)),
            callbacks=callbacks,
        )


def as_str_path(value: Any) -> Any:
    """A path as the str that says the same."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def draw_seed(random_state: Any) -> int:
    """One seed for everything random in a call.

    With `random_state=None` it comes from the operating system, because drawing from
    NumPy's global generator would change the caller's next numbers.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))


def weigh(sample_weight: Any, n_texts: int) -> np.ndarray:
    """The sample weights, or 1 for each text.

    Raises
    ------
    ValueError
        Where one is missing, infinite, negative or no number, naming the row; where
        they are not as many as texts, or all 0.
    """
    if sample_weight is None:
        return np.ones(n_texts)
    cells = read_cells(sample_weight, "sample_weight")
    if cells.ndim > 1:
        raise ValueError(
            f"sample_weight has the shape {cells.shape}; expected ({n_texts},)."
        )
    weights = np.empty(cells.shape)
    for row, cell in enumerate(cells.flat):
        if type(cell) is float and 0 <= cell < np.inf:  # as most are: no more to ask
            weights.flat[row] = cell
            continue
        kind = None
        if is_missing(cell):
            kind = "NaN or missing"
        elif is_no_number(cell):
            kind = f"of type {type(cell).__name__}"
        else:
            weights.flat[row] = weight = to_float(cell)
            if not 0 <= weight < np.inf:
                kind = "infinity" if weight > 0 else "negative"
        if kind is not None:
            where = cell_name(sample_weight, "sample_weight", row)
            raise ValueError(
                f"{where if cells.ndim else 'sample_weight'} is "
                f"{excerpt(as_python(cell))} "
                f"({kind}); expected a finite number of 0 or more. 0 leaves a row out."
            )
    # One number for all is to be a Python number there.
    given = weights if weights.ndim else float(weights)
    return check_sample_weight(given, np.empty(n_texts), dtype=np.float64)


def scaled(weights: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Weights whose mean over the texts to train on is 1, in float32."""
    weights = weights / weights[train].max()  # a sum of large ones may be too large
    return (weights / weights[train].mean()).astype(np.float32)


def _results(net: BertNet, history: list[dict[str, float]]) -> dict[str, Any]:
    """What a training has left, after the epochs of those that it went on with."""
    rows = [{name: row[name] for name in HISTORY if name in row} for row in net.history]
    for place, row in enumerate(rows, start=len(history) + 1):
        row["epoch"] = place
    return {
        "history_": [*history, *rows],
        "n_iter_": len(history) + len(rows),
        "batch_size_used_": net.batch_size_used_,
    }
