"""`FitCall`: start, seeds, device and callbacks of one call of `fit`."""

from __future__ import annotations

import copy
import os
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike

from sklearn_bert._process._interrupts import heard
from sklearn_bert._process._random import Seeds, seeded
from sklearn_bert._process._versions import versions
from sklearn_bert.compute._device import resolve_device
from sklearn_bert.compute._gpu_lock import reserve_gpu
from sklearn_bert.compute._memory import shortage_named
from sklearn_bert.estimators._base import BertEstimator
from sklearn_bert.estimators._checkpoint_folder import CheckpointFolder
from sklearn_bert.estimators._recipe import Recipe
from sklearn_bert.estimators._same_call import OF_EACH_PROCESS, data_of, parameters_of
from sklearn_bert.estimators._scoring import ValidationScorer, take_rows
from sklearn_bert.model._recompute import can_checkpoint
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.model._torch_state import own_torch_state
from sklearn_bert.targets._probe import MOST_ROWS
from sklearn_bert.targets._validation_split import Split, check_groups, hold_out
from sklearn_bert.text._columns import as_python, excerpt
from sklearn_bert.text._reports import text_reports, warn_of
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.training._callbacks import BestWeights, FitProgress, FitTasks
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._joined import joined
from sklearn_bert.training._losses import Objective
from sklearn_bert.training._net import BertNet
from sklearn_bert.training._ranks import ONE, Ranks
from sklearn_bert.training._user_callbacks import copy_callbacks, of_every_process

HISTORY = (
    "epoch",
    "train_loss",
    "mlm_loss",
    "nsp_loss",
    "valid_loss",
    "valid_score",
    "learning_rate",
    "skipped_updates",
    "texts_per_second",
    "seconds",
)

