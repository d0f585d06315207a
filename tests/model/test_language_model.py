"""Losses and guesses of an encoder with its heads are those of plain transformers."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    BertForMaskedLM,
    BertForPreTraining,
    GPT2Config,
)

from sklearn_bert.model import _language_model as _language
from sklearn_bert.model._attention import can_pack
from sklearn_bert.model._language_model import (
    LanguageModel,
    language_class,
    new_language_model,
    sinusoids,
)
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._table import pack, pad

FAMILIES = ["bert", "roberta", "xlm-roberta", "distilbert", "electra", "mpnet"]
FAMILIES += ["modernbert", "deberta", "deberta-v2"]
PACKED = ["bert", "roberta", "xlm-roberta", "distilbert", "electra"]
LENGTHS = [5, 17, 2, 30, 12]
ROWS = np.arange(len(LENGTHS))
ROW_OF = np.array([0, 1, 1, 1, 3, 3, 4, 4])  # a row without a place as well
PLACES = np.array([1, 0, 5, 16, 2, 29, 3, 11])
FOLLOWS = torch.tensor([1, 0, 0, 1, 1])


@pytest.fixture(scope="module")
def make_whole(family_checkpoint):
    """A masked-language model of a family as transformers makes it, in evaluation."""

    def make(family):
        config = AutoConfig.from_pretrained(family_checkpoint(family))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if family == "bert":
                whole = BertForPreTraining(config)
            else:
                whole = AutoModelForMaskedLM.from_config(config)
            for name, value in whole.named_parameters():
                if name.endswith("bias"):  # made as zeros, which would hide mistakes
                    torch.nn.init.normal_(value, std=0.1)
        whole.set_attn_implementation("eager")
        return whole.eval()

    return make


@pytest.fixture(scope="module")
def table(make_table):
    """Rows of ids that every vocabulary has, none of them padding."""
    return make_table(LENGTHS, first_id=5)


@pytest.fixture(scope="module")
def typed_table(make_table):
    """The same with type ids."""
    return make_table(LENGTHS, first_id=5, with_types=True)


def tensors(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def right_of(table):
    """Other ids than those that stand there."""
    ids = table.ids[table.starts[ROW_OF] + PLACES]
    return torch.from_numpy((ids + 7) % 80).long()


def padded(table, pad_id):
    """The rows side by side, and where to guess."""
    places = ROW_OF * max(LENGTHS) + PLACES
    return {
        **tensors(pad(table, ROWS, pad_id)),
        "word_positions": torch.from_numpy(places),
        "labels": right_of(table),
    }


def packed(table, pad_id, multiple=None):
    """The rows one after the other, and where to guess."""
    longest = max(int(table.lengths.max()), multiple or 0)
    return {
        **tensors(pack(table, ROWS, pad_id, multiple)),
        "longest": longest,
        "word_positions": torch.from_numpy(table.starts[ROW_OF] + PLACES),
        "labels": right_of(table),
    }


def plain_inputs(table, pad_id):
    """What transformers takes: ids, mask, types, and labels of -100 elsewhere."""
    batch = tensors(pad(table, ROWS, pad_id))
    labels = torch.full_like(batch["input_ids"], -100).long()
    labels[ROW_OF, PLACES] = right_of(table)
    batch["input_ids"] = batch["input_ids"].long()
    return batch, labels


def mean_losses(model, batch):
    words, follows = model(**batch)
    return words.mean() + (0 if follows is None else follows.mean())


def gradients(module):
    """Gradients by the name that transformers has for the weight."""
    found = {}
    for name, value in module.named_parameters(remove_duplicate=False):
        if value.grad is not None:
            name = name.removeprefix("language_head.")
            if name.startswith("encoder.") and isinstance(module, LanguageModel):
                name = f"{module.prefix}.{name.removeprefix('encoder.')}"
            found[name] = value.grad
    return found


def assert_same_gradients(found, expected):
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = max(gradient.abs().max().item(), 1e-1)
        torch.testing.assert_close(
            found[name],
            gradient,
            rtol=1e-4,
            atol=1e-5 * scale,
            msg=lambda m, n=name: f"{n}: {m}",
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_plain_transformers_(make_whole, table, family):
    """At equal ids and masks the loss is transformers', and so is each gradient."""
    theirs = make_whole(family)
    ours = LanguageModel(copy.deepcopy(theirs), pooling="cls").eval()
    pad_id = theirs.config.pad_token_id
    batch, labels = plain_inputs(table, pad_id)
    if family == "bert":
        logits = theirs(**batch).prediction_logits
        expected = functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    else:
        expected = theirs(**batch, labels=labels).loss
    expected.backward()
    words, follows = ours(**padded(table, pad_id))
    assert follows is None
    assert words.shape == (len(PLACES),)
    assert words.dtype == torch.float32
    torch.testing.assert_close(words.mean(), expected, rtol=0, atol=1e-5)
    words.mean().backward()
    assert_same_gradients(gradients(ours), gradients(theirs))


