"""What is read of a text that is longer than the model: its head and tail, or windows.

Everything here counts tokens of the text itself, without the special ones around it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from tokenizers import Tokenizer

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


class SpecialTokens:
    """The special tokens around a text, or around and between the halves of a pair.

    Parameters
    ----------
    backend : tokenizers.Tokenizer
        Without truncation and padding.
    n_halves : {1, 2}
    """

    def __init__(self, backend: Tokenizer, n_halves: int) -> None:
        probe = backend.encode("a", add_special_tokens=False)
        probe.truncate(1)
        whole = backend.post_process(probe, probe if n_halves == 2 else None, True)
        ids, types = np.array(whole.ids), np.array(whole.type_ids)
        contents = np.flatnonzero(np.array(whole.special_tokens_mask) == 0)
        self._ids = [part[i > 0 :] for i, part in enumerate(np.split(ids, contents))]
        self._types = [
            part[i > 0 :] for i, part in enumerate(np.split(types, contents))
        ]
        self._half_types = types[contents]
        self.n_special = len(ids) - n_halves
        self.n_before = int(contents[0])

    @property
    def before(self) -> np.ndarray:
        """The special tokens before a text."""
        return self._ids[0]

    @property
    def after(self) -> np.ndarray:
        """The special tokens behind a text, or behind the first half of a pair."""
        return self._ids[1]

    def __call__(self, *halves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ids and type ids of a whole row, int32 and uint8."""
        ids, types = [self._ids[0]], [self._types[0]]
        for i, half in enumerate(halves):
            ids += [half, self._ids[i + 1]]
            types += [np.full(len(half), self._half_types[i]), self._types[i + 1]]
        return (
            np.concatenate(ids).astype(np.int32),
            np.concatenate(types).astype(np.uint8),
        )


def rooms(lengths: list[int], room: int) -> list[int]:
    """How many tokens each half of a pair may keep: the longer one gives way.

    As tokenizers truncate "longest first": a half that fits into half of the room stays
    whole, and the other has the rest.
    """
    if len(lengths) == 1:
        return [room]
    short = min(min(lengths), room // 2)
    long = room - short
    return [short, long] if lengths[0] <= lengths[1] else [long, short]


def head_and_tail(ids: np.ndarray, room: int) -> np.ndarray:
    """The first quarter of the room from the beginning, the rest from the end.

    C. Sun, X. Qiu, Y. Xu, X. Huang, "How to Fine-Tune BERT for Text Classification?",
    CCL 2019, section 5.3.1.
    """
    if len(ids) <= room:
        return ids
    n_head = round(room * HEAD_SHARE)
    return np.concatenate([ids[:n_head], ids[len(ids) - (room - n_head) :]])


def window_starts(length: int, room: int, stride: int) -> range:
    """Where windows of `room` tokens begin, so that every token is in one."""
    n_more = max(0, -(-(length - room) // stride))
    return range(0, (n_more + 1) * stride, stride)


def new_tokens(length: int, room: int, stride: int) -> np.ndarray:
    """How many tokens of each window no earlier window holds; at least one in all."""
    ends = [min(start + room, length) for start in window_starts(length, room, stride)]
    return np.diff([0, *ends]) if length else np.ones(1, dtype=np.int64)
