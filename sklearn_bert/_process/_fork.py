"""Make torch, and locks, usable in a forked process.

A forked child has none of its parent's threads. The first operation that torch divides
between threads would wait for them for ever, so a child uses one thread; and so would
a lock that one of those threads held, so a child has new ones.

Neither imports torch: a process that only serves has none.
"""

from __future__ import annotations

import os
import sys
import threading

_is_forked = False


def is_forked() -> bool:
    """Return whether this process was forked after the package was imported."""
    return _is_forked


def process_lock() -> threading.RLock:
    """Return a reentrant lock between the threads of a process, free in every child."""
    lock = threading.RLock()
    if hasattr(os, "register_at_fork"):
        # Private, but what Python's own modules do with their locks.
        os.register_at_fork(after_in_child=lock._at_fork_reinit)  # type: ignore[attr-defined]
    return lock


def _after_fork() -> None:
    global _is_forked
    _is_forked = True
    # If the parent has not imported torch, there are no threads of it to wait for.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
