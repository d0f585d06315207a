"""Token ids of many texts in one flat array."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from sklearn_bert.text._long import Windows


@dataclass(frozen=True)
class TokenTable:
    """The token ids of many texts in one flat array; equal texts share their ids.

    Text `i` is `ids[starts[i] : starts[i] + lengths[i]]`; where texts are read in
    windows, these are the ids of all its windows, which `by_window` takes apart.

    Attributes
    ----------
    ids : ndarray of shape (n_tokens,), int32
    starts : ndarray of shape (n_texts,), int64
    lengths : ndarray of shape (n_texts,), int64
        In tokens, special ones included, after cutting.
    whole_lengths : ndarray of shape (n_texts,), int64
        In tokens, before cutting.
    type_ids : ndarray of shape (n_tokens,), uint8, or None
        0 for the first half of a pair and 1 for the second; None for single texts.
    is_cut : ndarray of shape (n_texts,), bool, or None
        Whether tokens of a text are left out; None: where it is longer than `lengths`.
    windows : Windows or None
        None: a text is read as it is.
    window_lengths : ndarray of shape (n_windows,), int64, or None
        In tokens, special ones included.
    """

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    whole_lengths: np.ndarray
    type_ids: np.ndarray | None
    is_cut: np.ndarray | None = None
    windows: Windows | None = None
    window_lengths: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def rows_of(self, texts: np.ndarray) -> np.ndarray:
        """The rows of the table that hold these texts: one for each."""
        return texts

    def by_window(self) -> tuple[TokenTable, Windows | None]:
        """A table of windows, and which of its rows make up each text.

        The table itself, and None, where texts are not read in windows.
        """
        if self.windows is None:
            return self, None
        assert self.window_lengths is not None
        lengths = self.window_lengths
        all_windows = replace(
            self,
            starts=np.cumsum(lengths) - lengths,
            lengths=lengths,
            whole_lengths=lengths,
            is_cut=None,
            windows=None,
            window_lengths=None,
        )
        return all_windows, self.windows

    def take(self, rows: np.ndarray) -> TokenTable:
        """A table of some of the texts; the ids are shared, not copied."""
        return replace(
            self,
            starts=self.starts[rows],
            lengths=self.lengths[rows],
            whole_lengths=self.whole_lengths[rows],
            is_cut=None if self.is_cut is None else self.is_cut[rows],
            windows=None if self.windows is None else self.windows.take(rows),
        )

    def distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows that hold each text once, and for every row its place among them."""
        return distinct_rows(self.starts)

    def vocabulary(self) -> np.ndarray:
        """The distinct ids of the texts, sorted."""
        return np.unique(self.ids[ragged_indices(self.starts, self.lengths)])

    def content(self, row: int) -> bytes:
        """A hash of one text's ids and type ids: of what a model makes its answer."""
        part = slice(self.starts[row], self.starts[row] + self.lengths[row])
        digest = blake2b(self.ids[part].tobytes(), digest_size=16)
        if self.type_ids is not None:
            digest.update(b"types" + self.type_ids[part].tobytes())
        return digest.digest()


def distinct_rows(starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that hold each start once, and for every row its place among them."""
    _, rows, inverse = np.unique(starts, return_index=True, return_inverse=True)
    return rows, inverse


def ragged_indices(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Where in a flat array the texts lie that begin at `starts`, one after the other.

    Returns
    -------
    int64 ndarray of shape (sum of lengths,)
    """
    begins = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(starts - begins, lengths)
