"""Ctrl-C at random moments: it reaches the caller, and all is as it was before.

A signal is sent where the n-th function of Python is called in a call of ours, so that
also short moments are struck; and after a random time, as a user does, in the middle of
an operation of torch as well.
"""

import functools
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV
from torch.overrides import _len_torch_function_stack

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
from sklearn_bert._process._file_hash import TICK

TOPICS = {"pos": "a great film", "neg": "an awful film"}
CALLS = [
    *("fit", "fit few", "self-training", "fit numbers", "fit words", "fit vectors"),
    *("pretrain", "fit a generator", "partial_fit", "zero-shot", "search"),
    *("predict", "transform", "save", "load"),
]
N_STRIKES = 30
# A file that is struck while it is opened is closed by the garbage collection.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in")


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer: nothing here is about layers."""
    return shallow_checkpoint


class Interrupts:
    """Sends one real SIGINT while something runs, and tells what became of it."""

    def __init__(self):
        self.is_running = self.is_sent = False

    def __enter__(self):
        self.before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *error):
        signal.signal(signal.SIGINT, self.before)

    def _on_signal(self, number, frame):
        if self.is_running:  # else it came too late
            self.is_sent = True
            raise KeyboardInterrupt

    def _run(self, work):
        self.is_running, self.is_sent = True, False
        try:
            work()
        except KeyboardInterrupt:
            return "arrived"
        finally:
            self.is_running = False
        return "lost" if self.is_sent else "too late"

    def at_call(self, work, number):
        """Strike where the function of this number is called."""
        self._left = number
        sys.setprofile(self._count_down)
        try:
            return self._run(work)
        finally:
            sys.setprofile(None)

    def _count_down(self, frame, event, argument):
        if event != "call" or not self.is_running:
            return
        self._left -= 1
        if self._left == 0:
            signal.raise_signal(signal.SIGINT)

    def n_calls(self, work):
        """Count the functions that are called."""
        self._left = 0
        sys.setprofile(self._count_down)
        self.is_running = True
        try:
            work()
        finally:
            sys.setprofile(None)
            self.is_running = False
        return -self._left

    def after(self, work, seconds):
        """Strike after some time."""
        process = os.getpid()
        timer = threading.Timer(seconds, os.kill, [process, signal.SIGINT])
        timer.start()
        try:
            return self._run(work)
        finally:
            timer.cancel()
            timer.join()


@pytest.fixture
def interrupts():
    """What strikes."""
    with Interrupts() as interrupts:
        yield interrupts


@pytest.fixture(scope="module")
def works(settings, reviews, tmp_path_factory):
    """By name: an estimator, and what is done with it."""
    X, y = reviews
    few = {**settings, "max_epochs": 1}
    auto = {**few, "max_epochs": "auto", "learning_rate": "auto"}
    words = [text.split() for text in X[:16]]
    tags = [["B-X", *["O"] * (len(s) - 1)] for s in words]
    folder = tmp_path_factory.mktemp("models") / "model"
    fitted = BertClassifier(**few).fit(X, y)
    save(fitted, folder)
    numbers = np.arange(len(X))
    new = BertClassifier(**few)
    search = GridSearchCV(new, {"batch_size": [8, 16]}, cv=2)
    zero_shot = BertClassifier(few["checkpoint"], class_descriptions=TOPICS)
    unfitted = {
        "fit": (BertClassifier(**few, early_stopping=True), (X, y), {}),
        "fit few": (BertClassifier(**auto), (X[:8], y[:8]), {}),
        "self-training": (BertClassifier(**few), (X[:8], y[:8]), {"unlabeled": X}),
        "fit numbers": (BertRegressor(**few), (X, numbers), {}),
        "fit words": (BertTokenClassifier(**few), (words, tags), {}),
        "fit vectors": (BertEmbedder(**few, objective="simcse"), (X,), {}),
        "pretrain": (BertPretrainer(**few), (X,), {}),
        "fit a generator": (BertGenerator(**few), (X,), {}),
        "zero-shot": (zero_shot, (None, list(TOPICS)), {}),
        "search": (search, (X, y), {}),
    }
    works = {
        name: (estimator, functools.partial(estimator.fit, *data, **more))
        for name, (estimator, data, more) in unfitted.items()
    }
    works["partial_fit"] = new, lambda: new.partial_fit(X, y)
    works["predict"] = fitted, lambda: fitted.predict(X)
    works["transform"] = fitted, lambda: fitted.transform(X)
    works["save"] = fitted, lambda: save(fitted, folder)
    works["load"] = fitted, lambda: load(folder)
    return works, folder, X


def forget_fit(estimator):
    """Make the estimator unfitted again, where the last strike came too late."""
    for name in [n for n in vars(estimator) if n.endswith("_") or n.startswith("_")]:
        delattr(estimator, name)


def state_of_torch():
    """What of torch and NumPy belongs to the caller, and to this thread."""
    return (
        bytes(torch.get_rng_state()),
        np.random.get_state()[1].tobytes(),
        *(torch.get_default_dtype(), torch.is_grad_enabled()),
        *(torch.is_inference_mode_enabled(), _len_torch_function_stack()),
    )


def free_in_another_thread(work):
    """Whether some work ends in another thread: no lock has been left behind."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    return not thread.is_alive()


