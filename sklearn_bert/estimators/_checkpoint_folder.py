"""`CheckpointFolder`: the parameter `checkpoint_folder` in one call of `fit`."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from sklearn_bert._process._random import Seeds
from sklearn_bert._process._versions import versions
from sklearn_bert.estimators._base import BertEstimator
from sklearn_bert.estimators._same_call import data_of, parameters_of, sha256
from sklearn_bert.model._damage import DamagedCheckpointError
from sklearn_bert.text._columns import as_python
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._net import BertNet
from sklearn_bert.training._ranks import ONE, Ranks
from sklearn_bert.training._resume import SLOTS, TrainingStates

# In the path it becomes a name of each fit: its parameters and data decide it.
FIT = "{fit}"
MOST_LETTERS = 200  # of a value in an error


class CheckpointFolder:
    """Finds the states of a call of `fit` that was killed, and no other's; a context.

    A call is the same one if parameters, data and libraries are. In a plain folder lie
    the states of one call: another is refused. In a path with `{fit}` each call has a
    folder of its own, and what its training has come to stays there.

    Parameters
    ----------
    estimator : BertEstimator
        With a `checkpoint_folder`.
    seeds : Seeds
        Of this call. With `random_state=None` they become those of the killed call.
    ranks : Ranks
        The processes that make the call together.
    """

    def __init__(
        self, estimator: BertEstimator, seeds: Seeds, ranks: Ranks = ONE
    ) -> None:
        assert estimator.checkpoint_folder is not None
        self._path = os.fsdecode(estimator.checkpoint_folder)
        if not self._path:
            raise ValueError("checkpoint_folder is ''; expected a path, or None.")
        self._minutes = as_python(estimator.checkpoint_minutes)
        self._seeds = seeds
        self._ranks = ranks
        self._is_random = estimator.random_state is None
        if FIT in self._path and self._is_random:
            raise ValueError(
                f"checkpoint_folder is {self._path!r}, with a folder for each fit, and "
                "random_state is None, which makes each fit another one, whose folder "
                "is never found again. Set random_state to a number."
            )
        self._call: dict[str, dict[str, Any]] = {
            "parameters": parameters_of(estimator, seeds),
            "versions": {**versions(), "numpy": np.__version__},
        }

    def __enter__(self) -> Self:
        # Python calls no __exit__ after an error in here.
        with ExitStack() as stack:
            self._states = None
            if FIT not in self._path:
                self._states = stack.enter_context(self._in(self._path))
                # Before any weight is read.
                self._compare("parameters", "versions")
                if self._is_random and self._states.found is not None:
                    self._seeds.entropy = _entropy(self._states)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def states(
        self, net: BertNet, train: Examples, valid: Examples | None, *, goes_on: bool
    ) -> TrainingStates:
        """Return the states of a training that is about to begin."""
        self._call["data"] = data_of(net, train, valid, goes_on)
        if self._states is None:
            path = self._path.replace(FIT, sha256(self._call)[:16])
            self._states = self._stack.enter_context(self._in(path))
        self._compare(*self._call)
        self._states.call = {**self._call, "entropy": self._seeds.entropy}
        return self._states

    def _in(self, path: str) -> TrainingStates:
        keeps_result = FIT in self._path
        return TrainingStates(
            Path(path), self._minutes, keeps_result=keeps_result, ranks=self._ranks
        )

    def _compare(self, *kinds: str) -> None:
        """Raise ValueError where the states are of another call, and say how."""
        assert self._states is not None
        # The states are the first process's; others may lack its loggers.
        if self._states.found is None or not self._ranks.is_first:
            return
        differences = []
        for kind in kinds:
            now = self._call[kind]
            then = _part(_part(self._states.found, "call"), kind)
            for name in sorted({*now, *then}):
                was, is_now = then.get(name, "not there"), now.get(name, "not there")
                if was == is_now:
                    continue
                told = f"{name} was {_short(was)} and is {_short(is_now)}"
                if kind == "data":  # hashes tell nothing
                    told = f"other {name}"
                differences.append(told)
        if differences:
            raise ValueError(
                f"{self._states.folder} holds the state of a fit that did not come to "
                f"its end, and this call differs from it: {'; '.join(differences)}. "
                f"Call fit as then, or remove {' and '.join(SLOTS)} there to begin "
                "anew, or choose another checkpoint_folder. In a search write '{fit}' "
                "as a part of its path, for each fit to have a folder of its own."
            )


def _part(content: dict[str, Any], name: str) -> dict[str, Any]:
    part = content.get(name)
    if not isinstance(part, dict):
        raise DamagedCheckpointError(
            f"a state in checkpoint_folder says nothing of its {name}; remove it to "
            "begin anew."
        )
    return part


def _entropy(states: TrainingStates) -> int:
    assert states.found is not None
    entropy = _part(states.found, "call").get("entropy")
    if not isinstance(entropy, int) or entropy < 0:
        raise DamagedCheckpointError(
            f"a state in {states.folder} was drawn from the seed {entropy!r}; remove "
            "it to begin anew."
        )
    return entropy


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}..."
