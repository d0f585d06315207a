"""What a net is trained on: tokens, targets and the weight of each text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_bert.text import TokenTable
from sklearn_bert.training._features import FeatureTable


@dataclass(frozen=True)
class Examples:
    """Some rows of a token table, with a target and a weight for each of its texts.

    Attributes
    ----------
    table : TokenTable or FeatureTable
        Of n_texts texts.
    rows : ndarray of shape (n_examples,)
        Which of the texts.
    targets : ndarray of shape (n_texts,)
        Class codes.
    weights : ndarray of shape (n_texts,), float32
    """

    table: TokenTable | FeatureTable
    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)
