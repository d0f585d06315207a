import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.targets._descriptions import (
    SCALE,
    Descriptions,
    label_words,
    read_descriptions,
)
from sklearn_bert.text._tokenizer import TextTokenizer


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    """It knows "good", "bad", "film" and a few more words, and all letters."""
    return load_checkpoint(checkpoint).text_tokenizer(None)


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("card_arrival", "card arrival"),
        ("cardArrival", "card Arrival"),
        ("HTTPError", "HTTP Error"),
        ("rec.sport-hockey/ice", "rec sport hockey ice"),
        ("__a__film__", "a film"),
        ("What is it?", "What is it?"),
        ("top 10", "top 10"),
    ],
)
def test_a_label_becomes_words(label, text):
    """Marks between words, and a new capital, are read as spaces."""
    assert label_words(np.array(["other", label])) == ["other", text]


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1],
        [True, False],
        [0.0, 1.0],
        ["0", "1"],
        ["LABEL_0", "LABEL_1"],
        ["a", "b"],
        ["good", "..."],
        ["a", "b", "card"],
        ["card arrival", "card_arrival"],
        ["topic1", "topic2", "topic3", "other"],
    ],
    ids=repr,
)
def test_a_label_is_no_word(labels):
    """Numbers, letters, and labels that differ by a number alone, say nothing."""
    assert label_words(np.array(labels)) is None
    assert read_descriptions("auto", np.array(labels)) is None


@pytest.mark.parametrize(
    ("labels", "is_known"),
    [
        (["good", "bad"], True),
        (["Good_Film", "BAD"], True),
        (["good", "xyz"], True),
        (["w2", "bad", "film"], True),
        (["abbr", "wxyz"], False),
        (["good", "xyz", "abbr"], False),
        (["a film", "b 1", "i xyz"], False),
        (["\u4f53\u80b2", "\u65b0\u95fb"], False),  # unknown words: one token each
    ],
    ids=repr,
)
def test_half_of_the_words_must_be_known(tokenizer, labels, is_known):
    """Labels are words where the tokenizer divides at most half of them."""
    found = read_descriptions("auto", np.array(labels))
    assert found.can_be_read(tokenizer) == is_known


def test_own_texts_are_taken_as_they_are(tokenizer):
    """Words that the tokenizer divides may stand in the caller's own texts."""
    found = read_descriptions({0: "abbr", 1: "wxyz"}, np.array([0, 1]))
    assert found.can_be_read(tokenizer)
    assert found.texts.first == ["abbr", "wxyz"]


def test_words_after_a_space_are_known():
    """A byte-level tokenizer knows most words with the space before them."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(show_progress=False)
    backend.train_from_iterator([" good bad"] * 9, trainer)
    tokenizer = TextTokenizer(
        backend, max_length=8, pad_id=0, has_type_ids=False, config={}
    )
    assert len(tokenizer.backend.encode("good").ids) > 1
    for labels, is_known in [(["good", "bad"], True), (["goad", "bogd"], False)]:
        found = read_descriptions("auto", np.array(labels))
        assert found.can_be_read(tokenizer) == is_known


def test_texts_of_a_class_weigh_one():
    """Several texts of a class weigh together as much as one of another."""
    found = read_descriptions(
        {"b": "two", "a": ["one", "1", "I"]}, np.array(["a", "b"])
    )
    assert found.texts.first == ["one", "1", "I", "two"]
    assert found.codes.tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(found.weights, [1 / 3, 1 / 3, 1 / 3, 1])


def test_descriptions_follow_texts():
    """They have the form of the texts before them: codes, or an indicator."""
    found = Descriptions.of([["one", "1"], ["two"]])
    texts, more = np.zeros((2, 4)), np.ones((3, 4))
    vectors, codes, weights = found.after((texts, np.array([1, 0]), np.ones(2)), more)
    np.testing.assert_array_equal(vectors, np.concatenate([texts, more]))
    assert codes.tolist() == [1, 0, 0, 0, 1]
    assert weights.tolist() == [1, 1, 0.5, 0.5, 1]
    indicator = np.array([[1, 1], [0, 0]], np.float32)
    for given in (np.ones(2), np.ones((2, 2))):
        _, targets, weights = found.after((texts, indicator, given), more)
        assert targets.dtype == np.float32
        assert targets.tolist() == [[1, 1], [0, 0], [1, 0], [1, 0], [0, 1]]
        assert len(weights) == 5
        assert weights.ndim == given.ndim
        assert np.ravel(weights[2:]).min() == 0.5


def test_head_is_a_cosine():
    """Scores are cosines with the mean of a class's texts, times a constant."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 32))
    weight, bias = Descriptions.of([["one", "1"], ["two"]]).head(vectors)
    assert not bias.any()
    text = rng.normal(size=32)
    text *= np.sqrt(32) / np.linalg.norm(text)  # as the head gets it
    for row, of_class in zip(weight, [vectors[:2].mean(0), vectors[2]], strict=True):
        cosine = of_class @ text / np.linalg.norm(of_class) / np.linalg.norm(text)
        assert row @ text == pytest.approx(SCALE * cosine)


def test_a_vector_of_zeros_gives_no_score():
    """A description whose vector is 0 has the score 0, and not NaN."""
    weight, _ = Descriptions.of([["one"], ["two"]]).head(
        np.eye(2, 32)[[0, 0]] * [[1], [0]]
    )
    assert weight[0].any()
    assert not weight[1].any()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"a": "x", "b": "y", "c": "z"}, ValueError, "a text for 'c', .* among the 2"),
        ({"a": "x"}, ValueError, "has no text for the class 'b'"),
        ({}, ValueError, "has no text for the class 'a'"),
        ({"a": "x", "b": " "}, ValueError, r"\['b'\] is ' ', which is empty"),
        ({"a": "x", "b": []}, ValueError, r"\['b'\] is \[\], which is empty"),
        ({"a": "x", "b": ["y", ""]}, ValueError, r"\['b'\] is \['y', ''\], which is"),
        ({"a": 1, "b": "y"}, TypeError, r"\['a'\] is 1 of type int; expected a str"),
        ({"a": None, "b": "y"}, TypeError, r"\['a'\] is None of type NoneType"),
        ({"a": ["x", 1], "b": "y"}, TypeError, r"\['a'\] is \['x', 1\] of type list"),
        ({"a": b"x", "b": "y"}, TypeError, r"\['a'\] is b'x' of type bytes"),
    ],
)
def test_wrong_descriptions_are_refused(given, error, message):
    """What is wrong is named, with its class."""
    with pytest.raises(error, match=message):
        read_descriptions(given, np.array(["a", "b"]))
