import json
import os
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer, pre_tokenizers, trainers

from sklearn_bert.text import _stream, _tokenizer, _wordpiece
from sklearn_bert.text._special_tokens import BERT_SPECIAL
from sklearn_bert.text._wordpiece import (
    build_tokenizer,
    join_pieces,
    piece_ids,
    read_pieces,
    train_pieces,
)

TEXTS = [
    "low lower lowest slow slower slowest",
    "New, newer, newest!",
    "wide wider widest; Été, naïve",
    "late later latest 好的 x",
] * 3


def train(texts=TEXTS, **changes):
    options = {
        "vocab_size": 90,
        "lowercase": True,
        "strip_accents": None,
        "min_frequency": 2,
        "limit_alphabet": 1000,
    }
    return train_pieces(texts, **(options | changes))


# -- training ----------------------------------------------------------------------


def spelled_out(words, vocab_size, min_frequency):
    """The pieces of a vocabulary, learnt in plain Python by the rule that is told."""
    splits = {word: [word[0], *(f"##{c}" for c in word[1:])] for word in words}
    letters = {piece for split in splits.values() for piece in split}
    letters |= {letter for word in words for letter in word}
    pieces = [*BERT_SPECIAL, *sorted(letters, key=lambda p: (len(p) > 1, p))]
    assert len(pieces) <= vocab_size
    ids = {piece: i for i, piece in enumerate(pieces)}
    while len(ids) < vocab_size:
        pairs = Counter()
        for word, split in splits.items():
            for pair in zip(split, split[1:], strict=False):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], *(ids[p] for p in pair)))
        if pairs[best] < min_frequency:
            break
        joined = best[0] + best[1].removeprefix("##")
        ids.setdefault(joined, len(ids))
        splits = {word: _joined(split, best) for word, split in splits.items()}
    return list(ids)


def _joined(split, pair):
    """A word's pieces, with the pair as one, from the left."""
    found = []
    for piece in split:
        if found and (found[-1], piece) == pair:
            found[-1] += piece.removeprefix("##")
        else:
            found.append(piece)
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=6), st.integers(1, 5), min_size=1
    ),
    st.integers(11, 40),
    st.integers(1, 3),
)
def test_pieces_are_those_of_the_rule(words, vocab_size, min_frequency):
    """The most frequent pair is joined, of equal ones that of the lowest ids."""
    texts = [word for word, count in words.items() for _ in range(count)]
    options = {"vocab_size": vocab_size, "min_frequency": min_frequency}
    assert train(texts, **options) == spelled_out(words, **options)


def test_order_of_texts_does_not_matter():
    """The same texts in any order give the same pieces, ties included."""
    shuffled = [random.Random(seed).sample(TEXTS, len(TEXTS)) for seed in range(10)]
    assert {tuple(train(texts, vocab_size=60)) for texts in shuffled} == {
        tuple(train(vocab_size=60))
    }


def test_pieces_are_those_of_the_library():
    """With letters numbered in order, the library's own training gives the same."""
    pieces = train(vocab_size=60)
    letters = [piece for piece in pieces[5:] if len(piece.removeprefix("##")) == 1]
    library = BertWordPieceTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=60,
        min_frequency=2,
        special_tokens=[*BERT_SPECIAL, *letters],
        show_progress=False,
    )
    library._tokenizer.train_from_iterator(TEXTS, trainer=trainer)
    ids = library.get_vocab()
    assert len(pieces) == 60
    assert pieces == sorted(ids, key=ids.get)


def test_letters_come_in_order():
    """Special tokens, letters, letters within words, and then what was joined."""
    pieces = train(["ba cab", "好 cab!"], vocab_size=20)
    expected = [*BERT_SPECIAL, *"!abc好", "##a", "##b"]
    assert pieces[: len(expected)] == expected
    assert pieces[len(expected) :] == ["ca", "cab"]


