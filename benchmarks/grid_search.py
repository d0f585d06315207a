"""A grid search over a frozen encoder, against encoding by hand and per fold.

GridSearchCV, 2 x 3 settings and 5 folds, over sentences of SST-2. The best a user can
do by hand is to encode all texts once, before the search; an encoder inside a pipeline
usually encodes every text again for each setting and fold.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
from _common import (
    PLAIN,
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
from _data import sst2_sentences
from _peers import sentence_transformer, skrub_encoder, those_installed
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_bert import BertClassifier, BertEmbedder, cache_info

MAX_LENGTH = 128
HEAD_GRID = {"learning_rate": [2e-5, 5e-5, 1e-4], "max_epochs": [3, 6]}
LOGISTIC_GRID = {"C": [0.1, 1, 10], "class_weight": [None, "balanced"]}
PIPELINE_GRID = {f"logisticregression__{k}": v for k, v in LOGISTIC_GRID.items()}
N_COMPUTATIONS = 6 * 5 + 1  # settings times folds, and the best one on all texts


class Searches:
    """The contenders; each remembers its best score, and what ours computed."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.encode = sentence_transformer(folder)
        self.best: dict[str, float] = {}
        self.computed: dict[str, dict] = {}

    def search(self, name: str, estimator, grid: dict, X, labels) -> None:
        """Run one search."""
        found = GridSearchCV(estimator, grid, cv=5, scoring="accuracy").fit(X, labels)
        self.best[name] = float(found.best_score_)
        self.computed[name] = cache_info()

    def encoded_once(self, texts, labels) -> None:
        """Encode by hand, then search a linear model."""
        self.search(
            "sentence-transformers, encoded once by hand",
            logistic_regression(),
            LOGISTIC_GRID,
            self.encode(list(texts)),
            labels,
        )

    def head(self, texts, labels) -> None:
        """Search a classifier of which only the head is trained."""
        classifier = BertClassifier(
            self.folder,
            trainable="head",
            max_length=MAX_LENGTH,
            random_state=0,
            **PLAIN,
        )
        name = 'sklearn_bert, trainable="head"'
        self.search(name, classifier, HEAD_GRID, texts, labels)

    def embedder(self, texts, labels) -> None:
        """Search a pipeline with our embedder."""
        pipeline = make_pipeline(
            BertEmbedder(self.folder, max_length=MAX_LENGTH), logistic_regression()
        )
        name = "sklearn_bert, BertEmbedder in a pipeline"
        self.search(name, pipeline, PIPELINE_GRID, texts, labels)

    def skrub(self, texts, labels) -> None:
        """Search a pipeline with skrub's encoder."""
        pipeline = make_pipeline(skrub_encoder(self.folder), logistic_regression())
        X = pd.Series(list(texts), name="text")
        self.search(
            "skrub LLMEncoder in a pipeline", pipeline, PIPELINE_GRID, X, labels
        )


def logistic_regression() -> LogisticRegression:
    """The linear model behind every frozen encoder here."""
    return LogisticRegression(max_iter=1000)


def main() -> None:
    """Compare, print the tables, write the results."""
    parser = command_line(__doc__, rounds=3)  # a search repeats itself already
    add_model(parser)
    add_size(parser, "--n-texts", cpu=1000, gpu=1000, of="sentences")
    add_size(parser, "--n-skrub", cpu=20, gpu=1000, of="sentences encoded per fold")
    options = parser.parse_args()
    texts, labels = sst2_sentences(max(options.n_texts, options.n_skrub))

    with checkpoint(options.model) as folder:
        searches = Searches(folder)
        by_hand = {"sentence-transformers, encoded once by hand": searches.encoded_once}
        ours = {"sklearn_bert, BertEmbedder in a pipeline": searches.embedder}
        per_fold = those_installed(
            {"skrub LLMEncoder in a pipeline": lambda _: needs_skrub(searches.skrub)},
            folder,
        )
        run = partial(grid_table, folder, options.rounds, machine_peak())
        head = {'sklearn_bert, trainable="head"': searches.head}
        n = options.n_texts
        tables = [run(by_hand | head, texts[:n], labels[:n])]
        tables.append(run(by_hand | ours, texts[:n], labels[:n]))
        tables.append(computed_table(searches, n))
        n = options.n_skrub
        tables.append(run(per_fold | ours, texts[:n], labels[:n]))
    finish("grid_search", options, tables)


def needs_skrub(search: Callable) -> Callable:
    """The search, if skrub is there."""
    import skrub  # noqa: F401

    return search


def grid_table(folder, rounds, peak, contenders, texts, labels) -> dict:
    """One comparison; its rates count each text once, however often it is encoded."""
    return compare(
        "Grid search, 6 settings and 5 folds",
        contenders,
        texts,
        labels,
        cost=work(folder, texts, training=False, max_length=MAX_LENGTH),
        peak=peak,
        rounds=rounds,
    )


def computed_table(searches: Searches, n_texts: int) -> dict:
    """Best scores, and how many texts ours tokenised and encoded."""
    rows = []
    for name, score in searches.best.items():
        row = {"contender": name, "best_accuracy": score}
        if name.startswith("sklearn_bert"):
            computed = searches.computed[name]
            row["texts_tokenised"] = computed["tokens"]["misses"]
            row["texts_encoded"] = computed["features"]["misses"]
            row["without_caches"] = n_texts * N_COMPUTATIONS
        rows.append(row)
    return table("Best scores, and texts computed in one search", rows)


if __name__ == "__main__":
    main()
