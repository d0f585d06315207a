"""Locks of folders, exchange of folders, and what outlasts a loss of power."""

from __future__ import annotations

import ctypes
import errno
import functools
import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# Windows has no such module.
fcntl: Any = None if sys.platform == "win32" else importlib.import_module("fcntl")

AT_FDCWD = -100  # a path is relative to the working directory
RENAME_EXCHANGE = 2
# A file system without fsync for folders, and a folder that may not be read.
NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)

_held: set[int] = set()  # the descriptors of locks


@contextmanager
def lock(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a folder; the system frees it when the process ends.

    The lock is the system's `flock` on the folder itself, so that it needs no file, and
    is the same for all paths to the folder: those of other containers, too.

    Parameters
    ----------
    wait : bool, default=True
        Wait while another process or thread holds it; False: raise BlockingIOError.

    Yields
    ------
    bool
        Whether it is held; False where the system or the file system has no locks.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or none any more after waiting.
    """
    if fcntl is None:
        yield False
        return
    descriptor, is_held = _wait_for(folder, wait)
    try:
        yield is_held
    finally:
        _release(descriptor)


def _wait_for(folder: Path, wait: bool) -> tuple[int, bool]:
    how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    while True:
        descriptor = os.open(folder, os.O_RDONLY)
        _held.add(descriptor)
        is_held = True
        try:
            try:
                fcntl.flock(descriptor, how)
            except BlockingIOError:
                raise
            except OSError:
                is_held = False
            # While this process waited another may have put a new folder here.
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor, is_held
        except BaseException:
            _release(descriptor)
            raise
        _release(descriptor)


def _release(descriptor: int) -> None:
    if descriptor not in _held:  # a forked child has closed it
        return
    _held.discard(descriptor)
    with suppress(OSError):  # a file system without locks
        # To close it alone would not do while a forked child has it, too.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _forget_locks() -> None:
    """Close what a forked child inherits: it would hold the locks of a dead parent."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


def exchange(one: Path, other: Path) -> bool:
    """Let two folders change places at one moment; return whether they did.

    Linux can, on most file systems, but not where one of them is a mount point.
    """
    rename = _renameat2()
    if rename is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return rename(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_EXCHANGE) == 0


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "renameat2", None)


def sync(path: Path) -> None:
    """Let a file's content, or the list of a folder's files, outlast a loss of power.

    Windows has no such call for folders, and nothing is done there.
    """
    if os.name != "posix":
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def link_or_copy(path: Path, place: Path) -> bool:
    """Give a file, or a link, a second path: as a hard link if possible.

    Return whether both are on one file system, and below one mount point.
    """
    is_same = True
    try:
        os.link(path, place, follow_symlinks=False)
    except (OSError, NotImplementedError) as error:  # there may be no hard links
        is_same = getattr(error, "errno", None) != errno.EXDEV
        shutil.copy2(path, place, follow_symlinks=False)
        if not place.is_symlink():
            sync(place)
    return is_same
