"""`sklearn-bert demo`: a classifier of support tickets, from texts to a report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sklearn.metrics import classification_report

from sklearn_bert import BertClassifier, save
from sklearn_bert._process._atomic_folder import check_replaceable
from sklearn_bert.cli._columns import as_labels, check_labels, training_rows
from sklearn_bert.cli._console import say
from sklearn_bert.cli._fit import split
from sklearn_bert.cli._out import check_free_folder
from sklearn_bert.cli._tables import read_table
from sklearn_bert.datasets import load_support_tickets
from sklearn_bert.model._manifest import files_written

N_SHOWN = 3


def run(options: argparse.Namespace) -> None:
    """Fine-tune, save, report, and show some predictions."""
    out = options.out or _default_folder(options.data)
    # Checked before minutes of training, not after.
    check_free_folder(out, force=True)
    check_replaceable(out, files_written)
    X_train, X_test, y_train, y_test = _read(options)
    clf = BertClassifier(
        max_epochs="auto" if options.epochs is None else options.epochs,
        learning_rate=(
            "auto" if options.learning_rate is None else options.learning_rate
        ),
        random_state=0,
        verbose=1,
    )
    if out.exists() and any(out.iterdir()):
        say(f"The model in {out} will be replaced; another --out keeps it.")
    n_labels = len(set(y_train))
    say(
        f"Fine-tuning {clf.checkpoint} on {len(X_train)} texts with {n_labels} labels "
        "..."
    )
    clf.fit(X_train, y_train)
    save(clf, out)  # before anything else can go wrong
    seconds = sum(epoch["seconds"] for epoch in clf.history_)
    say(f"{clf.n_iter_} epochs in {seconds:.0f} s; model saved in {out}\n")
    say(classification_report(y_test, clf.predict(X_test), zero_division=0))
    for text, proba in zip(
        X_test[:N_SHOWN], clf.predict_proba(X_test[:N_SHOWN]), strict=True
    ):
        best = sorted(zip(proba, clf.classes_, strict=True), reverse=True)[:2]
        chances = ", ".join(f"{label} {p:.0%}" for p, label in best)
        say(f"{_shortened(text)!r}\n  -> {chances}")
    say(f"\nOpen the model with sklearn_bert.load({str(out)!r})")


def _default_folder(data: str | None) -> Path:
    return Path("support-ticket-model" if data is None else f"{Path(data).stem}-model")


def _read(options: argparse.Namespace) -> list[list[Any]]:
    """Read training and test texts and labels, from a file or the bundled data."""
    if options.data is None:
        frame = load_support_tickets().frame
        parts = [frame[frame["split"] == split] for split in ("train", "test")]
        train, test = [(part["message"], part["category"]) for part in parts]
        return [list(train[0]), list(test[0]), list(train[1]), list(test[1])]
    if not options.text or not options.target:
        raise ValueError("--data needs --text COLUMN and --target COLUMN.")
    table = read_table(options.data)
    X, y = training_rows(table, [options.text], options.target, say)
    labels = as_labels(y)
    check_labels(table.name, labels, say)
    parts = split(table.name, X[options.text], labels, 0.2, 0, "classify")
    return [list(part) for part in parts]


def _shortened(text: str, width: int = 90) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 3] + "..."
