"""Whether --out may be written, told before minutes of work."""

from __future__ import annotations

import os
from pathlib import Path

from sklearn_bert._process._atomic_folder import entries


def check_free(path: str | Path, force: bool) -> None:
    """Raise FileExistsError or ValueError if `new_file` should not write there."""
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


def check_free_folder(folder: Path, force: bool) -> None:
    """Raise OSError or ValueError if a model should not be written to a folder.

    What is no model is not replaced by force, either: `save` and `export` tell that.
    """
    for parent in folder.absolute().parents:
        if parent.exists() and not parent.is_dir():
            raise ValueError(
                f"--out {folder} lies in {parent}, which is a file; expected a folder."
            )
    if not force and folder.exists() and (not folder.is_dir() or entries(folder)):
        raise FileExistsError(
            f"{folder} exists; name another folder, or replace a model by --force."
        )
