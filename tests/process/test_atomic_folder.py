"""A folder is written whole or not at all, however the writing ends."""

import itertools
import json
import os
import re
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from sklearn_bert._process import _atomic_folder as _folder
from sklearn_bert._process import _folder_journal as _journal
from sklearn_bert._process._atomic_folder import (
    check_replaceable,
    new_folder,
    read_whole,
    whole_folder,
)
from sklearn_bert._process._errors import CheckpointError
from sklearn_bert._process._file_system import lock


def written(folder):
    return set(NEW) if (folder / "mark").is_file() else None


def write(target, content="new"):
    """Write a folder of ours."""
    with new_folder(target, written=written) as draft:
        (draft / "mark").write_text(content)
        (draft / "sub").mkdir()
        (draft / "sub" / "file").write_text(content)


def content_of(folder):
    """All files below a folder, by their path."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


NEW = {"mark": "new", "sub/file": "new"}


@pytest.mark.parametrize("name", ["one", "deep/below/one", "with space", "dot.ted"])
def test_a_new_folder(tmp_path, name):
    """It is made with those above it, and nothing else is left beside it."""
    write(tmp_path / name)
    assert content_of(tmp_path / name) == NEW
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [
        Path(name).name
    ]


def test_folder_is_not_there_before_the_end(tmp_path):
    """While it is written the folder does not exist yet, or is the old one."""
    target = tmp_path / "one"
    with new_folder(target, written=written) as draft:
        (draft / "mark").write_text("old")
        assert not target.exists()
        assert draft.parent == tmp_path
    with new_folder(target, written=written) as draft:
        (draft / "mark").write_text("new")
        assert content_of(target) == {"mark": "old"}
    assert content_of(target) == {"mark": "new"}


def test_an_old_folder_is_replaced_whole(tmp_path):
    """No file of ours, and no folder of such files, is left."""
    write(tmp_path / "one", "old")
    with new_folder(tmp_path / "one", written=written) as draft:
        (draft / "mark").write_text("new")
    assert content_of(tmp_path) == {"one/mark": "new"}
    assert os.listdir(tmp_path / "one") == ["mark"]


def add_others(folder):
    """Put into the folder what people put beside a model."""
    for name in ("README.md", "notes.txt", ".git/objects/ab", "sub/mine", "more/a/b"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"mine: {name}")
    (folder / ".git" / "objects" / "ab").chmod(0o444)
    (folder / ".git").chmod(0o700)
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("README.md")
    (folder / "link to a folder").symlink_to("more")
    (folder / "link to nothing").symlink_to("nowhere")


def look_of(folder):
    """Every path below, with its mode, its time, and what it holds or points to."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if path.is_symlink():
            content = os.readlink(path)
        else:
            content = path.read_bytes() if path.is_file() else None
        name = path.relative_to(folder).as_posix()
        found[name] = (stat.S_IMODE(status.st_mode), status.st_mtime_ns, content)
    return found


@pytest.mark.skipif(os.name != "posix", reason="links and modes are POSIX's")
@pytest.mark.parametrize("can_link", [True, False])
def test_files_of_others_stay(tmp_path, monkeypatch, can_link):
    """What we did not write is there after the second writing as before it."""

    def refuse(*args, **kwargs):
        raise OSError(1, "Operation not permitted")

    if not can_link:
        monkeypatch.setattr("os.link", refuse)
    write(tmp_path / "one", "old")
    add_others(tmp_path / "one")
    others = {n: v for n, v in look_of(tmp_path / "one").items() if n not in NEW}
    for content in ("new", "newer"):
        write(tmp_path / "one", content)
        after = look_of(tmp_path / "one")
        assert {n: v for n, v in after.items() if n not in NEW} == others
        assert {after[name][2] for name in NEW} == {content.encode()}
        assert os.listdir(tmp_path) == ["one"]


def write_with(target, name):
    """Write a folder that has a file of this name."""
    with new_folder(target, written=written) as draft:
        (draft / "mark").write_text("new")
        (draft / name).parent.mkdir(exist_ok=True)
        (draft / name).write_text("new")


@pytest.mark.parametrize("others", ["file", "folder", "link"])
@pytest.mark.parametrize("name", ["other", "sub/other"])
def test_a_name_that_others_have_is_refused(tmp_path, name, others):
    """Where a file of others would be overwritten it is named, and all stays."""
    write(tmp_path / "one", "old")
    path = tmp_path / "one" / name
    if others == "folder":
        path.mkdir()
        (path / "thesis").write_text("years")
    elif others == "link":
        path.symlink_to("mark")
    else:
        path.write_text("years")
    before = content_of(tmp_path)
    match = f"{re.escape(str(path))} was not saved by sklearn_bert, and what is saved"
    with pytest.raises(FileExistsError, match=match):
        write_with(tmp_path / "one", name)
    assert content_of(tmp_path) == before
    assert os.listdir(tmp_path) == ["one"]


