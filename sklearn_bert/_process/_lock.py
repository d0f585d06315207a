"""A lock that also works in a forked process."""

from __future__ import annotations

import os
import threading
from typing import Any


class ProcessLock:
    """Reentrant lock between the threads of a process.

    If a process is forked while another thread holds an ordinary lock, the child waits
    for ever for that thread, which it does not have. This lock is new in every child.
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        # The lock of the parent may be held by a thread that the child does not have.
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: Any) -> None:
        self._lock.release()
