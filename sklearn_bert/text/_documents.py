"""What the caller hands in to learn a language from -> documents of sentences."""

from __future__ import annotations

import re
from typing import Any

from sklearn_bert.text._input import Texts
from sklearn_bert.text._words import check_lists

# Behind a full stop and its kin, where a space follows; behind those of Chinese and
# Japanese, which none does; and behind line breaks.
SENTENCE_ENDS = re.compile(
    r"(?<=[.!?\u2026\u061f\u0964])\s+|(?<=[\u3002\uff01\uff1f])|\n+"
)


def check_documents(
    X: Any, name: str = "X", *, missing: str = "error"
) -> list[list[str]]:
    """Return documents as lists of sentences, or say what is wrong where.

    Parameters
    ----------
    missing : {"error", "empty"}
        Whether missing documents and sentences are refused, or read as empty.

    Raises
    ------
    TypeError, ValueError
        Where a document is no list, or a sentence no text.
    """
    remedy = "Where one row is a list of sentences, all must be: make it [text]."
    return check_lists(X, name, of="sentence", remedy=remedy, missing=missing)


def check_single_texts(texts: Texts) -> None:
    """Raise ValueError where X holds pairs of texts."""
    if texts.second is not None:
        raise ValueError(
            "X has two columns (or tuples of two texts); expected one column of texts. "
            "Hand in the columns one after the other, or join them with "
            "template='{first_column} {other_column}'."
        )


def split_sentences(text: str) -> list[str]:
    """Sentences of a text, by its punctuation and line breaks."""
    return [part for part in SENTENCE_ENDS.split(text) if part.strip()]