def test_what_cannot_be_kept_is_an_error(tmp_path, monkeypatch):
    """Where a file of others cannot be copied, the old folder stays as it is."""

    def fail(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    write(tmp_path / "one", "old")
    (tmp_path / "one" / "thesis").write_text("years")
    before = content_of(tmp_path)
    monkeypatch.setattr("os.link", fail)
    monkeypatch.setattr("shutil.copy2", fail)
    with pytest.raises(PermissionError, match="Permission denied"):
        write(tmp_path / "one")
    assert content_of(tmp_path) == before
    assert os.listdir(tmp_path) == ["one"]


@pytest.mark.parametrize("letter", ["x", "é", "語", "😀"])
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path, letter):
    """A folder is written, and again, under any name that a folder can have."""
    longest = os.pathconf(tmp_path, "PC_NAME_MAX") if os.name == "posix" else 255
    target = tmp_path / (letter * (longest // len(letter.encode())))
    for content in ("old", "new"):
        write(target, content)
    assert content_of(target) == NEW
    assert len(os.listdir(tmp_path)) == 1


def test_an_empty_folder_is_filled(tmp_path):
    """A folder that has nothing is nobody's."""
    (tmp_path / "one").mkdir()
    write(tmp_path / "one")
    assert content_of(tmp_path / "one") == NEW


def write_half(target, error):
    with new_folder(target, written=written) as draft:
        (draft / "mark").write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("is_old", [False, True])
def test_an_error_leaves_what_was_there(tmp_path, error, is_old):
    """However the writing ends before its end, the old folder or none is there."""
    if is_old:
        write(tmp_path / "one", "old")
    before = content_of(tmp_path)
    with pytest.raises(error):
        write_half(tmp_path / "one", error)
    assert content_of(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == is_old


@pytest.mark.parametrize(
    ("module", "step"),
    [
        (_folder, "exchange"),
        (_folder, "replace_files"),
        (_journal, "finish"),
        (_journal, "_place"),
    ],
)
@pytest.mark.parametrize("when", ["before", "behind"])
def test_an_interrupt_while_it_is_put_in_place(
    tmp_path, monkeypatch, module, step, when
):
    """In the last steps too, one of the two is there, whole and alone."""
    write(tmp_path / "one", "old")
    function = getattr(module, step)
    calls = []

    def interrupted(*args):
        calls.append(args)
        if len(calls) > 1:
            return function(*args)
        if when == "behind":
            function(*args)
        raise KeyboardInterrupt

    if step != "exchange":
        monkeypatch.setattr(_folder, "exchange", lambda *folders: False)
    monkeypatch.setattr(module, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "one")
    monkeypatch.undo()
    old = dict.fromkeys(NEW, "old")
    is_new = when == "behind" or step in ("finish", "_place")
    assert content_of(tmp_path / "one") == (NEW if is_new else old)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_folder_of_others_stays(tmp_path):
    """A folder with anything else, or a file, is not touched, and that is said."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis").write_text("years")
    (tmp_path / "file").write_text("years")
    before = content_of(tmp_path)
    for name in ("other", "file"):
        message = f"{re.escape(str(tmp_path / name))} exists and was not saved by"
        with pytest.raises(FileExistsError, match=message):
            write(tmp_path / name)
        with pytest.raises(FileExistsError, match="Choose another folder"):
            check_replaceable(tmp_path / name, written)
    assert content_of(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]


def test_a_link_stays_a_link(tmp_path):
    """What a link points to is replaced, and not the link."""
    write(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert content_of(tmp_path / "real") == NEW


def test_folder_is_checked_before_anything_is_written(tmp_path):
    """Nothing is made where nothing may be replaced."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis").write_text("years")
    with (
        pytest.raises(FileExistsError, match="nothing was written"),
        new_folder(tmp_path / "other", written=written),
    ):
        raise AssertionError("a draft was made")


# -- modes, places, turns and readers ------------------------------------------------

posix = pytest.mark.skipif(os.name != "posix", reason="modes and locks are POSIX's")
linux = pytest.mark.skipif(sys.platform != "linux", reason="as Linux does")


@posix
@pytest.mark.parametrize("can_exchange", [True, False])
def test_modes_stay(tmp_path, monkeypatch, can_exchange):
    """A private folder, or file, stays private, and meanwhile the draft is."""
    if not can_exchange:
        monkeypatch.setattr(_folder, "exchange", lambda *folders: False)
    target = tmp_path / "one"
    write(target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o777 & ~umask(tmp_path)
    target.chmod(0o750)
    (target / "mark").chmod(0o600)
    (target / "sub").chmod(0o711)
    with new_folder(target, written=written) as draft:
        assert stat.S_IMODE(draft.stat().st_mode) & 0o077 == 0
        for name in ("mark", "sub/file", "more"):
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_text("new")
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in target.rglob("*")}
    assert stat.S_IMODE(target.stat().st_mode) == 0o750
    assert modes == {
        target / "mark": 0o600,
        target / "sub": 0o711,
        target / "sub" / "file": 0o666 & ~umask(tmp_path),
        target / "more": 0o666 & ~umask(tmp_path),
    }


def umask(folder):
    """The umask of this process, as a new folder has it."""
    new = folder / "umask"
    new.mkdir()
    mode = stat.S_IMODE(new.stat().st_mode)
    new.rmdir()
    return 0o777 & ~mode


def test_the_working_directory_stays(tmp_path, monkeypatch):
    """A process goes on in the folder that it works in and writes, or one above."""
    target = tmp_path / "one"
    write(target, "old")
    (target / "inside").mkdir()
    for here in (target, target / "inside"):
        monkeypatch.chdir(here)
        write(Path(os.path.relpath(target)))
        assert os.listdir() == os.listdir(here)
        assert content_of(target) == NEW
    assert Path.cwd().samefile(target / "inside")
    assert os.listdir(tmp_path) == ["one"]


def test_a_mount_point_is_filled_from_inside(tmp_path, monkeypatch):
    """Nothing is made beside a mount point, and nothing is left in it."""
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "one")
    target = tmp_path / "one"
    (target / "lost+found").mkdir(parents=True)
    identity = target.stat().st_ino
    for content in ("old", "new"):
        with new_folder(target, written=written, last="mark") as draft:
            assert os.listdir(tmp_path) == ["one"]
            (draft / "mark").write_text(content)
        assert content_of(target) == {"mark": content}
        assert sorted(os.listdir(target)) == ["lost+found", "mark"]
    assert target.stat().st_ino == identity


def test_what_is_mounted_inside_stays(tmp_path, monkeypatch):
    """A folder that holds a mount point stays itself."""
    target = tmp_path / "one"
    write(target, "old")
    (target / "volume").mkdir()
    (target / "volume" / "file").write_text("mine")
    identity = (target / "volume").stat().st_ino
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "volume")
    write(target)
    assert content_of(target) == NEW | {"volume/file": "mine"}
    assert (target / "volume").stat().st_ino == identity
    assert os.listdir(tmp_path) == ["one"]


