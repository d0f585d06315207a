"""What a fit has to learn, whatever the kind of target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._losses import Objective


class Task(Protocol):
    """An objective, and what it is learnt from."""

    @property
    def objective(self) -> Objective:
        """What is learnt."""

    def examples(
        self, tokenizer: TextTokenizer, rng: np.random.Generator
    ) -> tuple[Examples, Examples | None]:
        """Examples to train on, and to validate on; None: there is no validation."""


@dataclass(frozen=True)
class Labelled:
    """Texts with their targets, and which of them to train and to validate on.

    Attributes
    ----------
    tokenize : callable
        From the tokenizer to the table of all texts.
    targets : ndarray
        One row per text, or per word.
    weights : ndarray, float32
        Of the targets.
    train : ndarray of int
        Texts to train on.
    valid : ndarray of int, or None
        Texts to validate on; None: there is no validation.
    objective : Objective
    """

    tokenize: Callable[[TextTokenizer], TokenTable]
    targets: np.ndarray
    weights: np.ndarray
    train: np.ndarray
    valid: np.ndarray | None
    objective: Objective

    def examples(
        self, tokenizer: TextTokenizer, rng: np.random.Generator
    ) -> tuple[Examples, Examples | None]:
        """Both of the same table."""
        table = self.tokenize(tokenizer)

        def some(texts: np.ndarray) -> Examples:
            return Examples(table, table.rows_of(texts), self.targets, self.weights)

        return some(self.train), None if self.valid is None else some(self.valid)
