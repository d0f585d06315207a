"""What each technique brings: the same work with one of them switched off.

A ratio of 1.5 means that without it the work takes one and a half times as long. Then
the same texts are embedded with fewer and with more tokens in a batch, and a few are
learned, on a CPU, padded and without padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from unittest.mock import patch

from _common import (
    DEVICE,
    ON_GPU,
    PLAIN,
    add_model,
    add_size,
    checkpoint,
    command_line,
    compare,
    finish,
    machine_peak,
    work,
)
from _data import mixed_texts, sst2_phrases, sst2_sentences

from sklearn_bert import BertClassifier, BertEmbedder
from sklearn_bert._process._techniques import Technique, using, without
from sklearn_bert.compute._inference import INFERENCE_TOKENS

MAX_LENGTH = 128
# What is switched off, and on the GPU what is switched on as well.
WITHOUT: dict[str, tuple[Technique, ...]] = {
    "without the compact vocabulary": ("compact_embedding",),
    "without its own dropout": ("own_dropout",),
}
CPU_WITHOUT: dict[str, tuple[Technique, ...]] = {
    "in random order": ("batches_of_similar_length",),
    "without its own attention": ("own_attention",),
}
GPU_WITHOUT: dict[str, tuple[Technique, ...]] = {
    "padded, sorted by length": ("packing",),
    "padded, in random order": ("packing", "batches_of_similar_length"),
    "without the fused optimizer": ("fused_optimizer",),
    "without pinned copies": ("pinned_copies",),
}
PARAMETERS = {"in float32": {"precision": "float32"}}
if ON_GPU:
    PARAMETERS["in TF32"] = {"precision": "tf32"}
# Texts to learn as few labels, and the epochs that "auto" comes to.
FEW, FEW_EPOCHS = 48, 15
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
        if not ON_GPU:
            few, labels = sst2_sentences(FEW)
            tables.append(
                run(
                    "Fine-tuning few labels, 48 texts in 15 epochs",
                    dict(few_label_fits(folder)),
                    few,
                    labels,
                    cost=cost(few, training=True, epochs=FEW_EPOCHS),
                )
            )
    finish("ablation", options, tables)


def fits(folder: str) -> Iterator[tuple[str, Callable]]:
    """A fit without each technique, and at last as it is by default."""
    for name, parameters in PARAMETERS.items():
        yield name, partial(fit, folder, (), parameters)
    for name, techniques in (
        WITHOUT | (GPU_WITHOUT if ON_GPU else CPU_WITHOUT)
    ).items():
        yield name, partial(fit, folder, techniques, {})
    if ON_GPU:
        yield "with CUDA graphs", partial(fit, folder, (), {}, extra=("cuda_graphs",))
    yield "with everything", partial(fit, folder, (), {})


def fit(
    folder: str,
    left_out: tuple[Technique, ...],
    parameters: dict,
    texts,
    labels,
    extra: tuple[Technique, ...] = (),
) -> None:
    """Fit without some techniques, with extra ones, or with other parameters."""
    settings = {"max_epochs": 1, "max_length": MAX_LENGTH, "random_state": 0}
    settings |= PLAIN
    with without(*left_out), using(*extra):
        BertClassifier(folder, **settings | parameters).fit(texts, labels)


def few_label_fits(folder: str) -> Iterator[tuple[str, Callable]]:
    """A fit of few labels, whose texts are needed together, padded and packed."""
    epochs = {"max_epochs": "auto"}
    yield "padded, by similar length", partial(fit, folder, ("packing",), epochs)
    yield "with everything", partial(fit, folder, (), epochs)


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
