"""The caller's data, random numbers and process stay as they were."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import os
import pickle
import random
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import SkipTest

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_bert.testing._data import new_rows, problem
from sklearn_bert.testing._registry import (
    needs_target,
    reads_texts,
    takes_weights,
    text_check,
)
from sklearn_bert.testing._tools import answers, assert_same_answers, fit, fitted

# -- the caller's data -------------------------------------------------------------


@text_check()
def check_text_data_is_left_alone(name: str, estimator: BaseEstimator) -> None:
    """Neither fit nor another method changes X or y."""
    X, y = problem(estimator)
    new = new_rows(estimator)
    before = copy.deepcopy((X, y, new))
    answers(fit(estimator, X, y), new)
    for what, value, kept in zip(
        ("X", "y", "X after fit"), (X, y, new), before, strict=True
    ):
        assert pickle.dumps(value) == pickle.dumps(kept), f"{what} has been changed"


@text_check(reads_texts)
def check_text_read_only_data(name: str, estimator: BaseEstimator) -> None:
    """Arrays that cannot be written are read."""
    X, y = problem(estimator)
    texts = np.array(X, dtype=object)
    new = np.array(new_rows(estimator), dtype=object)
    arrays = [texts, new]
    if y is not None:
        y = np.array(y)
        arrays.append(y)
    for array in arrays:
        array.setflags(write=False)
    answers(fit(estimator, texts, y), new)


@text_check(takes_weights)
def check_text_weights_are_left_alone(name: str, estimator: BaseEstimator) -> None:
    """Weights are not changed, and may be read-only."""
    X, y = problem(estimator)
    weights = np.arange(1.0, len(X) + 1)
    weights.setflags(write=False)
    fit(estimator, X, y, sample_weight=weights)


@text_check()
def check_text_answers_are_the_caller_s(name: str, estimator: BaseEstimator) -> None:
    """To write into an answer does not change the next one."""
    model, new = fitted(estimator), new_rows(estimator)
    # A copy: a wrong estimator returns the same array again, which is written into.
    before = copy.deepcopy(answers(model, new))
    for answer in answers(model, new).values():
        if isinstance(answer, np.ndarray) and answer.flags.writeable:
            answer[...] = answer.flat[0]
    message = "an answer that was written into is given again"
    assert_same_answers(answers(model, new), before, message)


@text_check(reads_texts)
def check_text_training_data_may_change(name: str, estimator: BaseEstimator) -> None:
    """What the caller does to X and y after fit does not reach the model."""
    X, y = problem(estimator)
    texts, new = np.array(X, dtype=object), new_rows(estimator)
    y = y if y is None else np.array(y)
    model = fit(estimator, texts, y)
    before = answers(model, new)
    texts[:] = "other"
    if y is not None:
        y[:] = y[0]
    message = "the model changes with the training data"
    assert_same_answers(answers(model, new), before, message)


# -- the process -------------------------------------------------------------------


def random_states() -> dict[str, Any]:
    """Return the states of the global generators of Python, NumPy and torch."""
    states = {
        "random": random.getstate(),
        "numpy.random": pickle.dumps(np.random.get_state()),  # noqa: NPY002
    }
    # torch is not imported here: an estimator without it cannot draw from it.
    torch = sys.modules.get("torch")
    if torch is not None:
        states["torch"] = torch.get_rng_state().numpy().tobytes()
    return states


@text_check()
def check_text_global_random_state(name: str, estimator: BaseEstimator) -> None:
    """With a `random_state`, the random numbers that everyone shares stay in line."""
    before = random_states()
    model = fitted(estimator)
    after_fit = random_states()
    answers(model, new_rows(estimator))
    after_all = random_states()
    # A library that only `fit` has imported has no state from before.
    for generator, state in before.items():
        assert after_fit[generator] == state, f"fit draws from or seeds {generator}"
        assert after_all[generator] == state, f"a method draws from {generator}"


def settings_of_the_process() -> dict[str, Any]:
    """Return the settings that an estimator must leave as they are."""
    settings = {
        "os.environ": dict(os.environ),
        "os.getcwd()": os.getcwd(),
        "sys.path": list(sys.path),
        "handlers and level of the root logger": (
            list(logging.getLogger().handlers),
            logging.getLogger().level,
        ),
        "numpy.geterr()": np.geterr(),
        "warnings.filters": list(warnings.filters),
        "sys.excepthook": sys.excepthook,
        "threading.excepthook": threading.excepthook,
        "sys.getrecursionlimit()": sys.getrecursionlimit(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        settings["torch's settings"] = (
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.get_float32_matmul_precision(),
        )
    return settings


@text_check()
def check_text_process_settings(name: str, estimator: BaseEstimator) -> None:
    """Environment, folder, logging, warnings and libraries' settings stay as set."""
    fitted(estimator)  # what is imported on first use may leave its traces
    before = settings_of_the_process()
    answers(fitted(estimator), new_rows(estimator))
    for setting, value in settings_of_the_process().items():
        if setting in before:
            assert value == before[setting], f"{setting} has been changed"


@contextlib.contextmanager
def listening() -> Iterator[io.StringIO]:
    """Collect everything that Python prints or logs."""
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    logging.getLogger().addHandler(handler)
    try:
        with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
            yield heard
    finally:
        logging.getLogger().removeHandler(handler)


@text_check()
def check_text_quiet(name: str, estimator: BaseEstimator) -> None:
    """Unless `verbose` asks for it, nothing is printed or logged."""
    params = estimator.get_params(deep=True)
    if any(value for key, value in params.items() if key.split("__")[-1] == "verbose"):
        raise SkipTest("it is configured to be verbose")
    with listening() as heard:
        answers(fitted(estimator), new_rows(estimator))
    assert not heard.getvalue(), f"it prints or logs {heard.getvalue()[:200]!r}"


@text_check()
def check_text_no_warnings(name: str, estimator: BaseEstimator) -> None:
    """Ordinary data gives no warning."""
    with warnings.catch_warnings(record=True) as caught:
        # Python shows a warning once per line, and an earlier check may have seen it.
        warnings.simplefilter("always")
        answers(fitted(estimator), new_rows(estimator))
    told = [f"{warning.category.__name__}: {warning.message}" for warning in caught]
    assert not told, f"ordinary data gives the warnings {told}"


@text_check()
def check_text_threads(name: str, estimator: BaseEstimator) -> None:
    """Asked by four threads at once, it says what it says to one."""
    model = fitted(estimator)
    # Questions differ in length, so that an answer to another one is noticed.
    questions = [[row] * (i % 3 + 1) for i, row in enumerate(new_rows(estimator) * 3)]
    expected = [answers(model, question) for question in questions]
    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(lambda question: answers(model, question), questions))
    for got, one in zip(told, expected, strict=True):
        assert_same_answers(
            got, one, "called by several threads, it gives other answers"
        )


@text_check(needs_target)
def check_text_fits_in_threads(name: str, estimator: BaseEstimator) -> None:
    """Fitted by two threads at once, clones become what they become one by one."""
    new = new_rows(estimator)
    expected = answers(fitted(estimator), new)
    with ThreadPoolExecutor(2) as threads:
        models = list(threads.map(lambda _: fitted(estimator), range(2)))
    for model in models:
        message = "fits in two threads disturb each other"
        assert_same_answers(answers(model, new), expected, message)
