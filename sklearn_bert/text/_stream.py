"""Texts that come one after the other, and are read once: checked, and kept in a file.

What is kept lies in the folder for temporary files, which `TMPDIR` names; it is gone
with the object, and with the process.
"""

from __future__ import annotations

import pickle
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import IO, Any

import numpy as np
from scipy.sparse import issparse

from sklearn_bert.text._columns import excerpt, is_missing
from sklearn_bert.text._input import mend_surrogates, warn_of_surrogates

CHARACTERS_PER_PART = 2**22  # of a stream that are in memory at a time


def is_stream(X: object) -> bool:
    """Return whether X is iterable but cannot be indexed, such as an iterator.

    A set cannot be indexed either, but it has no order; a sparse matrix holds no texts.
    """
    has_places = hasattr(X, "__getitem__") or issparse(X) or isinstance(X, Set)
    return isinstance(X, Iterable) and not has_places


def read_stream(X: Iterable[Any], *, missing: str = "error") -> Iterator[str]:
    """Yield the texts of a stream, each checked as it is read.

    Raises
    ------
    TypeError
        If an item is no str.
    ValueError
        If a text is missing and `missing` is not "empty", or there is no item.
    """
    row, n_mended = -1, 0
    for row, item in enumerate(X):
        text = _check_item(item, row, missing)
        mended = mend_surrogates(text)
        n_mended += mended != text
        yield mended
    if row < 0:
        raise ValueError(
            "X is empty: found a stream with 0 sample(s) while a minimum of 1 is "
            "required. An iterator that was read before has nothing left."
        )
    if n_mended:
        warn_of_surrogates(n_mended, row + 1)


def _check_item(item: object, row: int, missing: str) -> str:
    if isinstance(item, str):
        return str.__str__(item)  # of a subclass, such as an Enum's
    kind = type(item).__name__
    if not is_missing(item):
        raise TypeError(
            f"X[{row}] is {excerpt(item)} of type {kind}; every text must be a str. "
            f"{_remedy(item)}"
        )
    if missing == "empty":
        return ""
    raise ValueError(
        f"X[{row}] is {item!r} of type {kind}; every text must be a str. Leave missing "
        "texts out, or read them as '' with missing='empty'."
    )


def _remedy(item: object) -> str:
    if isinstance(item, bytes):
        return "Decode the items as they come, or open the file as text."
    if isinstance(item, (list, tuple, Mapping)):
        return "Hand in one text of each, e.g. (row[0] for row in X)."
    return "Convert the items as they come, e.g. with map(str, X)."


def parts_of(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield lists of texts, none much larger than the part that is read at a time."""
    part: list[str] = []
    size = 0
    for text in texts:
        part.append(text)
        size += 1 + len(text)
        if size >= CHARACTERS_PER_PART:
            yield part
            part, size = [], 0
    if part:
        yield part


class StoredTexts:
    """The texts of a stream, in a temporary file, to be read as often as need be.

    Parameters
    ----------
    texts : iterable of str
        Read once, now.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._begins: list[int] = []
        self._n_texts = 0
        for part in parts_of(texts):
            self._begins.append(self._file.tell())
            _write(self._file, pickle.dumps(part, pickle.HIGHEST_PROTOCOL))
            self._n_texts += len(part)

    def __len__(self) -> int:
        return self._n_texts

    def __iter__(self) -> Iterator[str]:
        for part in self.parts():
            yield from part

    def parts(self) -> Iterator[list[str]]:
        """Yield lists of texts, so many at a time as may be in memory."""
        for begin in self._begins:
            self._file.seek(begin)
            yield pickle.load(self._file)


def stored_ids(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Write token ids to a temporary file, and return it as an array, int32.

    The system keeps in memory what of the file there is room for.
    """
    with tempfile.TemporaryFile(buffering=0) as file:
        for ids in parts:
            _write(file, ids.astype(np.int32, copy=False).tobytes())
        if not file.tell():  # an empty file cannot be mapped
            return np.zeros(0, dtype=np.int32)
        return np.memmap(file, dtype=np.int32, mode="r")


def _write(file: IO[bytes], content: bytes) -> None:
    view = memoryview(content)
    try:
        while len(view):  # a disk that is nearly full takes a part
            view = view[file.write(view) :]
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror}: the texts of a stream are kept in "
            f"{tempfile.gettempdir()} while fit runs; set TMPDIR to a folder with room",
        ) from error
