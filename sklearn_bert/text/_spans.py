"""Which word of a text, by its characters, each token of the text belongs to."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import numpy as np

from sklearn_bert.text._input import Texts
from sklearn_bert.text._long import shorten, token_budgets
from sklearn_bert.text._tokenizer import TextTokenizer

# Written without spaces: each character is a word, unless a token joins several.
WITHOUT_SPACES = re.compile(
    "[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003ffff]"
)
APOSTROPHES = "'\u2019"
JOINER = "\u200d"


@dataclass(frozen=True)
class Words:
    """The words of a text, or of both halves of a pair, in reading order.

    Attributes
    ----------
    parts : ndarray of shape (n_words,), int64
        0, or 1 for the second half of a pair.
    starts, ends : ndarray of shape (n_words,), int64
        Characters of the half.
    """

    parts: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.parts)


def words_of_tokens(
    tokenizer: TextTokenizer, texts: Texts
) -> tuple[list[Words], list[np.ndarray]]:
    """Divide texts into words, and tell the word of each token that the model reads.

    A word is a run of letters and digits, or a single other character; marks and
    joined symbols belong to what they follow. Words that share a token are one.

    Returns
    -------
    words : list of n_texts Words
        Also those that are cut off.
    word_of_token : list of n_texts ndarrays of int64
        For the tokens of a text as they stand in the table that the tokenizer makes,
        window after window; -1 for those of no word, such as special ones.
    """
    found, word_of_token = [], []
    for text in texts.rows():
        sides = text if isinstance(text, tuple) else (text,)
        parts, of_half, n_words = [], [], 0
        for part, side in enumerate(sides):
            encoding = tokenizer.backend.encode(side, add_special_tokens=False)
            spans, of_token = _words_of_half(side, encoding.offsets)
            parts.append(np.insert(spans, 0, part, axis=1))
            of_half.append(np.where(of_token < 0, -1, of_token + n_words))
            n_words += len(spans)
        found.append(Words(*np.concatenate(parts).T))
        places = _places(tokenizer, [len(half) for half in of_half])
        # The place -1, of a special token, takes the last.
        word_of_token.append(np.append(np.concatenate(of_half), -1)[places])
    return found, word_of_token


def _words_of_half(
    text: str, offsets: list[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return where words start and end, (n_words, 2), and the word of each token."""
    run_of = character_runs(text)
    n_runs = run_of.max(initial=-1) + 1
    # The first and the last run that each token has a character of.
    runs_of_token = [
        run_of[start:end][run_of[start:end] >= 0] for start, end in offsets
    ]
    starts_word = np.ones(n_runs, dtype=bool)
    for runs in runs_of_token:
        if len(runs):
            starts_word[runs[0] + 1 : runs[-1] + 1] = False
    word_of_run = np.cumsum(starts_word) - 1
    of_token = np.array(
        [word_of_run[runs[0]] if len(runs) else -1 for runs in runs_of_token],
        dtype=np.int64,
    )
    # A space that is a token of its own belongs to the word behind it.
    for place in range(len(of_token) - 2, -1, -1):
        if of_token[place] < 0:
            of_token[place] = of_token[place + 1]
    characters = np.flatnonzero(run_of >= 0)
    word_of = word_of_run[run_of[characters]]
    n_words = int(starts_word.sum())
    first = np.searchsorted(word_of, np.arange(n_words), side="left")
    last = np.searchsorted(word_of, np.arange(n_words), side="right") - 1
    spans = np.stack([characters[first], characters[last] + 1], axis=1)
    return spans.reshape(-1, 2), of_token


def character_runs(text: str) -> np.ndarray:
    """Return for each character the number of its run, -1 between runs: int64."""
    runs = np.full(len(text), -1, dtype=np.int64)
    number, was_word = -1, False
    for place, character in enumerate(text):
        before = text[place - 1] if place else " "
        category = unicodedata.category(character)
        if category[0] in "ZC" and category != "Cf":  # spaces and control characters
            was_word = False
            continue
        is_word = category[0] in "LN" or character == "_"
        is_word = is_word and not WITHOUT_SPACES.match(character)
        if character in APOSTROPHES:  # inside of a word, as in don't
            is_word = was_word and text[place + 1 : place + 2].isalpha()
        follows = place > 0 and runs[place - 1] >= 0
        if follows and _continues(character, category, before):
            is_word = was_word
        elif not (follows and is_word and was_word):
            number += 1
        runs[place], was_word = number, is_word
    return runs


def _continues(character: str, category: str, before: str) -> bool:
    """Tell whether a character is part of the one before it, as an accent is."""
    is_skin_tone = "\U0001f3fb" <= character <= "\U0001f3ff"
    return category[0] == "M" or category == "Cf" or is_skin_tone or before == JOINER


def _places(tokenizer: TextTokenizer, lengths: list[int]) -> np.ndarray:
    """Return which token of the whole text stands at each place of its rows.

    Parameters
    ----------
    lengths : list of int
        In tokens, of the text or of both halves of a pair, without special ones.

    Returns
    -------
    int ndarray, with -1 for special tokens
    """
    special = tokenizer.special_tokens(len(lengths)).blank()
    ends = np.cumsum(lengths)
    halves = np.split(np.arange(ends[-1], dtype=np.int32), ends[:-1])
    length = int(ends[-1]) + special.n_special
    room = max(0, tokenizer.max_length - special.n_special)
    if length <= tokenizer.max_length:
        places = special(*halves)[0]
        return places if len(places) else np.array([-1])  # one token of padding
    if tokenizer.long_text == "truncate":
        budgets = token_budgets(lengths, room)
        return special(*(h[:n] for h, n in zip(halves, budgets, strict=True)))[0]
    rows = shorten(
        halves,
        special,
        length,
        max_length=tokenizer.max_length,
        window_stride=tokenizer.window_stride,
        long_text=tokenizer.long_text,
        with_types=False,
    )
    return np.frombuffer(rows.ids, dtype=np.int32)
