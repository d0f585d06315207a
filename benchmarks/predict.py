"""Prediction by a fitted classifier, against Trainer and CrossEncoder.

`predict_proba` from texts, against Trainer.predict and against the loop of
sentence-transformers' CrossEncoder (sorted texts, batches of 32).
"""

from __future__ import annotations

from functools import partial

import torch
from _common import (
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
from _peers import prediction_loop, trainer

from sklearn_bert import BertClassifier

N_FIT = 64  # the models need not be good
MAX_LENGTH = 256


def main() -> None:
    """Compare, print the tables, write the results."""
    parser = command_line(__doc__)
    add_model(parser)
    add_size(parser, "--n-short", cpu=400, gpu=20000, of="short phrases")
    add_size(parser, "--n-mixed", cpu=64, gpu=5000, of="texts of 1 to 250 words")
    options = parser.parse_args()
    short, labels = sst2_phrases(max(options.n_short, N_FIT))

    with checkpoint(options.model) as folder:
        start = short[:N_FIT], labels[:N_FIT]
        clf = BertClassifier(folder, max_epochs=1, max_length=MAX_LENGTH).fit(*start)
        loop = partial(prediction_loop, folder, 2, MAX_LENGTH)
        contenders = {
            "Trainer.predict": trainer(folder, *start, epochs=1, max_length=MAX_LENGTH),
            "CrossEncoder's loop": loop(torch.float32),
            "CrossEncoder's loop, bfloat16": loop(torch.bfloat16),
            "sklearn_bert": clf.predict_proba,
        }
        peak = machine_peak()
        tables = [
            compare(
                title,
                contenders,
                texts,
                cost=work(folder, texts, training=False, max_length=MAX_LENGTH),
                peak=peak,
                rounds=options.rounds,
            )
            for title, texts in [
                ("Predicting short texts", short[: options.n_short]),
                ("Predicting mixed texts", mixed_texts(options.n_mixed)),
            ]
        ]
    finish("predict", options, tables, peak=peak)


if __name__ == "__main__":
    main()
