"""Warnings that point at the user's line."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# The packages whose frames are skipped: scikit-learn's decorators wrap `fit`.
INSIDE = {"sklearn_bert", "sklearn"}


class _OfThread(threading.local):
    is_quiet = False


_thread = _OfThread()


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn at the caller's line: the nearest outside this package and scikit-learn."""
    if _thread.is_quiet:
        return
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_inside(frame.f_globals):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def quiet() -> Iterator[None]:
    """Leave the warnings of this thread to another process, which has the same."""
    before, _thread.is_quiet = _thread.is_quiet, True
    try:
        yield
    finally:
        _thread.is_quiet = before


def _is_inside(variables: dict[str, object]) -> bool:
    return str(variables.get("__name__", "")).partition(".")[0] in INSIDE
