"""TokenTable -> batches of similar lengths, padded to the longest of the batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sklearn_bert.text._tokens import TokenTable

BATCHES_PER_POOL = 16  # how many batches of shuffled texts are sorted by length at once


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
    """

    def __init__(
        self, lengths: np.ndarray, batch_size: int, rng: np.random.Generator
    ) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.rng = rng

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the rows of each batch of one epoch."""
        order = self.rng.permutation(len(self.lengths))
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
    """Rows sorted by length, longest first, cut where padding would pass the budget.

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


def pad(table: TokenTable, rows: np.ndarray, pad_id: int) -> dict[str, np.ndarray]:
    """Lay some texts of the table out as the rows of a rectangle.

    Returns
    -------
    dict
        `input_ids`, int64 of shape (n_rows, n_tokens); `attention_mask`, bool, only if
        there is padding; `token_type_ids`, int64, only for pairs.
    """
    lengths = table.lengths[rows]
    steps = np.arange(lengths.max())
    is_text = steps < lengths[:, None]  # (n_rows, n_tokens)
    places = np.where(is_text, table.starts[rows][:, None] + steps, 0)
    batch = {"input_ids": np.where(is_text, table.ids[places], pad_id).astype(np.int64)}
    if not is_text.all():
        batch["attention_mask"] = is_text
    if table.type_ids is not None:
        batch["token_type_ids"] = np.where(is_text, table.type_ids[places], 0).astype(
            np.int64
        )
    return batch


def _cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[begin : begin + size] for begin in range(0, len(rows), size)]
