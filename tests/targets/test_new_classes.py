"""Rows of a head for classes that it did not know."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.nn import functional

from sklearn_bert.targets._new_classes import places_of, probe_new_classes
from sklearn_bert.targets._probe import label_probe

WIDTH, KNOWN, NEW = 16, [0, 3], [1, 2, 4]
IS_NEW = np.isin(np.arange(5), NEW)


@pytest.fixture
def vectors():
    """Sixty vectors of some directions."""
    return np.random.default_rng(0).normal(size=(60, WIDTH))


@pytest.fixture
def known():
    """Weight and bias of the two known classes."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(2, WIDTH)), rng.normal(size=2)


def by_torch(vectors, codes, weights, known):
    """The same regression: torch's own loss and gradients, and a bias as a column."""
    unit = np.column_stack([vectors / np.sqrt(WIDTH), np.ones(len(vectors))])
    X, y, w = (torch.tensor(values) for values in (unit, codes, weights))
    given = torch.tensor(vectors @ known[0].T + known[1])
    rows = torch.zeros(len(NEW), WIDTH + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [rows], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )

    def loss():
        optimizer.zero_grad()
        scores = torch.empty(len(X), 5, dtype=torch.float64)
        scores[:, KNOWN], scores[:, NEW] = given, X @ rows.T
        each = functional.cross_entropy(scores, y, reduction="none")
        total = 10 * (w * each).sum() + (rows**2).sum() / 2
        total.backward()
        return total

    optimizer.step(loss)
    found = rows.detach().numpy()
    return found[:, :-1] / np.sqrt(WIDTH), found[:, -1]


@pytest.mark.parametrize("present", [[0, 1, 2, 3, 4], [1, 2, 4], [0, 3, 4]])
def test_only_the_new_rows_are_free(vectors, known, present):
    """They are those of the regression of all classes in which the others are given.

    Also where no text is of a known class, or none of some of the new ones.
    """
    codes = np.resize(present, 60)
    weights = np.random.default_rng(2).uniform(0.5, 2, 60)
    weight, bias = probe_new_classes((vectors, codes, weights), *known, IS_NEW)
    expected = by_torch(vectors, codes, weights, known)
    assert_allclose(weight, expected[0], atol=2e-3)
    assert_allclose(bias, expected[1], atol=2e-3)


@pytest.mark.parametrize("by_label", [False, True])
def test_a_new_label_is_a_regression_of_its_own(vectors, by_label):
    """Where texts have any number of labels, the new ones are as those of a new head."""
    targets = np.random.default_rng(3).integers(0, 2, (60, 3)).astype(np.float32)
    weights = np.random.default_rng(4).uniform(0.5, 2, (60, 3 if by_label else 1))
    head = np.zeros((1, WIDTH)), np.zeros(1)
    is_new = np.array([False, True, True])
    found = probe_new_classes((vectors, targets, weights), *head, is_new)
    for ours, all_labels in zip(
        found, label_probe(vectors, targets, weights), strict=True
    ):
        assert_allclose(ours, all_labels[1:])


def test_places():
    """Each known class is found among all, of any type."""
    for known, classes in ((["b", "c"], ["a", "b", "bb", "c"]), ([1, 7], [0, 1, 2, 7])):
        places = places_of(np.array(known), np.array(classes))
        assert places.tolist() == [1, 3]
