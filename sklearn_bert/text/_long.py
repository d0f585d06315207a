"""Shorten or divide texts that are longer than the model: head and tail, or windows.

Lengths and budgets are in tokens of the text itself, without special tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from tokenizers import Encoding

from sklearn_bert.text._special_tokens import SpecialTokens

LONG_TEXT = ("truncate", "head_tail", "window")
# Sun et al. keep the first 128 and the last 382 of 510 tokens.
HEAD_SHARE = 0.25


@dataclass(frozen=True)
class Windows:
    """The rows of a table that are the windows of each text.

    Attributes
    ----------
    starts : ndarray of shape (n_texts,), int64
        The row of the first window.
    counts : ndarray of shape (n_texts,), int64
    shares : ndarray of shape (n_rows,), float32
        The share of its text's tokens that are new in a window; over a text they add up
        to 1.
    """

    starts: np.ndarray
    counts: np.ndarray
    shares: np.ndarray

    def take(self, texts: np.ndarray) -> Windows:
        """Return the windows of some texts; the rows of the table stay the same."""
        return replace(self, starts=self.starts[texts], counts=self.counts[texts])

    def rows(self) -> np.ndarray:
        """Return the rows of the texts, one text after the other."""
        begins = np.cumsum(self.counts) - self.counts
        return np.arange(self.counts.sum()) + np.repeat(
            self.starts - begins, self.counts
        )

    def text_of_row(self) -> np.ndarray:
        """Return for each of `rows` the index of its text."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


class Tokens(NamedTuple):
    """One text as the cache keeps it: in bytes, which are smaller than arrays."""

    ids: bytes  # int32
    type_ids: bytes | None  # uint8
    whole_length: int  # in tokens, before cutting
    is_cut: bool = False
    windows: bytes | None = None  # pairs of int32: length, and tokens that are new


def truncate(encoding: Encoding, max_length: int, *, with_types: bool) -> Tokens:
    """Return the beginning of a text, or of both halves of a pair."""
    # Cut from the encoding itself, whose ids are final: truncation by the tokenizer
    # would be a setting, which threads share.
    half_of = np.array([-1 if i is None else i for i in encoding.sequence_ids])
    n_halves = encoding.n_sequences
    lengths = [int((half_of == i).sum()) for i in range(n_halves)]
    n_special = len(half_of) - sum(lengths)
    budgets = token_budgets(lengths, max(0, max_length - n_special))
    keep = half_of < 0  # special tokens belong to no half
    for i, budget in enumerate(budgets):
        keep[np.flatnonzero(half_of == i)[:budget]] = True
    ids = np.array(encoding.ids, dtype=np.int32)[keep].tobytes()
    types = np.array(encoding.type_ids, dtype=np.uint8)[keep].tobytes()
    return Tokens(ids, types if with_types else None, len(encoding), is_cut=True)


def shorten(
    halves: list[np.ndarray],
    special: SpecialTokens,
    length: int,
    *,
    max_length: int,
    window_stride: int | None,
    long_text: str,
    with_types: bool,
) -> Tokens:
    """Return head and tail, or the windows, of a text that is too long.

    Parameters
    ----------
    halves : list of ndarray
        The ids of the text, or of both halves of a pair.
    special : SpecialTokens
        Those around them.
    length : int
        Of the whole, special tokens included.
    max_length, window_stride, long_text
        As `TextTokenizer` has them.
    with_types : bool
    """
    if max_length <= special.n_special:
        raise ValueError(
            f"max_length is {max_length}, of which {special.n_special} are special "
            f"tokens; expected at least {special.n_special + 1}, to read anything."
        )
    lengths = [len(half) for half in halves]
    budgets = token_budgets(lengths, max_length - special.n_special)
    if long_text == "window":
        rows, new, is_cut = _windows(halves, budgets, special, window_stride)
        sizes = np.array([[len(ids) for ids, _ in rows], new], dtype=np.int32)
        windows = sizes.tobytes()
    else:
        kept = [head_and_tail(h, n) for h, n in zip(halves, budgets, strict=True)]
        rows, is_cut, windows = [special(*kept)], True, None
    ids, types = (np.concatenate(parts).tobytes() for parts in zip(*rows, strict=True))
    return Tokens(ids, types if with_types else None, length, is_cut, windows)