@pytest.fixture
def both(make_whole):
    """BertForPreTraining, and our model of its weights."""
    theirs = make_whole("bert")
    return theirs, LanguageModel(copy.deepcopy(theirs), pooling="mean").eval()


def test_language_model_has_both_losses_of_bert(both, typed_table):
    """The sum of both mean losses is that of BertForPreTraining."""
    theirs, ours = both
    batch, labels = plain_inputs(typed_table, 0)
    expected = theirs(**batch, labels=labels, next_sentence_label=1 - FOLLOWS)
    words, follows = ours(**padded(typed_table, 0), next_sentence_labels=FOLLOWS)
    found = words.mean() + follows.mean()
    torch.testing.assert_close(found, expected.loss, rtol=0, atol=1e-5)


def test_language_model_has_both_gradients_of_bert(both, typed_table):
    """Every weight learns as in BertForPreTraining, decoder and pooler included."""
    theirs, ours = both
    batch, labels = plain_inputs(typed_table, 0)
    theirs(**batch, labels=labels, next_sentence_label=1 - FOLLOWS).loss.backward()
    mean_losses(
        ours, {**padded(typed_table, 0), "next_sentence_labels": FOLLOWS}
    ).backward()
    assert_same_gradients(gradients(ours), gradients(theirs))


@pytest.mark.parametrize("n_at_once", [1, 3, 8])
@pytest.mark.parametrize("family", ["bert", "distilbert", "electra"])
def test_chunks_change_nothing(make_whole, table, monkeypatch, family, n_at_once):
    """Words in chunks, computed again, have the losses and gradients of all."""
    whole = make_whole(family)
    pad_id = whole.config.pad_token_id
    ours = LanguageModel(whole, pooling="cls").eval()
    losses, _ = ours(**padded(table, pad_id))
    losses.mean().backward()
    expected = {name: g.clone() for name, g in gradients(ours).items()}
    ours.zero_grad()
    monkeypatch.setattr(_language, "WORDS_AT_ONCE", n_at_once)
    chunked, _ = ours(**padded(table, pad_id))
    torch.testing.assert_close(chunked, losses, rtol=0, atol=1e-6)
    chunked.mean().backward()
    assert_same_gradients(gradients(ours), expected)


@pytest.mark.parametrize("multiple", [None, 8])
@pytest.mark.parametrize("family", PACKED)
def test_packed_is_padded(make_whole, table, typed_table, family, multiple):
    """Losses and gradients do not depend on how the rows are laid out."""
    whole = make_whole(family)
    pad_id = whole.config.pad_token_id
    ours = LanguageModel(whole, pooling="cls").eval()
    assert can_pack(ours.encoder)
    # With pairs no line is ever lengthened.
    pairs = (
        {"next_sentence_labels": FOLLOWS}
        if family == "bert" and multiple is None
        else {}
    )
    rows = typed_table if family == "bert" else table
    expected_losses = ours(**padded(rows, pad_id), **pairs)
    mean_losses(ours, {**padded(rows, pad_id), **pairs}).backward()
    expected = {name: g.clone() for name, g in gradients(ours).items()}
    ours.zero_grad()
    batch = packed(rows, pad_id, multiple)
    words, follows = ours(**batch, **pairs)
    torch.testing.assert_close(words, expected_losses[0], rtol=0, atol=1e-5)
    if pairs:
        torch.testing.assert_close(follows, expected_losses[1], rtol=0, atol=1e-5)
    loss = words.mean() + (follows.mean() if pairs else 0)
    loss.backward()
    assert_same_gradients(gradients(ours), expected)


def test_only_what_is_asked_for_is_scored(both, typed_table):
    """The decoder sees the places to guess and no other token, in training too."""
    _, ours = both
    seen = []
    decoder = ours.language_head.cls.predictions.decoder
    decoder.register_forward_hook(lambda _, inputs, out: seen.append(out.shape))
    ours.train()
    ours(**padded(typed_table, 0), next_sentence_labels=FOLLOWS)
    assert [shape[:-1].numel() for shape in seen] == [len(PLACES)]


