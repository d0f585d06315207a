"""A folder that is written whole, or not at all."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_folder(target: Path, *, may_replace: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield a draft beside the folder, and put it in its place at the end.

    Whoever is killed meanwhile leaves the old folder or none, never a mixture.

    Parameters
    ----------
    target : Path
        Made if needed.
    may_replace : callable
        Whether a folder that is there is one of ours.

    Raises
    ------
    FileExistsError
        Where the folder holds something else.
    """
    target = target.resolve()  # what a link points to, not the link, is replaced
    check_replaceable(target, may_replace)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.parent / f".{target.name}.{uuid.uuid4().hex}.saving"
    try:
        draft.mkdir()
        yield draft
        _put_in_place(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_replaceable(target: Path, may_replace: Callable[[Path], bool]) -> None:
    """Raise FileExistsError where `new_folder` would not write."""
    if not target.exists():
        return
    if target.is_dir() and (not any(target.iterdir()) or may_replace(target)):
        return
    raise FileExistsError(
        f"{target} exists and was not saved by sklearn_bert, or holds more than that; "
        "nothing was written. Choose another folder."
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
