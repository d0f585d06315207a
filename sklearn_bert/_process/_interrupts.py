"""Ctrl-C, and other signals whose handler raises, in the middle of our work.

Two things go wrong where one strikes at an unlucky moment. What belongs to the process
or to the thread (torch's modes, transformers' switches) stays as it was in the middle
of a change: `interrupts_wait`. And Python drops an exception that is raised in a
callback of `weakref` or in a finaliser: `heard`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]

# What a handler has raised in each `heard` that is open, if anything. Python runs
# handlers in the main thread alone.
_raised: list[list[BaseException]] = []


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Handle SIGINT at the end of the block: for short work that must not be cut."""
    waiting: list[tuple[int, FrameType | None]] = []

    def wait(number: int, frame: FrameType | None) -> None:
        waiting.append((number, frame))

    before: Handler | None = None
    try:
        with _handling(lambda _: wait) as before:
            yield
    finally:  # also after an error, which it replaces
        if waiting and before is not None:
            before(*waiting[-1])


@contextmanager
def heard() -> Iterator[None]:
    """Raise at the end of the block what a handler of SIGINT has raised in vain."""
    raised: list[BaseException] = []

    def noting(before: Handler) -> Handler:
        def note(number: int, frame: FrameType | None) -> None:
            try:
                before(number, frame)
            except BaseException as error:
                raised.append(error)
                raise

        return note

    with _handling(noting) as before:
        if before is None:
            yield
            return
        _raised.append(raised)
        try:
            yield
        finally:
            _raised.pop()
    if raised:
        raise raised[-1]


def check_heard() -> None:
    """Raise what a handler has raised in vain since `heard` began."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and _raised and _raised[-1]:
        raise _raised[-1][-1]


@contextmanager
def _handling(make: Callable[[Handler], Handler]) -> Iterator[Handler | None]:
    """Handle SIGINT otherwise; yield the handler before, or None: it stays."""
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    # Neither may be replaced: one that is ignored, nor one that is not of Python.
    if not is_main or not callable(before):
        yield None
        return
    signal.signal(signal.SIGINT, make(before))
    try:
        yield before
    finally:
        try:
            signal.signal(signal.SIGINT, before)
        except BaseException:  # by a signal that has waited for this very call
            signal.signal(signal.SIGINT, before)
            raise
