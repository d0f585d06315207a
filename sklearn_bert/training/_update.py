"""One update of the weights: forward, backward, clip, step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_bert._process._warn import warn
from sklearn_bert.compute._layout import Feed
from sklearn_bert.compute._memory import (
    BertOutOfMemoryError,
    is_shortage,
    make_room,
    no_room_to_step,
    nothing_fits,
)
from sklearn_bert.model._draws import draws_of
from sklearn_bert.model._recompute import Checkpointing, can_checkpoint, recompute
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._losses import Objective
from sklearn_bert.training._master_weights import MasterWeights
from sklearn_bert.training._schedule import parameter_groups
from sklearn_bert.training.acceleration._cuda_graphs import (
    GRAPH_MULTIPLE,
    GRAPH_TOKENS,
    GRAPH_UPDATES,
    CaptureError,
    StepGraphs,
)

MAX_GRADIENT_NORM = 1.0
# Tokens that pass through a model at a time on a CPU: what they leave for the backward
# pass stays near its caches. Whatever the number of cores, for a seed to mean the same.
TRAINING_TOKENS = 1024


class Updates:
    """Updates a model batch by batch, however much memory there is.

    Where a batch does not fit, it is halved until it does; the gradients of its parts
    are added up, so the update is that of the whole batch.

    Parameters
    ----------
    model : TextModel
        On its device.
    masters : MasterWeights
        Of the model.
    criterion : Objective
    feed : Feed
    lr : float
        Peak learning rate.
    weight_decay : float
    rate_factors : dict of str to float, or None
        Share of the rate that each parameter gets; None: all of it.
    schedule : callable
        Share of the peak rate, by the number of updates done.
    n_updates : int
        Updates of the whole fit.
    batch_size : int
    checkpointing : bool or "auto"
        Whether to compute the layers' insides again in the backward pass instead of
        keeping them; "auto": when memory runs out, before batches are halved.
    on_gradients : callable or None
        Called with names and float32 weights before each step.
    """

    def __init__(
        self,
        model: Any,
        masters: MasterWeights,
        criterion: Objective,
        feed: Feed,
        *,
        lr: float,
        weight_decay: float,
        rate_factors: dict[str, float] | None,
        schedule: Callable[[int], float],
        n_updates: int,
        batch_size: int,
        checkpointing: bool | str = False,
        on_gradients: Callable[[list[tuple[str, Tensor]]], None] | None = None,
    ) -> None:
        self.model = model
        self.criterion = criterion
        self.feed = feed
        self.lr = lr
        self.weight_decay = weight_decay
        self.rate_factors = rate_factors
        self.schedule = schedule
        self.micro_batch_size = self.batch_size = batch_size
        self.on_gradients = on_gradients
        self.n_done = 0
        self.masters = masters
        self._use_graphs = (
            feed.packed
            and feed.device.type == "cuda"
            and model.trainable == "all"
            and n_updates >= GRAPH_UPDATES
            and on_gradients is None
            and checkpointing is not True
        )
        self._graphs: StepGraphs | None = None
        self.optimizer = self._make_optimizer()
        self._checkpointing: Checkpointing | None = None
        self._may_keep_less = (
            checkpointing == "auto"
            and model.encoder is not None
            and can_checkpoint(model.encoder)
        )
        if checkpointing is True:
            self._keep_less()

    def _make_optimizer(self) -> torch.optim.AdamW:
        named = self.masters.named_parameters()
        optimizer = torch.optim.AdamW(
            parameter_groups(
                named,
                self.weight_decay,
                self.rate_factors,
                new_parameters=self.model.new_parameters,
            ),
            lr=self.lr,
            fused=True,
            capturable=self._use_graphs,
        )
        if self._use_graphs:
            for group in optimizer.param_groups:
                # A graph reads the rate from the device, where it can change.
                group["lr"] = torch.tensor(
                    self.lr, dtype=torch.float32, device=self.feed.device
                )
            # Some updates run without a graph: that is meant, and no cause to warn.
            optimizer._warned_capturable_if_run_uncaptured = True
        return optimizer

    @property
    def rate(self) -> float:
        """The learning rate of the next update."""
        return self.lr * self.schedule(self.n_done)

    def __call__(self, examples: Examples, rows: np.ndarray) -> Tensor:
        """Update on some rows of the examples' table; the mean loss, on the device.

        Of several parts that add up, where the objective has them.
        """
        for group in self.optimizer.param_groups:
            self._set_rate(group, self.rate * group["rate_factor"])
        loss = self._by_graph(examples, rows)
        if loss is None:
            loss = self._in_parts(examples, rows)
            self._step()
        self.n_done += 1
        return loss

    def finish(self) -> None:
        """Leave the model as it was, but for its weights."""
        self._graphs = None
        self.optimizer.state.clear()  # the frames of an error may live on
        if self._checkpointing is not None:
            self._checkpointing.stop()

    def _set_rate(self, group: dict[str, Any], rate: float) -> None:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate

    def _in_parts(self, examples: Examples, rows: np.ndarray) -> Tensor:
        """Gradients of the mean loss, in as many parts as memory asks for."""
        while True:
            loss, shortage = self._try(examples, rows)
            if loss is not None:
                return loss
            # Only here, where no error holds on to the tensors, can they be freed.
            self._make_room()
            self._make_do_with_less(examples, rows, shortage)

    def _try(self, examples: Examples, rows: np.ndarray) -> tuple[Tensor | None, str]:
        try:
            totals = len(examples.targets_of(rows)), len(rows)
            parts = iter([rows])
            if self.criterion.n_views == 1:
                parts = self._parts(examples, rows)
            with draws_of(self.model):
                losses = [self._learn_from(examples, part, totals) for part in parts]
            return torch.stack(losses).sum(0), ""
        except RuntimeError as error:
            if not is_shortage(error):
                raise
            return None, str(error)

    def _parts(self, examples: Examples, rows: np.ndarray) -> Iterator[np.ndarray]:
        """What of a batch passes through the model at a time."""
        if self.feed.device.type != "cpu":
            return examples.parts(rows, self.micro_batch_size)
        lengths = replace(examples, rows=rows).lengths()
        rows = rows[np.argsort(lengths, kind="stable")]  # little padding in each part
        return examples.parts(rows, self.micro_batch_size, TRAINING_TOKENS)

    def _learn_from(
        self, examples: Examples, rows: np.ndarray, totals: tuple[int, int]
    ) -> Tensor:
        """Add the gradients of some texts; their share of the mean loss."""
        batch = self._batch(examples, rows)
        if examples.windows is None:
            return self._backward(totals, **batch)
        windows = examples.windows.take(rows)
        window_rows = windows.rows()
        scores = self._scores_of_windows(examples, window_rows)
        move = self.feed.move
        scores = self.criterion.merge_windows(
            scores,
            move(torch.from_numpy(windows.text_of_row())),
            move(torch.from_numpy(windows.shares[window_rows])),
            len(rows),
        )
        return self._descend(scores, totals, batch["targets"], batch["weights"])

    def _scores_of_windows(self, examples: Examples, rows: np.ndarray) -> Tensor:
        """Scores of so many windows that they may not fit in at a time.

        They are needed together, for the loss is that of the whole text. So what they
        went through is not kept, but computed again in the backward pass.
        """
        size = self.micro_batch_size * self.criterion.n_views
        groups = [rows[begin : begin + size] for begin in range(0, len(rows), size)]

        def score(group: np.ndarray) -> Tensor:
            scores = self.model(**self.feed(examples.table, group))
            return scores[: len(group)]

        if len(groups) == 1:
            return score(rows)
        return torch.cat([recompute(score, group) for group in groups])

    def _make_do_with_less(
        self, examples: Examples, rows: np.ndarray, shortage: str
    ) -> None:
        if self._may_keep_less:
            self._keep_less()
            return
        n_rows = len(rows)
        if examples.windows is not None:
            n_rows = int(examples.windows.counts[rows].sum())
        tried = min(self.micro_batch_size, n_rows)
        if tried == 1:
            if examples.windows is not None:
                rows = examples.windows.take(rows).rows()
            n_tokens = int(examples.table.lengths[rows].max())
            device = self.feed.device
            raise nothing_fits("training", device, len(rows), n_tokens, shortage)
        self.micro_batch_size = tried // 2

    def _keep_less(self) -> None:
        self._may_keep_less = self._use_graphs = False
        if self.model.encoder is not None:
            self._checkpointing = Checkpointing(self.model.encoder)

    def _batch(
        self, examples: Examples, rows: np.ndarray, multiple: int | None = None
    ) -> dict[str, Any]:
        move = self.feed.move
        places = examples.targets_of(rows)
        batch: dict[str, Any] = {
            "targets": move(torch.from_numpy(examples.targets[places])),
            "weights": move(torch.from_numpy(examples.weights[places])),
        }
        if examples.windows is None:
            batch["inputs"] = self.feed(examples.table, rows, multiple)
        return batch

    def _backward(
        self,
        totals: tuple[int, int],
        inputs: dict[str, Any],
        targets: Tensor,
        weights: Tensor,
    ) -> Tensor:
        """Add the gradients of a part of a batch; its share of the mean loss.

        `totals` are the targets and the rows of the whole batch.
        """
        return self._descend(self.model(**inputs), totals, targets, weights)

    def _descend(
        self, scores: Any, totals: tuple[int, int], targets: Tensor, weights: Tensor
    ) -> Tensor:
        losses = self.criterion.losses(scores, targets, weights, *totals)
        losses.sum().backward()
        self.masters.collect_gradients()
        return losses.detach()

    def _step(self) -> None:
        """Clip what was collected, and step."""
        if self.on_gradients is not None:
            self.on_gradients(self.masters.named_parameters())
        weights = self.masters.parameters()
        nn.utils.clip_grad_norm_(weights, MAX_GRADIENT_NORM)
        try:
            self.optimizer.step()
        except RuntimeError as error:  # no smaller batch helps
            if not is_shortage(error):
                raise
            n_weights = sum(weight.numel() for weight in weights)
            shortage = str(error)
            raise no_room_to_step(self.feed.device, n_weights, shortage) from None
        self.masters.update_working()

    def _by_graph(self, examples: Examples, rows: np.ndarray) -> Tensor | None:
        """The update as a CUDA graph, where that pays and memory allows it."""
        is_whole = len(rows) == self.batch_size == self.micro_batch_size
        has_one_score_each = (
            examples.windows is None and examples.table.has_one_output_per_row
        )
        if not (self._use_graphs and is_whole and has_one_score_each):
            return None
        if examples.table.lengths[rows].sum() > GRAPH_TOKENS:
            return None
        if self._graphs is None:
            self._graphs = StepGraphs(self._whole_step, self.feed.device)
        try:
            batch = self._batch(examples, rows, GRAPH_MULTIPLE)
            return self._graphs({**batch.pop("inputs"), **batch})
        except BertOutOfMemoryError:
            raise
        except torch.OutOfMemoryError:
            pass  # without graphs there is more room, and below there are ways to save
        except CaptureError as error:
            warn(
                f"an update cannot be captured as a CUDA graph ({error}); training "
                "goes on without graphs, more slowly.",
                RuntimeWarning,
            )
        self._make_room()
        return None

    def _make_room(self) -> None:
        """Free what a failed attempt has left behind, and the memory of graphs."""
        self._use_graphs = False
        self._graphs = None
        self.masters.drop_gradients()
        make_room(self.feed.device)

    def _whole_step(self, targets: Tensor, weights: Tensor, **inputs: Any) -> Tensor:
        totals = len(targets), len(targets)
        loss = self._backward(totals, inputs, targets, weights)
        self._step()
        return loss
