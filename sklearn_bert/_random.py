"""torch's random numbers, drawn from a seed and given back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sklearn_bert._lock import ProcessLock

_generators_lock = ProcessLock()


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw torch's random numbers from `seed`; give the caller's generators back.

    The generators belong to the process, so threads take turns.
    """
    with _generators_lock:
        generators = [torch.default_generator]
        if device.type == "cuda":
            torch.cuda.init()
            current = torch.cuda.current_device()
            index = current if device.index is None else device.index
            generators.append(torch.cuda.default_generators[index])
        # Not torch.manual_seed: it would seed the generators of all devices.
        states = [generator.get_state() for generator in generators]
        for generator in generators:
            generator.manual_seed(seed)
        try:
            yield
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)
