"""Batches in which every class is equally frequent, whatever its share of the texts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class BalancedBatches:
    """The batches of each epoch: as many as `ShuffledBatches` has, all of full size.

    The classes take turns, and each gives its texts in an order that is drawn anew
    whenever all have been given. So a text of a rare class comes up more often than one
    of a frequent class, and every batch has texts of as many classes as it can hold two
    of: a contrast needs two that are alike.

    Parameters
    ----------
    codes : ndarray of shape (n_texts,), int
        The class of each text.
    batch_size : int
        Texts per batch.
    rng : numpy.random.Generator
    """

    def __init__(
        self, codes: np.ndarray, batch_size: int, rng: np.random.Generator
    ) -> None:
        self.batch_size = batch_size
        self.rng = rng
        self._n_texts = len(codes)
        # A class that has no text takes no turn.
        self._members = [np.flatnonzero(codes == code) for code in np.unique(codes)]
        self._per_turn = 2 if len(self._members) > batch_size // 2 else 1
        self._turns: list[int] = []
        self._waiting: list[list[int]] = [[] for _ in self._members]

    def __len__(self) -> int:
        return -(-self._n_texts // self.batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the rows of each batch of one epoch."""
        for _ in range(len(self)):
            rows: list[int] = []
            while len(rows) < self.batch_size:
                if not self._turns:
                    self._turns = self.rng.permutation(len(self._members)).tolist()
                code = self._turns.pop()
                for _ in range(min(self._per_turn, self.batch_size - len(rows))):
                    rows.append(self._next_of(code))
            yield np.array(rows)

    def _next_of(self, code: int) -> int:
        if not self._waiting[code]:
            self._waiting[code] = self.rng.permutation(self._members[code]).tolist()
        return self._waiting[code].pop()


def balanced_weights(
    codes: np.ndarray, weights: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Scale weights so that those of each class have the mean 1, or are all 0.

    Batches in which classes are equally frequent leave nothing to class weights: that
    an update has more of a rare class, and weighs it more, would count twice.

    Parameters
    ----------
    codes : ndarray of shape (n_texts,), int
    weights : ndarray of shape (n_texts,)
    rows : ndarray of shape (n_rows,)
        The texts that batches are drawn from; the weights of others stay as they are.
    """
    scaled = weights.copy()
    for code in np.unique(codes[rows]):
        members = rows[codes[rows] == code]
        if (mean := weights[members].mean()) > 0:
            scaled[members] /= mean
    return scaled
