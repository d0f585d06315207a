"""How far a long computation is, told to who asked in this thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[int, int], None]
_listener: ContextVar[Listener | None] = ContextVar("_listener", default=None)


def tell(n_done: int, n_all: int) -> None:
    """Say that so many texts of all are done; where nobody listens, nothing happens."""
    listener = _listener.get()
    if listener is not None:
        listener(n_done, n_all)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener(n_done, n_all)` after each batch that is computed in here."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
