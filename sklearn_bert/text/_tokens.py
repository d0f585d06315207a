"""Texts -> token ids, once: a flat table, and a count of what was cut."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from sklearn_bert.text._input import Texts

TEXTS_PER_CALL = 8192  # bounds the tokenizer's own objects, which are large


class TruncationWarning(UserWarning):
    """Some texts are longer than the model reads, and were cut."""

    __module__ = "sklearn_bert"


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
    type_ids : ndarray of shape (n_tokens,), uint8, or None
        0 for the first half of a pair and 1 for the second; None for single texts.
    truncation : dict
        `n_texts`, `n_truncated`, `max_length` and `longest` (tokens before cutting).
    """

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    type_ids: np.ndarray | None
    truncation: dict[str, int]

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, rows: np.ndarray) -> TokenTable:
        """A table of some of the texts; the ids are shared, not copied."""
        return replace(self, starts=self.starts[rows], lengths=self.lengths[rows])

    def distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows that hold each text once, and for every row its place among them."""
        _, rows, inverse = np.unique(
            self.starts, return_index=True, return_inverse=True
        )
        return rows, inverse

    def warn_if_cut(self) -> None:
        """Emit one `TruncationWarning` that counts what was cut, if anything was."""
        report = self.truncation
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

    def __call__(self, texts: Texts) -> TokenTable:
        """Tokenise each distinct text once."""
        distinct, row_of = _distinct(texts)
        encodings = list(self._encode(distinct, is_pair=texts.second is not None))
        ids, types, lengths, whole_lengths = zip(*encodings, strict=True)
        kept = np.array(lengths, dtype=np.int64)
        whole = np.array(whole_lengths, dtype=np.int64)[row_of]
        starts = np.concatenate([[0], np.cumsum(kept)[:-1]])
        return TokenTable(
            ids=np.concatenate(ids),
            starts=starts[row_of],
            lengths=kept[row_of],
            type_ids=None if types[0] is None else np.concatenate(types),
            truncation={
                "n_texts": len(row_of),
                "n_truncated": int((whole > self.max_length).sum()),
                "max_length": self.max_length,
                "longest": int(whole.max()),
            },
        )

    def _encode(
        self, texts: list[Any], *, is_pair: bool
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None, int, int]]:
        """Yield ids, type ids, length kept and length before cutting of each text."""
        with_types = is_pair and self.has_type_ids
        for begin in range(0, len(texts), TEXTS_PER_CALL):
            chunk = texts[begin : begin + TEXTS_PER_CALL]
            whole = self._whole.encode_batch_fast(chunk)
            long = [i for i, e in enumerate(whole) if len(e) > self.max_length]
            lengths = [len(encoding) for encoding in whole]
            for i, cut in zip(
                long, self._cut.encode_batch_fast([chunk[i] for i in long]), strict=True
            ):
                whole[i] = cut
            for encoding, length in zip(whole, lengths, strict=True):
                yield *self._arrays(encoding, with_types), length

    def _arrays(
        self, encoding: Encoding, with_types: bool
    ) -> tuple[np.ndarray, np.ndarray | None, int]:
        # A tokenizer without special tokens makes nothing of "": one token of padding
        # stands for it, because a model cannot read an empty row.
        ids = np.array(encoding.ids or [self.pad_id], dtype=np.int32)
        if not with_types:
            return ids, None, len(ids)
        return ids, np.array(encoding.type_ids or [0], dtype=np.uint8), len(ids)


def _distinct(texts: Texts) -> tuple[list[Any], np.ndarray]:
    """Each text (or pair) once, and for every row its place among them."""
    rows: list[Any] = texts.first
    if texts.second is not None:
        rows = list(zip(texts.first, texts.second, strict=True))
    place: dict[Any, int] = {}
    row_of = [place.setdefault(row, len(place)) for row in rows]
    return list(place), np.array(row_of, dtype=np.int64)


def _copy(backend: Tokenizer) -> Tokenizer:
    copy = Tokenizer.from_str(backend.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy
