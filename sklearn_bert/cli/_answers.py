"""X as a saved model reads it, and what it answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_bert.cli._columns import as_classes, as_numbers, texts_of
from sklearn_bert.cli._folders import ModelFolder
from sklearn_bert.cli._tables import Table

PREDICTORS = ("BertClassifier", "BertRegressor")
ANSWERS = ("sklearn_bert", "onnx")  # the layouts that can be loaded


def read_X(table: Table, text: list[str] | None, folder: ModelFolder) -> Any:
    """Return the columns of texts as the model knows them.

    Parameters
    ----------
    text : list of str or None
        Their names in the table, in the order of `fit`. None: as in `fit`.
    """
    names = folder.fitted("feature_names_in_")
    columns = text or names
    if columns is None and len(table.columns) == 1:
        columns = table.columns
    if columns is None:
        raise ValueError(
            f"{folder.path} does not know the names of its columns; name them by "
            f"--text. {table.name} has {table.columns}."
        )
    n_read = folder.fitted("n_features_in_")
    if len(columns) != n_read:
        raise ValueError(
            f"{folder.path} reads {n_read} column(s) of texts, but --text names "
            f"{len(columns)}: {columns}."
        )
    X = texts_of(table, columns)
    if names is None and len(columns) == 1:
        return X[columns[0]]
    return X.set_axis(names or columns, axis=1)


def read_y(table: Table, target: str, folder: ModelFolder) -> np.ndarray:
    """Return a column as the targets that the model has learnt."""
    values = table.column(target)
    if len(gaps := values[values.isna()]):
        raise ValueError(
            f"column {target!r} of {table.name} is empty in row {gaps.index[0]}, "
            "counted from 0; leave such rows out."
        )
    if folder.kind == "BertRegressor":
        return as_numbers(table.name, values)
    return as_classes(table.name, values, folder.fitted("classes_"))


def answers(model: Any, X: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return predictions, and the probabilities of a classifier or None."""
    if not hasattr(model, "predict_proba"):
        return model.predict(X), None
    proba = model.predict_proba(X)
    # As `predict` has it, without a second run of the model.
    predicted = model._labels.decide(proba)
    # Of several labels it may be a sparse indicator.
    return predicted.toarray() if hasattr(predicted, "toarray") else predicted, proba
