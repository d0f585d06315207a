"""Tags of words: one for each, whatever the sentence; schemes; and what is refused."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.special import softmax
from seqeval.metrics import f1_score
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_predict,
    cross_val_score,
)
from transformers import AutoModel, AutoTokenizer

from sklearn_bert import BertTokenClassifier

SENTENCES = [
    ["the", "cat", "runs"],
    ["i", "love", "the", "dog", "!"],
    ["a", "great", "film"],
    ["we", "hate", "it"],
    ["the", "dull", "movie", "was", "awful"],
    ["dog"],
    ["you", "like", "the", "good", "cat"],
    ["one", "film", "and", "a", "dog", "sleeps"],
] * 3
BIO = {"cat": "B-X", "dog": "B-X", "film": "B-Y", "movie": "B-Y", "good": "B-X"}


def tagged(sentences, tag_of, rest):
    return [[tag_of.get(word, rest) for word in s] for s in sentences]


def in_bio(sentences):
    """Entities of one word, but for "good cat" and "dull movie", which have two."""
    y = tagged(sentences, BIO, "O")
    for words, tags in zip(sentences, y, strict=True):
        for j in range(1, len(words)):
            if words[j - 1 : j + 1] == ["good", "cat"]:
                tags[j] = "I-X"
            if words[j - 1 : j + 1] == ["dull", "movie"]:
                tags[j - 1 : j + 1] = ["B-Y", "I-Y"]
    return y


SCHEMES = {
    "BIO": in_bio(SENTENCES),
    "flat with O": tagged(
        SENTENCES, {"cat": "X", "dog": "X", "film": "Y", "good": "X"}, "O"
    ),
    "flat": tagged(SENTENCES, {"cat": "NOUN", "dog": "NOUN", "film": "NOUN"}, "ELSE"),
    "int": tagged(SENTENCES, {"cat": 7, "dog": 7, "film": -2}, 0),
    "bool": tagged(SENTENCES, {"cat": True, "dog": True, "film": True}, False),
}


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer: nothing here is about layers."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def fit(settings):
    """Fit a tiny tagger; the arguments are parameters that differ."""

    def fit(X=SENTENCES, y=SCHEMES["BIO"], sample_weight=None, **params):
        defaults = settings | {"max_epochs": 1}
        return BertTokenClassifier(**(defaults | params)).fit(X, y, sample_weight)

    return fit


@pytest.fixture
def no_reading(monkeypatch):
    """Fail if a checkpoint is read."""

    def refuse(*args, **kwargs):
        raise AssertionError("the checkpoint was read before the input was checked")

    monkeypatch.setattr("sklearn_bert.estimators._base.load_checkpoint", refuse)


@pytest.fixture(scope="module")
def fitted(fit):
    """A tagger that has learnt; not to be changed."""
    return fit(max_epochs=8)


@pytest.fixture(scope="module")
def by_scheme(fit, fitted):
    """A fitted tagger of each scheme; not to be changed."""
    others = {n: fit(y=y, max_epochs=4) for n, y in SCHEMES.items() if n != "BIO"}
    return {"BIO": fitted, **others}


def in_objects(rows):
    return in_series(rows).to_numpy()


def in_series(rows):
    return pd.Series([list(row) for row in rows])


def flat(rows):
    return [item for row in rows for item in row]


def proba_of(tagger, X):
    return np.concatenate(tagger.predict_proba(X))


def test_token_classifier_learns(fitted):
    """The tags of the sentences that it was trained on are found."""
    assert fitted.score(SENTENCES, SCHEMES["BIO"]) == 1.0
    assert fitted.predict([["we", "hate", "the", "dog"]]) == [["O", "O", "O", "B-X"]]


def test_is_no_classifier_of_rows():
    """scikit-learn does not take it for a classifier, which has one class per row."""
    assert not is_classifier(BertTokenClassifier())


def test_scores_are_plain_transformers_(fitted):
    """Probabilities are those of a plain model on the first piece of each word."""
    sentences = [["a", "qcat", "xyz"], ["the", "dog", "!"]]  # some of several pieces
    tokenizer = AutoTokenizer.from_pretrained(fitted.checkpoint)
    model = AutoModel.from_pretrained(fitted.checkpoint).eval()
    model.load_state_dict(fitted.net_.module.encoder.state_dict())
    for sentence, proba in zip(sentences, fitted.predict_proba(sentences), strict=True):
        batch = tokenizer(sentence, is_split_into_words=True, return_tensors="pt")
        words = batch.word_ids()
        first = [words.index(word) for word in range(len(sentence))]
        with torch.inference_mode():
            states = model(**batch).last_hidden_state[0, first]
            scaled = torch.nn.functional.layer_norm(states, (32,))
            scores = fitted.net_.module.head(scaled).double().numpy()
        np.testing.assert_allclose(proba, softmax(scores, axis=1), atol=1e-5)


# -- schemes and scores ----------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tags_come_back_as_they_went_in(by_scheme, scheme):
    """Tags are of the kind of y, sorted in `classes_`, and come as plain Python."""
    tagger, y = by_scheme[scheme], SCHEMES[scheme]
    assert tagger.classes_.tolist() == sorted(set(flat(y)))
    predicted = tagger.predict(SENTENCES)
    assert isinstance(predicted, list)
    assert all(isinstance(row, list) for row in predicted)
    assert {type(tag) for tag in flat(predicted)} == {type(flat(y)[0])}
    assert set(flat(predicted)) <= set(flat(y))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_predict_is_the_greatest_probability(by_scheme, scheme):
    """`predict` is the most probable tag; probabilities add up to 1, in float64."""
    tagger = by_scheme[scheme]
    proba = tagger.predict_proba(SENTENCES)
    assert isinstance(proba, list)
    for words, tags, p in zip(SENTENCES, tagger.predict(SENTENCES), proba, strict=True):
        assert p.shape == (len(words), len(tagger.classes_))
        assert p.dtype == np.float64
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
        assert tagger.classes_[p.argmax(axis=1)].tolist() == tags


def true_tags(scheme):
    """Tags that are partly right."""
    return [row[::-1] if i % 3 else row for i, row in enumerate(SCHEMES[scheme])]


@pytest.mark.filterwarnings("ignore:.*begins with I-:UserWarning")
def test_score_of_bio_is_seqeval_s(fitted):
    """In BIO `score` is seqeval's F1 over all entities."""
    true = true_tags("BIO")
    expected = f1_score(true, fitted.predict(SENTENCES))
    assert 0 < expected < 1
    assert fitted.score(SENTENCES, true) == expected


