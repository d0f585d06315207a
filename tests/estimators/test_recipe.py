"""What "auto" comes to, and how few labels are learned."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.utils.class_weight import compute_sample_weight
from skorch.callbacks import Callback
from torch.nn import functional

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertRegressor,
    BertTokenClassifier,
    load,
    save,
)
from sklearn_bert.compute._runner import Runner
from sklearn_bert.estimators import _class_head
from sklearn_bert.estimators._recipe import Recipe
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.targets import _labels
from sklearn_bert.targets._temperature import temperature_of_held_out
from sklearn_bert.training._contrastive import ContrastiveCrossEntropy
from sklearn_bert.training._losses import CrossEntropy


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    return shallow_checkpoint


@pytest.fixture(scope="module")
def common(checkpoint):
    return {"checkpoint": checkpoint, "random_state": 0, "device": "cpu"} | {
        "precision": "float32"
    }


@pytest.mark.parametrize(
    ("n_texts", "epochs"),
    [
        (4, 13),
        (16, 21),
        (32, 26),
        (48, 15),
        (192, 8),
        (768, 3),
        (3_000, 3),
        (67_000, 3),
    ],
)
def test_updates_grow_with_the_cube_root_of_the_texts(n_texts, epochs):
    """48 texts have 30 updates, n cbrt(n / 48) times as many; epochs are 3 at least."""
    recipe = Recipe.of(BertClassifier(), n_texts, 384)
    n_updates = 30 * (n_texts / 48) ** (1 / 3)
    expected = max(3, round(n_updates / math.ceil(n_texts / 32)))
    assert recipe.max_epochs == expected == epochs
    assert recipe.batch_size == min(32, n_texts)


@pytest.mark.parametrize(
    ("width", "rate"), [(128, 1e-4), (384, 1e-4), (768, 5e-5), (1024, 3.75e-5)]
)
def test_rate_falls_with_the_width(width, rate):
    """The rate is 1e-4 up to a width of 384, and in inverse proportion beyond."""
    assert Recipe.of(BertRegressor(), 500, width).learning_rate == pytest.approx(rate)


def test_numbers_mean_what_they_are():
    """What is given is taken, and nothing else is done with few labels."""
    clf = BertClassifier(max_epochs=2, batch_size=7, learning_rate=0.5)
    recipe = Recipe.of(clf, 16, 768, class_counts=np.array([8, 8]), has_vectors=True)
    assert recipe == Recipe(0.5, 2, 7, has_few_labels=False, leans=False)


@pytest.mark.parametrize(
    ("counts", "weight"),
    [
        ([127, 1], 1.0),
        ([128, 64], 1.0),
        ([129, 63], 0.0),
        ([1_936, 64], 1.0),
        ([1_937, 64], 0.0),
        ([64] * 6, 9.0),
        ([64] * 5 + [65], 1.0),
        ([1] * 5 + [379], 9.0),
        ([1] * 5 + [380], 0.0),
        ([64] * 77, 9.0),
        ([64] * 76 + [65], 0.0),
    ],
)
def test_labels_are_few_up_to_64_per_class_or_2000_texts(counts, weight):
    """Labels are few up to 64 texts per class; up to 2,000 if each class has 64.

    The contrast of up to 64 texts of each of more than two classes has nine times the
    weight of the cross-entropy, others have the same. Above 64 the head does not lean.
    """
    recipe = Recipe.of(
        BertClassifier(),
        sum(counts),
        384,
        class_counts=np.array(counts),
        has_vectors=True,
    )
    assert recipe.contrast_weight == weight
    assert recipe.has_few_labels == (weight > 0)
    assert recipe.leans == (sum(counts) <= 64 * len(counts))


def test_indicators_and_numbers_have_no_few_labels():
    """What has not one class per text is learned as many texts are."""
    recipe = Recipe.of(BertClassifier(), 10, 384, has_vectors=True)
    assert recipe == Recipe(1e-4, 18, 10)


@pytest.mark.parametrize("is_partial", [False, True])
def test_few_labels_need_vectors_to_be_contrasted(is_partial):
    """Without vectors classes are balanced alone; partial_fit does neither.

    Then labels are few up to 64 texts per class.
    """
    clf, counts = BertClassifier(), np.array([5, 5])
    recipe = Recipe.of(clf, 10, 384, is_partial, class_counts=counts)
    assert recipe.has_few_labels != is_partial
    assert recipe.contrast_weight == 0.0
    assert recipe.max_epochs == (1 if is_partial else 18)
    more = np.array([64, 65])
    assert not Recipe.of(clf, 129, 384, class_counts=more).has_few_labels


CASES = {
    "labels": (BertClassifier, lambda y: y),
    "indicator": (BertClassifier, lambda y: np.column_stack([y == "pos", y == "neg"])),
    "numbers": (BertRegressor, lambda y: (y == "pos").astype(float)),
}


@pytest.mark.parametrize("kind", CASES)
def test_what_was_chosen_is_published(common, reviews, kind):
    """Rate, epochs and batch size stand in attributes and in the history."""
    cls, target = CASES[kind]
    X, y = reviews[0][:12], target(np.array(reviews[1][:12]))
    clf = cls(**common, dropout=0.0).fit(X, y)
    found = (clf.learning_rate_, clf.max_epochs_, clf.batch_size_)
    assert found == (1e-4, 19, 12)
    assert len(clf.history_) == clf.n_iter_ == 19
    assert max(row["learning_rate"] for row in clf.history_) == pytest.approx(1e-4)


@pytest.mark.parametrize(("n_classes", "weight"), [(2, 1.0), (3, 9.0)])
def test_few_labels_are_contrasted_with_a_weight(common, reviews, n_classes, weight):
    """The loss has the contrast, with the weight that is for so many classes."""
    X, y = reviews[0][:9], np.arange(9) % n_classes
    clf = BertClassifier(**common).fit(X, y)
    assert clf.net_.criterion.contrast_weight == weight
    clf.set_params(max_epochs=1).fit(X, y)
    assert type(clf.net_.criterion) is CrossEntropy


def test_tags_choose_by_the_sentences(common):
    """A token classifier chooses by its sentences, and publishes what it chose."""
    X, y = [["a", "good", "film"], ["a", "cat"]] * 3, [["B", "I", "I"], ["B", "I"]] * 3
    tagger = BertTokenClassifier(**common).fit(X, y)
    found = (tagger.learning_rate_, tagger.max_epochs_, tagger.batch_size_)
    assert found == (1e-4, 15, 6)


@pytest.mark.parametrize("name", ["learning_rate", "max_epochs", "batch_size"])
@pytest.mark.parametrize("cls", [BertClassifier, BertRegressor, BertTokenClassifier])
def test_words_other_than_auto_are_refused(cls, name, reviews):
    """A word that is not "auto" is an error that names the parameter."""
    with pytest.raises(ValueError, match=f"'{name}' parameter of {cls.__name__}"):
        cls(**{name: "fast"}).fit(*reviews)


# -- the head ----------------------------------------------------------------------


def test_head_starts_as_the_regression_of_the_vectors(common, reviews):
    """Before any step the probabilities are those of LogisticRegression on vectors."""
    X, y = reviews
    clf = BertClassifier(
        **common, learning_rate=1e-30, max_epochs=1, weight_decay=0.0, calibrate=False
    ).fit(X, y)
    vectors = torch.from_numpy(
        BertEmbedder(common["checkpoint"], device="cpu", precision="float32")
        .fit(X)
        .transform(X)
    )
    scaled = functional.layer_norm(vectors, (32,)).numpy() / np.sqrt(32)
    reference = LogisticRegression(C=10, tol=1e-3, max_iter=1000).fit(scaled, y)
    assert_allclose(clf.predict_proba(X), reference.predict_proba(scaled), atol=1e-4)


def test_head_of_a_fit_that_goes_on_starts_where_it_was(common, reviews):
    """A warm start keeps the head: nothing is fitted anew before its first step."""
    X, y = reviews
    clf = BertClassifier(**common, max_epochs=2, learning_rate=5e-3).fit(X, y)
    before = clf.predict_proba(X)
    clf.set_params(warm_start=True, learning_rate=1e-30, weight_decay=0.0, max_epochs=1)
    assert_allclose(clf.fit(X, y).predict_proba(X), before, atol=1e-6)


@pytest.mark.parametrize("kind", CASES)
def test_random_head_does_not_look_at_vectors(common, reviews, kind, monkeypatch):
    """head_init="random" without calibration computes no vector before the training."""
    cls, target = CASES[kind]
    clf = cls(**common, head_init="random", max_epochs=1, learning_rate=1e-3)
    if cls is BertClassifier:
        clf.set_params(calibrate=False)

    def refuse(*args):
        raise AssertionError("vectors were computed")

    monkeypatch.setattr("sklearn_bert.estimators._fit.FitCall.head_inputs", refuse)
    clf.fit(reviews[0], target(np.array(reviews[1])))
    assert clf.n_iter_ == 1


@pytest.mark.parametrize("trainable", ["all", "head", 1])
@pytest.mark.parametrize("pooling", ["mean", "attention", "max"])
def test_probe_with_every_pooling_and_trainable(common, reviews, pooling, trainable):
    """Whatever learns and however it is pooled, the probe tells the reviews apart."""
    clf = BertClassifier(
        **common,
        pooling=pooling,
        trainable=trainable,
        max_epochs=1,
        learning_rate=1e-30,
        weight_decay=0.0,
    ).fit(*reviews)
    assert clf.score(*reviews) > 0.9


# -- few labels --------------------------------------------------------------------


def test_few_labels_end_with_a_regression_of_the_vectors(common, reviews):
    """The head in the end is LogisticRegression on the vectors that were learned."""
    X, y = reviews[0][:10], reviews[1][:10]
    clf = BertClassifier(**common, calibrate=False).fit(X, y)
    scaled = functional.layer_norm(torch.from_numpy(clf.transform(X)), (32,)).numpy()
    unit = scaled / np.sqrt(32)
    reference = LogisticRegression(C=10, tol=1e-3, max_iter=1000).fit(unit, y)
    assert_allclose(clf.predict_proba(X), reference.predict_proba(unit), atol=1e-5)


@pytest.mark.parametrize("class_weight", [None, "balanced", {"pos": 1, "neg": 9}])
def test_few_labels_weigh_classes_in_the_last_fit_alone(common, reviews, class_weight):
    """In training classes weigh alike, whatever their weights; the last head obeys."""
    good = [t for t, label in zip(*reviews, strict=True) if label == "pos"]
    bad = [t for t, label in zip(*reviews, strict=True) if label == "neg"]
    X, y = good + bad[:5], np.repeat(["pos", "neg"], [len(good), 5])
    found = []

    class Spy(Callback):
        def on_train_begin(self, net, X=None, y=None, **kwargs):
            found.append(X)

    clf = BertClassifier(
        **common, calibrate=False, callbacks=[Spy], class_weight=class_weight
    ).fit(X, y)
    (examples,) = found
    assert_allclose(examples.weights, 1, rtol=1e-6)
    scaled = functional.layer_norm(torch.from_numpy(clf.transform(X)), (32,)).numpy()
    unit = scaled / np.sqrt(32)
    weights = compute_sample_weight(class_weight, y)
    reference = LogisticRegression(C=10, tol=1e-3, max_iter=1000)
    reference.fit(unit, y, sample_weight=weights / weights.mean())
    # But for a bias by which it may lean to the class that weighs more.
    gaps = clf.decision_function(X) - reference.decision_function(unit)
    assert np.ptp(gaps) < 0.01


def test_few_labels_of_many_classes_are_all_in_the_last_fit(common, monkeypatch):
    """Of 2,112 texts in 33 classes none is left out, nor from the temperature."""
    n_texts, fits, scored = 33 * 64, [], []
    fit, logits = _labels.class_probe, _class_head.ClassHead._logits

    def spy(self, net, examples):
        found = logits(self, net, examples)
        scored.append(len(found[1]))
        return found

    monkeypatch.setattr(
        _labels, "class_probe", lambda X, *args: fits.append(len(X)) or fit(X, *args)
    )
    monkeypatch.setattr(_class_head.ClassHead, "_logits", spy)
    words = ["film", "great", "dull", "fine", "love", "hate"]
    texts = [f"{words[i % 6]} {words[i // 6 % 6]} {i}" for i in range(n_texts)]
    clf = BertClassifier(**common, trainable="head")
    clf.fit(texts, np.arange(n_texts) % 33)
    # A start needs no more, and comes first.
    assert fits == [2_000, n_texts]
    assert set(scored) == {n_texts}


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_confidence_is_that_of_what_learns(common, reviews, trainable, monkeypatch):
    """A head that learns alone is less sure of texts than a whole model may be."""
    asked = []
    confidence = _class_head.confidence_to_have
    monkeypatch.setattr(
        _class_head,
        "confidence_to_have",
        lambda *args, **kw: asked.append(kw) or confidence(*args, **kw),
    )
    BertClassifier(**common, trainable=trainable, max_epochs=1).fit(*reviews)
    assert asked == [{"learns": trainable == "all"}]


@pytest.mark.parametrize("reading", [{}, {"long_text": "window", "max_length": 6}])
def test_few_labels_are_scored_from_the_vectors_of_the_last_fit(
    common, reviews, reading, monkeypatch
):
    """What the head says of the texts is what the whole model says of them."""
    found, passes, compute_logits = [], [], _class_head.ClassHead._logits
    scores = Runner.scores
    monkeypatch.setattr(
        Runner, "scores", lambda *args, **kw: passes.append(1) or scores(*args, **kw)
    )

    def compare(self, net, examples):
        logits, rows = compute_logits(self, net, examples)
        # Texts in windows pass again: each window has scores of its own.
        assert len(passes) == len(reading) // 2
        expected = net.scores(examples.table.take(rows), self.labels.merge_windows)
        found.append((logits, expected))
        return logits, rows

    monkeypatch.setattr(_class_head.ClassHead, "_logits", compare)
    BertClassifier(**common, **reading).fit(reviews[0][:20], reviews[1][:20])
    ((ours, expected),) = found
    assert ours.shape == (20, 2)
    assert_allclose(ours, expected, rtol=0, atol=1e-5)


def test_few_labels_of_a_skewed_sample(common, reviews):
    """Three of one class beside twenty of another are learned, and stay rare."""
    good = [t for t, label in zip(*reviews, strict=True) if label == "pos"]
    bad = [t for t, label in zip(*reviews, strict=True) if label == "neg"]
    X, y = good + bad[:3], ["pos"] * len(good) + ["neg"] * 3
    clf = BertClassifier(**common, learning_rate=2e-3).fit(X, y)
    assert clf.score(X, y) == 1.0
    new = clf.predict_proba(["the film was very fine", "i hate it , a dull film !"])
    assert new[0, 1] > 0.9  # columns: neg, pos


def drawn_reviews(n_texts, n_rare):
    """Reviews whose labels say nothing of them: so many of all are rare."""
    rng = np.random.default_rng(0)
    words = ["film", "great", "dull", "fine", "love", "hate", "it", "very", "good"]
    texts = [" ".join(rng.choice(words, 6)) for _ in range(n_texts)]
    labels = np.where(rng.permutation(n_texts) < n_rare, "rare", "usual")
    return texts, labels


def test_few_labels_that_say_nothing_leave_the_most_frequent_class(common):
    """Where texts do not tell the classes, nearly all new ones get the usual one.

    With calibration or without. With balanced weights no class is the usual one, and
    the new texts are divided.
    """
    X, y = drawn_reviews(40, n_rare=10)
    new, _ = drawn_reviews(100, n_rare=50)
    params = common | {"learning_rate": 2e-3}
    clf = BertClassifier(**params).fit(X, y)
    assert (clf.predict(new) == "usual").mean() > 0.85
    unsure = BertClassifier(**params, calibrate=False).fit(X, y)
    assert_array_equal(unsure.predict(new), clf.predict(new))
    even = BertClassifier(**params, class_weight="balanced").fit(X, y)
    assert (even.predict(new) == "usual").mean() < 0.75


def test_more_than_64_per_class_end_with_a_regression_that_does_not_lean(common):
    """The head is LogisticRegression on the vectors that were learned, as it is.

    Though the labels say nothing of the texts, and one is rarer than the other.
    """
    X, y = drawn_reviews(150, n_rare=64)
    clf = BertClassifier(**common | {"learning_rate": 2e-3}, calibrate=False).fit(X, y)
    assert type(clf.net_.criterion) is ContrastiveCrossEntropy
    scaled = functional.layer_norm(torch.from_numpy(clf.transform(X)), (32,)).numpy()
    unit = scaled / np.sqrt(32)
    reference = LogisticRegression(C=10, tol=1e-3, max_iter=1000).fit(unit, y)
    assert_allclose(clf.predict_proba(X), reference.predict_proba(unit), atol=1e-3)


@pytest.mark.parametrize("described", [False, True])
def test_few_labels_lean_by_the_shares_of_texts_and_descriptions(
    common, described, monkeypatch
):
    """A class has the share of its texts, by weight, and of its description."""
    X, y = drawn_reviews(40, n_rare=10)
    priors, found = [], _class_head.temperature_of_information
    monkeypatch.setattr(
        _class_head,
        "temperature_of_information",
        lambda *args: [priors.append(args[2]), found(*args)][1],
    )
    texts = {"rare": "a dull film", "usual": "a great film"} if described else None
    clf = BertClassifier(**common, class_descriptions=texts)
    clf.fit(X, y, sample_weight=np.where(y == "rare", 2.0, 1.0))
    # Weights have the mean 1: 20 and 30 of 50 are 16 and 24 of 40.
    shares = np.array([16, 24]) + described
    assert_allclose(np.exp(priors), [shares / shares.sum()], rtol=1e-6)


def test_few_labels_equally_frequent_have_no_bias_added(common, monkeypatch):
    """Where classes are as frequent as each other, the head is what was fitted.

    Not by a common shift either, which a class that is new later would not have.
    """
    X, y = drawn_reviews(30, n_rare=10)[0], np.resize(["a", "b", "c"], 30)
    shifts, shift = [], TextModel.shift_head
    monkeypatch.setattr(
        TextModel,
        "shift_head",
        lambda self, bias: [shifts.append(bias), shift(self, bias)],
    )
    clf = BertClassifier(**common | {"learning_rate": 2e-3}).fit(X, y)
    assert clf.temperature_ > 1.1
    assert_allclose(shifts, np.zeros((1, 3)), atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_few_labels_calibrated_on_validation_texts(
    common, precision, emulated_bfloat16
):
    """The temperature is that of the head with its bias, in every precision."""
    X, y = drawn_reviews(40, n_rare=10)
    new, true = drawn_reviews(60, n_rare=20)
    params = common | {"precision": precision, "learning_rate": 2e-3}
    clf = BertClassifier(**params).fit(X, y, X_val=new, y_val=true)
    logits = clf.decision_function(new) * clf.temperature_
    expected = temperature_of_held_out(
        np.column_stack([0 * logits, logits]), (true == "usual").astype(int)
    )
    assert clf.temperature_ == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("reading", [{}, {"long_text": "window", "max_length": 6}])
def test_few_labels_repeat_exactly(common, reviews, reading):
    """The same random_state gives the same probabilities, bit by bit."""
    X, y = reviews[0][:10], reviews[1][:10]
    one, two = [BertClassifier(**common, **reading).fit(X, y) for _ in range(2)]
    assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_search_over_what_is_new(common, reviews):
    """A grid takes "auto" beside numbers, and each of the new parameters."""
    search = GridSearchCV(
        BertClassifier(**common, max_epochs=1),
        {
            "learning_rate": ["auto", 1e-3],
            "head_init": ["probe", "random"],
            "calibrate": [True, False],
        },
        cv=2,
        error_score="raise",
    ).fit(reviews[0][:12], reviews[1][:12])
    assert len(search.cv_results_["params"]) == 8
    assert clone(search.best_estimator_).get_params()["max_epochs"] == 1


# -- calibration -------------------------------------------------------------------


def test_calibration_changes_no_prediction(common, reviews):
    """Logits are those without calibration, over the temperature; labels the same."""
    X, y = reviews
    params = common | {"max_epochs": 1, "learning_rate": 1e-3}
    sure = BertClassifier(**params, calibrate=False).fit(X, y)
    honest = BertClassifier(**params).fit(X, y)
    assert sure.temperature_ == 1.0 != honest.temperature_
    assert_array_equal(sure.predict(X), honest.predict(X))
    assert_allclose(
        honest.decision_function(X) * honest.temperature_,
        sure.decision_function(X),
        rtol=1e-5,
    )


def test_calibration_on_validation_texts(common, reviews):
    """With validation texts the temperature has the least log loss on them."""
    X, y = reviews
    flipped = np.where(np.arange(40) % 4 == 0, np.roll(y, 1), y)
    clf = BertClassifier(**common, max_epochs=3, learning_rate=5e-3)
    clf.fit(X, y, X_val=X, y_val=flipped)
    logits = clf.decision_function(X) * clf.temperature_
    codes = (flipped == "pos").astype(int)

    def log_loss(temperature):
        proba = softmax(np.column_stack([0 * logits, logits]) / temperature, axis=1)
        return -np.log(proba[np.arange(40), codes]).mean()

    assert clf.temperature_ > 1
    grid = np.geomspace(0.3, 20, 100)
    assert log_loss(clf.temperature_) <= min(map(log_loss, grid)) + 1e-6


def test_calibration_is_saved(common, reviews, tmp_path):
    """A saved classifier gives the same probabilities."""
    clf = BertClassifier(**common, max_epochs=1, learning_rate=1e-3).fit(*reviews)
    save(clf, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.temperature_ == clf.temperature_ != 1
    assert_array_equal(loaded.predict_proba(reviews[0]), clf.predict_proba(reviews[0]))


def test_indicator_is_not_calibrated(common, reviews):
    """Texts with several labels have no one class to be sure of."""
    y = np.column_stack([np.arange(40) % 2, np.arange(40) % 3 == 0])
    assert BertClassifier(**common, max_epochs=1).fit(reviews[0], y).temperature_ == 1
