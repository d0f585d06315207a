"""HiClass: labels that stand in a tree."""

import numpy as np
import pytest
from hiclass import LocalClassifierPerParentNode
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

VERDICTS = {"good", "great", "fine", "nice", "bad", "awful", "poor", "dull"}


@pytest.fixture
def tree(reviews):
    """For each text its class and, below it, a finer class."""
    texts, labels = reviews
    verdicts = [set(text.split()) & VERDICTS for text in texts]
    return np.column_stack([labels, [verdict.pop() for verdict in verdicts]])


def test_tree_of_labels(embedder, reviews, tree):
    """Vectors of an embedder tell a class and, below it, a finer class."""
    # HiClass turns X into numbers itself, so that no estimator in it can read texts.
    texts, _ = reviews
    model = make_pipeline(
        embedder, LocalClassifierPerParentNode(LogisticRegression(max_iter=1000))
    )
    np.testing.assert_array_equal(model.fit(texts, tree).predict(texts), tree)


def test_classifier_at_each_node(clf, reviews, tree):
    """Behind numbers of rows, a classifier at each node reads the texts of its rows."""
    texts = list(reviews[0])

    def read(rows):
        return [texts[row] for row in rows[:, 0]]

    node = make_pipeline(FunctionTransformer(read), clf)
    model = LocalClassifierPerParentNode(node).fit(np.arange(40)[:, None], tree)
    texts += ["the dog was very nice", "i hate it , a awful plot !"]
    predicted = model.predict(np.arange(40, 42)[:, None])
    np.testing.assert_array_equal(predicted[:, 0], ["pos", "neg"])
    assert {tuple(row) for row in predicted} <= {tuple(row) for row in tree}