def test_rare_letters_are_left_out():
    """limit_alphabet keeps the most frequent letters, and of equals the first."""
    texts = ["aaa bb c d"]
    assert train(texts, limit_alphabet=1, min_frequency=9)[5:] == ["a", "##a"]
    kept = train(texts, limit_alphabet=3, min_frequency=9)[5:]
    assert kept == ["a", "b", "c", "##a", "##b"]
    assert train(texts, limit_alphabet=None) == train(texts)


def test_min_frequency_bounds_what_is_joined():
    """A pair that occurs less often than min_frequency is not joined."""
    texts = ["ab"] * 3 + ["cd"] * 2
    assert train(texts, min_frequency=3)[-1] == "ab"
    assert train(texts, min_frequency=2)[-2:] == ["ab", "cd"]


def test_normaliser_is_bert_s():
    """Letters are lowered and stripped as asked for, before they are counted."""
    texts = ["É é"]
    assert train(texts)[5:] == ["e"]
    assert train(texts, strip_accents=False)[5:] == ["é"]
    assert train(texts, lowercase=False)[5:] == ["É", "é"]
    assert train(texts, lowercase=False, strip_accents=True)[5:] == ["E", "e"]


def test_parts_of_a_stream_count_alike(monkeypatch):
    """However a corpus is divided, its words are counted once each."""
    expected = train()
    monkeypatch.setattr(_stream, "CHARACTERS_PER_PART", 20)
    monkeypatch.setattr(_wordpiece, "CHARACTERS_PER_LINE", 12)
    assert len(list(_stream.parts_of(TEXTS))) > 3
    assert train() == expected


def test_words_are_written_out_as_often_as_counted(monkeypatch):
    """Lines hold each word as often as it was counted, and are short."""
    monkeypatch.setattr(_wordpiece, "CHARACTERS_PER_LINE", 12)
    words = {"ab": 10, "x" * 50: 2, "c": 1}
    lines = list(_wordpiece._written_out(words))
    assert Counter(" ".join(lines).split()) == words
    assert max(len(line) for line in lines) == 51


def test_counting_reads_the_state_of_a_trainer():
    """The library keeps counted words where they are looked for."""
    trainer = trainers.WordPieceTrainer(show_progress=False)
    backend = BertWordPieceTokenizer()._tokenizer
    backend.train_from_iterator(["Ab, ab"], trainer=trainer)
    state = json.loads(trainer.__getstate__())
    assert state["WordPieceTrainer"]["bpe_trainer"]["words"] == {"ab": 2, ",": 1}


@pytest.mark.parametrize("texts", [[""], ["", "  \t\n", "\u200b\x00"]])
def test_vocabulary_needs_words_to_learn_from(texts):
    """Texts without a word are refused before training."""
    with pytest.raises(ValueError, match="X holds no words: every text is empty"):
        train(texts)


def test_the_least_size_is_named_and_works():
    """A size without room for the letters is refused with the least that has it."""
    told = r"vocab_size is 9, .* 6 letters .*vocab_size=11"
    with pytest.raises(ValueError, match=told):
        train(["abc bca"], vocab_size=9)
    letters = ["a", "b", "c", "##a", "##b", "##c"]
    assert train(["abc bca"], vocab_size=11)[5:] == letters
    assert train(["ab"], vocab_size=8)[5:] == ["a", "b", "##b"]


