"""Numbers in `y` <-> what a net learns: standardised float32."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import check_consistent_length

from sklearn_bert.targets._labels import without_mask
from sklearn_bert.text._columns import cell_name, excerpt, is_missing, to_float

# What has a float() that fails, or succeeds although it is no number.
NO_NUMBERS = (
    str,
    bytes,
    complex,
    np.complexfloating,
    np.datetime64,
    np.timedelta64,
)
LARGEST = 1e150  # whose square is still a float64
FARTHEST = 1e18  # deviations from the mean; float32 holds their square


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
        """Compute the scale of (n_texts, n_targets), each text by its weight."""
        weights = weights / weights.max()  # equal ones are all 1, bit by bit
        mean = np.average(numbers, axis=0, weights=weights)
        scale = np.sqrt(np.average((numbers - mean) ** 2, axis=0, weights=weights))
        # Rounded off, the mean of equal numbers may differ from them in its last bit.
        is_constant = (numbers == numbers[0]).all(axis=0)
        mean[is_constant] = numbers[0, is_constant]
        scale[is_constant | (scale == 0)] = 1.0
        return cls(mean, scale)

    def attributes(self) -> dict[str, np.ndarray]:
        """Return what a fitted regressor keeps of the scale."""
        return {"target_mean_": self.mean, "target_scale_": self.scale}

    def standardise(self, numbers: np.ndarray) -> np.ndarray:
        """Scale numbers to mean 0 and deviation 1, float32.

        What is validated on, or weighs nothing, may lie anywhere: no farther than can
        be squared.
        """
        with np.errstate(over="ignore"):
            deviations = (numbers - self.mean) / self.scale
        return np.clip(deviations, -FARTHEST, FARTHEST).astype(np.float32)

    def in_units(self, scores: np.ndarray) -> np.ndarray:
        """Scale scores back to the units of the targets, float64."""
        return scores.astype(np.float64) * self.scale + self.mean


def read_numbers(y: Any, texts: Any, name: str = "y") -> tuple[np.ndarray, bool]:
    """Read the targets as float64, (n_texts, n_targets); tell if they were a column.

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
    cells = read_cells(y, name)
    if cells.ndim not in (1, 2) or cells.size == 0:
        raise ValueError(
            f"{name} has the shape {cells.shape}; expected (n_texts,) or "
            "(n_texts, n_targets)."
        )
    numbers = np.empty(cells.shape)
    for place, cell in np.ndenumerate(cells):
        where = functools.partial(cell_name, y, name, *place)
        numbers[place] = _number(cell, where)
    return numbers.reshape(len(numbers), -1), cells.ndim == 1


def read_cells(values: Any, name: str) -> np.ndarray:
    """Return the values as an array of objects, none of them converted."""
    values = without_mask(values, name)
    if hasattr(values, "to_pylist") and not hasattr(values, "schema"):  # Arrow column
        values = values.to_pylist()
    elif hasattr(values, "to_list") and not hasattr(values, "iloc"):
        values = values.to_list()  # polars before 2 would make integers of dates
    elif getattr(getattr(values, "dtype", None), "kind", "") in ("m", "M"):
        values = list(values)  # an array of objects would hold them as integers
    try:
        return np.asarray(values, dtype=object)
    except ValueError as error:
        raise ValueError(
            f"{name} holds rows of different lengths; expected as many numbers for "
            "each text."
        ) from error


def is_no_number(cell: Any) -> bool:
    """Tell whether a cell is no number, although it may have a float()."""
    return isinstance(cell, NO_NUMBERS) or not hasattr(cell, "__float__")


def _number(cell: Any, where: Callable[[], str]) -> float:
    if is_missing(cell):
        raise ValueError(
            f"{where()} is {cell!r} (NaN or missing); every text needs a number. Drop "
            "such rows, or fill them."
        )
    if is_no_number(cell):
        raise ValueError(
            f"{where()} is {excerpt(cell)} of type {type(cell).__name__}; expected a "
            "number. For classes use BertClassifier."
        )
    number = to_float(cell)
    if not abs(number) <= LARGEST:
        raise ValueError(
            f"{where()} is {excerpt(cell)}, infinity or too large; every target must "
            f"be a finite number of at most {LARGEST:.0e}. Give it in other units."
        )
    return number
