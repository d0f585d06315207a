"""Which techniques that save time or memory are in use: each asks here, in one line.

A technique is on only if it has been shown to pay; those that nobody has measured are
off. `without` and `using` change that inside a block, in all threads of the process:
for benchmarks and tests, to compare the same work with a technique and without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, get_args

Technique = Literal[
    "batches_of_similar_length",
    "compact_embedding",
    "cuda_graphs",
    "feature_cache",
    "fused_optimizer",
    "gpu_reservation",
    "own_attention",
    "own_dropout",
    "packing",
    "pinned_copies",
    "token_cache",
    "weight_cache",
]
TECHNIQUES: tuple[Technique, ...] = get_args(Technique)
# Neither has ever been measured on a GPU.
OFF: frozenset[Technique] = frozenset(("cuda_graphs", "gpu_reservation"))

_in_use: frozenset[Technique] = frozenset(TECHNIQUES) - OFF


def uses(technique: Technique) -> bool:
    """Return whether a technique is in use."""
    return technique in _in_use


def without(*techniques: Technique) -> AbstractContextManager[None]:
    """Work without some techniques inside a block."""
    return _in_block(_in_use.difference(_checked(techniques)))


def using(*techniques: Technique) -> AbstractContextManager[None]:
    """Work with some techniques inside a block that are off otherwise."""
    return _in_block(_in_use.union(_checked(techniques)))


@contextmanager
def _in_block(techniques: frozenset[Technique]) -> Iterator[None]:
    global _in_use
    before = _in_use
    # Replaced, and not changed: a thread that asks meanwhile finds the old or the new.
    _in_use = techniques
    try:
        yield
    finally:
        _in_use = before


def _checked(techniques: tuple[Technique, ...]) -> tuple[Technique, ...]:
    unknown = [name for name in techniques if name not in TECHNIQUES]
    if unknown:
        raise ValueError(
            f"there is no technique {unknown[0]!r}; expected some of {TECHNIQUES}."
        )
    return techniques
