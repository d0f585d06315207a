"""`sklearn-bert embed`: a vector for each row of a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sklearn_bert import BertEmbedder
from sklearn_bert._process._atomic_file import new_file
from sklearn_bert.cli._answers import ANSWERS, read_X
from sklearn_bert.cli._bar import bar
from sklearn_bert.cli._columns import texts_of
from sklearn_bert.cli._folders import is_model, read_folder
from sklearn_bert.cli._out import check_free
from sklearn_bert.cli._tables import Table, check_out, read_table, write_table

KINDS = ("BertEmbedder", "BertClassifier", "BertRegressor")
NUMPY = ".npy"


def run(options: argparse.Namespace) -> None:
    """Write the vectors."""
    is_array = Path(options.out).suffix.lower() == NUMPY
    if is_array:
        check_free(options.out, options.force)
    else:
        check_out(options.out, options.format, options.force)
    vectors = _vectors(options)
    if is_array:
        with new_file(options.out) as draft, draft.open("wb") as file:
            np.save(file, vectors)
        return
    names = [f"vector_{i}" for i in range(vectors.shape[1])]
    frame = pd.DataFrame(vectors, columns=names)
    write_table(frame, options.out, options.format)


def _vectors(options: argparse.Namespace) -> np.ndarray:
    """Return an array of shape (n_rows, n_dimensions), float32."""
    if not is_model(options.model):
        X = _column(_table(options), options.text)
        model: Any = BertEmbedder(options.model).fit(X)
    else:
        folder = read_folder(options.model, *KINDS, layouts=ANSWERS)
        X = read_X(_table(options), options.text, folder)
        model = folder.load()
    with bar():
        return np.asarray(model.transform(X))


def _table(options: argparse.Namespace) -> Table:
    return read_table(options.data, options.format, options.encoding)


def _column(table: Table, text: list[str] | None) -> pd.DataFrame:
    """Return the column of texts for a checkpoint, which knows no names."""
    columns = text or table.columns
    if len(columns) != 1:
        raise ValueError(
            f"expected one column of texts, named by --text; {table.name} has "
            f"{table.columns}."
        )
    return texts_of(table, columns)
