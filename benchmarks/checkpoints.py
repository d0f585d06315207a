"""How fast the shapes of well-known checkpoints are, next to the default.

Speed depends on the shape of a checkpoint and not on what its weights are, so each is
built from its configuration with random weights: nothing is downloaded, and 4 GB of
disk are needed meanwhile. All read the same support tickets through the same tokenizer;
that a vocabulary made for a language makes fewer tokens of it is not measured here.

Embedding is timed with the weights in memory, training from the beginning of an epoch
to its end. On a CPU the clock is that of the process, on one core, so that neighbours
count for little. A ratio of 3 means that it takes three times as long as the default.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

import torch
from _common import (
    CHECKPOINT,
    ON_GPU,
    add_size,
    command_line,
    finish,
    ratios,
    table,
    wait_for_gpu,
)
from skorch.callbacks import Callback
from transformers import AutoConfig, AutoModel, AutoTokenizer

from sklearn_bert import BertClassifier, BertEmbedder, cache_info
from sklearn_bert.datasets import load_support_tickets
from sklearn_bert.model._find import find_checkpoint

MAX_LENGTH = 128
DEFAULT = "MiniLM-L6, the default"
SMALL = {"hidden_size": 384, "intermediate_size": 1536}
# The family of each shape, and where it differs from its configuration class.
SHAPES: dict[str, tuple[str, dict]] = {
    DEFAULT: ("bert", SMALL | {"num_hidden_layers": 6}),
    "MiniLM-L12": ("bert", SMALL),
    "MiniLM-L12, multilingual": ("bert", SMALL | {"vocab_size": 250037}),
    "DistilBERT": ("distilbert", {}),
    "BERT-base": ("bert", {}),
    "MPNet-base": ("mpnet", {"max_position_embeddings": 514}),
    "XLM-R-base": (
        "xlm-roberta",
        {"vocab_size": 250002, "max_position_embeddings": 514, "type_vocab_size": 1},
    ),
    "ModernBERT-base": ("modernbert", {}),
    "DeBERTa-v3-base": (
        "deberta-v2",
        {
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "norm_rel_ebd": "layer_norm",
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "position_buckets": 256,
            "relative_attention": True,
            "share_att_key": True,
        },
    ),
}


def main() -> None:
    """Compare, print the tables, write the results."""
    parser = command_line(__doc__, rounds=3)
    add_size(parser, "--n-embed", cpu=16, gpu=460, of="tickets to embed")
    add_size(parser, "--n-fit", cpu=16, gpu=460, of="tickets to fit on")
    options = parser.parse_args()
    torch.set_num_threads(1)
    texts, labels = tickets(max(options.n_embed, options.n_fit))
    to_embed = texts[: options.n_embed]
    to_learn = texts[: options.n_fit], labels[: options.n_fit]

    embedding: dict[str, list[float]] = {name: [] for name in SHAPES}
    training: dict[str, list[float]] = {name: [] for name in SHAPES}
    with ExitStack() as stack:
        folders = {
            name: write(stack.enter_context(tempfile.TemporaryDirectory()), *shape)
            for name, shape in SHAPES.items()
        }
        fit(folders[DEFAULT], *to_learn)  # the first fit of a process is slower
        for number in range(options.rounds):
            names = list(SHAPES)
            for name in names if number % 2 == 0 else reversed(names):
                embedding[name].append(embed(folders[name], to_embed))
                training[name].append(fit(folders[name], *to_learn))

    where = "" if ON_GPU else " on one core"
    tables = [
        compared(f"Embedding{where}", embedding, options.n_embed),
        compared(f"Training{where}", training, options.n_fit),
    ]
    finish("checkpoints", options, tables)


def tickets(n: int) -> tuple[list[str], list[str]]:
    """So many messages of customers, and their classes."""
    frame = load_support_tickets().frame.sample(n, random_state=0)
    return frame["message"].tolist(), frame["category"].tolist()


def write(folder: str, family: str, shape: dict) -> str:
    """Write a checkpoint of this shape with random weights and MiniLM's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(str(find_checkpoint(CHECKPOINT, None)))
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModel.from_config(AutoConfig.for_model(family, **shape))
    model.save_pretrained(folder)
    return folder


def embed(folder: str, texts: Sequence[str]) -> float:
    """Seconds to embed the texts."""
    embedder = BertEmbedder(folder, max_length=MAX_LENGTH).fit(["any"])
    embedder.transform(texts[:1])
    cache_info(clear=True)
    start = clock()
    embedder.transform(texts)
    return clock() - start


def fit(folder: str, texts: Sequence[str], labels: Sequence[str]) -> float:
    """Seconds of one epoch over the texts."""
    BertClassifier(
        folder,
        max_epochs=1,
        batch_size=8,
        max_length=MAX_LENGTH,
        random_state=0,
        callbacks=[Stopwatch()],
    ).fit(texts, labels)
    cache_info(clear=True)
    return Stopwatch.seconds


class Stopwatch(Callback):
    """Measures an epoch; the class keeps the time, as a fit copies its callbacks."""

    start: ClassVar[float]
    seconds: ClassVar[float]

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Start."""
        Stopwatch.start = clock()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Stop."""
        Stopwatch.seconds = clock() - Stopwatch.start


def clock() -> float:
    """Seconds that this process has computed; on a GPU those that have passed."""
    wait_for_gpu()
    return time.perf_counter() if ON_GPU else time.process_time()


def compared(title: str, seconds: dict[str, list[float]], n_texts: int) -> dict:
    """A table of all shapes next to the default."""
    rows = [
        {
            "contender": name,
            "texts_per_second": n_texts / statistics.median(times),
            **ratios(times, seconds[DEFAULT]),
            "seconds": times,
        }
        for name, times in seconds.items()
    ]
    return table(f"{title}: {n_texts:,} texts", rows, n_texts=n_texts)


if __name__ == "__main__":
    main()
