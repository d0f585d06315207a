"""What a forked child must do differently from its parent.

A child has none of its parent's threads. torch's own would be waited for, for ever, by
the first product that is shared between threads; with one thread there is nothing to
share.
"""

from __future__ import annotations

import os

import torch

_is_forked = False


def is_forked() -> bool:
    """Whether this process was forked after the package was imported."""
    return _is_forked


def _after_fork() -> None:
    global _is_forked
    _is_forked = True
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