def test_score_of_flat_tags_with_outside(by_scheme):
    """Flat tags with an O are entities where the same tag goes on."""
    tagger, true = by_scheme["flat with O"], true_tags("flat with O")

    def entities(rows):
        return {
            (i, start, stop, row[start])
            for i, row in enumerate(rows)
            for start in range(len(row))
            for stop in range(start + 1, len(row) + 1)
            if row[start] != "O"
            and set(row[start:stop]) == {row[start]}
            and (start == 0 or row[start - 1] != row[start])
            and (stop == len(row) or row[stop] != row[start])
        }

    ours, theirs = entities(tagger.predict(SENTENCES)), entities(true)
    expected = 2 * len(ours & theirs) / (len(ours) + len(theirs))
    assert 0 < expected < 1
    assert tagger.score(SENTENCES, true) == pytest.approx(expected)


@pytest.mark.parametrize("scheme", ["flat", "int", "bool"])
def test_score_of_flat_tags_is_accuracy(by_scheme, scheme):
    """Without an O `score` is the share of right tags, weighted or not."""
    tagger, true = by_scheme[scheme], true_tags(scheme)
    right = np.array(flat(tagger.predict(SENTENCES))) == np.array(flat(true))
    assert 0 < right.mean() < 1
    assert tagger.score(SENTENCES, true) == pytest.approx(right.mean())
    weight = np.arange(len(SENTENCES))
    of_words = np.repeat(weight, [len(row) for row in true])
    assert tagger.score(SENTENCES, true, sample_weight=weight) == pytest.approx(
        np.average(right, weights=of_words)
    )


