"""Classes that a fitted classifier learns later."""

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import scale

import sklearn_bert
from sklearn_bert import BertClassifier
from sklearn_bert.targets._temperature import temperature_of_held_out

# At a rate at which no weight changes, what a call says is what it starts with.
STILL = {"learning_rate": 1e-30, "weight_decay": 0.0}
KNOWN, GROWN = ["b", "d", "e"], ["a", "b", "c", "d", "e"]


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer, for there is little to learn."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def texts(reviews):
    """Forty texts, of which the word before the last decides."""
    return reviews[0]


@pytest.fixture(scope="module")
def fitted(settings, texts):
    """A classifier of three classes, of a temperature that is not 1."""
    clf = BertClassifier(**settings, max_epochs=1)
    return clf.fit(texts, np.resize(KNOWN, 40))


@pytest.fixture
def grow(fitted, texts):
    """Let a copy learn two classes more, by `partial_fit` or a warm `fit`."""

    def grow(method="partial_fit", y=None, given=None, **params):
        clf = copy.deepcopy(fitted).set_params(**params)
        y = np.resize(GROWN, 40) if y is None else y
        if method == "partial_fit":
            return clf.partial_fit(texts, y, classes=GROWN, **(given or {}))
        return clf.set_params(warm_start=True).fit(texts, y, **(given or {}))

    return grow


@pytest.mark.parametrize(
    ("head_init", "method", "trainable"),
    [
        ("probe", "partial_fit", "all"),
        ("probe", "fit", "head"),
        ("random", "fit", "all"),
        ("random", "partial_fit", "head"),
    ],
)
def test_known_classes_are_as_before(fitted, grow, texts, head_init, method, trainable):
    """Before it has learnt more, their rows and decision values are the same."""
    clf = grow(method, head_init=head_init, trainable=trainable, **STILL)
    assert clf.classes_.tolist() == GROWN
    scores = clf.decision_function(texts)
    assert_allclose(scores[:, [1, 3, 4]], fitted.decision_function(texts), atol=1e-5)
    for ours, before in zip(
        clf.net_.module.head.parameters(),
        fitted.net_.module.head.parameters(),
        strict=True,
    ):
        assert torch.equal(ours[[1, 3, 4]], before)
    assert np.ptp(scores[:, [0, 2]], axis=0).min() > 0
    assert clf.temperature_ == fitted.temperature_ != 1
    assert clf.n_iter_ == 2


def test_new_classes_start_between_the_means(fitted, grow, texts):
    """Before the training a score is 12 cosines with the way to its own texts."""
    clf = grow(**STILL)
    vectors = scale(fitted.transform(texts).astype(np.float64), axis=1)
    scores = clf.decision_function(texts) * clf.temperature_
    for place in (0, 2):
        own = np.arange(40) % 5 == place
        here, there = vectors[own].mean(axis=0), vectors[~own].mean(axis=0)
        cosines = cosine_similarity(vectors, (here - there)[None])[:, 0]
        expected = 12 * (cosines - (cosines[own].mean() + cosines[~own].mean()) / 2)
        assert_allclose(scores[:, place], expected, atol=1e-3)


def test_new_classes_are_learnt(grow, texts):
    """A class that comes later is predicted where its word stands."""
    y = np.where(["film" in text for text in texts], "c", np.resize(KNOWN, 40))
    clf = grow("fit", np.append(y[:-1], "a"), max_epochs=8)
    predicted = clf.predict(texts)
    assert (predicted[y == "c"] == "c").all()
    assert (predicted[y != "c"] != "c").all()


def test_two_classes_become_three(settings, texts):
    """Of two, the decision value is the difference of what it is beside others."""
    clf = BertClassifier(**settings, max_epochs=1).fit(texts, ["x", "y"] * 20)
    before = clf.decision_function(texts)
    clf.set_params(**STILL).partial_fit(
        texts, ["xx", "y"] * 20, classes=["y", "xx", "x"]
    )
    assert clf.classes_.tolist() == ["x", "xx", "y"]
    scores = clf.decision_function(texts)
    assert_allclose(scores[:, 2] - scores[:, 0], before, atol=1e-5)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1, 5], [1, 3, 5]),
        ([True, False], [0, 1, 2]),
        (["no", "yes"], ["maybe so", "no", "yes"]),
    ],
)
def test_labels_of_any_kind(settings, texts, before, after):
    """New labels come back as they went in, whatever their type and length."""
    clf = BertClassifier(**settings, max_epochs=1).fit(texts, np.resize(before, 40))
    clf.partial_fit(texts, np.resize(after, 40), classes=after)
    assert clf.classes_.tolist() == after
    assert set(clf.predict(texts)) <= set(after)


def test_a_grown_classifier_is_as_any(grow, texts, tmp_path):
    """It is pickled, saved, loaded, cloned, and goes on, in all its classes."""
    clf = grow()
    sklearn_bert.save(clf, tmp_path / "grown")
    for other in (
        pickle.loads(pickle.dumps(clf)),
        sklearn_bert.load(tmp_path / "grown"),
    ):
        assert other.classes_.tolist() == GROWN
        assert_array_equal(other.predict_proba(texts), clf.predict_proba(texts))
    assert not hasattr(clone(clf), "classes_")
    other.partial_fit(texts[:2], ["a", "a"])
    clf.partial_fit(texts[:2], ["a", "a"])
    assert_array_equal(other.predict_proba(texts), clf.predict_proba(texts))


