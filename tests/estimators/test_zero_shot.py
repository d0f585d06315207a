"""Descriptions of the classes: beside labelled texts, and instead of them."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_bert import (
    BertClassifier,
    BertPretrainer,
    TruncationWarning,
    load,
    save,
)
from sklearn_bert.targets._descriptions import SCALE
from sklearn_bert.targets._probe import class_probe

DESCRIBED = {
    "pos": "a great film , i love it",
    "neg": "an awful plot , i hate it",
    "dog": "the dog runs",
}
TWO = {"pos": DESCRIBED["pos"], "neg": DESCRIBED["neg"]}


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer is enough here."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def make(settings):
    """Make a tiny classifier that learns its head for an epoch."""

    def make(class_descriptions, **params):
        fast = {"max_epochs": 1, "trainable": "head"}
        params = settings | fast | params
        return BertClassifier(class_descriptions=class_descriptions, **params)

    return make


@pytest.fixture(scope="module")
def zero_shot(make):
    return make(DESCRIBED).fit(None, ["pos", "neg", "dog"])


@pytest.fixture(scope="module")
def start(make):
    """The head that a fit starts from: the steps after it are too short to see."""

    def start(class_descriptions, X, y, **params):
        params = {"learning_rate": 1e-12, "weight_decay": 0.0, **params}
        clf = make(class_descriptions, **params).fit(X, y)
        head = clf.net_.module.head
        return np.column_stack([head.weight.detach(), head.bias.detach()])

    return start


@pytest.fixture
def no_reading(monkeypatch):
    """Fail if a checkpoint is read."""

    def refuse(*args, **kwargs):
        raise AssertionError("the checkpoint was read before the input was checked")

    monkeypatch.setattr("sklearn_bert.estimators._base.load_checkpoint", refuse)


# -- without labelled texts --------------------------------------------------------


def test_describes_its_descriptions(zero_shot):
    """A text that is a description belongs to that class, whatever their order."""
    assert zero_shot.classes_.tolist() == ["dog", "neg", "pos"]
    assert zero_shot.predict([*DESCRIBED.values()]).tolist() == [*DESCRIBED]
    assert zero_shot.score([*DESCRIBED.values()], [*DESCRIBED]) == 1.0


def test_scores_are_cosines(zero_shot):
    """Logits are cosines of text and description, of vectors of mean 0."""
    texts = ["a nice movie", "the cat sleeps"]
    descriptions = [DESCRIBED[label] for label in zero_shot.classes_]
    vectors = zero_shot.transform([*texts, *descriptions]).astype(np.float64)
    vectors -= vectors.mean(axis=1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = SCALE * vectors[:2] @ vectors[2:].T
    np.testing.assert_allclose(zero_shot.decision_function(texts), scores, atol=1e-3)
    proba = zero_shot.predict_proba(texts)
    np.testing.assert_allclose(proba, softmax(scores, axis=1), atol=1e-3)


def test_is_fitted_as_after_any_fit(zero_shot, make, reviews):
    """It has the fitted attributes of an estimator that learnt from texts."""
    trained = make(None).fit(*reviews)
    names = {name for name in vars(trained) if name.endswith("_")}
    assert {name for name in vars(zero_shot) if name.endswith("_")} == names
    assert zero_shot.n_iter_ == zero_shot.max_epochs_ == zero_shot.learning_rate_ == 0
    assert zero_shot.history_ == []
    assert zero_shot.batch_size_ == zero_shot.batch_size_used_ == zero_shot.batch_size
    assert zero_shot.truncation_report_["n_texts"] == 3
    assert zero_shot.unknown_report_["n_texts"] == 3
    assert zero_shot.n_features_in_ == 1


def test_trains_nothing(zero_shot, make, reviews):
    """The vectors are those of the checkpoint."""
    trained = make(None).fit(*reviews)  # the head alone
    texts = reviews[0][:4]
    np.testing.assert_array_equal(zero_shot.transform(texts), trained.transform(texts))


def test_labels_of_every_kind(make):
    """Classes are whatever labels may be: here integers, from a pandas column."""
    classes = pd.Series([7, 3], index=["x", "y"])
    clf = make({3: TWO["neg"], np.int64(7): TWO["pos"]}).fit(None, classes)
    found = clf.predict([TWO["pos"], TWO["neg"]])
    assert found.dtype == classes.dtype
    assert found.tolist() == [7, 3]


def test_labels_as_words(make):
    """ "auto" describes a class by its label, read as words."""
    labels = ["good_film", "badPlot"]
    auto = make("auto").fit(None, labels)
    by_hand = make({"good_film": "good film", "badPlot": "bad Plot"}).fit(None, labels)
    texts = ["a nice movie", "the cat sleeps"]
    np.testing.assert_array_equal(
        auto.predict_proba(texts), by_hand.predict_proba(texts)
    )


def test_several_texts_of_a_class(make):
    """Texts of a class count together: one that is there twice changes nothing."""
    texts = ["a nice movie", "the cat sleeps"]
    once, twice, two = (
        make({**TWO, "neg": neg}).fit(None, ["pos", "neg"]).predict_proba(texts)
        for neg in (TWO["neg"], [TWO["neg"]] * 2, [TWO["neg"], "the cat sleeps"])
    )
    np.testing.assert_allclose(twice, once, atol=1e-5)
    assert two[1, 0] > once[1, 0]  # "neg" is the first of the classes


def test_template_and_frames(make):
    """With a template, later calls read the columns that it names."""
    clf = make(TWO, template="{title} {body}").fit(None, ["pos", "neg"])
    assert clf.feature_names_in_.tolist() == ["title", "body"]
    assert clf.n_features_in_ == 2
    plain = make(TWO).fit(None, ["pos", "neg"])
    frame = pd.DataFrame({"body": ["good film"], "title": ["a"]})
    np.testing.assert_array_equal(
        clf.predict_proba(frame), plain.predict_proba(["a good film"])
    )


def test_pairs_are_refused_later(zero_shot):
    """It has seen single texts, so pairs have another form."""
    with pytest.raises(ValueError, match="X has 2 features, but .* expecting 1"):
        zero_shot.predict([("a film", "a plot")])


@pytest.mark.parametrize(
    "params",
    [
        {"pooling": "cls"},
        {"pooling": "pooler"},
        {"pooling": "attention"},
        {"trainable": "all", "head_init": "random"},
        {"long_text": "window", "max_length": 4},
        {"early_stopping": True},
    ],
    ids=repr,
)
def test_other_parameters(make, params):
    """A description belongs to its class, whatever the network is."""
    clf = make(TWO, **params).fit(None, ["pos", "neg"])
    assert clf.predict([*TWO.values()]).tolist() == [*TWO]


def test_goes_on_with_texts(zero_shot, reviews, make):
    """`partial_fit` and a warm start learn from there; history counts from 1."""
    texts, labels = reviews
    start = make(TWO, warm_start=True, learning_rate=0.05)
    for go_on in ("partial_fit", "fit"):
        clf = clone(start).fit(None, ["pos", "neg"])
        before = clf.predict_proba(texts)
        getattr(clf, go_on)(texts, labels)
        assert [row["epoch"] for row in clf.history_] == [1]
        assert clf.n_iter_ == 1
        is_right = np.arange(40), np.equal(labels, "pos").astype(int)
        after = clf.predict_proba(texts)
        assert np.log(after[is_right]).mean() > np.log(before[is_right]).mean()


def test_goes_on_with_the_same_classes_only(make):
    """A warm start with other classes is refused."""
    clf = make(TWO, warm_start=True).fit(None, ["pos", "neg"])
    with pytest.raises(ValueError, match="those of the earlier call were"):
        clf.set_params(class_descriptions=None).fit(["a film", "a plot"], ["a", "b"])


def test_saved_and_copied(zero_shot, tmp_path):
    """A folder, a pickle and a clone say the same as the estimator."""
    texts = ["a nice movie", "the cat sleeps"]
    expected = zero_shot.predict_proba(texts)
    save(zero_shot, tmp_path / "saved")
    loaded = load(tmp_path / "saved")
    assert loaded.get_params() == zero_shot.get_params()
    again = clone(zero_shot).fit(None, ["dog", "neg", "pos"])
    for other in (loaded, pickle.loads(pickle.dumps(zero_shot)), again):
        np.testing.assert_array_equal(other.predict_proba(texts), expected)
        assert other.history_ == []


def test_descriptions_that_are_cut_are_warned_about(make):
    """A description is longer than max_length: nothing is cut silently."""
    with pytest.warns(TruncationWarning, match="2 of 2 texts"):
        make(TWO, max_length=5).fit(None, ["pos", "neg"])


def test_the_callers_state_stays(make):
    """No random number of the process is drawn, and no parameter is changed."""
    described = dict(DESCRIBED)
    state, random = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    clf = make(described).fit(None, [*DESCRIBED])
    assert torch.equal(state, torch.random.get_rng_state())
    assert np.array_equal(random, np.random.get_state()[1])
    assert clf.class_descriptions is described
    assert described == DESCRIBED


@pytest.mark.usefixtures("no_reading")
@pytest.mark.parametrize(
    ("params", "y", "more", "error", "message"),
    [
        ({"class_descriptions": None}, ["a", "b"], {}, TypeError, "set class_desc"),
        ({"class_descriptions": None}, None, {}, TypeError, "X is of type NoneType"),
        ({}, None, {}, ValueError, "y is None .* expected the list of the classes"),
        ({}, ["pos"], {}, ValueError, "one class only .* at least 2"),
        ({}, [], {}, ValueError, "no class"),
        ({}, "pos", {}, TypeError, "y is the str 'pos'"),
        ({}, ["pos", None], {}, ValueError, r"y\[1\] is None"),
        ({}, ["pos", "neg", "pos"], {}, ValueError, "y holds 'pos' 2 times"),
        ({}, [[1, 0], [0, 1]], {}, ValueError, "y has several columns"),
        ({}, ["pos", "neg", "cat"], {}, ValueError, "no text for the class 'cat'"),
        ({}, ["pos", "cat"], {}, ValueError, "a text for 'neg', .* not among the 2"),
        ({"class_descriptions": "auto"}, [0, 1], {}, ValueError, "Pass a dict"),
        ({"class_descriptions": "words"}, [0, 1], {}, ValueError, "must be"),
        ({}, [*TWO], {"sample_weight": [1, 1]}, ValueError, "sample_weight is given"),
        ({}, [*TWO], {"groups": [1, 1]}, ValueError, "groups is given"),
        ({}, [*TWO], {"X_val": ["a"]}, ValueError, "X_val is given"),
        ({}, [*TWO], {"y_val": ["pos"]}, ValueError, "y_val is given"),
        ({}, [*TWO], {"unlabeled": ["a"]}, ValueError, "unlabeled is given"),
        ({"pretraining": BertPretrainer()}, [*TWO], {}, ValueError, "adapt .* nothing"),
        ({"template": "no column"}, [*TWO], {}, ValueError, "template"),
    ],
)
def test_bad_input_without_texts(make, params, y, more, error, message):
    """What is wrong is said before a checkpoint is read."""
    clf = make(TWO).set_params(**params)
    with pytest.raises(error, match=message):
        clf.fit(None, y, **more)
    assert not hasattr(clf, "net_")


def test_unknown_words_are_refused(make):
    """Labels that the tokenizer divides into letters are no words."""
    with pytest.raises(ValueError, match=r"\['ABBR', 'WXYZ'\]: no words .* dict"):
        make("auto").fit(None, ["WXYZ", "ABBR"])


def test_a_warm_start_needs_texts(make):
    """Descriptions do not replace the weights of an earlier fit."""
    clf = make(TWO, warm_start=True).fit(None, [*TWO])
    before = clf.net_
    with pytest.raises(ValueError, match="warm_start is True"):
        clf.fit(None, [*TWO])
    assert clf.net_ is before


# -- beside labelled texts ---------------------------------------------------------


def test_the_head_starts_from_texts_and_descriptions(start, reviews):
    """Each description is one more text of its class, for the start alone."""
    texts, labels = reviews[0][:6], reviews[1][:6]
    joined = start(None, texts + [*TWO.values()], labels + [*TWO])
    described = start(TWO, texts, labels)
    np.testing.assert_allclose(described, joined, atol=1e-6)
    assert np.abs(described - start(None, texts, labels)).max() > 1e-3


def test_the_head_ends_at_texts_and_descriptions(make, reviews):
    """Of few labels the last head is fitted to the descriptions' new vectors, too."""
    texts, labels = reviews[0][:6], reviews[1][:6]
    auto = {"max_epochs": "auto", "learning_rate": "auto", "trainable": "all"}
    clf = make(TWO, **auto).fit(texts, labels)
    vectors = torch.from_numpy(clf.transform(texts + [*TWO.values()]))
    scaled = clf.net_.module.scaled(vectors).numpy().astype(np.float64)
    codes = np.equal(labels + [*TWO], "pos").astype(int)
    weight, bias = class_probe(scaled, codes, np.ones(8), 2)
    head = clf.net_.module.head
    np.testing.assert_allclose(head.weight.detach(), weight, atol=1e-4)
    np.testing.assert_allclose(head.bias.detach(), bias, atol=1e-4)


