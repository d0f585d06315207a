"""`BertNet`: one training run, and one forward pass over many texts."""

from __future__ import annotations

import copy
import gc
import time
import weakref
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn import functional

from sklearn_bert.model import TextModel, pack_model, unpack_model
from sklearn_bert.text import ShuffledBatches, TokenTable, pad, token_budget_batches
from sklearn_bert.training._callbacks import BestWeights, FitProgress, StopTraining
from sklearn_bert.training._device import available_device, resolve_precision
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._schedule import parameter_groups, warmup_then_decay
from sklearn_bert.training._weights import MasterWeights

MAX_GRADIENT_NORM = 1.0
# Padded tokens of a batch that is only computed forward. On a CPU small batches stay in
# its cache; a GPU wants to be filled.
INFERENCE_TOKENS = {"cpu": 2048, "cuda": 65536}
# Updates between two looks at the losses: each look makes a GPU wait for its queue.
UPDATES_PER_LOSS_CHECK = {"cpu": 1, "cuda": 25}


class WeightedCrossEntropy(nn.Module):
    """Cross-entropy of each text times its weight, averaged over the batch."""

    def forward(self, scores: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Scores of shape (n_texts, n_classes); codes and weights of (n_texts,)."""
        losses = functional.cross_entropy(scores, targets, reduction="none")
        return (losses * weights).mean()


class BertNet(NeuralNet):
    """The engine inside an estimator; use the estimator instead.

    At rest the module is in float32 on the CPU. `fit` moves it to the device, trains it
    with AdamW as Devlin et al. (2019, appendix A.2) do, and brings it back; `scores`
    and `vectors` work on a copy on the device, of which only the last used is kept.

    Parameters
    ----------
    module : TextModel
    placement : str
        The device in the user's words; a model trained on a GPU that is missing where
        it is loaded works on the CPU.
    precision : {"auto", "float32", "bfloat16"}
    lr : float
        The peak learning rate.
    max_epochs : int
    batch_size : int
        Texts per update.
    weight_decay : float
    warmup : float
        Share of the updates.
    pad_id : int
    shuffle_seed : int
        Seed of the order of the texts.
    valid_examples : Examples or None
        Scored after every epoch; None: there is no validation.
    callbacks : list of skorch callbacks, or None
    """

    def __init__(
        self,
        module: TextModel,
        *,
        placement: str,
        precision: str,
        pad_id: int,
        lr: float = 5e-5,
        max_epochs: int = 3,
        batch_size: int = 32,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        shuffle_seed: int = 0,
        valid_examples: Examples | None = None,
        callbacks: list[Callback] | None = None,
    ) -> None:
        super().__init__(
            module,
            criterion=WeightedCrossEntropy,
            optimizer=torch.optim.AdamW,
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            callbacks=callbacks,
            device=str(available_device(placement)),
            train_split=None,
            verbose=0,
        )
        self.placement = placement
        self.precision = precision
        self.pad_id = pad_id
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.shuffle_seed = shuffle_seed
        self.valid_examples = valid_examples

    def __repr__(self) -> str:
        n_weights = sum(p.numel() for p in self.module.parameters())
        return f"BertNet({n_weights / 1e6:.1f}M weights, precision={self.precision!r})"

    # -- training ------------------------------------------------------------------

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return []  # the loop itself records what skorch's defaults would

    def initialize_optimizer(self, triggered_directly: Any = None) -> BertNet:
        """Make float32 masters, and a fused AdamW that steps them."""
        dtype = resolve_precision(self.precision, torch.device(self.device))
        self.masters_ = MasterWeights(self.module_, dtype)
        groups = parameter_groups(self.masters_.named_parameters(), self.weight_decay)
        self.optimizer_ = self.optimizer(groups, lr=self.lr, fused=True)
        return self

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Run a hook of all callbacks.

        skorch's callbacks stop a training by raising KeyboardInterrupt, for which
        skorch swallows every KeyboardInterrupt: a real Ctrl-C inside a grid search is
        lost. Here only one that comes out of a caller's callback means "stop".
        """
        getattr(self, method_name)(self, **kwargs)
        for _, callback in self.callbacks_:
            hook = getattr(callback, method_name)
            if isinstance(callback, (BestWeights, FitProgress)):
                hook(self, **kwargs)
                continue
            try:
                hook(self, **kwargs)
            except KeyboardInterrupt as interrupt:
                raise StopTraining from interrupt

    def partial_fit(
        self, X: Examples, y: Any = None, classes: Any = None, **fit_params: Any
    ) -> BertNet:
        """Train, and leave nothing of the training behind, however it ends."""
        try:
            if not self.initialized_:
                self.initialize()
            try:
                self.notify("on_train_begin", X=X, y=y)
                self.fit_loop(X)
            except StopTraining:
                pass
            finally:
                self.notify("on_train_end", X=X, y=y)
        finally:
            self._come_to_rest()
        return self

    def fit_loop(
        self, X: Examples, y: Any = None, epochs: int | None = None, **fit_params: Any
    ) -> BertNet:
        """Epochs of training, each followed by validation where there is any."""
        rng = np.random.default_rng(self.shuffle_seed)
        batches = ShuffledBatches(X.table.lengths[X.rows], self.batch_size, rng)
        self.schedule_ = warmup_then_decay(self.max_epochs * len(batches), self.warmup)
        self.n_updates_ = 0
        for _ in range(self.max_epochs):
            datasets = {"dataset_train": X, "dataset_valid": self.valid_examples}
            self.notify("on_epoch_begin", **datasets)
            self.train_epoch(X, batches)
            if self.valid_examples is not None:
                self.validate(self.valid_examples)
            self.notify("on_epoch_end", **datasets)
        return self

    def train_epoch(self, examples: Examples, batches: ShuffledBatches) -> None:
        """One pass over the examples; the losses are read once, at its end."""
        start = time.perf_counter()
        device = torch.device(self.device)
        check_every = UPDATES_PER_LOSS_CHECK.get(device.type, 1)
        losses = torch.zeros(len(batches), device=device)
        sizes = []
        self.module_.train()
        for i, rows in enumerate(batches):
            self.notify("on_batch_begin", batch=rows, training=True)
            batch = self._batch(examples, examples.rows[rows])
            losses[i] = self.train_step(batch)["loss"]
            sizes.append(len(rows))
            if (i + 1) % check_every == 0 or i + 1 == len(batches):
                self._check_losses(losses[: i + 1])
            self.notify("on_batch_end", batch=rows, training=True)
        seconds = time.perf_counter() - start
        batch_losses = losses.tolist()
        for row, loss, size in zip(
            self.history[-1]["batches"], batch_losses, sizes, strict=True
        ):
            row.update(train_loss=loss, train_batch_size=size)
        self.history.record(
            "train_loss", float(np.average(batch_losses, weights=sizes))
        )
        rate = self.lr * self.schedule_(self.n_updates_ - 1)
        self.history.record("learning_rate", rate)
        self.history.record("seconds", seconds)
        self.history.record("texts_per_second", len(examples) / seconds)

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        """Forward, backward, clip, step."""
        inputs, targets, weights = batch
        loss = self.criterion_(self.module_(**inputs), targets, weights)
        loss.backward()
        self.masters_.collect_gradients()
        named = self.masters_.named_parameters()
        self.notify(
            "on_grad_computed", named_parameters=named, batch=batch, training=True
        )
        nn.utils.clip_grad_norm_([p for _, p in named], MAX_GRADIENT_NORM)
        rate = self.lr * self.schedule_(self.n_updates_)
        for group in self.optimizer_.param_groups:
            group["lr"] = rate * group["rate_factor"]
        self.optimizer_.step()
        self.masters_.update_working()
        self.n_updates_ += 1
        return {"loss": loss.detach()}

    def validate(self, examples: Examples) -> None:
        """Record loss and accuracy on held-out examples, with their weights."""
        self.module_.eval()
        table = examples.table.take(examples.rows)
        scores = torch.from_numpy(self._compute(self.module_, "forward", table))
        targets = torch.from_numpy(examples.targets[examples.rows])
        losses = functional.cross_entropy(scores, targets, reduction="none").numpy()
        right = (scores.argmax(1) == targets).numpy()
        weights = examples.weights[examples.rows]
        self.history.record("valid_loss", float(np.average(losses, weights=weights)))
        self.history.record("valid_score", float(np.average(right, weights=weights)))

    def _batch(
        self, examples: Examples, rows: np.ndarray
    ) -> tuple[Any, Tensor, Tensor]:
        inputs = self._tensors(pad(examples.table, rows, self.pad_id))
        targets = torch.from_numpy(examples.targets[rows]).to(self.device)
        weights = torch.from_numpy(examples.weights[rows]).to(self.device)
        return inputs, targets, weights

    def _check_losses(self, losses: Tensor) -> None:
        finite = torch.isfinite(losses)
        if finite.all():
            return
        place = int((~finite).nonzero()[0, 0])
        update = self.n_updates_ - len(losses) + place + 1
        raise FloatingPointError(
            f"the loss of update {update} is {losses[place].item()}; training has "
            "diverged. Lower learning_rate, raise warmup, or set precision='float32'."
        )

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of the weights as they are now, on the CPU."""
        return self.masters_.snapshot()

    def _come_to_rest(self) -> None:
        """Weights in float32 on the CPU; optimizer, gradients and data forgotten."""
        module = self.module
        masters = getattr(self, "masters_", None)
        if masters is not None:
            callbacks = [callback for _, callback in vars(self)["callbacks_"]]
            best = [cb for cb in callbacks if isinstance(cb, BestWeights)]
            masters.restore(module, best[0].snapshot_ if best else None)
        module.to("cpu").eval()
        for name in ("masters_", "optimizer_", "criterion_"):
            setattr(self, name, None)
        self.valid_examples = None
        self.callbacks = None
        self.callbacks_ = []  # type: ignore[var-annotated]
        if _kept_copy(self) is not None:
            _keep_copy(self, None)  # made of the weights before this training
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    # -- inference -----------------------------------------------------------------

    def scores(self, table: TokenTable) -> np.ndarray:
        """The head's outputs, (n_texts, n_outputs), float32, in the table's order."""
        return self._compute(self._model_in_place(), "forward", table)

    def vectors(self, table: TokenTable) -> np.ndarray:
        """The vectors before the head, (n_texts, width), float32."""
        return self._compute(self._model_in_place(), "vectors", table)

    @torch.inference_mode()
    def _compute(self, model: nn.Module, method: str, table: TokenTable) -> np.ndarray:
        """Run a method of the model over each distinct text once."""
        compute = getattr(model, method)
        rows, row_of = table.distinct()
        budget = INFERENCE_TOKENS.get(torch.device(self.device).type, 8192)
        batches = token_budget_batches(table.lengths[rows], budget)
        outputs: np.ndarray | None = None
        for batch in batches:
            output = compute(**self._tensors(pad(table, rows[batch], self.pad_id)))
            if outputs is None:
                outputs = np.empty((len(rows), output.shape[1]), dtype=np.float32)
            outputs[batch] = output.cpu().numpy()
        assert outputs is not None  # a table holds at least one text
        return outputs[row_of]

    def _tensors(self, arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
        return {n: torch.from_numpy(a).to(self.device) for n, a in arrays.items()}

    def _model_in_place(self) -> TextModel:
        """The model on its device in its precision: itself, or a copy that is kept."""
        device = torch.device(self.device)
        dtype = resolve_precision(self.precision, device)
        if device.type == "cpu" and dtype == torch.float32:
            return self.module
        model = _kept_copy(self)
        if model is None:
            model = copy.deepcopy(self.module).to(device)
            for parameter in model.encoder.parameters():
                parameter.data = parameter.data.to(dtype)
            _keep_copy(self, model)
        return model

    # -- pickling ------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {"model": pack_model(self.module), "settings": self.settings()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(unpack_model(state["model"]), **state["settings"])  # type: ignore[misc]

    def settings(self) -> dict[str, Any]:
        """The arguments, beside the model, that build this net again for inference."""
        return {
            "placement": self.placement,
            "precision": self.precision,
            "pad_id": self.pad_id,
        }


# The one net whose working copy (on the GPU, or in bfloat16) is kept between calls.
_last_used: tuple[weakref.ref[BertNet], TextModel | None] | None = None


def _kept_copy(net: BertNet) -> TextModel | None:
    kept = _last_used
    return kept[1] if kept is not None and kept[0]() is net else None


def _keep_copy(net: BertNet, model: TextModel | None) -> None:
    global _last_used
    _last_used = (weakref.ref(net, _drop_copy), model)


def _drop_copy(reference: weakref.ref[BertNet]) -> None:
    """Forget the working copy of a net that is gone."""
    global _last_used
    if _last_used is not None and _last_used[0] is reference:
        _last_used = None
