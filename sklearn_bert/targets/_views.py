"""Views for an embedder to learn from: of texts alone, of classes, or of pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_bert.targets._labels import OneOfSeveral, read_labels
from sklearn_bert.targets._numbers import read_numbers
from sklearn_bert.text._input import Texts
from sklearn_bert.text._table import TokenTable
from sklearn_bert.training._contrastive import (
    CoSENT,
    MultipleNegativesRanking,
    SupervisedContrastive,
)
from sklearn_bert.training._examples import ViewedExamples
from sklearn_bert.training._losses import Objective


@dataclass(frozen=True)
class PairedTexts:
    """Texts of which examples of two views are made, and what is learnt from them.

    Attributes
    ----------
    texts : Texts
        One column.
    targets : ndarray
        A row for each example.
    loss : Objective
    draw : callable
        From a generator to the views of an epoch: texts, of shape (n_examples, 2).
    """

    texts: Texts
    targets: np.ndarray
    loss: Objective
    draw: Callable[[np.random.Generator], np.ndarray]

    def examples(self, table: TokenTable, seed: int) -> ViewedExamples:
        """Return examples of the texts' table, whose views `seed` draws."""
        rng = np.random.default_rng(seed)
        return ViewedExamples.of(table, self.targets, lambda: self.draw(rng))


def same_twice(texts: Texts, temperature: float) -> PairedTexts:
    """Pair each text with itself, to be found again under another dropout."""
    distinct, number = texts.distinct()
    if len(distinct) < 2:
        raise ValueError(
            "objective='simcse' tells texts from each other, and X holds only one "
            f"({len(texts)} times); expected at least two that differ."
        )
    views = np.repeat(np.arange(len(texts))[:, None], 2, axis=1)
    # Equal texts have one number: the loss does not push them apart.
    targets = np.repeat(number[:, None], 2, axis=1)
    return PairedTexts(
        texts, targets, MultipleNegativesRanking(temperature), lambda rng: views
    )


def of_classes(texts: Texts, y: Any, temperature: float) -> PairedTexts:
    """Pair each text with another of its class, drawn anew for each epoch."""
    if y is None:
        raise ValueError(
            "objective='supervised' learns from classes, and y is None; pass the label "
            "of each text, or set objective='simcse' to learn without labels."
        )
    labels = read_labels(y, texts, None)
    if not isinstance(labels, OneOfSeveral):
        raise ValueError(
            "y is an indicator of several labels per text; objective='supervised' "
            "needs one class per text. Pass a column of labels."
        )
    codes = labels.encode(y)
    # Texts in the order of their classes: each class is a run, and the place in its run
    # plus a random step, modulo the length of the run, is another text of the class.
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    first = np.cumsum(counts) - counts
    place = np.empty(len(codes), dtype=np.int64)
    place[order] = np.arange(len(codes)) - first[codes[order]]

    def draw(rng: np.random.Generator) -> np.ndarray:
        size = counts[codes]
        # Any other of the class; of a class of one the text itself, twice.
        step = 1 + rng.integers(0, np.maximum(size - 1, 1))
        other = order[first[codes] + (place + step) % size]
        return np.column_stack([np.arange(len(codes)), other])

    return PairedTexts(texts, codes, SupervisedContrastive(temperature), draw)


def of_pairs(texts: Texts, y: Any, temperature: float) -> PairedTexts:
    """Take pairs that belong together, or that have a score each."""
    if texts.second is None:
        raise ValueError(
            "objective='pairs' learns from pairs of texts, and X has one column; "
            "expected two columns, or a list of 2-tuples."
        )
    n_pairs = len(texts)
    # The second texts stand behind the first ones: pair i is rows i and n_pairs + i.
    both = Texts(texts.first + texts.second, None, 1, texts.is_2d)
    views = np.arange(2 * n_pairs).reshape(2, n_pairs).T
    if y is None:
        number = both.distinct()[1].reshape(2, n_pairs).T
        if len(np.unique(number, axis=0)) < 2:
            raise ValueError(
                "objective='pairs' without y tells the second text of a pair from "
                f"those of others, and X has one pair ({n_pairs} times); expected two "
                "or more that differ, or scores in y."
            )
        return PairedTexts(
            both, number, MultipleNegativesRanking(temperature), lambda rng: views
        )
    scores, _ = read_numbers(y, texts)
    if scores.shape[1] != 1:
        raise ValueError(
            f"y has {scores.shape[1]} columns; expected one score per pair, or None "
            "where all pairs belong together."
        )
    # The loss knows only which score is higher, so ranks stand for numbers of any size.
    ranks = np.unique(scores[:, 0], return_inverse=True)[1].astype(np.float32)
    if not ranks.any():
        raise ValueError(
            f"y is {scores[0, 0]} for all {n_pairs} pairs, so there is no order to "
            "learn; pass scores that differ, or y=None where all pairs belong together."
        )
    return PairedTexts(both, ranks, CoSENT(temperature), lambda rng: views)
