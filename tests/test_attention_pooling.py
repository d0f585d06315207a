"""Pooling by attention: learnt, remembered, saved, and given to an embedder."""

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from skorch.callbacks import Callback

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertRegressor,
    CheckpointError,
    cache_info,
    load,
    save,
)
from sklearn_bert._process import _cache
from sklearn_bert.compute import _features
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.training._optimizer import parameter_groups

FILLER = ["the", "a", "film", "plot", "was", "very", "not", "i", "you", "it", "cat"]
DECIDING = [["bad", "awful", "poor", "dull"], ["good", "great", "fine", "nice"]]
PAIRS = [("a cat", "the dog"), ("good", "bad film"), ("i", "you"), ("", "it")]
TEXTS = ["the film was good", "a cat", "", "the dog runs , it was very dull !"]


def texts_with_one_deciding_word(n_texts, seed, n_words=40):
    """Random words of which one, anywhere, says the label."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_texts) % 2
    texts = rng.choice(FILLER, (n_texts, n_words))
    words = [rng.choice(DECIDING[label]) for label in labels]
    texts[np.arange(n_texts), rng.integers(n_words, size=n_texts)] = words
    return [" ".join(text) for text in texts], labels


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer: nothing here is about layers."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def fit(settings, reviews):
    """Fit a tiny classifier that pools by attention."""

    def fit(X=reviews[0], y=reviews[1], **params):
        defaults = {"pooling": "attention", "trainable": "head", "max_epochs": 2}
        return BertClassifier(**(settings | defaults | params)).fit(X, y)

    return fit


@pytest.fixture(scope="module", params=["head", 1, "all"])
def classifier(request, fit):
    return fit(trainable=request.param)


@pytest.fixture
def features(monkeypatch):
    """A cache of features of this test's own."""
    cache = _cache.BoundedCache(2**24)
    monkeypatch.setattr(_features, "FEATURES", cache)
    return cache


def test_attention_finds_the_word_that_decides(fit):
    """Where one word of forty decides, a head on attention beats one on means."""
    accuracy = {}
    for pooling in ("mean", "attention"):
        clf = fit(
            *texts_with_one_deciding_word(600, 0),
            pooling=pooling,
            max_epochs=10,
            batch_size=32,
            learning_rate=3e-4,
        )
        accuracy[pooling] = clf.score(*texts_with_one_deciding_word(200, 100))
    assert accuracy["attention"] > accuracy["mean"] + 0.15
    assert accuracy["attention"] > 0.75


def test_attention_alone_learns_beside_a_frozen_encoder(fit, checkpoint):
    """With trainable="head" attention learns, and no weight of the encoder moves."""
    model = fit().net_.module
    encoder = load_checkpoint(checkpoint, shared=True).encoder
    for name, value in encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value)
    assert model.attention.query.abs().min() > 0


def test_a_text_is_encoded_once_for_all_heads(fit, reviews, features):
    """Attention learns from states that the process remembers."""
    first = fit()
    n_known = features.info()["entries"]
    again = fit(learning_rate=1e-2)
    assert features.info()["entries"] == n_known == len(set(reviews[0]))
    assert features.info()["misses"] == n_known
    assert np.abs(first.transform(TEXTS) - again.transform(TEXTS)).max() > 1e-3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_states_need_not_be_kept(fit, reviews, features, emulated_bfloat16, precision):
    """Where states take too much memory, the same is learnt without keeping them.

    The encoder that others read meanwhile is neither rounded nor moved.
    """
    kept = fit(precision=precision)
    features.max_bytes = 0
    seen = []

    class Look(Callback):
        def on_batch_end(self, net, **kwargs):
            encoder = load_checkpoint(kept.checkpoint, shared=True).encoder
            seen.append({p.dtype for p in encoder.parameters()})
            assert net.module.encoder is not encoder

    params = {"callbacks": [Look()], "gradient_checkpointing": True}
    computed = fit(precision=precision, **params)
    assert len(seen) == 6
    assert all(dtypes == {torch.float32} for dtypes in seen)
    atol = 1e-4 if precision == "float32" else 2e-2
    assert_allclose(
        computed.predict_proba(TEXTS), kept.predict_proba(TEXTS), rtol=0, atol=atol
    )
    shared = load_checkpoint(kept.checkpoint, shared=True).encoder
    assert computed.net_.module.encoder is shared


@pytest.mark.parametrize(
    "copied",
    [
        lambda clf, folder: pickle.loads(pickle.dumps(clf)),
        lambda clf, folder: copy.deepcopy(clf),
        lambda clf, folder: save(clf, folder) or load(folder),
    ],
    ids=["pickle", "copy", "save"],
)
def test_copies_are_exact(classifier, tmp_path, copied):
    """Every way of keeping a classifier keeps its attention, to the bit."""
    again = copied(classifier, tmp_path / "model")
    cache_info(clear=True)
    assert_array_equal(again.transform(TEXTS), classifier.transform(TEXTS))
    assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


