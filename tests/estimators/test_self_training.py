"""A classifier that learns from unlabeled texts by its own guesses."""

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from sklearn_bert import (
    BertClassifier,
    BertPretrainer,
    BertRegressor,
    TruncationWarning,
    load,
    save,
)
from sklearn_bert.estimators import _base, _language_model, _self_training
from sklearn_bert.targets._self_training import self_trained


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer, for speed."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def data(reviews):
    """Eight labelled texts, their labels, and others without."""
    texts, labels = reviews
    numbered = [f"{text} {'cat ' * (i // 10)}" for i, text in enumerate(texts)]
    return numbered[:8], np.array(labels[:8]), numbered[8:]


@pytest.fixture(scope="module")
def make(settings):
    """Make a classifier that trains for two updates."""

    def make(**params):
        return BertClassifier(**(settings | {"max_epochs": 2} | params))

    return make


@pytest.fixture(scope="module")
def fitted(make, data):
    """A classifier that has seen the others, too."""
    X, y, others = data
    return make().fit(X, y, unlabeled=others)


@pytest.fixture
def guessed(monkeypatch):
    """The texts whose labels were guessed in the fits of a test."""
    found = []
    without = _self_training.Texts.without

    def spy(texts, known):
        kept = without(texts, known)
        found.append(kept.rows())
        return kept

    monkeypatch.setattr(_self_training.Texts, "without", spy)
    return found


def head_of(estimator):
    head = estimator.net_.module.head
    return head.weight.detach().numpy(), head.bias.detach().numpy()


# -- what is learnt --------------------------------------------------------------------


def test_the_head_is_fitted_with_guesses(fitted, make, data):
    """The encoder is that of a fit without the others; the head is `self_trained`."""
    X, y, others = data
    alone = make().fit(X, y)
    np.testing.assert_array_equal(fitted.transform(X), alone.transform(X))
    scaled = [
        (v - v.mean(1, keepdims=True)) / np.sqrt(v.var(1, keepdims=True) + 1e-5)
        for v in (alone.transform(X).astype(float), alone.transform(others))
    ]
    codes = np.searchsorted(alone.classes_, y)
    found = self_trained(scaled[0], codes, np.ones(8), scaled[1], 2, 3)
    weight, bias = head_of(fitted)
    np.testing.assert_allclose(weight, found.weight, atol=1e-4)
    np.testing.assert_allclose(bias, found.bias, atol=1e-4)
    counts = np.bincount(found.codes, minlength=2).tolist()
    assert fitted.self_training_report_ == {
        "n_rounds": 3,
        "n_texts": len(others),
        "n_guessed": counts,
    }
    assert not hasattr(alone, "self_training_report_")


def test_descriptions_count_beside_the_labelled_texts(make, data, monkeypatch):
    """A description is a text of its class, in the guesses and in the last fit."""
    X, y, others = data
    found = []
    train = _self_training.self_trained

    def spy(vectors, codes, weights, *args):
        found.append((codes.tolist(), weights.tolist()))
        return train(vectors, codes, weights, *args)

    monkeypatch.setattr(_self_training, "self_trained", spy)
    topics = {"neg": "a dull film", "pos": ["a great film", "i love it"]}
    clf = make(class_descriptions=topics).fit(X, y, unlabeled=others)
    codes = np.searchsorted(clf.classes_, y).tolist()
    assert found == [(codes + [0, 1, 1], [1.0] * 8 + [1.0, 0.5, 0.5])]


def test_predictions_are_of_the_new_head(fitted, data):
    """Probabilities are those of the vectors and the head that is published."""
    weight, bias = head_of(fitted)
    v = fitted.transform(data[2])
    v = (v - v.mean(1, keepdims=True)) / np.sqrt(v.var(1, keepdims=True) + 1e-5)
    odds = (v @ weight.T + bias) @ [-1, 1] / fitted.temperature_
    np.testing.assert_allclose(fitted.decision_function(data[2]), odds, atol=1e-3)


@pytest.mark.parametrize("rounds", [1, np.int64(2)])
def test_the_number_of_rounds(make, data, rounds):
    """A number says how many rounds there are."""
    X, y, others = data
    clf = make(self_training=rounds, trainable="head").fit(X, y, unlabeled=others)
    assert clf.self_training_report_["n_rounds"] == rounds


def test_without_unlabeled_texts_there_are_no_rounds(make, data):
    """The parameter alone changes nothing."""
    X, y, _ = data
    one = make(self_training=5).fit(X, y)
    other = make(self_training=False).fit(X, y)
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    assert not hasattr(one, "self_training_report_")


