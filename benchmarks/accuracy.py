"""Accuracy with defaults, against `transformers.Trainer` on the same checkpoint.

The peer's figures are those of reference_scores.csv; with --live, of a run here too.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from _common import CHECKPOINT, write
from _data import DATA, WHERE_DATA, need_data, read_tsv
from sklearn.metrics import accuracy_score, matthews_corrcoef

from sklearn_bert import BertClassifier
from sklearn_bert.model._find import find_checkpoint

MARGIN = 0.005


def sst2s():
    """Sentiment of whole sentences."""
    parts = [read_tsv(f"sst2_sentence/{p}.tsv", header=None) for p in ("train", "dev")]
    return [(part[0].tolist(), part[1].to_numpy()) for part in parts]


def trec():
    """Six types of questions."""
    parts = []
    for name in ("TREC.train", "TREC.test"):
        lines = (DATA / "trec" / name).read_text("latin-1").splitlines()
        pairs = [line.split(" ", 1) for line in lines if line.strip()]
        labels = np.array([kind.partition(":")[0] for kind, _ in pairs])
        parts.append(([text for _, text in pairs], labels))
    return parts


def cola():
    """Whether a sentence is acceptable English."""
    parts = [read_tsv(f"cola/{part}.tsv", header=None) for part in ("train", "dev")]
    return [(part[3].tolist(), part[1].to_numpy()) for part in parts]


def mrpc():
    """Whether two sentences say the same."""
    parts = []
    for name in ("train", "dev"):
        part = read_tsv(f"mrpc/{name}.tsv", encoding="utf-8-sig")
        halves = part[["#1 String", "#2 String"]]
        parts.append((halves, part["Quality"].to_numpy()))
    return parts


TASKS = {
    "sst2s": (sst2s, accuracy_score),
    "trec": (trec, accuracy_score),
    "cola": (cola, matthews_corrcoef),
    "mrpc": (mrpc, accuracy_score),
}
METRIC_COLUMN = {accuracy_score: "acc", matthews_corrcoef: "mcc"}


def ours(train, test, seed):
    """Fit with defaults; return predictions."""
    clf = BertClassifier(CHECKPOINT, random_state=seed).fit(*train)
    return clf.predict(test[0])


def live_trainer(train, test, seed):
    """Fit a Trainer with its defaults; return predictions."""
    from _peers import trainer

    classes, codes = np.unique(train[1], return_inverse=True)
    texts, new_texts = [
        tuple(X[c].tolist() for c in X) if isinstance(X, pd.DataFrame) else X
        for X in (train[0], test[0])
    ]
    folder = str(find_checkpoint(CHECKPOINT, None))
    return classes[trainer(folder, texts, codes, epochs=3, seed=seed)(new_texts)]


def main() -> None:
    """Run the tasks, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=WHERE_DATA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--live", action="store_true", help="run the Trainer here too")
    options = parser.parse_args()
    need_data("sst2_sentence", "trec", "cola", "mrpc", "reference_scores.csv")
    reference = pd.read_csv(DATA / "reference_scores.csv", index_col="data")

    rows = []
    for task in options.tasks:
        read, metric = TASKS[task]
        train, test = read()
        row = {
            "task": task,
            "metric": metric.__name__,
            "reference": float(reference.loc[task, METRIC_COLUMN[metric]]),
        }
        runs = [("ours", ours)] + ([("trainer", live_trainer)] if options.live else [])
        for name, run in runs:
            start = time.perf_counter()
            scores = [
                float(metric(test[1], run(train, test, seed))) for seed in options.seeds
            ]
            row[name] = float(np.mean(scores))
            row[f"{name}_by_seed"] = scores
            row[f"{name}_seconds"] = (time.perf_counter() - start) / len(scores)
        rows.append(row)
        shown = {k: round(v, 4) for k, v in row.items() if isinstance(v, float)}
        print(f"{task:6}", shown, flush=True)
    difference = [row["ours"] - row["reference"] for row in rows]
    print(f"mean of ours less reference: {np.mean(difference):+.4f}")
    print(f"least of ours less reference: {min(difference):+.4f} (margin -{MARGIN})")
    write("accuracy", {"seeds": options.seeds, "rows": rows})


if __name__ == "__main__":
    main()
