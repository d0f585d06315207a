"""The random numbers of one call: a seed for each use, and torch's from a seed.

They are independent of the caller's generators. torch's default generator of the CPU
belongs to the process: any thread may draw from it or seed it. So on a CPU each seeded
thread draws from a generator of its own. GPU kernels draw only from the default
generator of the device.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_random_state

from sklearn_bert._process._fork import process_lock

# A new use goes to the end: its place is its key, which must not move.
USES = (
    "split",
    "init",
    "shuffle",
    "masks",
    "nested",
    "views",
    "probe",
    "calibrate",
    "compare",
)

_gpu_lock = process_lock()


class _Generators(threading.local):
    """What this thread draws from; None: the generator of the process."""

    cpu: torch.Generator | None = None
    gpu: torch.Generator | None = None


OWN = _Generators()


def draw_seed(random_state: Any) -> int:
    """Draw one seed for everything random in a call.

    With `random_state=None` it comes from the operating system, because drawing from
    NumPy's global generator would change the caller's next numbers.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    # RandomState draws integers of 32 bits on some systems.
    return int(check_random_state(random_state).randint(2**31 - 1))


class Seeds:
    """Gives each use in a call a seed of its own.

    They are children of one `numpy.random.SeedSequence`, so that switching one use on
    (a validation split, say) leaves the numbers of the others as they are.

    Parameters
    ----------
    random_state : int, RandomState or None

    Attributes
    ----------
    entropy : int
        What all seeds are made of.
    """

    def __init__(self, random_state: Any) -> None:
        self.entropy = draw_seed(random_state)

    def __call__(self, use: str) -> int:
        """Return the seed of a use, below 2**32; the same one in every call."""
        # Not by `spawn`, which counts: a seed would depend on the uses before it.
        key = (USES.index(use),)
        child = np.random.SeedSequence(self.entropy, spawn_key=key)
        return int(child.generate_state(1)[0])


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw this thread's random numbers from `seed`.

    On a GPU the generator belongs to the process, so only one thread at a time is
    seeded, and the state of the generator is restored at the end.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    if device.type == "cpu":
        with _drawing_from(generator, None):
            yield
        return
    with _gpu_lock:
        on_gpu = _default_generator(device)
        # Not torch.manual_seed: it would seed the generators of all devices.
        state = on_gpu.get_state()
        on_gpu.manual_seed(seed)
        try:
            with _drawing_from(generator, on_gpu):
                yield
        finally:
            on_gpu.set_state(state)


def _default_generator(device: torch.device) -> torch.Generator:
    """Return the one generator that the kernels of a GPU draw from."""
    if device.type == "mps":
        return torch.mps._get_default_mps_generator()
    module = torch.get_device_module(device)
    module.init()  # before it has started, there are none
    index = module.current_device() if device.index is None else device.index
    return module.default_generators[index]


def going_back() -> AbstractContextManager[None]:
    """Return a context in which the numbers drawn from now on are drawn again."""
    # The states are those of now; the context is entered later, in the backward pass.
    there = [g for g in (OWN.cpu, OWN.gpu) if g is not None]
    return _going_back(OWN.cpu, OWN.gpu, [(g, g.get_state()) for g in there])


@contextmanager
def _going_back(
    cpu: torch.Generator | None,
    gpu: torch.Generator | None,
    states: list[tuple[torch.Generator, torch.Tensor]],
) -> Iterator[None]:
    # On a GPU the backward pass runs in another thread, which has no generators yet.
    with _drawing_from(cpu, gpu):
        # Where the thread is by then, to go on from there afterwards.
        later = [(generator, generator.get_state()) for generator, _ in states]
        _set_states(states)
        try:
            yield
        finally:
            _set_states(later)


@contextmanager
def _drawing_from(
    cpu: torch.Generator | None, gpu: torch.Generator | None
) -> Iterator[None]:
    before = OWN.cpu, OWN.gpu
    OWN.cpu, OWN.gpu = cpu, gpu
    try:
        yield
    finally:
        OWN.cpu, OWN.gpu = before


def _set_states(states: list[tuple[torch.Generator, torch.Tensor]]) -> None:
    for generator, state in states:
        generator.set_state(state)