def test_a_seed_repeats_the_fit(fitted, make, data):
    """Equal to the bit, also where the texts that take part are drawn."""
    X, y, others = data
    again = make().fit(X, y, unlabeled=others)
    np.testing.assert_array_equal(
        again.predict_proba(others), fitted.predict_proba(others)
    )


def test_many_texts_are_drawn_from(make, data, monkeypatch):
    """Of more unlabeled texts than are read so many take part as are."""
    X, y, others = data
    monkeypatch.setattr(_self_training, "MOST_TEXTS", 10)
    clf = make(trainable="head").fit(X, y, unlabeled=others)
    assert sum(clf.self_training_report_["n_guessed"]) <= 6
    again = make(trainable="head").fit(X, y, unlabeled=others)
    np.testing.assert_array_equal(clf.predict_proba(X), again.predict_proba(X))


def test_known_texts_are_not_guessed(make, data, guessed):
    """Texts of X and X_val are left out of the others, and repeated ones count once."""
    X, y, others = data
    unlabeled = [*X, *others[:6], *others[:6]]
    validation = {"X_val": others[:2], "y_val": ["neg", "pos"]}
    plain = make(trainable="head").fit(X, y, unlabeled=others[2:6], **validation)
    clf = make(trainable="head").fit(X, y, unlabeled=unlabeled, **validation)
    assert guessed == [others[2:6], others[2:6]]
    np.testing.assert_array_equal(clf.predict_proba(X), plain.predict_proba(X))


def test_held_out_texts_are_not_guessed(make, data, guessed):
    """Nor are those that early_stopping holds out."""
    X, y, others = data
    clf = make(early_stopping=True, validation_fraction=0.25)
    clf.fit(X, y, unlabeled=[*X, *others])
    assert guessed == [others]


def test_only_known_texts(make, data):
    """Where no other text is left the fit is as without."""
    X, y, _ = data
    clf = make().fit(X, y, unlabeled=X)
    assert clf.self_training_report_["n_guessed"] == [0, 0]
    np.testing.assert_array_equal(
        clf.predict_proba(X), make().fit(X, y).predict_proba(X)
    )


def test_labels_of_one_class_are_no_model(make, data):
    """Where the texts that weigh anything are of one class nothing is guessed."""
    X, y, others = data
    weight = (y == "pos").astype(float)
    clf = make(trainable="head").fit(X, y, weight, unlabeled=others)
    assert clf.self_training_report_["n_guessed"] == [0, 0]
    assert set(clf.predict(others)) == {"pos"}


def test_few_labels_of_the_default_recipe(make, data):
    """After the recipe for few labels the head is as known texts alone make it."""
    X, y, _ = data
    params = {"max_epochs": "auto", "trainable": "head"}
    one = make(**params).fit(X, y, unlabeled=X)
    np.testing.assert_array_equal(head_of(one)[0], head_of(make(**params).fit(X, y))[0])


def test_with_pretraining_both_use_the_texts(make, data):
    """The checkpoint is adapted to them, and their labels are guessed."""
    X, y, others = data
    nested = BertPretrainer(max_epochs=1, batch_size=8)
    clf = make(pretraining=nested, trainable="head").fit(X, y, unlabeled=others)
    assert len(clf.pretraining_history_) == 1
    assert clf.self_training_report_["n_texts"] == len(others)
    clf.set_params(self_training=False).fit(X, y, unlabeled=others)
    assert not hasattr(clf, "self_training_report_")


def test_pairs(make, data, guessed):
    """Pairs are guessed as pairs."""
    X, y, others = data
    pairs = list(zip(X, reversed(X), strict=True))
    more = list(zip(others[:8], X, strict=True))
    frame = pd.DataFrame(more, columns=["a", "b"])
    clf = make(trainable="head").fit(pairs, y, unlabeled=frame)
    assert guessed == [more]
    assert clf.predict(more).shape == (8,)


def test_long_unlabeled_texts_are_warned_about(make, data):
    """That texts are cut is said of these, too."""
    X, y, _ = data
    with pytest.warns(TruncationWarning, match="1 of 2 texts are longer"):
        make(max_length=40).fit(X, y, unlabeled=["dog " * 60, "the cat"])


# -- a parameter as all others ---------------------------------------------------------


