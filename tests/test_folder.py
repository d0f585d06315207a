"""A folder is written whole or not at all, however the writing ends."""

import re
from pathlib import Path

import pytest

from sklearn_bert._folder import check_replaceable, new_folder


def is_ours(folder):
    return (folder / "mark").is_file()


def write(target, content="new"):
    """Write a folder of ours."""
    with new_folder(target, may_replace=is_ours) as draft:
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


def test_nothing_is_there_before_the_end(tmp_path):
    """While it is written the folder does not exist yet, or is the old one."""
    target = tmp_path / "one"
    with new_folder(target, may_replace=is_ours) as draft:
        (draft / "mark").write_text("old")
        assert not target.exists()
        assert draft.parent == tmp_path
    with new_folder(target, may_replace=is_ours) as draft:
        (draft / "mark").write_text("new")
        assert content_of(target) == {"mark": "old"}
    assert content_of(target) == {"mark": "new"}


def test_an_old_folder_is_replaced_whole(tmp_path):
    """No file of the old folder is left."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "mark").write_text("old")
    (tmp_path / "one" / "left over").write_text("old")
    write(tmp_path / "one")
    assert content_of(tmp_path) == {f"one/{name}": "new" for name in NEW}


def test_an_empty_folder_is_filled(tmp_path):
    """A folder that has nothing is nobody's."""
    (tmp_path / "one").mkdir()
    write(tmp_path / "one")
    assert content_of(tmp_path / "one") == NEW


def write_half(target, error):
    with new_folder(target, may_replace=is_ours) as draft:
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


def test_what_is_not_ours_stays(tmp_path):
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
            check_replaceable(tmp_path / name, is_ours)
    assert content_of(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]


def test_a_link_stays_a_link(tmp_path):
    """What a link points to is replaced, and not the link."""
    write(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert content_of(tmp_path / "real") == NEW


def test_it_is_asked_before_anything_is_written(tmp_path):
    """Nothing is made where nothing may be replaced."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis").write_text("years")
    with (
        pytest.raises(FileExistsError, match="nothing was written"),
        new_folder(tmp_path / "other", may_replace=is_ours),
    ):
        raise AssertionError("a draft was made")
