"""skops: model cards, and files that are looked at before anything in them is run."""

from importlib import import_module

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


@pytest.fixture(scope="module")
def io():
    """Its files, imported where a test asks for them: that takes a second."""
    return import_module("skops.io")


@pytest.fixture(scope="module")
def make_card():
    """Make its model card."""
    return import_module("skops.card").Card


def test_skops_card_lists_parameters(make_card, by_one_word):
    """A card lists the parameters, and holds no weights."""
    card = make_card(by_one_word).render()
    parameters = by_one_word.get_params()
    rows = [[cell.strip() for cell in line.split("|")] for line in card.splitlines()]
    listed = {row[1]: row[2] for row in rows if len(row) == 4}
    assert {name: listed[name] for name in parameters} == {
        name: str(value) for name, value in parameters.items()
    }
    assert len(card) < 100_000  # the weights would be 200,000 bytes and more


def test_unfitted_classifier_is_one_trusted_type(io, clf):
    """A file of parameters needs trust in the class, and in nothing else."""
    file = io.dumps(clf)
    types = io.get_untrusted_types(data=file)
    assert types == ["sklearn_bert.estimators._classifier.BertClassifier"]
    assert io.loads(file, trusted=types).get_params() == clf.get_params()


@pytest.mark.parametrize("kind", ["classifier", "pipeline"])
def test_round_trip(io, by_one_word, embedder, kind):
    """A fitted estimator comes back, with trust in three classes of this package."""
    texts, labels = ["the film was good", "the film was bad"], ["pos", "neg"]
    if kind == "classifier":
        model, name = by_one_word, "estimators._classifier.BertClassifier"
    else:
        model = make_pipeline(embedder, LogisticRegression()).fit(texts, labels)
        name = "estimators._embedder.BertEmbedder"
    file = io.dumps(model)
    types = io.get_untrusted_types(data=file)
    assert types == [
        f"sklearn_bert.{name}",
        "sklearn_bert.text._tokenizer.TextTokenizer",
        "sklearn_bert.training._net.BertNet",
    ]
    copied = io.loads(file, trusted=types)
    np.testing.assert_array_equal(
        copied.predict_proba(texts), model.predict_proba(texts)
    )
