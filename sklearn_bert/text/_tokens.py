"""Texts -> token ids, once: a flat table, and a count of what was cut."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Encoding, Tokenizer

from sklearn_bert._cache import TOKENS
from sklearn_bert.text._input import Texts

TEXTS_PER_CALL = 8192  # bounds the tokenizer's own objects, which are large
KEY_LENGTH = 256  # characters; the cache knows a longer text by its hash


class TruncationWarning(UserWarning):
    """Some texts are longer than the model reads, and were cut."""

    __module__ = "sklearn_bert"


class Tokens(NamedTuple):
    """One text as the cache keeps it: bytes are smaller than arrays."""

    ids: bytes  # int32
    type_ids: bytes | None  # uint8
    whole_length: int  # in tokens, before cutting


@dataclass(frozen=True)
class TokenTable:
    """The token ids of many texts in one flat array; equal texts share their ids.

    Text `i` is `ids[starts[i] : starts[i] + lengths[i]]`.

    Attributes
    ----------
    ids : ndarray of shape (n_tokens,), int32
    starts : ndarray of shape (n_texts,), int64
    lengths : ndarray of shape (n_texts,), int64
        In tokens, special ones included, after cutting.
    whole_lengths : ndarray of shape (n_texts,), int64
        In tokens, before cutting.
    type_ids : ndarray of shape (n_tokens,), uint8, or None
        0 for the first half of a pair and 1 for the second; None for single texts.
    """

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    whole_lengths: np.ndarray
    type_ids: np.ndarray | None

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, rows: np.ndarray) -> TokenTable:
        """A table of some of the texts; the ids are shared, not copied."""
        return replace(
            self,
            starts=self.starts[rows],
            lengths=self.lengths[rows],
            whole_lengths=self.whole_lengths[rows],
        )

    def distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows that hold each text once, and for every row its place among them."""
        return distinct_rows(self.starts)

    def vocabulary(self) -> np.ndarray:
        """The distinct ids of the texts, sorted."""
        return np.unique(self.ids[flat_places(self.starts, self.lengths)])

    def content(self, row: int) -> bytes:
        """A hash of one text's ids and type ids: of what a model makes its answer."""
        part = slice(self.starts[row], self.starts[row] + self.lengths[row])
        digest = blake2b(self.ids[part].tobytes(), digest_size=16)
        if self.type_ids is not None:
            digest.update(b"types" + self.type_ids[part].tobytes())
        return digest.digest()


