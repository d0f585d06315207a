"""Texts that come one by one: what is a stream, what is refused, and what is kept."""

import gc
import os
import tempfile

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sklearn_bert.text import _stream
from sklearn_bert.text._stream import (
    StoredTexts,
    is_stream,
    read_stream,
    stored_ids,
)


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (iter(["a"]), True),
        ((text for text in "ab"), True),
        (map(str, [1]), True),
        ({"a": "b"}.values(), True),
        (["a"], False),
        (("a",), False),
        (np.array(["a"]), False),
        (pl.Series(["a"]), False),
        (pl.DataFrame({"a": ["a"]}), False),
        (pl.LazyFrame({"a": ["a"]}), False),
        ({"a": "b"}, False),
        ({"a"}, False),
        (csr_array([[1]]), False),
        ("a", False),
        (b"a", False),
        (1, False),
        (None, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_streams_are_told_from_collections(X, expected):
    """What gives its rows one by one and has no places is a stream; a set is not."""
    assert is_stream(X) is expected


def test_an_iterable_that_begins_anew_is_a_stream():
    """A class of the user's that has only `__iter__` is read like a generator."""

    class Lines:
        def __iter__(self):
            return iter(["a", "b"])

    assert is_stream(Lines())
    assert list(read_stream(Lines())) == ["a", "b"]


def test_stream_gives_plain_texts():
    """Subclasses of str become str."""
    found = list(read_stream(iter([np.str_("a"), "b"])))
    assert found == ["a", "b"]
    assert {type(text) for text in found} == {str}


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        (["a", None], ValueError, r"X\[1\] is None of type NoneType; every text must"),
        (["a", "b", float("nan")], ValueError, r"X\[2\] is nan of type float"),
        ([5], TypeError, r"X\[0\] is 5 of type int; every text must be a str. Convert"),
        (["a", b"b"], TypeError, r"X\[1\] is b'b' of type bytes"),
        ([("a", "b")], TypeError, r"X\[0\] is \('a', 'b'\) of type tuple"),
        ([], ValueError, r"X is empty: found a stream with 0 sample\(s\)"),
    ],
)
def test_stream_names_the_row(items, error, message):
    """What is no text is refused, with its row and value."""
    with pytest.raises(error, match=message):
        list(read_stream(iter(items)))


def test_stream_reads_missing_texts_as_empty_if_asked():
    """missing="empty" makes "" of None, and lets other types be wrong."""
    assert list(read_stream(iter(["a", None, np.nan]), missing="empty")) == [
        "a",
        "",
        "",
    ]
    with pytest.raises(TypeError, match=r"X\[0\] is 5"):
        list(read_stream(iter([5]), missing="empty"))


def test_stream_checks_as_it_goes():
    """The first wrong item ends it: what follows is not read."""
    rest = iter(["a", None, "never read"])
    with pytest.raises(ValueError, match=r"X\[1\]"):
        list(read_stream(rest))
    assert next(rest) == "never read"


def test_stream_mends_surrogates_and_says_so():
    """A lone surrogate, which no tokenizer takes, becomes U+FFFD, with one warning."""
    with pytest.warns(UserWarning, match="2 of 3 texts hold surrogates") as caught:
        found = list(read_stream(iter(["a\ud800", "b", "\ud83d\ude00"])))
    assert found == ["a\ufffd", "b", "\U0001f600"]
    assert len(caught) == 1


def test_a_stream_is_held_in_parts(monkeypatch):
    """Of a long stream no more is read ahead than a part."""
    monkeypatch.setattr(_stream, "CHARACTERS_PER_PART", 100)
    lengths = [len(part) for part in _stream.parts_of("word" for _ in range(105))]
    assert lengths == [20] * 5 + [5]


@given(st.lists(st.text(max_size=9), max_size=30))
def test_stored_texts_are_the_texts(texts):
    """What is kept is read again as it came, as often as asked for, also at once."""
    stored = StoredTexts(iter(texts))
    assert len(stored) == len(texts)
    assert list(stored) == texts
    both = list(zip(stored, stored, strict=True))
    assert both == list(zip(texts, texts, strict=True))


def test_stored_texts_are_read_part_by_part(monkeypatch):
    """No more than a part is in memory at a time."""
    monkeypatch.setattr(_stream, "CHARACTERS_PER_PART", 100)
    stored = StoredTexts("word" for _ in range(105))
    assert [len(part) for part in stored.parts()] == [20] * 5 + [5]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_disk_is_named(monkeypatch):
    """Where there is no room, the error says for what, where, and what to do."""
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full)
    with pytest.raises(OSError, match="No space left.*kept in .*; set TMPDIR"):
        StoredTexts(iter(["a"]))


@given(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=5), max_size=5))
def test_stored_ids_are_the_ids(parts):
    """Ids that were written part by part are one array of a file."""
    ids = stored_ids(np.array(part, dtype=np.int32) for part in parts)
    assert ids.dtype == np.int32
    assert ids.tolist() == [i for part in parts for i in part]


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    """Files of a stream have no name on POSIX, and are closed with their object."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gc.collect()
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    stored, ids = StoredTexts(iter(["a", "b"])), stored_ids([np.arange(5)])
    assert list(stored) == ["a", "b"]
    assert ids.sum() == 10
    assert os.name != "posix" or not os.listdir(tmp_path)
    del stored, ids
    gc.collect()
    after = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    assert after == before
