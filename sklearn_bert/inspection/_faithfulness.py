"""`faithfulness`: whether the words with high scores are those that count."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau
from sklearn.utils import check_random_state

from sklearn_bert.inspection._explain import check_explanation
from sklearn_bert.inspection._methods import hide_each, n_words_of
from sklearn_bert.inspection._subject import Subject
from sklearn_bert.inspection._word_shares import WordShares
from sklearn_bert.text._columns import excerpt

MEASURES = ["comprehensiveness", "sufficiency", "agreement"]


def faithfulness(
    estimator: Any,
    X: Any,
    explanation: pd.DataFrame,
    *,
    shares: Sequence[float] = (0.1, 0.2, 0.5),
    n_random: int = 5,
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Measure whether hiding words changes a prediction as their scores say.

    Words are hidden by the mask token. Each measure stands beside its mean for words in
    random order: compare methods with that, for one estimator. Values of different
    estimators cannot be compared, because they depend on how steep each f is [2]_.

    Parameters
    ----------
    estimator : fitted estimator
        As in `explain`.
    X : as in `explain`
    explanation : DataFrame
        What `explain` gives for this estimator and X.
    shares : sequence of float, default=(0.1, 0.2, 0.5)
        Of the words of a text, those with the highest scores, at least one: how many
        are hidden, or kept. The mean over the shares counts.
    n_random : int, default=5
        Random orders for each text and target.
    random_state : int, RandomState instance or None, default=None
        Draws the random orders. None: others in each call.

    Returns
    -------
    DataFrame
        A row for each measure:

        - "comprehensiveness" [1]_: how much f falls when the words with the highest
          scores are hidden; higher is better.
        - "sufficiency" [1]_: how much f falls when only these are kept; lower is
          better.
        - "agreement": Kendall's tau between the scores and how much f falls when each
          word alone is hidden; higher is better.

        Columns: `value`, the mean over texts and targets; `random`, that of random
        orders; `difference` of the two; `standard_error` of the difference; `n`, how
        many texts and targets have a value.

    References
    ----------
    .. [1] J. DeYoung et al., "ERASER: A Benchmark to Evaluate Rationalized NLP Models",
       ACL 2020.
    .. [2] J. Edin et al., "Normalized AOPC: Fixing Misleading Faithfulness Metrics for
       Feature Attribution Explainability", 2024, arXiv:2408.08137.

    Examples
    --------
    >>> from sklearn_bert import BertClassifier
    >>> from sklearn_bert.inspection import explain, faithfulness
    >>> X = ["I like it.", "It was great!", "I hate it.", "It was awful!"]
    >>> y = ["good", "good", "bad", "bad"]
    >>> clf = BertClassifier(trainable="head", random_state=0).fit(X, y)
    >>> measured = faithfulness(clf, X, explain(clf, X), random_state=0)
    >>> measured.index.tolist()
    ['comprehensiveness', 'sufficiency', 'agreement']
    >>> bool(measured.loc["agreement", "difference"] > 0)
    True
    """
    _check_parameters(shares, n_random)
    generator = check_random_state(random_state)
    subject = Subject(estimator, X)
    scores = _scores_of(subject, explanation)
    with subject.computing():
        word_shares = subject.word_shares()
        found = _measure(word_shares, scores, shares, n_random, generator)
    value, random = found[:, :, 0], found[:, :, 1:].mean(axis=2)
    difference = value - random
    counts = (~np.isnan(difference)).sum(axis=1)
    deviation = np.nanstd(difference, axis=1, ddof=1) if counts.min() > 1 else np.nan
    return pd.DataFrame(
        {
            "value": np.nanmean(value, axis=1),
            "random": np.nanmean(random, axis=1),
            "difference": np.nanmean(difference, axis=1),
            "standard_error": deviation / np.sqrt(counts),
            "n": counts,
        },
        index=pd.Index(MEASURES, name="measure"),
    )


def _check_parameters(shares: Any, n_random: Any) -> None:
    try:
        are_right = len(shares) > 0 and all(
            isinstance(share, Real) and 0 < float(share) <= 1 for share in shares
        )
    except TypeError:
        are_right = False
    if not are_right:
        raise ValueError(
            f"shares is {excerpt(shares)}; expected numbers over 0 and up to 1."
        )
    if not isinstance(n_random, Integral) or n_random < 1:
        raise ValueError(
            f"n_random is {excerpt(n_random)}; expected an integer from 1."
        )


def _scores_of(subject: Subject, explanation: pd.DataFrame) -> list[np.ndarray]:
    """Set the goals to those of an explanation, and return the scores of each.

    Raises
    ------
    TypeError, ValueError
        Where it is none, or one of other texts.
    """
    check_explanation(explanation)
    if explanation.empty:
        raise ValueError("explanation has no row: no text in X has a word.")
    goals, reading = subject.goals, subject.goals.reading
    keys = ["text", "target", *(["part"] if reading.n_sides == 2 else [])]
    texts, columns, scores = [], [], []
    key: Any
    for key, rows in explanation.groupby(keys, sort=False):
        text = int(key[0]) + (reading.n_rows_of_X * key[2] if len(key) == 3 else 0)
        is_there = 0 <= text < len(reading)
        words = reading.words[text] if is_there else None
        if words is None or not np.array_equal(words.starts, rows["start"]):
            raise ValueError(
                f"explanation has other words for X[{key[0]}] than X; expected what "
                "explain gives for this X."
            )
        texts.append(text)
        columns.append(goals.column(key[1]))
        scores.append(rows["score"].to_numpy())
    goals.texts, goals.columns = np.array(texts), np.array(columns)
    return scores


def _measure(
    word_shares: WordShares,
    scores: list[np.ndarray],
    shares: Sequence[float],
    n_random: int,
    generator: np.random.RandomState,
) -> np.ndarray:
    """Return the measures of the goals, for the scores and for random orders.

    Returns
    -------
    ndarray of shape (3, n_goals, 1 + n_random)
    """
    n_goals, n_words = len(scores), n_words_of(word_shares)
    values = word_shares.values(np.arange(n_goals), lambda item: 1.0)
    ranked = [
        [score, *(generator.permutation(len(score)) for _ in range(n_random))]
        for score in scores
    ]
    # Item: goal, order, share, and whether the top words are hidden or kept alone.
    shape = (n_goals, 1 + n_random, len(shares), 2)

    def some_words(item: int) -> np.ndarray:
        goal, order, share, keeps = np.unravel_index(item, shape)
        n_top = max(1, round(shares[int(share)] * n_words[goal]))
        top = np.argsort(-ranked[goal][order], kind="stable")[:n_top]
        there = np.full(n_words[goal], 1.0 - keeps)
        there[top] = keeps
        return there

    goals = np.repeat(np.arange(n_goals), np.prod(shape[1:]))
    f = word_shares.values(goals, some_words).reshape(shape)
    falls = (values[:, None, None, None] - f).mean(axis=2)
    effects = hide_each(word_shares, values)
    agreement = [
        [_tau(one, effect) for one in several]
        for several, effect in zip(ranked, effects, strict=True)
    ]
    return np.stack([falls[..., 0], falls[..., 1], np.array(agreement)])


def _tau(scores: np.ndarray, effects: np.ndarray) -> float:
    """Return Kendall's tau; NaN where all of one side are equal."""
    if len(scores) < 2 or np.ptp(scores) == 0 or np.ptp(effects) == 0:
        return np.nan
    return float(kendalltau(scores, effects).statistic)
