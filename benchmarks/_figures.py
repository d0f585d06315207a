"""How good probabilities are: scores, their logarithms, and their calibration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.metrics import f1_score

LEAST_PROBABILITY = 1e-6
N_BINS = 15


def class_figures(
    metric: Callable, classes: np.ndarray, truth: np.ndarray, proba: np.ndarray
) -> dict[str, float]:
    """Of one class per text; `classes` are those of the sample."""
    predicted = classes[proba.argmax(axis=1)]
    place = np.minimum(np.searchsorted(classes, truth), len(classes) - 1)
    of_truth = np.where(classes[place] == truth, proba[range(len(truth)), place], 0)
    return {
        "score": metric(truth, predicted),
        "macro_f1": f1_score(
            truth, predicted, labels=np.unique(truth), average="macro", zero_division=0
        ),
        "log_loss": log_loss(of_truth),
        "ece": calibration_error(proba.max(axis=1), predicted == truth),
    }


def label_figures(
    metric: Callable, truth: np.ndarray, proba: np.ndarray
) -> dict[str, float]:
    """Of several labels per text; the score is of labels that the test has."""
    has = truth.any(axis=0)
    return {
        "score": metric(truth[:, has], proba[:, has]),
        "macro_f1": f1_score(truth, proba >= 0.5, average="macro", zero_division=0),
        "log_loss": log_loss(np.where(truth == 1, proba, 1 - proba)),
        "ece": calibration_error(proba.ravel(), truth.ravel() == 1),
    }


def log_loss(proba_of_truth: np.ndarray) -> float:
    """Mean of the negative logarithms, of LEAST_PROBABILITY at least."""
    return float(-np.log(np.clip(proba_of_truth, LEAST_PROBABILITY, 1)).mean())


def calibration_error(proba: np.ndarray, happened: np.ndarray) -> float:
    """Distance of mean probability and share, in bins of equal width, by their rows."""
    bins = np.minimum((proba * N_BINS).astype(int), N_BINS - 1)
    return float(np.abs(np.bincount(bins, proba - happened)).sum() / len(proba))
