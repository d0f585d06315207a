"""Documents longer than the checkpoint reads: cut, both ends, or in windows.

2,000 film reviews, 750 words on average, of which the checkpoint reads 256 tokens at a
time; accuracy over five folds. The head alone is trained, on vectors that are computed
once for all folds, in as many epochs as suit "truncate" best. Beside it a logistic
regression learns from the vectors of BertEmbedder. With --fine-tune all is trained.

Differences are to "truncate", their standard errors are over the reviews.
A table that is already in the results file is replaced, the others there are kept.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator

import numpy as np
from _common import CHECKPOINT, RESULTS, table, write
from _data import WHERE_DATA, movie_reviews
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline

from sklearn_bert import BertClassifier, BertEmbedder, cache_info

WAYS = ["truncate", "head_tail", "window"]
EPOCHS_TRIED = [3, 10, 30, 100]
N_FOLDS = 5


def frozen(way: str, max_epochs: int) -> BaseEstimator:
    """The encoder as it is, and a head that learns."""
    return BertClassifier(
        CHECKPOINT,
        trainable="head",
        long_text=way,
        max_epochs=max_epochs,
        random_state=0,
    )


def embedded(way: str) -> BaseEstimator:
    """Vectors for a logistic regression."""
    return make_pipeline(
        BertEmbedder(CHECKPOINT, long_text=way), LogisticRegression(max_iter=1000)
    )


def fine_tuned(way: str) -> BaseEstimator:
    """All of the model learns."""
    return BertClassifier(CHECKPOINT, long_text=way, random_state=0)


def hits_by_fold(
    estimator: BaseEstimator, texts: list[str], labels: np.ndarray, n_folds: int
) -> list[np.ndarray]:
    """Which reviews of each of the first so many folds are told right."""
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    hits = []
    for train, test in list(folds.split(texts, labels))[:n_folds]:
        estimator.fit([texts[row] for row in train], labels[train])
        hits.append(estimator.predict([texts[row] for row in test]) == labels[test])
    return hits


def best_epochs(texts: list[str], labels: np.ndarray) -> tuple[int, dict[int, float]]:
    """Epochs with which the head does best where reviews are cut, and all accuracies.

    Chosen on the folds that are reported, which favours "truncate" if anything.
    """
    accuracy = {}
    for epochs in EPOCHS_TRIED:
        hits = hits_by_fold(frozen("truncate", epochs), texts, labels, N_FOLDS)
        accuracy[epochs] = float(np.concatenate(hits).mean())
    print("accuracy by epochs of the head:", accuracy, flush=True)
    return max(accuracy, key=accuracy.__getitem__), accuracy


def compare_ways(
    build: Callable[[str], BaseEstimator],
    texts: list[str],
    labels: np.ndarray,
    n_folds: int = N_FOLDS,
) -> Iterator[dict]:
    """A row per way: accuracy, how it differs from "truncate", seconds of all folds."""
    cut = None
    for way in WAYS:
        cache_info(clear=True)
        start = time.perf_counter()
        folds = hits_by_fold(build(way), texts, labels, n_folds)
        seconds = time.perf_counter() - start
        hits = np.concatenate(folds).astype(float)
        row = {"long_text": way, "accuracy": float(hits.mean())}
        if cut is None:
            cut = hits
        else:
            difference = hits - cut
            row["difference"] = float(difference.mean())
            row["standard_error"] = float(difference.std(ddof=1) / len(hits) ** 0.5)
        row["seconds"] = seconds
        print(row, flush=True)
        yield {**row, "by_fold": [float(fold.mean()) for fold in folds]}


def save(new: dict) -> None:
    """Put a table into the results file, in the place of an older one of its model."""
    path = RESULTS / "long_text.json"
    tables = json.loads(path.read_text())["tables"] if path.exists() else []
    write(
        "long_text",
        {"tables": [old for old in tables if old["model"] != new["model"]] + [new]},
    )


def main() -> None:
    """Run the models, print the tables, write the JSON after each."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=WHERE_DATA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--n-reviews", type=int, default=2000)
    parser.add_argument(
        "--fine-tune",
        type=int,
        metavar="FOLDS",
        help="instead of all else, train the whole model, on so many of the five folds",
    )
    options = parser.parse_args()
    texts, labels = movie_reviews(options.n_reviews)
    size = {"n_reviews": len(texts)}

    if options.fine_tune:
        rows = list(compare_ways(fine_tuned, texts, labels, options.fine_tune))
        save(table("All trained", rows, model="fine_tuned", **size))
        return
    rows = list(compare_ways(embedded, texts, labels))
    save(table("Logistic regression on vectors", rows, model="embedder", **size))
    epochs, tried = best_epochs(texts, labels)
    rows = list(compare_ways(lambda way: frozen(way, epochs), texts, labels))
    title = f"Head alone, {epochs} epochs"
    save(table(title, rows, model="head", epochs_tried=tried, **size))


if __name__ == "__main__":
    main()
