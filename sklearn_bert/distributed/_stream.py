"""Answers for more rows than memory holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from sklearn_bert._process._techniques import uses
from sklearn_bert.distributed._engines import classes_of
from sklearn_bert.distributed._parts import Parts, as_table
from sklearn_bert.distributed._source import batches_of
from sklearn_bert.text._columns import excerpt

Source = str | os.PathLike | Iterable[ArrayLike]


@overload
def stream(
    estimator: Any,
    source: Source,
    method: str = ...,
    *,
    columns: str | Sequence[str] | None = ...,
    output: None = ...,
    batch_rows: int = ...,
) -> Iterator[Any]: ...


@overload
def stream(
    estimator: Any,
    source: Source,
    method: str = ...,
    *,
    columns: str | Sequence[str] | None = ...,
    output: str | os.PathLike,
    batch_rows: int = ...,
) -> Path: ...


def stream(
    estimator: Any,
    source: Source,
    method: str = "predict_proba",
    *,
    columns: str | Sequence[str] | None = None,
    output: str | os.PathLike | None = None,
    batch_rows: int = 8192,
) -> Iterator[Any] | Path:
    """Answer batch after batch, in memory that does not grow with the rows.

    While one batch is computed, a thread reads and tokenises the next one. With
    `output` the answers become a Parquet file, and a run that was killed goes on where
    it was: call it again.

    Parameters
    ----------
    estimator : fitted estimator, pipeline, or what `sklearn_bert.onnx.load` returns
    source : str, path or iterable
        A file with the suffix .parquet, .csv, .tsv or .jsonl (the last three also
        compressed, as .gz); or batches, each of them X of the method, as long as you
        like.
    method : str, default="predict_proba"
        Of the estimator: "predict", "transform", "decision_function".
    columns : str or sequence of str, default=None
        The file's columns that are X: of texts, of the two halves of pairs, or of a
        template. None: those of `feature_names_in_`, or the only one that there is.
    output : str or path, default=None
        A Parquet file to make. Labels and numbers are its column "prediction",
        probabilities a column for each class, vectors lists in "vector"; the order is
        that of the source. Until it is whole, its parts lie in a folder of its name and
        ".parts", one for each batch. None: an iterator of answers is returned.
    batch_rows : int, default=8192
        The rows of a file that are computed at once. To go on, a run must have that of
        the one before.

    Returns
    -------
    iterator of ndarray, or Path
        What the method returns for each batch; or `output`.

    Raises
    ------
    AttributeError
        Where the estimator has no such method.
    FileExistsError
        Where `output` is there already.
    FileNotFoundError
        Where the source, or the folder of `output`, is not.
    ModuleNotFoundError
        Where pyarrow, which Parquet takes, is not installed.
    TypeError, ValueError
        Where a parameter is wrong, or a batch is no X of the estimator: the error names
        the batch. Where parts of another source, model or method lie there.

    Examples
    --------
    >>> from sklearn_bert import BertEmbedder, stream
    >>> embedder = BertEmbedder().fit(["any text"])
    >>> batches = (["one text", "another"] for _ in range(3))
    >>> for vectors in stream(embedder, batches, "transform"):
    ...     print(vectors.shape)
    (2, 384)
    (2, 384)
    (2, 384)
    """
    if not isinstance(batch_rows, int | np.integer) or batch_rows < 1:
        raise ValueError(f"batch_rows is {excerpt(batch_rows)}; expected 1 or more.")
    compute = getattr(estimator, method)
    batches = batches_of(source, _columns_of(estimator, source, columns), batch_rows)
    if output is None:
        return (_answer(compute, X, n) for n, X in _ahead(estimator, batches))
    parts = Parts(Path(output))
    try:
        return _write(estimator, method, batches, parts)
    finally:
        parts.remove_if_empty()


def _columns_of(
    estimator: Any, source: Source, columns: str | Sequence[str] | None
) -> Sequence[str] | None:
    if isinstance(columns, str):
        return [columns]
    if columns is None and isinstance(source, str | os.PathLike):
        names = getattr(estimator, "feature_names_in_", None)
        return None if names is None else list(names)
    return columns


def _write(estimator: Any, method: str, batches: Iterator[Any], parts: Parts) -> Path:
    """Write a part for each batch that has none, and join them."""
    compute, classes = getattr(estimator, method), classes_of(estimator, method)
    n_parts = 0
    for place, X in _ahead(estimator, batches, is_done=parts.has):
        n_parts = place + 1
        if not parts.has(place):
            parts.write(place, as_table(_answer(compute, X, place), classes))
            continue
        parts.check_rows(place, len(X))
        if place == 0:  # the others are believed where this one is as it was
            parts.check_same(place, as_table(_answer(compute, X, place), classes))
    if not n_parts:
        raise ValueError("source has no batch; expected one at least.")
    return parts.join(n_parts)


def _answer(compute: Any, X: Any, place: int) -> Any:
    with _in_batch(place):
        return compute(X)


def _ahead(
    estimator: Any, batches: Iterator[Any], is_done: Any = lambda place: False
) -> Iterator[tuple[int, Any]]:
    """Yield the place and X of batches; a thread prepares the next one meanwhile."""

    def prepared() -> Iterator[Any]:
        for place, X in enumerate(batches):
            # Pipelines, taggers and exported models tokenise when they are called.
            if hasattr(estimator, "_read_X_again") and not is_done(place):
                with _in_batch(place):
                    _tokenize(estimator, X)
            yield X

    coming = prepared()
    with ThreadPoolExecutor(max_workers=1) as thread:
        next_one = thread.submit(next, coming, None)
        place = 0
        while (X := next_one.result()) is not None:
            next_one = thread.submit(next, coming, None)
            yield place, X
            place += 1


def _tokenize(estimator: Any, X: Any) -> None:
    """Check X, and put its tokens into the cache, where the method finds them."""
    texts = estimator._read_X_again(X)
    if uses("token_cache"):
        estimator.tokenizer_(texts)


@contextmanager
def _in_batch(place: int) -> Iterator[None]:
    """Say of an error in here which batch it is about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if len(error.args) == 1:  # as that of a decoder has not
            error.args = (f"in batch {place}: {error.args[0]}",)
        raise
