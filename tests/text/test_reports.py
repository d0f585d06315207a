"""Words that a tokenizer does not know are counted, and said once."""

import warnings

import numpy as np
import pytest

import sklearn_bert
from sklearn_bert import UnknownWordsWarning
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.text._input import check_texts
from sklearn_bert.text._reports import count_unknown, unknown_report, warn_if_unknown
from sklearn_bert.text._words import tokenize_words

ALL_LATIN = ["the film was good", "a dog sleeps"]


@pytest.fixture(scope="module")
def tokenizer_of(family_checkpoint, checkpoint):
    """The tokenizer of a family's tiny checkpoint, or of the usual one."""

    def make(family=None, max_length=16, **options):
        folder = checkpoint if family is None else family_checkpoint(family)
        found = load_checkpoint(folder, revision=None, dropout=None, shared=True)
        return found.text_tokenizer(max_length, **options)

    return make


def report(known_by_text):
    return unknown_report(np.array(known_by_text))


def test_unknown_tokens_are_counted_by_text(tokenizer_of):
    """Each text has its unknown tokens and its tokens, special ones not counted."""
    texts = ["it is 😀", "it is", "", "😀 😡", "[MASK] is", "a" * 3000, "it is 😀"]
    tokenizer = tokenizer_of()
    counts = count_unknown(tokenizer, tokenizer(check_texts(texts)))
    pieces = len(tokenizer.backend.encode("it is", add_special_tokens=False).ids)
    alone = len(tokenizer.backend.encode("is", add_special_tokens=False).ids)
    assert counts.tolist() == [
        [1, pieces + 1],
        [0, pieces],
        [0, 0],
        [2, 2],
        [0, alone],
        [1, 1],
        [1, pieces + 1],
    ]


def test_both_halves_of_a_pair_are_counted(tokenizer_of):
    """A pair has the unknown tokens of both its texts."""
    tokenizer = tokenizer_of()
    table = tokenizer(check_texts([("good 😀", "film"), ("a film", "😡")]))
    assert count_unknown(tokenizer, table).tolist() == [[1, 3], [1, 3]]


@pytest.mark.parametrize("long_text", ["truncate", "head_tail", "window"])
def test_what_is_read_of_a_long_text_is_counted(tokenizer_of, long_text):
    """What is cut is not counted; windows are counted as they are read."""
    tokenizer = tokenizer_of(max_length=6, long_text=long_text)
    table = tokenizer(check_texts(["good good good good 😀 😀 good good"]))
    expected = {"truncate": [0, 4], "head_tail": [1, 4], "window": [2, 8]}
    assert count_unknown(tokenizer, table).tolist() == [expected[long_text]]


def test_words_are_counted_by_sentence(tokenizer_of):
    """Of sentences of words there is one row each, also where one has several rows."""
    tokenizer = tokenizer_of(max_length=6)
    sentences = [["good", "😀"], [], ["😡"], ["good"] * 20]
    counts = count_unknown(tokenizer, tokenize_words(tokenizer, sentences))
    assert counts[:3].tolist() == [[1, 2], [0, 0], [1, 1]]
    assert counts[3, 0] == 0
    assert counts[3, 1] >= 20


@pytest.mark.parametrize("family", ["roberta", "modernbert", "deberta"])
def test_a_tokenizer_of_bytes_knows_all(tokenizer_of, family):
    """Whatever the text, a tokenizer of bytes has no unknown word."""
    tokenizer = tokenizer_of(family, 64)
    texts = ["ไทย 😀 中文", "zebra"]
    counts = count_unknown(tokenizer, tokenizer(check_texts(texts)))
    assert counts[:, 0].tolist() == [0, 0]
    assert (counts[:, 1] > 0).all()


@pytest.mark.parametrize("family", ["bert", "mpnet", "xlm-roberta", "deberta-v2", "e5"])
def test_families_with_unknown_words(tokenizer_of, family):
    """Pieces and unigrams: a text of one strange letter has nothing known."""
    tokenizer = tokenizer_of(family, 64)
    counts = count_unknown(tokenizer, tokenizer(check_texts(["\u0e44", "great film"])))
    assert counts[0].tolist() == [1, 1]
    assert counts[1, 0] == 0


@pytest.mark.parametrize(
    "counts",
    [[[0, 5], [1, 6]], [[0, 0]], [[1, 10]], [[0, 1]]],
    ids=["one of eleven", "no tokens", "a tenth", "all known"],
)
def test_few_unknown_words_give_no_warning(counts):
    """Up to a tenth of the tokens may be unknown without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_unknown(report(counts))


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([[1, 1], [0, 1000]], "1 of 2 texts have no word .* and 1 of 1001 tokens"),
        ([[2, 10], [0, 5]], r"0 of 2 texts have no word .* 2 of 15 tokens \(13.3%\)"),
    ],
    ids=["a text of which nothing is known", "a share of more than a tenth"],
)
def test_unknown_words_are_said(counts, said):
    """A text of which nothing is known, or a high share, gives one warning."""
    with pytest.warns(UnknownWordsWarning, match=said) as caught:
        warn_if_unknown(report(counts))
    assert len(caught) == 1
    assert "checkpoint that was trained on such texts" in str(caught[0].message)


def test_the_warning_is_public():
    """It can be caught by its public name, as a UserWarning."""
    assert "UnknownWordsWarning" in sklearn_bert.__all__
    assert UnknownWordsWarning.__module__ == "sklearn_bert"
    assert issubclass(UnknownWordsWarning, UserWarning)
