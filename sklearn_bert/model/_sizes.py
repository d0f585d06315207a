"""The sizes that a configuration asks for, bounded by the tensors that are there.

A configuration of a few bytes may describe a model of any size, and to build it could
take all the memory or time of the machine. So it is looked at first.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from sklearn_bert._process._errors import DamagedCheckpointError
from sklearn_bert.model._damage import FIT, damaged
from sklearn_bert.model._torch_state import building

Shapes = Mapping[str, tuple[int, ...]]

# What needs no tensor: windows, buckets; positions that are computed; layers with the
# same weights.
LARGEST_SIZE = 2**17
MOST_POSITIONS = 2**24
MOST_LAYERS = 1000
# How much more than its file a model may have: weights of two names, new heads.
MORE_WEIGHTS, SPARE_WEIGHTS = 2, 500
MORE_NUMBERS, SPARE_NUMBERS = 2, 2**24
OF_LAYERS = ("layer", "repeat", "group")


def check_config_sizes(path: Path, values: Mapping[str, Any], shapes: Shapes) -> None:
    """Raise DamagedCheckpointError if a number cannot belong to these tensors.

    Parameters
    ----------
    path : Path
        The file of the configuration.
    values : dict
        Those of its entries that the family knows.
    shapes : dict of str to tuple
        The shapes of the tensors beside it.
    """
    largest = max(
        (max(s, default=1) for s in shapes.values() if math.prod(s)), default=1
    )
    for key, value in values.items():
        most = max(largest, LARGEST_SIZE)
        if any(word in key for word in OF_LAYERS):
            most = max(len(shapes), MOST_LAYERS)
        elif "position" in key:
            most = MOST_POSITIONS
        for number in _numbers(value):
            if isinstance(number, float) and not math.isfinite(number):
                raise damaged(path, f"says {number} for {key!r}; expected a number")
            if key.endswith("eps") and not 0 < number < 1:
                raise damaged(path, f"says {number} for {key!r}; expected 0 to 1", FIT)
            if isinstance(number, int) and number > most and "theta" not in key:
                raise damaged(
                    path,
                    f"says {number:,} for {key!r}; by the {len(shapes)} tensors beside "
                    f"it, it is at most {most:,}",
                    FIT,
                )


def check_model_size(
    path: Path, build: Callable[[], nn.Module], shapes: Shapes
) -> nn.Module:
    """Build a model on the device "meta", where weights take no memory; return it.

    Raises
    ------
    DamagedCheckpointError
        If it is much larger than its tensors.
    """
    n_numbers = sum(math.prod(shape) for shape in shapes.values())
    with building(), torch.device("meta"), _at_most(len(shapes), path):
        model = build()
    n_asked = sum(parameter.numel() for parameter in model.parameters())
    if n_asked > MORE_NUMBERS * n_numbers + SPARE_NUMBERS:
        raise damaged(
            path,
            f"describes a model of {n_asked:,} numbers, but the weights beside it hold "
            f"{n_numbers:,}",
            FIT,
        )
    return model


@contextmanager
def _at_most(n_tensors: int, path: Path) -> Iterator[None]:
    """Raise in a thread that builds a model of many more weights than there are."""
    most = MORE_WEIGHTS * n_tensors + SPARE_WEIGHTS
    thread, n_built = threading.get_ident(), 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal n_built
        if threading.get_ident() != thread:
            return
        n_built += 1
        if n_built > most:
            raise DamagedCheckpointError(
                f"{path} describes a model of more than {most} weights, but there are "
                f"{n_tensors} tensors beside it. {FIT}."
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _numbers(value: Any) -> Iterator[int | float]:
    """Yield the numbers in a value, or in lists and dicts of them."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, int | float) and not isinstance(one, bool):
            yield one
