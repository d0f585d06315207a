"""What a net is trained on: tokens, targets and their weights, batch by batch.

Proof of batches of similar length: every epoch sees every text once, in an order drawn
anew (`tests/training/test_examples.py`). On two cores of an Intel Sapphire Rapids a fit
on 160 short texts is 1.34 times as fast (1.31 to 1.62 in five rounds) as on texts in
random order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from sklearn_bert._process._techniques import uses
from sklearn_bert.text._long import Windows
from sklearn_bert.text._table import Table, TokenTable
from sklearn_bert.text._words import PerWordTable


@dataclass(frozen=True)
class Examples:
    """Some texts of a token table, with their targets and the weights of those.

    Attributes
    ----------
    table : Table
        Of n_texts texts, or of their windows.
    rows : ndarray of shape (n_examples,)
        Which of the texts.
    targets : ndarray of shape (n_texts,) or (n_texts, n_outputs)
        Of a table of words: (n_words,).
    weights : ndarray, float32
        Of the losses; as many rows as targets.
    windows : Windows or None
        Which rows of the table make up each text; None: each row is a text.
    """

    table: Table
    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    windows: Windows | None = None

    def renewed(self) -> Examples:
        """Return the examples of the next epoch: these, unless they are drawn anew."""
        return self

    def __len__(self) -> int:
        return len(self.rows)

    def lengths(self) -> np.ndarray:
        """Return the number of tokens of each example, over all its windows."""
        if self.windows is None:
            return self.table.lengths[self.rows]
        # `reduceat` adds up from each begin to the next: every text has a window.
        windows = self.windows.take(self.rows)
        begins = np.cumsum(windows.counts) - windows.counts
        return np.add.reduceat(self.table.lengths[windows.rows()], begins)

    def parts(
        self,
        rows: np.ndarray,
        size: int,
        n_tokens: float = np.inf,
        *,
        packed: bool = False,
    ) -> Iterator[np.ndarray]:
        """Cut some texts where their windows would be more than `size`.

        Or, with padding unless they are packed, more than `n_tokens` tokens.
        """
        if self.windows is None:
            counts, longest = np.ones(len(rows), np.int64), self.table.lengths[rows]
        else:
            windows = self.windows.take(rows)
            counts = windows.counts
            begins = np.cumsum(counts) - counts
            longest = np.maximum.reduceat(self.table.lengths[windows.rows()], begins)
        # One pass, greedily: a part ends before the text that would be too much.
        begin = n_windows = widest = total = 0
        for place, (count, length) in enumerate(
            zip(counts.tolist(), longest.tolist(), strict=True)
        ):
            n_windows, widest = n_windows + count, max(widest, length)
            total += count * length
            tokens = total if packed else n_windows * widest
            if place > begin and (n_windows > size or tokens > n_tokens):
                yield rows[begin:place]
                begin, n_windows, widest, total = place, count, length, count * length
        yield rows[begin:]


@dataclass(frozen=True, kw_only=True)
class Views(Windows):
    """Which rows of a table are the two views of each example.

    To a model the views of an example are what the windows of a text are: rows that
    belong together. An objective of pairs merges them by putting them side by side.

    Attributes
    ----------
    members : ndarray of shape (n_examples, 2)
    """

    members: np.ndarray

    @classmethod
    def of(cls, members: np.ndarray, n_rows: int) -> Views:
        """Make the views among the rows of a table."""
        counts = np.full(len(members), 2)
        shares = np.ones(n_rows, dtype=np.float32)
        return cls(members[:, 0], counts, shares, members=members)

    def take(self, texts: np.ndarray) -> Self:
        """Return the views of some of the examples."""
        return replace(
            self,
            starts=self.starts[texts],
            counts=self.counts[texts],
            members=self.members[texts],
        )

    def rows(self) -> np.ndarray:
        """Return the rows of the examples, one example after the other."""
        return self.members.ravel()


@dataclass(frozen=True, kw_only=True)
class ViewedExamples(Examples):
    """Examples of two views, which may be drawn anew for each epoch.

    Attributes
    ----------
    draw : callable
        Returns the views of an epoch: rows of the table, of shape (n_examples, 2).
    """

    draw: Callable[[], np.ndarray]

    @classmethod
    def of(
        cls, table: TokenTable, targets: np.ndarray, draw: Callable[[], np.ndarray]
    ) -> ViewedExamples:
        """Make all examples, which weigh alike; `targets` has a row for each."""
        return cls(
            table=table,
            rows=np.arange(len(targets)),
            targets=targets,
            weights=np.ones(len(targets), dtype=np.float32),
            windows=Views.of(draw(), len(table)),
            draw=draw,
        )

    def renewed(self) -> ViewedExamples:
        """Draw other views of the same examples."""
        return replace(self, windows=Views.of(self.draw(), len(self.table)))


@dataclass(frozen=True, kw_only=True)
class DrawnExamples(Examples):
    """Examples that a table makes of itself, by hiding some of its tokens.

    Attributes
    ----------
    draw : callable
        Returns a table of as many rows, with other tokens to predict.
    """

    draw: Callable[[], PerWordTable]

    @classmethod
    def of(cls, draw: Callable[[], PerWordTable]) -> DrawnExamples:
        """Make examples of all rows of a table, drawn now and again for each epoch."""
        table = draw()
        n_words = int(table.word_counts.sum())
        return cls(
            table=table,
            rows=np.arange(len(table)),
            # The table has the right ones, and the model computes the losses itself.
            targets=np.broadcast_to(np.float32(0), n_words),
            weights=np.broadcast_to(np.float32(1), n_words),
            draw=draw,
        )

    def renewed(self) -> DrawnExamples:
        """Draw other tokens to predict."""
        return self.of(self.draw)


BATCHES_PER_POOL = 16  # how many batches of shuffled texts are sorted by length at once


@dataclass(eq=False)
class ShuffledBatches:
    """The batches of each epoch: shuffled, yet of similar length within a batch.

    The texts are shuffled, cut into pools of 16 batches, sorted by length within each
    pool, cut into batches, and the batches are shuffled. Every epoch therefore sees
    every text once, in an order drawn anew, and which texts meet in a batch is random
    but for their length. Texts of equal length stay in shuffled order. Where one pool
    holds all texts, lengths are blurred by up to a quarter before sorting, or every
    epoch would have the same batches.

    Attributes
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

    lengths: np.ndarray
    batch_size: int
    rng: np.random.Generator
    by_length: bool = True

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the rows of each batch of one epoch."""
        order, size = self.rng.permutation(len(self.lengths)), self.batch_size
        if not (self.by_length and uses("batches_of_similar_length")):
            yield from np.split(order, range(size, len(order), size))
            return
        # Sorting all texts would make the same batches in every epoch; pools do not.
        pool_size = size * BATCHES_PER_POOL
        lengths = self.lengths
        if len(order) <= pool_size:
            lengths = lengths * self.rng.uniform(0.8, 1.25, len(order))
        batches = []
        for begin in range(0, len(order), pool_size):
            pool = order[begin : begin + pool_size]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            batches += np.split(pool, range(size, len(pool), size))
        for place in self.rng.permutation(len(batches)):
            yield batches[place]
