"""One update of the weights: forward, backward, clip, step.

A batch passes through the model in as many parts as memory asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_bert._process._techniques import uses
from sklearn_bert.compute._inference import Feed
from sklearn_bert.compute._memory import (
    is_shortage,
    make_room,
    no_room_to_step,
    nothing_fits,
)
from sklearn_bert.model._recompute import Checkpointing, can_checkpoint, recompute
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.model._torch_state import draws_of
from sklearn_bert.text._table import Table, parts_of_similar_length
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._loss_scale import LossScale
from sklearn_bert.training._losses import Objective, Scores
from sklearn_bert.training._optimizer import MasterWeights, adamw, parameter_groups
from sklearn_bert.training._ranks import ONE, Ranks
from sklearn_bert.training.acceleration._cuda_graphs import (
    GraphedUpdates,
    graphs_pay,
    make_capturable,
)

MAX_GRADIENT_NORM = 1.0
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of a weight
# Tokens that pass through a model at a time on a CPU: what they leave for the backward
# pass stays near its caches. Whatever the number of cores, for a seed to mean the same.
TRAINING_TOKENS = 1024
# Tokens of padding that one pass less is worth, for what a pass costs by itself.
PASS_TOKENS = 32
# How many times as many tokens texts must be when padded for it to pay to pack them.
RAGGED = 1.15


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
        As `MicroBatches` takes it.
    on_gradients : callable or None
        Called with names and float32 weights before each step.
    ranks : Ranks
        The processes that make the update together.

    Attributes
    ----------
    n_done : int
        Updates that have changed the weights.
    loss_scale : LossScale or None
        None: nothing is learnt in float16.
    """

    def __init__(
        self,
        model: TextModel,
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
        ranks: Ranks = ONE,
    ) -> None:
        self.model = model
        self.masters = masters
        self.criterion = criterion
        self.feed = feed
        # Texts that are compared are needed together, of whatever length they are.
        compares_on_cpu = criterion.compares and feed.device.type == "cpu"
        self.packs = compares_on_cpu and uses("packing") and model.can_be_packed
        self.lr = lr
        self.schedule = schedule
        self.batch_size = batch_size
        self.on_gradients = on_gradients
        self.ranks = ranks
        self.n_done = 0
        groups = parameter_groups(
            masters.trained.items(),
            weight_decay,
            rate_factors,
            new_parameters=model.new_parameters,
        )
        self.optimizer = adamw(groups, lr, feed.device)
        learning = {p.dtype for p in model.parameters() if p.requires_grad}
        self.loss_scale = LossScale() if torch.float16 in learning else None
        self._graphs: GraphedUpdates | None = None
        # Neither a hook on gradients, nor what is computed again, nor what waits for
        # another process can be captured.
        is_plain = on_gradients is None and checkpointing is not True
        is_plain &= ranks.size == 1
        if is_plain and graphs_pay(model, feed, n_updates):
            make_capturable(self.optimizer, feed.device)
            self._graphs = GraphedUpdates(self._whole_update, feed)
        self.micro_batches = MicroBatches(model, feed.device, batch_size, checkpointing)

    @property
    def rate(self) -> float:
        """Return the learning rate of the next update."""
        return self.lr * self.schedule(self.n_done)

    def __call__(self, examples: Examples, rows: np.ndarray) -> Tensor:
        """Update on some rows of the examples' table.

        Returns
        -------
        Tensor of shape (n_parts,), or () where the objective has one loss
            The mean loss, on the device.
        """
        # The head, and each layer with layer_decay, has a rate of its own.
        rate, loss = self.rate, None
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):  # which a graph reads
                group["lr"].fill_(rate * group["rate_factor"])
            else:
                group["lr"] = rate * group["rate_factor"]
        # A graph does one number of texts; the last batch of an epoch may be smaller.
        is_whole = len(rows) == self.batch_size == self.micro_batches.size
        if self._graphs is not None and is_whole:
            loss = self._graphs(examples, rows)
            if self._graphs.has_failed:
                self._make_room()
        if loss is None:
            loss = self._gradients(examples, rows)
            while not self._step():
                # The next update is at the same place of the schedule. Of the first one
                # the scale is but a guess, to which no text is lost.
                if self.n_done > 0:
                    return loss
                loss = self._gradients(examples, rows)
        self.n_done += 1
        return loss

    def moments(self) -> dict[str, Tensor]:
        """Return what the optimizer knows of each weight: `name/exp_avg`, and so on."""
        state = self.optimizer.state
        return {
            f"{name}/{kind}": value
            for name, weight in self.masters.trained.items()
            for kind, value in state.get(weight, {}).items()
        }

    def put_back(
        self,
        n_done: int,
        moments: dict[str, Tensor],
        part_size: int,
        *,
        keeps_less: bool,
    ) -> None:
        """Go on after so many updates, with the moments that there were then."""
        self.n_done = n_done
        for name, weight in self.masters.trained.items():
            if f"{name}/step" not in moments:  # it has had no gradient yet
                continue
            found = {kind: moments[f"{name}/{kind}"] for kind in MOMENTS}
            if any(found[kind].shape != weight.shape for kind in MOMENTS[1:]):
                raise ValueError(f"the moments of {name!r} have another shape")
            self.optimizer.state[weight] = {
                kind: value.to(weight.device, copy=True)
                for kind, value in found.items()
            }
        self.micro_batches.put_back(part_size, keeps_less=keeps_less)

    def finish(self) -> None:
        """Leave the model as it was, except for its weights."""
        self._graphs = None
        self.optimizer.state.clear()  # the frames of an error may live on
        self.micro_batches.finish()

    def _gradients(self, examples: Examples, rows: np.ndarray) -> Tensor:
        """Collect gradients in parts that fit into memory; return the mean loss."""
        loss, shortage = self._try(examples, rows)
        while loss is None:
            # Only here, where no error holds on to the tensors, can they be freed.
            self._make_room()
            self.micro_batches.make_smaller(examples, rows, shortage)
            loss, shortage = self._try(examples, rows)
        self._add_up(loss)
        return loss

    def _try(self, examples: Examples, rows: np.ndarray) -> tuple[Tensor | None, str]:
        """Collect the gradients of the mean loss, and return it.

        Where memory runs out it is None, with what torch says: an error would hold on
        to the tensors.
        """
        table, move = examples.table, self.feed.move
        n_targets = len(table.targets_of(rows))
        losses = []
        try:
            # What an encoder draws comes from the generator of this fit's thread.
            with draws_of(self.model):
                for part in self._parts(examples, rows):
                    scores = self._scores(examples, part)
                    places = table.targets_of(part)
                    targets = move(torch.from_numpy(examples.targets[places]))
                    weights = move(torch.from_numpy(examples.weights[places]))
                    losses.append(
                        self._collect(scores, targets, weights, n_targets, len(rows))
                    )
            self.ranks.check_room()
            if not losses:  # there are fewer texts than processes
                n_losses = max(1, len(self.criterion.parts))
                return torch.zeros(n_losses, device=self.feed.device), ""
            return torch.stack(losses).sum(0), ""
        except (RuntimeError, MemoryError) as error:
            if not is_shortage(error):
                raise
            self.ranks.tell_shortage(error)
            return None, str(error)

    def _parts(self, examples: Examples, rows: np.ndarray) -> Iterable[np.ndarray]:
        """Return what of a batch has its loss computed at a time by this process."""
        criterion = self.criterion
        # What is compared is needed by all processes, as it is by one.
        own = rows if criterion.compares else self.ranks.share(rows)
        if criterion.n_views > 1 or len(own) == 0:
            return [own][: len(own)]
        return self.micro_batches.parts(examples, own, packed=self.packs)

    def _scores(self, examples: Examples, part: np.ndarray) -> Tensor:
        """Score some rows; of rows that are compared each process scores a share."""
        rows, places = part, np.arange(len(part))
        if self.criterion.compares:
            places = self.ranks.share(places)
            rows = part[places] if len(places) else part[:1]
        if examples.windows is None:
            scores = self._pass(examples.table, rows)
        else:
            scores = self._scores_of_texts(examples, rows)
        if not self.criterion.compares:
            return scores
        return self.ranks.put_together(scores[: len(places)], places, len(part))

    def _pass(self, table: Table, rows: np.ndarray) -> Tensor:
        """Score some rows of a table.

        Those that are compared are of whatever length. On a CPU, where padding costs as
        much as text, they pass without it, or else with those of similar length.
        """
        lengths = table.lengths[rows]
        is_ragged = lengths.max() * len(rows) > RAGGED * lengths.sum()
        if self.packs and is_ragged:
            return self.model(**replace(self.feed, packed=True)(table, rows))
        if not self.criterion.compares or self.feed.device.type != "cpu":
            return self.model(**self.feed(table, rows))
        parts = parts_of_similar_length(lengths, PASS_TOKENS)
        scores = [self.model(**self.feed(table, rows[part])) for part in parts]
        order = torch.from_numpy(np.argsort(np.concatenate(parts)))
        return torch.cat(scores)[order]

    def _scores_of_texts(self, examples: Examples, rows: np.ndarray) -> Tensor:
        """Score texts in so many windows that these may not fit in at a time.

        They are needed together, because the loss is that of the whole text. So what
        they went through is not kept, but computed again in the backward pass.
        """
        assert examples.windows is not None
        windows = examples.windows.take(rows)
        of_windows = windows.rows()
        # An example of two views is two rows, and a part holds so many examples.
        size = self.micro_batches.size * self.criterion.n_views
        groups = np.split(of_windows, [*range(size, len(of_windows), size)])

        def score(group: np.ndarray) -> Tensor:
            scores = self._pass(examples.table, group)
            return scores[: len(group)]  # behind them there may be one of padding

        if len(groups) == 1:
            scores = score(of_windows)
        else:
            scores = torch.cat([recompute(score, group) for group in groups])
        return self.criterion.merge_windows(
            scores,
            self.feed.move(torch.from_numpy(windows.text_of_row())),
            self.feed.move(torch.from_numpy(windows.shares[of_windows])),
            len(rows),
        )

    def _collect(
        self,
        scores: Scores,
        targets: Tensor,
        weights: Tensor,
        n_targets: int,
        n_rows: int,
    ) -> Tensor:
        """Go back from scores to gradients, and hand these to the masters."""
        # A share of the batch's mean, so that the gradients of parts just add up.
        losses = self.criterion.losses(scores, targets, weights, n_targets, n_rows)
        total = losses.sum()
        if self.loss_scale is not None:
            total = total * self.loss_scale.scale
        total.backward()
        self.masters.collect_gradients()
        return losses.detach()

    def _add_up(self, loss: Tensor) -> None:
        """Make gradients and loss those of all processes."""
        # Of what is compared each has the whole loss already.
        shares = [] if self.criterion.compares else [loss]
        self.ranks.add_up_gradients(list(self.masters.trained.values()), shares)

    def _step(self) -> bool:
        """Clip what was collected, and step; False: it overflowed, and is dropped."""
        weights = list(self.masters.trained.values())
        if self.loss_scale is not None and not self.loss_scale.unscale(weights):
            self.masters.drop_gradients()
            return False
        if self.on_gradients is not None:
            self.on_gradients(list(self.masters.trained.items()))
        # On the masters: norms of bfloat16 gradients would be rounded.
        nn.utils.clip_grad_norm_(weights, MAX_GRADIENT_NORM)
        try:
            self.optimizer.step()
        except (RuntimeError, MemoryError) as error:  # no smaller batch helps
            if not is_shortage(error):
                raise
            n_weights = sum(weight.numel() for weight in weights)
            shortage = str(error)
            raise no_room_to_step(self.feed.device, n_weights, shortage) from None
        self.masters.update_working()
        return True

    def _make_room(self) -> None:
        """Free what a failed attempt has left behind, and the memory of graphs."""
        self._graphs = None
        self.masters.drop_gradients()
        make_room(self.feed.device)

    def _whole_update(
        self, targets: Tensor, weights: Tensor, **inputs: Tensor | int
    ) -> Tensor:
        """Update on a batch that is on the device: what a graph records."""
        n = len(targets)
        loss = self._collect(self.model(**inputs), targets, weights, n, n)
        self._step()
        return loss


