"""Fits on texts that come one by one: equal to those on a list, in less memory."""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from skorch.callbacks import Callback

from sklearn_bert import BertEmbedder, BertPretrainer, WordPieceVocabulary
from sklearn_bert.estimators import _whitening
from sklearn_bert.text import _stream, _table

NOWHERE = "/no/such/folder"


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer: nothing here is about layers."""
    return shallow_checkpoint


@contextmanager
def small_parts():
    """A few texts are in memory at a time, and few tokens of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_stream, "CHARACTERS_PER_PART", 200)
        patch.setattr(_table, "TOKENS_PER_BLOCK", 64)
        yield


class TableOfFit(Callback):
    """Notes where the tokens lie that a net learns from."""

    tables: list = []

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        self.tables.append(dataset_train.table)


class Killed(Callback):
    """Ends a fit after an update."""

    after = None

    def on_batch_end(self, net, **kwargs):
        if net.updates_.n_done == self.after:
            raise SystemError("killed")


@pytest.fixture
def pretrain(settings):
    """Fit a pretrainer."""

    def pretrain(X, X_val=None, **params):
        small = {"max_epochs": 2, "max_length": 24, "learning_rate": 1e-3}
        pretrainer = BertPretrainer(**(settings | small | params))
        with nullcontext() if isinstance(X, list) else small_parts():
            return pretrainer.fit(X, X_val=X_val)

    return pretrain


@pytest.fixture
def embed(settings):
    """Fit an embedder."""

    def embed(X, **params):
        small = {"max_epochs": 1, "learning_rate": 1e-3}
        embedder = BertEmbedder(**(settings | small | params))
        with nullcontext() if isinstance(X, list) else small_parts():
            return embedder.fit(X)

    return embed


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("pack", [False, True])
def test_a_stream_teaches_what_a_list_does(pretrain, reviews, pack, whole_words):
    """The same rows, masks and updates, to the bit, whatever is in memory."""
    texts = [*reviews[0], ""]
    params = {"pack": pack, "whole_words": whole_words, "random_state": 3}
    expected = pretrain(texts, **params)
    found = pretrain(iter(texts), **params, callbacks=[TableOfFit()])
    assert isinstance(TableOfFit.tables[-1].ids, np.memmap)
    losses = [[row["train_loss"] for row in p.history_] for p in (expected, found)]
    assert losses[0] == losses[1]
    assert found.unknown_report_ == expected.unknown_report_
    assert_array_equal(found.transform(texts), expected.transform(texts))
    assert found.score(texts) == expected.score(texts)


def test_a_new_vocabulary_is_learnt_of_a_stream(pretrain, reviews):
    """A new BERT takes its words and its weights from one stream."""
    params = {
        "checkpoint": None,
        "vocabulary": WordPieceVocabulary(vocab_size=120),
        "hidden_size": 32,
        "n_layers": 1,
        "n_heads": 2,
    }
    expected = pretrain(reviews[0], **params)
    found = pretrain(iter(reviews[0]), **params)
    assert found.tokenizer_.backend.to_str() == expected.tokenizer_.backend.to_str()
    assert_array_equal(found.transform(["a film"]), expected.transform(["a film"]))


def test_validation_beside_a_stream(pretrain, reviews):
    """The caller's texts validate a stream, and stop it early."""
    params = {"early_stopping": True, "n_iter_no_change": 1, "max_epochs": 30}
    params |= {"X_val": reviews[0][:5], "learning_rate": 0.05}
    expected = pretrain(reviews[0], **params)
    found = pretrain(iter(reviews[0]), **params)
    assert found.n_iter_ < 30
    scores = [[row["valid_score"] for row in p.history_] for p in (expected, found)]
    assert scores[0] == scores[1]


def test_a_killed_fit_of_a_stream_goes_on(pretrain, reviews, tmp_path, monkeypatch):
    """The same texts in another stream: the fit ends as if it had not been killed."""
    params = {"batch_size": 4, "callbacks": [Killed()]}
    expected = pretrain(reviews[0], **params)
    params |= {"checkpoint_folder": tmp_path, "checkpoint_minutes": 0}
    monkeypatch.setattr(Killed, "after", 3)
    with pytest.raises(SystemError, match="killed"):
        pretrain(iter(reviews[0]), **params)
    assert any(tmp_path.iterdir())
    monkeypatch.undo()
    found = pretrain(iter(reviews[0]), **params)
    assert_array_equal(found.transform(["a film"]), expected.transform(["a film"]))


