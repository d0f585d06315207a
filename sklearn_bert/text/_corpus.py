"""Texts -> rows of tokens to learn a language from: packed, one by one, or in pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_bert.text._encode import encode_texts
from sklearn_bert.text._long import token_budgets
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer


@dataclass(frozen=True)
class Corpus:
    """The tokens of many texts, without special ones, in one flat array.

    Texts of which a tokenizer makes nothing are not among them.

    Attributes
    ----------
    ids : ndarray of shape (n_tokens,), int32
    starts, lengths : ndarray of shape (n_texts,), int64
    document : ndarray of shape (n_texts,), int64
        The place of the document that each text is a sentence of.
    """

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    document: np.ndarray

    def text(self, place: int) -> np.ndarray:
        """The ids of one text."""
        start = self.starts[place]
        return self.ids[start : start + self.lengths[place]]


def read_corpus(tokenizer: TextTokenizer, documents: list[list[str]]) -> Corpus:
    """Tokenise the sentences of all documents."""
    sentences = [sentence for document in documents for sentence in document]
    encodings = encode_texts(tokenizer.backend, sentences, add_special_tokens=False)
    parts = [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
    ids = np.concatenate([*parts, np.zeros(0, dtype=np.int32)])
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


def text_rows(tokenizer: TextTokenizer, corpus: Corpus) -> TokenTable:
    """One row per text, and more where it is longer than a row holds."""
    special = tokenizer.special_tokens()
    budget = tokenizer.max_length - special.n_special
    contents = [
        text[begin : begin + budget]
        for text in map(corpus.text, range(len(corpus.lengths)))
        for begin in range(0, len(text), budget)
    ]
    return _table([special(content)[0] for content in contents])


def packed_rows(tokenizer: TextTokenizer, corpus: Corpus) -> TokenTable:
    """Rows of full length: all texts one after the other, with a separator between.

    As in Y. Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach",
    2019, section 4.2 (FULL-SENTENCES): a text may begin in one row and end in the next.
    """
    special = tokenizer.special_tokens()
    budget = tokenizer.max_length - special.n_special
    separator = special.after.astype(np.int32)
    texts = [corpus.text(place) for place in range(len(corpus.lengths))]
    stream = np.concatenate([part for text in texts for part in (text, separator)])
    stream = stream[: len(stream) - len(separator)]
    starts = range(0, len(stream), budget)
    return _table([special(stream[begin : begin + budget])[0] for begin in starts])


def causal_rows(tokenizer: TextTokenizer, corpus: Corpus, *, pack: bool) -> TokenTable:
    """Rows to be read from left to right: texts with what stands before and after them.

    A text that goes on in the next row has no end in this one and no beginning in that.

    Parameters
    ----------
    pack : bool
        Whether a row goes on with the next text, or each text has rows of its own.
    """
    special = tokenizer.special_tokens()
    texts = [special(corpus.text(place))[0] for place in range(len(corpus.lengths))]
    streams = [np.concatenate(texts)] if pack else texts
    size = tokenizer.max_length
    return _table(
        [
            stream[begin : begin + size]
            for stream in streams
            for begin in range(0, len(stream), size)
        ]
    )


class SentencePairs:
    """Pairs of segments, half of which follow each other in a document.

    Devlin et al. (2019, appendix A.2): a document is cut into stretches of whole
    sentences that fill a row, and each stretch into two segments at a sentence drawn
    at random. Half of the time the second segment is replaced by one of another
    document. Here every stretch is a pair in every epoch, drawn anew.

    Parameters
    ----------
    tokenizer : TextTokenizer
    corpus : Corpus

    Raises
    ------
    ValueError
        Where no document has two sentences, or there are no two documents.
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
        next_sentence_labels = rng.permutation(np.arange(n_pairs) % 2)
        firsts = self._split(rng)
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
            # What is next to the border tells most about whether they belong together.
            rows.append(
                self.special(
                    first[max(0, len(first) - budgets[0]) :], second_ids[: budgets[1]]
                )
            )
        ids, types = zip(*rows, strict=True)
        return _table(list(ids), list(types)), next_sentence_labels.astype(np.int64)

    def _split(self, rng: np.random.Generator) -> np.ndarray:
        """In each stretch the sentence that begins its second segment."""
        begins, ends = np.array(self.stretches).T
        return rng.integers(begins + 1, ends)

    def _other_document(self, pair: int, rng: np.random.Generator) -> int:
        """A stretch of another document."""
        first, last = np.searchsorted(
            self.document, [self.document[pair], self.document[pair] + 1]
        )
        place = int(rng.integers(len(self.document) - (last - first)))
        return place if place < first else place + int(last - first)

    def _ids(self, sentences: slice) -> np.ndarray:
        starts, lengths = self.corpus.starts, self.corpus.lengths
        last = sentences.stop - 1
        return self.corpus.ids[starts[sentences.start] : starts[last] + lengths[last]]


def _stretches(corpus: Corpus, budget: int) -> list[tuple[int, int]]:
    """Where stretches of two sentences or more begin and end, that fill a row or so."""
    found: list[tuple[int, int]] = []
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
                found.append((first, place + 1))
                n_tokens, first = 0, place + 1
    return found


def _table(rows: list[np.ndarray], types: list[np.ndarray] | None = None) -> TokenTable:
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    return TokenTable(
        ids=np.concatenate(rows),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        whole_lengths=lengths,
        type_ids=None if types is None else np.concatenate(types),
    )
