"""Columns of a table -> texts, labels and numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from sklearn_bert.cli._console import note
from sklearn_bert.cli._tables import Table

MIN_ROWS = 10  # a smaller file does not show whether a column holds labels
MANY_NUMBERS = 20  # more different numbers are probably quantities, not labels
FEW_ROWS = 5  # fewer rows per label are suspicious
INTEGER = re.compile(r"0|-?[1-9]\d{0,17}")  # as Python writes it: 007 is a name
Say = Callable[[str], None]


def texts_of(table: Table, columns: list[str], say: Say = note) -> pd.DataFrame:
    """Return columns of texts. Numbers in them become texts, and that is said."""
    return pd.DataFrame({name: _texts(table, name, say) for name in columns})


def _texts(table: Table, name: str, say: Say) -> pd.Series:
    cells = table.column(name)
    if isinstance(cells.dtype, pd.CategoricalDtype):
        cells = cells.astype(object)
    is_missing = cells.isna()
    are_numbers = cells.map(lambda cell: isinstance(cell, Number)) & ~is_missing
    n_numbers = int(are_numbers.sum())
    # Of CSV all is text; that all of it looks like numbers is probably a mistake.
    present = cells[~is_missing]
    if not n_numbers and pd.to_numeric(present, errors="coerce").notna().all():
        n_numbers = len(present)
    if n_numbers:
        say(
            f"Note: {n_numbers} of {len(cells)} values in column {name!r} of "
            f"{table.name} are numbers; each is read as a text."
        )
    texts = cells.astype(object)
    texts[are_numbers] = texts[are_numbers].map(str)
    return texts


def training_rows(
    table: Table, text: list[str], target: str, say: Say = note
) -> tuple[pd.DataFrame, pd.Series]:
    """Return texts and targets of the rows that have both."""
    texts, targets = texts_of(table, text, say), table.column(target)
    complete = texts.notna().all(axis=1) & targets.notna()
    if n_gaps := int((~complete).sum()):
        say(f"Left out: {n_gaps} rows without text or label.")
    return texts[complete], targets[complete]


def as_labels(values: pd.Series) -> pd.Series:
    """Return labels: numbers of CSV, which are read as texts, become integers."""
    texts = values.map(str)
    whole = is_numeric_dtype(values) and bool((values % 1 == 0).all())
    if whole and values.dtype != bool:  # a column of integers with gaps is of floats
        return values.astype("int64")
    if len(values) and bool(texts.map(INTEGER.fullmatch).astype(bool).all()):
        return texts.map(int).astype("int64")
    return values


def check_labels(name: str, labels: pd.Series, say: Say = note) -> None:
    """Raise ValueError if a column holds no labels; say it if it may not."""
    n_rows, n_labels = len(labels), labels.nunique()
    if n_rows < MIN_ROWS:
        return
    found = f"column {labels.name!r} of {name} holds {n_labels} different values"
    if n_rows < 2 * n_labels:
        raise ValueError(
            f"{found} in {n_rows} rows; expected labels, each of several rows. Choose "
            "another --target; for numbers, see BertRegressor."
        )
    are_quantities = is_numeric_dtype(labels) and n_labels > MANY_NUMBERS
    if are_quantities or n_rows < FEW_ROWS * n_labels:
        say(
            f"Note: {found} in {n_rows} rows, and each is learnt as a label of its "
            "own. For numbers, see BertRegressor."
        )


def as_numbers(name: str, values: pd.Series) -> np.ndarray:
    """Return a column as numbers, or raise ValueError with the row that is none."""
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    if len(wrong := values[numbers.isna()]):
        raise ValueError(
            f"column {values.name!r} of {name} holds {wrong.iloc[0]!r} in row "
            f"{wrong.index[0]}, counted from 0; expected a number."
        )
    return numbers.to_numpy()


def as_classes(name: str, labels: pd.Series, classes: Any) -> np.ndarray:
    """Return labels as the classes of a model that they are written like.

    A file of text holds "1" where the model's class is the number 1.
    """
    known = {str(label): label for label in np.asarray(classes).tolist()}
    written = as_labels(labels).map(str)
    if len(unknown := written[~written.isin(list(known))]):
        raise ValueError(
            f"column {labels.name!r} of {name} holds {unknown.iloc[0]!r} in row "
            f"{unknown.index[0]}, counted from 0; the classes of the model are "
            f"{_listed(list(known))}."
        )
    return np.array([known[label] for label in written], np.asarray(classes).dtype)


def _listed(names: list[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
