"""What a fit has to learn, whatever the kind of target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sklearn_bert.text import TextTokenizer, TokenTable
from sklearn_bert.training import Objective


@dataclass(frozen=True)
class Task:
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
    n_outputs : int
    """

    tokenize: Callable[[TextTokenizer], TokenTable]
    targets: np.ndarray
    weights: np.ndarray
    train: np.ndarray
    valid: np.ndarray | None
    objective: Objective
    n_outputs: int
