"""One seed for each use in a call, whatever else the call draws."""

import numpy as np
import pytest

from sklearn_bert import BertClassifier
from sklearn_bert._process._random import USES, Seeds


def test_seeds_differ_by_use():
    """Two uses have different seeds, and a use the same one whenever it asks."""
    seeds = Seeds(0)
    forwards = [seeds(use) for use in USES]
    assert len(set(forwards)) == len(USES)
    assert [Seeds(0)(use) for use in reversed(USES)] == forwards[::-1]


def test_other_calls_have_other_seeds():
    """Two values of random_state give different seeds, and so do two calls of None."""
    for use in USES:
        assert Seeds(0)(use) != Seeds(1)(use)
        assert Seeds(None)(use) != Seeds(None)(use)


def test_a_seed_fits_every_library():
    """NumPy's, scikit-learn's and torch's generators take every seed."""
    for use in USES:
        assert 0 <= Seeds(np.random.RandomState(3))(use) < 2**32


def test_an_unknown_use_is_an_error():
    """A use that is not listed has no seed, rather than that of another."""
    with pytest.raises(ValueError, match="not in tuple"):
        Seeds(0)("colour")


def test_validation_shifts_no_other_number(settings, reviews):
    """Texts to validate on change no loss of a seeded fit."""
    texts, labels = reviews
    clf = BertClassifier(**settings, max_epochs=2)
    alone = clf.fit(texts, labels).history_
    watched = clf.fit(texts, labels, X_val=texts[:4], y_val=labels[:4]).history_
    for one, other in zip(alone, watched, strict=True):
        assert one["train_loss"] == other["train_loss"]
