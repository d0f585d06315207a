"""A folder is written whole or not at all, however the writing ends."""

import os
import re
import stat
from pathlib import Path

import pytest

from sklearn_bert._process._atomic_folder import check_replaceable, new_folder


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


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("when", ["before", "behind"])
def test_an_interrupt_while_it_is_put_in_place(tmp_path, monkeypatch, step, when):
    """Between the two renamings too, one of the two is there, whole and alone."""
    write(tmp_path / "one", "old")
    rename = Path.rename
    calls = []

    def interrupted(self, target):
        calls.append(target)
        if len(calls) - 1 != step:
            return rename(self, target)
        if when == "behind":
            rename(self, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "one")
    monkeypatch.undo()
    old = dict.fromkeys(NEW, "old")
    is_done = (step, when) == (1, "behind")
    assert content_of(tmp_path / "one") == (NEW if is_done else old)
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
