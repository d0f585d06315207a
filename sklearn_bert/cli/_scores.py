"""How good predictions are: a dict for programs, and lines for people."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import (
    classification_report,
    confusion_matrix,
    log_loss,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from sklearn_bert.cli._answers import answers


def scores_of(model: Any, X: Any, y: np.ndarray) -> tuple[dict[str, Any], str]:
    """Return scores of a classifier (one label per text) or a regressor.

    Parameters
    ----------
    model : fitted estimator, or its export
    X : as the model takes it
    y : ndarray of shape (n_texts,)

    Returns
    -------
    dict
        To be written as JSON.
    str
        The same in lines.
    """
    predicted, proba = answers(model, X)
    if np.ndim(predicted) != 1:
        raise ValueError(
            "the model predicts several labels or numbers per text; expected one. "
            "Score it in Python."
        )
    if proba is None:
        return _of_numbers(y, predicted)
    return _of_labels(y, predicted, proba, model.classes_)


def _of_numbers(y: np.ndarray, predicted: np.ndarray) -> tuple[dict[str, Any], str]:
    scores = {
        "rows": len(y),
        # Of one row there is none.
        "r2": r2_score(y, predicted) if len(y) > 1 else None,
        "mean_absolute_error": mean_absolute_error(y, predicted),
        "root_mean_squared_error": root_mean_squared_error(y, predicted),
    }
    lines = [
        f"{name.replace('_', ' '):24}{value:.4g}"
        for name, value in scores.items()
        if value is not None
    ]
    return scores, "\n".join(lines)


def _of_labels(
    y: np.ndarray, predicted: np.ndarray, proba: np.ndarray, classes: Any
) -> tuple[dict[str, Any], str]:
    report = classification_report(y, predicted, output_dict=True, zero_division=0)
    names = [str(label) for label in np.asarray(classes).tolist()]
    # A label of a single row may have been held out, so that the model lacks it.
    is_known = bool(np.isin(y, classes).all())
    loss = log_loss(y, proba, labels=classes) if is_known else None
    scores = {
        "rows": len(y),
        "accuracy": float(np.mean(y == predicted)),
        "f1_macro": report["macro avg"]["f1-score"],
        "log_loss": loss,
        "classes": {name: report[name] for name in names if name in report},
        "confusion": {
            "labels": names,
            "counts": confusion_matrix(y, predicted, labels=classes).tolist(),
        },
    }
    lines = classification_report(y, predicted, zero_division=0)
    return scores, lines if loss is None else f"{lines}\nlog loss {loss:.4f}"
