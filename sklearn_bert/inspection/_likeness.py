"""Training texts that are like other texts: nearly the same, or near for a model."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

LIKE = 0.9  # the least cosine of near-duplicates
# Bounds of what is compared, but for equal texts: of each side, and of a text.
N_COMPARED = 10_000
N_CHARACTERS = 1_000
ROWS_AT_A_TIME = 256


def near_duplicates(texts: list[str], train: list[str]) -> pd.DataFrame:
    """Find for each text the training text that is nearly the same, if there is one.

    That is one of the same letters and digits, whatever their case; or else one whose
    groups of four characters, weighted by TF-IDF, have a cosine of at least LIKE.

    Returns
    -------
    DataFrame
        `row` and `train_row`, their `similarity`, 1 for equal ones; the most alike
        first.
    """
    normal, normal_train = [*map(normalize, texts)], [*map(normalize, train)]
    first = {text: row for row, text in reversed([*enumerate(normal_train)])}
    equal = {
        row: first[text] for row, text in enumerate(normal) if text and text in first
    }
    found = [(row, train_row, 1.0) for row, train_row in equal.items()]
    rest = [i for i in some(len(normal)).tolist() if i not in equal and normal[i]]
    candidates = [i for i in some(len(normal_train)).tolist() if normal_train[i]]
    if rest and candidates:
        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4))
        known = vectorizer.fit_transform(
            [normal_train[i][:N_CHARACTERS] for i in candidates]
        )
        for begin in range(0, len(rest), ROWS_AT_A_TIME):
            rows = rest[begin : begin + ROWS_AT_A_TIME]
            own = vectorizer.transform([normal[i][:N_CHARACTERS] for i in rows])
            cosines = (own @ known.T).tocsr()
            best = np.asarray(cosines.argmax(axis=1)).ravel()
            height = np.asarray(cosines.max(axis=1).todense()).ravel()
            found += [
                (rows[i], candidates[best[i]], min(float(height[i]), 0.999))
                for i in np.flatnonzero(height >= LIKE)
            ]
    frame = pd.DataFrame(found, columns=["row", "train_row", "similarity"])
    order = ["similarity", "row"]
    return frame.sort_values(order, ascending=[False, True], ignore_index=True)


def nearest(vectors: Any, known: Any, n: int) -> list[list[tuple[int, float]]]:
    """Return for each vector the known ones of the highest cosines, and these."""
    cosines = cosine_similarity(vectors, known)
    best = np.argsort(-cosines, axis=1, kind="stable")[:, :n]
    heights = np.take_along_axis(cosines, best, axis=1)
    return [
        list(zip(*pair, strict=True))
        for pair in zip(best.tolist(), heights.tolist(), strict=True)
    ]


def normalize(text: str) -> str:
    """Return the letters and digits of a text, or what else there is."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", text)) or text.strip()


def some(n: int) -> np.ndarray:
    """Return the rows of n that are compared: all, or N_COMPARED at equal distances."""
    if n <= N_COMPARED:
        return np.arange(n)
    return np.linspace(0, n - 1, N_COMPARED).astype(np.int64)
