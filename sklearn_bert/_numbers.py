"""Numbers in `y` <-> what a net learns: standardised float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import check_consistent_length

from sklearn_bert.text import is_missing, shown


@dataclass(frozen=True)
class Scale:
    """The mean and the deviation of some targets.

    Attributes
    ----------
    mean : ndarray of shape (n_targets,)
    scale : ndarray of shape (n_targets,)
        1 for a target that never changes.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, numbers: np.ndarray, weights: np.ndarray) -> Self:
        """Of (n_texts, n_targets), each text by its weight."""
        mean = np.average(numbers, axis=0, weights=weights)
        # By the largest first: squares of large numbers are too large.
        largest = np.abs(numbers - mean).max(axis=0)
        largest[largest == 0] = 1.0
        shares = (numbers - mean) / largest
        scale = largest * np.sqrt(np.average(shares**2, axis=0, weights=weights))
        scale[scale == 0] = 1.0
        return cls(mean, scale)

    def standardise(self, numbers: np.ndarray) -> np.ndarray:
        """To mean 0 and deviation 1, float32."""
        return ((numbers - self.mean) / self.scale).astype(np.float32)

    def in_units(self, scores: np.ndarray) -> np.ndarray:
        """Back to the units of the targets, float64."""
        return scores.astype(np.float64) * self.scale + self.mean


def read_numbers(y: Any, texts: Any, name: str = "y") -> tuple[np.ndarray, bool]:
    """The targets as float64, (n_texts, n_targets), and whether they were a column.

    Raises
    ------
    TypeError, ValueError
        Where a target is missing, not finite or no number; naming row and value.
    """
    if y is None:
        raise ValueError(
            "BertRegressor requires y to be passed, but the target y is None."
        )
    if issparse(y):
        raise TypeError(
            f"{name} is a sparse matrix; expected an array of numbers: y.toarray()."
        )
    check_consistent_length(texts, y)
    try:
        cells = np.asarray(y, dtype=object)
    except ValueError as error:
        raise ValueError(
            f"{name} holds rows of different lengths; expected as many numbers for "
            "each text."
        ) from error
    if cells.ndim not in (1, 2) or cells.size == 0:
        raise ValueError(
            f"{name} has the shape {cells.shape}; expected (n_texts,) or "
            "(n_texts, n_targets)."
        )
    for place, cell in np.ndenumerate(cells):
        _check_number(cell, f"{name}[{', '.join(map(str, place))}]")
    numbers = cells.astype(np.float64)
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        place = tuple(wrong[0])
        raise ValueError(
            f"{name}[{', '.join(map(str, place))}] is {cells[place]!r}, infinity or "
            "too large; every target must be a finite number."
        )
    return numbers.reshape(len(numbers), -1), cells.ndim == 1


def _check_number(cell: Any, where: str) -> None:
    if is_missing(cell):
        raise ValueError(
            f"{where} is {cell!r} (NaN or missing); every text needs a number. Drop "
            "such rows, or fill them."
        )
    # Complex numbers have a float() that fails, and strings one that may succeed.
    if isinstance(cell, (str, bytes, complex, np.complexfloating)) or not hasattr(
        cell, "__float__"
    ):
        raise ValueError(
            f"{where} is {shown(cell)} of type {type(cell).__name__}; expected a "
            "number. For classes use BertClassifier."
        )
