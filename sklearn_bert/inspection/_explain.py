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
    n_steps: int = 32,
) -> pd.DataFrame:
    """Score the words of texts by what they do for a prediction.

    The prediction is a number f, with words that are hidden step by step: in place of
    their tokens' embeddings stands that of the mask token (of padding, where there is
    no mask token). Special tokens, positions and token types stay. f is

    - of a classifier the log-odds of a class, log(p / (1 - p)) of the probability that
      `predict_proba` gives: for two classes, or several labels per text, what
      `decision_function` gives;
    - of a regressor what `predict` gives, in the units of y;
    - of a token classifier the mean log-odds of a tag over the words predicted to have
      it, or at the word where it is likeliest if none has it;
    - of an embedder the cosine similarity of two texts, where the words of one text are
      hidden and the other stays as it is.

    Parameters
    ----------
    estimator : fitted estimator
        BertClassifier, BertRegressor, BertTokenClassifier or BertEmbedder.
    X : as the estimator takes it
        For an embedder pairs: two columns of texts, or a list of 2-tuples.
    method : {"integrated_gradients", "gradient", "occlusion"}, \
            default="integrated_gradients"
        - "integrated_gradients" [1]_: the gradient of f by the embeddings of a word,
          times their difference from hidden ones, on average over texts whose words are
          hidden less and less. The scores of a text add up to f(x) - f(baseline), where
          all words of the baseline are hidden.
        - "gradient": the same from one gradient, where a quarter of each word is there;
          at the text itself it would be noise, because a fine-tuned model is sure of
          it. Some ten times faster, but the scores do not add up.
        - "occlusion": how much f falls when the word alone is hidden. One forward pass
          per word.
    target : {"predicted", "all"} or label, default="predicted"
        The class, label or tag that f belongs to. "predicted": the predicted one; of
        several labels those predicted, or else the likeliest; of tags those predicted
        in the sentence, "O" only if there is no other. Of a regressor with several
        targets the number of a column; "predicted" are all of them.
    n_steps : int, default=32
        For integrated gradients: the most steps from hidden words to the text, with a
        gradient at the end of each. A text whose scores add up within 5 % with a half,
        a quarter, ... of them, 8 at least, has no more.

    Returns
    -------
    DataFrame
        A row for each word and target:

        - `text`: the row of X
        - `part`: 0, or 1 for the second text of a pair
        - `word`, `start`, `end`: the word, and its characters in the text as handed in,
          `text[start:end]`; with `template` in the text that it makes, and for a token
          classifier in `" ".join(words)`
        - `target`: the class, label, tag or number of the column; "similarity" for an
          embedder
        - `score`: over 0 where the word speaks for the target, in the units of f

        `attrs["completeness"]` is a list with a dict for each text and target (and
        `part`, for an embedder): `value`, f(x); `baseline`, f(baseline); and `sum`, of
        the scores.

    Notes
    -----
    A word is a run of letters and digits, or a single other character, as in Chinese or
    Japanese; words that share a token are one. Its score is the sum of its tokens'. A
    word that the model does not read, because its text is cut, has the score 0. A text
    without any word has no row.

    f and the baseline belong to one estimator: scores of different estimators cannot be
    compared.

    References
    ----------
    .. [1] M. Sundararajan, A. Taly, Q. Yan, "Axiomatic Attribution for Deep Networks",
       ICML 2017.

    Examples
    --------
    >>> from sklearn_bert import BertClassifier
    >>> from sklearn_bert.inspection import explain
    >>> X = ["I like it.", "It was great!", "I hate it.", "It was awful!"]
    >>> y = ["good", "good", "bad", "bad"]
    >>> clf = BertClassifier(trainable="head", random_state=0).fit(X, y)
    >>> explanation = explain(clf, ["What a great film!"])
    >>> explanation["word"].tolist()
    ['What', 'a', 'great', 'film', '!']
    >>> explanation.loc[explanation["score"].idxmax(), "word"]
    'great'
    """
    check_method(method, n_steps)
    subject = Subject(estimator, X)
    subject.choose(target)
    with subject.computing():
        shares = subject.word_shares()
        scores, values, baselines = score_words(shares, method, int(n_steps))
    frame = _frame(subject, scores)
    frame.attrs["method"] = method
    frame.attrs["completeness"] = _completeness(subject, scores, values, baselines)
    return frame


def check_explanation(explanation: Any) -> None:
    """Raise TypeError unless it is a frame with the columns that `explain` gives."""
    if not isinstance(explanation, pd.DataFrame) or not {*COLUMNS} <= {*explanation}:
        raise TypeError(
            f"explanation is of type {type(explanation).__name__}; expected the "
            f"DataFrame that explain gives, with the columns {', '.join(COLUMNS)}."
        )


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
        key=lambda i: (reading.place(int(goals.texts[i]))[0], goals.columns[i], i),
    )
    for goal in order:
        text = goals.texts[goal]
        words, halves = reading.words[text], reading.texts[text]
        row, side = reading.place(int(text))
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
    types = dict.fromkeys(["text", "part", "start", "end"], "int64")
    return pd.DataFrame(parts, columns=COLUMNS).astype(
        {**types, "target": "object", "score": "float64"}
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
            "text": reading.place(text)[0],
            "part": reading.place(text)[1] if reading.n_sides == 2 else None,
            "target": goals.names[column],
            "value": float(value),
            "baseline": float(baseline),
            "sum": float(score.sum()),
        }
        for text, column, value, baseline, score in zip(
            goals.texts.tolist(), goals.columns, values, baselines, scores, strict=True
        )
    ]
