"""A fitted estimator as a folder of transformers, which servers read as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import is_regressor

from sklearn_bert.estimators._base import BertEstimator
from sklearn_bert.model._transformers_layout import (
    Head,
    as_transformers,
    plain_scores,
    write_transformers,
)
from sklearn_bert.text._input import Texts
from sklearn_bert.text._words import tokenize_words
from sklearn_bert.training._net import BertNet

# The largest difference between the scores of the folder and those of the estimator: in
# probability, or in the standard deviation of a target.
TOLERANCE = 1e-5
# What they are compared on.
SENTENCES = (
    "the parcel came two days late and the box was broken",
    "a great film that I would see again at once",
    "please tell me how to change the address of my order",
    "no",
    "Größere Straßen gefallen mir",
)
LONG = "it was a long day and nobody answered the phone"
TIMES = 60  # more than most models read, so that it is cut


def write_for_transformers(estimator: BertEstimator, draft: Path) -> None:
    """Write the folder, and compare what it says in plain transformers.

    Raises
    ------
    ValueError
        If transformers cannot say what the estimator says.
    """
    head = head_of(estimator)
    network = as_transformers(estimator.net_.module, head)
    tokenizer = estimator.tokenizer_
    write_transformers(network, draft, tokenizer, of_words=head.of_words)
    difference = largest_difference(estimator, head, draft)
    if not difference <= TOLERANCE:
        raise ValueError(
            f"layout='transformers' cannot hold this estimator: in plain transformers "
            f"its scores of built-in sentences differ by {difference:.1e}, more than "
            f"{TOLERANCE:.0e}; nothing was written. Save it with the default layout."
        )


def head_of(estimator: Any) -> Head:
    """Return what transformers has to know of the targets.

    Raises
    ------
    ValueError
        If the estimator has no head of transformers, or reads texts as no tokenizer of
        transformers does.
    """
    if not (is_regressor(estimator) or hasattr(estimator, "classes_")):
        raise ValueError(
            "layout='transformers' is for classifiers and regressors, not for "
            f"{type(estimator).__name__}: transformers and sentence-transformers open "
            "what the default layout writes of it. Nothing was written."
        )
    if estimator.tokenizer_.long_text != "truncate":
        raise ValueError(
            "layout='transformers' cannot hold this estimator: long_text is "
            f"{estimator.tokenizer_.long_text!r}, and a tokenizer of transformers "
            "keeps the beginning of a long text; nothing was written. Fit with "
            "long_text='truncate', or save it with the default layout."
        )
    if is_regressor(estimator):
        scale = np.asarray(estimator.target_scale_, dtype=np.float64)
        mean = np.asarray(estimator.target_mean_, dtype=np.float64)
        return Head(scale, mean, None, "regression", of_words=False)
    labels = [str(label) for label in estimator.classes_.tolist()]
    if len(set(labels)) < len(labels):
        raise ValueError(
            f"layout='transformers' names classes by text, and two of "
            f"{estimator.classes_.tolist()} read the same; nothing was written. Fit "
            "with other labels, or save it with the default layout."
        )
    temperature = getattr(estimator, "temperature_", 1.0)
    factor = np.full(len(labels), 1 / temperature)
    of_words = not hasattr(estimator, "pooling")
    several = getattr(estimator, "multilabel_", False)
    kind = f"{'multi' if several else 'single'}_label_classification"
    return Head(
        factor, np.zeros(len(labels)), labels, None if of_words else kind, of_words
    )


def largest_difference(estimator: BertEstimator, head: Head, folder: Path) -> float:
    """Return how far the scores of the folder are from the estimator's, at most.

    Both are computed in float32 on the CPU.
    """
    tokenizer = estimator.tokenizer_
    settings = estimator.net_.settings() | {"placement": "cpu", "precision": "float32"}
    net = BertNet(estimator.net_.module, **settings)
    rows: list[Any] = [*SENTENCES, " ".join([LONG] * TIMES)]
    if head.of_words:
        rows = [row.split() for row in SENTENCES]
        # Of a long sentence, which we read in windows, it reads the beginning.
        counts = tokenize_words(tokenizer, rows).row_counts
        rows = [row for row, n in zip(rows, counts, strict=True) if n == 1]
        own = net.scores(tokenize_words(tokenizer, rows))
    else:
        texts = Texts(rows, None, 1, False)
        if _reads_pairs(estimator):
            texts = Texts(rows, rows[::-1], 2, False)
        rows = texts.rows()
        own = net.scores(tokenizer(texts, remember=False), remember=False)
    found = plain_scores(folder, rows, of_words=head.of_words)
    plain = np.concatenate(found) if head.of_words else np.stack(found)
    own = own.astype(np.float64) * head.factor + head.shift
    plain = plain.astype(np.float64)
    if head.problem_type == "regression":
        # A float32 far from 0 has few digits behind the point.
        unit = head.factor + np.abs(head.shift) / 10
        return float((np.abs(plain - own) / unit).max())
    if head.problem_type == "multi_label_classification":
        return float(np.abs(expit(plain) - expit(own)).max())
    return float(np.abs(softmax(plain, axis=1) - softmax(own, axis=1)).max())


def _reads_pairs(estimator: Any) -> bool:
    return estimator.n_features_in_ == 2 and estimator._template is None
