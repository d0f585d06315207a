"""SHAP: how much each word adds to a probability."""

import warnings
from importlib import import_module

import numpy as np
import pytest


@pytest.fixture
def shap(monkeypatch):
    """The library, imported where a test asks for it: that takes time."""
    # To compile its functions takes longer than to run them.
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    with warnings.catch_warnings():
        # Its colours are made with what Matplotlib gives up.
        warnings.filterwarnings(
            "ignore", r"The set_\w+ function will be", PendingDeprecationWarning
        )
        return import_module("shap")


def test_deciding_word_has_the_largest_value(shap, by_one_word):
    """`predict_proba` goes to SHAP as it is, and the word that decides adds most."""
    explainer = shap.Explainer(
        by_one_word.predict_proba,
        shap.maskers.Text(r"\W+"),
        output_names=list(by_one_word.classes_),
        seed=0,
    )
    explanation = explainer(["the film was very good"], max_evals=60, silent=True)
    for_pos = explanation[0, :, "pos"]
    assert for_pos.data[np.argmax(for_pos.values)] == "good"
    total = for_pos.base_values + for_pos.values.sum()
    proba = by_one_word.predict_proba(["the film was very good"])
    np.testing.assert_allclose(total, proba[0, 1], atol=1e-6)
