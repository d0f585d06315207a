"""Sections of `gpu.py`: time against the peers, and without each technique."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from _common import DEVICE, ON_GPU, PLAIN, compare, table, timed, work
from _gpu_bench import Bench
from ablation import fits

from sklearn_bert import BertClassifier, BertEmbedder
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.text._input import check_texts

try:
    import _peers
except ImportError as error:  # the extra "bench" is not installed
    print(f"without peers: {error}")
    _peers = None

SHORT, LONG = 128, 512  # tokens
ROUNDS = 5


def fit_short(bench: Bench) -> Iterator[dict]:
    """One epoch over phrases in batches of 32, from texts to a fitted model."""
    texts, labels = bench.short(bench.size(16384))
    yield fitting(bench, "Fine-tuning on short texts", texts, labels, SHORT)
    yield table("A step of 32 short texts", [step(bench, texts, labels)])


def step(bench: Bench, texts, labels) -> dict[str, float]:
    """Milliseconds of an update, and the least that its work takes.

    The operations at the peak, and 44 bytes per weight at the speed of the memory:
    weights, gradients and moments in float32, and their copies in a short format.
    """
    settings = PLAIN | {"max_epochs": 1, "max_length": SHORT, "random_state": 0}
    clf = BertClassifier(bench.folder, **settings).fit(texts, labels)
    n_updates = -(-len(texts) // 32)
    cost = work(bench.folder, texts, training=True, max_length=SHORT)
    computing = cost.flops / float(str(bench.peak["flops_per_second"]))
    n_weights = sum(p.numel() for p in clf.net_.module.parameters())
    moving = 44 * n_weights / memory_speed()
    milliseconds = 1000 * clf.history_[-1]["seconds"] / n_updates
    least = 1000 * (computing / n_updates + moving)
    return {
        "milliseconds": milliseconds,
        "least": least,
        "ratio_to_least": milliseconds / least,
    }


def memory_speed() -> float:
    """Bytes per second that the device reads and writes in a large copy."""
    numbers = torch.empty(2**28 if ON_GPU else 2**24, device=DEVICE)
    copy = torch.empty_like(numbers)
    return 2 * numbers.nbytes / min(timed(copy.copy_, numbers) for _ in range(5))


def fit_long(bench: Bench) -> Iterator[dict]:
    """The same over reviews of 20 to 400 words."""
    n = bench.size(4096, few=16)
    yield fitting(bench, "Fine-tuning on long texts", *bench.long(n), LONG)


def fitting(bench: Bench, title: str, texts, labels, max_length: int) -> dict:
    """Compare fits with those of a tuned Trainer."""

    def ours(texts, labels):
        settings = PLAIN | {"max_epochs": 1, "max_length": max_length}
        BertClassifier(bench.folder, random_state=0, **settings).fit(texts, labels)

    contenders: dict[str, Callable] = {}
    if _peers is not None:
        tuned = partial(_peers.tuned_trainer, bench.folder, epochs=1)
        contenders["transformers.Trainer, tuned"] = partial(
            tuned, max_length=max_length
        )
    contenders["sklearn_bert"] = ours
    cost = work(bench.folder, texts, training=True, max_length=max_length)
    return raced(bench, title, contenders, texts, labels, cost=cost)


def embed(bench: Bench) -> Iterator[dict]:
    """Short, mixed and long texts to vectors, from texts and from their tokens."""
    embedder = BertEmbedder(bench.folder, pooling="mean").fit(["any"])
    tokenizer = load_checkpoint(bench.folder).text_tokenizer(embedder.max_length_)
    contenders: dict[str, Callable] = {}
    if _peers is not None:
        tuned = _peers.tuned_sentence_transformer(bench.folder)
        contenders["sentence-transformers, tuned"] = tuned
    sets = {
        "short": bench.short(bench.size(50000))[0],
        "mixed": bench.mixed(bench.size(8000)),
        "long": bench.long(bench.size(4000))[0],
    }
    for name, texts in sets.items():
        tables = {}  # tokenised before the clock starts

        def from_tokens(texts: Sequence[str], tables=tables) -> None:
            if len(texts) not in tables:
                tables[len(texts)] = tokenizer(check_texts(texts))
            embedder.net_.vectors(tables[len(texts)], remember=False)

        from_tokens(texts)
        ours = {"from tokens": from_tokens, "sklearn_bert": embedder.transform}
        cost = work(
            bench.folder, texts, training=False, max_length=embedder.max_length_
        )
        title = f"Embedding {name} texts"
        yield raced(bench, title, contenders | ours, texts, cost=cost, share=1 / 3)


def predict(bench: Bench) -> Iterator[dict]:
    """`predict_proba` of a fitted classifier on mixed texts."""
    start = bench.short(64)
    settings = PLAIN | {"max_epochs": 1, "max_length": LONG}
    clf = BertClassifier(bench.folder, **settings).fit(*start)
    contenders: dict[str, Callable] = {}
    if _peers is not None:
        contenders["Trainer.predict, tuned"] = _peers.tuned_trainer(
            bench.folder, *start, epochs=1, max_length=LONG
        )
        contenders["CrossEncoder's loop"] = _peers.prediction_loop(
            bench.folder, 2, LONG, _peers.HALF
        )
    contenders["sklearn_bert"] = clf.predict_proba
    texts = bench.mixed(bench.size(8000))
    cost = work(bench.folder, texts, training=False, max_length=LONG)
    yield raced(bench, "Predicting mixed texts", contenders, texts, cost=cost)


def ablation(bench: Bench) -> Iterator[dict]:
    """A fit on short texts without each technique."""
    texts, labels = bench.short(bench.size(4096))
    cost = work(bench.folder, texts, training=True, max_length=SHORT)
    contenders = dict(fits(bench.folder))
    yield raced(bench, "Without each technique", contenders, texts, labels, cost=cost)


def raced(
    bench: Bench,
    title: str,
    contenders: dict[str, Callable],
    *columns: Sequence,
    share: float = 1.0,
    **settings,
) -> dict:
    """Compare for a share of the section's time, in a look for one round."""
    rounds = bench.size(ROUNDS, few=1)
    budget = share * bench.seconds
    return compare(
        title,
        contenders,
        *columns,
        peak=bench.peak,
        rounds=rounds,
        budget=budget,
        **settings,
    )
