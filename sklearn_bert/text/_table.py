"""Token ids of many texts in one flat array, and some of them laid out in a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, ClassVar, Self

import numpy as np

from sklearn_bert.text._long import Windows

TOKENS_PER_BLOCK = 2**18  # of a table that may be larger than memory


class Table:
    """Base of tables: many rows of different lengths in one flat array.

    Row `i` is what lies from `starts[i]` to `starts[i] + lengths[i]`; equal texts share
    it. A model gives one output per row, and there is one target for it, unless a table
    says otherwise.
    """

    starts: np.ndarray
    lengths: np.ndarray
    has_one_output_per_row: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, rows: np.ndarray) -> Self:
        """Return a table of some of the rows; what they hold is shared, not copied."""
        raise NotImplementedError

    def lay_out(
        self, rows: np.ndarray, pad_id: int, *, packed: bool, multiple: int | None
    ) -> dict[str, Any]:
        """Return the arguments of a model for some rows, as arrays on the CPU.

        Parameters
        ----------
        rows : ndarray of int
        pad_id : int
        packed : bool
            In one line without padding; False: as the rows of a rectangle.
        multiple : int or None
            What the number of tokens in a line is lengthened to a multiple of, by a
            text of padding that comes last; None: it is not.
        """
        raise NotImplementedError

    def distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """Return rows that hold each text once, and each row's place among them."""
        # Equal texts share their ids, so where they begin tells them apart.
        _, rows, inverse = np.unique(
            self.starts, return_index=True, return_inverse=True
        )
        return rows, inverse

    def n_outputs(self, rows: np.ndarray) -> np.ndarray:
        """Return how many outputs a model gives for each of some rows."""
        return np.ones(len(rows), dtype=np.int64)

    def targets_of(self, rows: np.ndarray) -> np.ndarray:
        """Return where the targets of some rows lie among all targets."""
        return rows

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Return how many targets of some rows belong together, text by text."""
        return np.ones(len(rows), dtype=np.int64)


@dataclass(frozen=True)
class TokenTable(Table):
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

    def rows_of(self, texts: np.ndarray) -> np.ndarray:
        """Return the rows of the table that hold these texts: one for each."""
        return texts

    def by_window(self) -> tuple[TokenTable, Windows | None]:
        """Return a table of windows, and which of its rows make up each text.

        It is the table itself, and None, where texts are not read in windows.
        """
        if self.windows is None:
            return self, None
        assert self.window_lengths is not None
        # The windows lie one after the other in `ids`: only their borders are new.
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

    def take(self, rows: np.ndarray) -> Self:
        """Return a table of some of the texts; the ids are shared, not copied."""
        return replace(
            self,
            starts=self.starts[rows],
            lengths=self.lengths[rows],
            whole_lengths=self.whole_lengths[rows],
            is_cut=None if self.is_cut is None else self.is_cut[rows],
            windows=None if self.windows is None else self.windows.take(rows),
        )

    def copied(self, rows: np.ndarray) -> TokenTable:
        """Return a table of the ids of some rows, one row after the other."""
        lengths = self.lengths[rows]
        where = ragged_indices(self.starts[rows], lengths)
        return TokenTable(
            ids=self.ids[where],
            starts=np.cumsum(lengths) - lengths,
            lengths=lengths,
            whole_lengths=self.whole_lengths[rows],
            type_ids=None if self.type_ids is None else self.type_ids[where],
        )

    def lay_out(
        self, rows: np.ndarray, pad_id: int, *, packed: bool, multiple: int | None
    ) -> dict[str, Any]:
        """Return ids, and positions, types or a mask where they are needed.

        In one line `longest` comes with them, the tokens of the longest text.
        """
        if not packed:
            return pad(self, rows, pad_id)
        longest = int(self.lengths[rows].max())
        if multiple is not None:  # what a graph captures must hold for every batch
            longest = max(int(self.lengths.max()), multiple)
        return {**pack(self, rows, pad_id, multiple), "longest": longest}

    def vocabulary(self) -> np.ndarray:
        """Return the distinct ids of the texts, sorted."""
        return np.unique(self.ids[ragged_indices(self.starts, self.lengths)])

    def content(self, row: int) -> bytes:
        """Hash the ids and type ids of a text: all that a model's answer depends on."""
        part = slice(self.starts[row], self.starts[row] + self.lengths[row])
        digest = blake2b(self.ids[part].tobytes(), digest_size=16)
        # A name between them: ids and types of another text must not read alike.
        if self.type_ids is not None:
            digest.update(b"types" + self.type_ids[part].tobytes())
        return digest.digest()


def blocks_of(table: Table) -> Iterator[np.ndarray]:
    """Yield the rows of a table, so many at a time that they are about 2**18 tokens."""
    last = np.cumsum(table.lengths) // TOKENS_PER_BLOCK
    yield from np.split(np.arange(len(table)), np.flatnonzero(np.diff(last)) + 1)


def ragged_indices(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return where texts lie in a flat array that begin at `starts`, one after another.

    Returns
    -------
    int64 ndarray of shape (sum of lengths,)
    """
    begins = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(starts - begins, lengths)


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


def parts_of_similar_length(lengths: np.ndarray, pass_tokens: int) -> list[np.ndarray]:
    """Divide rows so that they have the least padding, for what a part costs by itself.

    Parameters
    ----------
    lengths : ndarray of shape (n_texts,)
        In tokens.
    pass_tokens : int
        Tokens of padding that one part less is worth.

    Returns
    -------
    list of ndarray
        Numbers of rows, the longest rows first.
    """
    order = np.argsort(lengths, kind="stable")
    widths = lengths[order]
    # The least cost of the rows before `end` follows from that of fewer rows: the last
    # part begins somewhere, and is as wide as its last row.
    least = np.zeros(len(order) + 1)
    begins = np.zeros(len(order) + 1, dtype=np.int64)
    for end in range(1, len(order) + 1):
        costs = least[:end] + widths[end - 1] * np.arange(end, 0, -1) + pass_tokens
        begins[end] = costs.argmin()
        least[end] = costs[begins[end]]
    parts, end = [], len(order)
    while end > 0:
        parts.append(order[begins[end] : end])
        end = begins[end]
    return parts


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


def pad(table: TokenTable, rows: np.ndarray, pad_id: int) -> dict[str, np.ndarray]:
    """Lay out some texts of a table as the rows of a rectangle.

    Returns
    -------
    dict
        `input_ids`, int64 of shape (n_rows, n_tokens); `attention_mask`, bool, only if
        there is padding; `token_type_ids`, int64, only for pairs.
    """
    if len(rows) == 1:  # without padding: a slice
        row = rows[0]
        part = slice(table.starts[row], table.starts[row] + table.lengths[row])
        sides = {"input_ids": table.ids, "token_type_ids": table.type_ids}
        return {
            name: side[None, part].astype(np.int64)
            for name, side in sides.items()
            if side is not None
        }
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
    table: TokenTable, rows: np.ndarray, pad_id: int, multiple: int | None = None
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
