"""Fits with one odd parameter: refused by name before a checkpoint is read, or right.

Every class, every parameter of it, and every value of `ODD`: 17,000 fits. A few
of them run by default, drawn by a seed; all of them are marked `slow`.
"""

import warnings
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from huggingface_hub.utils import validate_repo_id
from skorch.callbacks import Callback

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    WordPieceVocabulary,
)
from sklearn_bert.estimators import _base, _language_model
from sklearn_bert.model import _find

N_BY_DEFAULT = 150

ODD = {
    "None": None,
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": -float("inf"),
    "-1": -1,
    "0": 0,
    "1": 1,
    "3": 3,
    "2**31": 2**31,
    "2**63": 2**63,
    "10**30": 10**30,
    "10**400": 10**400,
    "-10**400": -(10**400),
    "10**5000": 10**5000,
    "0.5": 0.5,
    "-0.5": -0.5,
    "1e-320": 1e-320,
    "1e300": 1e300,
    "True": True,
    "False": False,
    "no letter": "",
    "space": " ",
    "evil": "evil",
    "auto": "auto",
    "100,000 letters": "x" * 100_000,
    "surrogate": "\ud800",
    "null": "a\0b",
    "braces": "{",
    "bytes": b"x",
    "[]": [],
    "[None]": [None],
    "{}": {},
    "()": (),
    "set": set(),
    "object": object(),
    "class": dict,
    "function": len,
    "lambda": lambda *args: 0.5,
    "module": np,
    "float32 nan": np.float32("nan"),
    "float16": np.float16(0.5),
    "int8 -1": np.int8(-1),
    "int64": np.int64(2),
    "bool_": np.bool_(True),
    "str_": np.str_("auto"),
    "NaT": np.datetime64("NaT"),
    "array": np.array([1.0, 2.0]),
    "no entry": np.array([]),
    "scalar array": np.array(2),
    "object array": np.array([None, "a"], dtype=object),
    "sparse": scipy.sparse.eye_array(2, format="csr"),
    "Series": pd.Series([1, 2]),
    "frame": pd.DataFrame({"a": [1]}),
    "NA": pd.NA,
    "masked": np.ma.masked,
    "Fraction": Fraction(1, 2),
    "Decimal": Decimal("0.5"),
    "Decimal NaN": Decimal("NaN"),
    "complex": 1j,
    "range": range(3),
    "path": Path("/no/such/folder"),
    "ellipsis": ...,
}

TEXTS = ["a good film", "an awful plot", "the cat sleeps", "we hate it"]
WORDS = [text.split() for text in TEXTS]
DATA = {
    BertRegressor: (TEXTS, [0.0, 1.0, 2.0, 3.0]),
    BertTokenClassifier: (WORDS, [["A", *"B" * (len(w) - 1)] for w in WORDS]),
}
NEW = {"checkpoint": None, "n_layers": 1, "hidden_size": 8, "n_heads": 2}
# What a fit begins from beside the checkpoint's own settings.
KINDS = {
    "classifier": (BertClassifier, {}),
    "regressor": (BertRegressor, {}),
    "tagger": (BertTokenClassifier, {}),
    "embedder": (BertEmbedder, {}),
    "embedder that learns": (BertEmbedder, {"objective": "simcse"}),
    "pretrainer": (BertPretrainer, {}),
    "new pretrainer": (BertPretrainer, NEW),
    "generator": (BertGenerator, {}),
    "new generator": (BertGenerator, NEW),
    "vocabulary": (WordPieceVocabulary, {}),
}
# Whether these are possible only a checkpoint tells.
ASKS_THE_CHECKPOINT = {
    *("checkpoint", "revision", "vocabulary", "max_length", "window_stride"),
    *("trainable", "pooling", "n_components", "whiten", "gradient_checkpointing"),
}
# Numbers of which some are too large only in what they do to the weights.
MAY_DIVERGE = {"learning_rate", "weight_decay"}
CASES = [
    (kind, name, odd)
    for kind, (cls, _) in KINDS.items()
    for name in cls._parameter_constraints
    for odd in ODD
]


class StopEarly(Callback):
    """Ends a fit of any number of epochs after the first."""

    def on_epoch_end(self, net, **kwargs):
        net.stop()


