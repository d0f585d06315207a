"""Heads that start as linear models of vectors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict

from sklearn_bert.targets._probe import (
    class_probe,
    label_probe,
    number_probe,
    variance_explained,
)

WIDTH = 16


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(60, WIDTH))


@pytest.mark.parametrize("n_classes", [2, 5])
def test_class_probe_is_scikit_learns_regression(vectors, n_classes):
    """Its probabilities are those of LogisticRegression on vectors of length 1."""
    codes = np.arange(60) % n_classes
    weights = np.random.default_rng(1).uniform(0.5, 2, 60)
    weight, bias = class_probe(vectors, codes, weights, n_classes)
    unit = vectors / np.sqrt(WIDTH)
    reference = LogisticRegression(C=10, tol=1e-3, max_iter=1000)
    expected = reference.fit(unit, codes, weights).predict_proba(unit)
    assert weight.shape == (n_classes, WIDTH)
    assert bias.shape == (n_classes,)
    assert_allclose(softmax(vectors @ weight.T + bias, axis=1), expected, atol=1e-9)


def test_class_probe_knows_nothing_of_an_absent_class(vectors):
    """A class without a text has weights of 0; the others are as without it."""
    codes = np.arange(60) % 3 + 1
    weight, bias = class_probe(vectors, codes, np.ones(60), 5)
    without, _ = class_probe(vectors, codes - 1, np.ones(60), 3)
    assert not weight[[0, 4]].any()
    assert not bias[[0, 4]].any()
    assert_allclose(weight[1:4], without)


def test_class_probe_of_one_class_is_zero(vectors):
    """Where all texts are of one class there is nothing to tell apart."""
    weight, bias = class_probe(vectors, np.ones(60, dtype=int), np.ones(60), 3)
    assert not weight.any()
    assert not bias.any()


def test_label_probe_is_a_regression_per_label(vectors):
    """Each label's probability is that of a regression of its own."""
    targets = np.random.default_rng(2).integers(0, 2, (60, 3)).astype(np.float32)
    targets[:, 1] = 1.0
    weight, bias = label_probe(vectors, targets, np.ones(60))
    unit = vectors / np.sqrt(WIDTH)
    for label in (0, 2):
        reference = LogisticRegression(C=10, tol=1e-3, max_iter=1000)
        expected = reference.fit(unit, targets[:, label]).predict_proba(unit)[:, 1]
        assert_allclose(
            expit(vectors @ weight[label] + bias[label]), expected, atol=1e-9
        )


@pytest.mark.parametrize("value", [0, 1])
def test_label_probe_of_a_label_without_two_sides_is_nearly_sure(vectors, value):
    """A label that no text has, or all, gets Jeffreys' estimate of its share."""
    targets = np.random.default_rng(2).integers(0, 2, (60, 3)).astype(np.float32)
    targets[:, 1] = value
    weights = np.random.default_rng(3).uniform(0.5, 2, (60, 3))
    weight, bias = label_probe(vectors, targets, weights)
    n_texts = weights[:, 1].sum()
    assert not weight[1].any()
    assert expit(bias[1]) == pytest.approx((n_texts * value + 0.5) / (n_texts + 1))


@pytest.mark.parametrize("n_targets", [1, 2])
def test_number_probe_is_ridge(vectors, n_targets):
    """Its numbers are those of Ridge on vectors of length 1."""
    rng = np.random.default_rng(3)
    targets, weights = rng.normal(size=(60, n_targets)), rng.uniform(0.5, 2, 60)
    weight, bias = number_probe(vectors, targets, weights)
    unit = vectors / np.sqrt(WIDTH)
    reference = Ridge(alpha=1.0).fit(unit, targets, sample_weight=weights)
    expected = reference.predict(unit).reshape(60, n_targets)
    assert_allclose(vectors @ weight.T + bias, expected, atol=1e-9)


@pytest.mark.parametrize("n_targets", [1, 2])
def test_variance_explained_is_the_cross_validated_r2(vectors, n_targets):
    """It is scikit-learn's r2_score of Ridge on folds."""
    rng = np.random.default_rng(4)
    targets = vectors[:, :n_targets] + rng.normal(size=(60, n_targets))
    targets = (targets - targets.mean(axis=0)) / targets.std(axis=0)
    share = variance_explained(vectors, targets, seed=7)
    predicted = cross_val_predict(
        Ridge(alpha=1.0),
        vectors / np.sqrt(WIDTH),
        targets,
        cv=KFold(5, shuffle=True, random_state=7),
    ).reshape(targets.shape)
    assert share == pytest.approx(r2_score(targets, predicted))


def test_variance_explained_of_one_number_is_none(vectors):
    """Where all targets are alike there is nothing to explain."""
    assert variance_explained(vectors, np.zeros((60, 1)), seed=0) == 0.0
