"""The similarity of a pair is the cosine of its two texts, each read alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from sklearn_bert.compute._inference import Feed
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._pairs import halves
from sklearn_bert.model._text_model import SIMILARITY_SCALE, TextModel
from sklearn_bert.text._input import Texts

FIRST = ["the film was good", "", "i love the dog and the cat", "nice"]
SECOND = ["it was great , i love it !", "bad", "", "the plot"]
WORDS = st.text("ab c", max_size=9)
FEED = Feed(torch.device("cpu"), pad_id=0)


@pytest.fixture(scope="module")
def checkpoint(shallow_checkpoint):
    return shallow_checkpoint


@pytest.fixture(scope="module")
def model(checkpoint):
    encoder = load_checkpoint(checkpoint).encoder
    return TextModel(encoder, pooling="similarity", n_outputs=3, dropout=0.5).eval()


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return load_checkpoint(checkpoint).text_tokenizer(None)


def laid_out(tokenizer, first, second):
    """The arguments of a model for pairs."""
    table = tokenizer(Texts(first, second, 2, False), remember=False)
    return FEED(table, np.arange(len(first)))


@torch.inference_mode()
def plain_cosines(folder, first, second):
    """Compute cosines as anyone does with transformers, text by text."""
    encoder = AutoModel.from_pretrained(folder).eval()
    tokenize = AutoTokenizer.from_pretrained(folder)
    sides = [
        torch.stack(
            [
                encoder(**tokenize(text, return_tensors="pt"))
                .last_hidden_state[0]
                .mean(0)
                for text in side
            ]
        )
        for side in (first, second)
    ]
    return functional.cosine_similarity(*sides)


@torch.inference_mode()
def test_similarity_is_that_of_plain_transformers_(model, tokenizer, checkpoint):
    """It is the cosine of the mean states of both texts, whatever their lengths."""
    found = model.vectors(**laid_out(tokenizer, FIRST, SECOND))
    assert found.shape == (4, 1)
    expected = plain_cosines(checkpoint, FIRST, SECOND)
    torch.testing.assert_close(found[:, 0], expected, rtol=0, atol=1e-6)


@torch.inference_mode()
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_each_half_is_laid_out_as_it_is_alone(tokenizer, pairs):
    """Its tokens are those of the text without the other, and the others padding."""
    first, second = map(list, zip(*pairs, strict=True))
    batch = laid_out(tokenizer, first, second)
    for trims in (True, False):
        tokens, mask = halves(
            batch["input_ids"],
            batch.get("attention_mask"),
            batch["token_type_ids"],
            trims=trims,
        )
        for row, there, text in zip(tokens, mask, first + second, strict=True):
            alone = tokenizer(Texts([text], None, 1, False), remember=False)
            assert row[there].tolist() == alone.ids.tolist()
            assert there[: len(alone.ids)].all()  # they stand at the beginning


@torch.inference_mode()
def test_embeddings_are_taken_apart_as_ids_are(model, tokenizer):
    """What is explained passes embeddings, and is what `predict` computes of ids."""
    batch = laid_out(tokenizer, FIRST, SECOND)
    expected = model(**batch)
    embed = model.encoder.get_input_embeddings()
    batch["lower_states"] = embed(batch.pop("input_ids"))
    torch.testing.assert_close(model(**batch), expected, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_a_pair_without_padding_has_the_same_similarity(model, tokenizer):
    """A pair alone, whose batch has no mask, is as similar as among others."""
    among = model.vectors(**laid_out(tokenizer, FIRST, SECOND))
    for row, expected in enumerate(among):
        batch = laid_out(tokenizer, FIRST[row : row + 1], SECOND[row : row + 1])
        assert "attention_mask" not in batch
        torch.testing.assert_close(
            model.vectors(**batch)[0], expected, atol=1e-6, rtol=0
        )


def test_the_head_takes_the_similarity_and_drops_nothing(model, tokenizer):
    """In training as in prediction the scores are linear in the cosine."""
    batch = laid_out(tokenizer, FIRST, SECOND)
    assert model.head.weight.shape == (3, 1)
    assert model.settings()["dropout"] == 0.0
    with torch.no_grad():
        expected = model.head(SIMILARITY_SCALE * model.vectors(**batch))
        model.head.train()
        model.dropout.train()
        torch.testing.assert_close(model(**batch), expected, rtol=0, atol=1e-6)
    model.eval()


def test_both_texts_teach_the_encoder(model, tokenizer):
    """The gradient reaches the words of either text."""
    batch = laid_out(tokenizer, ["good film"], ["bad dog"])
    model.vectors(**batch).sum().backward()
    gradient = model.encoder.get_input_embeddings().weight.grad
    taught = set(gradient.abs().sum(1).nonzero().ravel().tolist())
    assert taught >= set(batch["input_ids"][0].tolist())
    model.zero_grad()


@pytest.mark.parametrize(
    ("family", "divides"),
    [("bert", True), ("electra", True), ("roberta", False), ("distilbert", False)],
)
def test_a_pair_is_taken_apart_by_token_types(family_checkpoint, family, divides):
    """Only where types say which text a token is of, and none stands between."""
    tokenizer = load_checkpoint(family_checkpoint(family)).text_tokenizer(None)
    assert tokenizer.divides_pairs == divides