@linux
def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    """A folder that may not be written is named, and nothing is written."""
    access = os.access
    write(tmp_path / "one", "old")

    def refuse(path, mode):  # as for root nothing is read-only
        return access(path, mode) and not mode & os.W_OK

    monkeypatch.setattr(os, "access", refuse)
    for name in ("one", "new"):
        with pytest.raises(PermissionError, match="read-only; nothing was written: '/"):
            write(tmp_path / name)
    assert content_of(tmp_path) == {"one/mark": "old", "one/sub/file": "old"}


def test_a_full_disk_is_named(tmp_path):
    """The system says that a disk is full, and the error says where."""
    match = re.escape(f"No space left on device: '{tmp_path / 'one'}'")
    with pytest.raises(OSError, match=match):
        write_half(tmp_path / "one", OSError(28, "No space left on device"))
    assert not os.listdir(tmp_path)


@linux
def test_a_draft_of_a_living_process_stays(tmp_path):
    """Another writer removes the drafts of dead processes only, of this machine."""
    target = tmp_path / "one"
    start = _folder._start_of_drafts(target)
    dead = tmp_path / _journal.new_name(start)
    elsewhere = tmp_path / f"{start}.01234567.89{_journal.DRAFT}"
    old = tmp_path / f"{start}.01234567.ab{_journal.DRAFT}"
    for draft in (dead, elsewhere, old):
        draft.mkdir()
    os.utime(old, (0, 0))
    with new_folder(target, written=written) as alive:
        (alive / "mark").write_text("first")
        write(target, "second")
        assert not dead.exists()
        assert not old.exists()
        assert elsewhere.exists()
    assert content_of(target) == {"mark": "first"}
    assert sorted(os.listdir(tmp_path)) == sorted([elsewhere.name, "one"])


@linux
def test_writers_take_turns(tmp_path):
    """Nothing is put in place while another writer holds the folder."""
    target = tmp_path / "one"
    write(target, "old")
    with lock(target, wait=False) as is_held:
        assert is_held
        thread = threading.Thread(target=write, args=(target,))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        assert content_of(target)["mark"] == "old"
    thread.join()
    assert content_of(target) == NEW


