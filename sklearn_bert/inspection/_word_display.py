"""`WordImportanceDisplay`: which words count over many texts."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from sklearn.utils import check_random_state

from sklearn_bert.inspection._explain import check_explanation, explain
from sklearn_bert.inspection._plotting import AGAINST, FOR, pyplot
from sklearn_bert.text._columns import excerpt


class WordImportanceDisplay:
    """Bar plot of the words with the highest mean scores over many texts.

    Words count alike in lower and upper case. Use `from_estimator` or
    `from_explanation` to make one.

    Parameters
    ----------
    importances : DataFrame
        A row for each word and target, the highest means, of either sign, first:
        `word`, `target`, `mean` (of the scores of all its occurrences), `count` (of
        them), and `low` and `high`, an interval of 95 % for the mean: by bootstrap over
        texts, so that several occurrences in a text are not taken for independent.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    bars_ : matplotlib BarContainer

    Examples
    --------
    >>> from sklearn_bert import BertClassifier
    >>> from sklearn_bert.inspection import WordImportanceDisplay
    >>> X = ["I like it.", "It was great!", "I hate it.", "It was awful!"]
    >>> y = ["good", "good", "bad", "bad"]
    >>> clf = BertClassifier(trainable="head").fit(X, y)
    >>> display = WordImportanceDisplay.from_estimator(
    ...     clf, X, target="good", n_words=3, min_count=2, random_state=0
    ... )
    >>> len(display.importances)
    3
    """

    def __init__(self, importances: pd.DataFrame) -> None:
        self.importances = importances

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        method: str = "integrated_gradients",
        target: Any = "predicted",
        n_steps: int = 32,
        n_words: int = 20,
        min_count: int = 5,
        random_state: int | np.random.RandomState | None = None,
        ax: Any = None,
    ) -> Self:
        """Explain texts, and plot their words.

        Parameters
        ----------
        estimator, X, method, target, n_steps
            As in `explain`.
        n_words, min_count, random_state, ax
            As in `from_explanation`.

        Returns
        -------
        WordImportanceDisplay
        """
        return cls.from_explanation(
            explain(estimator, X, method=method, target=target, n_steps=n_steps),
            n_words=n_words,
            min_count=min_count,
            random_state=random_state,
            ax=ax,
        )

    @classmethod
    def from_explanation(
        cls,
        explanation: pd.DataFrame,
        *,
        n_words: int = 20,
        min_count: int = 5,
        random_state: int | np.random.RandomState | None = None,
        ax: Any = None,
    ) -> Self:
        """Plot the words of texts that are explained.

        Parameters
        ----------
        explanation : DataFrame
            What `explain` gives.
        n_words : int, default=20
            Most words to show.
        min_count : int, default=5
            Least occurrences of a word.
        random_state : int, RandomState instance or None, default=None
            Draws the bootstrap samples. None: others in each call.
        ax : matplotlib Axes, default=None
            None: those of a new figure.

        Returns
        -------
        WordImportanceDisplay
        """
        check_explanation(explanation)
        for name, number in [("n_words", n_words), ("min_count", min_count)]:
            if not isinstance(number, Integral) or number < 1:
                raise ValueError(
                    f"{name} is {excerpt(number)}; expected an integer from 1."
                )
        generator = check_random_state(random_state)
        found = word_importances(explanation, n_words, min_count, generator)
        return cls(found).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Plot the words as bars, with their intervals and counts.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: those of a new figure.

        Returns
        -------
        WordImportanceDisplay
        """
        plt = pyplot(self)
        shown = self.importances.iloc[::-1]  # the first on top
        if ax is None:
            size = (6, 1 + 0.3 * len(shown))
            _, ax = plt.subplots(figsize=size, layout="constrained")
        mean = shown["mean"].to_numpy()
        errors = np.stack([mean - shown["low"], shown["high"] - mean])
        has_targets = shown["target"].nunique() > 1
        names = [
            f"{word} → {target} ({count})" if has_targets else f"{word} ({count})"
            for word, target, count in zip(
                shown["word"], shown["target"], shown["count"], strict=True
            )
        ]
        self.bars_ = ax.barh(
            np.arange(len(shown)),
            mean,
            xerr=np.maximum(errors, 0),
            color=np.where(mean >= 0, FOR, AGAINST),
            error_kw={"elinewidth": 1, "ecolor": "gray"},
        )
        # A dollar would begin a formula.
        ax.set_yticks(range(len(shown)), labels=[n.replace("$", r"\$") for n in names])
        ax.axvline(0, color="gray", linewidth=0.8)
        one = "" if has_targets else f" for {shown['target'].iloc[0]}"
        ax.set_xlabel(f"mean score{one}, with its interval of 95 %")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def word_importances(
    explanation: pd.DataFrame,
    n_words: int,
    min_count: int,
    generator: np.random.RandomState,
    n_samples: int = 500,
) -> pd.DataFrame:
    """Return the mean scores of words, as `WordImportanceDisplay` has them.

    Raises
    ------
    ValueError
        Where every word is too rare.
    """
    frame = explanation.assign(word=explanation["word"].str.lower())
    grouped = frame.groupby(["word", "target"], sort=False)["score"]
    found = grouped.agg(["mean", "count"]).reset_index()
    found["key"] = np.arange(len(found))
    found = found[found["count"] >= min_count]
    if found.empty:
        raise ValueError(
            f"no word occurs {min_count} times in explanation; lower min_count."
        )
    order = found["mean"].abs().sort_values(ascending=False, kind="stable").index
    found = found.loc[order[:n_words]]
    # Sums and counts of the words by text; a sample weighs each text by how often it
    # was drawn.
    texts, text_of = np.unique(frame["text"], return_inverse=True)
    place = np.full(grouped.ngroups, -1)
    place[found["key"]] = np.arange(len(found))
    column = place[grouped.ngroup()]
    is_shown = column >= 0
    where = (text_of[is_shown], column[is_shown])
    shape = (len(texts), len(found))
    sums = csr_array((frame["score"].to_numpy()[is_shown], where), shape=shape)
    counts = csr_array((np.ones(is_shown.sum()), where), shape=shape)
    drawn = generator.multinomial(
        len(texts), np.full(len(texts), 1 / len(texts)), size=n_samples
    )
    n_drawn = drawn @ counts
    with np.errstate(invalid="ignore"):  # a sample may lack a word
        means = np.where(n_drawn > 0, (drawn @ sums) / n_drawn, np.nan)
    low, high = np.nanpercentile(means, [2.5, 97.5], axis=0)
    found = found.drop(columns="key").assign(low=low, high=high)
    return found.reset_index(drop=True)
