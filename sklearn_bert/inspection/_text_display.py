"""`TextAttributionDisplay`: texts whose words are coloured by their scores."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import pandas as pd

from sklearn_bert.inspection._explain import check_explanation, explain
from sklearn_bert.inspection._html import to_html
from sklearn_bert.inspection._plotting import AGAINST, FOR, opacity, pyplot

FONT_SIZE = 11  # points
LINE = 1.7 * FONT_SIZE / 72  # inches


class Passage(NamedTuple):
    """One text, or a part of it, with the scores of its words for a target."""

    heading: str
    words: list[tuple[str, float]]  # with the spaces behind each
    largest: float  # score of the text, without its sign
    is_rtl: bool  # read from right to left


class TextAttributionDisplay:
    """Texts whose words are coloured by their scores.

    Orange words speak for the target, blue ones against it: the stronger, the closer a
    score is to the largest of its text. In a notebook the display is HTML.

    Use `from_estimator` or `from_explanation` to make one.

    Parameters
    ----------
    explanation : DataFrame
        What `explain` gives.

    Attributes
    ----------
    ax_ : matplotlib Axes
        After `plot`.
    figure_ : matplotlib Figure
    words_ : list of matplotlib Text
        The words that are drawn.

    Examples
    --------
    >>> from sklearn_bert import BertClassifier
    >>> from sklearn_bert.inspection import TextAttributionDisplay
    >>> X = ["I like it.", "It was great!", "I hate it.", "It was awful!"]
    >>> y = ["good", "good", "bad", "bad"]
    >>> clf = BertClassifier(trainable="head").fit(X, y)
    >>> display = TextAttributionDisplay.from_estimator(
    ...     clf, ["What a great film!"], method="gradient"
    ... )
    >>> "great" in display._repr_html_()
    True
    """

    def __init__(self, explanation: pd.DataFrame) -> None:
        self.explanation = explanation

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        method: str = "integrated_gradients",
        target: Any = "predicted",
        n_steps: int = 32,
        ax: Any = None,
    ) -> Self:
        """Explain texts, and plot them.

        Parameters
        ----------
        estimator, X, method, target, n_steps
            As in `explain`.
        ax : matplotlib Axes, default=None
            None: those of a new figure.

        Returns
        -------
        TextAttributionDisplay
        """
        found = explain(estimator, X, method=method, target=target, n_steps=n_steps)
        return cls.from_explanation(found, ax=ax)

    @classmethod
    def from_explanation(cls, explanation: pd.DataFrame, *, ax: Any = None) -> Self:
        """Plot texts that are explained.

        Parameters
        ----------
        explanation : DataFrame
            What `explain` gives, or some of its rows.
        ax : matplotlib Axes, default=None
            None: those of a new figure.

        Returns
        -------
        TextAttributionDisplay
        """
        check_explanation(explanation)
        return cls(explanation).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the texts on axes, in lines as wide as these.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: those of a new figure, as high as the texts.

        Returns
        -------
        TextAttributionDisplay
        """
        plt = pyplot(self)
        if ax is None:
            passages = list(self._passages())
            n_letters = sum(len(word) for p in passages for word, _ in p.words)
            height = 0.3 + LINE * (1 + 2.8 * len(passages) + n_letters / 100)
            # Not "constrained": the lines are as wide as the axes are now.
            ax = plt.figure(figsize=(8, height)).add_axes((0.02, 0.02, 0.96, 0.96))
        ax.set_axis_off()
        self.ax_, self.figure_ = ax, ax.figure
        self.words_: list[Any] = []
        # In pixels, from the upper left.
        box = ax.get_window_extent()
        line = LINE * ax.figure.dpi
        top = box.height - line / 2
        for passage in self._passages():
            self._draw(passage.heading, 0, top / box.height, fontstyle="italic")
            top = self._draw_words(passage, box, top - line, line)
            top -= 1.3 * line
        return self

    def _draw_words(self, passage: Passage, box: Any, top: float, line: float) -> float:
        """Draw the words of a passage, and return where its last line lies."""
        left = 0.0
        for word, score in passage.words:
            shown = self._draw(word.strip(), 0, 0)
            strength = opacity(score, passage.largest)
            shown.set_bbox(
                {
                    "boxstyle": "square,pad=0.15",
                    "facecolor": FOR if score > 0 else AGAINST,
                    "alpha": strength,
                    "linewidth": 0,
                }
            )
            width = shown.get_window_extent().width
            if left and left + width > box.width:
                left, top = 0.0, top - line
            # From the right edge, where the text is read so.
            x = box.width - left - width if passage.is_rtl else left
            shown.set_position((x / box.width, top / box.height))
            space = 0.35 * FONT_SIZE if word[-1:].isspace() else 0.05 * FONT_SIZE
            left += width + space * self.figure_.dpi / 72
            self.words_.append(shown)
        return top

    def _draw(self, text: str, x: float, y: float, **options: Any) -> Any:
        return self.ax_.text(
            x,
            y,
            text,
            transform=self.ax_.transAxes,
            fontsize=FONT_SIZE,
            verticalalignment="center",
            parse_math=False,
            **options,
        )

    def _passages(self) -> Iterator[Passage]:
        """Yield what is shown, text by text."""
        frame = self.explanation
        has_parts = frame["part"].gt(0).any()
        for (text, target), of_text in frame.groupby(["text", "target"], sort=False):
            largest = float(of_text["score"].abs().max())
            for part, rows in of_text.groupby("part", sort=False):
                side = f", part {part}" if has_parts else ""
                total = f"{rows['score'].sum():+.2f}"
                heading = f"text {text}{side}, target {target}: scores {total}"
                words = list(spaced(rows))
                joined = "".join(word for word, _ in words)
                yield Passage(heading, words, largest, is_right_to_left(joined))

    def _repr_html_(self) -> str:
        """Return the texts as a fragment of HTML, for notebooks and reports."""
        return to_html(self._passages())


def spaced(rows: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """Yield each word with the spaces behind it, and its score."""
    starts = [*rows["start"].iloc[1:], rows["end"].iloc[-1]]
    for word, end, following, score in zip(
        rows["word"], rows["end"], starts, rows["score"], strict=True
    ):
        yield word + " " * min(1, max(0, following - end)), score


def is_right_to_left(text: str) -> bool:
    """Tell whether the first letter with a direction is read from right to left."""
    for character in text:
        direction = unicodedata.bidirectional(character)
        if direction in ("L", "R", "AL"):
            return direction != "L"
    return False
