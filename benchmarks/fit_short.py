"""Fine-tuning on short texts, against transformers.Trainer and skorch.

One epoch over phrases of SST-2 in batches of 32, from texts to a fitted model, against
transformers.Trainer (its defaults; tuned) and skorch's Hugging Face recipe.
"""

from __future__ import annotations

from functools import partial

from _common import (
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
from _data import sst2_phrases
from _peers import skorch_recipe, trainer, tuned_trainer

from sklearn_bert import BertClassifier

MAX_LENGTH = 128


def main() -> None:
    """Compare, print the tables, write the results."""
    parser = command_line(__doc__)
    add_model(parser)
    add_size(parser, "--n-texts", cpu=256, gpu=16384, of="phrases")
    add_size(parser, "--n-skorch", cpu=32, gpu=2048, of="phrases for the slow recipe")
    options = parser.parse_args()
    texts, labels = sst2_phrases(max(options.n_texts, options.n_skorch))

    with checkpoint(options.model) as folder:

        def ours(texts, labels):
            BertClassifier(
                folder, max_epochs=1, max_length=MAX_LENGTH, random_state=0, **PLAIN
            ).fit(texts, labels)

        peak = machine_peak()
        trainers = {
            "transformers.Trainer": partial(trainer, folder, epochs=1),
            "transformers.Trainer, tuned": partial(tuned_trainer, folder, epochs=1),
        }
        recipe = {"skorch recipe": partial(skorch_recipe, folder, epochs=1)}
        tables = []
        for peers, n in [(trainers, options.n_texts), (recipe, options.n_skorch)]:
            tables.append(
                compare(
                    "Fine-tuning on short texts",
                    {**peers, "sklearn_bert": ours},
                    texts[:n],
                    labels[:n],
                    cost=work(folder, texts[:n], training=True, max_length=MAX_LENGTH),
                    peak=peak,
                    rounds=options.rounds,
                )
            )
    finish("fit_short", options, tables, peak=peak)


if __name__ == "__main__":
    main()