def assert_unharmed(works, name, work, before):
    """After a strike: what was unfitted is, what was fitted answers; and it works."""
    estimator, folder, X = works[0][name][0], works[1], works[2]
    fitted = works[0]["predict"][0]
    assert state_of_torch() == before[0]
    if estimator is not fitted:
        found = {n for n in vars(estimator) if n.endswith("_")}
        # A search sets others, of its own, before it fits the best estimator.
        assert "cv_results_" not in found if name == "search" else found == set()
    assert np.array_equal(fitted.predict_proba(X), before[1])
    assert np.array_equal(load(folder).predict_proba(X), before[1])
    assert free_in_another_thread(lambda: fitted.predict_proba(X))


def strikes(works, name, n_strikes, strike):
    """Strike so often; what became of the signals."""
    estimator, work = works[0][name]
    fitted = works[0]["predict"][0]
    before = state_of_torch(), fitted.predict_proba(works[2])
    found = []
    for number in range(n_strikes):
        if number % 3 == 0:  # a checkpoint is read, texts are tokenised
            cache_info(clear=True)
        found.append(strike(work, number))
        if found[-1] == "too late" and estimator is not fitted:
            forget_fit(estimator)
        assert_unharmed(works, name, work, before)
    return found


def strikes_at_calls(works, name, n_strikes, interrupts):
    """Strike where functions are called that are drawn."""
    estimator, work = works[0][name]
    rng = np.random.default_rng(CALLS.index(name))
    cache_info(clear=True)
    if name == "load":  # until its files are so old that they are hashed once
        time.sleep(TICK / 1e9)
    work()
    n_calls = interrupts.n_calls(work)  # with full caches: all of them come to it
    if estimator is not works[0]["predict"][0]:
        forget_fit(estimator)
    places = 1 + rng.permutation(int(0.95 * n_calls))[:n_strikes]
    return strikes(
        works, name, n_strikes, lambda work, n: interrupts.at_call(work, places[n])
    )


@pytest.mark.parametrize("name", CALLS)
def test_ctrl_c_at_a_call(name, works, interrupts):
    """Wherever it strikes, in every public call, it reaches the caller."""
    assert strikes_at_calls(works, name, 1, interrupts) == ["arrived"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_ctrl_c_at_many_calls(name, works, interrupts):
    """Thirty of thirty arrive, at functions that are drawn."""
    assert strikes_at_calls(works, name, N_STRIKES, interrupts) == (
        ["arrived"] * N_STRIKES
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_ctrl_c_after_a_time(name, works, interrupts):
    """None is lost, at moments that are drawn."""
    rng = np.random.default_rng(0)
    seconds = 0.4 if name in ("fit few", "search", "self-training") else 0.08
    found = strikes(
        works,
        name,
        N_STRIKES,
        lambda work, n: interrupts.after(work, rng.uniform(0, seconds)),
    )
    assert set(found) <= {"arrived", "too late"}


@pytest.mark.slow
def test_ctrl_c_in_a_search_by_processes(settings, reviews, interrupts):
    """A search whose fits run in processes of joblib ends, however far it is."""
    X, y = reviews
    clf = BertClassifier(**settings, max_epochs=20)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(5):
        search = GridSearchCV(clf, {"batch_size": [1, 2, 4]}, cv=3, n_jobs=2)
        with parallel_config(backend="loky"):
            work = functools.partial(search.fit, X, y)
            found.append(interrupts.after(work, rng.uniform(0.5, 20)))
        assert not hasattr(search, "cv_results_")
    assert found == ["arrived"] * 5
