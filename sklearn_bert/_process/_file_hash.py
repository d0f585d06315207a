"""The sha256 of a file, read once as long as the file is the same."""

from __future__ import annotations

import functools
import hashlib
import time
from pathlib import Path

# A file system's clock may be this coarse: of a change within one tick nothing is seen.
TICK = 2_000_000_000  # nanoseconds


def sha256_of_file(path: Path) -> str:
    """Compute the sha256 of a file, or remember that of a file that has not changed."""
    state = path.stat()
    # The time of the last change cannot be set back, as that of the content can.
    changed = max(state.st_mtime_ns, state.st_ctime_ns)
    if time.time_ns() - changed < TICK:
        return _sha256_of(path)
    identity = (state.st_dev, state.st_ino, state.st_size, changed)
    return _remembered(path.absolute(), identity)


@functools.lru_cache(maxsize=256)
def _remembered(path: Path, identity: tuple[int, ...]) -> str:
    return _sha256_of(path)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