def test_new_labels_stand_behind_the_others(quick, texts):
    """Of an indicator each new column starts as a regression; the others stay."""
    Y = np.random.default_rng(0).integers(0, 2, (40, 4))
    clf = BertClassifier(**quick).fit(texts, Y[:, :2])
    clf.set_params(head_init="probe", **STILL)
    before = clf.decision_function(texts)
    for go_on in (
        copy.deepcopy(clf).set_params(warm_start=True).fit(texts, Y),
        copy.deepcopy(clf).partial_fit(texts, Y, classes=range(4)),
    ):
        assert go_on.classes_.tolist() == [0, 1, 2, 3]
        scores = go_on.decision_function(texts)
        assert_allclose(scores[:, :2], before, atol=1e-5)
        assert np.ptp(scores[:, 2:], axis=0).min() > 0


def test_a_wrong_table_does_not_grow(quick, texts):
    """`partial_fit` takes more columns only where it is told so."""
    Y = np.resize(np.eye(3, dtype=int), (40, 3))
    clf = BertClassifier(**quick).fit(texts, Y[:, :2])
    with pytest.raises(ValueError, match=r"classes are \[0, 1, 2\], but .* is told"):
        clf.partial_fit(texts, Y)


def test_a_class_that_is_still_to_come(grow, texts):
    """A class without a text is known, and of none of the texts."""
    clf = grow(y=np.resize(["b", "c", "d"], 40), **STILL)
    assert (clf.decision_function(texts)[:, 0] < 0).all()


def test_weights_of_new_classes(grow, texts):
    """`class_weight` has one for each class; a heavy new one wins."""
    y = np.resize(["b", "c"], 40)
    shares = []
    for weight in (1000.0, 0.001):
        weights = {**dict.fromkeys(GROWN, 1), "c": weight}
        clf = grow(y=y, class_weight=weights, learning_rate=0.01)
        shares.append(clf.predict_proba(texts)[:, 2].mean())
    assert shares[0] > 2 * shares[1]
    with pytest.raises(ValueError, match="has a weight for 'z'"):
        grow(y=y, class_weight={**dict.fromkeys(KNOWN, 1), "z": 1})


def test_held_out_texts_say_how_sure(grow, texts):
    """With enough of them the temperature is fitted anew; else it stays."""
    y = np.resize(GROWN, 40)
    clf = grow("fit", given={"X_val": texts, "y_val": y}, **STILL)
    scores = clf.decision_function(texts) * np.float32(clf.temperature_)
    expected = temperature_of_held_out(scores, np.resize(range(5), 40))
    assert clf.temperature_ == pytest.approx(expected, rel=1e-3)
    few = grow("fit", given={"X_val": texts[:8], "y_val": y[:8]}, **STILL)
    assert few.temperature_ == grow(**STILL).temperature_ != clf.temperature_
    kept = grow("fit", given={"X_val": texts, "y_val": y}, calibrate=False, **STILL)
    assert kept.temperature_ == few.temperature_


def test_new_classes_are_described(settings, texts):
    """A description counts as a text of its class, of new ones as of others."""
    two = {"bad": "awful dull", "good": "great fine"}
    y = np.resize(["bad", "good"], 40)
    clf = BertClassifier(**settings, max_epochs=1, class_descriptions=two).fit(texts, y)
    clf.set_params(**STILL)
    classes = ["bad", "cat", "good"]
    with pytest.raises(ValueError, match="no text for the class 'cat'"):
        copy.deepcopy(clf).partial_fit(texts, y, classes=classes)
    shares = []
    for described in (None, {**two, "cat": "the cat sleeps"}):
        grown = copy.deepcopy(clf).set_params(class_descriptions=described)
        grown.partial_fit(texts, y, classes=classes)
        shares.append(grown.predict_proba(["the cat sleeps"])[0, 1])
    assert shares[1] > 1.5 * shares[0], shares


@pytest.mark.parametrize(
    ("y", "classes", "message"),
    [
        (["a"] * 40, ["a", "b", "d"], r"were \['b', 'd', 'e'\]; training can only"),
        (
            ["a"] * 40,
            None,
            r"y\[0\] is 'a', which is .* as classes to partial_fit",
        ),
        (["z"] * 40, GROWN, "y\\[0\\] is 'z', which is not among the 5 classes"),
        (np.eye(2)[[0, 1] * 20], None, "training can only go on"),
    ],
)
def test_what_does_not_fit_is_refused(fitted, texts, y, classes, message):
    """A known class must not be missing, and nothing grows unasked."""
    clf = copy.deepcopy(fitted)
    state = {name: id(value) for name, value in vars(clf).items()}
    with pytest.raises(ValueError, match=message):
        clf.partial_fit(texts, y, classes=classes)
    assert {name: id(value) for name, value in vars(clf).items()} == state


def test_a_warm_fit_of_other_classes_is_refused(grow):
    """New texts alone are no data to fit to; `partial_fit` takes them."""
    with pytest.raises(ValueError, match=r"classes are \['a', 'c'\], but"):
        grow("fit", np.resize(["a", "c"], 40))


def test_a_failed_call_grows_nothing(fitted, texts, monkeypatch):
    """After an error in the middle of the training all is as it was."""
    clf = copy.deepcopy(fitted)
    before = clf.predict_proba(texts)

    def fail(self, batch):
        raise FloatingPointError

    monkeypatch.setattr("sklearn_bert.training._net.BertNet.train_step", fail)
    with pytest.raises(FloatingPointError):
        clf.partial_fit(texts, np.resize(GROWN, 40), classes=GROWN)
    assert clf.classes_.tolist() == KNOWN
    assert_array_equal(clf.predict_proba(texts), before)
