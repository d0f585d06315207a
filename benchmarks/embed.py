"""Texts to vectors, against sentence-transformers, skrub and SetFit.

Texts of 1 to 250 words (a quarter phrases of SST-2, a quarter questions of BANKING77,
half pieces of film reviews) and short phrases, against sentence-transformers (its
defaults; tuned), skrub's LLMEncoder and SetFit's encoder. In float32 on both sides the
vectors are compared, too.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from _common import (
    add_model,
    add_size,
    checkpoint,
    command_line,
    compare,
    finish,
    machine_peak,
    table,
    work,
)
from _data import mixed_texts, sst2_phrases
from _peers import (
    sentence_transformer,
    setfit_encoder,
    skrub_transform,
    those_installed,
    tuned_sentence_transformer,
)

from sklearn_bert import BertEmbedder


def main() -> None:
    """Compare, print the tables, write the results."""
    parser = command_line(__doc__)
    add_model(parser)
    add_size(parser, "--n-mixed", cpu=160, gpu=5000, of="mixed texts")
    add_size(parser, "--n-short", cpu=600, gpu=50000, of="short phrases")
    add_size(parser, "--n-few", cpu=64, gpu=2000, of="mixed texts for the others")
    options = parser.parse_args()
    mixed = mixed_texts(max(options.n_mixed, options.n_few))
    short, _ = sst2_phrases(options.n_short)

    with checkpoint(options.model) as folder:
        peak = machine_peak()
        embedder = BertEmbedder(folder).fit(["any"])
        exact = BertEmbedder(folder, precision="float32").fit(["any"])
        default = sentence_transformer(folder)
        ours = {"sklearn_bert": embedder.transform}
        both = {
            "sentence-transformers": default,
            "sentence-transformers, tuned": tuned_sentence_transformer(folder),
        }
        float32 = {
            "sentence-transformers": default,
            "sklearn_bert, float32": exact.transform,
        }
        others = those_installed(
            {"skrub LLMEncoder": skrub_transform, "SetFit encoder": setfit_encoder},
            folder,
        )
        few, mixed = mixed[: options.n_few], mixed[: options.n_mixed]
        run = partial(compare, peak=peak, rounds=options.rounds)
        cost = partial(work, folder, training=False, max_length=embedder.max_length_)
        tables = [
            run(title, contenders, texts, cost=cost(texts))
            for title, contenders, texts in [
                ("Embedding mixed texts", both | ours, mixed),
                ("Embedding short texts", both | ours, short),
                ("Embedding few mixed texts", others | ours, few),
                ("Embedding few mixed texts in float32", float32, few),
            ]
        ]
        tables.append(
            table(
                "Largest difference of an entry of the vectors",
                [
                    {
                        "contender": name,
                        "to_sentence_transformers": largest_difference(
                            run.transform(few), default(few)
                        ),
                    }
                    for name, run in [("float32", exact), ("automatic", embedder)]
                ],
            )
        )
    finish("embed", options, tables, peak=peak)


def largest_difference(vectors: np.ndarray, others: np.ndarray) -> float:
    """The largest difference of two entries."""
    return float(np.abs(vectors - others).max())


if __name__ == "__main__":
    main()
