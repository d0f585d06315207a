"""Files that are written completely, or not at all."""

import os
import stat

import pytest

from sklearn_bert._process._atomic_file import new_file
from sklearn_bert.cli._out import check_free


def test_a_file_appears_when_it_is_whole(tmp_path):
    """Until the end there is no file of the name."""
    path = tmp_path / "a.txt"
    with new_file(path) as draft:
        draft.write_text("whole")
        assert not path.exists()
        assert draft.suffix == ".txt"
    assert path.read_text() == "whole"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(tmp_path, error):
    """An error or an interrupt leaves the old file, and no draft."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), new_file(path) as draft:  # noqa: PT012
        draft.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_links_and_modes_stay(tmp_path):
    """The file behind a link is replaced, and keeps its mode."""
    path, link = tmp_path / "a.txt", tmp_path / "link"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    with new_file(link) as draft:
        draft.write_text("new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_what_exists_is_replaced_by_force_alone(tmp_path):
    """A file that exists is refused, unless --force is given."""
    path = tmp_path / "a.txt"
    check_free(path, force=False)
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="a.txt exists; name another .* --force"):
        check_free(path, force=False)
    check_free(path, force=True)


def test_devices_and_folders_are_never_replaced(tmp_path):
    """Neither a device nor a folder is replaced, even by force."""
    with pytest.raises(ValueError, match="/dev/null is no plain file"):
        check_free("/dev/null", force=True)
    with pytest.raises(ValueError, match="is no plain file"):
        check_free(tmp_path, force=True)


def test_the_folder_has_to_be_there(tmp_path):
    """A file in a folder that there is not is refused."""
    with pytest.raises(ValueError, match="lies in no folder that exists"):
        check_free(tmp_path / "no" / "a.txt", force=False)
