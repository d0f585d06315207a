import os

import pytest
import torch

from sklearn_bert._process import _fork
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.text import _tokenizer
from sklearn_bert.text._input import Texts
from sklearn_bert.text._words import check_words, tokenize_words


def test_process_of_the_tests_is_no_child():
    """A process that imported the package itself is not forked."""
    assert not _fork.is_forked()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_knows_that_it_is_one():
    """A forked child says so and computes with one thread; its parent is as before."""
    n_threads = torch.get_num_threads()
    child = os.fork()
    if child == 0:
        is_right = _fork.is_forked() and torch.get_num_threads() == 1
        os._exit(0 if is_right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not _fork.is_forked()
    assert torch.get_num_threads() == n_threads


TEXTS = ["the film was very good", "", "Unfathomable!", "好 é", "cat " * 30]
CASES = {
    "texts": Texts(TEXTS, None, n_features=1, is_2d=False),
    "pairs": Texts(TEXTS, TEXTS[::-1], n_features=2, is_2d=False),
}


@pytest.mark.parametrize("long_text", ["truncate", "head_tail", "window"])
@pytest.mark.parametrize("texts", CASES.values(), ids=CASES)
def test_a_child_tokenises_alike(checkpoint, monkeypatch, texts, long_text):
    """One text after the other, a child makes the same of texts as its parent."""
    tokenizer = load_checkpoint(checkpoint).text_tokenizer(9, long_text=long_text)
    expected = tokenizer(texts, remember=False)
    monkeypatch.setattr(_tokenizer, "is_forked", lambda: True)
    found = tokenizer(texts, remember=False)
    assert found.ids.tolist() == expected.ids.tolist()
    assert found.lengths.tolist() == expected.lengths.tolist()
    assert found.whole_lengths.tolist() == expected.whole_lengths.tolist()
    assert found.is_cut.tolist() == expected.is_cut.tolist()
    if expected.type_ids is not None:
        assert found.type_ids.tolist() == expected.type_ids.tolist()


def test_a_child_uses_one_thread_for_tokens(checkpoint, monkeypatch):
    """A child never asks the tokenizer for a batch, which threads would share."""
    tokenizer = load_checkpoint(checkpoint).text_tokenizer(9)

    class OneByOne:
        def encode(self, *args, **options):
            return tokenizer.backend.encode(*args, **options)

    monkeypatch.setattr(_tokenizer, "is_forked", lambda: True)
    found = _tokenizer.encode_texts(OneByOne(), ["cat", ("cat", "dog")])
    assert [encoding.tokens for encoding in found] == [
        ["[CLS]", "cat", "[SEP]"],
        ["[CLS]", "cat", "[SEP]", "dog", "[SEP]"],
    ]


def test_a_child_tokenises_words_alike(checkpoint, monkeypatch):
    """The same for sentences of words."""
    tokenizer = load_checkpoint(checkpoint).text_tokenizer(9)
    sentences = check_words([text.split() for text in TEXTS])
    expected = tokenize_words(tokenizer, sentences)
    monkeypatch.setattr(_tokenizer, "is_forked", lambda: True)
    found = tokenize_words(tokenizer, sentences)
    assert found.ids.tolist() == expected.ids.tolist()
    assert found.word_positions.tolist() == expected.word_positions.tolist()