def distinct_rows(starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that hold each start once, and for every row its place among them."""
    _, rows, inverse = np.unique(starts, return_index=True, return_inverse=True)
    return rows, inverse


def flat_places(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Where in a flat array the texts lie that begin at `starts`, one after the other.

    Returns
    -------
    int64 ndarray of shape (sum of lengths,)
    """
    begins = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(starts - begins, lengths)


def truncation_report(whole_lengths: np.ndarray, max_length: int) -> dict[str, int]:
    """Count what is longer than `max_length`, in tokens."""
    return {
        "n_texts": len(whole_lengths),
        "n_truncated": int((whole_lengths > max_length).sum()),
        "max_length": max_length,
        "longest": int(whole_lengths.max()),
    }


def warn_if_cut(report: dict[str, int]) -> None:
    """Emit one `TruncationWarning` that counts what was cut, if anything was."""
    if report["n_truncated"] == 0:
        return
    warnings.warn(
        f"{report['n_truncated']} of {report['n_texts']} texts are longer than "
        f"{report['max_length']} tokens and were cut; the longest has "
        f"{report['longest']}. Raise max_length if the checkpoint allows it, or "
        "split the texts.",
        TruncationWarning,
        stacklevel=2,
    )


class TextTokenizer:
    """A fast tokenizer with fixed settings: no padding, and one length limit.

    Parameters
    ----------
    backend : tokenizers.Tokenizer
        Copied; the caller's truncation and padding settings are not touched.
    max_length : int
        Most tokens of a text, special ones included.
    pad_id : int
        The id that fills the rows of a batch.
    has_type_ids : bool
        Whether the model tells the halves of a pair apart by token types.
    config : dict
        What belongs beside a `tokenizer.json`, carried along for saving.
    """

    def __init__(
        self,
        backend: Tokenizer,
        *,
        max_length: int,
        pad_id: int,
        has_type_ids: bool,
        config: dict[str, Any],
    ) -> None:
        self.max_length = max_length
        self.pad_id = pad_id
        self.has_type_ids = has_type_ids
        self.config = config
        # Two copies with settings that never change again: switching truncation on
        # and off on one shared tokenizer is a race between threads.
        self._whole = _copy(backend)
        self._cut = _copy(backend)
        self._cut.enable_truncation(max_length)

    def __repr__(self) -> str:
        return f"TextTokenizer(max_length={self.max_length})"

    @classmethod
    def from_json(cls, text: str, settings: dict[str, Any]) -> TextTokenizer:
        """Build the tokenizer that `to_json` and `settings` describe."""
        return cls(Tokenizer.from_str(text), **settings)

    def to_json(self) -> str:
        """The tokenizer as the text of a `tokenizer.json`, without a length limit."""
        return self._whole.to_str()

    def settings(self) -> dict[str, Any]:
        """The arguments, beside the backend, that build this tokenizer again."""
        return {
            "max_length": self.max_length,
            "pad_id": self.pad_id,
            "has_type_ids": self.has_type_ids,
            "config": self.config,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return TextTokenizer.from_json, (self.to_json(), self.settings())

    @functools.cached_property
    def fingerprint(self) -> str:
        """The same for tokenizers that make the same of every text."""
        settings = f"{self.max_length} {self.pad_id} {self.has_type_ids} "
        return _hash(settings + self.to_json())

    def __call__(self, texts: Texts, *, remember: bool = True) -> TokenTable:
        """Tokenise each distinct text once, and not at all if the process knows it."""
        distinct, row_of = texts.distinct()
        rows = distinct.rows()
        tokens = TOKENS.get(
            _keys(self.fingerprint, distinct),
            lambda missing: self._tokenise([rows[i] for i in missing]),
            size=_size,
            keep=remember,
        )
        ids, types, whole_lengths = zip(*tokens, strict=True)
        lengths = np.array([len(i) for i in ids]) // 4
        starts = np.cumsum(lengths) - lengths
        return TokenTable(
            ids=np.frombuffer(b"".join(ids), dtype=np.int32),
            starts=starts[row_of],
            lengths=lengths[row_of],
            whole_lengths=np.array(whole_lengths)[row_of],
            type_ids=(
                None if types[0] is None else np.frombuffer(b"".join(types), np.uint8)
            ),
        )

    def in_parts(
        self, texts: Texts, size: int, *, remember: bool = True
    ) -> Iterator[TokenTable]:
        """Tables of so many texts at a time; a thread makes the next one meanwhile."""
        begins = range(0, len(texts), size)
        parts = (texts.part(begin, begin + size) for begin in begins)
        tables = (self(part, remember=remember) for part in parts)
        if len(begins) == 1:
            yield from tables
            return
        with ThreadPoolExecutor(max_workers=1) as thread:
            coming = thread.submit(next, tables)
            for _ in begins[1:]:
                table, coming = coming.result(), thread.submit(next, tables)
                yield table
            yield coming.result()

    def _tokenise(self, texts: list[Any]) -> list[Tokens]:
        with_types = isinstance(texts[0], tuple) and self.has_type_ids
        found = []
        for begin in range(0, len(texts), TEXTS_PER_CALL):
            chunk = texts[begin : begin + TEXTS_PER_CALL]
            whole = self._whole.encode_batch_fast(chunk)
            lengths = [len(encoding) for encoding in whole]
            long = [i for i, length in enumerate(lengths) if length > self.max_length]
            cut = self._cut.encode_batch_fast([chunk[i] for i in long])
            for i, encoding in zip(long, cut, strict=True):
                whole[i] = encoding
            found += [
                Tokens(*self._arrays(encoding, with_types), length)
                for encoding, length in zip(whole, lengths, strict=True)
            ]
        return found

    def _arrays(
        self, encoding: Encoding, with_types: bool
    ) -> tuple[bytes, bytes | None]:
        # A tokenizer without special tokens makes nothing of "": one token of padding
        # stands for it, because a model cannot read an empty row.
        ids = np.array(encoding.ids or [self.pad_id], dtype=np.int32).tobytes()
        return ids, bytes(encoding.type_ids or [0]) if with_types else None


def _keys(mark: str, texts: Texts) -> list[str]:
    """What the cache knows each text by, or each pair of texts.

    One string each: tuples would set off the garbage collector.
    """
    first = [t if len(t) <= KEY_LENGTH else _hash(t) for t in texts.first]
    if texts.second is None:
        return [f"{mark} {text}" for text in first]
    second = [t if len(t) <= KEY_LENGTH else _hash(t) for t in texts.second]
    pairs = zip(first, second, strict=True)
    return [f"{mark}{len(one)} {one}{other}" for one, other in pairs]


def _hash(text: str) -> str:
    # No text holds the lone surrogate before it, so none is taken for a hash.
    return "\ud800" + blake2b(text.encode(), digest_size=16).hexdigest()


def _size(tokens: Tokens) -> int:
    key = len(tokens.ids)  # a text is about as long as its ids
    return key + len(tokens.ids) + len(tokens.type_ids or b"")


def _copy(backend: Tokenizer) -> Tokenizer:
    copy = Tokenizer.from_str(backend.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy
