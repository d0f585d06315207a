"""`TrainingStates`: what a training needs to go on after it was killed, in a folder.

What NumPy draws (the order of the texts, masks, views) is drawn again from its seed, up
to where the training was. All else comes from the folder: what has been learnt, the
moments of the optimizer, torch's generators, losses, history, and callbacks.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import Tensor

from sklearn_bert._process._atomic_folder import new_folder
from sklearn_bert._process._file_system import lock
from sklearn_bert._process._random import OWN
from sklearn_bert._process._warn import warn
from sklearn_bert.compute._memory import is_shortage
from sklearn_bert.model._damage import DamagedCheckpointError
from sklearn_bert.model._tensor_folder import (
    FILES,
    NUMBERS,
    read_numbers,
    read_tensors,
    write_tensors,
)
from sklearn_bert.text._columns import excerpt
from sklearn_bert.training._callbacks import BestWeights, FitProgress, FitTasks
from sklearn_bert.training._ranks import ONE, Ranks
from sklearn_bert.training._trainable_view import Snapshot

# The errors of numbers and tensors that are not what they should be.
MISFITS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
# The folders of the two newest states: each one takes the place of the older.
SLOTS = ("state-0", "state-1")
# How the names of folders end that are being written, or removed.
LEFT_BEHIND = (".saving", ".removed")
# Of the generator of a CPU: its state is read up to so many places from where it is.
N_WORDS = 624


class TrainingStates:
    """The two newest states of a training, in a folder that is this training's own.

    A context, which one process at a time is in. Left without an error it removes the
    states. Files of others in the folder are never touched. Of the processes that make
    a fit together the first one is in it, and the others hear from that one alone.

    Parameters
    ----------
    folder : Path
        Made if needed.
    minutes : float
        From one state to the next; 0: there is one before each update.
    keeps_result : bool
        Whether what the training has come to is kept, and taken up by a later call.
    ranks : Ranks
        The processes that train together.

    Attributes
    ----------
    found : dict or None
        The numbers of the newest whole state; None: there is none.
    call : dict
        Whose training it is: written into each state.
    """

    def __init__(
        self,
        folder: Path,
        minutes: float,
        *,
        keeps_result: bool = False,
        ranks: Ranks = ONE,
    ) -> None:
        self.folder = folder
        self.call: dict[str, Any] = {}
        self.found: dict[str, Any] | None = None
        self._seconds = minutes * 60
        self._keeps_result = keeps_result
        self._ranks = ranks
        self._newest = SLOTS[1]
        self._n_written = 0
        self._due = 0.0
        self._has_warned = False
        self._lock = ExitStack()

    def __enter__(self) -> Self:
        if self._ranks.is_first:
            self._open()
        self.found = self._ranks.from_first(lambda: self.found)
        return self

    def _open(self) -> None:
        """Take hold of the folder, and look what is there."""
        try:
            self._is_new = not self.folder.exists()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.enter_context(lock(self.folder, wait=False))
        except BlockingIOError:
            raise ValueError(
                f"checkpoint_folder {str(self.folder)!r} is in use by another fit; "
                "expected a folder for each. In a search write '{fit}' as a part of "
                "the path, which becomes a name of each fit."
            ) from None
        except (OSError, ValueError) as error:
            # An OSError repeats the path, which may be as long as you like.
            reason = getattr(error, "strerror", None) or error
            raise ValueError(
                f"checkpoint_folder is {excerpt(str(self.folder), 500)}, which cannot "
                f"be written to ({reason}); expected a folder, or the path of a new "
                "one."
            ) from error
        try:
            self._remove_drafts()
            self._look()
        except BaseException:
            self._lock.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._ranks.is_first:
            return
        try:
            if kind is None:
                self._remove_drafts()
                if not self._keeps_result:
                    self._remove(*SLOTS)
        except OSError as error:
            warn(f"the states of a fit that has ended could not be removed: {error}.")
        finally:
            if self._is_new:
                with suppress(OSError):  # it is not empty
                    self.folder.rmdir()
            self._lock.close()

    def _look(self) -> None:
        """Find the newest state that is whole."""
        states, problems = [], []
        for slot in SLOTS:
            if not any((self.folder / slot / name).exists() for name in FILES):
                continue
            try:
                numbers = read_numbers(self.folder / slot)
                states.append((int(numbers["n_done"]), slot, numbers))
            except (DamagedCheckpointError, *MISFITS) as error:
                problems.append(str(error))
        if states:
            self._n_written, self._newest, self.found = max(states, key=_progress)
        if problems:
            then = "begins anew"
            if states:
                then = f"goes on from another state, after update {self._n_written}"
            warn(f"{'; '.join(problems)}. The fit {then}.")

    # -- a running training ----------------------------------------------------------

    def put_back_result(self, net: Any) -> bool:
        """Take up what an earlier call has come to; False: it has not come to its end.

        Callbacks are not told: nothing is trained.
        """
        if self.found is None or self.found.get("is_finished") is not True:
            return False
        tensors = self._tensors()
        with self._fitting():
            net.history.extend(_decoded(self.found["history"]))
            net.kept_ = _snapshot(net, tensors, "weights/", self.found["embedding"])
            part_size = int(self.found["part_size"])
            net.updates_.micro_batches.put_back(part_size, keeps_less=False)
            _put_back_callbacks(net, self.found["callbacks"])
            _put_back_generators(tensors)
        return True

    def begin(self, net: Any) -> int:
        """Put back the history, and return how many epochs are over."""
        self._due = time.monotonic() + self._seconds
        if self.found is None:
            return 0
        with self._fitting():
            history = _decoded(self.found["history"])
            if not 1 <= len(history) <= net.max_epochs:
                raise ValueError(f"its history has {len(history)} epochs")
            net.history.extend(history[:-1])
            return len(history) - 1

    def go_on(self, net: Any) -> int:
        """Put back the rest, and return how many updates of the epoch are done.

        That is once, at the beginning of the epoch, after the callbacks were told of
        it: what they set up comes first, and then how it was.
        """
        found, self.found = self.found, None
        if found is None:
            return 0
        tensors = self._tensors()
        with self._fitting():
            losses = tensors["losses"]
            if not 0 <= len(losses) < len(net.batches_):
                raise ValueError(f"it is after update {len(losses)} of an epoch")
            now = _snapshot(net, tensors, "weights/", found["embedding"])
            net.view_.put_back(net.masters_, now)
            net.updates_.put_back(
                int(found["n_done"]),
                _below("moments/", tensors),
                int(found["part_size"]),
                keeps_less=bool(found["keeps_less"]),
            )
            if net.updates_.loss_scale is not None and "loss_scale" in found:
                net.updates_.loss_scale.put_back(found["loss_scale"])
            net.losses_.put_back(losses, int(found["n_done"]))
            net.epoch_began_ -= float(found["seconds"])
            net.history[-1].update(_decoded(found["history"])[-1])
            _put_back_callbacks(net, found["callbacks"])
            for callback in _best_weights(net):
                callback.snapshot_ = None
                if found["best_embedding"] is not False:
                    callback.snapshot_ = _snapshot(
                        net, tensors, "best/", found["best_embedding"]
                    )
            _put_back_generators(tensors)
            return len(losses)

    def note(self, net: Any) -> None:
        """Write a state before an update, if it is time."""
        n_done = net.updates_.n_done
        if not self._ranks.is_first:
            return
        if n_done == self._n_written or time.monotonic() < self._due:
            return
        self._write(net, n_done, is_finished=False)
        self._due = time.monotonic() + self._seconds

    def finish(self, net: Any) -> None:
        """Write what the training has come to, where it is kept."""
        if not (self._keeps_result and self._ranks.is_first):
            return
        older = self._newest
        self._write(net, net.updates_.n_done + 1, is_finished=True)
        if self._newest != older:
            self._remove(older)

    def _write(self, net: Any, n_done: int, *, is_finished: bool) -> None:
        """Put a state in the place of the older one; warn once where that fails."""
        slot = SLOTS[1 - SLOTS.index(self._newest)]
        try:
            numbers, tensors = _state_of(net, is_finished)
            numbers |= {"call": self.call, "n_done": n_done}
            with new_folder(
                self.folder / slot, written=lambda _: FILES, last=NUMBERS
            ) as draft:
                write_tensors(draft, numbers, tensors)
        except (OSError, TypeError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not is_shortage(error):
                raise
            if not self._has_warned:
                self._has_warned = True
                warn(
                    f"no state of the fit could be written to {self.folder} ({error}); "
                    "it goes on without, and tries again after checkpoint_minutes."
                )
            return
        self._newest, self._n_written = slot, n_done

    def _tensors(self) -> dict[str, Tensor]:
        """Read those of the newest state, which may lie where the first process is."""
        return self._ranks.from_first(lambda: read_tensors(self.folder / self._newest))

    # -- the folder ------------------------------------------------------------------

    def _remove(self, *slots: str) -> None:
        for slot in slots:
            path = self.folder / slot
            if not path.is_dir():
                continue
            if _is_ours(path):
                # First aside, at once: what is half removed would look damaged.
                aside = path.with_name(f".{slot}.removed")
                path.rename(aside)
                shutil.rmtree(aside)
            else:
                for name in FILES:
                    (path / name).unlink(missing_ok=True)

    def _remove_drafts(self) -> None:
        """Remove what a killed process has left: nobody else writes here now."""
        for slot in SLOTS:
            for path in self.folder.glob(f".{slot}.*"):
                # Whatever is in it: a file that was being written has another name, and
                # one of others is a copy.
                if path.suffix in LEFT_BEHIND and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Say of a state that does not fit where it lies."""
        try:
            yield
        except MISFITS as error:
            if isinstance(error, DamagedCheckpointError) or is_shortage(error):
                raise
            place = self.folder / self._newest
            raise DamagedCheckpointError(
                f"{place} holds a state that does not fit this fit "
                f"({type(error).__name__}: {error}). Remove {' and '.join(SLOTS)} "
                "there to begin anew."
            ) from error


