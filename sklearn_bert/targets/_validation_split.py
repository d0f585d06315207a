"""Split off the texts that a fit validates on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import (
    GroupShuffleSplit,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedShuffleSplit,
)
from sklearn.utils.validation import check_consistent_length

from sklearn_bert.targets._labels import read_column
from sklearn_bert.text._table import TokenTable
from sklearn_bert.training._examples import Examples


@dataclass(frozen=True)
class Split:
    """Which texts to train on, which to validate on, and how much each weighs.

    Attributes
    ----------
    train : ndarray of int
    valid : ndarray of int, or None
        None: there is no validation.
    weights : ndarray of shape (n_texts,) or (n_texts, n_outputs)
        Of all texts.
    """

    train: np.ndarray
    valid: np.ndarray | None
    weights: np.ndarray

    def examples(
        self, table: TokenTable, targets: np.ndarray, weights: np.ndarray
    ) -> tuple[Examples, Examples | None]:
        """Return the examples to train on and to validate on, of the same table.

        Parameters
        ----------
        table : TokenTable
            Of all texts.
        targets, weights : ndarray
            A row for each text, or for each word.
        """
        train = Examples(table, table.rows_of(self.train), targets, weights)
        if self.valid is None:
            return train, None
        return train, Examples(table, table.rows_of(self.valid), targets, weights)


def hold_out(
    rows: np.ndarray,
    share: float,
    *,
    codes: np.ndarray | None,
    groups: np.ndarray | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Split rows in two: to train on, and to validate on.

    Parameters
    ----------
    rows : ndarray of int
    share : float
        Of the rows (of groups, where there are any) to validate on.
    codes : ndarray of shape (n_texts,), or None
        Classes, whose shares are kept in both parts. None: there are none.
    groups : ndarray of shape (n_texts,), or None
        Texts of one group stay together.
    seed : int

    Raises
    ------
    ValueError
        Where that cannot be done.
    """
    y = None if codes is None else codes[rows]
    split: Any
    if groups is None:
        kind = ShuffleSplit if y is None else StratifiedShuffleSplit
        split = kind(1, test_size=share, random_state=seed)
        train, valid = next(split.split(rows, y))
        return rows[train], rows[valid]
    # scikit-learn stratifies groups only in folds, so a share that is about 1/k is one
    # of k folds; any other share, or a class that is too small, goes by groups alone.
    members = groups[rows]
    n_folds = max(2, round(1 / share))
    split = GroupShuffleSplit(1, test_size=share, random_state=seed)
    is_a_fold = abs(1 / n_folds - share) < 0.04
    if y is not None and is_a_fold and _has_enough(y, members, n_folds):
        split = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    train, valid = next(split.split(rows, y, members))
    if y is not None and (lost := set(y) - set(y[train])):
        raise ValueError(
            f"all texts of {len(lost)} classes are in the held-out groups; these "
            "classes have no text left to train on."
        )
    return rows[train], rows[valid]


def _has_enough(y: np.ndarray, members: np.ndarray, n_folds: int) -> bool:
    fewest = np.unique(y, return_counts=True)[1].min()
    return fewest >= n_folds and len(np.unique(members)) >= n_folds


def check_groups(groups: Any, texts: Any) -> np.ndarray | None:
    """Return the group of each text as a number; None where there are no groups."""
    if groups is None:
        return None
    check_consistent_length(texts, groups)
    names = read_column(groups, "groups", "group")
    return np.unique(names, return_inverse=True)[1]
