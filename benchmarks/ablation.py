"""What each technique brings: the same work with one of them switched off.

A ratio of 1.5 means that without it the work takes one and a half times as long. Then
the same texts are embedded with fewer and with more tokens in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from unittest.mock import patch

from _common import (
    DEVICE,
    ON_GPU,
    add_model,
    add_size,
    checkpoint,
    command_line,
    compare,
    finish,
    machine_peak,
    work,
)
from _data import mixed_texts, sst2_phrases

from sklearn_bert import BertClassifier, BertEmbedder
from sklearn_bert.compute._inference import INFERENCE_TOKENS

MAX_LENGTH = 128
RANDOM_ORDER = {"sklearn_bert.text._batches.BATCHES_PER_POOL": 1}
PADDED = {"sklearn_bert.training._net.can_pack": lambda *_: False}

# What is switched off: by a value in the package, or by a parameter.
SWITCHES = {
    "without the compact vocabulary": {
        "sklearn_bert.training._trainable_view.LearningPart._leave_out_words": (
            lambda *_: None
        )
    },
    "without its own dropout": {
        "sklearn_bert.model._text_model.use_own_dropout": lambda *_: None
    },
}
CPU_SWITCHES = {
    "in random order": RANDOM_ORDER,
    "without its own attention": {
        "sklearn_bert.model._text_model.use_own_attention": lambda *_: None
    },
}
GPU_SWITCHES = {
    "without CUDA graphs": {"sklearn_bert.training._update.GRAPH_UPDATES": 10**9},
    "padded, sorted by length": PADDED,
    "padded, in random order": PADDED | RANDOM_ORDER,
}
PARAMETERS = {"in float32": {"precision": "float32"}}
if ON_GPU:
    PARAMETERS["in TF32"] = {"precision": "tf32"}
TOKENS_PER_BATCH = [512, 2048, 8192] + ([32768, 65536, 131072] if ON_GPU else [])


def main() -> None:
    """Compare, print the tables, write the results."""
    parser = command_line(__doc__)
    add_model(parser)
    add_size(parser, "--n-fit", cpu=160, gpu=16384, of="phrases to fit on")
    add_size(parser, "--n-embed", cpu=120, gpu=10000, of="mixed texts to embed")
    options = parser.parse_args()
    texts, labels = sst2_phrases(options.n_fit)
    mixed = mixed_texts(options.n_embed)
    with checkpoint(options.model) as folder:
        run = partial(compare, peak=machine_peak(), rounds=options.rounds)
        cost = partial(work, folder, max_length=MAX_LENGTH)
        embedder = BertEmbedder(folder, max_length=MAX_LENGTH).fit(["any"])
        tables = [
            run(
                "Fine-tuning",
                dict(fits(folder)),
                texts,
                labels,
                cost=cost(texts, training=True),
            ),
            run(
                "Embedding",
                dict(embeddings(embedder)),
                mixed,
                cost=cost(mixed, training=False),
            ),
        ]
    finish("ablation", options, tables)


def fits(folder: str) -> Iterator[tuple[str, Callable]]:
    """A fit without each technique, and at last with all of them."""
    for name, parameters in PARAMETERS.items():
        yield name, partial(fit, folder, {}, parameters)
    for name, values in (SWITCHES | (GPU_SWITCHES if ON_GPU else CPU_SWITCHES)).items():
        yield name, partial(fit, folder, values, {})
    yield "with everything", partial(fit, folder, {}, {})


def fit(folder: str, values: dict, parameters: dict, texts, labels) -> None:
    """Fit with other values in the package, or with other parameters."""
    settings = {"max_epochs": 1, "max_length": MAX_LENGTH, "random_state": 0}
    with ExitStack() as stack:
        for name, value in values.items():
            stack.enter_context(patch(name, value))
        BertClassifier(folder, **settings, **parameters).fit(texts, labels)


def embeddings(embedder: BertEmbedder) -> Iterator[tuple[str, Callable]]:
    """Embedding in batches of so many tokens, and at last of as many as by default."""
    for n_tokens in TOKENS_PER_BATCH:
        yield f"{n_tokens:,} tokens in a batch", partial(embed, embedder, n_tokens)
    default = INFERENCE_TOKENS[DEVICE.type]
    yield f"{default:,} tokens, the default", partial(embed, embedder, default)


def embed(embedder: BertEmbedder, n_tokens: int, texts: list[str]) -> None:
    """Embed in batches of so many tokens."""
    with patch.dict(INFERENCE_TOKENS, {DEVICE.type: n_tokens}):
        embedder.transform(texts)


if __name__ == "__main__":
    main()
