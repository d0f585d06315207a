"""A pickle's weights can lie outside it, in memory that processes share."""

import pickle
import pickletools
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import clone

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertPretrainer,
    BertTokenClassifier,
    cache_info,
)


@pytest.fixture(scope="module")
def classifier(quick, reviews):
    return BertClassifier(**quick).fit(*reviews)


def apart(estimator):
    """An estimator's pickle, and the buffers beside it."""
    buffers = []
    return pickle.dumps(estimator, 5, buffer_callback=buffers.append), buffers


def addresses(estimator):
    return {p.data_ptr() for p in estimator.net_.module.parameters()}


def test_weights_and_vocabulary_lie_beside_the_pickle(classifier):
    """Of a fitted estimator the pickle holds neither weights nor vocabulary."""
    data, buffers = apart(classifier)
    n_bytes = sum(p.nbytes for p in classifier.net_.module.parameters())
    sizes = sorted(b.raw().nbytes for b in buffers)[-2:]
    assert sizes[0] == len(classifier.tokenizer_.to_json().encode())
    assert n_bytes <= sizes[1] < 1.2 * n_bytes
    assert len(data) < 20_000
    opcodes = {opcode.name for opcode, *_ in pickletools.genops(data)}
    assert "NEXT_BUFFER" in opcodes


def test_a_pickle_beside_its_buffers_copies_no_weight(classifier, reviews):
    """Unpickled weights are the memory of the buffers, which may be read-only."""
    texts, _ = reviews
    data, buffers = apart(classifier)
    cache_info(clear=True)
    read_only = [bytes(b.raw()) for b in buffers]
    other = pickle.loads(data, buffers=read_only)
    largest = np.frombuffer(max(read_only, key=len), np.uint8)
    begin = largest.ctypes.data
    assert all(begin <= at < begin + largest.nbytes for at in addresses(other))
    expected = classifier.predict_proba(texts)
    np.testing.assert_array_equal(other.predict_proba(texts), expected)


def test_a_second_estimator_of_equal_weights_shares_them(classifier):
    """A process keeps the weights of a content once, whoever unpickles them."""
    cache_info(clear=True)
    one, two = (pickle.loads(pickle.dumps(classifier)) for _ in range(2))
    assert addresses(one) == addresses(two)
    assert one.net_.module is not two.net_.module
    assert one.tokenizer_.backend is two.tokenizer_.backend
    assert cache_info()["weights"]["hits"] == 2


def test_other_weights_are_not_shared(classifier, quick, reviews):
    """Weights of another content are another estimator's."""
    texts, labels = reviews
    other = BertClassifier(**(quick | {"random_state": 1})).fit(texts, labels)
    one, two = (pickle.loads(pickle.dumps(e)) for e in (classifier, other))
    assert not addresses(one) & addresses(two)
    for copied, source in ((one, classifier), (two, other)):
        expected = source.predict_proba(texts)
        np.testing.assert_array_equal(copied.predict_proba(texts), expected)


def test_a_copy_from_shared_memory_goes_on_learning(classifier, reviews):
    """partial_fit trains weights of its own; those that are shared stay."""
    texts, labels = reviews
    data, buffers = apart(classifier)
    read_only = [bytes(b.raw()) for b in buffers]
    other, third = (pickle.loads(data, buffers=read_only) for _ in range(2))
    shared = addresses(other)
    other.partial_fit(texts, labels)
    assert not addresses(other) & shared
    expected = classifier.predict_proba(texts)
    np.testing.assert_array_equal(third.predict_proba(texts), expected)
    assert np.abs(other.predict_proba(texts) - expected).max() > 1e-6


@pytest.mark.parametrize("trainable", ["head", 1])
def test_a_copy_with_frozen_layers_goes_on_learning(quick, reviews, trainable):
    """So does one of which a part is frozen, with the answers of one not pickled."""
    texts, labels = reviews
    fitted = BertClassifier(**quick, trainable=trainable).fit(texts, labels)
    data, buffers = apart(fitted)
    other = pickle.loads(data, buffers=[bytes(b.raw()) for b in buffers])
    for one in (fitted, other):
        one.partial_fit(texts, labels)
    expected = fitted.predict_proba(texts)
    np.testing.assert_array_equal(other.predict_proba(texts), expected)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_joblib_maps_the_weights(classifier, reviews, tmp_path):
    """joblib reads weights from a mapped file, whose pages processes share."""
    texts, _ = reviews
    joblib.dump(classifier, tmp_path / "model")
    cache_info(clear=True)
    mapped = joblib.load(tmp_path / "model", mmap_mode="r")
    expected = classifier.predict_proba(texts)
    np.testing.assert_array_equal(mapped.predict_proba(texts), expected)
    files = [file_at(address) for address in addresses(mapped)]
    assert {Path(file).name for file in files} == {"model"}


def file_at(address):
    """The file that is mapped to an address of this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, *others = line.split(maxsplit=5)
        begin, end = (int(part, 16) for part in where.split("-"))
        if begin <= address < end:
            return others[-1]
    raise AssertionError(f"nothing is mapped to {address:x}")


@pytest.mark.parametrize("cls", [BertEmbedder, BertTokenClassifier, BertPretrainer])
def test_other_estimators_lie_beside_their_pickles(
    settings, embedder_settings, reviews, cls
):
    """Each kind of estimator is a small pickle and buffers, and answers as before."""
    texts, _ = reviews
    words = [text.split() for text in texts]
    if cls is BertEmbedder:
        fitted, ask = cls(**embedder_settings).fit(texts), "transform"
    elif cls is BertTokenClassifier:
        tags = [["x"] + ["y"] * (len(one) - 1) for one in words]
        fitted, ask = (
            cls(**(settings | {"max_epochs": 1})).fit(words, tags),
            "predict_proba",
        )
    else:
        fitted, ask = cls(**(settings | {"max_epochs": 1})).fit(texts), "score"
    data, buffers = apart(fitted)
    assert len(data) < 30_000
    other = pickle.loads(data, buffers=[bytes(b.raw()) for b in buffers])
    X = words if cls is BertTokenClassifier else texts
    found, expected = (getattr(e, ask)(X) for e in (other, fitted))
    for one, two in zip(np.atleast_1d(found), np.atleast_1d(expected), strict=True):
        np.testing.assert_array_equal(one, two)


def test_an_unfitted_estimator_is_small(settings):
    """An unfitted estimator is a pickle of less than 10 kB, weights or no."""
    assert len(pickle.dumps(clone(BertClassifier(**settings)))) < 10_000
