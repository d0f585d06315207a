"""`TrainingHistoryDisplay`: what a fit has recorded of its epochs."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_bert.inspection._plotting import pyplot

PANELS = {
    "loss": {"train_loss": "training", "valid_loss": "validation"},
    "score": {"valid_score": "validation"},
    "learning rate": {"learning_rate": "at the end of the epoch"},
}


class TrainingHistoryDisplay:
    """Plot of losses, scores and the learning rate, epoch by epoch.

    Use `from_estimator` to make one.

    Parameters
    ----------
    history : list of dict
        `history_` of an estimator.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes
        One for each panel: the loss, the validation's score if there is one, and the
        learning rate.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn_bert import BertClassifier
    >>> from sklearn_bert.inspection import TrainingHistoryDisplay
    >>> X = ["I like it.", "It was great!", "I hate it.", "It was awful!"]
    >>> y = ["good", "good", "bad", "bad"]
    >>> clf = BertClassifier(trainable="head").fit(X, y)
    >>> display = TrainingHistoryDisplay.from_estimator(clf)
    >>> [ax.get_ylabel() for ax in display.ax_]
    ['loss', 'learning rate']
    """

    def __init__(self, history: list[dict[str, float]]) -> None:
        self.history = history

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Plot the history of a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator
            With `history_`.
        ax : matplotlib Axes, default=None
            As in `plot`.

        Returns
        -------
        TrainingHistoryDisplay
        """
        check_is_fitted(estimator)
        history = getattr(estimator, "history_", None)
        if not history:
            raise ValueError(
                f"this {type(estimator).__name__} has no history_ of a training; "
                "expected an estimator that has learnt in fit."
            )
        return cls(history).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Plot the history.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            It is divided into panels. None: a new figure.

        Returns
        -------
        TrainingHistoryDisplay
        """
        plt = pyplot(self)
        panels = [
            (label, {key: name for key, name in lines.items() if self._has(key)})
            for label, lines in PANELS.items()
        ]
        panels = [(label, lines) for label, lines in panels if lines]
        if ax is None:
            size = (4 * len(panels), 3)
            _, ax = plt.subplots(figsize=size, layout="constrained")
        ax.set_axis_off()
        self.figure_ = ax.figure
        grid = ax.get_subplotspec().subgridspec(1, len(panels), wspace=0.4)
        self.ax_ = np.array([self.figure_.add_subplot(cell) for cell in grid])
        epochs = [epoch["epoch"] for epoch in self.history]
        for panel, (label, lines) in zip(self.ax_, panels, strict=True):
            for key, name in lines.items():
                values = [epoch.get(key, np.nan) for epoch in self.history]
                panel.plot(epochs, values, marker="o", label=name)
            panel.set(xlabel="epoch", ylabel=label)
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.legend()
        return self

    def _has(self, key: str) -> bool:
        return any(key in epoch for epoch in self.history)
