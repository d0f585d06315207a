"""The caller's documents -> sentences -> rows of tokens for pretraining.

Texts are packed, laid out one by one, or in pairs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sklearn_bert.text._input import Texts
from sklearn_bert.text._long import token_budgets
from sklearn_bert.text._stream import stored_ids
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer, encode_texts
from sklearn_bert.text._words import check_lists

# A sentence ends at a full stop or the like before a space, at those of Chinese and
# Japanese, which no space follows, and at line breaks.
SENTENCE_ENDS = re.compile(
    r"(?<=[.!?\u2026\u061f\u0964])\s+|(?<=[\u3002\uff01\uff1f])|\n+"
)


def check_documents(
    X: Any, name: str = "X", *, missing: str = "error"
) -> list[list[str]]:
    """Return documents as lists of sentences, or raise an error that names the row.

    Parameters
    ----------
    missing : {"error", "empty"}
        Whether missing documents and sentences are an error or are read as empty.

    Raises
    ------
    TypeError, ValueError
        If a document is no list, or a sentence no str.
    """
    remedy = "Where one row is a list of sentences, all must be: make it [text]."
    return check_lists(X, name, of="sentence", remedy=remedy, missing=missing)


def check_single_texts(texts: Texts) -> None:
    """Raise ValueError if X holds pairs of texts."""
    if texts.second is not None:
        raise ValueError(
            "X has two columns (or tuples of two texts); expected one column of texts. "
            "Hand in the columns one after the other, or join them with "
            "template='{first_column} {other_column}'."
        )


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences, at punctuation and line breaks."""
    return [part for part in SENTENCE_ENDS.split(text) if part.strip()]


@dataclass(frozen=True)
class Corpus:
    """The tokens of many texts, without special tokens, in one flat array.

    Texts without any token are left out.

    Attributes
    ----------
    ids : ndarray of shape (n_tokens,), int32
    starts, lengths : ndarray of shape (n_texts,), int64
    document : ndarray of shape (n_texts,), int64
        The document of each text, which is one of its sentences.
    """

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    document: np.ndarray

    def text(self, place: int) -> np.ndarray:
        """Return the ids of one text."""
        start = self.starts[place]
        return self.ids[start : start + self.lengths[place]]


