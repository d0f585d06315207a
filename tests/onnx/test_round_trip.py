"""An exported estimator answers as the estimator does, whatever it was fitted to."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertRegressor,
    BertTokenClassifier,
    onnx,
)

# Of many lengths, some of them twice; one is longer than the model.
TEXTS = ["good", "a bad film !", "it was not very good", "good", "the cat sleeps"]
TEXTS += ["the plot was poor , but i love the dog " * n for n in (1, 3, 9)]
LABELS = ["neg", "pos"] * 4
PAIRS = pd.DataFrame({"one": TEXTS, "two": TEXTS[::-1]})
WORDS = [text.split() for text in TEXTS] + [[]]
WINDOWS = {"long_text": "window", "window_stride": 40}

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*longer than 64 tokens:sklearn_bert.TruncationWarning"
)


@pytest.fixture(scope="module")
def checkpoint(shallow_checkpoint):
    return shallow_checkpoint


@pytest.fixture(scope="module")
def common(checkpoint):
    """Parameters of an estimator that learns a little in no time."""
    return {
        "checkpoint": checkpoint,
        "random_state": 0,
        "device": "cpu",
        "precision": "float32",
        "max_epochs": 1,
        "batch_size": 8,
        "learning_rate": 5e-3,
    }


def fitted(kind, common):
    """An estimator of each kind, and X for it."""
    some = np.array([[1, 0, 1], [0, 1, 0]] * 4)
    numbers = np.column_stack([np.arange(8), 1e6 - 5 * np.arange(8)])
    match kind:
        case "labels":
            return BertClassifier(**common).fit(TEXTS, LABELS), TEXTS
        case "several labels of windows":
            return BertClassifier(**common, **WINDOWS).fit(TEXTS, some), TEXTS
        case "classes of windows of pairs":
            clf = BertClassifier(**common, **WINDOWS, pooling="max")
            return clf.fit(PAIRS, [3, 1, 2, 2, 1, 3, 1, 2]), PAIRS
        case "similarity of pairs":
            clf = BertClassifier(**common, pooling="similarity")
            return clf.fit(PAIRS, LABELS), PAIRS
        case "numbers":
            return BertRegressor(**common, pooling="attention").fit(
                TEXTS, numbers
            ), TEXTS
        case "tags":
            tags = [["O" if len(w) < 4 else "B-X" for w in words] for words in WORDS]
            return BertTokenClassifier(**common).fit(WORDS, tags), WORDS
        case "vectors of windows":
            del common["random_state"], common["learning_rate"]
            embedder = BertEmbedder(**common, **WINDOWS, n_components=2, whiten=True)
            return embedder.fit(TEXTS), TEXTS
        case "vectors":
            embedder = BertEmbedder(**common, pooling="cls", normalize=True)
            return embedder.fit(TEXTS), TEXTS


KINDS = [
    "labels",
    "several labels of windows",
    "classes of windows of pairs",
    "similarity of pairs",
    "numbers",
    "tags",
    "vectors of windows",
    "vectors",
]


# torch takes 8 seconds to make a graph: by default one of each way to answer.
QUICK = (
    "several labels of windows",
    "similarity of pairs",
    "numbers",
    "tags",
    "vectors of windows",
)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow)
        for kind in KINDS
    ],
)
def exported(request, common, tmp_path_factory):
    """An estimator, what was loaded of it, X, and the report."""
    estimator, X = fitted(request.param, dict(common))
    folder = tmp_path_factory.mktemp("onnx") / "model"
    report = onnx.export(estimator, folder, texts=X)
    return estimator, onnx.load(folder, n_threads=1), X, report


def answers(model, X):
    """All answers that a model has, by method."""
    names = ["predict", "predict_proba", "decision_function", "transform"]
    return {name: getattr(model, name)(X) for name in names if hasattr(model, name)}


def assert_alike(found, expected):
    """Compare answers: labels are the same, and numbers close."""
    assert found.keys() == expected.keys()
    for name, one in found.items():
        other = expected[name]
        if isinstance(one, list):
            assert [len(row) for row in one] == [len(row) for row in other]
            one, other = (np.concatenate([*rows]) for rows in (one, other))
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_array_equal(one, other)


def test_every_answer_is_that_of_the_estimator(exported):
    """Labels, probabilities, logits, numbers, tags and vectors are the estimator's."""
    estimator, model, X, _ = exported
    assert_alike(answers(model, X), answers(estimator, X))


def test_a_row_alone_has_the_answer_that_it_has_among_others(exported):
    """Neither padding nor the batch changes an answer."""
    _, model, X, _ = exported
    whole = answers(model, X)
    for i in (0, 2, 7):
        rows = {name: found[i : i + 1] for name, found in whole.items()}
        assert_alike(answers(model, X[i : i + 1]), rows)


def test_report_says_how_close_the_answers_are(exported):
    """The report counts texts and labels, and no label of float32 changes."""
    estimator, _, X, report = exported
    assert (report["texts"], report["n_texts"]) == ("given", len(X))
    assert 0 <= report["max_difference"] <= 1e-4
    assert report["bytes"] > 10_000
    if hasattr(estimator, "classes_"):
        n_words = sum(len(words) for words in WORDS)
        assert report["n_labels"] == (n_words if X is WORDS else len(X))
        assert report["labels_changed"] == 0


def test_fitted_attributes_are_those_of_the_estimator(exported):
    """Classes, the form of X and the length limit come along."""
    estimator, model, _, _ = exported
    for name in ("classes_", "n_features_in_", "feature_names_in_", "max_length_"):
        assert hasattr(model, name) == hasattr(estimator, name)
        if hasattr(model, name):
            found, expected = getattr(model, name), getattr(estimator, name)
            np.testing.assert_array_equal(found, expected)
            assert np.asarray(found).dtype == np.asarray(expected).dtype
