"""Every public call beside running fits: equal fits, and untouched generators."""

import copy
import functools
import pickle
import random
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    WordPieceVocabulary,
    cache_info,
    load,
    save,
)

N_FITS = 8
TOPICS = {"pos": "a great film", "neg": "an awful film"}
# Done by the caller, whose generators these are.
OF_THE_CALLER = ("torch.rand", "torch.manual_seed", "np.random", "np.random.seed")
CALLS = [
    *("load", "load a pretrainer", "save", "pickle", "unpickle", "deepcopy", "clone"),
    *("fit", "fit numbers", "fit words", "fit vectors", "pretrain", "fit a generator"),
    *("partial_fit", "zero-shot", "self-training", "pretraining", "vocabulary"),
    *("predict", "predict_proba", "transform", "score", "predict words", "embed"),
    *("fill_mask", "score_samples", "generate", "cache_info", *OF_THE_CALLER),
]


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer: nothing here is about layers."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def few(settings):
    """Parameters of a fit of one epoch."""
    return {**settings, "max_epochs": 1}


@pytest.fixture(scope="module")
def words(reviews):
    """Sentences as lists of words, and tags."""
    sentences = [text.split() for text in reviews[0][:16]]
    return sentences, [["B-X", *["O"] * (len(s) - 1)] for s in sentences]


@pytest.fixture(scope="module")
def calls(few, reviews, words, tmp_path_factory):
    """What another thread may do, by name."""
    X, y = reviews
    folder = tmp_path_factory.mktemp("models")
    classifier = BertClassifier(**few).fit(X, y)
    tagger = BertTokenClassifier(**few).fit(*words)
    embedder = BertEmbedder(checkpoint=few["checkpoint"], device="cpu").fit(X)
    pretrainer = BertPretrainer(**few).fit(X)
    generator = BertGenerator(**few).fit(X)
    save(classifier, folder / "classifier")
    save(pretrainer, folder / "pretrainer")
    pickled = pickle.dumps(classifier)
    auto = {**few, "max_epochs": "auto", "learning_rate": "auto"}
    nested = BertPretrainer(max_epochs=1, batch_size=16)
    zero_shot = BertClassifier(few["checkpoint"], class_descriptions=TOPICS)
    others = ["and", "or", "but", "we", "you", "cat", "dog"]  # words that it knows
    news = [f"{text} {others[place % 7]}" for place, text in enumerate(X)]

    def fit(cls, **params):
        return cls(**{**few, "random_state": 99, **params}).fit

    return {
        "load": lambda: load(folder / "classifier"),
        "load a pretrainer": lambda: load(folder / "pretrainer"),
        "save": lambda: save(classifier, folder / "again"),
        "pickle": lambda: pickle.dumps(classifier),
        "unpickle": lambda: pickle.loads(pickled),
        "deepcopy": lambda: copy.deepcopy(classifier),
        "clone": lambda: clone(classifier),
        "fit": lambda: fit(BertClassifier, pooling="attention")(X, y),
        "fit numbers": lambda: fit(BertRegressor)(X, np.arange(len(X))),
        "fit words": lambda: fit(BertTokenClassifier)(*words),
        "fit vectors": lambda: fit(BertEmbedder, objective="simcse")(X),
        "pretrain": lambda: fit(BertPretrainer)(X),
        "fit a generator": lambda: fit(BertGenerator)(X),
        "partial_fit": lambda: copy.deepcopy(classifier).partial_fit(X, y),
        "zero-shot": lambda: zero_shot.fit(None, list(TOPICS)),
        "self-training": lambda: BertClassifier(**auto).fit(
            X[:8], y[:8], unlabeled=news
        ),
        "pretraining": lambda: fit(
            BertClassifier, pretraining=nested, self_training=False
        )(X, y, unlabeled=news),
        "vocabulary": lambda: WordPieceVocabulary(200).fit(X),
        "predict": lambda: classifier.predict(news),
        "predict_proba": lambda: classifier.predict_proba(X),
        "transform": lambda: classifier.transform(X),
        "score": lambda: classifier.score(X, y),
        "predict words": lambda: tagger.predict(words[0]),
        "embed": lambda: embedder.transform(news),
        "fill_mask": lambda: pretrainer.fill_mask(["a [MASK] film"]),
        "score_samples": lambda: pretrainer.score_samples(X[:8]),
        "generate": lambda: generator.generate(["the film"], max_new_tokens=4),
        "cache_info": lambda: cache_info(clear=True),
        "torch.rand": lambda: torch.rand(3),
        "torch.manual_seed": lambda: torch.manual_seed(0),
        "np.random": lambda: np.random.rand(3),
        "np.random.seed": lambda: np.random.seed(0),
    }


