"""What a classifier gets wrong, in numbers: scores, doubtful labels, calibration."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Z = 1.959964  # of an interval of 95 %
N_BINS = 10  # of confidence
N_GROUPS = 5  # of length


@dataclass(frozen=True)
class Mistakes:
    """Labels of texts beside the probabilities of their classes.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
    labels : ndarray of shape (n_texts,), int64
        The column of each label.
    proba : ndarray of shape (n_texts, n_classes), float64
    """

    classes: np.ndarray
    labels: np.ndarray
    proba: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """The column of the likeliest class."""
        return self.proba.argmax(axis=1)

    @functools.cached_property
    def is_wrong(self) -> np.ndarray:
        """Whether another class than the label is predicted."""
        return self.predicted != self.labels

    @functools.cached_property
    def of_label(self) -> np.ndarray:
        """The probability of the label."""
        return self.proba[np.arange(len(self)), self.labels]

    @functools.cached_property
    def confidence(self) -> np.ndarray:
        """The probability of the predicted class."""
        return self.proba.max(axis=1)

    @functools.cached_property
    def losses(self) -> np.ndarray:
        """The logarithmic loss of each text."""
        return -np.log(np.maximum(self.of_label, np.finfo(np.float64).tiny))

    @functools.cached_property
    def margins(self) -> np.ndarray:
        """How far the label is above the likeliest other class, from -1 to 1."""
        others = self.proba.copy()
        others[np.arange(len(self)), self.labels] = -np.inf
        return self.of_label - others.max(axis=1)

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """The confusion matrix: texts by label and predicted class."""
        n = len(self.classes)
        cells = np.bincount(self.labels * n + self.predicted, minlength=n * n)
        return cells.reshape(n, n)

    def scores(self) -> pd.DataFrame:
        """Return precision, recall and F1 of each class, with intervals of 95 %.

        F1 is 2 J / (1 + J), where J is the share of texts that are of the class and
        predicted so, among those that are either: its interval is that of J.
        """
        hits = np.diag(self.counts)
        support, n_predicted = self.counts.sum(axis=1), self.counts.sum(axis=0)
        columns: dict[str, np.ndarray] = {}
        for name, n in [
            ("precision", n_predicted),
            ("recall", support),
            ("f1", support + n_predicted - hits),
        ]:
            found = [share(hits, n), *wilson(hits, n)]
            if name == "f1":
                found = [2 * one / (1 + one) for one in found]
            keys = [name, f"{name}_low", f"{name}_high"]
            columns |= dict(zip(keys, found, strict=True))
        index = pd.Index(self.classes, name="class")
        return pd.DataFrame({**columns, "support": support}, index=index)

    def suspects(self) -> np.ndarray:
        """Return the texts whose labels are most likely wrong, the likeliest first.

        How many there are is estimated by confident learning.
        """
        with warnings.catch_warnings():  # its import silences those of all packages
            from cleanlab.filter import find_label_issues

        if len(np.unique(self.labels)) < 2:
            return np.zeros(0, dtype=np.int64)  # nothing to be mixed up with
        found = find_label_issues(
            self.labels,
            self.proba,
            filter_by="low_self_confidence",
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
        )
        return np.asarray(found, dtype=np.int64)

    def calibration(self) -> pd.DataFrame:
        """Return how often predictions of like confidence are right.

        Columns: `confidence` on average, `accuracy` with `low` and `high`, and `n`.
        """
        bins = np.minimum((self.confidence * N_BINS).astype(int), N_BINS - 1)
        return self._by_group(bins, N_BINS, confidence=self.confidence)

    def calibration_error(self) -> float:
        """Return the expected calibration error, ECE, over bins of equal width."""
        found = self.calibration()
        gaps = (found["accuracy"] - found["confidence"]).abs()
        return float((gaps * found["n"]).sum() / len(self))

    def by_length(self, lengths: np.ndarray, is_cut: np.ndarray) -> pd.DataFrame:
        """Return how often predictions are right by length, in groups of like size.

        Columns: `shortest` and `longest` in tokens, `n_cut`, `accuracy`, `low`, `high`
        and `n`.
        """
        inner = np.linspace(0, 1, N_GROUPS + 1)[1:-1]
        groups = np.searchsorted(np.unique(np.quantile(lengths, inner)), lengths)
        frame = self._by_group(groups, N_GROUPS, n_cut=is_cut)
        of_group = pd.Series(lengths).groupby(groups)
        frame["n_cut"] = (frame["n_cut"] * frame["n"]).round().astype(int)
        return frame.assign(
            shortest=of_group.min().to_numpy(), longest=of_group.max().to_numpy()
        )

    def _by_group(self, groups: np.ndarray, n_groups: int, **more: Any) -> pd.DataFrame:
        """Return the accuracy of each group that has a text, and means of more."""
        n = np.bincount(groups, minlength=n_groups)
        hits = np.bincount(groups, ~self.is_wrong, minlength=n_groups)
        low, high = wilson(hits, n)
        means = {
            name: share(np.bincount(groups, values, minlength=n_groups), n)
            for name, values in more.items()
        }
        columns = {"accuracy": share(hits, n), "low": low, "high": high, "n": n}
        frame = pd.DataFrame({**means, **columns})
        return frame[frame["n"] > 0].reset_index(drop=True)


def share(hits: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return hits / n, NaN where n is 0."""
    return np.where(n > 0, hits / np.maximum(n, 1), np.nan)


def wilson(hits: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's interval of 95 % for shares of n; NaN where n is 0.

    Unlike a bootstrap it has a width where a class of three texts is always right.
    """
    safe = np.maximum(n, 1)
    mean = hits / safe
    center = (mean + Z**2 / (2 * safe)) / (1 + Z**2 / safe)
    root = np.sqrt(mean * (1 - mean) / safe + Z**2 / (4 * safe**2))
    half = Z * root / (1 + Z**2 / safe)
    bounds = np.clip(np.stack([center - half, center + half]), 0, 1)
    low, high = np.where(n > 0, bounds, np.nan)
    return low, high
