"""What `error_report` is handed in: checked before anything is computed."""

from __future__ import annotations

import os
from importlib.util import find_spec
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_bert.estimators._classifier import BertClassifier
from sklearn_bert.estimators._token_classifier import BertTokenClassifier
from sklearn_bert.targets._labels import read_column
from sklearn_bert.text._columns import cell_name, excerpt
from sklearn_bert.text._input import Texts, check_texts


def check_installed() -> None:
    """Raise ModuleNotFoundError where cleanlab is missing."""
    if find_spec("cleanlab") is None:
        raise ModuleNotFoundError(
            "error_report needs cleanlab, which is not installed. Install it: "
            "pip install 'sklearn-bert[report]', or pip install cleanlab."
        )


def check_place(path: Any) -> Path:
    """Return the path of the file to write, or raise an error."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"path is {excerpt(path)} of type {type(path).__name__}; expected the path "
            "of the file to write."
        )
    place = Path(path).resolve()  # the file is replaced, not a link to it
    if place.is_dir():
        raise ValueError(
            f"path is {excerpt(os.fspath(path))}, which is a folder; expected the path "
            "of a file, such as 'errors.html'."
        )
    if not place.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {place.parent} for the file {place.name}; create it, "
            "or choose another path."
        )
    return place


def check_parameters(title: Any, n_texts: Any, n_explained: Any) -> None:
    """Raise TypeError or ValueError where a parameter is none of those expected."""
    if not isinstance(title, str):
        raise TypeError(f"title is {excerpt(title)}; expected a str.")
    for name, number, least in [
        ("n_texts", n_texts, 1),
        ("n_explained", n_explained, 0),
    ]:
        if (
            not isinstance(number, Integral)
            or isinstance(number, bool)
            or number < least
        ):
            raise ValueError(
                f"{name} is {excerpt(number)}; expected an integer from {least}."
            )


def check_classifier(estimator: Any) -> None:
    """Raise unless the estimator is fitted, and gives each text one of its classes."""
    if not hasattr(estimator, "predict_proba") or isinstance(
        estimator, BertTokenClassifier
    ):
        raise TypeError(
            f"estimator is of type {type(estimator).__name__}; expected a fitted "
            "classifier of texts with predict_proba, such as BertClassifier. Numbers "
            "and tags have no such report."
        )
    if hasattr(estimator, "fit"):  # an exported model is fitted, and has none
        check_is_fitted(estimator)
    classes: Any = getattr(estimator, "classes_", None)
    if np.ndim(classes) != 1 or getattr(estimator, "multilabel_", False):
        raise ValueError(
            "the estimator gives a text several labels, or has no classes_; "
            "error_report expects one label per text. Fit a classifier of one of the "
            "labels to see its errors."
        )


def read_texts(estimator: Any, X: Any) -> Texts:
    """Return the texts of X as the estimator reads them."""
    if isinstance(estimator, BertClassifier):
        return estimator._read_X_again(X)
    # Of an exported model they have these names.
    template = getattr(estimator, "_template", None)
    return check_texts(
        X, template=template, missing=getattr(estimator, "_missing", "error")
    )


def encode(y: Any, classes: np.ndarray, n_texts: int) -> np.ndarray:
    """Return the column of each label, int64."""
    codes = {label: code for code, label in enumerate(classes.tolist())}
    labels = read_column(y).tolist()
    if len(labels) != n_texts:
        raise ValueError(
            f"X has {n_texts} texts and y has {len(labels)} labels; expected one for "
            "each text."
        )
    for row, label in enumerate(labels):
        if label not in codes:
            raise ValueError(
                f"{cell_name(y, 'y', row)} is {label!r}, which is not among the "
                f"{len(codes)} classes of the estimator ({excerpt(list(codes))}). "
                "Leave such rows out."
            )
    return np.array([codes[label] for label in labels], dtype=np.int64)


def read_train(
    estimator: Any, X_train: Any, y_train: Any
) -> tuple[Texts | None, list[Any] | None]:
    """Return the training texts, and their labels."""
    if X_train is None:
        if y_train is not None:
            raise ValueError("y_train is given without X_train; pass both.")
        return None, None
    try:
        texts = read_texts(estimator, X_train)
    except (TypeError, ValueError) as error:
        raise type(error)(f"in X_train: {error}") from error
    if y_train is None:
        return texts, None
    labels = read_column(y_train, "y_train").tolist()
    if len(labels) != len(texts):
        raise ValueError(
            f"X_train has {len(texts)} texts and y_train has {len(labels)} labels; "
            "expected one for each text."
        )
    return texts, labels


def check_proba(proba: Any, n_texts: int, n_classes: int) -> np.ndarray:
    """Return the probabilities of classes, float64, each row with the sum 1."""
    expected = f"expected shape ({n_texts}, {n_classes}): the classes of each text"
    try:
        found = np.asarray(proba, dtype=np.float64)
    except (TypeError, ValueError) as error:  # lists of different lengths
        raise ValueError(f"the probabilities are no array; {expected}.") from error
    if found.shape != (n_texts, n_classes):
        raise ValueError(f"the probabilities have shape {found.shape}; {expected}.")
    sums = found.sum(axis=1)
    if not (np.abs(sums - 1) < 1e-3).all() or found.min() < 0:
        row = int(np.argmax(np.abs(sums - 1)))
        raise ValueError(
            f"the probabilities of X[{row}] have the sum {sums[row]:.3g}; expected "
            "numbers from 0 whose sum is 1: one of the classes for each text."
        )
    return found / sums[:, None]
