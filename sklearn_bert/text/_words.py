"""Sentences of words -> token ids, and where among them each word begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from sklearn_bert.text._columns import excerpt, is_missing, rows_of_column
from sklearn_bert.text._input import mend_surrogates
from sklearn_bert.text._table import TokenTable, ragged_indices
from sklearn_bert.text._tokenizer import TextTokenizer, encode_texts


def check_words(X: Any, name: str = "X") -> list[list[str]]:
    """Return the sentences in `X` as lists of words, or say what is wrong where.

    Parameters
    ----------
    X : sequence of sequences of str
        A list, tuple, array, or a pandas, polars or Arrow column of lists.

    Raises
    ------
    TypeError
        Where X is no such sequence, a sentence is a single text, or a word no str.
    ValueError
        Where X is empty, or a sentence or word is missing.
    """
    return check_lists(X, name, of="word", remedy="Split it first, e.g. text.split().")


def check_lists(
    X: Any, name: str, *, of: str, remedy: str, missing: str = "error"
) -> list[list[str]]:
    """Return the rows of `X` as lists of str; `of` says what these are.

    Raises
    ------
    TypeError, ValueError
        As `check_words`; `remedy` is what to do with a row that is a single text.
    """
    found = []
    for i, row in enumerate(rows_of_column(X, name)):
        where = f"{name}[{i}]"
        if missing == "empty":
            row = [] if is_missing(row) else row
            if isinstance(row, (list, tuple)):
                row = ["" if is_missing(item) else item for item in row]
        _check_row(row, where, of, remedy)
        found.append([_check_item(x, f"{where}[{j}]", of) for j, x in enumerate(row)])
    return found


def _check_row(row: Any, where: str, of: str, remedy: str) -> None:
    if is_missing(row):
        raise ValueError(
            f"{where} is {row!r}; every row must be a list of {of}s. Drop such rows, "
            f"or make them [], which has no {of}s."
        )
    if isinstance(row, (str, bytes)):
        raise TypeError(
            f"{where} is a single {type(row).__name__} ({excerpt(row)}); expected a "
            f"list of {of}s. {remedy}"
        )
    if not isinstance(row, (Sequence, np.ndarray)):
        raise TypeError(
            f"{where} is {excerpt(row)} of type {type(row).__name__}; expected a list "
            f"of {of}s."
        )


def _check_item(item: Any, where: str, of: str) -> str:
    if is_missing(item):
        raise ValueError(f"{where} is {item!r}; every {of} must be a str.")
    if not isinstance(item, str):
        raise TypeError(
            f"{where} is {excerpt(item)} of type {type(item).__name__}; every {of} "
            "must be a str."
        )
    return mend_surrogates(str.__str__(item))


@dataclass(frozen=True, kw_only=True)
class PerWordTable(TokenTable):
    """Rows of tokens of which a model gives an output for each word.

    Attributes
    ----------
    word_starts : ndarray of shape (n_rows,), int64
        The first word of each row, among all words.
    word_counts : ndarray of shape (n_rows,), int64
    """

    word_starts: np.ndarray
    word_counts: np.ndarray

    has_one_output_per_row: ClassVar[bool] = False

    @classmethod
    def of(cls, table: TokenTable, counts: np.ndarray, **others: Any) -> Self:
        """Return a table with the rows of another, of so many words each."""
        return cls(
            ids=table.ids,
            starts=table.starts,
            lengths=table.lengths,
            whole_lengths=table.whole_lengths,
            type_ids=table.type_ids,
            word_starts=np.cumsum(counts) - counts,
            word_counts=counts,
            **others,
        )

    def take(self, rows: np.ndarray) -> Self:
        """Return a table of some of the rows."""
        words = {
            "word_starts": self.word_starts[rows],
            "word_counts": self.word_counts[rows],
        }
        return replace(super().take(rows), **words)

    def distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """Return every row: equal sentences have rows of their own."""
        rows = np.arange(len(self))
        return rows, rows

    def n_outputs(self, rows: np.ndarray) -> np.ndarray:
        """Return how many words each of some rows has."""
        return self.word_counts[rows]

    def targets_of(self, rows: np.ndarray) -> np.ndarray:
        """Return where the words of some rows lie among all words."""
        return ragged_indices(self.word_starts[rows], self.word_counts[rows])


@dataclass(frozen=True, kw_only=True)
class WordTable(PerWordTable):
    """Sentences as rows of tokens, and where their words begin.

    A sentence that is longer than the model has several rows, which overlap; each of
    its words belongs to one of them. The words of all rows follow each other as they
    do in the sentences.

    Attributes
    ----------
    word_positions : ndarray of shape (n_words,), int64
        The first token of each word, counted within its row.
    row_starts : ndarray of shape (n_sentences,), int64
        The first row of each sentence.
    row_counts : ndarray of shape (n_sentences,), int64
        0 for a sentence without words.
    """

    word_positions: np.ndarray
    row_starts: np.ndarray
    row_counts: np.ndarray

    def rows_of(self, texts: np.ndarray) -> np.ndarray:
        """Return the rows of the table that hold these sentences."""
        return ragged_indices(self.row_starts[texts], self.row_counts[texts])

    def sentence_of_row(self) -> np.ndarray:
        """Return the number of each row's sentence."""
        return np.repeat(np.arange(len(self.row_counts)), self.row_counts)

    def take(self, rows: np.ndarray) -> Self:
        """Return a table of some of the rows, which no longer knows of sentences."""
        none = np.zeros(0, dtype=np.int64)
        return replace(super().take(rows), row_starts=none, row_counts=none)

    def lay_out(
        self, rows: np.ndarray, pad_id: int, *, packed: bool, multiple: int | None
    ) -> dict[str, Any]:
        """Return what a `TokenTable` does, and `word_positions`.

        These are the first tokens of all words, among all tokens that are laid out.
        """
        batch = super().lay_out(rows, pad_id, packed=packed, multiple=multiple)
        lengths, counts = self.lengths[rows], self.word_counts[rows]
        if packed:
            begins = np.cumsum(lengths) - lengths
        else:
            begins = np.arange(len(rows)) * lengths.max()
        # Positions count within a row: add where the row begins in what is laid out.
        words = self.word_positions[self.targets_of(rows)]
        batch["word_positions"] = np.repeat(begins, counts) + words
        return batch

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Return how many words each sentence has, in all of its rows."""
        # Rows of a sentence follow each other, also in a part of the table.
        sentences = self.sentence_of_row()[rows]
        begins = np.flatnonzero(np.diff(sentences, prepend=-1))
        return np.add.reduceat(self.word_counts[rows], begins)


def tokenize_words(tokenizer: TextTokenizer, sentences: list[list[str]]) -> WordTable:
    """Lay out the pieces of all words; long sentences in windows that overlap by half.

    Each word is read in one window, with at least a quarter of it on either side.

    Parameters
    ----------
    tokenizer : TextTokenizer
    sentences : list of list of str
        With at least one word in all.
    """
    pieces = _pieces(tokenizer, sentences)
    rows: list[np.ndarray] = []
    places: list[np.ndarray] = []
    row_counts = np.zeros(len(sentences), dtype=np.int64)
    for i, sentence in enumerate(sentences):
        # It has no row, for a model cannot read an empty one.
        if not sentence:
            continue
        words = [pieces[word] for word in sentence]
        for row, starts in _windows(words, tokenizer):
            rows.append(row)
            places.append(starts)
            row_counts[i] += 1
    ids = np.concatenate(rows)
    tokenizer.check_ids(ids)
    lengths = np.array([len(row) for row in rows])
    counts = np.array([len(starts) for starts in places])
    return WordTable(
        ids=ids,
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        whole_lengths=lengths,
        type_ids=None,
        word_starts=np.cumsum(counts) - counts,
        word_counts=counts,
        word_positions=np.concatenate(places),
        row_starts=np.cumsum(row_counts) - row_counts,
        row_counts=row_counts,
    )


def words_of_rows(
    tokenizer: TextTokenizer, table: WordTable, sentences: list[list[str]]
) -> np.ndarray:
    """Return for each token of a table the word of its sentence; -1: a special one."""
    pieces = _pieces(tokenizer, sentences)
    frame = tokenizer.special_tokens()
    n_words = np.array([len(sentence) for sentence in sentences])
    first_words = np.cumsum(n_words) - n_words
    found = np.full(len(table.ids), -1, dtype=np.int64)
    for row, sentence in enumerate(table.sentence_of_row()):
        lengths = np.array([len(pieces[word]) for word in sentences[sentence]])
        word_of_token = np.repeat(np.arange(len(lengths)), lengths)
        # A word whose tag the row reads: where it begins in the row and the sentence.
        word = table.word_starts[row] - first_words[sentence]
        in_row = table.word_positions[table.word_starts[row]] - frame.n_before
        begin = lengths[:word].sum() - in_row
        n_tokens = table.lengths[row] - frame.n_special
        start = table.starts[row] + frame.n_before
        found[start : start + n_tokens] = word_of_token[begin : begin + n_tokens]
    return found


def _pieces(
    tokenizer: TextTokenizer, sentences: list[list[str]]
) -> dict[str, np.ndarray]:
    """Return the token ids of each distinct word, at least one.

    A word that a tokenizer has no piece for (a control character, say) stands as an
    unknown one. One that alone is longer than a row is cut: its first piece, which
    carries the tag, stays.
    """
    words = list(dict.fromkeys(word for sentence in sentences for word in sentence))
    encodings = encode_texts(
        tokenizer.for_words,
        [[word] for word in words],
        is_pretokenized=True,
        add_special_tokens=False,
    )
    nothing = [tokenizer.unknown_id]
    room = tokenizer.max_length - tokenizer.special_tokens().n_special
    return {
        word: np.array((encoding.ids or nothing)[:room], dtype=np.int32)
        for word, encoding in zip(words, encodings, strict=True)
    }


def _windows(
    words: list[np.ndarray], tokenizer: TextTokenizer
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows of a sentence, and where the words begin that each row reads."""
    frame = tokenizer.special_tokens()
    room = tokenizer.max_length - frame.n_special
    lengths = np.array([len(word) for word in words])
    ends = np.cumsum(lengths)
    starts = ends - lengths
    first = frame.n_before
    if ends[-1] <= room:
        return [(frame(np.concatenate(words))[0], first + starts)]
    found = []
    n_read = 0
    flat_ids = np.concatenate(words)
    while n_read < len(words):
        # A quarter of a window before the first word that is still to be read, unless
        # that word would not fit behind it, and in all as many words as there is room.
        quarter = max(0, starts[n_read] - room // 4)
        begin = int(np.searchsorted(starts, quarter, side="right")) - 1
        if ends[n_read] > starts[begin] + room:
            begin = n_read
        end = int(np.searchsorted(ends, starts[begin] + room, side="right"))
        stop = end
        if end < len(words):
            stop = int(np.searchsorted(ends, ends[end - 1] - room // 4, side="right"))
            stop = max(stop, n_read + 1)
        row = flat_ids[starts[begin] : ends[end - 1]]
        found.append((frame(row)[0], first + starts[n_read:stop] - starts[begin]))
        n_read = stop
    return found
