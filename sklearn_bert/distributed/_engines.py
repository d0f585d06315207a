"""A fitted model where Spark, Ray Data and Dask want a function or a class."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import sklearn_bert
from sklearn_bert.onnx._manifest import MANIFEST as ONNX_MANIFEST


def make_predict_fn(
    folder: str | os.PathLike, method: str = "predict_proba"
) -> Callable[[], Callable[..., np.ndarray]]:
    """Return what `pyspark.ml.functions.predict_batch_udf` takes as `make_predict_fn`.

    Spark calls it once in each Python worker, which reads the folder then.

    Parameters
    ----------
    folder : str or path
        Written by `save` or `onnx.export`; one that all workers see.
    method : str, default="predict_proba"
        Of the model: "predict", "transform", "decision_function".

    Returns
    -------
    callable
        Without parameters; it returns a function that takes a column of texts (or two,
        of pairs, or those of a template, in the order of `feature_names_in_`) as arrays
        of shape (n_rows,), and returns an array of n_rows rows.

    Examples
    --------
    >>> from sklearn_bert.distributed import make_predict_fn
    >>> make_predict = make_predict_fn("model", "predict")  # reads nothing yet

    In Spark::

        from pyspark.ml.functions import predict_batch_udf
        from pyspark.sql.types import StringType
        label = predict_batch_udf(
            make_predict, return_type=StringType(), batch_size=1024
        )
        frame.withColumn("label", label("text"))
    """
    return functools.partial(_make_predict, os.fspath(folder), method)


def _make_predict(folder: str, method: str) -> Callable[..., np.ndarray]:
    model = _load(folder)
    names = getattr(model, "feature_names_in_", range(model.n_features_in_))

    def predict(*columns: np.ndarray) -> np.ndarray:
        # Spark gives columns without names, in the order of the call.
        X: Any = columns[0]
        if len(columns) > 1:
            X = pd.DataFrame(dict(zip(names, columns, strict=True)))
        answers: np.ndarray = getattr(model, method)(X)
        return answers

    return predict


class Predictor:
    """A batch with a column more: for Ray Data, Dask and pandas.

    It is a class for ``ray.data.Dataset.map_batches``, and an instance is a function
    for ``dask.dataframe.map_partitions``. It reads a folder at its first batch, and
    again where it was pickled to; a process keeps equal weights once.

    Parameters
    ----------
    model : str, path or fitted estimator
        A folder that `save` or `onnx.export` wrote and that all workers see; or the
        estimator itself, of which engines share the weights.
    columns : str or sequence of str
        The columns that are X: of texts, of the two halves of pairs, or of a template.
    method : str, default="predict"
        Of the model: "predict_proba", "transform", "decision_function".
    output : str, default="prediction"
        The column to add. In a data frame, rows of several numbers are a column each,
        with the class (or the place) behind the name: "prediction_good".

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_bert import BertClassifier
    >>> from sklearn_bert.distributed import Predictor
    >>> clf = BertClassifier(random_state=0).fit(["good", "bad"] * 4, [1, 0] * 4)
    >>> Predictor(clf, "text")(pd.DataFrame({"text": ["bad", "good"]}))
       text  prediction
    0   bad           0
    1  good           1
    """

    def __init__(
        self,
        model: Any,
        columns: str | Sequence[str],
        method: str = "predict",
        output: str = "prediction",
    ) -> None:
        self.model = os.fspath(model) if isinstance(model, str | Path) else model
        self.columns = [columns] if isinstance(columns, str) else list(columns)
        self.method = method
        self.output = output

    def __getstate__(self) -> dict[str, Any]:
        # What was read is not pickled: another process reads the folder itself.
        return {k: v for k, v in vars(self).items() if k != "_model"}

    @functools.cached_property
    def _model(self) -> Any:
        return _load(self.model) if isinstance(self.model, str) else self.model

    def __call__(self, batch: Any) -> Any:
        """Return a dict of arrays, or a data frame, with the answers added.

        Parameters
        ----------
        batch : dict of str to ndarray, or DataFrame

        Raises
        ------
        ValueError
            Where it has not the columns.
        """
        missing = [name for name in self.columns if name not in batch]
        if missing:
            raise ValueError(
                f"a batch has no column {missing[0]!r}; it has {list(batch)}."
            )
        answers = self._answers(batch)
        if isinstance(batch, Mapping):
            return {**batch, self.output: answers}
        return batch.assign(**self._columns(answers))

    def _answers(self, batch: Any) -> Any:
        frame = pd.DataFrame({name: batch[name] for name in self.columns})
        # A partition may have no row, and no text is no X.
        n_rows = len(frame)
        if not n_rows:
            frame = pd.DataFrame({name: [""] for name in self.columns})
        # A single column is a list of texts, and has no name to compare.
        X = frame[self.columns[0]] if len(self.columns) == 1 else frame
        return getattr(self._model, self.method)(X)[:n_rows]

    def _columns(self, answers: Any) -> dict[str, Any]:
        if isinstance(answers, list) or np.ndim(answers) == 1:
            return {self.output: answers}
        width = np.shape(answers)[1]
        classes = classes_of(self._model, self.method)
        names = classes if len(classes) == width else range(width)
        columns = zip(names, np.asarray(answers).T, strict=True)
        return {f"{self.output}_{name}": column for name, column in columns}


def classes_of(model: Any, method: str) -> Any:
    """Return the classes that a method's columns may stand for: those of no vector."""
    return () if method == "transform" else getattr(model, "classes_", ())


def _load(folder: str) -> Any:
    is_exported = (Path(folder) / ONNX_MANIFEST).exists()
    # Either is imported when it is needed: the first does without torch.
    return (sklearn_bert.onnx if is_exported else sklearn_bert).load(folder)
