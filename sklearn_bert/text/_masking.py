"""Rows of tokens of which some are hidden, to be predicted from the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from sklearn_bert.text._table import TokenTable, blocks_of, ragged_indices
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.text._words import PerWordTable, WordTable

# Of the tokens to predict: the share that the mask hides, and that with a random token
# in its place. The others stand as they are.
MASKED, RANDOM = 0.8, 0.1
# Numbers that each token draws: its place in the order of choice, whether it is hidden
# or replaced, and by which token.
DRAWS = 3


@dataclass(frozen=True, kw_only=True)
class MaskedTable(WordTable):
    """Rows of tokens, which of them to predict, and what is right.

    Attributes
    ----------
    labels : ndarray of shape (n_words,), int64
        The token that stands, or stood, at each place.
    next_sentence_labels : ndarray of shape (n_rows,), int64, or None
        1 where the second half of a row follows the first; None: rows have no halves.
    """

    labels: np.ndarray
    next_sentence_labels: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Self:
        """Return a table of some of the rows."""
        table = super().take(rows)
        if table.next_sentence_labels is None:
            return table
        return replace(table, next_sentence_labels=table.next_sentence_labels[rows])

    def lay_out(
        self, rows: np.ndarray, pad_id: int, *, packed: bool, multiple: int | None
    ) -> dict[str, Any]:
        """Return what a `WordTable` does, and what is right: the labels."""
        batch = super().lay_out(rows, pad_id, packed=packed, multiple=multiple)
        batch["labels"] = self.labels[self.targets_of(rows)]
        if self.next_sentence_labels is not None:
            batch["next_sentence_labels"] = self.next_sentence_labels[rows]
        return batch

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Return how many tokens are to be predicted in each of some rows."""
        return self.word_counts[rows]


@dataclass(frozen=True, kw_only=True)
class MaskedRows(PerWordTable):
    """Rows of tokens, of which some are hidden when they are laid out.

    A row draws its random numbers from the key of the table and its own number, so that
    it hides the same tokens whenever, and beside whichever rows, it is laid out. Of a
    row only the number of tokens to predict is kept: a corpus in a file stays there.

    Attributes
    ----------
    masking : Masking
    key : ndarray of shape (2,), uint64
    numbers : ndarray of shape (n_rows,), int64
    next_sentence_labels : ndarray of shape (n_rows,), int64, or None
        As in `MaskedTable`.
    """

    masking: Masking
    key: np.ndarray
    numbers: np.ndarray
    next_sentence_labels: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Self:
        """Return a table of some of the rows, which hide what they hide here."""
        follow = self.next_sentence_labels
        return replace(
            super().take(rows),
            numbers=self.numbers[rows],
            next_sentence_labels=None if follow is None else follow[rows],
        )

    def drawn(self, rows: np.ndarray) -> MaskedTable:
        """Return some of the rows, with tokens hidden."""
        random = random_numbers(self.key, self.numbers[rows], self.lengths[rows])
        follow = self.next_sentence_labels
        return self.masking.hide(
            self.copied(rows), random, None if follow is None else follow[rows]
        )

    def lay_out(
        self, rows: np.ndarray, pad_id: int, *, packed: bool, multiple: int | None
    ) -> dict[str, Any]:
        """Return what a `MaskedTable` of these rows does."""
        drawn = self.drawn(rows)
        batch = drawn.lay_out(
            np.arange(len(rows)), pad_id, packed=packed, multiple=multiple
        )
        if packed and multiple is not None:  # what a graph captures holds for all rows
            batch["longest"] = max(int(self.lengths.max()), multiple)
        return batch


