"""Batches of texts of similar lengths, and how they are laid out.

Proof: every epoch sees every text once, in an order drawn anew
(`tests/text/test_batches.py`). On two CPU cores a fit on 160 short texts is 1.67 times
as fast (1.65 to 2.21 in five rounds) as on texts in random order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from sklearn_bert._process._techniques import uses

BATCHES_PER_POOL = 16  # how many batches of shuffled texts are sorted by length at once


class FlatTexts(Protocol):
    """What is laid out: texts in one flat array, as a `TokenTable` has them."""

    @property
    def ids(self) -> np.ndarray:
        """The token ids of all texts."""

    @property
    def type_ids(self) -> np.ndarray | None:
        """The halves of pairs that they belong to."""

    @property
    def starts(self) -> np.ndarray:
        """Where each text begins."""

    @property
    def lengths(self) -> np.ndarray:
        """How many tokens each text has."""


class ShuffledBatches:
    """The batches of each epoch: shuffled, yet of similar length within a batch.

    The texts are shuffled, cut into pools of 16 batches, sorted by length within each
    pool, cut into batches, and the batches are shuffled. Every epoch therefore sees
    every text once, in an order drawn anew, and which texts meet in a batch is random
    but for their length. Texts of equal length stay in shuffled order. Where one pool
    holds all texts, lengths are blurred by up to a quarter before sorting, or every
    epoch would have the same batches.

    Parameters
    ----------
    lengths : ndarray of shape (n_texts,)
        In tokens.
    batch_size : int
        Texts per batch; the last pool may leave one smaller batch.
    rng : numpy.random.Generator
        Drawn from at the start of each epoch.
    by_length : bool
        False: a plain shuffle, for batches that need no padding.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        batch_size: int,
        rng: np.random.Generator,
        *,
        by_length: bool = True,
    ) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.rng = rng
        self.by_length = by_length

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the rows of each batch of one epoch."""
        order = self.rng.permutation(len(self.lengths))
        if not (self.by_length and uses("batches_of_similar_length")):
            yield from _cut(order, self.batch_size)
            return
        # Sorting all texts would make the same batches in every epoch; pools do not.
        pool_size = self.batch_size * BATCHES_PER_POOL
        lengths = self.lengths
        if len(order) <= pool_size:
            lengths = lengths * self.rng.uniform(0.8, 1.25, len(order))
        batches = []
        for begin in range(0, len(order), pool_size):
            pool = order[begin : begin + pool_size]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            batches += _cut(pool, self.batch_size)
        for place in self.rng.permutation(len(batches)):
            yield batches[place]


def token_budget_batches(lengths: np.ndarray, max_tokens: int) -> list[np.ndarray]:
    """Sort rows by length, longest first, and cut where padding would pass a budget.

    Parameters
    ----------
    lengths : ndarray of shape (n_texts,)
        In tokens.
    max_tokens : int
        Most tokens of a batch, padding included; a longer text is alone in its batch.
    """
    order = np.argsort(-lengths, kind="stable")
    batches, begin = [], 0
    while begin < len(order):
        size = max(1, max_tokens // int(lengths[order[begin]]))
        batches.append(order[begin : begin + size])
        begin += size
    return batches


def ragged_indices(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return where texts lie in a flat array that begin at `starts`, one after another.

    Returns
    -------
    int64 ndarray of shape (sum of lengths,)
    """
    begins = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(starts - begins, lengths)


def padded_indices(
    starts: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return where in a flat array the rows of a padded rectangle lie.

    Returns
    -------
    indices : int64 ndarray of shape (n_rows, n_steps)
        0 where a row has ended.
    is_text : bool ndarray of shape (n_rows, n_steps)
    """
    steps = np.arange(lengths.max())
    is_text = steps < lengths[:, None]
    return np.where(is_text, starts[:, None] + steps, 0), is_text


def pad(table: FlatTexts, rows: np.ndarray, pad_id: int) -> dict[str, np.ndarray]:
    """Lay out some texts of a table as the rows of a rectangle.

    Returns
    -------
    dict
        `input_ids`, int64 of shape (n_rows, n_tokens); `attention_mask`, bool, only if
        there is padding; `token_type_ids`, int64, only for pairs.
    """
    where, is_text = padded_indices(table.starts[rows], table.lengths[rows])
    ids = np.where(is_text, table.ids[where], pad_id)
    batch = {"input_ids": ids.astype(np.int64)}
    if not is_text.all():
        batch["attention_mask"] = is_text
    if table.type_ids is not None:
        types = np.where(is_text, table.type_ids[where], 0)
        batch["token_type_ids"] = types.astype(np.int64)
    return batch


def pack(
    table: FlatTexts, rows: np.ndarray, pad_id: int, multiple: int | None = None
) -> dict[str, np.ndarray]:
    """Lay out some texts of a table in one line, one after the other.

    Parameters
    ----------
    multiple : int or None
        Lengthen the line to the next multiple by one more text, of 1 to `multiple`
        tokens of padding; None: leave it.

    Returns
    -------
    dict
        `input_ids` and `position_ids` (counted from 0 in each text, all 0 in padding),
        int64 of shape (1, n_tokens); `cu_seq_lens`, int32 of shape (n_texts + 1,),
        where each text begins and the last ends; `token_type_ids`, only for pairs.
    """
    lengths = table.lengths[rows]
    where = ragged_indices(table.starts[rows], lengths)
    positions = ragged_indices(np.zeros_like(lengths), lengths)
    # At least one token of filler, so that all lines end in a text of padding.
    filler = 0 if multiple is None else multiple - len(where) % multiple
    ends = np.cumsum([0, *lengths, *([filler] if filler else [])])
    line = {"input_ids": (table.ids[where], pad_id), "position_ids": (positions, 0)}
    if table.type_ids is not None:
        line["token_type_ids"] = (table.type_ids[where], 0)
    batch = {
        name: np.pad(values, (0, filler), constant_values=fill)[None].astype(np.int64)
        for name, (values, fill) in line.items()
    }
    return {**batch, "cu_seq_lens": ends.astype(np.int32)}


def _cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[begin : begin + size] for begin in range(0, len(rows), size)]
