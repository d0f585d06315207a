"""A linear model of fixed vectors, for a head to start from.

A. Kumar et al., "Fine-Tuning Can Distort Pretrained Features and Underperform
Out-of-Distribution", ICLR 2022: a head that is fitted first leaves the encoder less to
spoil.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, cross_val_predict

# Inverse strength of the penalty, for vectors of length 1.
STRENGTH = 10.0
# Rows that a probe is fitted on; more would change a start little, and take seconds.
MOST_ROWS = 2_000


def class_probe(
    vectors: np.ndarray, codes: np.ndarray, weights: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression of classes.

    Parameters
    ----------
    vectors : ndarray of shape (n_texts, width)
        As the head gets them.
    codes : ndarray of shape (n_texts,)
    weights : ndarray of shape (n_texts,)
    n_classes : int

    Returns
    -------
    weight : ndarray of shape (n_classes, width)
    bias : ndarray of shape (n_classes,)
        Of a class without a text both are 0.
    """
    width = vectors.shape[1]
    weight, bias = np.zeros((n_classes, width)), np.zeros(n_classes)
    found = np.unique(codes)
    if len(found) < 2:
        return weight, bias
    model = _logistic(vectors, codes, weights)
    if len(found) == 2:  # one row for both: its half, with either sign
        weight[found] = np.concatenate([-model.coef_, model.coef_]) / 2
        bias[found] = np.concatenate([-model.intercept_, model.intercept_]) / 2
    else:
        weight[found], bias[found] = model.coef_, model.intercept_
    return weight, bias


def label_probe(
    vectors: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit one logistic regression per label, of texts that have any number of them.

    Parameters
    ----------
    vectors : ndarray of shape (n_texts, width)
    targets : ndarray of shape (n_texts, n_labels), of 0 and 1
    weights : ndarray of shape (n_texts,) or (n_texts, n_labels)

    Returns
    -------
    weight : ndarray of shape (n_labels, width)
    bias : ndarray of shape (n_labels,)
        Of a label that all or none of n texts have, the weight is 0, and the bias the
        logit of (n + 1/2) / (n + 1), or of what is left of 1: the estimate of H.
        Jeffreys, "Theory of Probability" (1939), for the share of such texts.
    """
    n_labels, width = targets.shape[1], vectors.shape[1]
    weight, bias = np.zeros((n_labels, width)), np.zeros(n_labels)
    weights = np.broadcast_to(weights.reshape(len(targets), -1), targets.shape)
    for label in range(n_labels):
        column = targets[:, label].astype(np.int64)
        if 0 < column.sum() < len(column):
            model = _logistic(vectors, column, weights[:, label])
            weight[label], bias[label] = model.coef_[0], model.intercept_[0]
        else:
            # No start at 1/2: few updates would leave the label far too likely.
            sign = 1 if column.any() else -1
            bias[label] = sign * np.log(2 * weights[:, label].sum() + 1)
    return weight, bias


def number_probe(
    vectors: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a ridge regression of standardised numbers.

    Parameters
    ----------
    vectors : ndarray of shape (n_texts, width)
    targets : ndarray of shape (n_texts, n_targets)
    weights : ndarray of shape (n_texts,)

    Returns
    -------
    weight : ndarray of shape (n_targets, width)
    bias : ndarray of shape (n_targets,)
    """
    model = Ridge(alpha=1.0)
    model.fit(vectors / np.sqrt(vectors.shape[1]), targets, sample_weight=weights)
    weight = np.reshape(model.coef_, (targets.shape[1], -1))
    return weight / np.sqrt(vectors.shape[1]), np.ravel(model.intercept_)


def variance_explained(vectors: np.ndarray, targets: np.ndarray, seed: int) -> float:
    """Say what share of the variance of standardised numbers a ridge regression knows.

    Parameters
    ----------
    vectors : ndarray of shape (n_texts, width)
    targets : ndarray of shape (n_texts, n_targets)
    seed : int
        Of the folds.

    Returns
    -------
    float
        The R2 of cross-validated regressions; 0 where nothing varies.
    """
    X = vectors / np.sqrt(vectors.shape[1])
    folds = KFold(min(5, len(X)), shuffle=True, random_state=seed % 2**32)
    predicted = cross_val_predict(Ridge(alpha=1.0), X, targets, cv=folds)
    variance = float(targets.var(axis=0).mean())
    # Of one target scikit-learn predicts a column of no width.
    error = float(np.square(targets - predicted.reshape(targets.shape)).mean())
    return 1 - error / variance if variance > 0 else 0.0


def _logistic(
    vectors: np.ndarray, codes: np.ndarray, weights: np.ndarray
) -> LogisticRegression:
    """Fit a regression of two or more classes, for vectors as they come."""
    # The penalty is meant for vectors of length 1; these have the length sqrt(width).
    length = np.sqrt(vectors.shape[1])
    # Loosely, for it is only where a training starts.
    model = LogisticRegression(C=STRENGTH, tol=1e-3, max_iter=1_000)
    model.fit(vectors / length, codes, sample_weight=weights)
    model.coef_ = model.coef_ / length
    return model
