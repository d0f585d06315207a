"""HiClass: labels that stand in a tree."""

import numpy as np
from hiclass import LocalClassifierPerParentNode
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

VERDICTS = {"good", "great", "fine", "nice", "bad", "awful", "poor", "dull"}


def test_tree_of_labels(embedder, reviews):
    """Vectors of an embedder tell a class and, below it, a finer class."""
    # HiClass turns X into numbers itself, so that no estimator in it can read texts.
    texts, labels = reviews
    verdicts = [set(text.split()) & VERDICTS for text in texts]
    tree = np.column_stack([labels, [verdict.pop() for verdict in verdicts]])
    model = make_pipeline(
        embedder, LocalClassifierPerParentNode(LogisticRegression(max_iter=1000))
    )
    np.testing.assert_array_equal(model.fit(texts, tree).predict(texts), tree)
