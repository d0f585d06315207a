"""MAPIE: sets and intervals that hold the truth as often as they promise."""

import numpy as np
import pandas as pd
import pytest
from mapie.classification import CrossConformalClassifier, SplitConformalClassifier
from mapie.regression import CrossConformalRegressor, SplitConformalRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_bert import BertRegressor


@pytest.fixture(scope="module")
def rows(reviews):
    """Texts and labels as parts of a frame, whose index does not begin at 0."""
    texts, labels = reviews
    index = range(100, 140)
    return pd.Series(texts, index), pd.Series(labels, index)


@pytest.fixture(scope="module")
def regressor(settings, rows):
    """A regressor of good and bad, fitted; not to be changed."""
    texts, labels = rows
    return BertRegressor(**settings, max_epochs=4).fit(texts, labels == "pos")


def hidden(estimator):
    """The fitted estimator, without the number of columns that MAPIE would ask with."""
    return FrozenEstimator(make_pipeline("passthrough", estimator))


def share_covered(sets, labels):
    """How many sets hold the right label."""
    truth = np.column_stack([labels == "neg", labels == "pos"])
    return sets[:, :, 0][truth].mean()


def test_split_conformal_classifier(by_one_word, rows):
    """A fitted classifier in a pipeline is conformalised, and predicts as before."""
    texts, labels = rows
    conformal = SplitConformalClassifier(
        hidden(by_one_word), confidence_level=0.9, prefit=True
    )
    conformal.conformalize(texts, labels)
    predicted, sets = conformal.predict_set(texts)
    np.testing.assert_array_equal(predicted, by_one_word.predict(texts))
    assert share_covered(sets, labels) >= 0.9


def test_split_conformal_pipeline(embedder, rows):
    """A linear model on vectors needs no help."""
    texts, labels = rows
    model = make_pipeline(embedder, LogisticRegression(C=100)).fit(texts, labels)
    conformal = SplitConformalClassifier(model, confidence_level=0.9, prefit=True)
    conformal.conformalize(texts, labels)
    predicted, sets = conformal.predict_set(texts)
    np.testing.assert_array_equal(predicted, labels)
    assert share_covered(sets, labels) >= 0.9


def test_cross_conformal_classifier(clf, rows):
    """A classifier is fitted in folds as it is."""
    texts, labels = rows
    conformal = CrossConformalClassifier(clf, cv=2, confidence_level=0.9)
    conformal.fit_conformalize(texts, labels)
    predicted, sets = conformal.predict_set(texts)
    assert (predicted == labels).mean() > 0.8
    assert share_covered(sets, labels) >= 0.9


@pytest.mark.filterwarnings("ignore:Estimator does not appear fitted:UserWarning")
def test_split_conformal_regressor(regressor, rows):
    """Around what a fitted regressor predicts stands an interval."""
    texts, labels = rows
    conformal = SplitConformalRegressor(
        hidden(regressor), confidence_level=0.9, prefit=True
    )
    conformal.conformalize(texts, labels == "pos")
    predicted, intervals = conformal.predict_interval(texts)
    np.testing.assert_allclose(predicted, regressor.predict(texts), atol=1e-6)
    truth = labels == "pos"
    low, high = intervals[:, :, 0].T
    assert ((low <= truth) & (truth <= high)).mean() >= 0.9


def test_cross_conformal_regressor(regressor, rows):
    """A regressor is fitted in folds as it is."""
    texts, labels = rows
    conformal = CrossConformalRegressor(regressor, cv=2, confidence_level=0.9)
    conformal.fit_conformalize(texts, (labels == "pos").astype(float))
    assert conformal.predict_interval(texts[:3])[1].shape == (3, 2, 1)