@pytest.fixture(scope="module")
def fit_one(few, reviews):
    """Fit with a seed; the numbers that come of it. All that is random is in them."""
    X, y = reviews
    auto = {**few, "max_epochs": "auto", "learning_rate": "auto"}
    kinds = [
        lambda seed: BertClassifier(**{**few, "random_state": seed}).fit(X, y),
        lambda seed: BertClassifier(**{**auto, "random_state": seed}).fit(
            X[:8], y[:8], unlabeled=X
        ),
        lambda seed: BertEmbedder(
            **{**few, "random_state": seed}, objective="simcse"
        ).fit(X),
        lambda seed: BertPretrainer(**{**few, "random_state": seed}).fit(X),
    ]

    def fit_one(number):
        return kinds[number % len(kinds)](number).transform(X)

    return fit_one


@pytest.fixture(scope="module")
def alone(fit_one):
    """What a fit gives when nothing runs beside."""
    return functools.cache(fit_one)


@contextmanager
def beside(work):
    """Do some work again and again in another thread; count how often."""
    stop, done, errors = threading.Event(), [], []

    def repeat():
        try:
            while not stop.is_set():
                work()
                done.append(True)
        except BaseException as error:  # the test is to see it
            errors.append(error)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()
    assert errors == []


@pytest.fixture
def often(monkeypatch):
    """Switch threads a hundred times as often, for more ways to meet."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 100)
    yield
    sys.setswitchinterval(interval)


def equal_fits(work, fit_one, alone, numbers):
    """Which of the fits beside the work equal those alone."""
    expected = [alone(number) for number in numbers]
    with beside(work) as done:
        found = [fit_one(number) for number in numbers]
    assert len(done) > 0  # the work was done, not only begun
    return [np.array_equal(*two) for two in zip(found, expected, strict=True)]


@pytest.mark.parametrize("name", CALLS[::5])
def test_a_fit_equals_that_alone(name, calls, fit_one, alone):
    """Bit for bit, beside some of the calls, whose number a fit is drawn by."""
    numbers = [CALLS.index(name) % 4]
    assert equal_fits(calls[name], fit_one, alone, numbers) == [True]


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_all_fits_equal_those_alone(name, calls, fit_one, alone, often):
    """Eight of eight, of four kinds, beside each public call."""
    numbers = range(N_FITS)
    assert equal_fits(calls[name], fit_one, alone, numbers) == [True] * N_FITS


def generators():
    """The states of the generators that belong to the caller."""
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), kind, keys.tobytes(), rest, bytes(torch.get_rng_state())


@pytest.mark.parametrize("name", [n for n in CALLS if n not in OF_THE_CALLER])
def test_the_generators_of_the_caller_are_untouched(name, calls):
    """Those of torch, NumPy and Python: by every public call, and not only at its end.

    Once more with empty caches, where a checkpoint is read.
    """
    original, seen = generators(), []
    cache_info(clear=True)
    with beside(lambda: seen.append(generators() == original)):
        calls[name]()
    assert all(seen)
    assert generators() == original
