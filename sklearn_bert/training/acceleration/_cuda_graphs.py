"""Whole updates replayed as CUDA graphs.

An update of BERT on 32 short texts is a thousand small kernels, and launching them
takes longer than running them. A graph launches all of them at once.

Off by default. Proof: with stand-ins for graphs on a CPU, weights and losses are those
of a plain loop (`tests/training/acceleration/test_cuda_graphs.py`); on a GPU some small
updates are compared before the first real one. Not yet measured on a GPU.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_bert.compute._inference import Feed
from sklearn_bert.compute._memory import BertOutOfMemoryError, is_shortage
from sklearn_bert.compute._self_check import agree, give_up, is_proven
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._optimizer import adamw

# Tokens of a batch are rounded up to a multiple, so that few graphs serve all batches.
GRAPH_MULTIPLE = 128
# Above so many tokens the kernels take longer than their launches.
GRAPH_TOKENS = 16384
# A fit of fewer updates would not pay for the captures.
GRAPH_UPDATES = 100
# Updates that run as they are, before the first capture: kernels are chosen in them,
# and the optimizer makes its moments.
N_WARM_UP = 3
GRAPH_BOUND = 1e-4  # largest difference of losses and weights by graphs and without


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    # One for all fits: libraries keep workspaces for each stream they have seen.
    return torch.cuda.Stream(device)


def graphs_pay(model: TextModel, feed: Feed, n_updates: int) -> bool:
    """Return whether a fit can be captured, and is long enough to pay for it."""
    return (
        feed.packed
        and feed.device.type == "cuda"
        and model.trainable == "all"
        and n_updates >= GRAPH_UPDATES
        and is_proven("cuda_graphs", feed.device, check_graphs)
    )


def make_capturable(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Let the steps of an optimizer be captured into a graph."""
    for group in optimizer.param_groups:
        group["capturable"] = True
        # A graph reads the rate from the device, where it can change.
        group["lr"] = torch.tensor(group["lr"], dtype=torch.float32, device=device)
    # Some updates run without a graph: that is meant, and no cause to warn.
    optimizer._warned_capturable_if_run_uncaptured = True


class GraphedUpdates:
    """Does updates by graphs, where a batch allows it, until one fails.

    Parameters
    ----------
    update : callable
        As `StepGraphs` takes it; of the arguments of a model, `targets` and `weights`.
    feed : Feed

    Attributes
    ----------
    has_failed : bool
        Whether there was no memory for a graph, or an update cannot be captured.
    """

    def __init__(self, update: Callable[..., Tensor], feed: Feed) -> None:
        self._graphs = StepGraphs(update, feed.device)
        self._feed = feed
        self.has_failed = False

    def __call__(self, examples: Examples, rows: np.ndarray) -> Tensor | None:
        """Update on some rows, and return the loss; None: nothing has been done."""
        table = examples.table
        if examples.windows is not None or not table.has_one_output_per_row:
            return None
        if table.lengths[rows].sum() > GRAPH_TOKENS:
            return None
        move = self._feed.move
        try:
            batch = self._feed(table, rows, GRAPH_MULTIPLE)
            batch["targets"] = move(torch.from_numpy(examples.targets[rows]))
            batch["weights"] = move(torch.from_numpy(examples.weights[rows]))
            return self._graphs(batch)
        except BertOutOfMemoryError:
            raise
        except torch.OutOfMemoryError:
            pass  # without graphs there is more room, and there are ways to save
        except CaptureError as error:
            give_up("cuda_graphs", self._feed.device, error)
        self.has_failed = True
        return None


class CaptureError(RuntimeError):
    """Something in an update cannot be recorded."""


