"""`explain`: which words of a text made a prediction."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from sklearn_bert.inspection._methods import METHODS, score_words
from sklearn_bert.inspection._subject import Subject
from sklearn_bert.text._columns import excerpt

COLUMNS = ["text", "part", "word", "start", "end", "target", "score"]


def explain(
    estimator: Any,
    X: Any,
    *,
    method: str = "integrated_gradients",
    target: Any = "predicted",
    n_steps: int = 20,
) -> pd.DataFrame:
    check_method(method, n_steps)
    subject = Subject(estimator, X)
    goals = subject.goals
    subject.choose(target)
    with subject.computing():
        shares = subject.word_shares()
        everything = np.arange(len(goals))
        values = shares.values(everything, lambda item: 1.0)
        baselines = shares.values(everything, lambda item: 0.0)
        scores = score_words(shares, method, n_steps, values)
    frame = _frame(subject, scores)
    frame.attrs["method"] = method
    frame.attrs["texts"] = goals.reading.rows_of_X()
    frame.attrs["completeness"] = _completeness(subject, scores, values, baselines)
    return frame


def check_method(method: Any, n_steps: Any) -> None:
    """Raise ValueError where a parameter of `explain` is none of those expected."""
    if method not in METHODS:
        raise ValueError(
            f"method is {excerpt(method)}; expected one of {', '.join(METHODS)}."
        )
    if not isinstance(n_steps, Integral) or isinstance(n_steps, bool) or n_steps < 1:
        raise ValueError(f"n_steps is {excerpt(n_steps)}; expected an integer from 1.")


def _frame(subject: Subject, scores: list[np.ndarray]) -> pd.DataFrame:
    """Return the rows of the answer: a text's words in order, target by target."""
    goals, reading = subject.goals, subject.goals.reading
    parts = {name: [] for name in COLUMNS}  # type: dict[str, list[Any]]
    order = sorted(
        range(len(goals)),
        key=lambda i: (reading.place(goals.texts[i])[0], goals.columns[i], i),
    )
    for goal in order:
        text = goals.texts[goal]
        words, halves = reading.words[text], reading.texts[text]
        row, side = reading.place(text)
        parts["text"] += [row] * len(words)
        parts["part"] += (words.parts + side).tolist()
        parts["word"] += [
            halves[part][start:end]
            for part, start, end in zip(
                words.parts, words.starts, words.ends, strict=True
            )
        ]
        parts["start"] += words.starts.tolist()
        parts["end"] += words.ends.tolist()
        parts["target"] += [goals.names[goals.columns[goal]]] * len(words)
        parts["score"] += scores[goal].tolist()
    types = {name: np.int64 for name in ("text", "part", "start", "end")}
    return pd.DataFrame(parts, columns=COLUMNS).astype(
        {**types, "target": object, "score": np.float64}
    )


def _completeness(
    subject: Subject,
    scores: list[np.ndarray],
    values: np.ndarray,
    baselines: np.ndarray,
) -> list[dict[str, Any]]:
    """Return for each text and target what its scores should add up to, and do."""
    goals, reading = subject.goals, subject.goals.reading
    return [
        {
            "text": int(reading.place(text)[0]),
            "part": int(reading.place(text)[1]) if reading.n_sides == 2 else None,
            "target": goals.names[column],
            "value": float(value),
            "baseline": float(baseline),
            "sum": float(score.sum()),
        }
        for text, column, value, baseline, score in zip(
            goals.texts, goals.columns, values, baselines, scores, strict=True
        )
    ]
