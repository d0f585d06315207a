import numpy as np
import pytest
import torch

from sklearn_bert import BertClassifier, cache_info, load, save
from sklearn_bert._process._cache import WEIGHTS


@pytest.fixture
def folder(settings, reviews, tmp_path):
    """A saved classifier, of which this process has loaded none."""
    texts, labels = reviews
    save(BertClassifier(**settings).fit(texts, labels), tmp_path / "saved")
    WEIGHTS.clear()
    yield tmp_path / "saved"
    WEIGHTS.clear()


def addresses(estimator):
    return [p.data_ptr() for p in estimator.net_.module.parameters()]


def test_loaded_copies_share_their_weights(folder, reviews):
    """Two estimators of one folder hold the same memory, and the cache counts it."""
    first, second = load(folder), load(folder)
    assert addresses(first) == addresses(second)
    n_bytes = sum(p.nbytes for p in first.net_.module.parameters())
    kept = cache_info()["weights"]
    # The weights, and the tokenizer.
    assert (kept["hits"], kept["misses"], kept["entries"]) == (2, 2, 2)
    n_words = first.tokenizer_.backend.get_vocab_size()
    assert n_bytes <= kept["bytes"] <= n_bytes + 200 * n_words + 2000
    found, again = (e.predict_proba(reviews[0]) for e in (first, second))
    np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize("trainable", ["all", "head"])
def test_a_fit_that_goes_on_leaves_the_others_alone(folder, reviews, trainable):
    """Training changes the estimator that is trained, none that shares its weights."""
    texts, labels = reviews
    first, second = load(folder), load(folder)
    before = second.predict_proba(texts)
    first.set_params(warm_start=True, trainable=trainable).fit(texts, labels)
    assert not np.array_equal(first.predict_proba(texts), before)
    np.testing.assert_array_equal(second.predict_proba(texts), before)
    np.testing.assert_array_equal(load(folder).predict_proba(texts), before)


def test_all_but_the_values_is_of_one_copy_alone(folder):
    """Which weights are to learn is set in one model, and stays in the other."""
    first, second = load(folder).net_.module, load(folder).net_.module
    is_to_learn = second.head.weight.requires_grad
    first.head.weight.requires_grad_(not is_to_learn)
    assert second.head.weight.requires_grad == is_to_learn


def test_changed_weights_are_read_again(folder, reviews):
    """What somebody has written into weights is not what the folder holds."""
    texts, _ = reviews
    first = load(folder)
    before = first.predict_proba(texts)
    with torch.no_grad():
        first.net_.module.head.weight.zero_()
    np.testing.assert_array_equal(load(folder).predict_proba(texts), before)


def test_weights_read_for_inference_can_be_trained(folder, reviews):
    """`load` within torch.inference_mode returns an estimator like any other."""
    with torch.inference_mode():
        first = load(folder)
    load(folder)
    first.set_params(warm_start=True).fit(*reviews)
    assert len(first.history_) > 0


def test_another_content_is_another_model(folder, settings, reviews):
    """Where the folder is written anew, what is loaded is what it holds now."""
    texts, labels = reviews
    first = load(folder)
    other = BertClassifier(**(settings | {"random_state": 7})).fit(texts, labels)
    save(other, folder)
    np.testing.assert_array_equal(
        load(folder).predict_proba(texts), other.predict_proba(texts)
    )
    assert addresses(load(folder)) != addresses(first)