def test_it_comes_back(fitted, data, tmp_path):
    """A saved classifier has its parameter and its report."""
    save(fitted, tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.self_training == "auto"
    assert again.self_training_report_ == fitted.self_training_report_
    np.testing.assert_array_equal(
        again.predict_proba(data[2]), fitted.predict_proba(data[2])
    )


def test_a_search_routes_the_texts(make, data):
    """A grid has self_training, and every fit gets the unlabeled texts."""
    X, y, others = data
    with config_context(enable_metadata_routing=True):
        estimator = make(trainable="head").set_fit_request(unlabeled=True)
        # As many as X would be divided into folds.
        search = GridSearchCV(estimator, {"self_training": [1, 2]}, cv=2)
        search.fit(X, y, unlabeled=others)
    best = search.best_estimator_
    assert best.self_training_report_["n_rounds"] == best.self_training
    assert clone(best).self_training == best.self_training


def test_a_second_fit_that_goes_on(fitted, make, data):
    """warm_start refuses unlabeled texts, and goes on without them."""
    X, y, others = data
    clf = make(warm_start=True).fit(X, y, unlabeled=others)
    with pytest.raises(ValueError, match="continues an earlier fit, and learns"):
        clf.fit(X, y, unlabeled=others)
    clf.fit(X, y)
    assert clf.n_iter_ == 4
    assert not hasattr(clf, "self_training_report_")


# -- what is refused, before anything is read ------------------------------------------


@pytest.fixture
def nothing_is_read(monkeypatch):
    """Reading a checkpoint is an error."""

    def fail(*args, **kwargs):
        raise AssertionError("the checkpoint was read")

    for module in (_base, _language_model):
        monkeypatch.setattr(module, "load_checkpoint", fail)


def refuse(make, data, unlabeled, match, error=ValueError, y=None, **params):
    clf = make(**params)
    with pytest.raises(error, match=match):
        clf.fit(data[0], data[1] if y is None else y, unlabeled=unlabeled)
    with pytest.raises(NotFittedError):
        clf.predict(data[0])


def test_texts_that_nothing_learns_from(make, data, nothing_is_read):
    """Both ways to learn from unlabeled texts are named."""
    match = "pretraining is None and self_training is False.*self_training='auto' or"
    refuse(make, data, data[2], match, self_training=False)


@pytest.mark.parametrize("rounds", ["auto", 2])
def test_several_labels_per_text(make, data, nothing_is_read, rounds):
    """An indicator has no self-training."""
    match = f"self_training is {rounds!r} and y is an indicator.*one label per text"
    refuse(make, data, data[2], match, y=np.eye(2)[[0, 1] * 4], self_training=rounds)


def test_several_labels_with_pretraining(make, data):
    """With pretraining the texts of an indicator are for that alone."""
    X, _, others = data
    nested = BertPretrainer(max_epochs=1, batch_size=8)
    clf = make(pretraining=nested, trainable="head")
    clf.fit(X, np.eye(2, dtype=int)[[0, 1] * 4], unlabeled=others)
    assert len(clf.pretraining_history_) == 1
    assert not hasattr(clf, "self_training_report_")


@pytest.mark.parametrize(
    ("unlabeled", "error", "message"),
    [
        ([("a", "b")], ValueError, "unlabeled has 2 features and X has 1"),
        ([], ValueError, "in unlabeled: X is empty"),
        (["a", None], ValueError, r"in unlabeled: X\[1\] is None"),
        (["a", 3], TypeError, r"in unlabeled: X\[1\] is 3"),
        ("text", TypeError, "in unlabeled: X is a single str"),
    ],
    ids=["pairs", "empty", "missing", "number", "one text"],
)
def test_wrong_texts(make, data, nothing_is_read, unlabeled, error, message):
    """What is wrong with them is said as of X."""
    refuse(make, data, unlabeled, message, error)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "yes", None])
def test_wrong_numbers_of_rounds(make, data, nothing_is_read, wrong):
    """Rounds are a number of 1 or more."""
    with pytest.raises(ValueError, match="'self_training' parameter"):
        make(self_training=wrong).fit(data[0], data[1])


def test_true_is_no_number_of_rounds(make, data, nothing_is_read):
    """True does not say how many rounds there are."""
    with pytest.raises(ValueError, match="self_training is True; expected 'auto'"):
        make(self_training=True).fit(data[0], data[1])


def test_regressors_have_pretraining_alone(settings, data, nothing_is_read):
    """Numbers are not guessed."""
    assert "self_training" not in BertRegressor().get_params()
    with pytest.raises(ValueError, match="unlabeled is given and pretraining is None"):
        BertRegressor(**settings).fit(data[0], np.arange(8.0), unlabeled=data[2])
