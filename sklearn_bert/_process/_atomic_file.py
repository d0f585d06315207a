"""Write a file completely, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sklearn_bert._process._file_system import sync


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
        sync(draft)
        os.replace(draft, target)
        sync(target.parent)
    finally:
        draft.unlink(missing_ok=True)
