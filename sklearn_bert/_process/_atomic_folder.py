"""Write a folder completely, or not at all.

A folder is written as a draft beside its place. At the end the two change places at one
moment (Linux, most file systems), and the old one, which then lies at the path of the
draft, is removed. A process that is killed at whatever operation leaves the old folder
or the new one. The next save removes its draft: no other process holds the lock of it.

Where two folders cannot change places (another system; a mount point; the working
directory, which would go with the old folder; a folder that holds a mount point; no
right to write beside it) the files are replaced one by one, by `_folder_journal`.

Files and folders are synchronized before each step that relies on them. Savers take
turns by the lock of the folder, for the time of the last steps.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Set
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

from sklearn_bert._process._errors import CheckpointError
from sklearn_bert._process._file_system import exchange, link_or_copy, lock, sync
from sklearn_bert._process._folder_journal import (
    DRAFT,
    JOURNAL,
    OURS,
    finish,
    is_folder,
    is_of_a_save,
    machine_name,
    new_name,
    replace_files,
    short_hash,
    sync_folders,
)

# Takes a folder and returns the relative paths of the files that this package wrote;
# None: the folder was not written by this package.
WrittenFiles = Callable[[Path], Set[str] | None]
T = TypeVar("T")

DAY = 24 * 60 * 60
# Of a folder that is replaced each time: before the reader takes its turn, and in all.
FREE_READS, MOST_READS = 10, 100
MOST_BYTES = 2**28  # of the last file


@contextmanager
def new_folder(
    target: Path, *, written: WrittenFiles, last: str | None = None
) -> Iterator[Path]:
    """Yield a draft, and put it in the folder's place at the end.

    A process that is killed meanwhile leaves the old folder or the new one, as
    `whole_folder` finds it, and a draft that the next call removes. Files of others in
    the old folder are kept, and so are the modes of the folder and of the files that
    are replaced. Several processes and threads take turns.

    Parameters
    ----------
    target : Path
        The folder; it and its parents are created if needed.
    written : callable
        Returns the files of an existing folder that may be removed.
    last : str or None, default=None
        The file that is put in last where files are replaced one by one: the one
        without which nobody reads the folder. None: the last by name.

    Raises
    ------
    FileExistsError
        If the folder was not written by this package, or a file of others in it has the
        name of a new file.
    PermissionError
        If the folder is read-only.
    """
    target = target.resolve()  # the folder is replaced, not a link to it
    with _turn(target):
        _recover(target)
        check_replaceable(target, written)
    missing = [folder for folder in target.parents if not folder.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _draft(target) as (draft, status):
            yield draft
            _put_in_place(draft, status, target, written, last)
            for folder in [target, *missing]:
                sync(folder.parent)
    except OSError as error:  # of a full disk the system says not where
        if error.errno is not None and error.filename is None:
            error.filename = str(target)
        raise


def check_replaceable(target: Path, written: WrittenFiles) -> None:
    """Raise FileExistsError or PermissionError if `new_folder` would not write."""
    if not target.exists():
        return
    is_ours = target.is_dir() and (
        not entries(target) or _written_files(target, written) is not None
    )
    if not is_ours:
        raise FileExistsError(
            f"{target} exists and was not saved by sklearn_bert, holds more than that, "
            "or has a manifest that cannot be read; nothing was written. Choose "
            "another folder."
        )
    if not os.access(target, os.W_OK):
        raise PermissionError(
            errno.EACCES, "the folder is read-only; nothing was written", str(target)
        )


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder, but what file systems and `new_folder` put there."""
    return [
        path
        for path in folder.iterdir()
        if path.name != "lost+found" and not is_of_a_save(path.name)
    ]


# -- reading ---------------------------------------------------------------------------


def whole_folder(folder: Path, last: str) -> Path:
    """Return where a folder's files are: in itself, or in the journal of a killed save.

    Parameters
    ----------
    last : str
        As in `new_folder`.
    """
    new = folder / JOURNAL / "new"
    # Unlike a path's own method, this one takes a name that is too long for a file.
    is_inside = not os.path.exists(folder / last) and os.path.exists(new / last)
    if not is_inside or new.is_symlink() or new.parent.is_symlink():
        return folder  # no save makes a link
    return new