# What a network is made of, and how it reads texts: a fit that goes on keeps them.
NETWORK_PARAMETERS = (
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


class FitCall:
    """One call of `fit` or `partial_fit`, as a context.

    Every `fit` reads from top to bottom inside of it: read X and y, load, tokenise,
    train, publish. scikit-learn's callbacks are told of the beginning where the block
    is entered and of the end where it is left without an error, as scikit-learn's own
    estimators do; the device is given back in any case.

    Parameters
    ----------
    estimator : BertEstimator
    X, y, sample_weight
        As handed in, for callbacks.
    X_val, y_val
        As handed in; None: there is no validation but that of `early_stopping`.
    early_stopping, warm_start : bool
        As the estimator has them, where it has them.
    is_partial : bool
        Whether there are more calls to come, so that the rate is to be constant.
    n_epochs : int or None
        None: one where there are more calls to come, else `max_epochs`.
    loss_parts : tuple of str
        Names of the losses in `history_` that add up, where there are.

    Attributes
    ----------
    initial_net : BertNet or None
        The net to go on with; None: the call starts from the checkpoint.
    ranks : Ranks
        The processes that make the call together.
    seeds : Seeds
    """

    def __init__(
        self,
        estimator: BertEstimator,
        X: ArrayLike | None,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        early_stopping: bool = False,
        warm_start: bool = False,
        is_partial: bool = False,
        n_epochs: int | None = None,
        loss_parts: tuple[str, ...] = (),
    ) -> None:
        refuse_name(y, "y")
        refuse_name(y_val, "y_val", "X_val")
        # Where there is no y, X_val has none either.
        if y is not None and (X_val is None) != (y_val is None):
            given, absent = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
            raise ValueError(
                f"{given} is given and {absent} is not; validation needs both."
            )
        if is_partial and early_stopping:
            raise ValueError(
                "early_stopping is True, which partial_fit cannot do: it does not know "
                "how many calls are to come. Set early_stopping=False, or use fit."
            )
        self.estimator = estimator
        self.early_stopping = early_stopping
        self.is_partial = is_partial
        if n_epochs is None:
            n_epochs = 1 if is_partial else as_python(estimator.max_epochs)
        self.n_epochs = n_epochs
        self.skorch_callbacks = copy_callbacks(
            estimator.callbacks,
            is_validated=early_stopping or X_val is not None,
            parts=loss_parts,
        )
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.callback_data = {"X": X, "y": y, "metadata": metadata}
        scoring = getattr(estimator, "scoring", None)  # some have a score of their own
        self.scorer = None if scoring is None else ValidationScorer(scoring)
        if self.scorer is not None and X_val is not None:
            self.scorer.validate_on(X_val, y_val)
        self.initial_net: BertNet | None = None
        # A first call finds no net and starts from the checkpoint, as in scikit-learn.
        if is_partial or warm_start:
            self.initial_net = getattr(estimator, "net_", None)

    @property
    def goes_on(self) -> bool:
        """Tell whether the call goes on from an earlier fit."""
        return self.initial_net is not None

    def __enter__(self) -> Self:
        estimator = self.estimator
        # "auto" comes to a number once the texts are counted.
        known = None if self.n_epochs == "auto" else self.n_epochs
        self.context = estimator._init_callback_context(max_subtasks=known)
        self.context.call_on_fit_task_begin(estimator=estimator, **self.callback_data)
        if self.goes_on:
            self._check_unchanged()
        self.seeds = Seeds(estimator.random_state)
        resolve_device(estimator.device)  # raises where it is no device
        # Python calls no __exit__ after an error in here.
        with ExitStack() as stack:
            self.ranks = self._join(stack)
            self.folder = None
            # A portion of the texts is soon learnt; without an epoch nothing is.
            learns = not self.is_partial and self.n_epochs != 0
            if estimator.checkpoint_folder is not None and learns:
                folder = CheckpointFolder(estimator, self.seeds, self.ranks)
                self.folder = stack.enter_context(folder)
            stack.enter_context(heard())
            stack.enter_context(shortage_named("fitting"))
            self._stack = stack.pop_all()
        return self

    def _join(self, stack: ExitStack) -> Ranks:
        """Meet the processes that make this call together, if there are any."""
        if self.n_epochs == 0:  # each does all of it
            return ONE
        ranks = stack.enter_context(joined())
        if ranks.size == 1:
            return ranks
        if self.estimator.random_state is None:
            self.seeds.entropy = ranks.from_first(lambda: self.seeds.entropy)
        facts = parameters_of(self.estimator, self.seeds) | versions()
        facts["random numbers"] = str(self.seeds.entropy)
        ranks.check_same(facts, but=OF_EACH_PROCESS)
        return ranks

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)
        # After an error the task stays open, as in scikit-learn's own estimators, whose
        # callbacks are torn down and told of no end.
        if kind is None:
            self.context.call_on_fit_task_end(
                estimator=self.estimator,
                **self.callback_data,
                # Empty, but not None: callbacks get a copy of the estimator, which is
                # fitted by now.
                reconstruction_attributes={},
            )

    def _check_unchanged(self) -> None:
        """Raise ValueError where a parameter of the network is not as it was."""
        before = self.estimator._made_of
        now = self.estimator.get_params(deep=False)
        for name in [name for name in NETWORK_PARAMETERS if name in before]:
            # What "auto" came to, as in `pooling_`, is the same network.
            chosen = getattr(self.estimator, f"{name}_", before[name])
            same = map(as_str_path, (before[name], chosen))
            if as_str_path(now[name]) not in same:
                raise ValueError(
                    f"{name} is {now[name]!r}, but it was {before[name]!r} in the "
                    "earlier call; training can only go on with the same network, "
                    "which reads texts as it did. Set it back, or set warm_start=False "
                    "and call fit."
                )

    def split(
        self,
        weights: np.ndarray,
        n_valid: int | None,
        *,
        groups: ArrayLike | None = None,
        codes: np.ndarray | None = None,
        what: str = "texts",
    ) -> Split:
        """Split the texts into those to train on and those to validate on.

        Parameters
        ----------
        weights : ndarray of shape (n_texts,)
            A weight of 0 leaves a text out.
        n_valid : int or None
            How many texts of the caller's, to validate on, follow those of X; they
            weigh 1 each. None: `early_stopping` holds out a part of X.
        groups : array-like of shape (n_texts,), or None
        codes : ndarray of shape (n_texts,), or None
            Classes, whose shares are kept.
        what : str
            What the texts are, for an error.
        """
        refuse_name(groups, "groups", what="group")
        n_texts = len(weights)
        numbers = check_groups(groups, weights)
        rows = np.flatnonzero(weights > 0)
        if n_valid is not None:
            # They are scored as `score` does, whatever the weights of X are.
            weights = np.concatenate([weights, np.ones(n_valid)])
            return Split(rows, np.arange(n_texts, len(weights)), weights)
        if not self.early_stopping:
            return Split(rows, None, weights)
        share = self.estimator.validation_fraction
        try:
            train, valid = hold_out(
                rows, share, codes=codes, groups=numbers, seed=self.seeds("split")
            )
        except ValueError as error:
            raise ValueError(
                f"early_stopping cannot hold out validation_fraction={share} of "
                f"{len(rows)} {what}: {error} Raise validation_fraction, pass "
                "validation data, or set early_stopping=False."
            ) from error
        if self.scorer is not None:
            X, y, metadata = self.callback_data.values()
            self.scorer.validate_on(
                take_rows(X, valid),
                take_rows(y, valid),
                None if metadata is None else weights[valid],
            )
        return Split(train, valid, weights)

    def reserve_device(self) -> None:
        """Take a device, and draw from this call's seed, until the call ends."""
        # What the caller's thread has set (no_grad, autocast) must not reach training.
        self._stack.enter_context(own_torch_state())
        self.device = self._stack.enter_context(reserve_gpu(self.estimator.device))
        # Seeded after reserving, which decides whose generator is used.
        seed, device = self.seeds("init"), resolve_device(self.device)
        self._stack.enter_context(seeded(seed, device))

    def go_on(self, trainable: str | int) -> tuple[TextModel, TextTokenizer] | None:
        """Copy the model to go on with, and its tokenizer; None: there is none.

        A copy, because the old one has to be there should the training fail.
        """
        if self.initial_net is None:
            return None
        # With a frozen encoder only the head is copied: the weights stay shared.
        before = self.initial_net.module
        shared = {id(before.encoder): before.encoder} if trainable == "head" else {}
        model = copy.deepcopy(before, shared)
        model.set_trainable(trainable)
        # A head takes its long steps again, whatever it started from; an output layer
        # has learnt as much as the rest has.
        model.new_parameters = () if model.ties_words else TextModel.new_parameters
        # What is frozen now may have learnt before.
        is_as_before = before.trainable == trainable
        model.fingerprint = self.initial_net.fingerprint if is_as_before else None
        return model, self.estimator.tokenizer_

    def some_of(self, rows: np.ndarray, most: int = MOST_ROWS) -> np.ndarray:
        """Choose so many rows, as many as a probe needs; the same ones in this call."""
        if len(rows) <= most:
            return rows
        rng = np.random.default_rng(self.seeds("probe"))
        return np.sort(rng.choice(rows, most, replace=False))

    def head_inputs(
        self,
        model: TextModel,
        tokenizer: TextTokenizer,
        train: Examples,
        most: int = MOST_ROWS,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute what a new head would get of the texts to train on.

        Where they are more than `most`, of so many that are drawn.

        Returns
        -------
        vectors : ndarray of shape (n_texts, width), float64
        targets, weights : ndarray
            Of the same texts.
        """
        rows = self.some_of(train.rows, most)
        assert isinstance(train.table, TokenTable)
        vectors = self.head_vectors(model, tokenizer, train.table.take(rows))
        return vectors, train.targets[rows], train.weights[rows]

    def head_vectors(
        self, model: TextModel, tokenizer: TextTokenizer, table: TokenTable
    ) -> np.ndarray:
        """Compute the vectors of texts as a head gets them, in float64."""
        net = self.estimator._build_net(model, tokenizer, placement=self.device)
        vectors = torch.from_numpy(net.vectors(table))
        return model.scaled(vectors).numpy().astype(np.float64)

    def train(
        self,
        model: TextModel,
        tokenizer: TextTokenizer,
        loss: Objective,
        train: Examples,
        valid: Examples | None,
        attributes: dict[str, Any],
        *,
        recipe: Recipe | None = None,
        adapter: str | None = None,
        adapter_rank: int = 8,
        layer_decay: float = 1.0,
    ) -> dict[str, Any]:
        """Train the model with the estimator's parameters.

        Parameters
        ----------
        model : TextModel
        tokenizer : TextTokenizer
        loss : Objective
        train : Examples
        valid : Examples or None
            None: there is no validation.
        attributes : dict
            Fitted attributes that are known already.
        recipe : Recipe or None
            What "auto" comes to; with no epoch nothing is trained. None: the estimator
            has numbers.
        adapter, adapter_rank, layer_decay
            As the estimator has them, where it has them.

        Returns
        -------
        dict
            All fitted attributes.
        """
        assert isinstance(train.table, TokenTable)
        estimator = self.estimator
        if recipe is not None and recipe.max_epochs == 0:
            if estimator.verbose and self.ranks.is_first:
                FitProgress(type(estimator).__name__).say_untrained(len(train))
            table = train.table
            return self.train_nothing(model, tokenizer, table, attributes, recipe)
        _check_checkpointing(estimator.gradient_checkpointing, model)
        self._note(tokenizer, train.table, attributes)
        if recipe is None:
            recipe = Recipe(
                as_python(estimator.learning_rate),
                self.n_epochs,
                as_python(estimator.batch_size),
            )
        else:
            self.attributes |= recipe.attributes()
        checkpointing = estimator.gradient_checkpointing
        if checkpointing != "auto":
            checkpointing = bool(checkpointing)  # NumPy's is not True itself
        # The parameters go to the net once, by name, as Python's own numbers.
        net = estimator._build_net(
            model,
            tokenizer,
            placement=self.device,
            objective=loss,
            lr=recipe.learning_rate,
            layer_decay=as_python(layer_decay),
            decays=not self.is_partial,
            max_epochs=recipe.max_epochs,
            batch_size=recipe.batch_size,
            balances_classes=recipe.has_few_labels,
            weight_decay=as_python(estimator.weight_decay),
            warmup=as_python(estimator.warmup),
            checkpointing=checkpointing,
            adapter=adapter,
            adapter_rank=as_python(adapter_rank),
            shuffle_seed=self.seeds("shuffle"),
            scorer=None if self.scorer is None else self._score,
            callbacks=self._callbacks(is_validated=valid is not None),
        )
        if self.ranks.size > 1:
            self.ranks.check_same(data_of(net, train, valid, self.goes_on))
        states = None
        if self.folder is not None:
            states = self.folder.states(net, train, valid, goes_on=self.goes_on)
        net.fit(train, valid, states, self.ranks)
        # It was trained on the device that was free; it predicts where the user says.
        net.place(estimator.device)
        return self.attributes_of(net, net)

    def train_nothing(
        self,
        model: TextModel,
        tokenizer: TextTokenizer,
        table: TokenTable,
        attributes: dict[str, Any],
        recipe: Recipe,
    ) -> dict[str, Any]:
        """Take the model as it is, of the texts in a table.

        Returns
        -------
        dict
            All fitted attributes.
        """
        self._note(tokenizer, table, {**attributes, **recipe.attributes()})
        model.eval()  # as a training leaves it
        net = self.estimator._build_net(
            model, tokenizer, batch_size=recipe.batch_size, max_epochs=recipe.max_epochs
        )
        net.history = []
        return self.attributes_of(net, net)

    def _note(
        self, tokenizer: TextTokenizer, table: TokenTable, attributes: dict[str, Any]
    ) -> None:
        """Put together the attributes that are known before a training."""
        # Warn before the training: a warning turned into an error saves its time.
        reports = text_reports(tokenizer, table)
        warn_of(reports)
        params = self.estimator.get_params(deep=False)
        self.attributes = {
            **attributes,
            **reports,
            "tokenizer_": tokenizer,
            "max_length_": tokenizer.max_length,
            "_made_of": {n: params[n] for n in NETWORK_PARAMETERS if n in params},
        }

    def _callbacks(self, *, is_validated: bool) -> list[Any]:
        """List the skorch callbacks of the net: ours around those of the caller."""
        estimator = self.estimator
        callbacks = list(self.skorch_callbacks)
        if not self.ranks.is_first:  # the first process prints and writes
            callbacks = of_every_process(callbacks)
        elif estimator.verbose:  # the first, to be closed whatever another one raises
            callbacks.insert(0, FitProgress(type(estimator).__name__))
        # scikit-learn's callbacks are told of epochs and updates where there are any.
        if hasattr(estimator, "_skl_callbacks"):
            callbacks.append(
                FitTasks(estimator, self.context, self.callback_data, self._now)
            )
        # X_val without early_stopping is only recorded in `history_`.
        if is_validated and self.early_stopping:
            patience = estimator.n_iter_no_change
            callbacks.append(BestWeights(patience))
        return callbacks

    def _score(self, running: BertNet, scores: np.ndarray) -> float:
        """Return what the estimator's `scoring` says of the weights as they are."""
        assert self.scorer is not None
        assert running.valid_examples_ is not None
        # Who asks for predictions alone gets those of `scores`: no net is copied.
        if self.scorer.sees_predictions_alone:
            attributes = self.attributes_of(running, running)
        else:
            attributes = self._now(running)
        estimator = copy.copy(self.estimator)._publish(**attributes)
        return self.scorer(estimator, scores, running.valid_examples_)

    def _now(self, running: BertNet) -> dict[str, Any]:
        """Return the attributes of a fitted estimator of the weights as they are."""
        net = self.estimator._build_net(
            running.trained_module(), self.attributes["tokenizer_"]
        )
        return self.attributes_of(net, running)

    def attributes_of(self, net: BertNet, trained: BertNet) -> dict[str, Any]:
        """Return all fitted attributes, with the history of the net that was trained.

        Epochs count on from those of an earlier fit that this call continues.
        """
        # A copy: the earlier fit has to stay whole should this one fail.
        history = list(self.estimator.history_) if self.goes_on else []
        for row in trained.history:
            known = {name: row[name] for name in HISTORY if name in row}
            history.append({**known, "epoch": len(history) + 1})
        return {
            **self.attributes,
            "history_": history,
            "n_iter_": len(history),
            "batch_size_used_": trained.batch_size_used_,
            "net_": net,
        }


def refuse_name(y: object, name: str, of: str = "X", what: str = "target") -> None:
    """Raise TypeError where a column's name is handed in and not the column."""
    # A str is a sequence, and would be read as one label per letter.
    if isinstance(y, (str, bytes)):
        raise TypeError(
            f"{name} is the {type(y).__name__} {excerpt(y)}; expected one {what} per "
            "text. If it names a column of a data frame, hand in the column: "
            f"frame[{y!r}] as {name}, and as {of} the columns of texts alone."
        )


def check_adapter(adapter: str | None, trainable: str | int) -> None:
    """Raise ValueError where an adapter is asked for in a part of the layers."""
    if adapter is not None and trainable != "all":
        raise ValueError(
            f"adapter is {adapter!r} and trainable is {trainable!r}; an adapter trains "
            "additions to all layers, so it takes trainable='all'."
        )


def _check_checkpointing(checkpointing: bool | str, model: TextModel) -> None:
    """Raise ValueError where the insides of layers cannot be computed again."""
    if checkpointing in ("auto", False) or can_checkpoint(model.encoder):
        return
    family = model.encoder.config.model_type  # type: ignore[union-attr]
    raise ValueError(
        "gradient_checkpointing is True, but transformers cannot do that for "
        f"the family {family!r} of this checkpoint. Set it to False; a batch "
        "that does not fit into memory is halved in any case."
    )


def as_str_path(value: Any) -> Any:
    """Return a path as the str that says the same, anything else as it is."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value
