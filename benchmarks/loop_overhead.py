"""What our training loop adds to a bare PyTorch loop, and what stock skorch's adds.

The same module, the same batches in the same order (but on a GPU ours has no padding),
AdamW, clipped gradients and a learning rate that changes in every update. With a model
of one layer and width 32, next to all of an update's time is Python's. The second of
two epochs is timed.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch
from _common import (
    DEVICE,
    add_size,
    checkpoint,
    command_line,
    finish,
    ratios,
    table,
    wait_for_gpu,
)
from _data import sst2_phrases
from skorch import NeuralNet
from skorch.callbacks import GradientNormClipping, LRScheduler
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from sklearn_bert.compute._precision import resolve_precision
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._input import check_texts
from sklearn_bert.text._table import pad
from sklearn_bert.training._examples import Examples, ShuffledBatches
from sklearn_bert.training._losses import CrossEntropy
from sklearn_bert.training._net import BertNet

BATCH_SIZE = 32
EPOCHS = 2
LEARNING_RATE = 5e-5
SEED = 0


class Task:
    """A model, its examples and their batches: what every loop is given."""

    def __init__(self, folder: str, n_batches: int) -> None:
        texts, labels = sst2_phrases(n_batches * BATCH_SIZE)
        read = load_checkpoint(folder)
        tokenizer = read.text_tokenizer(None)
        self.pad_id = tokenizer.pad_id
        self.n_updates = EPOCHS * n_batches
        self.examples = Examples(
            tokenizer(check_texts(texts)),
            rows=np.arange(len(texts)),
            targets=labels,
            weights=np.ones(len(texts), np.float32),
        )
        self._model = TextModel(
            read.encoder, pooling="mean", n_outputs=2, dropout=read.head_dropout
        )

    def model(self) -> TextModel:
        """A copy to train."""
        return copy.deepcopy(self._model)

    def decay(self, update: int) -> float:
        """The share of the learning rate that is left."""
        return 1 - update / (self.n_updates + 1)


class PaddedBatches:
    """The batches of each epoch on the device, in the order that our net draws."""

    def __init__(self, task: Task) -> None:
        self.task = task
        rng = np.random.default_rng(SEED)
        self.batches = ShuffledBatches(task.examples.table.lengths, BATCH_SIZE, rng)

    def __iter__(self) -> Iterator[tuple[dict, torch.Tensor]]:
        """Yield the inputs and targets of each batch of one epoch."""
        examples = self.task.examples
        for rows in self.batches:
            arrays = pad(examples.table, rows, self.task.pad_id)
            inputs = {n: torch.from_numpy(a).to(DEVICE) for n, a in arrays.items()}
            yield inputs, torch.from_numpy(examples.targets[rows]).to(DEVICE)


def bare_loop(task: Task, precision: str) -> float:
    """Seconds of an epoch of what a tutorial shows."""
    model = task.model().to(DEVICE).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    schedule = LambdaLR(optimizer, task.decay)
    halved = torch.autocast(DEVICE.type, torch.bfloat16)
    criterion = nn.CrossEntropyLoss()
    batches = PaddedBatches(task)
    for _ in range(EPOCHS):
        wait_for_gpu()
        start = time.perf_counter()
        for inputs, targets in batches:
            with halved if precision == "bfloat16" else nullcontext():
                loss = criterion(model(**inputs), targets)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        wait_for_gpu()
    return time.perf_counter() - start


def stock_skorch(task: Task) -> float:
    """Seconds of an epoch of a plain NeuralNet that is given the batches."""
    net = NeuralNet(
        task.model(),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        optimizer__fused=True,
        objective=CrossEntropy(),
        lr=LEARNING_RATE,
        max_epochs=EPOCHS,
        train_split=None,
        iterator_train=lambda *_, **__: PaddedBatches(task),
        device=DEVICE.type,
        verbose=0,
        callbacks=[
            GradientNormClipping(1.0),
            LRScheduler(LambdaLR, lr_lambda=task.decay, step_every="batch"),
        ],
    )
    net.fit(task.examples.rows, task.examples.targets)
    return net.history[-1]["dur"]


def our_net(task: Task, precision: str) -> float:
    """Seconds of an epoch of the net inside an estimator."""
    net = BertNet(
        task.model(),
        placement="auto",
        precision=precision,
        pad_id=task.pad_id,
        objective=CrossEntropy(),
        lr=LEARNING_RATE,
        max_epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        shuffle_seed=SEED,
    )
    return net.fit(task.examples).history[-1]["seconds"]


def main() -> None:
    """Run the loops, print the tables, write the results."""
    parser = command_line(__doc__)
    add_size(parser, "--n-batches", cpu=3, gpu=200, of="batches of 32 for MiniLM")
    add_size(parser, "--n-tiny", cpu=200, gpu=500, of="batches of 32 for one layer")
    options = parser.parse_args()
    tables = []
    for model, n_batches in [("minilm", options.n_batches), ("tiny", options.n_tiny)]:
        with checkpoint(model) as folder:
            task = Task(folder, n_batches)
            for precision, loops in loops_by_precision(task).items():
                seconds = alternate_loops(loops, options.rounds)
                title = f"An update of {model} in {precision}"
                tables.append(table(title, list(overheads(seconds, n_batches))))
    finish("loop_overhead", options, tables)


def loops_by_precision(task: Task) -> dict[str, dict[str, Callable]]:
    """The contenders: in float32 all, in bfloat16 those that have it."""
    loops = {
        "float32": {
            "bare loop": partial(bare_loop, task, "float32"),
            "stock skorch": partial(stock_skorch, task),
            "sklearn_bert": partial(our_net, task, "float32"),
        }
    }
    if resolve_precision("auto", DEVICE) == torch.bfloat16:
        loops["bfloat16"] = {
            "bare loop": partial(bare_loop, task, "bfloat16"),
            "sklearn_bert": partial(our_net, task, "bfloat16"),
        }
    return loops


def alternate_loops(loops: dict[str, Callable], rounds: int) -> dict[str, list[float]]:
    """Seconds of each loop in each round, first to last and last to first."""
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(rounds):
        for name in list(loops)[:: 1 if number % 2 == 0 else -1]:
            seconds[name].append(loops[name]())
    return seconds


def overheads(seconds: dict[str, list[float]], n_batches: int) -> Iterator[dict]:
    """Time of an update, and by how much it exceeds that of the bare loop."""
    bare = seconds["bare loop"]
    for name, times in seconds.items():
        share = ratios(times, bare)
        yield {
            "contender": name,
            "microseconds_per_update": 1e6 * statistics.median(times) / n_batches,
            "overhead_percent": 100 * (share["ratio"] - 1),
            "overhead_min": 100 * (share["ratio_min"] - 1),
            "overhead_max": 100 * (share["ratio_max"] - 1),
            "seconds": times,
        }


if __name__ == "__main__":
    main()
