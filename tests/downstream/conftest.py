"""Estimators and texts for the libraries that are used with the package."""

import itertools

import numpy as np
import pandas as pd
import pytest

from sklearn_bert import BertClassifier, BertEmbedder

THINGS = ["film", "movie", "plot", "cat", "dog"]
VERDICTS = {"good": "pos", "great": "pos", "bad": "neg", "awful": "neg"}


@pytest.fixture
def clf(settings):
    """A classifier that learns the tiny texts in a second."""
    return BertClassifier(**settings | {"batch_size": 8}, max_epochs=8)


@pytest.fixture
def embedder(embedder_settings):
    """A tiny embedder."""
    return BertEmbedder(**embedder_settings)


@pytest.fixture(scope="session")
def lopsided(reviews):
    """A frame of texts and its labels: twenty of one class, five of the other."""
    texts, labels = (np.array(side) for side in reviews)
    rows = np.r_[np.flatnonzero(labels == "pos"), np.flatnonzero(labels == "neg")[:5]]
    return pd.DataFrame({"text": texts[rows]}), labels[rows]


@pytest.fixture(scope="session")
def verdicts():
    """Twenty texts that differ in their subject and their last word, and labels."""
    pairs = list(itertools.product(THINGS, VERDICTS))
    texts = [f"the {thing} was very {verdict}" for thing, verdict in pairs]
    return texts, [VERDICTS[verdict] for _, verdict in pairs]


@pytest.fixture(scope="session")
def by_one_word(checkpoint, verdicts):
    """A fitted classifier that one word decides; not to be changed."""
    classifier = BertClassifier(
        checkpoint,
        max_epochs=8,
        learning_rate=5e-3,
        batch_size=8,
        random_state=0,
        device="cpu",
        precision="float32",
    )
    return classifier.fit(*verdicts)
