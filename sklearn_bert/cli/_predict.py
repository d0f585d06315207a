"""`sklearn-bert predict`: a table, and what a model says of its rows."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd

from sklearn_bert.cli._answers import ANSWERS, PREDICTORS, answers, read_X
from sklearn_bert.cli._bar import bar
from sklearn_bert.cli._folders import read_folder
from sklearn_bert.cli._tables import Table, check_out, read_table, write_table

PREDICTION, PROBA = "prediction", "proba"


def run(options: argparse.Namespace) -> None:
    """Write the rows of a table with the columns that a model predicts."""
    check_out(options.out, options.format, options.force)
    folder = read_folder(options.model, *PREDICTORS, layouts=ANSWERS)
    if options.proba and folder.kind != "BertClassifier":
        raise ValueError(
            f"--proba: {options.model} holds a {folder.kind}, which has no "
            "probabilities; leave the option out."
        )
    table = read_table(options.data, options.format, options.encoding)
    X = read_X(table, options.text, folder)
    model = folder.load()
    with bar():
        predicted, proba = answers(model, X)
    names = folder.fitted("classes_") or range(np.shape(predicted)[-1])
    columns = _columns(PREDICTION, predicted, names)
    if options.proba and proba is not None:
        columns |= _columns(PROBA, proba, names)
    write_table(_joined(table, columns), options.out, options.format)


def _columns(name: str, values: np.ndarray, names: Any) -> dict[str, np.ndarray]:
    """Return the columns of an answer by their names."""
    if values.ndim == 1:
        return {name: values}
    columns = zip(names, values.T, strict=True)
    return {f"{name}_{label}": column for label, column in columns}


def _joined(table: Table, columns: dict[str, np.ndarray]) -> pd.DataFrame:
    taken = [name for name in columns if name in table.frame]
    if taken:
        raise ValueError(
            f"{table.name} has a column {taken[0]!r} already; rename it, or leave it "
            "out."
        )
    added = pd.DataFrame(columns, index=table.frame.index)
    return pd.concat([table.frame, added], axis=1)