def test_a_child_that_would_wait_for_ever_says_so(monkeypatch):
    """In a forked process training refuses threads that only the parent has."""
    monkeypatch.setattr(_wordpiece, "is_forked", lambda: True)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    with pytest.raises(RuntimeError, match="'true', and this process was forked"):
        train()
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "False")
    assert train()
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    assert train()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_learns_the_same(monkeypatch, capfd):
    """After a fork training neither hangs nor says anything."""
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    expected = train()
    child = os.fork()
    if child == 0:
        os._exit(0 if train() == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert capfd.readouterr() == ("", "")


# -- vocabularies that are given ---------------------------------------------------


def test_pieces_come_from_a_file_a_mapping_or_a_list(tmp_path):
    """A vocab.txt, ids by piece and pieces in order say the same."""
    pieces = ["a", *BERT_SPECIAL, "##a", "\u2028", "\x85"]
    path = tmp_path / "vocab.txt"
    path.write_bytes("\n".join(pieces).encode() + b"\n")
    ids = {piece: i for i, piece in reversed(list(enumerate(pieces)))}
    for vocabulary in (path, str(path), ids, pieces, tuple(pieces), np.array(pieces)):
        found = read_pieces(vocabulary)
        assert found == pieces
        assert {type(piece) for piece in found} == {str}


def test_line_ends_of_windows_are_read(tmp_path):
    """A carriage return before a line end is not part of a piece."""
    path = tmp_path / "vocab.txt"
    path.write_bytes("\r\n".join(BERT_SPECIAL).encode())
    assert read_pieces(path) == BERT_SPECIAL


@pytest.mark.parametrize(
    ("vocabulary", "error", "message"),
    [
        ("nowhere.txt", FileNotFoundError, "'nowhere.txt', which does not exist"),
        (os.curdir, FileNotFoundError, "which is a folder; expected a vocab.txt"),
        ([*BERT_SPECIAL, 5], TypeError, r"vocabulary\[5\] is 5 of type int"),
        ([*BERT_SPECIAL, ""], ValueError, r"vocabulary\[5\] is ''; a piece must be"),
        ([*BERT_SPECIAL, "a\nb"], ValueError, r"is 'a\\nb'; a piece must be one"),
        ([*BERT_SPECIAL, "\ud800"], ValueError, r"is '\\ud800'; a piece must be"),
        (
            [*BERT_SPECIAL, "[UNK]"],
            ValueError,
            r"\[5\] is '\[UNK\]', and so is .*\[1",
        ),
        (["[PAD]", "[UNK]", "[CLS]"], ValueError, r"lacks \[SEP\], \[MASK\]; BERT"),
        ([], ValueError, "has 0 pieces and lacks"),
        ({"a": 0, "b": 2}, ValueError, "to ids that are not 0 to 1, each once"),
        (set(BERT_SPECIAL), TypeError, "vocabulary is a set, which has no order"),
    ],
)
def test_what_is_no_vocabulary_is_refused(vocabulary, error, message):
    """What cannot be a vocabulary of BERT is refused with the place of the fault."""
    with pytest.raises(error, match=message):
        read_pieces(vocabulary)


# -- the tokenizer -----------------------------------------------------------------


def test_pairs_have_types():
    """[CLS] A [SEP] B [SEP]: the second half and its end are of type 1."""
    backend = build_tokenizer(
        [*BERT_SPECIAL, "a", "b"], lowercase=True, strip_accents=None
    )
    found = backend.encode("A a", "b")
    assert found.tokens == ["[CLS]", "a", "a", "[SEP]", "b", "[SEP]"]
    assert found.type_ids == [0, 0, 0, 0, 1, 1]
    assert isinstance(backend.pre_tokenizer, pre_tokenizers.BertPreTokenizer)


def test_ids_do_not_depend_on_calls(monkeypatch):
    """Texts that are handed to the tokenizer in several calls get the same ids."""
    backend = build_tokenizer(train(), lowercase=True, strip_accents=None)
    expected = [backend.encode(text).ids for text in TEXTS]
    monkeypatch.setattr(_tokenizer, "TEXTS_PER_CALL", 5)
    assert piece_ids(backend, TEXTS, add_special_tokens=True) == expected
    monkeypatch.setattr(_tokenizer, "is_forked", lambda: True)
    assert piece_ids(backend, TEXTS, add_special_tokens=True) == expected
    bare = piece_ids(backend, TEXTS, add_special_tokens=False)
    assert bare == [ids[1:-1] for ids in expected]


def test_words_are_joined_and_not_rewritten():
    """Pieces become words with single spaces, and no word is changed."""
    assert join_pieces(["do", "not", "##hing", ",", "now"]) == "do nothing , now"
    assert join_pieces([]) == ""