def read_whole(folder: Path, last: str, read: Callable[[Path], T]) -> T:
    """Call `read` with the folder, and again if a save replaced the folder meanwhile.

    It reads several files, and would mix two models else. A reader holds up no save,
    until saves have come between so often that it takes its turn among them.

    Raises
    ------
    CheckpointError
        If the folder is replaced all the time, and the file system has no locks.
    """
    for number in range(MOST_READS):
        with _turn(folder) if number >= FREE_READS else nullcontext():
            before = _content_of_last(folder, last)
            try:
                found = read(whole_folder(folder, last))
            except Exception:
                if _content_of_last(folder, last) == before:
                    raise
                continue
            if _content_of_last(folder, last) == before:
                return found
    raise CheckpointError(
        f"{folder} was replaced {MOST_READS} times while it was read: something saves "
        "to it without a pause. Load it when that has ended, or save less often."
    )


def _content_of_last(folder: Path, last: str) -> tuple[Path, int, bytes] | None:
    # The content alone is not enough: two savers may write the same model in turns.
    # The time alone is not, either: on some file systems it moves in steps.
    try:
        source = whole_folder(folder, last)
        status = (source / last).lstat()
        # What no save has written might be a device, to read which never ends.
        is_ours = stat.S_ISREG(status.st_mode) and status.st_size <= MOST_BYTES
        content = (source / last).read_bytes() if is_ours else b""
        return source, status.st_mtime_ns, content
    except (OSError, ValueError):  # nothing is there, or can be
        return None


# -- the draft -------------------------------------------------------------------------


