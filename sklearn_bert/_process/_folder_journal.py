"""Replace the files of a folder that must stay where it is, by a journal inside it.

1. The draft moves into the folder, as `.sklearn_bert.saved/new`, with the list of what
   is removed and what is put in.
2. The old `last`, the file without which nobody takes the folder for a model, is
   removed. From here on `whole_folder` finds the new model in the journal.
3. The other old files are removed, the new ones put in, `last` as the last.
4. The journal is removed.

A save that finds the journal of a killed process does steps 3 and 4 again. A reader
that does not know of the journal finds no `last` after a kill between 2 and 4.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import uuid
from collections.abc import Set
from pathlib import Path
from typing import Any

from sklearn_bert._process._file_system import link_or_copy, sync

OURS = ".sklearn_bert"  # how the names begin of what `new_folder` keeps in a folder
JOURNAL = f"{OURS}.saved"
DRAFT = ".saving"  # how the names of drafts end
PLAN = "plan.json"


def replace_files(draft: Path, target: Path, plan: dict[str, Any]) -> None:
    """Replace the files of a folder that must stay, by a journal in it."""
    prepared = target / new_name(OURS)
    try:
        prepared.mkdir()
        shutil.copymode(target, prepared)
        try:
            draft.rename(prepared / "new")
        except OSError:  # another file system, or a mount point of the same
            _copy_files(draft, prepared / "new", plan["place"])
        (prepared / PLAN).write_text(json.dumps(plan), "utf-8")
        sync(prepared / PLAN)
        sync(prepared)
        prepared.rename(target / JOURNAL)
        sync(target)
        (target / plan["last"]).unlink(missing_ok=True)
        sync(target)
        finish(target)
    except BaseException:  # an interrupt must not leave it half done
        finish(target)
        raise
    finally:
        shutil.rmtree(prepared, ignore_errors=True)


def _copy_files(draft: Path, new: Path, names: list[str]) -> None:
    new.mkdir()
    for name in names:
        _make_parent(draft / name, new / name)
        link_or_copy(draft / name, new / name)
    shutil.copymode(draft, new)
    sync_folders(new)


def _make_parent(path: Path, place: Path) -> None:
    if not place.parent.exists():
        place.parent.mkdir(parents=True)
        shutil.copymode(path.parent, place.parent)


def finish(target: Path) -> None:
    """Do what the journal says; a second time does no harm."""
    journal = target / JOURNAL
    if not journal.is_dir():
        return
    try:
        plan = json.loads((journal / PLAN).read_text("utf-8"))
        last = plan["last"]
        removed = [_path_in(target, name) for name in plan["remove"]]
        names = [name for name in plan["place"] if name != last] + [last]
        placed = [(_path_in(journal / "new", n), _path_in(target, n)) for n in names]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileExistsError(
            f"{journal} is not the journal of a save; nothing was written. Remove it, "
            "or choose another folder."
        ) from error
    # Else it ended before the old one was removed, or after the new one was put in.
    if not os.path.lexists(target / last):
        for path in removed:
            path.unlink(missing_ok=True)
        _remove_empty({folder for path in removed for folder in path.parents}, target)
        for new, path in placed[:-1]:
            _place(new, path, journal)
        for folder in {target, *(path.parent for _, path in placed[:-1])}:
            sync(folder)
        new, path = placed[-1]
        _place(new, path, journal)
        sync(path.parent)
    done = target / new_name(OURS)
    journal.rename(done)  # the journal is there as a whole, or not at all
    shutil.rmtree(done, ignore_errors=True)


def _path_in(folder: Path, name: str) -> Path:
    """Return the path of a name in the folder itself, not above or behind a link."""
    path = folder / name
    if path.parent.resolve() != path.parent or not path.is_relative_to(folder):
        raise ValueError(f"{name} is not in {folder}")
    return path


def _place(new: Path, path: Path, journal: Path) -> None:
    _make_parent(new, path)
    whole = journal / "placing"  # a file is at its path as a whole, or not at all
    whole.unlink(missing_ok=True)
    link_or_copy(new, whole)
    whole.replace(path)


def _remove_empty(folders: Set[Path], top: Path) -> None:
    inside = [folder for folder in folders if top in folder.parents]
    for folder in sorted(inside, reverse=True):  # those inside come first
        if is_folder(folder) and not any(folder.iterdir()):
            folder.rmdir()


# -- names and folders ----------------------------------------------------------------


def new_name(start: str) -> str:
    return f"{start}.{machine_name()}.{uuid.uuid4().hex[:12]}{DRAFT}"


def short_hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]


def machine_name() -> str:
    """Return what the containers of a running machine have in common."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        name = platform.node()
    return short_hash(name)


def is_of_a_save(name: str) -> bool:
    is_draft = name.startswith(f"{OURS}.") and name.endswith(DRAFT)
    return is_draft or name == JOURNAL


def sync_folders(folder: Path) -> None:
    for top, _, _ in os.walk(folder, topdown=False):
        sync(Path(top))


def is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