def test_entities_know_no_weights(fitted):
    """Sample weights for the F1 of entities are refused."""
    with pytest.raises(ValueError, match="F1 of entities takes no weights"):
        fitted.score(SENTENCES, SCHEMES["BIO"], sample_weight=np.ones(24))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(23), "inconsistent|shape"),
        (np.ones(25), "inconsistent|shape"),
        (np.full(24, -1.0), "[Nn]egative"),
        (np.full(24, np.nan), "NaN"),
        (np.zeros(24), "zero"),
        (np.ma.array(np.ones(24), mask=np.arange(24) == 5), r"\[5\] is masked"),
        (["1"] * 24, r"sample_weight\[0\] is '1' \(of type str\)"),
    ],
    ids=["few", "many", "negative", "nan", "zero", "masked", "words"],
)
def test_wrong_weights_of_a_score_are_refused(by_scheme, weight, message):
    """Weights of `score` are checked as those of `fit` are."""
    with pytest.raises(ValueError, match=message):
        by_scheme["flat"].score(SENTENCES, SCHEMES["flat"], sample_weight=weight)


def test_the_name_of_a_column_is_not_scored(fitted):
    """Tags that are a str are no tags, whatever its length."""
    with pytest.raises(TypeError, match=r"y is the str 'AB'; .* hand in the column"):
        fitted.score(SENTENCES[:2], "AB")


@pytest.mark.parametrize("scheme", ["BIO", "flat with O"])
def test_score_may_meet_unknown_tags(by_scheme, scheme):
    """A true tag that the tagger does not know is a wrong prediction, not an error."""
    tag = {"BIO": "B-Z", "flat with O": "Z"}[scheme]
    assert by_scheme[scheme].score([["cat", "runs"]], [[tag, "O"]]) < 1


@pytest.mark.filterwarnings("ignore:.*begins with I-:UserWarning")
def test_score_over_windows_is_that_of_the_history(fitted):
    """`valid_score` is what `score` says, for sentences of several windows as well."""
    rng = np.random.default_rng(0)
    words = ["cat", "dog", "runs", "i", "good", "the", "a"]
    X_val = [rng.choice(words, 300).tolist() for _ in range(4)]
    y_val = in_bio(X_val)
    tagger = clone(fitted).set_params(max_epochs=4)
    tagger.fit(SENTENCES, SCHEMES["BIO"], X_val=X_val, y_val=y_val)
    score = tagger.score(X_val, y_val)
    assert 0 < score < 1
    assert tagger.history_[-1]["valid_score"] == pytest.approx(score, rel=1e-6)


# -- containers ------------------------------------------------------------------------


CONTAINERS = {
    "tuple of tuples": lambda rows: tuple(tuple(row) for row in rows),
    "list of arrays": lambda rows: [np.array(row) for row in rows],
    "list of object arrays": lambda rows: [np.array(row, dtype=object) for row in rows],
    "array of lists": lambda rows: pd.Series(rows).to_numpy(),
    "Series": lambda rows: pd.Series(rows, index=range(len(rows), 0, -1)),
    "frame": lambda rows: pd.DataFrame({"words": pd.Series(rows)}),
    "polars": pl.Series,
    "polars frame": lambda rows: pl.DataFrame({"words": rows}),
    "Arrow": pa.array,
    "chunked Arrow": lambda rows: pa.chunked_array([rows[:5], rows[5:]]),
    "Arrow Series": lambda rows: pd.Series(
        rows, dtype=pd.ArrowDtype(pa.list_(pa.string()))
    ),
}


@pytest.fixture(scope="module")
def plain(fit):
    """A tagger fitted to lists, and what it says."""
    tagger = fit()
    return tagger, proba_of(tagger, SENTENCES)


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_agree(fit, plain, container):
    """Every container of words and of tags trains and predicts as lists do."""
    tagger, expected = plain
    X, y = CONTAINERS[container](SENTENCES), CONTAINERS[container](SCHEMES["BIO"])
    np.testing.assert_array_equal(proba_of(tagger, X), expected)
    np.testing.assert_array_equal(proba_of(fit(X, y), X), expected)
    assert 0 <= tagger.score(X, y) <= 1


