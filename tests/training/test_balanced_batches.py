"""Every class is equally frequent in a batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_bert.training._balanced_batches import BalancedBatches, balanced_weights


def batches_of(codes, batch_size, n_epochs=1, seed=0):
    batches = BalancedBatches(np.array(codes), batch_size, np.random.default_rng(seed))
    return [rows for _ in range(n_epochs) for rows in batches]


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 99),
)
@settings(max_examples=50)
def test_balanced_batches_are_full_and_as_many_as_plain_ones(counts, batch_size, seed):
    """Each epoch has n_texts / batch_size batches, all of full size."""
    codes = np.repeat(np.arange(len(counts)), counts)
    batches = BalancedBatches(codes, batch_size, np.random.default_rng(seed))
    found = list(batches)
    assert len(found) == len(batches) == -(-len(codes) // batch_size)
    assert {len(rows) for rows in found} == {batch_size}


@pytest.mark.parametrize("counts", [(40, 3, 5), (1, 60, 2)])
def test_balanced_batches_hold_classes_equally_often(counts):
    """Of three classes a batch of 12 has four texts each, however rare one is."""
    codes = np.repeat([7, 0, 3], counts)
    for rows in batches_of(codes, 12, n_epochs=3):
        assert np.unique(codes[rows], return_counts=True)[1].tolist() == [4, 4, 4]


def test_balanced_batches_use_all_texts_of_a_class_before_one_again():
    """Within a class no text comes up twice before all have come up."""
    codes = np.repeat([0, 1], [6, 30])
    rare = [
        row for rows in batches_of(codes, 12, n_epochs=6) for row in rows if row < 6
    ]
    assert len(rare) == 108
    for begin in range(0, len(rare), 6):
        assert sorted(rare[begin : begin + 6]) == [0, 1, 2, 3, 4, 5]


def test_balanced_batches_pair_texts_where_classes_are_many():
    """Where a batch cannot hold two of every class, it holds two of half of them."""
    codes = np.repeat(np.arange(20), 5)
    seen = set()
    for rows in batches_of(codes, 16, n_epochs=6):
        classes, counts = np.unique(codes[rows], return_counts=True)
        assert counts.min() >= 2
        seen |= set(classes.tolist())
    assert seen == set(range(20))


def test_balanced_batches_depend_on_the_seed_alone():
    """The same generator gives the same batches, another one others."""
    codes = np.repeat([0, 1], 20)
    first, again, other = [batches_of(codes, 8, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@given(
    codes=st.lists(st.integers(0, 4), min_size=1, max_size=30),
    seed=st.integers(0, 99),
)
@settings(max_examples=50)
def test_balanced_weights_weigh_classes_alike(codes, seed):
    """Each class has the mean weight 1; within a class weights keep their ratios."""
    rng = np.random.default_rng(seed)
    codes, weights = np.array(codes), rng.uniform(0.1, 9, len(codes))
    rows = np.flatnonzero(rng.random(len(codes)) < 0.7)
    found = balanced_weights(codes, weights, rows)
    for code in np.unique(codes[rows]):
        members = rows[codes[rows] == code]
        assert found[members].mean() == pytest.approx(1)
        assert np.ptp(found[members] / weights[members]) < 1e-9
    others = np.setdiff1d(np.arange(len(codes)), rows)
    np.testing.assert_array_equal(found[others], weights[others])


def test_balanced_weights_leave_equal_ones_and_zeros():
    """Weights of 1 stay what they are, to the bit; a class of weight 0 keeps it."""
    codes, rows = np.array([0, 0, 0, 1, 1, 2]), np.arange(6)
    ones = np.ones(6, dtype=np.float32)
    np.testing.assert_array_equal(balanced_weights(codes, ones, rows), ones)
    weights = np.array([0, 0, 0, 2, 4, 5], dtype=np.float32)
    found = balanced_weights(codes, weights, rows)
    np.testing.assert_allclose(found, [0, 0, 0, 2 / 3, 4 / 3, 1], rtol=1e-6)
    assert weights.tolist() == [0, 0, 0, 2, 4, 5]