def _is_ours(folder: Path) -> bool:
    return FILES.issuperset(path.name for path in folder.iterdir())


def _progress(state: tuple[int, str, dict[str, Any]]) -> int:
    return state[0]


# -- the state of a net --------------------------------------------------------------


def _state_of(net: Any, is_finished: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the numbers and the tensors that a training goes on with."""
    now = net.snapshot()
    if is_finished and "kept_" in vars(net):
        now = net.kept_
    micro_batches = net.updates_.micro_batches
    numbers = {
        "is_finished": is_finished,
        "history": _encoded(list(net.history)),
        "callbacks": _callback_states(net),
        "embedding": now.embedding,
        "part_size": micro_batches.size,
    }
    tensors = {f"weights/{name}": value for name, value in now.weights.items()}
    for kind, generator in (("cpu", OWN.cpu), ("gpu", OWN.gpu)):
        if generator is not None:
            tensors[f"generator/{kind}"] = generator.get_state()
    if is_finished:
        return numbers, tensors
    best = [callback.snapshot_ for callback in _best_weights(net)]
    snapshot = best[0] if best else None
    numbers |= {
        "keeps_less": micro_batches.keeps_less,
        "seconds": time.perf_counter() - net.epoch_began_,
        # False: there is no best epoch yet. None: there is, and no such embedding.
        "best_embedding": False if snapshot is None else snapshot.embedding,
    }
    if snapshot is not None:
        tensors |= {f"best/{name}": value for name, value in snapshot.weights.items()}
    if net.updates_.loss_scale is not None:
        numbers["loss_scale"] = net.updates_.loss_scale.state()
    moments = net.updates_.moments()
    tensors |= {f"moments/{name}": value.cpu() for name, value in moments.items()}
    tensors["losses"] = net.losses_.so_far()
    return numbers, tensors


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _snapshot(
    net: Any, tensors: dict[str, Tensor], prefix: str, embedding: Any
) -> Snapshot:
    """Return weights that a state has, which are those that learn here."""
    weights = _below(prefix, tensors)
    trained = net.masters_.trained
    for name, value in trained.items():
        found = weights[name]
        if found.shape != value.shape or found.dtype != value.dtype:
            raise ValueError(
                f"{name!r} is {tuple(found.shape)} of {found.dtype}, and is to be "
                f"{tuple(value.shape)} of {value.dtype}"
            )
        if not torch.isfinite(found).all():
            raise ValueError(f"{name!r} holds NaN or infinity")
    if len(weights) != len(trained):
        raise ValueError(f"it has {len(weights)} weights, and {len(trained)} learn")
    decay = None if embedding is None else float(embedding)
    # In memory of its own, at an address that arithmetic is fast at.
    return Snapshot({name: value.clone() for name, value in weights.items()}, decay)


def _put_back_generators(tensors: dict[str, Tensor]) -> None:
    for kind, generator in (("cpu", OWN.cpu), ("gpu", OWN.gpu)):
        if generator is None:
            continue
        state = tensors[f"generator/{kind}"]
        if kind == "cpu":
            # torch believes both numbers, and reads the words from `place` on.
            left = int(state[8:12].numpy().view(np.int32)[0])
            place = int(state[16:24].numpy().view(np.uint64)[0])
            if not (1 <= left <= N_WORDS and place + left <= N_WORDS + 1):
                raise ValueError("the place in its random numbers is none")
        generator.set_state(state)


# -- callbacks -----------------------------------------------------------------------


def _best_weights(net: Any) -> list[BestWeights]:
    return [cb for _, cb in net.callbacks_ if isinstance(cb, BestWeights)]


def _with_state(net: Any) -> list[tuple[str, Callback]]:
    # A bar, and scikit-learn's tasks, begin anew.
    passing = (FitProgress, FitTasks)
    return [(n, cb) for n, cb in net.callbacks_ if not isinstance(cb, passing)]


def _callback_states(net: Any) -> dict[str, Any]:
    """Return of each callback the attributes that are plain data."""
    states: dict[str, Any] = {}
    for name, callback in _with_state(net):
        states[name] = found = {}
        for attribute, value in getattr(callback, "__dict__", {}).items():
            with suppress(TypeError):  # what is no plain data stays as a new fit has it
                found[attribute] = _encoded(value)
    return states


def _put_back_callbacks(net: Any, states: dict[str, Any]) -> None:
    for name, callback in _with_state(net):
        for attribute, value in states.get(name, {}).items():
            # No method is covered up.
            if not callable(getattr(type(callback), attribute, None)):
                setattr(callback, attribute, _decoded(value))


def _encoded(value: Any) -> Any:
    """Return plain data as JSON has it; raise TypeError for anything else."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    if type(value) is tuple:
        return {"tuple": [_encoded(item) for item in value]}
    if type(value) is dict:
        return {"dict": [[_encoded(k), _encoded(v)] for k, v in value.items()]}
    raise TypeError(
        f"history, or a callback, holds {value!r} of type {type(value).__name__}; a "
        "state holds numbers, text, and lists, tuples and dicts of these"
    )


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if isinstance(value, dict):
        if "tuple" in value:
            return tuple(_decoded(item) for item in value["tuple"])
        return {_decoded(k): _decoded(v) for k, v in value["dict"]}
    return value
