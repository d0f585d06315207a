"""`faithfulness`: words with high scores are those that count."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from sklearn_bert import BertEmbedder
from sklearn_bert.inspection import explain, faithfulness


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient", "occlusion"])
def test_scores_beat_a_random_order(clf, decided, method):
    """Each measure is better than that of a random order, by 2 standard errors."""
    texts = decided[0][:40]
    found = faithfulness(clf, texts, explain(clf, texts, method=method), random_state=0)
    sign = np.array([1, -1, 1])  # less is better for sufficiency
    assert (sign * found["difference"] > 2 * found["standard_error"]).all()
    assert (found["n"] == 40).all()


def test_measures_are_those_of_texts_with_masks(clf):
    """They are what the decision function gives for texts with the mask token."""
    text = "the film was good"
    scores = [0.0, -1.0, 2.0, 3.0]
    found = explain(clf, [text], target="pos").assign(score=scores)
    measured = faithfulness(clf, [text], found, shares=[0.5], random_state=0)["value"]
    hidden = ["[MASK] film was good", "the [MASK] was good", "the film [MASK] good"]
    hidden += [
        "the film was [MASK]",
        "the film [MASK] [MASK]",
        "[MASK] [MASK] was good",
    ]
    f, *others = clf.decision_function([text, *hidden])
    falls = f - np.array(others)
    assert measured["comprehensiveness"] == pytest.approx(falls[4], abs=1e-5)
    assert measured["sufficiency"] == pytest.approx(falls[5], abs=1e-5)
    expected = kendalltau(scores, falls[:4]).statistic
    assert measured["agreement"] == pytest.approx(expected)


def test_random_state_repeats_the_random_orders(clf, decided):
    """The same seed gives the same numbers."""
    texts = decided[0][:4]
    found = explain(clf, texts, method="gradient")
    one, same = (faithfulness(clf, texts, found, random_state=3) for _ in range(2))
    assert one.equals(same)


def test_sides_of_pairs_are_measured_apart(embedder_settings):
    """There is a value for each side of each pair."""
    pairs = [("the film was good", "a good plot"), ("a cat sleeps", "the dog sleeps !")]
    embedder = BertEmbedder(**embedder_settings).fit(["good"])
    found = explain(embedder, pairs, method="occlusion")
    measured = faithfulness(embedder, pairs, found, random_state=0)
    assert (measured["n"] == 4).all()
    assert measured.loc["agreement", "value"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda found: found["score"], TypeError, "of type Series; expected the Data"),
        (lambda found: found.drop(columns="end"), TypeError, "with the columns text,"),
        (lambda found: found[:0], ValueError, "explanation has no row"),
        (lambda found: found[1:], ValueError, r"other words for X\[0\] than X"),
        (lambda found: found.assign(text=9), ValueError, r"other words for X\[9\]"),
        (lambda found: found.assign(target="no"), ValueError, "target is 'no'"),
    ],
)
def test_other_explanations_are_refused(clf, change, error, message):
    """An explanation is one of this estimator and of X."""
    found = explain(clf, ["a good film"], method="gradient")
    with pytest.raises(error, match=message):
        faithfulness(clf, ["a good film"], change(found))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": [1.5]}, r"shares is \[1.5\]; expected numbers over 0 and up to 1"),
        ({"shares": 0.5}, "shares is 0.5; expected"),
        ({"n_random": 0}, "n_random is 0; expected an integer from 1"),
    ],
)
def test_wrong_parameters_are_refused(clf, options, message):
    """The message says what was expected."""
    found = explain(clf, ["a good film"], method="gradient")
    with pytest.raises(ValueError, match=message):
        faithfulness(clf, ["a good film"], found, **options)
