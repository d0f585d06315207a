"""Few labels and many texts: what it brings to adapt the checkpoint first.

Ten labels per class, drawn anew for each seed, and the other training texts without
labels: film reviews (two classes, 400 words of each) and requests to an assistant
(CLINC150, 150 classes). `BertPretrainer` adapts all-MiniLM-L6-v2 to all training texts
once per seed; BertClassifier then learns from the labelled ones, and so does a logistic
regression on the vectors, with and without. The test texts are never seen.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import numpy as np
from _common import CHECKPOINT, command_line, finish, table
from _data import clinc150, movie_reviews
from sklearn.linear_model import LogisticRegression

from sklearn_bert import BertClassifier, BertEmbedder, BertPretrainer, cache_info

N_PER_CLASS = 10
# How each corpus is read, and how long it is learnt from.
CORPORA = {
    "reviews": {"max_length": 128, "pretraining": {"pack": True, "max_epochs": 2}},
    "clinc150": {"max_length": 48, "pretraining": {"pack": False, "max_epochs": 1}},
}


def reviews() -> tuple:
    """Beginnings of film reviews: to train and to test on."""
    texts, labels = movie_reviews(2000)
    texts = [" ".join(text.split()[:400]) for text in texts]
    return texts[:1500], labels[:1500], texts[1500:], labels[1500:]


def requests() -> tuple:
    """Requests to an assistant; every third of the test."""
    texts, intents = clinc150("train")
    test, right = clinc150("test")
    return texts, intents, test[::3], right[::3]


def few(labels: np.ndarray, seed: int) -> np.ndarray:
    """Rows of ten texts of each class."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [
            rng.permutation(np.flatnonzero(labels == label))[:N_PER_CLASS]
            for label in np.unique(labels)
        ]
    )


def accuracies(folder: str, data: tuple, rows: np.ndarray, length: int, seed: int):
    """Of the classifier, and of a logistic regression on vectors."""
    texts, labels, test, right = data
    labelled = [texts[row] for row in rows]
    n_updates = 300 if len(rows) > 100 else 60
    clf = BertClassifier(
        folder,
        max_length=length,
        max_epochs=max(3, n_updates * 16 // len(rows)),
        batch_size=16,
        random_state=seed,
    ).fit(labelled, labels[rows])
    embedder = BertEmbedder(folder, max_length=length)
    model = LogisticRegression(max_iter=1000, C=10)
    model.fit(embedder.fit_transform(labelled), labels[rows])
    return {
        "BertClassifier": clf.score(test, right),
        "LogisticRegression": model.score(embedder.transform(test), right),
    }


def compare(name: str, data: tuple, options: argparse.Namespace) -> dict:
    """A row per learner: means over the seeds, and of the differences."""
    settings = CORPORA[name]
    length = settings["max_length"]
    found: dict[str, dict[str, list[float]]] = {"as it is": {}, "adapted": {}}
    for seed in range(options.seeds):
        rows = few(data[1], seed)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            adapted = BertPretrainer(
                CHECKPOINT,
                max_length=length,
                random_state=seed,
                **settings["pretraining"],
            ).fit(data[0])
            adapted.save(f"{folder}/adapted")
            loss = [round(row["train_loss"], 3) for row in adapted.history_]
            seconds = time.perf_counter() - start
            for way, where in (
                ("as it is", CHECKPOINT),
                ("adapted", f"{folder}/adapted"),
            ):
                scores = accuracies(where, data, rows, length, seed)
                for learner, score in scores.items():
                    found[way].setdefault(learner, []).append(score)
                print(name, seed, way, scores, loss, f"{seconds:.0f} s", flush=True)
        cache_info(clear=True)
    rows = []
    for learner, plain in found["as it is"].items():
        gains = np.array(found["adapted"][learner]) - plain
        rows.append(
            {
                "learner": learner,
                "as_it_is": float(np.mean(plain)),
                "adapted": float(np.mean(found["adapted"][learner])),
                "gain": float(gains.mean()),
                "standard_error": float(gains.std(ddof=1) / len(gains) ** 0.5),
                "by_seed": {way: found[way][learner] for way in found},
            }
        )
    return table(f"{name}, ten labels per class", rows, **settings)


def main() -> None:
    """Run the corpora, print the tables, write the JSON."""
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--corpus", choices=list(CORPORA), action="append")
    options = parser.parse_args()
    read = {"reviews": reviews, "clinc150": requests}
    names = options.corpus or list(CORPORA)
    finish("adapt", options, [compare(n, read[n](), options) for n in names])


if __name__ == "__main__":
    main()
