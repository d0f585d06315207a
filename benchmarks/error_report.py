"""The error report of banking77: its cost, its size, and the wrong labels it finds.

`BertClassifier` learns a sample of the training questions. Of questions of the test set
a twentieth get the label of another class; the report is written for these, with the
training texts. How many of the wrong labels are among the first tenth of the texts, as
the report orders them, is counted; beside it the order by how sure the classifier is of
its prediction, where it is another than the label.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from _common import command_line, finish, table
from _data import banking77

from sklearn_bert import BertClassifier, cache_info
from sklearn_bert.inspection import error_report


def sample(split: str, n: int, generator: np.random.Generator):
    """Some questions of a part, with their labels."""
    texts, labels = banking77(split)
    rows = generator.permutation(len(texts))[:n]
    return [texts[row] for row in rows], labels[rows]


def swap_labels(labels: np.ndarray, share: float, generator: np.random.Generator):
    """Labels of which a share is wrong, and the rows of these."""
    rows = generator.choice(len(labels), round(share * len(labels)), replace=False)
    classes = np.unique(labels)
    steps = generator.integers(1, len(classes), len(rows))
    wrong = labels.copy()
    wrong[rows] = classes[
        (np.searchsorted(classes, labels[rows]) + steps) % len(classes)
    ]
    return wrong, rows


def found(order: np.ndarray, wrong: np.ndarray, n_texts: int) -> float:
    """The share of the wrong labels in the first tenth of all texts."""
    return float(np.isin(wrong, order[: n_texts // 10]).mean())


def measure(options, seed: int) -> dict:
    """Fit, plant wrong labels, write the report once."""
    generator = np.random.default_rng(seed)
    X_train, y_train = sample("train", options.n_train, generator)
    X, y = sample("test", options.n_texts, generator)
    y, wrong = swap_labels(y, options.share, generator)
    clf = BertClassifier(random_state=seed).fit(X_train, y_train)
    cache_info(clear=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.html")
        wall, processor = time.perf_counter(), time.process_time()
        report = error_report(clf, X, y, path, X_train=X_train, y_train=y_train)
        seconds = time.perf_counter() - wall
        cpu_seconds = time.process_time() - processor
        size = path.stat().st_size
    proba = clf.predict_proba(X)
    codes = np.searchsorted(clf.classes_, y)
    confidence = np.where(proba.argmax(axis=1) == codes, 0, proba.max(axis=1))
    return {
        "seed": seed,
        "accuracy": float(np.diag(report.confusion).sum() / len(X)),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "bytes": size,
        "suspects": len(report.suspects),
        "found": found(report.suspects["row"].to_numpy(), wrong, len(X)),
        "found_by_confidence": found(np.argsort(-confidence), wrong, len(X)),
        "duplicates": len(report.duplicates),
    }


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = command_line(__doc__, rounds=3)
    parser.add_argument("--n-train", type=int, default=3000)
    parser.add_argument("--n-texts", type=int, default=2000)
    parser.add_argument("--share", type=float, default=0.05, help="of wrong labels")
    options = parser.parse_args()
    rows = [measure(options, seed) for seed in range(options.rounds)]
    title = f"Error report: {options.n_texts:,} questions of banking77"
    finish("error_report", options, [table(title, rows)])


if __name__ == "__main__":
    main()
