"""Read an exported folder, and answer as the estimator does."""

from __future__ import annotations

import functools
import os
from importlib.util import find_spec
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_bert._process._atomic_folder import read_whole
from sklearn_bert.onnx._manifest import (
    MANIFEST,
    TOKENIZER,
    decode_array,
    read_file,
    read_manifest,
)
from sklearn_bert.onnx._session import Session, has_weights_beside, weights_beside
from sklearn_bert.onnx._windows import (
    MergeWindows,
    log_of_mean_softmax,
    logit_of_mean_sigmoid,
    maximum,
    mean,
)
from sklearn_bert.targets._answers import AnyLabels, OneLabel, Rows
from sklearn_bert.text._columns import excerpt, listed, open_container
from sklearn_bert.text._input import Texts, check_texts
from sklearn_bert.text._reports import text_reports, warn_of
from sklearn_bert.text._rows import rows_of_texts
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.text._words import check_words, tokenize_words

MODEL, FINISH = "model.onnx", "finish.onnx"


class OnnxModel:
    """Base of what `load` returns: texts of any container -> rows of the graph.

    Parameters
    ----------
    folder : Path
    content : dict
        Of the manifest.
    n_threads : int or None

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the estimator had it.
    max_length_ : int
        In tokens.
    """

    n_features_in_: int
    feature_names_in_: np.ndarray

    def __init__(
        self, folder: Path, content: dict[str, Any], n_threads: int | None
    ) -> None:
        self._folder = folder
        self._n_threads = n_threads
        self._estimator: str = content["class"]
        self._template: str | None = content["template"]
        self._missing: str = content["missing"]
        self._temperature = np.float32(content["temperature"])
        self._merges_maximum: bool = content["merges_maximum"]
        self.n_features_in_ = content["n_features_in"]
        if content["feature_names_in"] is not None:
            names = np.array(content["feature_names_in"], dtype=object)
            self.feature_names_in_ = names
        self._tokenizer = TextTokenizer.from_json(
            read_file(folder, TOKENIZER, content).decode(), content["tokenizer"]
        )
        self.max_length_ = self._tokenizer.max_length
        threads = _n_cpus() if n_threads is None else int(n_threads)
        self._graph, self._finish = (
            Session(
                folder / name,
                functools.partial(_read_graph, folder, name, content),
                threads,
            )
            if name in content["files"]
            else None
            for name in (MODEL, FINISH)
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({os.fspath(self._folder)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path: what is unpickled reads the folder again."""
        return functools.partial(load, n_threads=self._n_threads), (self._folder,)

    def _read_X(self, X: Any) -> Texts:
        texts = check_texts(X, template=self._template, missing=self._missing)
        if texts.n_features != self.n_features_in_:
            raise ValueError(
                f"X has {texts.n_features} features, but {self._estimator} is "
                f"expecting {self.n_features_in_} features as input."
            )
        # A template finds its columns by name, in any order.
        if self._template is None and texts.is_2d:
            self._check_names(X)
        return texts

    def _check_names(self, X: Any) -> None:
        """Raise ValueError where the columns have other names than in fit."""
        expected = getattr(self, "feature_names_in_", None)
        names = [column.name for column in open_container(X).columns]
        if expected is None or not all(isinstance(name, str) for name in names):
            return
        if names != expected.tolist():
            raise ValueError(
                "The feature names should match those that were passed during fit. "
                f"Got the columns {listed(names)}; expected {listed(expected)}, in "
                "this order."
            )

    def _rows(self, X: Any, output: str, merge: MergeWindows) -> np.ndarray:
        """Compute an output of the graph for each text, float32."""

        def compute(table: TokenTable, remember: bool) -> np.ndarray:
            all_rows, windows = table.by_window()
            if windows is None:
                return self._compute(all_rows, output)
            rows = windows.rows()
            values = self._compute(all_rows.take(rows), output)
            begins = np.cumsum(windows.counts) - windows.counts
            return merge(values, windows.shares[rows], begins)

        return rows_of_texts(self._tokenizer, self._read_X(X), compute)

    def _compute(self, table: TokenTable, output: str) -> np.ndarray:
        assert self._graph is not None
        return self._graph.compute(table, output, self._tokenizer.pad_id)

    def _vectors(self, X: Any) -> np.ndarray:
        merge = maximum if self._merges_maximum else mean
        vectors = self._rows(X, "vectors", merge)
        if self._finish is None:
            return vectors
        return self._finish.run("finished", {"vectors": vectors})


class OnnxClassifier(OnnxModel):
    """A `BertClassifier` in ONNX Runtime.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    """

    classes_: np.ndarray

    def __init__(
        self, folder: Path, content: dict[str, Any], n_threads: int | None
    ) -> None:
        super().__init__(folder, content, n_threads)
        self.classes_ = decode_array(content["classes"])
        self._labels: OneLabel | AnyLabels = OneLabel(self.classes_)
        self._merge: MergeWindows = log_of_mean_softmax
        if content["indicator"] is not None:
            self._labels = AnyLabels(self.classes_, *content["indicator"])
            self._merge = logit_of_mean_sigmoid

    def predict(self, X: Any) -> Any:
        """Predict the most probable label of each text, or all probable ones."""
        return self._labels.decide(self.predict_proba(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probability of each class, float64."""
        return self._labels.proba(self._logits(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """Compute the logits; for two classes their difference."""
        return self._labels.decision(self._logits(X))

    def transform(self, X: Any) -> np.ndarray:
        """Compute the vector of each text before the head."""
        return self._vectors(X)

    def _logits(self, X: Any) -> np.ndarray:
        return self._rows(X, "scores", self._merge) / self._temperature


class OnnxRegressor(OnnxModel):
    """A `BertRegressor` in ONNX Runtime."""

    def __init__(
        self, folder: Path, content: dict[str, Any], n_threads: int | None
    ) -> None:
        super().__init__(folder, content, n_threads)
        self._mean = np.array(content["target_mean"])
        self._scale = np.array(content["target_scale"])
        self._is_1d: bool = content["is_1d"]

    def predict(self, X: Any) -> np.ndarray:
        """Predict the number, or numbers, of each text, float64."""
        scores = self._rows(X, "scores", mean).astype(np.float64)
        numbers = scores * self._scale + self._mean
        return numbers[:, 0] if self._is_1d else numbers

    def transform(self, X: Any) -> np.ndarray:
        """Compute the vector of each text before the head."""
        return self._vectors(X)


class OnnxTokenClassifier(OnnxModel):
    """A `BertTokenClassifier` in ONNX Runtime.

    Attributes
    ----------
    classes_ : ndarray of shape (n_tags,)
    """

    classes_: np.ndarray

    def __init__(
        self, folder: Path, content: dict[str, Any], n_threads: int | None
    ) -> None:
        super().__init__(folder, content, n_threads)
        self.classes_ = decode_array(content["classes"])

    def predict(self, X: Any) -> list[list[Any]]:
        """Predict the most probable tag of each word."""
        probabilities = self.predict_proba(X)
        return Rows(self.classes_[p.argmax(axis=1)].tolist() for p in probabilities)

    def predict_proba(self, X: Any) -> list[np.ndarray]:
        """Predict the probability of each tag for each word, float64."""
        sentences = check_words(X)
        scores = np.zeros((0, len(self.classes_)), dtype=np.float32)
        # Sentences without any word make a table without rows.
        if any(sentences):
            table = tokenize_words(self._tokenizer, sentences)
            warn_of(text_reports(self._tokenizer, table))
            scores = self._compute(table, "scores")
        ends = np.cumsum([len(sentence) for sentence in sentences])[:-1]
        return Rows(np.split(OneLabel(self.classes_).proba(scores), ends))


class OnnxEmbedder(OnnxModel):
    """A `BertEmbedder` in ONNX Runtime."""

    def transform(self, X: Any) -> np.ndarray:
        """Compute one vector per text."""
        return self._vectors(X)


KINDS: dict[str, type[OnnxModel]] = {
    "BertClassifier": OnnxClassifier,
    "BertRegressor": OnnxRegressor,
    "BertTokenClassifier": OnnxTokenClassifier,
    "BertEmbedder": OnnxEmbedder,
}


def load(folder: str | os.PathLike, *, n_threads: int | None = None) -> Any:
    """Load what `export` wrote, to answer as the estimator does, without torch.

    It needs numpy, tokenizers and onnxruntime; narwhals where X is a frame of another
    library than pandas.

    Parameters
    ----------
    folder : str or path
    n_threads : int or None, default=None
        Threads of one call. None: as many as processors that this process may use. A
        server with several workers is faster with 1.

    Returns
    -------
    OnnxClassifier, OnnxRegressor, OnnxTokenClassifier or OnnxEmbedder
        With `predict`, `predict_proba`, `decision_function`, `transform` and
        `classes_`, where the estimator has them. They take the same X, and raise the
        same errors. Threads may share it, and a pickle holds the path.

    Raises
    ------
    ModuleNotFoundError
        Where onnxruntime is not installed.
    FileNotFoundError
        Where there is no such folder, or a file is missing.
    ValueError
        Where a file is damaged (its sha256 differs: a `DamagedCheckpointError`), was
        written by a newer version, or `n_threads` is no positive number.
    TypeError
        Where `folder` is no path.

    See Also
    --------
    export : Write such a folder, with an example.
    """
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(
            f"folder is {folder!r} of type {type(folder).__name__}; expected the path "
            "of a folder that sklearn_bert.onnx.export has written."
        )
    if n_threads is not None:
        is_number = isinstance(n_threads, Integral) and not isinstance(n_threads, bool)
        if not is_number or n_threads < 1:
            raise ValueError(
                f"n_threads is {excerpt(n_threads)}; expected a number of threads from "
                "1 on, or None for as many as processors."
            )
    if find_spec("onnxruntime") is None:
        raise ModuleNotFoundError(
            "load needs onnxruntime, which is not installed. Install it: "
            'pip install "sklearn-bert[onnx]", or pip install onnxruntime.'
        )
    # Absolute: a pickle of it is read wherever the process has gone.
    path = Path(folder).absolute()
    model = read_whole(path, MANIFEST, functools.partial(_load, n_threads=n_threads))
    model._folder = path  # and not the journal of an export that was killed
    return model


def _load(source: Path, n_threads: int | None) -> OnnxModel:
    content = read_manifest(source)
    if content["class"] not in KINDS:
        raise ValueError(
            f"{source / MANIFEST} names the class {content['class']!r}; expected one "
            f"of {sorted(KINDS)}."
        )
    return KINDS[content["class"]](source, content, n_threads)


def _read_graph(folder: Path, name: str, content: dict[str, Any]) -> bytes:
    """Return a graph, none of whose files is damaged."""
    beside = weights_beside(folder / name)
    if has_weights_beside(folder / name):
        read_file(folder, beside.name, content)
    return read_file(folder, name, content)


def _n_cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