@pytest.mark.parametrize("kind", [np.array, pl.Series, pa.array, np.int8])
def test_numbers_as_tags_in_containers(fit, kind):
    """Numbers out of arrays and columns are plain integers."""
    X, y = [["cat", "dog"], ["the", "a"]] * 2, [[3, 8], [8, 3]] * 2
    given_y = np.array(y, dtype=np.int8) if kind is np.int8 else kind(y)
    tagger = fit(X, given_y)
    assert tagger.classes_.tolist() == [3, 8]
    assert {type(tag) for tag in flat(tagger.predict(X))} == {int}


def test_a_square_array_of_words(fit):
    """A two-dimensional array is as many sentences as it has rows."""
    X = np.array([["the", "cat"], ["a", "dog"]] * 4)
    y = np.array([["O", "B-X"], ["O", "B-X"]] * 4)
    assert [len(row) for row in fit(X, y).predict(X)] == [2] * 8


# -- odd words and sentences -----------------------------------------------------------


def test_sentences_without_words(fitted):
    """An empty sentence has no tags, and disturbs no other."""
    X = [[], ["the", "cat"], [], [], ["dog"], []]
    tags = fitted.predict(X)
    assert [len(row) for row in tags] == [0, 2, 0, 0, 1, 0]
    np.testing.assert_allclose(
        proba_of(fitted, X), proba_of(fitted, [X[1], X[4]]), atol=1e-6
    )
    shapes = [p.shape for p in fitted.predict_proba(X)]
    assert shapes == [(len(row), len(fitted.classes_)) for row in X]