class MicroBatches:
    """Cuts batches into parts, smaller ones when memory has run out.

    First the layers keep less for the backward pass, if that is allowed; then the parts
    are halved until they fit. They stay as small for the rest of the fit, because what
    has run out once would again.

    Parameters
    ----------
    model : TextModel
    device : torch.device
    batch_size : int
    checkpointing : bool or "auto"
        Whether to compute the layers' insides again in the backward pass instead of
        keeping them; "auto": when memory runs out, before batches are halved.

    Attributes
    ----------
    size : int
        Texts, or windows of texts, in a part.
    """

    def __init__(
        self,
        model: TextModel,
        device: torch.device,
        batch_size: int,
        checkpointing: bool | str,
    ) -> None:
        self.size = batch_size
        self._encoder: Any = model.encoder
        self._device = device
        self._checkpointing: Checkpointing | None = None
        self._may_keep_less = (
            checkpointing == "auto"
            and model.encoder is not None
            and can_checkpoint(model.encoder)
        )
        if checkpointing is True:
            self._keep_less()

    def parts(
        self, examples: Examples, rows: np.ndarray, *, packed: bool
    ) -> Iterator[np.ndarray]:
        """Return what of a batch passes through the model at a time."""
        if self._device.type != "cpu":
            return examples.parts(rows, self.size)
        # The order within a batch does not matter to the sum of its gradients.
        lengths = replace(examples, rows=rows).lengths()
        rows = rows[np.argsort(lengths, kind="stable")]  # little padding in each part
        return examples.parts(rows, self.size, TRAINING_TOKENS, packed=packed)

    def make_smaller(self, examples: Examples, rows: np.ndarray, shortage: str) -> None:
        """Make do with less memory than a batch has just asked for.

        Raises
        ------
        BertOutOfMemoryError
            Where not even one text fits; `shortage` is what torch said.
        """
        if self._may_keep_less:
            self._keep_less()
            return
        n_rows = len(rows)
        if examples.windows is not None:
            n_rows = int(examples.windows.counts[rows].sum())
        tried = min(self.size, n_rows)
        if tried == 1:
            if examples.windows is not None:
                rows = examples.windows.take(rows).rows()
            n_tokens = int(examples.table.lengths[rows].max())
            raise nothing_fits("training", self._device, len(rows), n_tokens, shortage)
        # Half of what was tried, not of the size: a last batch may be smaller.
        self.size = tried // 2

    @property
    def keeps_less(self) -> bool:
        """Tell whether the layers keep less for the backward pass."""
        return self._checkpointing is not None

    def put_back(self, size: int, *, keeps_less: bool) -> None:
        """Go on with what has fitted into memory."""
        if not 1 <= size <= self.size:
            raise ValueError(f"parts of {size} texts in batches of {self.size}")
        self.size = size
        if keeps_less and not self.keeps_less:
            self._keep_less()

    def finish(self) -> None:
        """Let the layers keep everything again."""
        if self._checkpointing is not None:
            self._checkpointing.stop()

    def _keep_less(self) -> None:
        self._may_keep_less = False
        if self._encoder is not None:
            self._checkpointing = Checkpointing(self._encoder)
