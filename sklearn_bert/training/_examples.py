"""What a net is trained on: tokens, targets and their weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sklearn_bert.text import TokenTable, Windows, WordTable, flat_places
from sklearn_bert.training._features import FeatureTable


@dataclass(frozen=True)
class Examples:
    """Some texts of a token table, with their targets and the weights of those.

    Attributes
    ----------
    table : TokenTable or FeatureTable
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

    table: TokenTable | FeatureTable
    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    windows: Windows | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def lengths(self) -> np.ndarray:
        """Tokens of each example, over all its windows."""
        if self.windows is None:
            return self.table.lengths[self.rows]
        windows = self.windows.take(self.rows)
        begins = np.cumsum(windows.counts) - windows.counts
        return np.add.reduceat(self.table.lengths[windows.rows()], begins)

    def targets_of(self, rows: np.ndarray) -> np.ndarray:
        """Where the targets of some texts lie."""
        if isinstance(self.table, WordTable):
            table = self.table
            return flat_places(table.word_starts[rows], table.word_counts[rows])
        return rows

    def counts(self) -> np.ndarray:
        """How many targets belong together: words of a sentence, in all its rows."""
        if not isinstance(self.table, WordTable):
            return np.ones(len(self.rows), dtype=np.int64)
        sentences = self.table.sentence_of_row()[self.rows]
        begins = np.flatnonzero(np.diff(sentences, prepend=-1))
        return np.add.reduceat(self.table.word_counts[self.rows], begins)

    def parts(self, rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
        """Cut some texts where their windows would be more than `size`."""
        if self.windows is None:
            counts = np.ones(len(rows), dtype=np.int64)
        else:
            counts = self.windows.counts[rows]
        begin, n_windows = 0, 0
        for place, count in enumerate(counts.tolist()):
            if place > begin and n_windows + count > size:
                yield rows[begin:place]
                begin, n_windows = place, 0
            n_windows += count
        yield rows[begin:]
