"""Sections of `gpu.py`: what number formats, packing and graphs change in the results.

The plain path is float32 with padded texts, without TF32 and without graphs.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from _common import DEVICE, ON_GPU, PLAIN, table
from _data import DATA, sst2_split, trec
from _gpu_bench import Bench
from torch.nn import functional

from sklearn_bert import BertClassifier
from sklearn_bert._process._techniques import Technique, using, without
from sklearn_bert.compute._runner import Runner
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._input import check_texts
from sklearn_bert.text._table import TokenTable
from sklearn_bert.training._optimizer import MasterWeights

# Of each way to compute its number format, and what is switched off or on.
Way = tuple[str, tuple[Technique, ...], tuple[Technique, ...]]
PLAIN_WAY: Way = ("float32", ("packing",), ())
WAYS: dict[str, Way] = {
    "TF32": ("tf32", ("packing",), ()),
    "bfloat16, padded": ("bfloat16", ("packing",), ()),
    "bfloat16, packed": ("bfloat16", (), ()),
    "float16, padded": ("float16", ("packing",), ()),
    "float16, packed": ("float16", (), ()),
}
GRAPHS: Way = ("bfloat16", (), ("cuda_graphs",))
N_TRAIN, EPOCHS, SEEDS = 1088, 3, 3  # of the accuracies: 102 updates, enough for graphs


def ways() -> dict[str, Way]:
    """Those of a GPU, or of a CPU, which has two formats and no packing."""
    return WAYS if ON_GPU else {"bfloat16": WAYS["bfloat16, padded"]}


def formats(bench: Bench) -> Iterator[dict]:
    """Scores and gradients of one model in every format, against the plain path."""
    read = load_checkpoint(bench.folder)
    model = TextModel(read.encoder, pooling="mean", n_outputs=2).eval()
    tokenizer = read.text_tokenizer(256)
    texts = tokenizer(check_texts(bench.mixed(bench.size(64, few=8))))
    expected = answers(PLAIN_WAY, model, texts, tokenizer.pad_id)
    rows = []
    for name, way in ways().items():
        found = refused(partial(answers, way, model, texts, tokenizer.pad_id))
        if found is None:
            continue
        scores, gradients = (
            float((ours - theirs).norm() / theirs.norm())
            for ours, theirs in zip(found, expected, strict=True)
        )
        rows.append({"path": name, "scores": scores, "gradients": gradients})
    if rows:
        yield table("Distance from padded float32, by the norm", rows)


def answers(
    way: Way, model: TextModel, texts: TokenTable, pad_id: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of all texts, and all gradients of their loss, on the CPU."""
    precision, off, _ = way
    with without(*off):
        runner = Runner(model, DEVICE, precision=precision, pad_id=pad_id)
        scores = torch.from_numpy(runner.scores(texts))
        with runner.computing():
            learning = copy.deepcopy(model).to(DEVICE)
            masters = MasterWeights(learning, runner.dtype())
            batch = runner.feed()(texts, np.arange(len(texts)))
            targets = torch.arange(len(texts), device=DEVICE) % 2
            functional.cross_entropy(learning(**batch), targets).backward()
            masters.collect_gradients()
            weights = masters.trained.values()
            parts = [w.grad.flatten().cpu() for w in weights if w.grad is not None]
    return scores, torch.cat(parts)


def graphs(bench: Bench) -> Iterator[dict]:
    """Losses of the same updates by graphs and without."""
    texts, labels = bench.short(bench.size(4096, few=64))
    histories = {}
    settings = {"seed": 0, "max_epochs": 1, "dropout": 0}
    for name, way in {"graphs": GRAPHS, "no graphs": WAYS["bfloat16, packed"]}.items():
        fit = partial(fitted, way, bench.folder, texts, labels, **settings)
        clf = refused(fit)
        if clf is None:
            return
        batches = clf.net_.history[-1]["batches"]
        histories[name] = np.array([batch["train_loss"] for batch in batches])
    gaps = np.abs(histories["graphs"] - histories["no graphs"])
    row = {
        "updates": len(gaps),
        "mean_difference": float(gaps.mean()),
        "largest_difference": float(gaps.max()),
        "last_loss": float(histories["graphs"][-1]),
    }
    yield table("Losses of updates by CUDA graphs and without", [row])


def accuracies(bench: Bench) -> Iterator[dict]:
    """Accuracy of every format on two tasks, over several seeds."""
    if not ((DATA / "sst2_sentence").exists() and (DATA / "trec").exists()):
        print(f"skipped: {DATA} has no sst2_sentence and trec")
        return
    named: dict[str, Way] = {"float32, padded": PLAIN_WAY, **ways()}
    if ON_GPU:
        named["bfloat16, by graphs"] = GRAPHS
    for task, read in {"SST-2": sst2_split, "TREC": trec}.items():
        test = read("dev" if task == "SST-2" else "test")
        scores = {
            name: [refused(accuracy(bench, way, read, test, s)) for s in seeds(bench)]
            for name, way in named.items()
        }
        plain = scores["float32, padded"]
        rows = [
            {
                "path": name,
                "accuracy": float(np.mean(found)),
                "above_float32": float(np.mean(np.subtract(found, plain))),
                "standard_error": standard_error(np.subtract(found, plain)),
                "scores": found,
            }
            for name, found in scores.items()
            if None not in found
        ]
        yield table(f"Accuracy on {task} by path", rows)


def standard_error(values: np.ndarray) -> float | None:
    """Of the mean of some values; None of a single one."""
    n = len(values)
    return float(np.std(values, ddof=1) / n**0.5) if n > 1 else None


def seeds(bench: Bench) -> range:
    """Of the fits of one path."""
    return range(bench.size(SEEDS, few=1))


def accuracy(bench: Bench, way: Way, read: Callable, test, seed: int) -> Callable:
    """What fits on some of the training texts and scores on the test."""

    def run() -> float:
        texts, labels = read("train")
        n = bench.size(N_TRAIN, few=32)
        chosen = np.random.default_rng(0).permutation(len(texts))[:n]
        texts = [texts[row] for row in chosen]
        epochs = bench.size(EPOCHS, few=1)
        checkpoint = bench.folder if bench.quick else bench.trained
        clf = fitted(
            way, checkpoint, texts, labels[chosen], seed=seed, max_epochs=epochs
        )
        n_test = bench.size(len(test[0]), few=32)
        return float(clf.score(test[0][:n_test], test[1][:n_test]))

    return run


def fitted(way: Way, folder: str, texts, labels, *, seed: int, **settings):
    """A classifier that has learned in some way."""
    precision, off, on = way
    with ExitStack() as stack:
        stack.enter_context(without(*off))
        stack.enter_context(using(*on))
        clf = BertClassifier(
            folder, precision=precision, random_state=seed, **PLAIN | settings
        )
        return clf.fit(texts, labels)


def refused(run: Callable):
    """What a call returns; None where the package, or the device, refuses a format."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*has no native")
            return run()
    except (ValueError, UserWarning) as error:
        print(f"skipped: {error}")
        return None