def test_token_classifier_of_empty_sentences_only(fitted):
    """Where no sentence has a word there is still one answer for each."""
    assert fitted.predict([[], []]) == [[], []]
    assert [p.shape for p in fitted.predict_proba([[]])] == [(0, 5)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_score_without_words_says_what_is_missing(by_scheme, scheme):
    """`score` of sentences without a word is an error that says so."""
    with pytest.raises(ValueError, match="none of the 2 sentences has a word"):
        by_scheme[scheme].score([[], []], [[], []])


def test_empty_sentences_teach_nothing(fit):
    """Sentences without words in fit change nothing."""
    expected = proba_of(fit(), SENTENCES)
    X, y = [[], *SENTENCES, []], [[], *SCHEMES["BIO"], []]
    np.testing.assert_allclose(
        proba_of(fit(X, y, batch_size=1000), SENTENCES),
        proba_of(fit(batch_size=1000), SENTENCES),
        atol=1e-5,
    )
    assert expected.shape == proba_of(fit(X, y), SENTENCES).shape


@pytest.mark.parametrize(
    "word",
    ["", " ", "\x00", "\u200b", "🙂", "two words", "a" * 5000, "[SEP]", "\ud800"],
)
def test_odd_words_are_tagged(fitted, word):
    """Whatever a word is made of, it gets a tag, and its neighbours too."""
    assert [len(row) for row in fitted.predict([["the", word, "cat"], [word]])] == [
        3,
        1,
    ]


def test_a_sentence_of_5000_words(fitted):
    """A sentence far longer than the model gets a tag for each word."""
    sentence = (["the", "cat", "runs", "and", "a", "dog", "sleeps", "."] * 625)[:5000]
    (tags,) = fitted.predict([sentence])
    assert len(tags) == 5000
    right = [
        tag == BIO.get(word, "O") for word, tag in zip(sentence, tags, strict=True)
    ]
    assert np.mean(right) > 0.9


def test_long_sentences_are_learnt(fit):
    """Sentences of several windows are trained on, every word of them."""
    X, y = [flat(SENTENCES)] * 3, [flat(SCHEMES["BIO"])] * 3
    tagger = fit(X, y, max_epochs=10, batch_size=4)
    assert tagger.score(X, y) > 0.8


@hypothesis_settings(max_examples=30, deadline=None)
@given(
    X=st.lists(
        st.lists(
            st.sampled_from(["cat", "the", "", "xyz", "\x00", "a" * 90]) | st.text(),
            max_size=90,
        ),
        min_size=1,
        max_size=6,
    )
)
def test_as_many_tags_as_words(fitted, X):
    """Whatever the words, each gets one tag out of `classes_`."""
    tags, proba = fitted.predict(X), fitted.predict_proba(X)
    assert [len(row) for row in tags] == [len(row) for row in X]
    assert [p.shape for p in proba] == [(len(row), 5) for row in X]
    assert set(flat(tags)) <= set(fitted.classes_.tolist())


@hypothesis_settings(max_examples=15, deadline=None)
@given(rows=st.lists(st.integers(0, 7), min_size=1, max_size=12))
def test_neighbours_do_not_matter(fitted, rows):
    """In float32, order and company of a sentence change no probability beyond 1e-5."""
    alone = fitted.predict_proba(SENTENCES[:8])
    for row, proba in zip(
        rows, fitted.predict_proba([SENTENCES[row] for row in rows]), strict=True
    ):
        np.testing.assert_allclose(proba, alone[row], rtol=0, atol=1e-5)


# -- weights ---------------------------------------------------------------------------


def test_weights_of_one_are_none(fit, plain):
    """Equal weights of any size are no weights, bit by bit."""
    for weight in (np.ones(24), np.full(24, 4.0), 0.5):
        np.testing.assert_array_equal(
            proba_of(fit(sample_weight=weight), SENTENCES), plain[1]
        )


def test_weight_zero_is_absent(fit):
    """A sentence of weight 0 has no effect at all."""
    weight = np.array([1, 0, 1, 1] * 6)
    keep = np.flatnonzero(weight)
    zeroed = fit(sample_weight=weight)
    removed = fit([SENTENCES[i] for i in keep], [SCHEMES["BIO"][i] for i in keep])
    np.testing.assert_array_equal(
        proba_of(zeroed, SENTENCES), proba_of(removed, SENTENCES)
    )


def test_weight_two_is_doubled(fit):
    """A sentence of weight 2 counts as if it stood there twice."""
    weight = np.array([1, 2, 1, 2] * 6)
    rows = np.repeat(np.arange(24), weight)
    params = {"batch_size": 1000, "dropout": 0.0, "max_epochs": 3}
    weighted = fit(sample_weight=weight, **params)
    doubled = fit(
        [SENTENCES[i] for i in rows], [SCHEMES["BIO"][i] for i in rows], **params
    )
    np.testing.assert_allclose(
        proba_of(weighted, SENTENCES), proba_of(doubled, SENTENCES), atol=1e-4
    )


# -- scikit-learn ----------------------------------------------------------------------


def test_cross_validation_and_search(settings):
    """Folds and grids of sentences work, with the tagger's own score."""
    tagger = BertTokenClassifier(**settings | {"max_epochs": 5})
    scores = cross_val_score(tagger, SENTENCES, SCHEMES["BIO"], cv=2)
    assert ((scores >= 0) & (scores <= 1)).all()
    grid = {"learning_rate": [1e-9, 5e-3]}
    search = GridSearchCV(tagger, grid, cv=2).fit(SENTENCES, SCHEMES["BIO"])
    assert search.best_params_ == {"learning_rate": 5e-3}
    assert len(search.predict([["a", "cat"]])[0]) == 2


UNEVEN = (SENTENCES[:8], SCHEMES["BIO"][:8])
EVEN = ([["the", "cat"], ["dull", "film"]] * 4, [["O", "B-X"], ["B-Y", "I-Y"]] * 4)
ONE_WORD = ([["cat"], ["film"]] * 4, [["X"], ["Y"]] * 4)


def in_folds(tagger, X, y):
    """The answers for each half of the sentences by a tagger of the other half."""
    tags, proba = [None] * len(X), [None] * len(X)
    for train, test in KFold(2).split(X):
        one = clone(tagger).fit([X[i] for i in train], [y[i] for i in train])
        for found, answer in ((tags, one.predict), (proba, one.predict_proba)):
            for i, row in zip(test, answer([X[i] for i in test]), strict=True):
                found[i] = row
    return tags, proba


@pytest.mark.filterwarnings("ignore:.*an entity begins with I-")
@pytest.mark.parametrize("data", [UNEVEN, EVEN, ONE_WORD], ids=len)
def test_cross_val_predict_gives_one_item_per_sentence(settings, data):
    """Tags and probabilities come from the folds, of sentences of any lengths."""
    X, y = data
    tagger = BertTokenClassifier(**settings | {"max_epochs": 1})
    expected_tags, expected_proba = in_folds(tagger, X, y)
    for kind in (list, in_series, in_objects):
        tags = cross_val_predict(tagger, kind(X), kind(y), cv=2)
        assert tags.shape == (8,)
        assert tags.tolist() == expected_tags
        assert all(type(row) is list for row in tags)
        proba = cross_val_predict(
            tagger, kind(X), cv=2, method="predict_proba", params={"y": kind(y)}
        )
        assert proba.shape == (8,)
        for ours, expected in zip(proba, expected_proba, strict=True):
            np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("X", [[["a", "cat"], ["the", "dog"]], [["dog"], []], [["a"]]])
def test_answers_are_lists_of_one_item_per_sentence(fitted, X):
    """`predict` and `predict_proba` give lists, of which NumPy makes one dimension."""
    for answers in (fitted.predict(X), fitted.predict_proba(X)):
        assert isinstance(answers, list)
        array = np.asarray(answers)
        assert array.shape == (len(X),)
        assert all(one is other for one, other in zip(array, answers, strict=True))
        sent = pickle.loads(pickle.dumps(answers))  # as from a worker process
        assert np.asarray(sent).shape == (len(X),)
        assert [len(row) for row in sent] == [len(words) for words in X]
    assert fitted.predict(X) == [list(tags) for tags in fitted.predict(X)]


def test_same_seed_same_bits(fit, plain):
    """Two fits with one random_state are equal bit by bit; another seed differs."""
    np.testing.assert_array_equal(proba_of(fit(), SENTENCES), plain[1])
    assert not np.allclose(proba_of(fit(random_state=1), SENTENCES), plain[1])


def test_words_and_tags_are_untouched(settings):
    """fit changes neither sentences nor tags nor parameters."""
    X, y = [list(s) for s in SENTENCES], [list(s) for s in SCHEMES["BIO"]]
    tagger = BertTokenClassifier(**settings, max_epochs=1)
    before = tagger.get_params()
    tagger.fit(X, y).predict(X)[0].append("B-X")
    assert X == SENTENCES
    assert y == SCHEMES["BIO"]
    after = tagger.get_params()
    assert all(after[name] is value for name, value in before.items())


# -- entities that begin with I- -------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            [["O", "B-X"], ["I-X", "O"]],
            r"y\[1\]\[0\] is 'I-X' after nothing.*1 of 2",
        ),
        ([["O", "I-X"], ["I-X", "O"]], r"y\[0\]\[1\] is 'I-X' after 'O'.*in 2 of 2"),
        ([["B-X", "I-Y"], ["O", "O"]], r"y\[0\]\[1\] is 'I-Y' after 'B-X'.*in 1 of 2"),
        ([["I-X", "I-Y"], ["O", "O"]], r"y\[0\]\[0\] is 'I-X' after nothing.*in 1 of"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_orphans_are_told_once(settings, y, message, method):
    """An I- without its B- warns once per call, naming row and place."""
    tagger = BertTokenClassifier(**settings | {"max_epochs": 1})
    with pytest.warns(UserWarning, match=message) as caught:
        getattr(tagger, method)([["a", "cat"], ["the", "dog"]], y)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_orphans_are_learnt_as_they_are(fit):
    """They are neither refused nor changed, and predictions of them do not warn."""
    X, y = [["cat", "runs"]] * 8, [["I-X", "O"]] * 8
    with pytest.warns(UserWarning, match="begins with I-"):
        tagger = fit(X, y, max_epochs=6)
    assert tagger.predict(X) == y
    assert tagger.score(X, y) == 1.0


def test_token_classifier_without_orphans_does_not_warn(fit):
    """B- and I- of one kind, and entities side by side, do not warn."""
    fit([["a", "cat", "dog", "runs"]], [["B-X", "I-X", "B-X", "I-X"]])
    fit([["a", "cat", "dog", "runs"]], [["B-X", "B-Y", "I-Y", "O"]])


# -- bad input -------------------------------------------------------------------------


TWO = [["a", "cat"], ["the", "dog"]]
BAD_X = {
    "texts": (["a cat", "the dog"], TypeError, r"X\[0\] is a single str.*Split it"),
    "text": ("a cat", TypeError, "X is a single str"),
    "bytes": ([[b"a", b"b"], ["c", "d"]], TypeError, r"X\[0\]\[0\] is b'a' of type"),
    "None": ([["a", "b"], None], ValueError, r"X\[1\] is None.*make them \[\]"),
    "NaN": ([["a", "b"], np.nan], ValueError, r"X\[1\] is nan"),
    "missing word": ([["a", None], ["c", "d"]], ValueError, r"X\[0\]\[1\] is None"),
    "number": ([["a", "b"], ["c", 5]], TypeError, r"X\[1\]\[1\] is 5 of type int"),
    "nothing": ([], ValueError, "0 sample"),
    "dict": ({"a": ["b"]}, TypeError, "X is a dict"),
    "generator": (iter(TWO), TypeError, "can be read only once"),
    "nested": (
        [[["a"]], ["b", "c"]],
        TypeError,
        r"X\[0\]\[0\] is \['a'\] of type",
    ),
    "two columns": (
        pd.DataFrame({"a": TWO, "b": TWO}),
        ValueError,
        "frame of 2 columns; expected one",
    ),
}


@pytest.mark.parametrize("name", BAD_X)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.usefixtures("no_reading")
def test_bad_sentences_are_refused_at_once(name, method):
    """What is no sentence or no word is named before the checkpoint is read."""
    X, error, message = BAD_X[name]
    y = [] if name == "nothing" else [["O", "B-X"]] * 2
    with pytest.raises(error, match=message):
        getattr(BertTokenClassifier(), method)(X, y)


@pytest.mark.parametrize("name", sorted(set(BAD_X) - {"generator"}))
def test_bad_sentences_are_refused_in_predict(fitted, name):
    """`predict` and `predict_proba` refuse what fit refuses, in the same words."""
    X, error, message = BAD_X[name]
    for method in (fitted.predict, fitted.predict_proba):
        with pytest.raises(error, match=message):
            method(X)


BAD_Y = {
    "none": (None, ValueError, "BertTokenClassifier requires y to be passed"),
    "too few rows": ([["O", "B-X"]], ValueError, "inconsistent numbers of samples"),
    "too few tags": (
        [["O", "B-X"], ["O"]],
        ValueError,
        r"y\[1\] has 1 tags, but the sentence has 2 words \(\['the', 'dog'\]\)",
    ),
    "too many tags": (
        [["O", "B-X", "O"], ["O", "O"]],
        ValueError,
        r"y\[0\] has 3 tags",
    ),
    "text": ([["O", "B-X"], "O O"], TypeError, r"y\[1\] is 'O O' of type str"),
    "one tag per sentence": (["O", "B-X"], TypeError, r"y\[0\] is 'O' of type str"),
    "number per sentence": ([0, 1], TypeError, r"y\[0\] is 0 of type int"),
    "missing row": ([["O", "B-X"], None], TypeError, r"y\[1\] is None"),
    "missing tag": ([["O", "B-X"], ["O", None]], ValueError, r"y\[1\]\[1\] is None"),
    "NaN": ([["O", "B-X"], ["O", np.nan]], ValueError, r"y\[1\]\[1\] is nan"),
    "float": ([[1.0, 2.0]] * 2, TypeError, r"y\[0\]\[0\] is 1.0 of type float"),
    "ignored": (
        [[0, 1], [1, -100]],
        ValueError,
        r"y\[1\]\[1\] is -100, with which transformers .* one tag for each whole",
    ),
    "ignored in an array": (
        np.array([[0, 1], [1, -100]]),
        ValueError,
        r"y\[1\]\[1\] is -100",
    ),
    "masked": (
        np.ma.array([[0, 1], [1, 0]], mask=[[0, 0], [0, 1]]),
        ValueError,
        r"y\[1\]\[1\] is masked; every word needs a tag",
    ),
    "NUL": ([["O", "X"], ["O", "X\0"]], ValueError, r"y\[1\]\[1\] is 'X\\x00'.*rstrip"),
    "nested": (
        [["O", ["O"]], ["O", "O"]],
        TypeError,
        r"y\[0\]\[1\] is \['O'\] of",
    ),
    "mixed kinds": (
        [["O", 1], ["O", 1]],
        TypeError,
        "y mixes tags of the types .'int', 'str'.",
    ),
    "mixed over rows": ([["O", "X"], [1, 2]], TypeError, "y mixes tags of the types"),
    "one tag": ([["O", "O"], ["O", "O"]], ValueError, r"y holds 1 tags.*at least 2"),
    "mixed prefixes": (
        [["O", "B-X"], ["NOUN", "O"]],
        ValueError,
        "y mixes tags with and without prefix, as 'B-X' and 'NOUN'",
    ),
}


@pytest.mark.parametrize("name", BAD_Y)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.usefixtures("no_reading")
def test_bad_tags_are_refused_at_once(name, method):
    """Tags that are wrong are named with row and place before anything is read."""
    y, error, message = BAD_Y[name]
    with pytest.raises(error, match=message):
        getattr(BertTokenClassifier(), method)(TWO, y)


@pytest.mark.parametrize(
    "name", ["none", "too few rows", "too few tags", "missing tag", "ignored"]
)
def test_bad_tags_are_refused_in_score(fitted, name):
    """`score` refuses tags that do not fit the sentences."""
    y, error, message = BAD_Y[name]
    with pytest.raises(error, match=message):
        fitted.score(TWO, y)


@pytest.mark.parametrize(
    ("X", "weight", "message"),
    [
        ([[], []], None, "y holds 0 tags"),
        ([["a", "b"], []], [0, 1], "none of the 2 sentences .* weight over 0"),
        (TWO, [0, 0], "zero|weight over 0"),
        (TWO, [1, -1], "[Nn]egative"),
        (TWO, [1], "inconsistent|shape"),
    ],
)
@pytest.mark.usefixtures("no_reading")
def test_nothing_to_learn_from_is_refused(X, weight, message):
    """Sentences without words, or of weight 0, are told before anything is read."""
    y = [["O", "B-X"][: len(row)] for row in X]
    with pytest.raises(ValueError, match=message):
        BertTokenClassifier().fit(X, y, weight)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("max_epochs", 0),
        ("learning_rate", -1),
        ("trainable", "top"),
        ("warm_start", "yes"),
        ("max_length", 2),
        ("n_iter_no_change", 0),
    ],
)
@pytest.mark.usefixtures("no_reading")
def test_bad_parameters_are_refused_at_once(parameter, value):
    """A parameter out of range is named before the checkpoint is read."""
    tagger = BertTokenClassifier(**{parameter: value})
    with pytest.raises(ValueError, match=f"'{parameter}' parameter of BertTokenClass"):
        tagger.fit(SENTENCES, SCHEMES["BIO"])


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_not_fitted(method):
    """Everything but fit needs a fitted estimator."""
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(BertTokenClassifier(), method)([["a"]])


