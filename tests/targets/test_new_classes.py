"""Rows of a head for classes that it did not know."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics.pairwise import cosine_similarity

from sklearn_bert.targets._new_classes import rows_of_new
from sklearn_bert.targets._probe import label_probe

WIDTH = 16


@pytest.fixture
def vectors():
    """Sixty vectors as a head gets them: of mean 0 and deviation 1."""
    vectors = np.random.default_rng(0).normal(size=(60, WIDTH))
    vectors -= vectors.mean(axis=1, keepdims=True)
    return vectors / vectors.std(axis=1, keepdims=True)


@pytest.mark.parametrize("present", [[0, 1, 2, 3], [1]])
def test_a_new_row_tells_its_own_texts_from_the_others(vectors, present):
    """The score is 12 cosines with the way between the means, and 0 midway.

    Where there are no others, they are taken to be around 0.
    """
    codes = np.resize(present, 60)
    weights = np.random.default_rng(2).uniform(0.5, 2, 60)
    is_new = np.array([False, True, True, False])
    weight, bias = rows_of_new((vectors, codes, weights), is_new)
    for row, code in enumerate([1, 2][: len(present)]):
        own = codes == code
        here = np.average(vectors[own], axis=0, weights=weights[own])
        there = np.zeros(WIDTH)
        if not own.all():
            there = np.average(vectors[~own], axis=0, weights=weights[~own])
        cosines = cosine_similarity(vectors, (here - there)[None])[:, 0]
        scores = vectors @ weight[row] + bias[row]
        assert_allclose(np.diff(scores), np.diff(12 * cosines))
        assert weight[row] @ (here + there) / 2 + bias[row] == pytest.approx(0)


def test_a_class_without_a_text_is_none_of_these(vectors):
    """Its scores are below 0 on average."""
    codes, is_new = np.zeros(60, dtype=np.int64), np.array([False, True])
    vectors += np.sin(np.arange(WIDTH))
    weight, bias = rows_of_new((vectors, codes, np.ones(60)), is_new)
    assert (vectors @ weight.T + bias).mean() < -1


@pytest.mark.parametrize("by_label", [False, True])
def test_a_new_label_is_a_regression_of_its_own(vectors, by_label):
    """Where texts have any number of labels, new rows are as those of a new head."""
    targets = np.random.default_rng(3).integers(0, 2, (60, 3)).astype(np.float32)
    weights = np.random.default_rng(4).uniform(0.5, 2, (60, 3 if by_label else 1))
    is_new = np.array([False, True, True])
    found = rows_of_new((vectors, targets, weights), is_new)
    for ours, all_labels in zip(
        found, label_probe(vectors, targets, weights), strict=True
    ):
        assert_allclose(ours, all_labels[1:])
