"""What windows of a text say, held against NumPy."""

import numpy as np
import pytest
import torch

from sklearn_bert.compute._windows import (
    log_sum_by_text,
    maximum_by_text,
    maximum_of_windows,
    mean_of_windows,
    sum_by_text,
)

RNG = np.random.default_rng(0)
TEXTS = [[0], [0, 0, 1], [2, 0, 1, 2, 2, 0], [1, 1, 0, 3, 2, 3, 0]]


@pytest.fixture(params=TEXTS, ids=str)
def windows(request):
    """Values of windows in any order, their texts, their shares, and how many texts."""
    texts = np.array(request.param)
    raw = RNG.uniform(0.1, 1, len(texts))
    values = RNG.normal(0, 5, (len(texts), 3))
    shares = raw / np.bincount(texts, raw)[texts]
    return (*map(torch.from_numpy, (values, texts, shares)), max(texts) + 1)


def rows_of(windows):
    values, texts, _, n_texts = windows
    return [values.numpy()[texts.numpy() == text] for text in range(n_texts)]


def test_sums_and_maxima_of_texts(windows):
    """Rows are added up, or their maximum taken, text by text."""
    values, texts, _, n_texts = windows
    sums = [rows.sum(axis=0) for rows in rows_of(windows)]
    np.testing.assert_allclose(sum_by_text(values, texts, n_texts), sums)
    maxima = [rows.max(axis=0) for rows in rows_of(windows)]
    np.testing.assert_array_equal(maximum_by_text(values, texts, n_texts), maxima)
    np.testing.assert_array_equal(maximum_of_windows(*windows), maxima)


def test_the_mean_is_weighted(windows):
    """The mean over a text's windows counts each by its share."""
    values, texts, shares, n_texts = (x for x in windows)
    expected = [
        np.average(values[texts == text], axis=0, weights=shares[texts == text])
        for text in range(n_texts)
    ]
    np.testing.assert_allclose(mean_of_windows(*windows), expected)


@pytest.mark.parametrize("shift", [0, -1e5, 1e5])
def test_sums_of_logarithms_do_not_overflow(windows, shift):
    """Logarithms far below and above 0 are added up as the formula says."""
    values, texts, _, n_texts = windows
    found = log_sum_by_text(values + shift, texts, n_texts)
    expected = [np.logaddexp.reduce(rows) + shift for rows in rows_of(windows)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