def test_a_stream_that_is_refused_is_not_read(pretrain, reviews):
    """What is wrong with parameters or X_val is said before a text is taken."""
    texts = iter(reviews[0])
    for params in ({"early_stopping": True}, {"X_val": [3]}, {"next_sentence": True}):
        with pytest.raises((TypeError, ValueError)):
            pretrain(texts, **params)
    assert next(texts) == reviews[0][0]


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("objective", [None, "mlm"])
def test_an_embedder_of_a_stream(embed, reviews, objective, whiten):
    """Weights to the bit, and whitening but for rounding, are those of a list."""
    texts = reviews[0]
    params = {"objective": objective, "whiten": whiten}
    if whiten:
        params["n_components"] = 6
    expected, found = embed(texts, **params), embed(iter(texts), **params)
    assert_allclose(found.transform(texts), expected.transform(texts), atol=1e-4)
    if not whiten:
        assert_array_equal(found.transform(texts), expected.transform(texts))
    for name in ("truncation_report_", "unknown_report_", "n_features_in_"):
        assert getattr(found, name) == getattr(expected, name)


def test_what_is_cut_of_a_stream_is_counted(embed):
    """Reports and the warning are of all texts, and not of those in memory."""
    texts = ["a film " * 20, *["a film"] * 60, "a film " * 30]
    with pytest.warns(UserWarning, match="2 of 62 texts are longer than 12 tokens"):
        embedder = embed(iter(texts), max_length=12)
    report = embedder.truncation_report_
    assert (report["n_texts"], report["n_truncated"]) == (62, 2)
    assert (report["longest"], report["max_length"]) == (62, 12)


def test_windows_of_a_stream_are_whitened(embed, reviews):
    """Long texts of a stream are read in windows, as those of a list are."""
    texts = [text * 3 for text in reviews[0]]
    params = {"whiten": True, "n_components": 4, "long_text": "window"}
    expected = embed(texts, max_length=8, **params)
    found = embed(iter(texts), max_length=8, **params)
    assert_allclose(found.transform(texts), expected.transform(texts), atol=1e-4)


def test_moments_are_those_of_all_vectors(monkeypatch):
    """However vectors come, their mean and scatter are those of all at once."""
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(500, 5)) * [1, 9, 0.1, 3, 0] + 100).astype(np.float32)
    monkeypatch.setattr(_whitening, "VECTORS_AT_ONCE", 37)
    moments = _whitening.Moments()
    for part in np.split(vectors, [1, 90, 400]):
        moments.add(part)
    exact = vectors.astype(np.float64)
    assert moments.n == 500
    assert_allclose(moments.mean, exact.mean(axis=0), rtol=1e-13)
    covariance = np.cov(exact, rowvar=False, bias=True) * 500
    assert_allclose(moments.scatter, covariance, rtol=1e-9, atol=1e-9)


WRONG = [
    (
        {"next_sentence": True},
        ["a cat"],
        ValueError,
        "next_sentence is True.*generator",
    ),
    ({"early_stopping": True}, ["a cat"], ValueError, "early_stopping.*X_val"),
    ({"template": "{a}"}, ["a cat"], ValueError, "template is .* generator"),
    ({}, ["a cat", None], ValueError, r"X\[1\] is None"),
    ({}, ["a cat", 3], TypeError, r"X\[1\] is 3 of type int"),
    ({}, [["a cat"], ["a dog"]], TypeError, r"X\[0\] is \['a cat'\] of type list.*row"),
    ({}, [b"a cat"], TypeError, "of type bytes.*Decode the items"),
    ({}, [], ValueError, "X is empty"),
    ({}, [" ", ""], ValueError, "X holds 2 texts and not one word"),
]


@pytest.mark.parametrize(("params", "texts", "error", "message"), WRONG)
def test_what_a_pretrainer_refuses(pretrain, params, texts, error, message):
    """A wrong stream is told before the checkpoint is read."""
    with pytest.raises(error, match=message):
        pretrain((text for text in texts), **(params | {"checkpoint": NOWHERE}))


@pytest.mark.parametrize("objective", ["simcse", "supervised", "pairs"])
def test_objectives_that_take_all_texts(embed, objective):
    """What compares texts of all X takes no stream, and says which one does."""
    with pytest.raises(ValueError, match=f"{objective}.*X is a generator.*'mlm'"):
        embed((t for t in ["a", "b"]), objective=objective, checkpoint=NOWHERE)


def test_a_stream_ends_in_fit(settings):
    """fit_transform would read it twice; an error of the stream is the caller's."""
    with pytest.raises(TypeError, match="generator, which is read only once"):
        BertEmbedder(**settings).fit_transform(text for text in ["a", "b"])

    def broken():
        yield "a cat"
        raise OSError("the database is gone")

    with pytest.raises(OSError, match="the database is gone"):
        BertPretrainer(**settings).fit(broken())
