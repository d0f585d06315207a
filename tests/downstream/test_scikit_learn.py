"""scikit-learn's other tools: what `tests/test_at_home.py` does not show."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import fbeta_score, make_scorer
from sklearn.model_selection import (
    FixedThresholdClassifier,
    HalvingGridSearchCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
)
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline


def test_permutation_importance(clf, reviews):
    """Of two columns in a template, the one that decides is the important one."""
    texts, labels = reviews
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"title": rng.choice(["one", "two"], 40), "body": texts})
    clf.set_params(template="{title} . {body}").fit(frame, labels)
    found = permutation_importance(clf, frame, labels, n_repeats=3, random_state=0)
    title, body = found.importances_mean
    assert body > 0.2
    assert abs(title) < 0.05


def test_cross_val_predict(clf, reviews):
    """Labels and probabilities out of fold agree with each other and with the truth."""
    texts, labels = reviews
    predicted = cross_val_predict(clf, texts, labels, cv=2)
    proba = cross_val_predict(clf, texts, labels, cv=2, method="predict_proba")
    np.testing.assert_array_equal(np.array(["neg", "pos"])[proba.argmax(1)], predicted)
    assert (predicted == labels).mean() > 0.8


def test_scorer_of_string_labels(clf, reviews):
    """A scorer is told which of the string labels is the positive one."""
    scorer = make_scorer(fbeta_score, beta=2, pos_label="neg")
    scores = cross_val_score(clf, *reviews, cv=2, scoring=scorer, error_score="raise")
    assert scores.mean() > 0.8


def test_scorer_of_probabilities(clf, reviews):
    """A scorer of probabilities gets those of the positive label."""
    texts, labels = reviews

    def mean_gap(y, proba, *, pos_label):
        return proba[y == pos_label].mean() - proba[y != pos_label].mean()

    def score(pos_label):
        options = {"response_method": "predict_proba", "pos_label": pos_label}
        return make_scorer(mean_gap, **options)(clf, texts, np.array(labels))

    clf.fit(texts, labels)
    assert score("pos") > 0.9
    assert score("neg") > 0.9


def test_halving_search(clf, reviews):
    """Epochs are the resource that a halving search hands out."""
    search = HalvingGridSearchCV(
        clf,
        {"learning_rate": [1e-6, 1e-5, 5e-3]},
        resource="max_epochs",
        min_resources=2,
        max_resources=6,
        factor=3,
        cv=2,
        error_score="raise",
        random_state=0,
    ).fit(*reviews)
    assert search.n_resources_ == [2, 6]
    assert search.best_params_ == {"learning_rate": 5e-3, "max_epochs": 6}


def test_learning_curve(clf, verdicts):
    """Two texts teach less than ten, which show every word that decides."""
    sizes, _, scores = learning_curve(
        clf.set_params(max_epochs=20),
        *verdicts,
        train_sizes=[2, 10],
        cv=2,
        shuffle=True,
        random_state=0,
        error_score="raise",
    )
    assert list(sizes) == [2, 10]
    few, many = scores.mean(axis=1)
    assert few < 0.9 < many


def test_fixed_threshold(clf, reviews):
    """A threshold beyond every probability leaves one label only."""
    texts, labels = reviews
    frozen = FrozenEstimator(clf.fit(texts, labels))
    for threshold, everywhere in [(0.0, "pos"), (1.1, "neg")]:
        model = FixedThresholdClassifier(frozen, threshold=threshold, pos_label="pos")
        assert set(model.fit(texts, labels).predict(texts)) == {everywhere}


def test_calibration_in_folds(clf, reviews):
    """Classifiers of two folds are calibrated by a sigmoid on what they did not see."""
    texts, labels = reviews
    model = CalibratedClassifierCV(clf, cv=2, method="sigmoid")
    model.fit(texts, np.array(labels))
    np.testing.assert_allclose(model.predict_proba(texts).sum(axis=1), 1)
    assert model.score(texts, labels) > 0.8


def test_calibration_by_temperature(by_one_word, reviews):
    """A fitted classifier is calibrated on part of a frame, labels as an array."""
    # A Series whose index does not begin at 0 fails in scikit-learn 1.9.1: `y[0]`.
    texts, labels = reviews
    part = pd.DataFrame({"text": texts, "label": labels}, index=range(100, 140))
    model = CalibratedClassifierCV(FrozenEstimator(by_one_word), method="temperature")
    model.fit(part["text"], part["label"].to_numpy())
    np.testing.assert_array_equal(
        model.predict(part["text"]), by_one_word.predict(texts)
    )


def test_several_outputs(clf, reviews):
    """One classifier for each column of labels."""
    texts, labels = reviews
    kinds = ["pet" if {"cat", "dog"} & set(text.split()) else "art" for text in texts]
    y = np.column_stack([labels, kinds])
    model = MultiOutputClassifier(clf).fit(texts, y)
    assert (model.predict(texts) == y).mean() > 0.9
    assert [proba.shape for proba in model.predict_proba(texts)] == [(40, 2)] * 2


@pytest.mark.parametrize("ensemble", [BaggingClassifier, AdaBoostClassifier])
@pytest.mark.parametrize("container", [pd.DataFrame, np.array])
def test_ensembles_of_classifiers(clf, reviews, ensemble, container):
    """Bagging and boosting take texts as a column, drawn again or with weights."""
    # They refuse a list or a Series of texts: scikit-learn expects two dimensions.
    texts, labels = reviews
    column = container([[text] for text in texts])
    model = ensemble(clf, n_estimators=2, random_state=0).fit(column, labels)
    assert model.score(column, labels) > 0.9


def test_frozen_classifier_makes_features(by_one_word):
    """A frozen classifier gives its vectors to the next step, and is not refitted."""
    texts = ["the film was very good", "the cat was very awful"] * 4
    model = make_pipeline(FrozenEstimator(by_one_word), LogisticRegression())
    model.fit(texts, ["yes", "no"] * 4)
    assert list(model.predict(texts[:2])) == ["yes", "no"]
    assert list(by_one_word.classes_) == ["neg", "pos"]
    expected = by_one_word.transform(texts)
    np.testing.assert_array_equal(model[:-1].transform(texts), expected)