def read_corpus(tokenizer: TextTokenizer, documents: list[list[str]]) -> Corpus:
    """Tokenise the sentences of all documents."""
    sentences = [sentence for document in documents for sentence in document]
    encodings = encode_texts(tokenizer.backend, sentences, add_special_tokens=False)
    parts = [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
    ids = np.concatenate([*parts, np.zeros(0, dtype=np.int32)])
    # Masking puts this id into the rows, so the model must have an embedding for it.
    mask_id = tokenizer.special_id("mask")
    tokenizer.check_ids(ids if mask_id is None else np.append(ids, mask_id))
    lengths = np.array([len(part) for part in parts], dtype=np.int64)
    sizes = [len(document) for document in documents]
    has_tokens = lengths > 0
    lengths = lengths[has_tokens]
    return Corpus(
        ids=ids,
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        document=np.repeat(np.arange(len(documents)), sizes)[has_tokens],
    )


def text_rows(
    tokenizer: TextTokenizer, corpora: Iterable[Corpus], *, in_file: bool = False
) -> TokenTable:
    """Lay out one row per text, and more for a text that is longer than a row.

    Parameters
    ----------
    tokenizer : TextTokenizer
    corpora : iterable of Corpus
        Texts in sequence.
    in_file : bool
        Whether the tokens are kept in a temporary file instead of in memory.
    """
    special = tokenizer.special_tokens()
    budget = tokenizer.max_length - special.n_special
    return _table_of(
        (
            [
                special(text[begin : begin + budget])[0]
                for text in map(corpus.text, range(len(corpus.lengths)))
                for begin in range(0, len(text), budget)
            ]
            for corpus in corpora
        ),
        in_file,
    )


def packed_rows(
    tokenizer: TextTokenizer, corpora: Iterable[Corpus], *, in_file: bool = False
) -> TokenTable:
    """Lay out rows of full length: all texts in sequence, with separators between.

    A text may begin in one row and end in the next: FULL-SENTENCES of Y. Liu et al.,
    "RoBERTa: A Robustly Optimized BERT Pretraining Approach", 2019, section 4.2. The
    parameters are those of `text_rows`.
    """
    return _table_of(_packed(tokenizer, corpora), in_file)


def _packed(
    tokenizer: TextTokenizer, corpora: Iterable[Corpus]
) -> Iterator[list[np.ndarray]]:
    """Yield the rows that each corpus fills, and at last the one that is not full."""
    special = tokenizer.special_tokens()
    budget = tokenizer.max_length - special.n_special
    separator = special.after.astype(np.int32)
    rest, between = separator[:0], separator[:0]
    for corpus in corpora:
        for_row = [rest]
        for place in range(len(corpus.lengths)):
            for_row += [between, corpus.text(place)]
            between = separator
        stream = np.concatenate(for_row)
        begins = range(0, len(stream) - budget + 1, budget)
        yield [special(stream[begin : begin + budget])[0] for begin in begins]
        rest = stream[len(begins) * budget :]
    if len(rest):
        yield [special(rest)[0]]


def _table_of(parts: Iterable[list[np.ndarray]], in_file: bool = False) -> TokenTable:
    """Return a table of rows that come part by part."""
    all_lengths = [np.zeros(0, dtype=np.int64)]

    def ids() -> Iterator[np.ndarray]:
        for rows in parts:
            all_lengths.append(np.array([len(row) for row in rows], dtype=np.int64))
            yield np.concatenate([np.zeros(0, dtype=np.int32), *rows])

    flat = stored_ids(ids()) if in_file else np.concatenate(list(ids()))
    lengths = np.concatenate(all_lengths)
    return TokenTable(
        ids=flat,
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        whole_lengths=lengths,
        type_ids=None,
    )


def causal_rows(tokenizer: TextTokenizer, corpus: Corpus, *, pack: bool) -> TokenTable:
    """Lay out rows for a left-to-right model: texts with their special tokens.

    A text that continues in the next row has its last special token there only.

    Parameters
    ----------
    pack : bool
        Whether texts follow each other in a row, or each text has rows of its own.
    """
    special = tokenizer.special_tokens()
    texts = [special(corpus.text(place))[0] for place in range(len(corpus.lengths))]
    streams = [np.concatenate(texts)] if pack else texts
    size = tokenizer.max_length
    rows = [
        stream[begin : begin + size]
        for stream in streams
        for begin in range(0, len(stream), size)
    ]
    return _table_of([rows])


class SentencePairs:
    """Pairs of segments; in half of them the second follows the first in a document.

    Devlin et al. (2019, appendix A.2): a document is divided into stretches of
    whole sentences that fill a row, and each stretch into two segments at a random
    sentence. Half of the time the second segment is replaced by one of another
    document. Here every stretch gives one pair, drawn anew in every epoch.

    Parameters
    ----------
    tokenizer : TextTokenizer
    corpus : Corpus

    Raises
    ------
    ValueError
        If no document has two sentences, or there is only one document.
    """

    def __init__(self, tokenizer: TextTokenizer, corpus: Corpus) -> None:
        self.corpus = corpus
        self.special = tokenizer.special_tokens(2)
        self.budget = tokenizer.max_length - self.special.n_special
        if self.budget < 2:
            raise ValueError(
                f"max_length is {tokenizer.max_length}, of which "
                f"{self.special.n_special} are special tokens of a pair; expected at "
                f"least {self.special.n_special + 2}, a token for each half."
            )
        self.stretches = _stretches(corpus, self.budget)
        if len(self.stretches) == 0:
            raise ValueError(
                "next_sentence=True needs documents of two sentences or more, and X "
                "has none. Give documents as lists of sentences, or longer texts, or "
                "set next_sentence=False."
            )
        self.document = corpus.document[[begin for begin, _ in self.stretches]]
        if self.document[0] == self.document[-1]:
            raise ValueError(
                "next_sentence=True needs at least two documents of two sentences or "
                "more, to take sentences from that do not follow; got 1. Give more "
                "documents, or set next_sentence=False."
            )

    def __call__(self, rng: np.random.Generator) -> tuple[TokenTable, np.ndarray]:
        """Draw a pair from every stretch.

        Returns
        -------
        table : TokenTable
            With type ids.
        next_sentence_labels : int64 ndarray of shape (n_stretches,)
            1 where the second segment follows the first.
        """
        n_pairs = len(self.stretches)
        # Exactly half of the pairs, not each with probability 1/2.
        next_sentence_labels = rng.permutation(np.arange(n_pairs) % 2)
        firsts = self._split(rng)
        # Where the second segment of each stretch begins if another stretch takes it.
        others = self._split(rng)
        rows = []
        for pair, (begin, end) in enumerate(self.stretches):
            second = slice(firsts[pair], end)
            if not next_sentence_labels[pair]:
                other = self._other_document(pair, rng)
                second = slice(others[other], self.stretches[other][1])
            first = self._ids(slice(begin, firsts[pair]))
            second_ids = self._ids(second)
            budgets = token_budgets([len(first), len(second_ids)], self.budget)
            # The tokens next to the border say most about whether the segments follow
            # each other, so the first segment loses its beginning, the second its end.
            rows.append(
                self.special(
                    first[max(0, len(first) - budgets[0]) :], second_ids[: budgets[1]]
                )
            )
        ids, types = zip(*rows, strict=True)
        table = replace(_table_of([list(ids)]), type_ids=np.concatenate(types))
        return table, next_sentence_labels.astype(np.int64)

    def _split(self, rng: np.random.Generator) -> np.ndarray:
        """Draw for each stretch the first sentence of its second segment."""
        begins, ends = np.array(self.stretches).T
        return rng.integers(begins + 1, ends)

    def _other_document(self, pair: int, rng: np.random.Generator) -> int:
        """Draw a stretch of another document than that of a pair."""
        first, last = np.searchsorted(
            self.document, [self.document[pair], self.document[pair] + 1]
        )
        # Drawn from the others only: the stretches of its own document, which lie
        # together, are skipped.
        place = int(rng.integers(len(self.document) - (last - first)))
        return place if place < first else place + int(last - first)

    def _ids(self, sentences: slice) -> np.ndarray:
        starts, lengths = self.corpus.starts, self.corpus.lengths
        last = sentences.stop - 1
        return self.corpus.ids[starts[sentences.start] : starts[last] + lengths[last]]


def _stretches(corpus: Corpus, budget: int) -> list[tuple[int, int]]:
    """Divide documents into stretches of two or more sentences that fill a row."""
    stretches: list[tuple[int, int]] = []
    for document in np.unique(corpus.document):
        begin, stop = np.searchsorted(corpus.document, [document, document + 1])
        n_tokens, first = 0, int(begin)
        for place in range(int(begin), int(stop)):
            n_tokens += int(corpus.lengths[place])
            is_last = place + 1 == stop
            n_sentences = place + 1 - first
            if n_sentences < 2 or (n_tokens < budget and not is_last):
                continue
            if is_last or stop - place - 1 > 1:  # a lone last sentence stays with these
                stretches.append((first, place + 1))
                n_tokens, first = 0, place + 1
    return stretches
