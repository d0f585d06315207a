"""What "auto" stands for: how fast, how long, and on how many texts at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sklearn_bert.text._columns import as_python

BATCH_SIZE = 32
# For the width of the default checkpoint. Wider models want a lower rate: 5e-5 to 2e-5
# are the rates of Devlin et al. (2019, appendix A.3) for widths of 768 and 1,024.
RATE, WIDTH = 1e-4, 384
LEAST_EPOCHS = 3
# 48 texts have 30 updates, others in line with the cube root of their number.
UPDATES, REFERENCE_TEXTS = 30, 48
# Labels are few up to so many texts per class, and where texts can be contrasted up to
# so many in all, if each class has as many: a rarer one would be repeated too often.
FEW_PER_CLASS, FEW_TEXTS = 64, 2_000
# Weight of the contrast, where the cross-entropy has 1. That of few texts per class is
# lambda / (1 - lambda), with the lambda of 0.9 of B. Gunel et al. ("Supervised
# Contrastive Learning for Pre-trained Language Model Fine-tuning", ICLR 2021). Two
# classes gain nothing by it, nor do more texts (docs/defaults.rst).
CONTRAST_WEIGHT, FEW_CONTRAST_WEIGHT = 1.0, 9.0


@dataclass(frozen=True)
class Recipe:
    """How a fit trains: what was asked for, and what "auto" came to.

    Attributes
    ----------
    learning_rate : float
    max_epochs : int
    batch_size : int
    has_few_labels : bool
        Whether classes are to be equally frequent in each batch, and the head is to be
        fitted again at the end.
    leans : bool
        Whether the head is to lean to the more frequent classes where the texts hardly
        tell them apart.
    contrast_weight : float
        Of the contrast of the texts, where the cross-entropy has 1; 0: there is none.
    """

    learning_rate: float
    max_epochs: int
    batch_size: int
    has_few_labels: bool = False
    leans: bool = False
    contrast_weight: float = 0.0

    def attributes(self) -> dict[str, Any]:
        """Return what a fitted estimator publishes of it."""
        return {
            "learning_rate_": self.learning_rate,
            "max_epochs_": self.max_epochs,
            "batch_size_": self.batch_size,
        }

    def untrained(self) -> Recipe:
        """Return the same without an epoch: nothing is trained but the head."""
        return replace(
            self,
            learning_rate=0.0,
            max_epochs=0,
            has_few_labels=False,
            leans=False,
            contrast_weight=0.0,
        )

    @classmethod
    def of(
        cls,
        estimator: Any,
        n_texts: int,
        width: int,
        is_partial: bool = False,
        *,
        class_counts: np.ndarray | None = None,
        has_vectors: bool = False,
    ) -> Recipe:
        """Choose what the estimator leaves to "auto".

        Parameters
        ----------
        estimator : BertEstimator
        n_texts : int
            To train on.
        width : int
            Of the checkpoint's vectors.
        class_counts : ndarray of shape (n_classes,), or None
            Texts of each class; None: there is not one class per text.
        has_vectors : bool
            Whether there are vectors that could be contrasted.
        is_partial : bool
            Whether there is one epoch, with more to come.
        """
        batch_size = estimator.batch_size
        if batch_size == "auto":
            batch_size = min(BATCH_SIZE, n_texts)
        is_auto = estimator.max_epochs == "auto" and not is_partial
        has_few_labels, leans, contrast_weight = False, False, 0.0
        if is_auto and class_counts is not None:
            n_classes = len(class_counts)
            leans = n_texts <= FEW_PER_CLASS * n_classes
            may_repeat = n_texts <= FEW_TEXTS and class_counts.min() >= FEW_PER_CLASS
            has_few_labels = leans or (has_vectors and may_repeat)
            if has_few_labels and has_vectors:
                is_heavy = leans and n_classes > 2
                contrast_weight = FEW_CONTRAST_WEIGHT if is_heavy else CONTRAST_WEIGHT
        learning_rate = estimator.learning_rate
        if learning_rate == "auto":
            learning_rate = RATE * min(1.0, WIDTH / width)
        max_epochs = 1 if is_partial else estimator.max_epochs
        if is_auto:
            n_updates = UPDATES * math.cbrt(n_texts / REFERENCE_TEXTS)
            per_epoch = math.ceil(n_texts / batch_size)
            max_epochs = max(LEAST_EPOCHS, round(n_updates / per_epoch))
        return cls(
            as_python(learning_rate),
            as_python(max_epochs),
            as_python(batch_size),
            has_few_labels,
            leans,
            contrast_weight,
        )
