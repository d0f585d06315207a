"""`sklearn-bert fit`: fine-tune an estimator on a table, and save it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

# Not its names, which import torch: of a wrong table one hears seconds sooner.
import sklearn_bert
from sklearn_bert._process._atomic_folder import check_replaceable
from sklearn_bert.cli._columns import (
    as_labels,
    as_numbers,
    check_labels,
    training_rows,
)
from sklearn_bert.cli._console import show
from sklearn_bert.cli._out import check_free_folder
from sklearn_bert.cli._scores import scores_of
from sklearn_bert.cli._tables import read_table
from sklearn_bert.estimators._summary import summary
from sklearn_bert.model._manifest import files_written


def run(options: argparse.Namespace) -> None:
    """Fit, save, and score on rows that were held out."""
    out = Path(options.out)
    # Before minutes of training, not after.
    check_free_folder(out, options.force)
    check_replaceable(out, files_written)
    table = read_table(options.data, options.format, options.encoding)
    X, y = training_rows(table, options.text, options.target)
    if not len(y):
        raise ValueError(f"{table.name} has no rows with text and label.")
    y, cls = _learnable(table.name, y, options.task)
    X_train, y_train, X_test, y_test = X, y, None, None
    if options.test_size is not None:
        X_train, X_test, y_train, y_test = split(
            table.name, X, y, options.test_size, options.random_state, options.task
        )
    estimator = cls(**_parameters(options)).fit(X_train, y_train)
    sklearn_bert.save(estimator, out)  # before anything else can go wrong
    result = {
        "model": str(out),
        "class": type(estimator).__name__,
        "rows": len(y_train),
        "epochs": estimator.n_iter_,
        "seconds": sum(epoch["seconds"] for epoch in estimator.history_),
    }
    lines = f"{summary(estimator)}\nmodel saved in {out}"
    if X_test is not None:
        result["test"], test = scores_of(estimator, X_test, np.asarray(y_test))
        lines += f"\n\n{test}"
    show(result, lines, as_json=options.json)


def split(
    name: str, X: Any, y: Any, test_size: float, random_state: int, task: str
) -> list[Any]:
    """Return training and test texts, then training and test targets."""
    counts = np.unique(np.asarray(y), return_counts=True)[1]
    is_countable = task == "classify" and len(counts) and counts.min() > 1
    try:
        return train_test_split(
            X,
            y,
            test_size=test_size,
            random_state=random_state,
            stratify=y if is_countable else None,
        )
    except ValueError as error:
        raise ValueError(
            f"{name} has {len(X)} rows with text and label, too few to "
            f"train and test on: {error}"
        ) from error


def _learnable(name: str, y: Any, task: str) -> tuple[Any, type]:
    """Return the targets as they are learnt, and the class that learns them."""
    if task == "regress":
        return as_numbers(name, y), sklearn_bert.BertRegressor
    labels = as_labels(y)
    check_labels(name, labels)
    return labels, sklearn_bert.BertClassifier


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters that were given; the others have their defaults."""
    given = {
        "checkpoint": options.checkpoint,
        "max_epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "max_length": options.max_length,
        "random_state": options.random_state,
        "verbose": 0 if options.quiet else 1,
    }
    return {name: value for name, value in given.items() if value is not None}