def test_language_model_without_hidden_words(both, typed_table):
    """A batch without a word to guess has no word's loss, and still that of pairs."""
    _, ours = both
    batch = padded(typed_table, 0)
    for name in ("word_positions", "labels"):
        batch[name] = batch[name][:0]
    words, follows = ours(**batch, next_sentence_labels=FOLLOWS)
    assert words.shape == (0,)
    assert follows.shape == (len(ROWS),)
    (words.sum() + follows.mean()).backward()
    assert ours.language_head.cls.seq_relationship.weight.grad.any()


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_answers_are_plain_transformers_(make_whole, table, family, monkeypatch):
    """Log-likelihoods, best words and scores are those of transformers' logits."""
    monkeypatch.setattr(_language, "WORDS_AT_ONCE", 3)
    theirs = make_whole(family)
    pad_id = theirs.config.pad_token_id
    batch, _ = plain_inputs(table, pad_id)
    output = theirs(**batch)
    logits = output.prediction_logits if family == "bert" else output.logits
    at_places = logits[ROW_OF, PLACES]
    ours = LanguageModel(copy.deepcopy(theirs), pooling="cls").eval()
    asked = padded(table, pad_id)
    right = asked["labels"]
    found = ours.token_log_likelihood(**asked)
    expected = at_places.log_softmax(1)[torch.arange(len(right)), right]
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-5, atol=1e-5)
    assert found[:, 1].tolist() == (at_places.argmax(1) == right).float().tolist()
    best = at_places.softmax(1).topk(4, 1)
    found = ours.top_tokens(**asked, n_best=4)
    assert torch.equal(found[:, :4].long(), best.indices)
    torch.testing.assert_close(found[:, 4:], best.values, rtol=1e-5, atol=1e-6)
    del asked["labels"]
    scores = ours.next_token_logits(**asked)
    torch.testing.assert_close(scores, at_places, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_follow_scores(both, typed_table):
    """Scores of pairs are BertForPreTraining's, padded and packed."""
    theirs, ours = both
    batch, _ = plain_inputs(typed_table, 0)
    expected = theirs(**batch).seq_relationship_logits
    found = ours.next_sentence_logits(**tensors(pad(typed_table, ROWS, 0)))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    longest = {"longest": max(LENGTHS)}
    found = ours.next_sentence_logits(**tensors(pack(typed_table, ROWS, 0)), **longest)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_language_model_weights_open_in_transformers(make_whole, table, family):
    """The weights under their own names make the same model in transformers."""
    theirs = make_whole(family)
    ours = LanguageModel(copy.deepcopy(theirs), pooling="cls")
    weights = ours.full_state()
    pointers = [value.data_ptr() for value in weights.values()]
    assert len(set(pointers)) == len(pointers)
    assert ours.transformers_class() == type(theirs).__name__
    other = type(theirs)(theirs.config).eval()
    lost, strange = other.load_state_dict(weights, strict=False)
    assert not strange
    known = dict(other.named_parameters(remove_duplicate=False))
    loaded = {id(known[name]) for name in weights if name in known}
    assert not [name for name in lost if id(known.get(name)) not in loaded | {id(None)}]
    batch, _ = plain_inputs(table, theirs.config.pad_token_id)
    expected, found = theirs(**batch)[0], other(**batch)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_bert_without_next_sentences(make_whole):
    """Where that head was not trained, the folder is opened without it."""
    ours = LanguageModel(
        make_whole("bert"), pooling="cls", untrained=["cls.seq_relationship."]
    )
    assert ours.transformers_class() == BertForMaskedLM.__name__


def test_a_family_without_masked_words():
    """A family that has no such head is refused by name."""
    with pytest.raises(ValueError, match="family 'gpt2' has no head for masked words"):
        language_class(GPT2Config())


SHAPE = {"n_words": 300, "hidden_size": 48, "n_layers": 3, "n_heads": 4}
SHAPE |= {"max_length": 40, "pad_id": 7, "position_encoding": "learned"}


def test_a_new_bert_has_its_shape():
    """Layers, width, heads and vocabulary are those asked for; the rest is BERT's."""
    config = new_language_model(**SHAPE, dropout=None).config
    assert config.vocab_size == 300
    assert config.hidden_size == 48
    assert config.num_hidden_layers == 3
    assert config.num_attention_heads == 4
    assert config.intermediate_size == 4 * 48
    assert config.max_position_embeddings == 40
    assert config.pad_token_id == 7
    assert config.hidden_act == "gelu"
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0.1


def test_a_new_bert_starts_as_published():
    """Weights are normal with deviation 0.02, biases 0; decoder and words are one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = new_language_model(**SHAPE, dropout=0.0)
    assert whole.config.hidden_dropout_prob == 0
    layer = whole.bert.encoder.layer[0].intermediate.dense
    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not layer.bias.any()
    words = whole.get_input_embeddings().weight
    assert whole.get_output_embeddings().weight is words
    assert not words[7].any()
    guess = functional.softmax(torch.zeros(300), 0).log()[0].item()
    ids = torch.randint(8, 300, (4, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = whole(ids).prediction_logits
    loss = functional.cross_entropy(logits.flatten(0, 1), ids.flatten().roll(1))
    assert loss.item() == pytest.approx(-guess, abs=0.1)


# -- fixed positions ---------------------------------------------------------------

SIZES = [(64, 32), (7, 2), (512, 64), (10, 5), (3, 1)]
SMALL = {"n_words": 80, "hidden_size": 32, "n_layers": 2, "n_heads": 2}
SMALL |= {"max_length": 24, "pad_id": 0, "dropout": 0.0}


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
        return new_language_model(**SMALL, position_encoding="sinusoidal")


def position_table(model):
    return model.encoder.embeddings.position_embeddings.weight


def test_a_new_bert_has_them(whole):
    """They stand in the place of the learned table, and the configuration says so."""
    weight = whole.bert.embeddings.position_embeddings.weight
    assert torch.equal(weight, sinusoids(24, 32))
    learned = new_language_model(**SMALL, position_encoding="learned")
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
    whole = new_language_model(**SMALL, position_encoding="learned")
    assert position_table(LanguageModel(whole, pooling="mean")).requires_grad