def test_failed_refit_keeps_the_old_model(fit):
    """A refit with wrong tags leaves the tagger as it was."""
    tagger = fit()
    state = {name: id(value) for name, value in vars(tagger).items()}
    before = proba_of(tagger, SENTENCES)
    for refit in (tagger.fit, tagger.partial_fit):
        with pytest.raises(ValueError, match=r"y\[1\]\[0\] is None"):
            refit(TWO, [["O", "Z"], [None, "Z"]])
    with pytest.raises(ValueError, match=r"y\[0\]\[1\] is 'B-Z', which is not among"):
        tagger.partial_fit(TWO, [["O", "B-Z"], ["O", "O"]])
    assert {name: id(value) for name, value in vars(tagger).items()} == state
    np.testing.assert_array_equal(proba_of(tagger, SENTENCES), before)


@hypothesis_settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_wrong_count_is_named(data):
    """Whatever sentence has too many tags or too few, its row is named."""
    X = data.draw(
        st.lists(st.lists(st.sampled_from("abc"), max_size=5), min_size=1, max_size=6)
    )
    row = data.draw(st.integers(0, len(X) - 1))
    wrong = data.draw(st.integers(0, 7).filter(lambda n: n != len(X[row])))
    y = [["O"] * len(sentence) for sentence in X]
    y[row] = ["B-X"] * wrong
    kind = data.draw(st.sampled_from([list, tuple, partial(np.array, dtype=object)]))
    with pytest.raises(ValueError, match=rf"y\[{row}\] has {wrong} tags"):
        BertTokenClassifier("/no/such/folder").fit(X, [kind(tags) for tags in y])
