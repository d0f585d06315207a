"""Models of one content share their weights in a process.

A fit never changes them: one that goes on trains a copy of the model.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sklearn_bert._process._cache import WEIGHTS
from sklearn_bert.model._text_model import TextModel


@dataclass(frozen=True)
class _Kept:
    """A model in the cache, and how often its weights had been changed by then."""

    model: TextModel
    changes: int

    @property
    def n_bytes(self) -> int:
        return sum(p.nbytes for p in self.model.parameters())

    def shared(self) -> TextModel:
        """Return a model of its own whose weights are those of the kept one."""
        # deepcopy takes these for copies that it has made already.
        weights: dict[int, Any] = {
            id(p): nn.Parameter(p.detach(), p.requires_grad)
            for p in self.model.parameters()
        }
        return copy.deepcopy(self.model, weights)


def read_once(
    sha256s: Mapping[str, str],
    settings: Mapping[str, Any],
    read: Callable[[], TextModel],
) -> TextModel:
    """Return a model that shares its weights with all that are read from equal files.

    Parameters
    ----------
    sha256s : dict of str to str
        Of each file of the model, by its name.
    settings : dict
        What beside the files makes the model; of JSON.
    read : callable
        Reads the model, where this process has not done so, or has dropped it.
    """

    def keep(_: list[int]) -> list[_Kept]:
        # Tensors that are made for inference do not count their changes.
        with torch.inference_mode(False):
            model = read()
        return [_Kept(model, _n_changes(model))]

    key = json.dumps([sorted(sha256s.items()), settings], sort_keys=True)
    (kept,) = WEIGHTS.get([key], keep, size=lambda kept: kept.n_bytes)
    # Somebody may have written into the weights of an estimator.
    if _n_changes(kept.model) != kept.changes:
        return read()
    return kept.shared()


def _n_changes(model: TextModel) -> int:
    return sum(p._version for p in model.parameters())
