"""Several labels, numbers and entities with defaults, against peers of today.

Per task, ours and a peer learn from the same rows with the same checkpoint: ours with
its defaults, the peer for 3 epochs with a learning rate of 5e-5, linear decay and
batches of 32.

goemotions  28 emotions, 8,000 comments. The threshold of each emotion is the one with
            the best F1 on 2,000 comments of the dev split, for both sides alike.
            Peer: transformers.Trainer (binary cross-entropy).
stsb        How alike two sentences are, from 0 to 5. Peer: transformers.Trainer (MSE).
wnut17      Entities of six types, by the F1 of seqeval. Peer: a plain loop.

A run that is already in the results file is replaced, the others there are kept.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import mean, stdev

import numpy as np
from _common import CHECKPOINT, RESULTS, installed, table, write
from _data import WHERE_DATA, goemotions, stsb, wnut17
from _target_peers import multi_label_trainer, regression_trainer, token_loop
from scipy.stats import pearsonr, spearmanr
from seqeval.metrics import f1_score as entity_f1
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_recall_curve,
)

from sklearn_bert import BertClassifier, BertRegressor, BertTokenClassifier
from sklearn_bert.model._find import find_checkpoint

EPOCHS = 3


# -- what is read ------------------------------------------------------------------


def emotions(split: str) -> tuple:
    """Comments and their emotions: 8,000 to learn from, 2,000 to tune on, all to test.

    The samples are the same in every run.
    """
    texts, indicator = goemotions(split)
    n_rows = {"train": 8000, "dev": 2000}.get(split, len(texts))
    rows = np.random.default_rng(0).permutation(len(texts))[:n_rows]
    return [texts[row] for row in rows], indicator[rows]


# -- ours --------------------------------------------------------------------------


def our_emotions(texts, indicator, *, seed):
    """Fit with defaults; return what predicts probabilities."""
    clf = BertClassifier(CHECKPOINT, random_state=seed)
    return clf.fit(texts, indicator).predict_proba


def our_similarity(pairs, numbers, *, seed):
    """Fit with defaults; return what predicts numbers."""
    return BertRegressor(CHECKPOINT, random_state=seed).fit(pairs, numbers).predict


def our_entities(sentences, tags, *, seed):
    """Fit with defaults; return what predicts tags."""
    clf = BertTokenClassifier(CHECKPOINT, random_state=seed)
    return clf.fit(sentences, tags).predict


# -- what is measured --------------------------------------------------------------


def emotion_figures(dev, dev_proba, test, test_proba) -> dict[str, float]:
    """Figures on test, of probabilities and of labels by thresholds tuned on dev."""
    thresholds = best_thresholds(dev, dev_proba)
    tuned, at_half = test_proba >= thresholds, test_proba >= 0.5
    return {
        "macro_f1": f1_score(test, tuned, average="macro", zero_division=0),
        "micro_f1": f1_score(test, tuned, average="micro"),
        "macro_f1_at_half": f1_score(test, at_half, average="macro", zero_division=0),
        "average_precision": average_precision_score(test, test_proba),
    }


def best_thresholds(indicator: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """The threshold of each label that has the best F1, the highest among equals."""
    best = []
    for truth, own_proba in zip(indicator.T, proba.T, strict=True):
        precision, recall, thresholds = precision_recall_curve(truth, own_proba)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        f1 = f1[:-1]  # the last is of no threshold
        best.append(thresholds[len(f1) - 1 - f1[::-1].argmax()])
    return np.array(best)


def similarity_figures(dev, dev_predicted, test, test_predicted) -> dict[str, float]:
    """Correlation of predicted with human scores."""
    return {
        "spearman": spearmanr(test, test_predicted).statistic,
        "pearson": pearsonr(test, test_predicted).statistic,
        "dev_spearman": spearmanr(dev, dev_predicted).statistic,
        "dev_pearson": pearsonr(dev, dev_predicted).statistic,
    }


def entity_figures(dev, dev_predicted, test, test_predicted) -> dict[str, float]:
    """F1 of whole entities, once every word is known to have its tag."""
    for tags, predicted in [*zip(dev, dev_predicted, strict=True)] + [
        *zip(test, test_predicted, strict=True)
    ]:
        assert len(tags) == len(predicted), (tags, predicted)
    return {
        "entity_f1": entity_f1(test, test_predicted),
        "dev_entity_f1": entity_f1(dev, dev_predicted),
    }


# -- tasks -------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What is read, who learns from it, and what is measured.

    A contender takes X, y and a seed, and returns what predicts from X.
    """

    read: Callable[[str], tuple]
    ours: Callable
    peer: Callable
    peer_name: str
    figures: Callable[..., dict[str, float]]