def _windows(
    halves: list[np.ndarray],
    budgets: list[int],
    special: SpecialTokens,
    window_stride: int | None,
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray, bool]:
    """Return windows over a text, or over the longer half of a pair.

    Each window of a pair holds the other half, too. The rows come with how many tokens
    are new in each, and whether that other half is cut.
    """
    lengths = [len(half) for half in halves]
    # The windows move over the longer half; the second if both are equal.
    side = int(len(halves) == 2 and lengths[0] <= lengths[1])
    long, size = halves[side], budgets[side]
    stride = min(window_stride or size, size)
    others = [half[:n] for half, n in zip(halves, budgets, strict=True)]
    rows = [
        special(*others[:side], long[start : start + size], *others[side + 1 :])
        for start in window_starts(len(long), size, stride)
    ]
    # The windows read all of the longer half; the other may have been cut.
    is_cut = sum(lengths) - len(long) > sum(budgets) - size
    return rows, new_tokens(len(long), size, stride), is_cut


def windows_of(
    windows: Sequence[bytes | None], lengths: np.ndarray
) -> tuple[Windows, np.ndarray]:
    """Return the windows of texts, and how many tokens each of them has.

    Parameters
    ----------
    windows : sequence of bytes or None
        Of each text as `Tokens` has them; a text without is one window itself.
    lengths : ndarray of shape (n_texts,)
    """
    parts = [
        np.array([[length], [1]])
        if window is None
        else np.frombuffer(window, dtype=np.int32).reshape(2, -1)
        for window, length in zip(windows, lengths, strict=True)
    ]
    counts = np.array([part.shape[1] for part in parts])
    sizes, new = np.concatenate(parts, axis=1)
    starts = np.cumsum(counts) - counts
    # A window weighs as much as the share of the text that no earlier window holds.
    shares = new / np.repeat(np.add.reduceat(new, starts), counts)
    shares = shares.astype(np.float32)
    return Windows(starts, counts, shares), sizes.astype(np.int64)


def token_budgets(lengths: list[int], budget: int) -> list[int]:
    """Return how many tokens each half of a pair may keep: the longer one gives way.

    This is the truncation that tokenizers call "longest first": a half that fits into
    half of the budget stays whole, and the other gets the rest.
    """
    if len(lengths) == 1:
        return [budget]
    short = min(min(lengths), budget // 2)
    long = budget - short
    return [short, long] if lengths[0] <= lengths[1] else [long, short]


def head_and_tail(ids: np.ndarray, budget: int) -> np.ndarray:
    """Return a quarter of the budget from the beginning, the rest from the end.

    C. Sun, X. Qiu, Y. Xu, X. Huang, "How to Fine-Tune BERT for Text Classification?",
    CCL 2019, section 5.3.1.
    """
    if len(ids) <= budget:
        return ids
    n_head = round(budget * HEAD_SHARE)
    return np.concatenate([ids[:n_head], ids[len(ids) - (budget - n_head) :]])


def window_starts(length: int, size: int, stride: int) -> range:
    """Return where windows of `size` tokens begin, so that every token is in one."""
    n_more = max(0, -(-(length - size) // stride))  # rounded up
    return range(0, (n_more + 1) * stride, stride)


def new_tokens(length: int, size: int, stride: int) -> np.ndarray:
    """Count the tokens of each window that no earlier window holds.

    An empty text has one window, which counts as one token.
    """
    ends = [min(start + size, length) for start in window_starts(length, size, stride)]
    return np.diff([0, *ends]) if length else np.ones(1, dtype=np.int64)
