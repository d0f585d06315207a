"""`error_report`: what a classifier gets wrong, and why, as one HTML file."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from sklearn_bert._process._atomic_file import new_file
from sklearn_bert._process._sklearn import safe_indexing
from sklearn_bert._process._warn import warn
from sklearn_bert.estimators._classifier import BertClassifier
from sklearn_bert.inspection._explain import explain
from sklearn_bert.inspection._likeness import near_duplicates, nearest, some
from sklearn_bert.inspection._mistakes import Mistakes
from sklearn_bert.inspection._plotting import opacity
from sklearn_bert.inspection._report_input import (
    check_classifier,
    check_installed,
    check_parameters,
    check_place,
    check_proba,
    encode,
    read_texts,
    read_train,
)
from sklearn_bert.inspection._report_page import BETWEEN, Page, Pieces, joined, render
from sklearn_bert.text._input import Texts
from sklearn_bert.text._reports import TruncationWarning, UnknownWordsWarning
from sklearn_bert.text._tokenizer import TextTokenizer

N_NEAREST = 3  # training texts beside a text
FAINT = 0.1  # opacity under which a word is not coloured
# The share of equal training texts from which on X is taken for these.
MANY = 0.5


def error_report(
    estimator: Any,
    X: Any,
    y: Any,
    path: str | os.PathLike[str],
    *,
    X_train: Any = None,
    y_train: Any = None,
    proba: Any = None,
    title: str = "Error report",
    n_texts: int = 2000,
    n_explained: int = 200,
) -> Bunch:
    """Write a page that shows what a classifier gets wrong, and which labels are wrong.

    The page is one HTML file, which loads nothing: a browser opens it from a disk or a
    mail. It has

    - precision, recall and F1 of each class, with intervals;
    - the confusion matrix, whose cells open their texts: with the words that made the
      prediction, probabilities, loss, margin, and the nearest training texts;
    - the texts whose labels are most likely wrong, by confident learning [1]_, with the
      library cleanlab;
    - texts that are nearly the same in training;
    - how far probabilities can be believed, and how accuracy depends on length.

    Anyone who has the file can read the texts in it.

    Parameters
    ----------
    estimator : fitted classifier
        BertClassifier of one label per text. Any other classifier of texts that has
        `classes_` and `predict_proba` will do, as one that `onnx.load` returns: its
        words are not explained. Training texts are nearest by `transform`.
    X : as the estimator takes it
        Texts, or pairs. Best are those it was not trained on: see `proba`.
    y : array-like of shape (n_texts,)
        Their labels, all among `classes_`.
    path : str or path
        The file. One that is there is replaced at the end, at one moment.
    X_train : as X, default=None
        The texts that the estimator was trained on: those nearest to a text, and those
        nearly the same as one of X, are shown. None: neither is.
    y_train : array-like, default=None
        The labels of `X_train`, to be shown with them.
    proba : array-like of shape (n_texts, n_classes), default=None
        Probabilities to use in place of `estimator.predict_proba(X)`. Where the
        estimator was trained on X it has learnt wrong labels, too, and finds fewer:
        pass `cross_val_predict(estimator, X, y, method="predict_proba")`.
    title : str, default="Error report"
    n_texts : int, default=2000
        Most texts in the file: those with doubtful labels, then those with the highest
        loss. Numbers are counted over all of X.
    n_explained : int, default=200
        Most texts whose words are explained, as by `explain` with the method
        "gradient", and whose nearest training texts are shown: the first with doubtful
        labels, then those with the highest loss that are predicted wrong.

    Returns
    -------
    Bunch
        - `path` : Path of the file
        - `scores` : DataFrame with a row per class: `precision`, `recall` and `f1`,
          with `_low` and `_high` of an interval of 95 % (Wilson's), and `support`
        - `confusion` : DataFrame of counts, labels by predictions
        - `suspects` : DataFrame of the texts whose labels are most likely wrong, the
          likeliest first: `row` of X, `label`, `predicted`, and the probabilities of
          these, `label_proba` and `predicted_proba`
        - `duplicates` : DataFrame of `row` and `train_row`, with their `similarity`, 1
          if they are equal but for case and punctuation; None without `X_train`
        - `calibration_error` : float, the expected calibration error

    Raises
    ------
    ImportError
        Where cleanlab is not installed.
    FileNotFoundError
        Where there is no folder for the file.
    ValueError
        Where `path` is a folder, X and y differ in length, a label is not among
        `classes_`, or a text may have several.
    TypeError
        Where `estimator` is no classifier of texts.

    Notes
    -----
    A label is doubtful if the estimator gives it a low probability, and there are as
    many as confident learning estimates from how often each class is taken for another.
    They are ranked by that probability. An estimator that does not know a class well
    doubts right labels.

    Nearly the same are a text and one of the training texts if they are equal but for
    case and punctuation, or if the cosine of their groups of four characters, weighted
    by TF-IDF, is at least 0.9. Of more than 10,000 texts on a side, 10,000 at equal
    distances are compared in this second way, and searched for the nearest ones.

    References
    ----------
    .. [1] C. G. Northcutt, L. Jiang, I. L. Chuang, "Confident Learning: Estimating
       Uncertainty in Dataset Labels", JAIR 70, 2021.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn_bert import BertClassifier
    >>> from sklearn_bert.inspection import error_report
    >>> X = ["I like it.", "It was great!", "I hate it.", "It was awful!"]
    >>> y = ["good", "good", "bad", "bad"]
    >>> clf = BertClassifier(trainable="head", random_state=0).fit(X, y)
    >>> with TemporaryDirectory() as folder:
    ...     report = error_report(clf, X, y, Path(folder, "errors.html"))
    >>> report.scores["support"].tolist()
    [2, 2]
    """
    check_installed()
    place = check_place(path)
    check_parameters(title, n_texts, n_explained)
    check_classifier(estimator)
    texts = read_texts(estimator, X)
    classes = np.asarray(estimator.classes_)
    labels = encode(y, classes, len(texts))
    train, train_labels = read_train(estimator, X_train, y_train)
    if proba is None:
        proba = estimator.predict_proba(X)
    mistakes = Mistakes(classes, labels, check_proba(proba, len(texts), len(classes)))
    suspects = mistakes.suspects()
    duplicates = None
    if train is not None:
        duplicates = near_duplicates(joined(texts), joined(train))
        _warn_of_training_texts(duplicates, len(texts))
    order = _order(mistakes, suspects)[:n_texts]
    is_open = np.isin(order, suspects) | mistakes.is_wrong[order]
    rows = order[is_open][:n_explained]
    with warnings.catch_warnings():
        # predict_proba has warned of these.
        warnings.simplefilter("ignore", TruncationWarning)
        warnings.simplefilter("ignore", UnknownWordsWarning)
        words = _words(estimator, X, texts, rows)
        near = _nearest(estimator, X, X_train, train, rows)
    page = Page(
        title=title,
        estimator=type(estimator).__name__,
        mistakes=mistakes,
        suspects=suspects,
        texts=joined(texts),
        order=order,
        words=words,
        near=near,
        lengths=_lengths(estimator, texts),
        duplicates=duplicates,
        train=[] if train is None else joined(train),
        train_labels=train_labels,
    )
    with new_file(place) as draft:
        draft.write_bytes(render(page).encode("utf-8", "replace"))
    return _summary(place, mistakes, suspects, duplicates)


def _order(mistakes: Mistakes, suspects: np.ndarray) -> np.ndarray:
    """Return the rows, those with doubtful labels first, then by loss."""
    by_loss = np.argsort(-mistakes.losses, kind="stable")
    return np.concatenate([suspects, by_loss[~np.isin(by_loss, suspects)]])


def _words(
    estimator: Any, X: Any, texts: Texts, rows: np.ndarray
) -> dict[int, tuple[Any, Pieces]]:
    """Return for some rows the class that is explained, and the coloured text."""
    if not isinstance(estimator, BertClassifier) or not len(rows):
        return {}
    frame = explain(estimator, safe_indexing(X, rows), method="gradient")
    found = {}
    number: Any
    for number, words in frame.groupby("text", sort=False):
        row = int(rows[number])
        found[row] = words["target"].iloc[0], _pieces(texts.part(row, row + 1), words)
    return found


def _pieces(text: Texts, words: pd.DataFrame) -> Pieces:
    """Divide a text where its colour changes."""
    whole = joined(text)[0]
    # Where the second half of a pair begins.
    shift = words["part"].to_numpy() * (len(text.first[0]) + len(BETWEEN))
    largest = float(words["score"].abs().max())
    pieces: Pieces = []
    done = 0
    for start, end, score in zip(
        words["start"] + shift, words["end"] + shift, words["score"], strict=True
    ):
        strength = opacity(score, largest)
        if strength >= FAINT:
            percent = round(100 * strength * np.sign(score))
            pieces += [(whole[done:start], 0), (whole[start:end], percent)]
            done = end
    return [*pieces, (whole[done:], 0)]


def _nearest(
    estimator: Any, X: Any, X_train: Any, train: Texts | None, rows: np.ndarray
) -> dict[int, list[tuple[int, float]]]:
    """Return for some rows the nearest training texts, and their cosines."""
    if train is None or not len(rows) or not hasattr(estimator, "transform"):
        return {}
    known = some(len(train))
    found = nearest(
        estimator.transform(safe_indexing(X, rows)),
        estimator.transform(safe_indexing(X_train, known)),
        N_NEAREST,
    )
    return {
        int(row): [(int(known[place]), cosine) for place, cosine in of_row]
        for row, of_row in zip(rows, found, strict=True)
    }


def _lengths(estimator: Any, texts: Texts) -> tuple[np.ndarray, np.ndarray] | None:
    """Return how many tokens the texts have, and which of them are cut."""
    tokenizer = getattr(estimator, "tokenizer_", getattr(estimator, "_tokenizer", None))
    if not isinstance(tokenizer, TextTokenizer):
        return None
    table = tokenizer(texts)
    assert table.is_cut is not None
    return table.whole_lengths, table.is_cut


def _warn_of_training_texts(duplicates: pd.DataFrame, n_texts: int) -> None:
    n_equal = int((duplicates["similarity"] == 1).sum())
    if n_equal > MANY * n_texts:
        warn(
            f"{n_equal} of {n_texts} texts in X are among X_train: the estimator has "
            "learnt their labels, wrong ones too. Pass texts that it was not trained "
            "on, or as proba the probabilities of cross_val_predict."
        )


def _summary(
    place: Path,
    mistakes: Mistakes,
    suspects: np.ndarray,
    duplicates: pd.DataFrame | None,
) -> Bunch:
    """Return what the caller may go on with."""
    classes = mistakes.classes
    axes = {"index": pd.Index(classes, name="label")}
    axes["columns"] = pd.Index(classes, name="predicted")
    frame = pd.DataFrame(
        {
            "row": suspects,
            "label": classes[mistakes.labels[suspects]],
            "predicted": classes[mistakes.predicted[suspects]],
            "label_proba": mistakes.of_label[suspects],
            "predicted_proba": mistakes.confidence[suspects],
        }
    )
    return Bunch(
        path=place,
        scores=mistakes.scores(),
        confusion=pd.DataFrame(mistakes.counts, **axes),
        suspects=frame,
        duplicates=duplicates,
        calibration_error=mistakes.calibration_error(),
    )