@pytest.mark.parametrize("pooling", ["auto", "attention"])
def test_an_embedder_pools_as_the_classifier_learnt(
    classifier, embedder_settings, tmp_path, pooling
):
    """A saved classifier is the checkpoint of an embedder with its attention."""
    save(classifier, tmp_path / "model")
    params = embedder_settings | {"checkpoint": tmp_path / "model", "pooling": pooling}
    embedder = BertEmbedder(**params).fit(TEXTS)
    assert embedder.net_.module.pooling == "attention"
    assert_allclose(
        embedder.transform(TEXTS), classifier.transform(TEXTS), rtol=0, atol=1e-6
    )
    save(embedder, tmp_path / "again")
    again = BertEmbedder(**(params | {"checkpoint": tmp_path / "again"})).fit(TEXTS)
    cache_info(clear=True)
    assert_allclose(
        again.transform(TEXTS), embedder.transform(TEXTS), rtol=0, atol=1e-6
    )


def test_attention_is_learnt_on_from_a_saved_one(fit, tmp_path):
    """A classifier begins with the attention of its checkpoint."""
    first = fit()
    save(first, tmp_path / "model")
    second = fit(checkpoint=tmp_path / "model", pooling="auto", learning_rate=1e-12)
    assert_allclose(second.transform(TEXTS), first.transform(TEXTS), rtol=0, atol=1e-5)
    mean = fit(checkpoint=tmp_path / "model", pooling="mean", learning_rate=1e-12)
    assert np.abs(mean.transform(TEXTS) - first.transform(TEXTS)).max() > 1e-3


def test_vectors_of_two_attentions_are_not_mixed(fit, embedder_settings, tmp_path):
    """Embedders that share an encoder, but not the attention, share no vectors."""
    embedders = []
    for rate in (1e-3, 1e-2):
        save(fit(learning_rate=rate), tmp_path / str(rate))
        params = embedder_settings | {"checkpoint": tmp_path / str(rate)}
        embedders.append(BertEmbedder(**params).fit(TEXTS))
    cache_info(clear=True)
    one, another = [embedder.transform(TEXTS) for embedder in embedders]
    assert np.abs(one - another).max() > 1e-3


def test_an_embedder_has_no_query_of_its_own(embedder_settings):
    """Where nothing is trained, attention that nobody has trained is an error."""
    embedder = BertEmbedder(**embedder_settings, pooling="attention")
    with pytest.raises(CheckpointError, match="no trained attention.*pooling='mean'"):
        embedder.fit(TEXTS)


def test_sentence_transformers_is_told_nothing_wrong(fit, tmp_path):
    """A pooling that it has no word for is left out of the modules."""
    save(fit(), tmp_path / "model")
    assert (tmp_path / "model" / "attention.safetensors").is_file()
    assert not (tmp_path / "model" / "modules.json").exists()


def test_damaged_attention_is_named(fit, embedder_settings, tmp_path):
    """A broken file of attention is an error, not another pooling."""
    save(fit(), tmp_path / "model")
    (tmp_path / "model" / "attention.safetensors").write_bytes(b"nothing")
    params = embedder_settings | {"checkpoint": tmp_path / "model"}
    with pytest.raises(CheckpointError, match="attention.safetensors is damaged"):
        BertEmbedder(**params).fit(TEXTS)


def test_windows_of_long_texts(fit):
    """A text in windows is trained on, and its vector is the mean of theirs."""
    halves = ["the film was good and it was", "i hate it , a bad plot"]  # of 7 words
    texts = [" ".join(halves), "a cat"]
    clf = fit(texts, ["long", "short"], long_text="window", max_length=9)
    vectors = clf.transform([" ".join(halves), *halves])
    assert_allclose(vectors[0], vectors[1:].mean(0), rtol=0, atol=1e-5)


def test_attention_pools_pairs(fit):
    """Pairs are pooled by attention over the tokens of both."""
    clf = fit(PAIRS, [0, 1, 0, 1])
    vectors = clf.transform(PAIRS)
    swapped = clf.transform([pair[::-1] for pair in PAIRS])
    assert np.abs(vectors - swapped).max() > 1e-3
    assert clf.predict(PAIRS).shape == (4,)


def test_training_goes_on(fit, reviews):
    """partial_fit and warm_start go on with the attention that there is."""
    clf = fit(max_epochs=1)
    before = clf.net_.module.attention.query.clone()
    clf.partial_fit(*reviews)
    between = clf.net_.module.attention.query.clone()
    clf.set_params(warm_start=True, trainable="all").fit(*reviews)
    after = clf.net_.module.attention.query
    assert not torch.equal(before, between)
    assert not torch.equal(between, after)
    assert torch.linalg.norm(after - between) < torch.linalg.norm(after)


def test_attention_pools_for_a_regressor(settings, reviews):
    """Numbers are learnt from vectors of attention too."""
    texts, labels = reviews
    y = [float(label == "pos") for label in labels]
    params = {"pooling": "attention", "trainable": "head", "learning_rate": 3e-4}
    reg = BertRegressor(**(settings | params), max_epochs=10).fit(texts, y)
    assert reg.score(texts, y) > 0.5
    assert reg.transform(texts).shape == (40, 32)


def test_attention_takes_the_steps_of_the_head():
    """What pools starts from nothing as the head does, beside an encoder or alone."""
    head, query, other = [torch.zeros(2) for _ in range(3)]
    named = [("head.bias", head), ("attention.query", query), ("encoder.bias", other)]
    for beside in (named, named[:2]):
        groups = parameter_groups(
            beside, weight_decay=0.1, new_parameters=TextModel.new_parameters
        )
        (rate,) = [g["rate_factor"] for g in groups if g["params"][0] is head]
        (group,) = [g for g in groups if g["rate_factor"] == rate]
        assert any(p is query for p in group["params"])
    assert len(groups) == 1
    assert rate > 10