def test_labels_that_are_no_words_change_nothing(start, reviews):
    """ "auto" leaves the head as it is where labels are numbers or no known words."""
    texts, labels = reviews[0][:6], reviews[1][:6]
    for pos, neg in [(1, 0), ("LABEL_1", "LABEL_0"), ("ABBR", "WXYZ")]:
        y = [pos if label == "pos" else neg for label in labels]
        np.testing.assert_array_equal(start("auto", texts, y), start(None, texts, y))
    y = [f"{'good' if label == 'pos' else 'bad'}_film" for label in labels]
    assert np.abs(start("auto", texts, y) - start(None, texts, y)).max() > 1e-3


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_several_labels_per_text(start, reviews, class_weight):
    """The description of a label is a text with that label alone."""
    texts, Y = reviews[0][:4], [[1, 0], [1, 1], [1, 1], [0, 0]]
    described = {0: TWO["pos"], 1: TWO["neg"]}
    found = start(described, texts, Y, class_weight=class_weight)
    if class_weight is None:
        joined = start(None, texts + [*TWO.values()], [*Y, [1, 0], [0, 1]])
        np.testing.assert_allclose(found, joined, atol=1e-6)
    else:  # which weighs the texts, by their shares, and no description
        assert np.abs(found - start(described, texts, Y)).max() > 1e-3


