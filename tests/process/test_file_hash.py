import hashlib
import os

import pytest

from sklearn_bert._process import _file_hash
from sklearn_bert._process._file_hash import sha256_of_file


@pytest.fixture
def old_file(tmp_path, monkeypatch):
    """A file that was written long before now, by the clock of the module."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    later = path.stat().st_ctime_ns + 10 * _file_hash.TICK
    monkeypatch.setattr(_file_hash.time, "time_ns", lambda: later)
    return path


def test_a_file_is_read_once(old_file, monkeypatch):
    """The hash is that of the content, and is not computed again."""
    expected = hashlib.sha256(b"content").hexdigest()
    assert sha256_of_file(old_file) == expected
    monkeypatch.setattr(_file_hash, "_sha256_of", None)
    assert sha256_of_file(old_file) == expected


def test_a_changed_file_is_read_again(old_file):
    """Also where its size is the same, and its time was set back."""
    state = old_file.stat()
    before = sha256_of_file(old_file)
    while old_file.stat().st_ctime_ns == state.st_ctime_ns:  # until the clock ticks
        old_file.write_bytes(b"CONTENT")
        os.utime(old_file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert sha256_of_file(old_file) != before


def test_a_new_file_is_always_read(tmp_path, monkeypatch):
    """Within a tick of the clock a change could not be seen."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    monkeypatch.setattr(_file_hash, "_remembered", None)
    assert sha256_of_file(path) == hashlib.sha256(b"content").hexdigest()
