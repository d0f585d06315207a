"""Rows that are read from left to right begin and end where their texts do."""

import numpy as np
import pytest

from sklearn_bert import WordPieceVocabulary
from sklearn_bert.estimators._language_model import new_tokenizer
from sklearn_bert.text._corpus import causal_rows, read_corpus

TEXTS = ["the cat sleeps", "a dog", "", "the dog runs and runs and runs"]


@pytest.fixture(scope="module")
def tokenizer():
    vocabulary = WordPieceVocabulary(vocab_size=80, min_frequency=1).fit(TEXTS)
    return new_tokenizer(vocabulary.tokenizer_, 6)


def rows_of(table):
    return [
        table.ids[start : start + length].tolist()
        for start, length in zip(table.starts, table.lengths, strict=True)
    ]


def whole(tokenizer):
    """Each text with what stands before and after it, by the tokenizer itself."""
    return [tokenizer.backend.encode(text).ids for text in TEXTS if text]


def test_packed_rows_are_the_texts_one_after_the_other(tokenizer):
    """No row adds a beginning or an end that no text has."""
    table = causal_rows(
        tokenizer, read_corpus(tokenizer, [[t] for t in TEXTS]), pack=True
    )
    assert np.concatenate(rows_of(table)).tolist() == sum(whole(tokenizer), [])
    assert set(table.lengths[:-1]) == {6}


def test_a_long_text_goes_on_without_a_beginning(tokenizer):
    """Each text has rows of its own, of which the first begins and the last ends it."""
    table = causal_rows(
        tokenizer, read_corpus(tokenizer, [[t] for t in TEXTS]), pack=False
    )
    rows = rows_of(table)
    expected = [
        text[begin : begin + 6]
        for text in whole(tokenizer)
        for begin in range(0, len(text), 6)
    ]
    assert rows == expected
    assert len(rows) > 3
