"""What is written to the console: the result to stdout, all else to stderr."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any, TextIO


def say(line: str, stream: TextIO | None = None) -> None:
    """Print a line; characters that the console lacks become backslash codes."""
    stream = stream or sys.stdout
    if stream is None:  # closed before Python started
        return
    encoding = stream.encoding or "utf-8"
    line = line.encode(encoding, "backslashreplace").decode(encoding)
    print(line, file=stream, flush=True)


def note(line: str) -> None:
    """Print a line to stderr: it is no result."""
    if sys.stderr is not None:
        say(line, sys.stderr)


def show(result: dict[str, Any], lines: str, *, as_json: bool) -> None:
    """Print a result, as lines for people or as JSON for programs."""
    if as_json:
        write_stdout(to_json(result, indent=1).encode() + b"\n")
    else:
        say(lines)


def write_stdout(data: bytes) -> None:
    """Write bytes, or text in UTF-8, to stdout: whatever the console's encoding."""
    if sys.stdout is None:
        raise ValueError("stdout is closed; write to a file by --out FILE.")
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def flush_stdout() -> None:
    """Write what is left now, where an error can still be told."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop_stdout() -> None:
    """Send to nowhere what Python would still write to a closed pipe, and fail at."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def to_json(value: Any, indent: int | None = None) -> str:
    """Write a value as JSON, which has no NaN and no infinity: they become null."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=indent, default=str)


def _plain(value: Any) -> Any:
    """Return a value without types of NumPy and numbers that JSON lacks."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