TASKS = {
    "goemotions": Task(
        emotions, our_emotions, multi_label_trainer, "trainer", emotion_figures
    ),
    "stsb": Task(
        stsb, our_similarity, regression_trainer, "trainer", similarity_figures
    ),
    "wnut17": Task(wnut17, our_entities, token_loop, "plain loop", entity_figures),
}


def run(task: Task, fit: Callable, seed: int) -> dict[str, float]:
    """Learn from the training split; figures of dev and test, and seconds."""
    (X, y), (dev_X, dev), (test_X, test) = map(task.read, ("train", "dev", "test"))
    start = time.perf_counter()
    predict = fit(X, y, seed=seed)
    fitted = time.perf_counter()
    dev_predicted, test_predicted = predict(dev_X), predict(test_X)
    seconds = {
        "fit_seconds": fitted - start,
        "predict_seconds": time.perf_counter() - fitted,
    }
    figures = task.figures(dev, dev_predicted, test, test_predicted)
    return {name: float(value) for name, value in figures.items()} | seconds


# -- results -----------------------------------------------------------------------


def runs_on_file() -> dict[tuple, dict]:
    """Runs by task, contender and seed."""
    path = RESULTS / "targets.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    return {(run["task"], run["contender"], run["seed"]): run for run in runs}


def summaries(runs: dict[tuple, dict]) -> Iterator[dict]:
    """Per task a table: means over the seeds that all contenders have run."""
    for name in dict.fromkeys(task for task, _, _ in runs):
        of_task = {key[1:]: run for key, run in runs.items() if key[0] == name}
        contenders = sorted({contender for contender, _ in of_task}, reverse=True)
        seeds = [
            {seed for other, seed in of_task if other == contender}
            for contender in contenders
        ]
        shared = sorted(set.intersection(*seeds))
        if shared:
            rows = [
                mean_row(contender, [of_task[contender, seed] for seed in shared])
                for contender in contenders
            ]
            yield table(f"{name}: mean over seeds {shared}", rows, seeds=shared)


def mean_row(contender: str, runs: list[dict]) -> dict:
    """Means of the figures of some runs, and the deviation of the first of them."""
    figures = [name for name, value in runs[0].items() if isinstance(value, float)]
    row = {name: mean(run[name] for run in runs) for name in figures}
    if len(runs) > 1:
        row["deviation"] = stdev(run[figures[0]] for run in runs)
    return {"contender": contender, **row}


def save(runs: dict[tuple, dict]) -> None:
    """Print the tables, write the JSON."""
    content = {"runs": list(runs.values()), "tables": list(summaries(runs))}
    write("targets", {**content, "scored_with": installed(["seqeval"])})


def main() -> None:
    """Run the tasks; print and keep what is known after each run."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=WHERE_DATA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    sides = parser.add_mutually_exclusive_group()
    sides.add_argument("--peers-only", action="store_true")
    sides.add_argument("--ours-only", action="store_true")
    options = parser.parse_args()

    folder = str(find_checkpoint(CHECKPOINT, None))
    runs = runs_on_file()
    for seed in options.seeds:
        for name in options.tasks:
            task = TASKS[name]
            contenders = {}
            if not options.ours_only:
                contenders[task.peer_name] = partial(task.peer, folder, epochs=EPOCHS)
            if not options.peers_only:
                contenders["ours"] = task.ours
            for contender, fit in contenders.items():
                row = run(task, fit, seed)
                key = {"task": name, "contender": contender, "seed": seed}
                runs[name, contender, seed] = key | row
                save(runs)


if __name__ == "__main__":
    main()
