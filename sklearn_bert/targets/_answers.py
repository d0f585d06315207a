"""Scores -> what a classifier answers: probabilities and labels.

NumPy alone: `sklearn_bert.onnx` answers where neither torch nor scikit-learn is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class OneLabel:
    """Every text has one label of several.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted.
    """

    classes: np.ndarray

    def proba(self, scores: np.ndarray) -> np.ndarray:
        """Compute the probabilities of the classes, float64."""
        scores = scores.astype(np.float64)
        # No power is over 1.
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def decide(self, proba: np.ndarray) -> np.ndarray:
        """Choose the most probable label."""
        return self.classes[proba.argmax(axis=1)]

    def decision(self, scores: np.ndarray) -> np.ndarray:
        """Return the logits; for two classes their difference."""
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores


@dataclass(frozen=True)
class AnyLabels:
    """Every text has any number of labels: y is a 2-D indicator.

    Attributes
    ----------
    classes : ndarray of shape (n_labels,)
        The columns' numbers.
    dtype : str
        Of the indicator.
    sparse : {None, "array", "matrix"}
        What kind of sparse indicator it was; None: a dense one.
    """

    classes: np.ndarray
    dtype: str
    sparse: str | None

    def proba(self, scores: np.ndarray) -> np.ndarray:
        """Compute the probability of each label, float64."""
        # In logarithms, where no power is infinite.
        return np.exp(-np.logaddexp(0, -scores.astype(np.float64)))

    def decide(self, proba: np.ndarray) -> Any:
        """Set 1 where a label is more probable than not; of the kind in fit."""
        found = (proba > 0.5).astype(self.dtype)
        if self.sparse is None:
            return found
        from scipy.sparse import csr_array, csr_matrix

        return csr_array(found) if self.sparse == "array" else csr_matrix(found)

    def decision(self, scores: np.ndarray) -> np.ndarray:
        """Return the logits of each label."""
        return scores


class Rows(list[Any]):
    """A list with an item for each sentence, whatever NumPy would make of its items.

    scikit-learn concatenates the answers of folds: sentences of different lengths make
    no array of numbers, and those of one length are not to become a table.
    """

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        rows = np.empty(len(self), dtype=object)
        for place, row in enumerate(self):
            rows[place] = row
        return rows if dtype is None else rows.astype(dtype)