def random_numbers(
    key: np.ndarray, numbers: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """Draw three numbers for each token of some rows, the same for a key and a row.

    Returns
    -------
    ndarray of shape (3, n_tokens), float64
        From 0 to 1.
    """
    bits = np.random.Philox(key=key)
    rng, start = np.random.Generator(bits), bits.state
    drawn = []
    for row, length in zip(numbers.tolist(), lengths.tolist(), strict=True):
        # It counts in 256 bits, and each row begins far from all others.
        start["state"]["counter"][-1] = row
        bits.state = start
        drawn.append(rng.random((DRAWS, length)))
    return np.concatenate(drawn, axis=1)


class Masking:
    """Chooses tokens to predict, and hides them.

    Devlin et al. (2019, section 3.1 and appendix A.1): 15 % of the tokens of each row;
    8 of 10 of them are replaced by the mask, 1 by a random token, and 1 is kept.

    Parameters
    ----------
    tokenizer : TextTokenizer
        With a mask token.
    fraction : float
        Share of each row's tokens, special ones not counted; at least one of them.
    whole_words : bool
        Whether all pieces of a word are hidden together. A word that is longer than
        what may be hidden of its row is taken piece by piece.
    """

    def __init__(
        self, tokenizer: TextTokenizer, fraction: float, *, whole_words: bool = False
    ) -> None:
        mask_id = tokenizer.special_id("mask")
        assert mask_id is not None
        self.mask_id = mask_id
        self.fraction = fraction
        self.special = tokenizer.special_ids()
        self.ordinary = np.setdiff1d(tokenizer.known_ids(), self.special)
        self.begins_word = _begins_word(tokenizer) if whole_words else None

    def __call__(
        self,
        table: TokenTable,
        rng: np.random.Generator,
        next_sentence_labels: np.ndarray | None = None,
    ) -> MaskedRows:
        """Return the rows of a table with tokens to predict, which `rng` decides."""
        key = rng.integers(2**63, size=2, dtype=np.uint64)
        counts = [self._count(table, key, rows) for rows in blocks_of(table)]
        return MaskedRows.of(
            table,
            np.concatenate(counts),
            masking=self,
            key=key,
            numbers=np.arange(len(table)),
            next_sentence_labels=next_sentence_labels,
        )

    def hide(
        self, table: TokenTable, random: np.ndarray, follow: np.ndarray | None = None
    ) -> MaskedTable:
        """Hide tokens of all rows of a table.

        Parameters
        ----------
        table : TokenTable
            Row after row, as `TokenTable.copied` returns it.
        random : ndarray of shape (3, n_tokens), float64
            From 0 to 1.
        follow : ndarray of shape (n_rows,), int64, or None
            The `next_sentence_labels`.
        """
        places, row_of = self._choose(table, random[0])
        flat = table.starts[row_of] + places
        right = table.ids[flat]
        ids = table.ids.copy()
        # One draw decides what becomes of a token: masked, replaced, or left.
        fate, other = random[1:, flat]
        ids[flat[fate < MASKED]] = self.mask_id
        is_random = (fate >= MASKED) & (fate < MASKED + RANDOM)
        which = (other[is_random] * len(self.ordinary)).astype(np.int64)
        ids[flat[is_random]] = self.ordinary[which]
        return masked_table(replace(table, ids=ids), row_of, places, right, follow)

    def _count(
        self, table: TokenTable, key: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """Count the tokens to predict in each of some rows."""
        part = table.copied(rows)
        if self.begins_word is None:  # as many as may be
            row_of = np.repeat(np.arange(len(part)), part.lengths)
            is_ordinary = ~np.isin(part.ids, self.special)
            counts = np.bincount(row_of[is_ordinary], minlength=len(part))
            return np.minimum(counts, self._budget(counts))
        _, row_of = self._choose(part, random_numbers(key, rows, part.lengths)[0])
        return np.bincount(row_of, minlength=len(part))

    def _budget(self, counts: np.ndarray) -> np.ndarray:
        """Return how many of so many ordinary tokens of a row may be hidden."""
        return np.maximum(np.rint(counts * self.fraction), 1).astype(np.int64)

    def _choose(
        self, table: TokenTable, random: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose tokens, and return their places within their rows, and those rows."""
        row_of = np.repeat(np.arange(len(table)), table.lengths)
        places = np.arange(len(row_of)) - np.repeat(table.starts, table.lengths)
        can_be = ~np.isin(table.ids, self.special)
        row_of, places, ids = row_of[can_be], places[can_be], table.ids[can_be]
        counts = np.bincount(row_of, minlength=len(table))
        budget = self._budget(counts)
        unit = self._units(row_of, places, ids, budget)
        # The pieces of a unit draw one number, so that sorting keeps them together.
        drawn = random[can_be][unit]
        order = np.lexsort((places, unit, drawn, row_of))
        # Units are taken in the order drawn, while all of a unit fits into the budget.
        sizes = np.bincount(unit, minlength=len(unit))[unit[order]]
        first_in_row = np.cumsum(counts) - counts
        rank = np.arange(len(order)) - first_in_row[row_of[order]]
        is_first = np.diff(unit[order], prepend=-1) != 0
        begin = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
        rank_of_unit = rank[begin] if len(order) else rank
        chosen = order[rank_of_unit + sizes <= budget[row_of[order]]]
        chosen = np.sort(chosen)
        return places[chosen], row_of[chosen]

    def _units(
        self,
        row_of: np.ndarray,
        places: np.ndarray,
        ids: np.ndarray,
        budget: np.ndarray,
    ) -> np.ndarray:
        """Give one number to tokens that are masked together: alone, or with a word."""
        each = np.arange(len(ids))
        if self.begins_word is None or not len(ids):
            return each
        # A piece goes on only directly behind another one of its row.
        goes_on = ~self.begins_word[ids]
        goes_on &= np.diff(places, prepend=-2) == 1
        goes_on &= np.diff(row_of, prepend=-1) == 0
        word = np.cumsum(~goes_on) - 1
        is_long = np.bincount(word)[word] > budget[row_of]
        first = np.flatnonzero(~goes_on)[word]
        return np.where(is_long, each, first)


def masked_table(
    table: TokenTable,
    row_of: np.ndarray,
    places: np.ndarray,
    right: np.ndarray,
    next_sentence_labels: np.ndarray | None = None,
) -> MaskedTable:
    """Return a table of which some tokens are to be predicted.

    These are those at `places` of the rows `row_of`, in order; `right` are their ids.
    """
    none = np.zeros(0, dtype=np.int64)
    return MaskedTable.of(
        table,
        np.bincount(row_of, minlength=len(table)),
        word_positions=places,
        row_starts=none,
        row_counts=none,
        labels=right.astype(np.int64),
        next_sentence_labels=next_sentence_labels,
    )


def find_masks(tokenizer: TextTokenizer, table: TokenTable) -> MaskedTable:
    """Return a table whose tokens to predict are the masks that stand in the texts."""
    flat = ragged_indices(table.starts, table.lengths)
    is_mask = table.ids[flat] == tokenizer.special_id("mask")
    row_of = np.repeat(np.arange(len(table)), table.lengths)[is_mask]
    places = flat[is_mask] - table.starts[row_of]
    return masked_table(table, row_of, places, table.ids[flat[is_mask]])


def mask_each_token(
    tokenizer: TextTokenizer, table: TokenTable
) -> tuple[MaskedTable, np.ndarray]:
    """Mask every token in a row of its own, and return the text of each row as well."""
    mask_id = tokenizer.special_id("mask")
    special = tokenizer.special_ids()
    rows, places, right, text_of_row = [], [], [], []
    for text in range(len(table)):
        start = table.starts[text]
        ids = table.ids[start : start + table.lengths[text]]
        for place in np.flatnonzero(~np.isin(ids, special)):
            row = ids.copy()
            row[place] = mask_id
            rows.append(row)
            places.append(place)
            right.append(ids[place])
            text_of_row.append(text)
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    hidden = TokenTable(
        ids=np.concatenate([*rows, np.zeros(0, dtype=np.int32)]),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        whole_lengths=lengths,
        type_ids=None,
    )
    masked = masked_table(
        hidden, np.arange(len(rows)), np.array(places), np.array(right)
    )
    return masked, np.array(text_of_row, dtype=np.int64)


def causal_targets(table: TokenTable, beginnings: np.ndarray) -> MaskedTable:
    """Return a table in which each token of a row is predicted from those before it.

    The first is not, nor are `beginnings`, the special tokens before a text.
    """
    counts = np.maximum(table.lengths - 1, 0)
    row_of = np.repeat(np.arange(len(table)), counts)
    places = np.arange(len(row_of)) - np.repeat(np.cumsum(counts) - counts, counts)
    right = table.ids[table.starts[row_of] + places + 1]
    can_be = ~np.isin(right, beginnings)
    return masked_table(table, row_of[can_be], places[can_be], right[can_be])


def _begins_word(tokenizer: TextTokenizer) -> np.ndarray:
    """Return, for each piece of the vocabulary, whether a word begins with it.

    WordPiece marks pieces that go on ("##"); byte-level and SentencePiece tokenizers
    those that begin (with a space, written as one of two letters).
    """
    vocabulary = tokenizer.backend.get_vocab()
    begins = np.ones(max(vocabulary.values()) + 1, dtype=bool)
    marks_others = any(piece.startswith("##") for piece in vocabulary)
    for piece, place in vocabulary.items():
        if marks_others:
            begins[place] = not piece.startswith("##")
        else:
            begins[place] = piece.startswith(("\u0120", "\u2581"))
    return begins
