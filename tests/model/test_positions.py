"""Position tables of sines and cosines, held against Vaswani et al. (2017)."""

import math

import numpy as np
import pytest
import torch

from sklearn_bert.model._language_model import LanguageModel, new_language_model
from sklearn_bert.model._positions import sinusoids
from sklearn_bert.model._text_model import TextModel

SIZES = [(64, 32), (7, 2), (512, 64), (10, 5), (3, 1)]
SHAPE = {"n_words": 80, "hidden_size": 32, "n_layers": 2, "n_heads": 2}
SHAPE |= {"max_length": 24, "pad_id": 0, "dropout": 0.0}


def published(n_positions, width):
    """Section 3.5, entry by entry: sin and cos of pos / 10000 ** (2 i / d)."""
    table = np.zeros((n_positions, width))
    for pos in range(n_positions):
        for entry in range(width):
            angle = pos / 10_000 ** (2 * (entry // 2) / width)
            table[pos, entry] = math.cos(angle) if entry % 2 else math.sin(angle)
    return table


@pytest.mark.parametrize(("n_positions", "width"), SIZES)
def test_the_published_formula(n_positions, width):
    """The table is the published one, as small as new embeddings are."""
    found = sinusoids(n_positions, width)
    assert found.dtype == torch.float32
    expected = published(n_positions, width) * 0.02 * math.sqrt(2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_as_small_as_learned_ones_start():
    """The root of the mean square is 0.02, where BERT's embeddings start."""
    found = sinusoids(512, 256)
    assert found.square().mean().sqrt().item() == pytest.approx(0.02, rel=1e-3)


def test_products_depend_on_distance_alone():
    """Two positions' product tells how far apart they are, and not where they stand."""
    table = sinusoids(200, 64).double()
    products = table @ table.T
    for distance in (0, 1, 5, 50):
        values = products.diagonal(distance)
        torch.testing.assert_close(
            values, values[:1].expand_as(values), rtol=1e-4, atol=0
        )
    assert products[0, 0] > products[0, 1] > products[0, 5]


@pytest.fixture
def whole():
    """A new BERT with sines and cosines."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return new_language_model(**SHAPE, position_encoding="sinusoidal")


def position_table(model):
    return model.encoder.embeddings.position_embeddings.weight


def test_a_new_bert_has_them(whole):
    """They stand in the place of the learned table, and the configuration says so."""
    weight = whole.bert.embeddings.position_embeddings.weight
    assert torch.equal(weight, sinusoids(24, 32))
    learned = new_language_model(**SHAPE, position_encoding="learned")
    assert not torch.equal(
        learned.bert.embeddings.position_embeddings.weight, sinusoids(24, 32)
    )
    assert "position_encoding" in whole.config.to_dict()
    assert "position_encoding" not in learned.config.to_dict()


def test_sines_do_not_learn(whole):
    """Neither with the language heads nor under another head, while the rest does."""
    language = LanguageModel(whole, pooling="mean")
    assert not position_table(language).requires_grad
    assert language.encoder.embeddings.word_embeddings.weight.requires_grad
    classifier = TextModel(language.encoder, pooling="mean", n_outputs=2)
    for trainable in ("all", 1, "all"):
        classifier.set_trainable(trainable)
        assert not position_table(classifier).requires_grad
    assert classifier.encoder.embeddings.word_embeddings.weight.requires_grad


def test_learned_ones_learn():
    """A learned table takes gradients."""
    whole = new_language_model(**SHAPE, position_encoding="learned")
    assert position_table(LanguageModel(whole, pooling="mean")).requires_grad
