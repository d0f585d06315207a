"""A fitted classifier to explain, and the texts that it has learnt from."""

import numpy as np
import pytest

from sklearn_bert import BertClassifier

NEUTRAL = ["the", "a", "film", "movie", "plot", "was", "is", "cat", "dog", "i", "we"]
WORDS = {
    "pos": ["good", "great", "fine", "nice", "love"],
    "neg": ["bad", "awful", "poor", "dull", "hate"],
}


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer is enough: no test here looks at layers."""
    return shallow_checkpoint


@pytest.fixture(scope="session")
def decided():
    """Texts, and labels that one of their words decides, and these words."""
    generator = np.random.default_rng(0)
    labels = ["pos", "neg"] * 60
    words = [generator.choice(WORDS[label]) for label in labels]
    texts = []
    for word in words:
        row = generator.choice(NEUTRAL, size=generator.integers(3, 9)).tolist()
        row.insert(generator.integers(len(row) + 1), word)
        texts.append(" ".join(row))
    return texts, labels, words


@pytest.fixture(scope="session")
def clf(shallow_checkpoint, decided):
    """A classifier of texts that one word decides."""
    settings = {"learning_rate": 5e-3, "batch_size": 16, "random_state": 0}
    return BertClassifier(
        shallow_checkpoint, device="cpu", precision="float32", max_epochs=6, **settings
    ).fit(*decided[:2])
