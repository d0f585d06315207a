"""What a net is trained on: tokens, targets and the weight of each text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_bert.text import TokenTable


@dataclass(frozen=True)
class Examples:
    """Rows of a token table with their targets.

    Attributes
    ----------
    table : TokenTable
    rows : ndarray of shape (n_examples,)
        Which texts of the table.
    targets : ndarray of shape (n_examples,)
        Class codes.
    weights : ndarray of shape (n_examples,), float32
    """

    table: TokenTable
    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text."""
        return self.table.lengths[self.rows]
