"""Accuracy with defaults, against `transformers.Trainer` on the same checkpoint.

The peer's figures are those of reference_scores.csv; with --live, of runs here too.
Each run is a line of the records file. One that is there, by task, method, seed and
version of the package, is not made again, unless with --again; the last one counts.
"""

from __future__ import annotations

import argparse
import time
from itertools import product

import numpy as np
import pandas as pd
from _common import CHECKPOINT, RESULTS, table, write
from _data import DATA, WHERE_DATA, need_data, read_tsv
from _records import append, on_file, record_environment
from sklearn.metrics import accuracy_score, matthews_corrcoef

from sklearn_bert import BertClassifier, __version__
from sklearn_bert.model._find import find_checkpoint

RECORDS = RESULTS / "accuracy.jsonl"


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


METHODS = {"ours": ours, "trainer": live_trainer}


def runs_on_file() -> pd.DataFrame:
    """The last run of each task, method and seed."""
    runs = [record for record in on_file(RECORDS) if "task" in record]
    if not runs:
        raise SystemExit(f"{RECORDS} has no runs; run without --report first.")
    key = ["task", "method", "seed"]
    return pd.DataFrame(runs).drop_duplicates(key, keep="last")


def measure(options: argparse.Namespace) -> None:
    """Make the runs that are not on file; write each as it is done."""
    key = ("task", "method", "seed", "version")
    runs = [record for record in on_file(RECORDS) if "task" in record]
    done = {tuple(run[name] for name in key) for run in runs}
    environment = record_environment(RECORDS)
    methods = list(METHODS) if options.live else ["ours"]
    for run in product(options.tasks, methods, options.seeds, [__version__]):
        if run in done and not options.again:
            continue
        task, method, seed, _ = run
        read, metric = TASKS[task]
        train, test = read()
        wall, cpu = time.perf_counter(), time.process_time()
        score = float(metric(test[1], METHODS[method](train, test, seed)))
        record = {**dict(zip(key, run, strict=True)), "score": score}
        record |= {"seconds": time.perf_counter() - wall}
        record |= {"cpu_seconds": time.process_time() - cpu}
        append(RECORDS, {**record, "environment": environment})
        print(f"{task}, {method}, seed {seed}: {score:.4f}", flush=True)


def report() -> None:
    """Show, and keep for the documentation, the means over the seeds on file."""
    reference = pd.read_csv(DATA / "reference_scores.csv", index_col="data")
    environments = {
        record["environment"]: record["is"]["cpu"]
        for record in on_file(RECORDS)
        if "is" in record
    }
    runs, rows = runs_on_file(), []
    for task, (_, metric) in TASKS.items():
        own = runs[runs["task"] == task]
        row = {"task": task, "metric": metric.__name__}
        row |= {"reference": float(reference.loc[task, METRIC_COLUMN[metric]])}
        for method in METHODS:
            scores = own.loc[own["method"] == method, "score"].tolist()
            row[method] = float(np.mean(scores)) if scores else None
            row[f"{method}_seeds"] = len(scores)
        row["on"] = ", ".join(sorted({environments[e] for e in own["environment"]}))
        rows.append(row)
    table("Scores with defaults: means over seeds", rows)
    write("accuracy", {"rows": rows})


def main() -> None:
    """Make the runs, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=WHERE_DATA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--live", action="store_true", help="run the Trainer here too")
    parser.add_argument("--again", action="store_true", help="make runs again")
    parser.add_argument(
        "--report", action="store_true", help="make no runs, but the table"
    )
    options = parser.parse_args()
    need_data("sst2_sentence", "trec", "cola", "mrpc", "reference_scores.csv")
    if not options.report:
        measure(options)
    report()


if __name__ == "__main__":
    main()
