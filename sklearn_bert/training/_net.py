"""`BertNet`: one training run of a model, kept with it for prediction."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor

from sklearn_bert._process._interrupts import check_heard
from sklearn_bert.compute._device import available_device, on_device
from sklearn_bert.compute._inference import REMEDY, compute
from sklearn_bert.compute._memory import give_back
from sklearn_bert.compute._precision import matmul_precision
from sklearn_bert.compute._runner import WORKING_COPY, Runner, merged
from sklearn_bert.model._files import pack_model, unpack_model
from sklearn_bert.model._layers import layer_depths
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.model._torch_state import own_torch_state
from sklearn_bert.text._table import TokenTable, ragged_indices
from sklearn_bert.training._balanced_batches import BalancedBatches, balanced_weights
from sklearn_bert.training._callbacks import BestWeights, FitProgress, FitTasks
from sklearn_bert.training._epoch_losses import EpochLosses, average
from sklearn_bert.training._examples import Examples, ShuffledBatches
from sklearn_bert.training._losses import Objective
from sklearn_bert.training._optimizer import (
    MasterWeights,
    layer_factors,
    steady,
    warmup_then_decay,
)
from sklearn_bert.training._ranks import ONE, Ranks
from sklearn_bert.training._resume import TrainingStates
from sklearn_bert.training._trainable_view import Snapshot, TrainableView
from sklearn_bert.training._update import Updates
from sklearn_bert.training._user_callbacks import is_raised_by_skorch, with_free_names

# Texts of the last batch whose answers are looked at once more.
LAST_TEXTS = 32


class BertNet(NeuralNet):
    """The engine inside an estimator; use the estimator instead.

    At rest the module is in float32 on the CPU. `fit` moves what learns to the device,
    trains it with AdamW as Devlin et al. (2019, appendix A.2) do, and brings it back.
    A `Runner` computes scores and vectors.

    Parameters
    ----------
    module : TextModel
    placement : str
        The device in the user's words; a model trained on a GPU that is missing where
        it is loaded works on the CPU.
    precision : {"auto", "float32", "tf32", "bfloat16", "float16"}
    fingerprint : str or None
        Of the checkpoint that the module's frozen part comes from; None: its features
        are not remembered.
    objective : Objective or None
        What the net learns; None: it will not be trained.
    lr : float
        The peak learning rate.
    layer_decay : float
        Factor on the rate from each layer to the one below.
    decays : bool
        Whether the rate warms up and decays; False: it stays after ten updates.
    max_epochs : int
    batch_size : int
        Texts per update.
    weight_decay : float
    warmup : float
        Share of the updates.
    pad_id : int
    shuffle_seed : int
        Seed of the order of the texts.
    balances_classes : bool
        Whether every class is equally frequent in a batch, whatever its share.
    checkpointing : bool or "auto"
        Whether activations are computed again instead of kept.
    adapter : {None, "lora"}
    adapter_rank : int
    scorer : callable or None
        From the net and the scores of what it validates on to the score of an epoch.
        None: that of the objective.
    callbacks : list of skorch callbacks, or None
        The caller's stay in `callbacks_`, and what they recorded in `history`, until
        the net is copied or pickled.
    """

    # The loop itself records what skorch's defaults would.
    _default_callbacks: ClassVar[list[tuple[str, Callback]]] = []

    def __init__(
        self,
        module: TextModel,
        *,
        placement: str,
        precision: str,
        pad_id: int,
        fingerprint: str | None = None,
        objective: Objective | None = None,
        lr: float = 5e-5,
        layer_decay: float = 1.0,
        decays: bool = True,
        max_epochs: int = 3,
        batch_size: int = 32,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        shuffle_seed: int = 0,
        balances_classes: bool = False,
        checkpointing: bool | str = False,
        adapter: str | None = None,
        adapter_rank: int = 8,
        scorer: Callable[[BertNet, np.ndarray], float] | None = None,
        callbacks: list[Callback] | None = None,
    ) -> None:
        device = available_device(placement)
        # skorch's own loop, loader and split are not used: of `NeuralNet` there remain
        # the order of `initialize`, callbacks, and `history`.
        super().__init__(
            module,
            criterion=objective or Objective(),
            optimizer=torch.optim.AdamW,
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            callbacks=callbacks,
            device=str(device),
            train_split=None,
            verbose=1,  # of the caller's callbacks, whose output is asked for
        )
        self.placement = placement
        self.precision = precision
        self.pad_id = pad_id
        self.fingerprint = fingerprint
        runner = self.runner_ = Runner(
            module, device, precision=precision, pad_id=pad_id, fingerprint=fingerprint
        )
        # What a trained net is asked for is the runner's, without a stop here.
        self.scores, self.vectors = runner.scores, runner.vectors
        self.token_log_likelihood = runner.token_log_likelihood
        self.top_tokens = runner.top_tokens
        self.next_token_logits = runner.next_token_logits
        self.next_sentence_logits = runner.next_sentence_logits
        self.layer_decay = layer_decay
        self.decays = decays
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.shuffle_seed = shuffle_seed
        self.balances_classes = balances_classes
        self.checkpointing = checkpointing
        self.adapter = adapter
        self.adapter_rank = adapter_rank
        self.scorer = scorer
        self.batch_size_used_ = batch_size
        self.callbacks_: list[tuple[str, Callback]] = []

    def __repr__(self) -> str:
        n_weights = sum(p.numel() for p in self.module.parameters())
        return f"BertNet({n_weights / 1e6:.1f}M weights, precision={self.precision!r})"

    # -- training ------------------------------------------------------------------

    @own_torch_state()
    def fit(
        self,
        examples: Examples,
        valid: Examples | None = None,
        states: TrainingStates | None = None,
        ranks: Ranks = ONE,
    ) -> BertNet:
        """Train, and leave nothing of the training behind, however it ends.

        Parameters
        ----------
        examples : Examples
            To train on.
        valid : Examples or None
            Scored after every epoch; None: there is no validation.
        states : TrainingStates or None
            What the training goes on with, and what it leaves should it be killed;
            None: it leaves nothing.
        ranks : Ranks
            The processes that train together, each on its share of every batch.
        """
        device = torch.device(self.device)
        with on_device(device), matmul_precision(self.precision, device):
            try:
                self.ranks_ = ranks
                ranks.work_on(device)
                self._prepare(examples, valid)
                # Each callback, ours and the caller's, has a name of its own.
                self.callbacks: Any = with_free_names(self.callbacks or [])
                self.initialize()
                self.masters_.take_from_first(ranks)
                self.states_ = states
                if states is None or not states.put_back_result(self):
                    self._train()
                    self._check_result()
                    if states is not None:
                        states.finish(self)
            finally:
                self._come_to_rest()
        return self

    def _prepare(self, examples: Examples, valid: Examples | None) -> None:
        """Set aside what does not learn, and lay out the run.

        skorch's `initialize` makes module and optimizer of what is set here.
        """
        assert isinstance(examples.table, TokenTable)  # features are made below
        self.module.gives_vectors = self.criterion.takes_vectors
        table, windows = examples.table.by_window()
        if examples.windows is not None:
            windows = examples.windows
        # Of one table with the training, validation is read as that is: renumbered,
        # or from features.
        has_one_table = valid is not None and valid.table is examples.table
        texts = examples.rows
        if has_one_table:
            assert valid is not None
            texts = np.concatenate([texts, valid.rows])
        self.view_ = TrainableView(
            self.module,
            table,
            texts if windows is None else windows.take(texts).rows(),
            self.pad_id,
            adapter=self.adapter,
            adapter_rank=self.adapter_rank,
            layer_decay=self.layer_decay,
            weight_decay=self.weight_decay,
            runner=self.runner_,
        )
        WORKING_COPY.forget(self.runner_)  # it has computed the features
        made: dict[str, Any] = {"table": self.view_.table, "windows": windows}
        self.examples_ = replace(examples, **made)
        self.valid_examples_ = valid
        if has_one_table:
            assert valid is not None
            self.valid_examples_ = replace(valid, **made)
        self.feed_ = self.runner_.feed()
        rng = np.random.default_rng(self.shuffle_seed)
        self.batches_: ShuffledBatches | BalancedBatches
        if self.balances_classes:
            codes, rows = self.examples_.targets, self.examples_.rows
            weights = balanced_weights(codes, self.examples_.weights, rows)
            self.examples_ = replace(self.examples_, weights=weights)
            self.batches_ = BalancedBatches(codes[rows], self.batch_size, rng)
        else:
            self.batches_ = ShuffledBatches(
                self.examples_.lengths(),
                self.batch_size,
                rng,
                by_length=not self.feed_.packed,
            )

    def initialize_module(self) -> BertNet:
        """Take what learns as the module of this run."""
        self.module_ = self.view_.model
        return self

    def initialize_optimizer(self, triggered_directly: Any = None) -> BertNet:
        """Make float32 masters, and a fused AdamW that steps them."""
        self.masters_ = MasterWeights(self.module_, self.runner_.dtype())
        n_updates = self.max_epochs * len(self.batches_)
        # Nothing is called if no callback looks at gradients, so that an update
        # may become a graph.
        on_gradients: Callable[[list[tuple[str, Tensor]]], None] | None = None
        if self._hooks("on_grad_computed"):
            on_gradients = lambda named: self.notify(  # noqa: E731
                "on_grad_computed", named_parameters=named, batch=None, training=True
            )
        decaying = partial(warmup_then_decay, n_updates=n_updates, warmup=self.warmup)
        factors = None
        if self.layer_decay != 1:
            factors = layer_factors(layer_depths(self.module_), self.layer_decay)
        self.updates_ = Updates(
            self.module_,
            self.masters_,
            self.criterion_,
            self.feed_,
            lr=self.lr,
            weight_decay=self.weight_decay,
            rate_factors=factors,
            schedule=decaying if self.decays else steady,
            n_updates=n_updates,
            batch_size=self.batch_size,
            checkpointing=self.checkpointing,
            on_gradients=on_gradients,
            ranks=self.ranks_,
        )
        self.optimizer_ = self.updates_.optimizer
        return self

    def _train(self) -> None:
        """Run the epochs between the callbacks' hooks."""
        examples = self.examples_
        data = {"X": examples, "y": None}
        self.stops_ = False
        self.last_rows_ = examples.rows[:1]  # where there is no epoch
        try:
            n_past = 0 if self.states_ is None else self.states_.begin(self)
            self.notify("on_train_begin", **data)
            for epoch in range(self.max_epochs):
                if epoch > 0:
                    # Masks and pairs are drawn anew, and lengths change with them.
                    examples = self.examples_ = examples.renewed()
                    if isinstance(self.batches_, ShuffledBatches):
                        self.batches_.lengths = examples.lengths()
                if epoch < n_past:
                    for _ in self.batches_:  # their order is drawn once more
                        pass
                    continue
                datasets = {
                    "dataset_train": examples,
                    "dataset_valid": self.valid_examples_,
                }
                self.notify("on_epoch_begin", **datasets)
                self.train_epoch(examples)
                self.masters_.take_from_first(self.ranks_)
                if self.valid_examples_ is not None:
                    self.validate(self.valid_examples_)
                self.notify("on_epoch_end", **datasets)
                if self.ranks_.any(self.stops_):
                    break
        except BaseException:
            # A bar is closed and a run of a logger ended, however the training ends.
            for _, hook in self._hooks("on_train_end"):
                with suppress(Exception):  # which would hide why the training failed
                    hook(self, **data)
            raise
        self.notify("on_train_end", **data)

    def shift_head(self, bias: np.ndarray) -> None:
        """Add to the bias of each output: (n_outputs,)."""
        self.module.shift_head(bias)
        WORKING_COPY.forget(self.runner_)  # made of the head before

    def _check_result(self) -> None:
        """Choose the weights to keep, or raise FloatingPointError: they are no use."""
        best = [cb for _, cb in self.callbacks_ if isinstance(cb, BestWeights)]
        if best and best[0].snapshot_ is not None:
            self.kept_ = best[0].snapshot_
            return  # weights that are kept have been validated
        # No later loss shows what the last update has done to the weights.
        trained = self.masters_.trained
        finite = torch.stack([torch.isfinite(w).all() for w in trained.values()])
        if not finite.all():
            first = list(trained)[int((~finite).nonzero()[0, 0])]
            raise FloatingPointError(
                f"after update {self.updates_.n_done} weights are not finite, first in "
                f"{first!r}; training has diverged. {REMEDY}"
            )
        # Weights may be finite and their scores not: a few texts tell.
        self.module_.eval()
        self._scores_of(replace(self.examples_, rows=self.last_rows_))

    def _hooks(self, method_name: str) -> list[tuple[Callback, Any]]:
        """Return the callbacks that do something at this moment."""
        return [
            (callback, getattr(callback, method_name))
            for _, callback in self.callbacks_
            if getattr(type(callback), method_name)
            is not getattr(Callback, method_name)
        ]

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Run a hook of all callbacks that override it.

        skorch's EarlyStopping raises KeyboardInterrupt, so skorch swallows every one: a
        real Ctrl-C inside a grid search is lost. Here only that of skorch itself
        means "stop"; any other reaches the caller, wherever it strikes.
        """
        getattr(self, method_name)(self, **kwargs)
        for _, hook in self._hooks(method_name):
            try:
                hook(self, **kwargs)
            except KeyboardInterrupt as interrupt:
                if not is_raised_by_skorch(interrupt):
                    raise
                self.stop()

    def train_epoch(self, examples: Examples) -> None:
        """Pass over the examples once; the losses are read at the end."""
        self.epoch_began_ = time.perf_counter()
        parts = self.criterion_.parts
        device, n_before = torch.device(self.device), self.updates_.n_done
        losses = self.losses_ = EpochLosses(
            len(self.batches_),
            n_before,
            device,
            max(1, len(parts)),
            may_overflow=self.updates_.loss_scale is not None,
        )
        n_past = 0 if self.states_ is None else self.states_.go_on(self)
        sizes, n_targets = [], []
        # Nothing in this loop waits for a GPU: losses stay there until the epoch ends.
        # Anew in each epoch: validation has switched dropout off.
        self.module_.train()
        for place, places in enumerate(self.batches_):
            rows = examples.rows[places]
            sizes.append(len(rows))
            n_targets.append(len(examples.table.targets_of(rows)))
            if place < n_past:
                continue
            check_heard()
            if self.states_ is not None:
                self.states_.note(self)
            rate = self.updates_.rate
            self.notify("on_batch_begin", batch=rows, training=True)
            losses.append(self.train_step(rows)["loss"])
            self.notify("on_batch_end", batch=rows, training=True)
            self.stops_ = self.ranks_.any(self.stops_)
            if self.stops_:
                break
        self.last_rows_ = rows[:LAST_TEXTS]
        part_losses = losses.read()
        batch_losses = part_losses.sum(axis=1).tolist()
        seconds = self.ranks_.from_first(
            lambda: time.perf_counter() - self.epoch_began_
        )
        for row, loss, size in zip(
            self.history[-1]["batches"], batch_losses, sizes, strict=True
        ):
            row.update(train_loss=loss, train_batch_size=size)
        # A loss is a mean over targets; that of next sentences one over rows.
        means = [
            average(losses, sizes if place else n_targets)
            for place, losses in enumerate(part_losses.T)
        ]
        self.history.record("train_loss", sum(means))
        if len(parts) > 1:
            for name, mean in zip(parts, means, strict=True):
                self.history.record(name, mean)
        self.history.record("learning_rate", rate)
        self.history.record("seconds", seconds)
        self.history.record("texts_per_second", sum(sizes) / seconds)
        if self.updates_.loss_scale is not None:
            n_begun = sum(len(row["batches"]) for row in self.history)
            earlier = sum(row["skipped_updates"] for row in self.history[:-1])
            skipped = n_begun - self.updates_.n_done - earlier
            self.history.record("skipped_updates", skipped)

    def train_step(self, batch: np.ndarray, **fit_params: Any) -> dict[str, Tensor]:
        """Update once, on some rows of the examples' table."""
        rate, n_done = self.updates_.rate, self.updates_.n_done
        self.ranks_.seed_update(self.shuffle_seed, n_done)
        loss = self.updates_(self.examples_, batch)
        if self.updates_.n_done > n_done:  # else it was skipped
            self.view_.after_update(rate)
        return {"loss": loss}

    def validate(self, examples: Examples) -> None:
        """Record loss and score of held-out examples, with their weights."""
        self.module_.eval()
        scores = self._scores_of(examples)
        places = examples.table.targets_of(examples.rows)
        targets, weights = examples.targets[places], examples.weights[places]
        # On the CPU and in float32, whatever the training computes with.
        losses = self.criterion_(scores, torch.from_numpy(targets)).numpy()
        n_texts = np.broadcast_to(weights, losses.shape).sum()
        if losses.ndim == 2:  # parts of a mean over the labels
            n_texts /= losses.shape[1]
        self.history.record("valid_loss", float((losses * weights).sum() / n_texts))
        if self.scorer is not None:
            scorer = partial(self.scorer, self, scores.numpy())
            score = self.ranks_.from_first(scorer)
        else:
            score = self.criterion_.score(
                scores.numpy(), targets, weights, examples.table.counts(examples.rows)
            )
        self.history.record("valid_score", score)

    def _scores_of(self, examples: Examples) -> Tensor:
        """Compute the scores of examples, as validation looks at them."""
        places = self.ranks_.share(np.arange(len(examples)))
        # One that has none computes one text, whose scores are nobody's.
        rows = examples.rows[places if len(places) else slice(1)]
        scores = self._own_scores(replace(examples, rows=rows))
        counts = np.ones(len(examples), dtype=np.int64)
        if examples.windows is None:
            counts = examples.table.n_outputs(examples.rows)
        begins = np.cumsum(counts) - counts
        where = ragged_indices(begins[places], counts[places])
        return self.ranks_.put_together(scores[: len(where)], where, int(counts.sum()))

    def _own_scores(self, examples: Examples) -> Tensor:
        """Compute the scores of examples in this process."""
        rows, windows = examples.rows, None
        if examples.windows is not None:
            windows = examples.windows.take(rows)
            rows = windows.rows()
        scores = compute(
            lambda **inputs: self.criterion_.validation_scores(self.module_, inputs),
            examples.table.take(rows),
            self.feed_,
        )
        if windows is None:
            return scores
        return merged(self.criterion_.merge_windows, scores, windows)

    def trained_module(self) -> TextModel:
        """Return a copy of the whole model as it is in the middle of a fit, at rest."""
        # Together, for they share tensors; but not the tokens, which nobody changes.
        tokens = {id(self.view_.table): self.view_.table}
        view, masters = copy.deepcopy((self.view_, self.masters_), tokens)
        view.restore(masters, None)
        return view.whole

    def stop(self) -> None:
        """End the training after the update that is under way."""
        self.stops_ = True

    def place(self, placement: str) -> None:
        """Work on another device from now on."""
        device = available_device(placement)
        self.placement, self.device = placement, str(device)
        WORKING_COPY.forget(self.runner_)  # which is on the device before
        self.runner_.device = device

    def snapshot(self) -> Snapshot:
        """Return the weights as they are now, on the CPU."""
        return self.view_.snapshot(self.masters_)

    def _come_to_rest(self) -> None:
        """Bring the weights to float32 on the CPU, and forget all the rest."""
        # An error may have come before any of these was there.
        running: dict[str, Any] = self.__dict__
        view, updates = running.get("view_"), running.get("updates_")
        if updates is not None:
            updates.finish()
            self.batch_size_used_ = updates.micro_batches.size
        if view is not None:
            view.restore(running.get("masters_"), running.get("kept_"))
        self.module.gives_vectors = False
        for name in TRAINING_STATE:
            running.pop(name, None)
        self.callbacks = self.scorer = None
        # The caller's stay, with what they have recorded; ours refer to the data.
        own = (BestWeights, FitProgress, FitTasks)
        self.callbacks_ = [
            (name, callback)
            for name, callback in self.callbacks_
            if not isinstance(callback, own)
        ]
        WORKING_COPY.forget(self.runner_)  # made of the weights before this training
        give_back(torch.device(self.device))

    # -- pickling ------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {"model": pack_model(self.module), "settings": self.settings()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(unpack_model(state["model"]), **state["settings"])  # type: ignore[misc]

    def settings(self) -> dict[str, Any]:
        """Return what builds this net again for inference, beside the model."""
        return {
            "placement": self.placement,
            "precision": self.precision,
            "pad_id": self.pad_id,
            "fingerprint": self.fingerprint,
        }


# What only a running training needs.
TRAINING_STATE = (
    "view_",
    "examples_",
    "valid_examples_",
    "last_rows_",
    "feed_",
    "batches_",
    "masters_",
    "updates_",
    "losses_",
    "epoch_began_",
    "ranks_",
    "states_",
    "kept_",
    "module_",
    "optimizer_",
    "criterion_",
    "stops_",
)
