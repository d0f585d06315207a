"""What makes two calls of `fit` the same one: parameters, and data."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_bert._process._random import Seeds
from sklearn_bert.estimators._base import BertEstimator
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._columns import as_python
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._net import BertNet

# Parameters, of the estimator or of one in it, that change nothing that is learnt.
OF_NO_MATTER = ("checkpoint_folder", "checkpoint_minutes", "verbose")
# Parameters that may be another in each of the processes that make a fit together: its
# GPU, and loggers of one of them.
OF_EACH_PROCESS = ("device", "callbacks", *OF_NO_MATTER)
VALUES_AT_ONCE = 2**20  # of an array, to hash
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def parameters_of(estimator: BertEstimator, seeds: Seeds) -> dict[str, str]:
    """Return every parameter that matters as text, which is equal in any process."""
    found = {
        name: _as_text(value)
        for name, value in estimator.get_params(deep=True).items()
        if name.rpartition("__")[2] not in OF_NO_MATTER
    }
    if isinstance(estimator.random_state, np.random.RandomState):
        found["random_state"] = f"RandomState that gives {seeds.entropy}"
    return {"class": type(estimator).__name__, **found}


def _as_text(value: Any) -> str:
    value = os.fspath(value) if isinstance(value, os.PathLike) else as_python(value)
    if isinstance(value, BaseEstimator):
        return type(value).__name__  # its parameters are there by names of their own
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_as_text, value))}]"
    if isinstance(value, np.random.RandomState):
        return f"RandomState {sha256(str(value.get_state(legacy=False)))}"
    text = repr(value)
    if not ADDRESS.search(text):
        return text
    # An object such as a callback: its class and attributes, or a function.
    attributes = getattr(value, "__dict__", {})
    settings = [f"{name}={attributes[name]!r}" for name in sorted(attributes)]
    return ADDRESS.sub("", ", ".join([text, *settings]))


def data_of(
    net: BertNet, train: Examples, valid: Examples | None, goes_on: bool
) -> dict[str, str]:
    """Return hashes of what a net learns from, and of what it starts with."""
    return {
        "X": _sha256_of(train.table, train.windows),
        "choice of rows to train on": _sha256_of(train.rows),
        "y": _sha256_of(train.targets),
        "sample or class weights": _sha256_of(train.weights),
        "validation data": _sha256_of(valid),
        "weights to start with": _sha256_of_weights(net.module, goes_on),
        "device": str(net.device).partition(":")[0],
        "number format": str(net.runner_.dtype()),
    }


def sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256_of(*values: Any) -> str:
    hashed = hashlib.sha256()
    for value in values:
        if is_dataclass(value):
            parts = [getattr(value, field.name) for field in fields(value)]
            hashed.update(_sha256_of(*parts).encode())
        elif isinstance(value, np.ndarray):
            hashed.update(f"{value.dtype} {value.shape}".encode())
            # Part by part: what lies in a file may be larger than memory.
            flat = value.reshape(-1)
            for begin in range(0, len(flat), VALUES_AT_ONCE):
                part = flat[begin : begin + VALUES_AT_ONCE]
                hashed.update(np.ascontiguousarray(part).data)
        elif not callable(value):  # what draws anew has a seed
            hashed.update(repr(value).encode())
    return hashed.hexdigest()


def _sha256_of_weights(model: TextModel, goes_on: bool) -> str:
    state = model.full_state()
    # A head that was fitted to vectors has other last digits with other threads; what
    # becomes of it is in the states.
    names = [n for n in sorted(state) if goes_on or not n.startswith("head.")]
    return _sha256_of(*names, *(state[n].detach().numpy() for n in names))
