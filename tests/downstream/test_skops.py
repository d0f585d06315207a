"""skops: model cards, and files that are looked at before anything in them is run."""

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from skops.card import Card


def test_skops_card_lists_parameters(by_one_word):
    """A card lists the parameters, and holds no weights."""
    card = Card(by_one_word).render()
    parameters = by_one_word.get_params()
    rows = [[cell.strip() for cell in line.split("|")] for line in card.splitlines()]
    listed = {row[1]: row[2] for row in rows if len(row) == 4}
    assert {name: listed[name] for name in parameters} == {
        name: str(value) for name, value in parameters.items()
    }
    assert len(card) < 100_000  # the weights would be 200,000 bytes and more


def test_unfitted_classifier_is_one_trusted_type(clf):
    """A file of parameters needs trust in the class, and in nothing else."""
    file = skops.io.dumps(clf)
    types = skops.io.get_untrusted_types(data=file)
    assert types == ["sklearn_bert.estimators._classifier.BertClassifier"]
    assert skops.io.loads(file, trusted=types).get_params() == clf.get_params()


@pytest.mark.parametrize("kind", ["classifier", "pipeline"])
def test_round_trip(by_one_word, embedder, kind):
    """A fitted estimator comes back, with trust in three classes of this package."""
    texts, labels = ["the film was good", "the film was bad"], ["pos", "neg"]
    if kind == "classifier":
        model, name = by_one_word, "estimators._classifier.BertClassifier"
    else:
        model = make_pipeline(embedder, LogisticRegression()).fit(texts, labels)
        name = "estimators._embedder.BertEmbedder"
    file = skops.io.dumps(model)
    types = skops.io.get_untrusted_types(data=file)
    assert types == [
        f"sklearn_bert.{name}",
        "sklearn_bert.text._tokenizer.TextTokenizer",
        "sklearn_bert.training._net.BertNet",
    ]
    copied = skops.io.loads(file, trusted=types)
    np.testing.assert_array_equal(
        copied.predict_proba(texts), model.predict_proba(texts)
    )
