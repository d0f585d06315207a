"""Compare what was exported with the estimator, text by text."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from sklearn_bert.datasets._support_tickets import load_support_tickets
from sklearn_bert.onnx._model import OnnxModel
from sklearn_bert.training._net import BertNet

N_BUILT_IN = 200
N_LONG = 4
# How far the answers in float32 may lie apart, because sums have another order:
# probabilities; numbers, in deviations of the target; vectors, by their length.
TOLERANCE = 1e-4


def check(
    estimator: Any, model: OnnxModel, texts: Any, quantize: str | None, most: float
) -> dict[str, Any]:
    """Return how the model's answers differ from the estimator's in float32.

    Parameters
    ----------
    estimator : fitted estimator
    model : OnnxModel
    texts : as X of the estimator; None: built-in ones
    quantize : {None, "int8"}
    most : float
        The share of labels that int8 may change.

    Raises
    ------
    ValueError
        Where they differ by more than is allowed.
    """
    reference = _in_float32(estimator)
    X = texts
    if texts is None:
        X = built_in(estimator)
        if getattr(estimator, "_template", None) is not None:
            for one in (reference, model):  # as if its columns were joined already
                one._template, one.n_features_in_ = None, 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # built-in texts are cut, or unknown, as may be
        found, seconds = _timed(lambda: _answers(model, X))
        expected, own_seconds = _timed(lambda: _answers(reference, X))
        report: dict[str, Any] = {
            "texts": "built-in" if texts is None else "given",
            "n_texts": len(X),
            "max_difference": _difference(estimator, expected, found),
        }
        if hasattr(estimator, "classes_"):
            same = _same_labels(reference, expected, found)
            report |= {"n_labels": len(same), "labels_changed": int((~same).sum())}
    report |= {
        "milliseconds_per_text": 1e3 * seconds / len(X),
        "milliseconds_per_text_of_the_estimator": 1e3 * own_seconds / len(X),
    }
    _refuse(report, quantize, most)
    return report


def _refuse(report: dict[str, Any], quantize: str | None, most: float) -> None:
    difference = report["max_difference"]
    which = f"{report['n_texts']} {report['texts']} texts"
    allowed = TOLERANCE if quantize is None else np.inf
    if not difference <= allowed:  # nor is NaN
        raise ValueError(
            f"the exported graph differs from the estimator by {difference:.2g} on "
            f"{which}; expected at most {allowed}. Nothing was written: this "
            "checkpoint cannot be exported by the installed versions of torch and onnx."
        )
    changed, n_labels = report.get("labels_changed", 0), report.get("n_labels", 1)
    # In float32 a label changes only where two are as probable.
    if quantize is not None and changed > most * n_labels:
        advice = "Export with quantize=None, or allow more."
        if report["texts"] == "built-in":
            advice += (
                " Or pass texts of the kind that is to be served: those of others "
            )
            advice += "are the first to change."
        raise ValueError(
            f"{quantize} changes {changed} of {n_labels} labels "
            f"({changed / n_labels:.1%}) of {which}, more than max_label_changes "
            f"({most}). Nothing was written. {advice}"
        )


def built_in(estimator: Any) -> Any:
    """Return texts of the form that an estimator takes: short ones, and a few long."""
    texts = load_support_tickets(as_frame=False).data[:N_BUILT_IN].tolist()
    size = len(texts) // (2 * N_LONG)
    texts += [" ".join(texts[i * size : (i + 1) * size]) for i in range(N_LONG)]
    if type(estimator).__name__ == "BertTokenClassifier":
        return [text.split() for text in texts]
    if estimator.n_features_in_ == 2 and estimator._template is None:
        return list(zip(texts, texts[1:] + texts[:1], strict=True))
    return texts


def _in_float32(estimator: Any) -> Any:
    """Return a copy that computes in float32 on the CPU; it shares the weights."""
    reference = copy.copy(estimator)
    settings = estimator.net_.settings()
    settings |= {"placement": "cpu", "precision": "float32", "fingerprint": None}
    reference.net_ = BertNet(estimator.net_.module, **settings)
    return reference


def _answers(model: Any, X: Any) -> Any:
    """Return what can be compared: probabilities, numbers or vectors."""
    for method in ("predict_proba", "predict", "transform"):
        if hasattr(model, method):
            found = getattr(model, method)(X)
            break
    # Of sentences: those of all words.
    return np.concatenate(found) if isinstance(found, list) else found


def _timed(compute: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return compute(), time.perf_counter() - start


def _difference(estimator: Any, expected: np.ndarray, found: np.ndarray) -> float:
    """Return the largest difference, in the units of `TOLERANCE`."""
    difference = np.abs(found - expected)
    if hasattr(estimator, "target_scale_"):
        difference = difference.reshape(len(found), -1) / estimator.target_scale_
    elif not hasattr(estimator, "classes_"):
        lengths = np.maximum(np.linalg.norm(expected, axis=1), 1e-9)
        difference = np.linalg.norm(found - expected, axis=1) / lengths
    return float(difference.max())


def _same_labels(estimator: Any, expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return for each text, or word, whether all its labels are the same."""
    if getattr(estimator, "multilabel_", False):
        return ((expected > 0.5) == (found > 0.5)).all(axis=1)
    return expected.argmax(axis=1) == found.argmax(axis=1)
