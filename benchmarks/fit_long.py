"""Fine-tuning on long texts, against transformers.Trainer.

One epoch over film reviews, against transformers.Trainer (its defaults; tuned): whole
reviews, nearly all of which are cut at --max-length, and reviews cut to between 20 and
400 words, where padding is what differs.
"""

from __future__ import annotations

from functools import partial

from _common import (
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
from _data import cut_to_random_length, movie_reviews
from _peers import trainer, tuned_trainer

from sklearn_bert import BertClassifier


def main() -> None:
    """Compare, print the tables, write the results."""
    parser = command_line(__doc__)
    add_model(parser)
    add_size(parser, "--n-texts", cpu=16, gpu=2000, of="reviews")
    parser.add_argument("--batch-size", type=int, default=32 if ON_GPU else 8)
    parser.add_argument(
        "--max-length", type=int, help="in tokens (default: 512, for minilm 256)"
    )
    options = parser.parse_args()
    if options.max_length is None:
        options.max_length = 256 if options.model == "minilm" else 512
    reviews, labels = movie_reviews(options.n_texts)
    settings = {"batch_size": options.batch_size, "max_length": options.max_length}

    with checkpoint(options.model) as folder:

        def ours(texts, labels):
            BertClassifier(
                folder, max_epochs=1, random_state=0, **PLAIN | settings
            ).fit(texts, labels)

        contenders = {
            "transformers.Trainer": partial(trainer, folder, epochs=1, **settings),
            "transformers.Trainer, tuned": partial(
                tuned_trainer, folder, epochs=1, **settings
            ),
            "sklearn_bert": ours,
        }
        peak = machine_peak()
        tables = []
        for title, texts in [
            ("Fine-tuning on whole reviews", reviews),
            (
                "Fine-tuning on reviews of 20 to 400 words",
                cut_to_random_length(reviews, 20, 400),
            ),
        ]:
            cost = work(folder, texts, training=True, max_length=options.max_length)
            tables.append(
                compare(
                    title,
                    contenders,
                    texts,
                    labels,
                    cost=cost,
                    peak=peak,
                    rounds=options.rounds,
                )
            )
    finish("fit_long", options, tables, peak=peak)


if __name__ == "__main__":
    main()
