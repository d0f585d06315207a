"""The caller's texts for pretraining -> documents as lists of sentences."""

from __future__ import annotations

import re
from typing import Any

from sklearn_bert.text._input import Texts
from sklearn_bert.text._words import check_lists

# A sentence ends at a full stop or the like before a space, at those of Chinese and
# Japanese, which no space follows, and at line breaks.
SENTENCE_ENDS = re.compile(
    r"(?<=[.!?\u2026\u061f\u0964])\s+|(?<=[\u3002\uff01\uff1f])|\n+"
)


def check_documents(
    X: Any, name: str = "X", *, missing: str = "error"
) -> list[list[str]]:
    """Return documents as lists of sentences, or raise an error that names the row.

    Parameters
    ----------
    missing : {"error", "empty"}
        Whether missing documents and sentences are an error or are read as empty.

    Raises
    ------
    TypeError, ValueError
        If a document is no list, or a sentence no str.
    """
    remedy = "Where one row is a list of sentences, all must be: make it [text]."
    return check_lists(X, name, of="sentence", remedy=remedy, missing=missing)


def check_single_texts(texts: Texts) -> None:
    """Raise ValueError if X holds pairs of texts."""
    if texts.second is not None:
        raise ValueError(
            "X has two columns (or tuples of two texts); expected one column of texts. "
            "Hand in the columns one after the other, or join them with "
            "template='{first_column} {other_column}'."
        )


def split_sentences(text: str) -> list[str]:
    """Split a text into sentences, at punctuation and line breaks."""
    return [part for part in SENTENCE_ENDS.split(text) if part.strip()]
