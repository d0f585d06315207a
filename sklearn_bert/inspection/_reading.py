"""What a model reads of X, row by row, and which words its tokens belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_bert.text._input import Texts, check_texts
from sklearn_bert.text._reports import text_reports, warn_of
from sklearn_bert.text._spans import Words, words_of_tokens
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.text._words import check_words, tokenize_words, words_of_rows


@dataclass(frozen=True)
class Reading:
    """Texts as a model reads them; each has one row of tokens, or one per window.

    Attributes
    ----------
    whole : TokenTable
        The texts, as a net takes them.
    table : TokenTable
        Their rows.
    row_starts, row_counts : ndarray of shape (n_texts,), int64
        The rows of each text.
    shares : ndarray of shape (n_rows,), float32
        The weight of a row in its text.
    word_of_token : ndarray of shape (n_tokens,), int64
        Beside `table.ids`: the word of its text that a token belongs to, or -1.
    words : list of n_texts Words
    texts : list of n_texts tuples of str
        Their halves, of which the words are characters.
    n_sides : {1, 2}
        2: the second half of the texts are the other sides of the first half, each read
        alone.
    """

    whole: TokenTable
    table: TokenTable
    row_starts: np.ndarray
    row_counts: np.ndarray
    shares: np.ndarray
    word_of_token: np.ndarray
    words: list[Words]
    texts: list[tuple[str, ...]]
    n_sides: int = 1

    def __len__(self) -> int:
        return len(self.words)

    @property
    def n_rows_of_X(self) -> int:
        """How many rows X has."""
        return len(self) // self.n_sides

    def place(self, text: int) -> tuple[int, int]:
        """Return the row of X of a text, and which side of it the text is."""
        return text % self.n_rows_of_X, text // self.n_rows_of_X

    def longest_rows(self) -> np.ndarray:
        """Return for each text how many tokens its rows take, padding included."""
        return np.array(
            [
                count * self.table.lengths[start : start + count].max(initial=0)
                for start, count in zip(self.row_starts, self.row_counts, strict=True)
            ]
        )


def read_texts(tokenizer: TextTokenizer, texts: Texts, n_sides: int = 1) -> Reading:
    """Tokenise texts or pairs, and find their words."""
    distinct, row_of = texts.distinct()
    table = tokenizer(distinct)
    warn_of(text_reports(tokenizer, table, row_of))
    words, of_token = words_of_tokens(tokenizer, distinct)
    rows, windows = table.by_window()
    if windows is None:
        starts, counts = np.arange(len(distinct)), np.ones(len(distinct), np.int64)
        shares = np.ones(len(distinct), dtype=np.float32)
    else:
        starts, counts, shares = windows.starts, windows.counts, windows.shares
    # The distinct texts lie one after the other in `ids`.
    word_of_token = np.full(len(table.ids), -1, dtype=np.int64)
    for begin, n_tokens, part in zip(
        table.starts, table.lengths, of_token, strict=True
    ):
        word_of_token[begin : begin + n_tokens] = part
    sides = [row if isinstance(row, tuple) else (row,) for row in texts.rows()]
    return Reading(
        whole=table.take(row_of),
        table=rows,
        row_starts=starts[row_of],
        row_counts=counts[row_of],
        shares=shares,
        word_of_token=word_of_token,
        words=[words[i] for i in row_of],
        texts=sides,
        n_sides=n_sides,
    )


def read_pairs(tokenizer: TextTokenizer, X: Any, missing: str) -> Reading:
    """Read both sides of pairs as texts of their own: first all first ones."""
    texts = check_texts(X, missing=missing)
    if texts.second is None:
        raise ValueError(
            "X holds single texts; a BertEmbedder is explained by the similarity of "
            "two texts. Pass pairs: two columns, or a list of 2-tuples."
        )
    sides = Texts(texts.first + texts.second, None, 1, is_2d=False)
    return read_texts(tokenizer, sides, n_sides=2)


def read_sentences(tokenizer: TextTokenizer, X: Any) -> Reading:
    """Read lists of words; their characters are those of the words joined by spaces."""
    sentences = check_words(X)
    if not any(sentences):
        raise ValueError(
            f"none of the {len(sentences)} sentences in X has a word; nothing could be "
            "explained."
        )
    table = tokenize_words(tokenizer, sentences)
    warn_of(text_reports(tokenizer, table))
    words = []
    for sentence in sentences:
        lengths = np.array([len(word) for word in sentence], dtype=np.int64)
        starts = np.cumsum(lengths + 1) - lengths - 1
        words.append(Words(np.zeros_like(lengths), starts, starts + lengths))
    return Reading(
        whole=table,
        table=table,
        row_starts=table.row_starts,
        row_counts=table.row_counts,
        shares=np.ones(len(table), dtype=np.float32),
        word_of_token=words_of_rows(tokenizer, table, sentences),
        words=words,
        texts=[(" ".join(sentence),) for sentence in sentences],
    )
