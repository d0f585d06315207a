"""Write a file completely, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_free(path: str | Path, force: bool) -> None:
    """Raise FileExistsError or ValueError if `new_file` should not write there.

    Called before minutes of work, not after.
    """
    path = Path(path)
    if os.path.lexists(path) and not force:
        raise FileExistsError(
            f"{path} exists; name another file, or replace it by --force."
        )
    # To replace a device, such as /dev/null, would take it from the whole system.
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no plain file, and cannot be replaced.")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{path} lies in no folder that exists; make the folder.")


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yield the path of a draft, and put it in the file's place at the end.

    An error or an interrupt leaves what was there before.
    """
    target = Path(path).resolve()  # the file is replaced, not a link to it
    # With the suffixes of the file: some writers ask them what to write.
    draft = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        yield draft
        if target.exists():
            shutil.copymode(target, draft)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