class StepGraphs:
    """Runs updates as graphs, one for each number of tokens.

    A number of tokens is captured when it comes for the second time.

    Parameters
    ----------
    step : callable
        Takes the tensors of a batch by name and returns the loss; the whole update. It
        must not wait for the device, and must do the same for every batch of a shape.
    device : torch.device
        A CUDA device.
    """

    def __init__(self, step: Callable[..., Tensor], device: torch.device) -> None:
        self._step = step
        self._stream = _side_stream(device)
        self._pool = torch.cuda.graph_pool_handle()
        self._seen: Counter[int] = Counter()
        self._captured: dict[int, tuple[Any, dict[str, Any], Tensor]] = {}

    def __call__(self, batch: dict[str, Any]) -> Tensor:
        """Do the update; the loss is overwritten by the next one of as many tokens."""
        n_tokens = batch["input_ids"].shape[1]
        self._seen[n_tokens] += 1
        if n_tokens not in self._captured:
            if self._seen[n_tokens] == 1 or self._seen.total() <= N_WARM_UP:
                return self._run(batch)
            self._captured[n_tokens] = self._capture(batch)
        graph, inputs, loss = self._captured[n_tokens]
        # A graph reads from the memory that it was captured with.
        for name, value in inputs.items():
            if isinstance(value, Tensor):
                value.copy_(batch[name])
        graph.replay()
        return loss

    def _run(self, batch: dict[str, Any]) -> Tensor:
        """Update without a graph, on the stream that captures come from."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            loss = self._step(**batch)
        current.wait_stream(self._stream)
        return loss

    def _capture(self, batch: dict[str, Any]) -> tuple[Any, dict[str, Any], Tensor]:
        """Record an update without doing it."""
        inputs = {
            name: value.clone() if isinstance(value, Tensor) else value
            for name, value in batch.items()
        }
        graph = torch.cuda.CUDAGraph()
        capture = torch.cuda.graph(
            graph,
            pool=self._pool,
            stream=self._stream,
            # Other threads of the process may go on using the device meanwhile.
            capture_error_mode="thread_local",
        )
        # A capture that fails does not leave its stream; the outer one does.
        with torch.cuda.stream(torch.cuda.current_stream(self._stream.device)):
            try:
                with capture:
                    loss = self._step(**inputs)
            except BaseException as error:
                _abandon(graph, self._stream.device, self._pool)
                if isinstance(error, RuntimeError) and not is_shortage(error):
                    raise CaptureError(str(error)) from error
                raise
        return graph, inputs, loss


# Allocators of torch may ask a graph for ever whether it is still being captured.
_abandoned: list[torch.cuda.CUDAGraph] = []


def _abandon(graph: torch.cuda.CUDAGraph, device: torch.device, pool: Any) -> None:
    """Take generator and allocator out of the mode in which a failed capture was.

    torch does so at the end of a capture, unless CUDA says there that it was spoilt.
    """
    graph.reset()  # the generator forgets it
    _abandoned.append(graph)
    index = torch.cuda.current_device() if device.index is None else device.index
    with suppress(RuntimeError):  # the capture has come to its end
        torch._C._cuda_endAllocateToPool(index, pool)
        torch._C._cuda_releasePool(index, pool)


def check_graphs(device: torch.device) -> None:
    """Do some updates by graphs and without; raise where losses or weights part."""
    plain, graphed = (_trained(device, by_graph=by) for by in (False, True))
    for what, found, expected in zip(
        ("losses", "weights"), graphed, plain, strict=True
    ):
        agree(what, found, expected, GRAPH_BOUND)


def _trained(device: torch.device, *, by_graph: bool) -> tuple[Tensor, Tensor]:
    """Train a table of vectors on batches of two sizes; return losses and weights."""
    draws = torch.Generator().manual_seed(0)
    table = torch.randn(32, 16, generator=draws).to(device).requires_grad_()
    optimizer = adamw([table], 0.1, device)
    make_capturable(optimizer, device)

    def update(input_ids: Tensor) -> Tensor:
        vectors = functional.embedding(input_ids, table).tanh().mean(1)
        loss = vectors.square().sum()
        loss.backward()
        nn.utils.clip_grad_norm_([table], 1.0)
        optimizer.step()
        table.grad = None
        return loss.detach()

    do = StepGraphs(update, device) if by_graph else lambda batch: update(**batch)
    losses = []
    for n_tokens in (8, 16) * 4:  # each is captured once, and replayed
        ids = torch.randint(len(table), (1, n_tokens), generator=draws).to(device)
        losses.append(do({"input_ids": ids}).clone())
    return torch.stack(losses), table.detach()
