"""Write a folder completely, or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

# Takes a folder and returns the relative paths of the files that this package wrote;
# None: the folder was not written by this package.
WrittenFiles = Callable[[Path], Set[str] | None]


@contextmanager
def new_folder(target: Path, *, written: WrittenFiles) -> Iterator[Path]:
    """Yield a draft beside the folder, and replace the folder by it at the end.

    A process that is killed meanwhile leaves the old folder or none, never a mixture.
    Files of others in the old folder are kept.

    Parameters
    ----------
    target : Path
        The folder; it and its parents are created if needed.
    written : callable
        Returns the files of an existing folder that may be removed.

    Raises
    ------
    FileExistsError
        If the folder was not written by this package, or a file of others in it has the
        name of a new file.
    """
    target = target.resolve()  # the folder is replaced, not a link to it
    check_replaceable(target, written)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A part of the name only: the full name with a suffix may be too long.
    draft = target.parent / f".{target.name[:20]}.{uuid.uuid4().hex}.saving"
    try:
        draft.mkdir()
        yield draft
        if target.exists():
            ours = {target / name for name in written(target) or ()}
            _keep(target, draft, ours)
        _put_in_place(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_replaceable(target: Path, written: WrittenFiles) -> None:
    """Raise FileExistsError if `new_folder` would not write."""
    if not target.exists():
        return
    if target.is_dir() and (not any(target.iterdir()) or written(target) is not None):
        return
    raise FileExistsError(
        f"{target} exists and was not saved by sklearn_bert, holds more than that, or "
        "has a manifest that cannot be read; nothing was written. Choose another "
        "folder."
    )


def _keep(folder: Path, draft: Path, ours: Set[Path]) -> None:
    """Copy the files of others from the folder to the draft, as hard links if possible.

    They are not moved: until the draft has replaced the folder, nothing may be missing.
    """
    for path in folder.iterdir():
        if _is_ours(path, ours):
            continue
        place = draft / path.name
        if _is_folder(path):
            if os.path.lexists(place) and not _is_folder(place):
                raise _taken(path)
            place.mkdir(exist_ok=True)
            _keep(path, place, ours)
            # At the end: each file that was put in has changed the folder's times.
            shutil.copystat(path, place)
        elif os.path.lexists(place):
            raise _taken(path)
        else:
            _link_or_copy(path, place)


def _is_ours(path: Path, ours: Set[Path]) -> bool:
    """Return whether this is one of our files, or a folder of such files only."""
    if not _is_folder(path):
        return path in ours
    inside = list(path.iterdir())
    return bool(inside) and all(_is_ours(p, ours) for p in inside)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _link_or_copy(path: Path, place: Path) -> None:
    try:
        os.link(path, place, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without hard links
        shutil.copy2(path, place, follow_symlinks=False)


def _taken(path: Path) -> FileExistsError:
    return FileExistsError(
        f"{path} was not saved by sklearn_bert, and what is saved now needs its name; "
        "nothing was written. Move it away, or choose another folder."
    )


def _put_in_place(draft: Path, target: Path) -> None:
    old = draft.with_suffix(".old")
    try:
        if target.exists():
            target.rename(old)
        draft.rename(target)
    finally:  # an interrupt may come before, between or after the two renamings
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(old, ignore_errors=True)
