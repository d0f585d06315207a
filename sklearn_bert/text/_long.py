"""Shorten or divide texts that are longer than the model: head and tail, or windows.

All lengths here are in tokens of the text itself, without special tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

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
