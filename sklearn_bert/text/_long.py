"""What is read of a text that is longer than the model: its head and tail, or windows.

Everything here counts tokens of the text itself, without the special ones around it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

LONG_TEXT = ("truncate", "head_tail", "window")
# Sun et al. keep the first 128 and the last 382 of 510 tokens.
HEAD_SHARE = 0.25


@dataclass(frozen=True)
class Windows:
    """Which rows of a table are the windows of each text.

    Attributes
    ----------
    starts : ndarray of shape (n_texts,), int64
        The row of the first window.
    counts : ndarray of shape (n_texts,), int64
    shares : ndarray of shape (n_rows,), float32
        How much of its text is new in a window: they add up to 1 over a text.
    """

    starts: np.ndarray
    counts: np.ndarray
    shares: np.ndarray

    def take(self, texts: np.ndarray) -> Windows:
        """Those of some of the texts; rows and shares stay where they are."""
        return replace(self, starts=self.starts[texts], counts=self.counts[texts])

    def rows(self) -> np.ndarray:
        """The rows of the texts, one text after the other."""
        begins = np.cumsum(self.counts) - self.counts
        return np.arange(self.counts.sum()) + np.repeat(
            self.starts - begins, self.counts
        )

    def text_of_row(self) -> np.ndarray:
        """For each of `rows`, the place of its text among the texts."""
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
    """The first quarter of the budget from the beginning, the rest from the end.

    C. Sun, X. Qiu, Y. Xu, X. Huang, "How to Fine-Tune BERT for Text Classification?",
    CCL 2019, section 5.3.1.
    """
    if len(ids) <= budget:
        return ids
    n_head = round(budget * HEAD_SHARE)
    return np.concatenate([ids[:n_head], ids[len(ids) - (budget - n_head) :]])


def window_starts(length: int, budget: int, stride: int) -> range:
    """Where windows of `budget` tokens begin, so that every token is in one."""
    n_more = max(0, -(-(length - budget) // stride))
    return range(0, (n_more + 1) * stride, stride)


def new_tokens(length: int, budget: int, stride: int) -> np.ndarray:
    """How many tokens of each window no earlier window holds; at least one in all."""
    ends = [
        min(start + budget, length) for start in window_starts(length, budget, stride)
    ]
    return np.diff([0, *ends]) if length else np.ones(1, dtype=np.int64)
