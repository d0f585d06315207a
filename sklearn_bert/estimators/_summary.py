"""What matters after a fit, in one line: for notebooks and the command line."""

from __future__ import annotations

import os
from typing import Any

import numpy as np


def summary(estimator: Any) -> str:
    """Return classes, rows, epochs, the best score, device and checkpoint.

    Parameters
    ----------
    estimator : estimator of this package
        Fitted.
    """
    fitted = vars(estimator)
    parts = []
    if "classes_" in fitted:
        parts.append(_count(len(estimator.classes_), "class", "classes"))
    if "n_texts" in (report := fitted.get("truncation_report_", {})):
        parts.append(_count(report["n_texts"], "text", "texts"))
    if history := fitted.get("history_"):
        parts.append(_count(len(history), "epoch", "epochs"))
        parts.append(best_score(history))
    elif fitted.get("max_epochs_") == 0:
        parts.append("the head alone")
    if getattr(estimator, "pooling_", None) == "similarity":
        parts.append("similarity of pairs")
    parts.append(str(estimator.net_.device))
    name = estimator.checkpoint
    parts.append("random weights" if name is None else os.fspath(name))
    return ", ".join(part for part in parts if part)


def best_score(history: list[dict[str, Any]]) -> str:
    """Return the best score of the validation, or else the last loss of the training.

    Parameters
    ----------
    history : list of dict
        `history_`.
    """
    last = history[-1]
    scored = [
        epoch for epoch in history if np.isfinite(epoch.get("valid_score", np.nan))
    ]
    if scored:
        best = max(scored, key=lambda epoch: epoch["valid_score"])
        return f"valid_score {best['valid_score']:.3g} in epoch {best['epoch']}"
    return f"train_loss {last['train_loss']:.3g}" if "train_loss" in last else ""


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