class Reader:
    """Stands for what reads a checkpoint or builds a network, and notes its calls."""

    def __init__(self, patch):
        self.calls = []
        for module, name in (
            (_base, "load_checkpoint"),
            (_language_model, "load_checkpoint"),
            (_language_model, "read_tokenizer"),
            (_language_model, "new_language_model"),
        ):
            patch.setattr(module, name, self._noting(name, getattr(module, name)))
        patch.setattr(_find, "_snapshot", self._offline)

    def _noting(self, name, function):
        def noting(*args, **kwargs):
            self.calls.append(name)
            return function(*args, **kwargs)

        return noting

    def _offline(self, name, *args, **kwargs):
        validate_repo_id(name)  # as the Hub's own client does first
        raise OSError("no network in a test")


@pytest.fixture(scope="module")
def reader():
    """What is called where a checkpoint is read."""
    with pytest.MonkeyPatch.context() as patch:
        yield Reader(patch)


def answers(estimator, X):
    """What the estimator says, as numbers."""
    for method in ("predict_proba", "predict", "transform", "score_samples"):
        if hasattr(estimator, method):
            found = getattr(estimator, method)(X)
            return np.concatenate([np.ravel(row) for row in found]).astype(float)
    raise AssertionError("an estimator without an answer")


def fault_of(kind, name, odd, checkpoint, reader):
    """Fit with one odd value; what is wrong with that, or None."""
    cls, params = KINDS[kind]
    value = ODD[odd]
    X, y = DATA.get(cls, (TEXTS, ["a", "b", "a", "b"]))
    if cls is not WordPieceVocabulary:
        params = {"checkpoint": checkpoint, "device": "cpu", **params}
        params |= {"precision": "float32", "random_state": 0}
        if params.get("checkpoint") is None:
            params["vocabulary"] = checkpoint
        if "max_epochs" in cls._parameter_constraints:
            params |= {"max_epochs": 1, "batch_size": 4, "learning_rate": 1e-3}
            params["callbacks"] = [StopEarly()]
    estimator = cls(**{**params, name: value})
    reader.calls.clear()
    try:
        # What it costs to ask for more than there is is said in a warning.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            estimator.fit(X, y)
    except Exception as error:
        return fault_of_error(error, name, reader)
    if getattr(estimator, name) is not value:
        return "the parameter was changed"
    if not np.isfinite(answers(estimator, X)).all():
        return "an answer is not finite"
    return None


def fault_of_error(error, name, reader):
    """What is wrong with an error, or None."""
    said = f"{type(error).__name__}: {str(error)[:300]}"
    expected = (TypeError, ValueError)
    if name == "vocabulary":
        expected = (*expected, FileNotFoundError)
    if name in MAY_DIVERGE:
        expected = (*expected, FloatingPointError)
    if not isinstance(error, expected):
        return f"raised {said}"
    if name not in str(error):
        return f"did not name the parameter: {said}"
    if len(str(error)) > 2_000:
        return f"says too much: {len(str(error))} letters"
    if reader.calls and name not in (*ASKS_THE_CHECKPOINT, *MAY_DIVERGE):
        return f"first called {reader.calls}: {said}"
    return None


def faults_of(cases, checkpoint, reader):
    """The faults of many fits, by case."""
    found = {case: fault_of(*case, checkpoint, reader) for case in cases}
    return {case: fault for case, fault in found.items() if fault is not None}


def test_some_odd_parameters(shallow_checkpoint, reader):
    """Of all kinds of values, for parameters of all classes."""
    rng = np.random.default_rng(0)
    drawn = rng.choice(len(CASES), N_BY_DEFAULT, replace=False)
    assert faults_of([CASES[i] for i in drawn], shallow_checkpoint, reader) == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_all_odd_parameters(kind, shallow_checkpoint, reader):
    """Each of them, one at a time."""
    cases = [case for case in CASES if case[0] == kind]
    assert faults_of(cases, shallow_checkpoint, reader) == {}


def test_there_are_thousands():
    """Of each kind more than three hundred."""
    assert len(CASES) > 15_000
    assert min(Counter(kind for kind, *_ in CASES).values()) > 300
