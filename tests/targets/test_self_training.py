"""A linear model of vectors that learns from its own guesses."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sklearn_bert.targets._probe import STRENGTH, class_probe
from sklearn_bert.targets._self_training import (
    MOST_SHARE,
    most_confident,
    self_trained,
)


@pytest.fixture
def clusters():
    """Vectors around the centres of three classes, of which one is frequent."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 12))
    codes = np.repeat([0, 1, 2], [70, 20, 10])
    vectors = centres[codes] + rng.normal(size=(100, 12))
    order = rng.permutation(100)
    return vectors[order], codes[order]


def reference(vectors, codes, others, n_rounds):
    """The same walk by hand, text by text."""
    length = np.sqrt(vectors.shape[1])

    def fit(X, y):
        n, n_guesses = len(codes), len(y) - len(codes)
        each = n / n_guesses if n_guesses > n else 1.0
        model = LogisticRegression(C=STRENGTH, tol=1e-3, max_iter=1_000)
        return model.fit(X / length, y, sample_weight=[1.0] * n + [each] * n_guesses)

    model, chosen = fit(vectors, codes), []
    for done in range(1, n_rounds + 1):
        proba = model.predict_proba(others / length)
        groups = {code: [] for code in range(3)}
        for row, of_text in enumerate(proba):
            groups[int(of_text.argmax())].append((of_text.max(), row))
        chosen = []
        for code, members in groups.items():
            n = -(-len(members) * done // (2 * n_rounds))
            chosen += [(row, code) for _, row in sorted(members, reverse=True)[:n]]
        rows, guesses = zip(*sorted(chosen), strict=True)
        X = np.concatenate([vectors, others[list(rows)]])
        model = fit(X, [*codes, *guesses])
    return model, sorted(chosen)


@pytest.mark.parametrize("n_rounds", [1, 3])
def test_self_trained_is_the_walk_by_hand(clusters, n_rounds):
    """Guesses and model are those of a loop over texts, with scikit-learn's model."""
    vectors, codes = clusters
    labelled = np.concatenate([np.flatnonzero(codes == code)[:3] for code in range(3)])
    others = np.delete(vectors, labelled, axis=0)
    found = self_trained(
        vectors[labelled], codes[labelled], np.ones(9), others, 3, n_rounds
    )
    model, chosen = reference(vectors[labelled], codes[labelled], others, n_rounds)
    assert list(zip(found.rows, found.codes, strict=True)) == chosen
    scores = others @ found.weight.T + found.bias
    expected = model.decision_function(others / np.sqrt(12))
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert MOST_SHARE == 0.5  # which the reference has, too


def test_self_trained_finds_more(clusters):
    """Three rounds label the other texts better than the labels alone do."""
    vectors, codes = clusters
    labelled = np.array([np.flatnonzero(codes == code)[0] for code in range(3)])
    known = vectors[labelled], codes[labelled], np.ones(3)
    others, truth = np.delete(vectors, labelled, 0), np.delete(codes, labelled)
    found = self_trained(*known, others, 3, 3)
    weight, bias = class_probe(*known, 3)
    alone = ((others @ weight.T + bias).argmax(1) == truth).mean()
    guessed = ((others @ found.weight.T + found.bias).argmax(1) == truth).mean()
    assert guessed > alone


def test_a_class_without_a_label_is_not_guessed(clusters):
    """No text is guessed to be of a class that has no labelled text."""
    vectors, codes = clusters
    is_known = codes != 1
    labelled = np.flatnonzero(is_known)[:30]
    assert set(codes[labelled]) == {0, 2}
    known = vectors[labelled], codes[labelled], np.ones(30)
    found = self_trained(*known, vectors, 3, 2)
    assert set(found.codes) == {0, 2}
    assert not found.weight[1].any()


def test_most_confident_keeps_shares():
    """Of every guessed class the same share is chosen, rounded up, the surest first."""
    proba = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.7, 0.3], [0.45, 0.55]])
    rows, codes = most_confident(proba, 0.5)
    assert rows.tolist() == [0, 2, 4]
    assert codes.tolist() == [0, 0, 1]
    rows, _ = most_confident(proba, 0.01)
    assert rows.tolist() == [0, 4]


def test_equally_confident_texts_come_in_order():
    """Of equally confident texts the first are chosen."""
    rows, _ = most_confident(np.full((6, 2), 0.5), 0.5)
    assert rows.tolist() == [0, 1, 2]