def test_a_fit_that_goes_on_has_a_head(make, reviews):
    """Later calls of `partial_fit` start from the head that there is."""
    texts, labels = reviews
    described, other = (
        make(TWO).partial_fit(texts, labels).set_params(class_descriptions=later)
        for later in (TWO, {"pos": "the cat", "neg": "the dog"})
    )
    proba = [
        clf.partial_fit(texts, labels).predict_proba(texts[:4])
        for clf in (described, other)
    ]
    np.testing.assert_array_equal(*proba)


def test_a_fit_repeats(make, reviews):
    """The same seed gives the same bits."""
    proba = [
        make(TWO, trainable="all").fit(*reviews).predict_proba(reviews[0][:4])
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*proba)


def test_searched(make, reviews):
    """A search tries descriptions as it tries any parameter."""
    grid = {"class_descriptions": [None, "auto", TWO]}
    search = GridSearchCV(make(None), grid, cv=2).fit(*reviews)
    assert len(search.cv_results_["params"]) == 3
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()


def test_labels_of_pairs_are_not_read(start):
    """ "auto" describes single texts, so it leaves the head of pairs as it is."""
    pairs, labels = [("a film", "bad"), ("a plot", "good")] * 2, ["bad", "good"] * 2
    np.testing.assert_array_equal(
        start("auto", pairs, labels), start(None, pairs, labels)
    )


@pytest.mark.usefixtures("no_reading")
@pytest.mark.parametrize(
    ("described", "X", "params", "error", "message"),
    [
        ({**TWO, "cat": "x"}, ["a", "b"], {}, ValueError, "a text for 'cat'"),
        ({"pos": "x"}, ["a", "b"], {}, ValueError, "no text for the class 'neg'"),
        ({**TWO, "pos": ""}, ["a", "b"], {}, ValueError, "which is empty"),
        ({**TWO, "pos": 1.5}, ["a", "b"], {}, TypeError, "1.5 of type float"),
        (TWO, ["a", "b"], {"head_init": "random"}, ValueError, "head_init is 'random'"),
        (
            "auto",
            ["a", "b"],
            {"head_init": "random"},
            ValueError,
            "is given and head_i",
        ),
        (TWO, [("a", "b"), ("c", "d")], {}, ValueError, "two columns"),
        ([*TWO], ["a", "b"], {}, ValueError, "class_descriptions.* must be"),
    ],
)
def test_bad_descriptions(make, described, X, params, error, message):
    """What is wrong is said before a checkpoint is read."""
    with pytest.raises(error, match=message):
        make(described, **params).fit(X, [*TWO])
