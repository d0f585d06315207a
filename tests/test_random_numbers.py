"""Seeded fits beside other threads, and the caller's own random numbers."""

import copy
import pickle
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.nn import functional

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    cache_info,
    load,
    save,
)
from sklearn_bert._process._random import seeded
from sklearn_bert.model._torch_state import OwnDraws

N_FITS = 4


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer, but where layers are told apart."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def fit(settings, reviews):
    """Fit a classifier with a seed; its probabilities."""
    texts, labels = reviews

    def fit(seed, **params):
        params = {**settings, "max_epochs": 1, "random_state": seed, **params}
        return BertClassifier(**params).fit(texts, labels).predict_proba(texts)

    return fit


@pytest.fixture(scope="module")
def serial(fit):
    """What each seed gives when nothing runs beside.

    Vectors that other tests left in the cache were computed in other batches, so that
    their last bits may differ.
    """
    cache_info(clear=True)
    return [fit(seed) for seed in range(N_FITS)]


@pytest.fixture(scope="module")
def works(settings, reviews, tmp_path_factory, fit):
    """What another thread may do meanwhile, by name."""
    texts, labels = reviews
    folder = tmp_path_factory.mktemp("models")
    few = {**settings, "max_epochs": 1}
    classifier = BertClassifier(**few).fit(texts, labels)
    pretrainer = BertPretrainer(**few).fit(texts)
    save(classifier, folder / "classifier")
    save(pretrainer, folder / "pretrainer")
    pickled = pickle.dumps(classifier)

    def fit_from_the_file():
        cache_info(clear=True)
        fit(99, pooling="attention")

    return {
        "load": lambda: load(folder / "classifier"),
        "load_heads": lambda: load(folder / "pretrainer"),
        "unpickle": lambda: pickle.loads(pickled),
        "deepcopy": lambda: copy.deepcopy(classifier),
        "rand": lambda: torch.rand(3),
        "seed": lambda: torch.manual_seed(0),
        "fit": fit_from_the_file,
    }


@contextmanager
def beside(work):
    """Do some work again and again in another thread."""
    stop, errors = threading.Event(), []

    def repeat():
        try:
            while not stop.is_set():
                work()
        except BaseException as error:  # the test is to see it
            errors.append(error)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert errors == []


@pytest.mark.parametrize(
    "name", ["load", "load_heads", "unpickle", "deepcopy", "rand", "seed", "fit"]
)
def test_seeded_fits_equal_the_serial_ones(name, works, fit, serial):
    """Bit for bit, whatever another thread loads, copies, draws or fits meanwhile."""
    n = N_FITS if name == "load" else 2
    with beside(works[name]):
        found = [fit(seed) for seed in range(n)]
    assert [np.array_equal(*two) for two in zip(found, serial[:n], strict=True)] == (
        [True] * n
    )


def test_the_caller_s_numbers_go_on_beside_a_fit(fit):
    """Numbers that another thread draws are those of its seed, none twice or lost."""
    torch.manual_seed(3)
    drawn = []
    with beside(lambda: drawn.append(torch.rand(())) if len(drawn) < 20_000 else None):
        fit(0, gradient_checkpointing=True)
    torch.manual_seed(3)
    expected = [torch.rand(()) for _ in drawn]
    assert torch.equal(torch.stack(drawn), torch.stack(expected))


ROADS = {
    "classifier": (BertClassifier, {}),
    "windows": (BertClassifier, {"long_text": "window", "max_length": 8}),
    "attention": (BertClassifier, {"pooling": "attention"}),
    "lora": (BertClassifier, {"adapter": "lora"}),
    "head": (BertClassifier, {"trainable": "head"}),
    "top": (BertClassifier, {"trainable": 1}),
    "checkpointing": (BertClassifier, {"gradient_checkpointing": True}),
    "early stopping": (BertClassifier, {"early_stopping": True}),
    "regressor": (BertRegressor, {}),
    "words": (BertTokenClassifier, {}),
    "simcse": (BertEmbedder, {"objective": "simcse"}),
    "pretrainer": (BertPretrainer, {}),
    "new": (BertPretrainer, {"checkpoint": None, "n_layers": 1, "hidden_size": 16}),
    "generator": (BertGenerator, {}),
}


def fit_road(road, settings, reviews, two_layer_checkpoint):
    """Fit one of the roads."""
    cls, params = ROADS[road]
    texts, labels = (part[:24] for part in reviews)
    if cls is BertRegressor:
        labels = np.arange(len(texts))
    if cls is BertTokenClassifier:
        texts = [text.split() for text in texts]
        labels = [["B-X", *["O"] * (len(words) - 1)] for words in texts]
    params = {**settings, "max_epochs": 1, **params}
    if road == "top":
        params["checkpoint"] = two_layer_checkpoint
    if road == "new":
        params |= {"vocabulary": settings["checkpoint"], "n_heads": 2}
    return cls(**params).fit(texts, labels)


@pytest.mark.parametrize("road", ROADS)
def test_nothing_is_drawn_from_the_caller_s_generator(
    road, settings, reviews, two_layer_checkpoint
):
    """Nor is it set: fit, copies and pickles leave it untouched, not only as it was."""
    if road == "lora":
        pytest.importorskip("peft")
    cache_info(clear=True)
    original = torch.default_generator.get_state()
    seen = []

    def watch():
        seen.append(torch.equal(torch.default_generator.get_state(), original))

    with beside(watch):
        model = fit_road(road, settings, reviews, two_layer_checkpoint)
        copy.deepcopy(model)
    assert len(seen) > 10
    assert all(seen)


@pytest.mark.parametrize(
    "family", ["modernbert", "deberta", "deberta-v2", "mpnet", "roberta"]
)
def test_families_draw_from_the_seed(family, family_checkpoint, reviews, settings):
    """Those that keep their own attention, too: the caller's numbers do not matter."""
    texts, labels = reviews
    params = {**settings, "checkpoint": family_checkpoint(family), "dropout": 0.3}
    params |= {"max_epochs": 1, "batch_size": 20}

    def fit_with(**more):
        cache_info(clear=True)
        return BertClassifier(**params | more).fit(texts, labels).predict_proba(texts)

    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = fit_with()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert np.array_equal(fit_with(), first)
    assert not np.array_equal(fit_with(random_state=1), first)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("enable_gqa", [False, True])
def test_attention_with_dropout_is_torch_s(is_causal, enable_gqa):
    """But for what it drops, which comes from the seed; causal and grouped, too."""
    rng = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 5, 8, generator=rng)
    n_heads = 2 if enable_gqa else 4
    key, value = torch.randn(2, 2, n_heads, 5, 8, generator=rng)
    settings = {"is_causal": is_causal, "enable_gqa": enable_gqa}
    expected = functional.scaled_dot_product_attention(query, key, value, **settings)
    original = torch.get_rng_state()
    with seeded(0, torch.device("cpu")), OwnDraws():
        found = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=1e-9, **settings
        )
        dropped = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=0.5, **settings
        )
    torch.testing.assert_close(found, expected)
    assert (dropped - expected).abs().max() > 0.1
    assert torch.equal(torch.get_rng_state(), original)