def test_a_lost_draft_is_an_error(tmp_path):
    """Where somebody has removed the draft, nothing is put in place."""
    write(tmp_path / "one", "old")

    def write_and_lose():
        with new_folder(tmp_path / "one", written=written) as draft:
            draft.rename(tmp_path / "moved")
            draft.mkdir()

    with pytest.raises(FileNotFoundError, match="was removed while .* save it again"):
        write_and_lose()
    assert content_of(tmp_path / "one")["mark"] == "old"


@pytest.mark.parametrize("error", [None, ValueError])
def test_a_reader_sees_one_folder(tmp_path, error):
    """What was read while the folder was replaced is read again, error or not."""
    target = tmp_path / "one"
    write(target, "old")
    looks = []

    def read(source):
        looks.append((source / "mark").read_text())
        if len(looks) == 1:
            write(target)
            if error:
                raise error
        return looks[-1] + (source / "sub" / "file").read_text()

    assert read_whole(target, "mark", read) == "newnew"
    assert looks == ["old", "new"]


def test_an_error_of_a_reader_comes_out(tmp_path):
    """An error of reading is the caller's, where nothing was replaced."""
    with pytest.raises(FileNotFoundError, match="mark"):
        read_whole(tmp_path, "mark", lambda source: (source / "mark").read_text())


@linux
def test_a_reader_takes_its_turn_among_savers(tmp_path):
    """Saves that come faster than a reader can read do not hold it up for ever."""
    target = tmp_path / "one"
    write(target)
    reads, is_over = [], threading.Event()

    def save_on():
        for number in itertools.count():
            write(target, str(number))
            if is_over.is_set():
                return

    def read(source):
        mark = (source / "mark").read_text()
        reads.append(mark)
        if len(reads) <= _folder.FREE_READS:
            while (target / "mark").read_text() == mark:
                time.sleep(0.001)
        else:
            time.sleep(0.1)
        return mark, (source / "sub" / "file").read_text()

    saver = threading.Thread(target=save_on)
    saver.start()
    try:
        mark, content = read_whole(target, "mark", read)
    finally:
        is_over.set()
        saver.join()
    assert mark == content
    assert len(reads) == _folder.FREE_READS + 1


def test_a_reader_gives_up(tmp_path):
    """Where nobody takes turns, it says so after some reads."""
    reads = []

    def read(source):
        reads.append(source)
        (source / "mark").write_text(str(len(reads)))

    with pytest.raises(CheckpointError, match="was replaced 100 times"):
        read_whole(tmp_path, "mark", read)
    assert len(reads) == 100


@pytest.mark.parametrize("name", ["../out", "/etc/out", "link/out", "sub/../../out"])
def test_a_journal_names_nothing_outside(tmp_path, name):
    """A journal that somebody made up removes and writes nothing elsewhere."""
    target = tmp_path / "one"
    journal = target / _journal.JOURNAL
    (journal / "new").mkdir(parents=True)
    (tmp_path / "out").write_text("mine")
    (target / "link").symlink_to(tmp_path, target_is_directory=True)
    (journal / "new" / "mark").write_text("new")
    assert whole_folder(target, "mark") == journal / "new"
    for plan in ({"remove": [name], "place": []}, {"remove": [], "place": [name]}):
        (journal / "plan.json").write_text(json.dumps(plan | {"last": "mark"}))
        with pytest.raises(FileExistsError, match="is not the journal of a save"):
            write(target)
    assert (tmp_path / "out").read_text() == "mine"
    assert os.listdir(target / "link") == os.listdir(tmp_path)


@linux
@pytest.mark.parametrize("can_exchange", [True, False])
def test_all_is_synchronized_before_it_is_put_in_place(
    tmp_path, monkeypatch, can_exchange
):
    """Every new file and its folder outlast a loss of power before the old one goes."""
    steps = []
    sync, rename = _folder.sync, Path.rename
    target = tmp_path / "one"
    write(target, "old")

    def noted(path):
        steps.append(path.name)
        sync(path)

    def exchange(*folders):
        steps.append("exchange")
        return can_exchange and swap(*folders)

    swap = _folder.exchange
    monkeypatch.setattr(_folder, "sync", noted)
    monkeypatch.setattr(_journal, "sync", noted)
    monkeypatch.setattr(_folder, "exchange", exchange)
    monkeypatch.setattr(
        Path, "rename", lambda p, to: (steps.append(f"to {to.name}"), rename(p, to))[1]
    )
    write(target)
    at = steps.index("exchange")
    assert {"mark", "file", "sub"} < set(steps[:at])
    assert steps[at - 1].startswith(".one.")  # the draft itself
    behind = steps[at + 1 :]
    if can_exchange:
        assert behind == [tmp_path.name]
    else:
        journal = behind.index(f"to {_journal.JOURNAL}")
        assert "plan.json" in behind[:journal]
        assert behind[journal + 1 : journal + 3] == ["one", "one"]
