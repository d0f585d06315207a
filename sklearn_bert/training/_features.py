"""What the frozen part of a model makes of texts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class FeatureTable:
    """The features of many texts in one flat tensor; equal texts share theirs.

    Those of text `i` are `values[starts[i] : starts[i] + lengths[i]]`: one vector, or
    the state of each of its tokens.

    Attributes
    ----------
    values : Tensor of shape (n_values, width), on the CPU
    starts : ndarray of shape (n_texts,), int64
    lengths : ndarray of shape (n_texts,), int64
    are_vectors : bool
        Whether there is one vector per text.
    """

    values: Tensor
    starts: np.ndarray
    lengths: np.ndarray
    are_vectors: bool

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, rows: np.ndarray) -> FeatureTable:
        """A table of some of the texts; the values are shared, not copied."""
        return replace(self, starts=self.starts[rows], lengths=self.lengths[rows])

    def distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows that hold each text once, and for every row its place among them."""
        _, rows, inverse = np.unique(
            self.starts, return_index=True, return_inverse=True
        )
        return rows, inverse
