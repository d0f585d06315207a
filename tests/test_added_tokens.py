"""Tokens that were added to a tokenizer, and not to the model, are named."""

import numpy as np
import pytest
from transformers import AutoTokenizer

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    load,
    save,
)

TEXTS = ["the film was good", "a bad movie", "great plot !", "it is dull ."]
STRANGE = ["the film", "a newword movie"]
MESSAGE = (
    r"token 'newword' with the id 93, but .* ids below 93 .*resize_token_embeddings"
)
TARGETS = {
    BertClassifier: ["good", "bad", "good", "bad"],
    BertRegressor: [1.0, 0.0, 2.0, 3.0],
    BertTokenClassifier: [["x"] * (len(text.split()) - 1) + ["y"] for text in TEXTS],
    BertEmbedder: None,
    BertPretrainer: None,
    BertGenerator: None,
}


@pytest.fixture
def grown(make_checkpoint):
    """A checkpoint to whose tokenizer a word was added."""
    folder = make_checkpoint()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["newword"])
    tokenizer.save_pretrained(folder)
    return folder


def of_words(cls, texts):
    return [text.split() for text in texts] if cls is BertTokenClassifier else texts


def methods(estimator):
    """What is asked of texts, or sentences, after a fit."""
    names = ("predict", "predict_proba", "transform", "score_samples", "generate")
    found = [getattr(estimator, name) for name in names if hasattr(estimator, name)]
    if isinstance(estimator, BertPretrainer):
        found.append(lambda X: estimator.fill_mask([f"{text} [MASK]" for text in X]))
    return found


@pytest.mark.parametrize("cls", TARGETS)
def test_ids_beyond_the_embeddings(cls, grown, tmp_path):
    """Every method says which token it is, before and after saving; others work."""
    settings = {"checkpoint": grown, "device": "cpu", "precision": "float32"}
    if cls is not BertEmbedder:
        settings |= {"max_epochs": 1, "random_state": 0}
    X, strange = of_words(cls, TEXTS), of_words(cls, STRANGE)
    y = TARGETS[cls]
    new_y = [["x", "y"], ["x", "y", "x"]] if cls is BertTokenClassifier else y and y[:2]
    with pytest.raises(ValueError, match=MESSAGE):
        cls(**settings).fit(strange, new_y)
    fitted = cls(**settings).fit(X, y)
    save(fitted, tmp_path / "saved")
    for estimator in (fitted, load(tmp_path / "saved")):
        assert methods(estimator)
        for method in methods(estimator):
            with pytest.raises(ValueError, match=MESSAGE):
                method(strange)
            method(X)


def test_pretraining_puts_in_no_word_that_the_model_lacks(grown):
    """Words drawn at random to be put in are such as have an embedding."""
    pretrainer = BertPretrainer(
        grown, max_epochs=5, random_state=0, device="cpu", precision="float32"
    ).fit(TEXTS * 30)
    assert np.isfinite(pretrainer.score_samples(TEXTS)).all()
    assert pretrainer.tokenizer_.known_ids().max() == 92