@contextmanager
def _draft(target: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Make a folder that nobody else can read yet; yield it with its first status.

    What lies at its path at the end is removed: after an exchange, the old folder.
    """
    home, start = target.parent, _start_of_drafts(target)
    if os.path.ismount(target) or not os.access(home, os.W_OK):
        if not target.exists():
            raise PermissionError(
                errno.EACCES, "the folder is read-only; nothing was written", str(home)
            )
        home, start = target, OURS
    draft = home / new_name(start)
    with ExitStack() as stack:
        try:
            while True:
                draft.mkdir()
                with suppress(FileNotFoundError):
                    stack.enter_context(lock(draft))
                    break
                # Before it was locked another save took it for one left behind.
            status = draft.stat()
            draft.chmod(stat.S_IMODE(status.st_mode) & ~0o077)
            yield draft, status
        finally:  # before the lock is free
            shutil.rmtree(draft, ignore_errors=True)


def _start_of_drafts(target: Path) -> str:
    # A part of the name only: the full name with a suffix may be too long.
    return f".{target.name[:20]}.{short_hash(target.name)}"


@contextmanager
def _turn(target: Path) -> Iterator[bool]:
    """Wait until no other save puts a folder here; yield whether there is one."""
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(target))
        except FileNotFoundError:
            is_there = False
        else:
            is_there = True
        yield is_there


def _recover(target: Path) -> None:
    """Finish or remove what killed saves have left in a folder and beside it."""
    if (target / JOURNAL).is_dir() and os.access(target, os.W_OK):
        finish(target)
    for home, start in ((target, OURS), (target.parent, _start_of_drafts(target))):
        if not (home.is_dir() and os.access(home, os.R_OK | os.W_OK)):
            continue
        for path in home.iterdir():
            if path.name.startswith(f"{start}.") and path.name.endswith(DRAFT):
                _remove_if_dead(path)


def _remove_if_dead(draft: Path) -> None:
    """Remove a draft that nobody writes any more."""
    try:
        with lock(draft, wait=False) as is_held:
            # A network folder may not show the locks of another machine; and a machine
            # has another name after a restart.
            is_of_here = f".{machine_name()}." in draft.name
            is_old = time.time() - draft.stat().st_mtime > DAY
            if is_held and (is_of_here or is_old):
                shutil.rmtree(draft, ignore_errors=True)
    except (BlockingIOError, FileNotFoundError):  # it is alive, or gone already
        pass


# -- the last steps --------------------------------------------------------------------


def _put_in_place(
    draft: Path,
    status: os.stat_result,
    target: Path,
    written: WrittenFiles,
    last: str | None,
) -> None:
    names = _files_in(draft)
    for name in names:
        sync(draft / name)
    while True:
        with _turn(target) as is_there:
            if not (draft.exists() and os.path.samestat(status, draft.stat())):
                raise FileNotFoundError(
                    f"{draft} was removed while {target} was saved; save it again."
                )
            if is_there:
                _recover(target)
                check_replaceable(target, written)
                _replace(draft, target, names, written, last or max(names, default=""))
                return
            draft.chmod(stat.S_IMODE(status.st_mode))
            sync_folders(draft)
            try:
                draft.rename(target)
                return
            except OSError:
                if not target.exists():  # else: another save was faster
                    raise


def _replace(
    draft: Path, target: Path, names: list[str], written: WrittenFiles, last: str
) -> None:
    ours = {target / name for name in _written_files(target, written) or ()}
    _check_free(draft, target, ours)
    may_go = (
        draft.parent == target.parent
        and not _holds_working_directory(target)
        and _keep(target, draft, ours)
    )
    _take_modes(draft, target, names)
    sync_folders(draft)
    if may_go and exchange(draft, target):
        return
    removed = _files_in(target, ours)
    plan = {"remove": removed, "place": names, "last": last}
    replace_files(draft, target, plan)


def _holds_working_directory(target: Path) -> bool:
    try:
        return Path.cwd().is_relative_to(target)
    except FileNotFoundError:  # the process works in a folder that was removed
        return False


def _check_free(draft: Path, target: Path, ours: Set[Path]) -> None:
    """Raise FileExistsError if a file of others has the name of a new one."""
    for path in draft.iterdir():
        place = target / path.name
        if not os.path.lexists(place) or _is_ours(place, ours):
            continue
        if not (is_folder(path) and is_folder(place)):
            raise FileExistsError(
                f"{place} was not saved by sklearn_bert, and what is saved now needs "
                "its name; nothing was written. Move it away, or choose another folder."
            )
        _check_free(path, place, ours)


def _take_modes(draft: Path, target: Path, names: list[str]) -> None:
    """Give new files and folders the mode and the owner of those that they replace."""
    files = [draft / name for name in names]
    for new in {draft, *files, *(file.parent for file in files)}:
        old = target / new.relative_to(draft)
        if old.is_symlink() or not old.exists() or old.is_dir() != new.is_dir():
            continue
        status, now = old.stat(), new.stat()
        if (status.st_uid, status.st_gid) != (now.st_uid, now.st_gid):
            with suppress(PermissionError):  # only root may give files away
                os.chown(new, status.st_uid, status.st_gid)
        new.chmod(stat.S_IMODE(status.st_mode))


def _keep(folder: Path, draft: Path, ours: Set[Path]) -> bool:
    """Copy the files of others from the folder to the draft, as hard links if possible.

    They are not moved: until the draft has replaced the folder, nothing may be missing.
    Return False where something is mounted in the folder: with the old folder it would
    be emptied.
    """
    for path in folder.iterdir():
        if _is_ours(path, ours) or is_of_a_save(path.name):
            continue
        place = draft / path.name
        if is_folder(path):
            place.mkdir(exist_ok=True)
            if os.path.ismount(path) or not _keep(path, place, ours):
                return False
            # At the end: each file that was put in has changed the folder's times.
            shutil.copystat(path, place)
        elif not link_or_copy(path, place):
            return False
    return True


# -- what is in a folder ---------------------------------------------------------------


def _written_files(target: Path, written: WrittenFiles) -> Set[str] | None:
    """Return `written`, of a journal if there is one."""
    new = target / JOURNAL / "new"
    found = written(target)
    return written(new) if found is None and new.is_dir() else found


def _files_in(folder: Path, among: Set[Path] | None = None) -> list[str]:
    """Return the relative paths of all files of a folder, or of some."""
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not is_folder(path) and (among is None or path in among)
    ]


def _is_ours(path: Path, ours: Set[Path]) -> bool:
    """Return whether this is one of our files, or a folder of such files only."""
    if not is_folder(path):
        return path in ours
    inside = list(path.iterdir())
    return bool(inside) and all(_is_ours(p, ours) for p in inside)
