"""A folder that is written whole, or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path

# A folder -> the files in it that we wrote, by their path in it; None: it is not ours.
WrittenFiles = Callable[[Path], Set[str] | None]


@contextmanager
def new_folder(target: Path, *, written: WrittenFiles) -> Iterator[Path]:
    """Yield a draft beside the folder, and put it in its place at the end.

    Whoever is killed meanwhile leaves the old folder or none, never a mixture. What
    others have put into the old folder is in the new one, too.

    Parameters
    ----------
    target : Path
        Made if needed.
    written : callable
        Which files of a folder that is there are ours, and may go.

    Raises
    ------
    FileExistsError
        Where the folder is not ours, or a file in it that is not has the name of one of
        the draft's.
    """
    target = target.resolve()  # what a link points to, not the link, is replaced
    check_replaceable(target, written)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A part of the name: the whole, with more around it, may be too long for a name.
    draft = target.parent / f".{target.name[:20]}.{uuid.uuid4().hex}.saving"
    try:
        draft.mkdir()
        yield draft
        if target.exists():
            _keep(target, draft, _paths_of(target, written))
        _put_in_place(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_replaceable(target: Path, written: WrittenFiles) -> None:
    """Raise FileExistsError where `new_folder` would not write."""
    if not target.exists():
        return
    if target.is_dir() and (not any(target.iterdir()) or written(target) is not None):
        return
    raise FileExistsError(
        f"{target} exists and was not saved by sklearn_bert, holds more than that, or "
        "has a manifest that cannot be read; nothing was written. Choose another "
        "folder."
    )


def _paths_of(folder: Path, written: WrittenFiles) -> Set[Path]:
    return {folder / name for name in written(folder) or ()}


def _keep(folder: Path, draft: Path, ours: Set[Path]) -> None:
    """Give the draft what is in the folder and not ours, as hard links where possible.

    The folder stays as it is: until the draft is in its place, nothing may be missing.
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
            shutil.copystat(path, place)
        elif os.path.lexists(place):
            raise _taken(path)
        else:
            _link_or_copy(path, place)


def _is_ours(path: Path, ours: Set[Path]) -> bool:
    """Whether this is a file of ours, or a folder of such files only."""
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
    finally:  # an interrupt may come before, between and after the two
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(old, ignore_errors=True)
