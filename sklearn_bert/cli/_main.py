"""Run a command; its errors are one line, and an exit status."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sklearn_bert.cli._console import drop_stdout, flush_stdout, note
from sklearn_bert.cli._parser import parser

# What a wrong file, column, parameter or model raises, or a library that is missing.
BAD_INPUT = (
    OSError,
    ValueError,
    TypeError,
    FloatingPointError,
    ImportError,
    MemoryError,
)
# As shells have it: 128 and the number of the signal.
INTERRUPTED, PIPE_CLOSED = 130, 141


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status of the process."""
    options = parser().parse_args(arguments)
    try:
        with _warnings_in_lines():
            # Not at the top: some commands need no torch, and --help needs nothing.
            command = importlib.import_module(f"sklearn_bert.cli._{options.command}")
            command.run(options)
        flush_stdout()
    except KeyboardInterrupt:
        note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        drop_stdout()
        return PIPE_CLOSED
    except BAD_INPUT as error:
        return _complain(error)
    except RuntimeError as error:
        if type(error).__module__ != "sklearn_bert":  # BertOutOfMemoryError is
            raise
        return _complain(error)
    return 0


def _complain(error: BaseException) -> int:
    note(f"error: {_one_line(error)}")
    try:
        flush_stdout()
    except OSError:  # a full disk: Python would try again, and change the status
        drop_stdout()
    return 2


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


@contextmanager
def _warnings_in_lines() -> Iterator[None]:
    """Show a warning as one line, without a path and a line of this package."""

    def show(message: Any, *args: Any, **kwargs: Any) -> None:
        note(f"warning: {_one_line(message)}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
