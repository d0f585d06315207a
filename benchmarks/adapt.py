"""Few labels and many texts: what it brings to adapt a checkpoint first.

Ten labels per class, drawn anew for each seed, and all training texts without labels:
requests to an assistant (CLINC150, 150 classes). `BertPretrainer` adapts the checkpoint
to the training texts once per seed; BertClassifier then learns from the labelled ones,
and so does a logistic regression on the vectors, with and without. The test texts are
never seen. Two checkpoints:

- a BERT of 4 layers that `pretrain.py` has pretrained on MASC, with its head for words
  (--masc FOLDER, from `pretrain.py --save FOLDER`; left out without);
- all-MiniLM-L6-v2, a sentence encoder that has lost its head for words.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time

import numpy as np
from _common import CHECKPOINT, RESULTS, command_line, table, write
from _data import clinc150
from sklearn.linear_model import LogisticRegression

from sklearn_bert import BertClassifier, BertEmbedder, BertPretrainer, cache_info

N_PER_CLASS = 10
LENGTH = 48
# How long each checkpoint adapts, and learns its labels.
STARTS = {
    "MASC": (
        {"max_epochs": 2, "learning_rate": 5e-4},
        {"max_epochs": 5, "learning_rate": 5e-4},
    ),
    "MiniLM": ({"max_epochs": 1, "learning_rate": 2e-5}, {"max_epochs": 5}),
}


def few(labels: np.ndarray, seed: int) -> np.ndarray:
    """Rows of ten texts of each class."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [
            rng.permutation(np.flatnonzero(labels == label))[:N_PER_CLASS]
            for label in np.unique(labels)
        ]
    )


def accuracies(folder: str, data: tuple, rows: np.ndarray, seed: int, **learning):
    """Of the classifier, and of a logistic regression on vectors."""
    texts, labels, test, right = data
    labelled = [texts[row] for row in rows]
    clf = BertClassifier(folder, max_length=LENGTH, random_state=seed, **learning)
    clf.fit(labelled, labels[rows])
    embedder = BertEmbedder(folder, max_length=LENGTH)
    model = LogisticRegression(max_iter=1000, C=10)
    model.fit(embedder.fit_transform(labelled), labels[rows])
    return {
        "BertClassifier": clf.score(test, right),
        "LogisticRegression": model.score(embedder.transform(test), right),
    }


def compare(name: str, start: str, data: tuple, options: argparse.Namespace) -> dict:
    """A row per learner: means over the seeds, and of the differences."""
    adapting, learning = STARTS[name]
    found: dict[str, dict[str, list[float]]] = {"as it is": {}, "adapted": {}}
    for seed in range(options.seeds):
        rows = few(data[1], seed)
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            adapted = BertPretrainer(
                start, pack=False, max_length=LENGTH, random_state=seed, **adapting
            ).fit(data[0])
            adapted.save(f"{folder}/adapted")
            loss = [round(row["train_loss"], 3) for row in adapted.history_]
            seconds = time.perf_counter() - begin
            for way, where in (("as it is", start), ("adapted", f"{folder}/adapted")):
                scores = accuracies(where, data, rows, seed, **learning)
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
    title = f"{name}, CLINC150 with ten labels per class"
    return table(title, rows, start=name, adapting=adapting, learning=learning)


def save(new: dict) -> None:
    """Put a table into the results file, in the place of an older one of its start."""
    path = RESULTS / "adapt.json"
    tables = json.loads(path.read_text())["tables"] if path.exists() else []
    kept = [old for old in tables if old["start"] != new["start"]]
    write("adapt", {"tables": [*kept, new]})


def main() -> None:
    """Run the checkpoints, print the tables, write the JSON after each."""
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--masc", metavar="FOLDER")
    parser.add_argument("--only", choices=list(STARTS))
    options = parser.parse_args()

    texts, intents = clinc150("train")
    test, right = clinc150("test")
    data = texts, intents, test[::3], right[::3]
    starts = {"MASC": options.masc, "MiniLM": CHECKPOINT}
    for name, start in starts.items():
        if start is not None and options.only in (None, name):
            save(compare(name, start, data, options))


if __name__ == "__main__":
    main()
