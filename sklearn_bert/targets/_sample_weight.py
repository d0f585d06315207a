"""Read how much each text weighs in the loss, and scale it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sklearn_bert._process._sklearn import check_sample_weight
from sklearn_bert.targets._numbers import is_no_number, read_cells
from sklearn_bert.text._columns import (
    as_python,
    cell_name,
    excerpt,
    is_missing,
    to_float,
)


def read_sample_weight(sample_weight: ArrayLike | None, n_texts: int) -> np.ndarray:
    """Return the sample weights, or 1 for each text.

    Raises
    ------
    ValueError
        Where one is missing, infinite, negative or no number, naming the row; where
        they are not as many as texts, or all 0.
    """
    if sample_weight is None:
        return np.ones(n_texts)
    cells = read_cells(sample_weight, "sample_weight")
    if cells.ndim > 1:
        raise ValueError(
            f"sample_weight has the shape {cells.shape}; expected ({n_texts},)."
        )
    # Row by row, so that an error can name the row and its value.
    weights = np.empty(cells.shape)
    for row, cell in enumerate(cells.flat):
        if type(cell) is float and 0 <= cell < np.inf:  # as most are: no more to ask
            weights.flat[row] = cell
            continue
        kind = None
        if is_missing(cell):
            kind = "NaN or missing"
        elif is_no_number(cell):
            kind = f"of type {type(cell).__name__}"
        else:
            weights.flat[row] = weight = to_float(cell)
            if not 0 <= weight < np.inf:
                kind = "infinity" if weight > 0 else "negative"
        if kind is not None:
            where = cell_name(sample_weight, "sample_weight", row)
            raise ValueError(
                f"{where if cells.ndim else 'sample_weight'} is "
                f"{excerpt(as_python(cell))} "
                f"({kind}); expected a finite number of 0 or more. 0 leaves a row out."
            )
    # One number for all is to be a Python number there.
    given = weights if weights.ndim else float(weights)
    return check_sample_weight(given, np.empty(n_texts), dtype=np.float64)


def with_mean_one(weights: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Scale weights, so that their mean over the rows to train on is 1; float32."""
    weights = weights / weights[train].max()  # a sum of large ones may be too large
    return (weights / weights[train].mean()).astype(np.float32)
