"""Random numbers of torch from a seed, independent of the caller's generators.

torch's default generator of the CPU belongs to the process: any thread may draw from
it or seed it. So on a CPU each seeded thread draws from a generator of its own. GPU
kernels draw only from the default generator of the device.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from sklearn_bert._process._lock import ProcessLock

_gpu_lock = ProcessLock()
_thread = threading.local()


def own_generator() -> torch.Generator | None:
    """Return the CPU generator of this thread; None: the default of the process."""
    generators = _own_generators()
    return generators[0] if generators else None


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw this thread's random numbers from `seed`.

    On a GPU the generator belongs to the process, so only one thread at a time is
    seeded, and the state of the generator is restored at the end.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    if device.type != "cuda":
        with _drawing_from([generator]):
            yield
        return
    with _gpu_lock:
        torch.cuda.init()
        current = torch.cuda.current_device()
        index = current if device.index is None else device.index
        on_gpu = torch.cuda.default_generators[index]
        # Not torch.manual_seed: it would seed the generators of all devices.
        state = on_gpu.get_state()
        on_gpu.manual_seed(seed)
        try:
            with _drawing_from([generator, on_gpu]):
                yield
        finally:
            on_gpu.set_state(state)


def going_back() -> AbstractContextManager[None]:
    """Return a context in which the numbers drawn from now on are drawn again."""
    # The states are those of now; the context is entered later, in the backward pass.
    generators = _own_generators()
    return _going_back(generators, [g.get_state() for g in generators])


@contextmanager
def _going_back(
    generators: list[torch.Generator], states: list[torch.Tensor]
) -> Iterator[None]:
    # On a GPU the backward pass runs in another thread, which has no generators yet.
    with _drawing_from(generators):
        # Where the thread is by then, to go on from there afterwards.
        later = [generator.get_state() for generator in generators]
        _set_states(generators, states)
        try:
            yield
        finally:
            _set_states(generators, later)


@contextmanager
def _drawing_from(generators: list[torch.Generator]) -> Iterator[None]:
    before = _own_generators()
    _thread.generators = generators
    try:
        yield
    finally:
        _thread.generators = before


def _own_generators() -> list[torch.Generator]:
    return getattr(_thread, "generators", [])


def _set_states(generators: list[torch.Generator], states: list[torch.Tensor]) -> None:
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
