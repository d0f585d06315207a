"""cleanlab: labels that are probably wrong."""

from importlib import import_module

import numpy as np


def test_wrong_labels_are_found(clf, reviews):
    """Two swapped labels are found by cross-validation, and left out of the fit."""
    texts, labels = reviews
    truth = (np.array(labels) == "pos").astype(int)  # cleanlab counts classes from 0
    wrong = [4, 11]
    given = truth.copy()
    given[wrong] = 1 - given[wrong]
    # Imported here, because that takes time.
    learning = import_module("cleanlab.classification").CleanLearning
    cleaner = learning(clf, cv_n_folds=4, seed=0)
    cleaner.fit(np.array(texts, dtype=object), given)
    issues = cleaner.get_label_issues()
    assert issues.index[issues["is_label_issue"]].tolist() == wrong
    np.testing.assert_array_equal(cleaner.predict(texts), truth)
