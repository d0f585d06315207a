"""A file of texts, or batches of the caller, as X of an estimator, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

SEPARATORS = {".csv": ",", ".tsv": "\t"}
LINES = (".jsonl", ".ndjson")
SUFFIXES = (*SEPARATORS, *LINES, ".parquet")
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
PARQUET = 'Install it: pip install "sklearn-bert[parquet]".'


def batches_of(
    source: Any, columns: Sequence[str] | None, batch_rows: int
) -> Iterator[Any]:
    """Return X of each batch: of a file, or what an iterable yields.

    Parameters
    ----------
    source : str, path or iterable
    columns : sequence of str, or None
        Of a file; None: it has one column.
    batch_rows : int
        Of a file.

    Raises
    ------
    FileNotFoundError, ModuleNotFoundError, TypeError, ValueError
        At once, before anything is computed.
    """
    if isinstance(source, str | os.PathLike):
        return _batches_of_file(Path(source), columns, batch_rows)
    if not isinstance(source, Iterable) or isinstance(source, pd.DataFrame):
        raise TypeError(
            f"source is a {type(source).__name__}; expected a path, or an iterable of "
            "batches, each of which predict takes as X."
        )
    if columns is not None:
        raise ValueError(
            f"columns is {columns}, and source is no file; expected None: choose the "
            "columns in each batch."
        )
    return _checked(iter(source))


def _checked(batches: Iterator[Any]) -> Iterator[Any]:
    for place, batch in enumerate(batches):
        if batch is None or isinstance(batch, str):
            raise TypeError(
                f"batch {place} is a {type(batch).__name__}; expected a list, array or "
                "frame of texts. [texts] is one batch of all texts."
            )
        yield batch


def _batches_of_file(
    path: Path, columns: Sequence[str] | None, batch_rows: int
) -> Iterator[Any]:
    suffix = next((s for s in reversed(path.suffixes) if s not in PACKED), "")
    if suffix not in SUFFIXES:
        raise ValueError(
            f"source {str(path)!r} has the suffix {suffix!r}; expected one of "
            f"{', '.join(SUFFIXES)}, or an iterable of batches."
        )
    if not path.is_file():
        raise FileNotFoundError(f"source {str(path)!r} is no file.")
    read = _reader(path, suffix)
    if columns is None:
        columns = _only_column(path, read)
    names = list(columns)
    try:
        next(read(names, 1), None)  # what is wrong with the file is said at once
    except ValueError as error:
        raise ValueError(f"source {str(path)!r}: {error}") from error
    frames = read(names, batch_rows)
    # A single column is a list of texts, and has no name to compare.
    return (frame[names[0]] if len(names) == 1 else frame for frame in frames)


def _reader(path: Path, suffix: str) -> Callable[..., Iterator[pd.DataFrame]]:
    """Return what yields frames of some columns (None: of all) and of so many rows."""
    if suffix == ".parquet":
        if find_spec("pyarrow") is None:
            raise ModuleNotFoundError(f"{path} takes pyarrow to read. {PARQUET}")
        return partial(_read_parquet, path)
    if suffix in LINES:
        return partial(_read_lines, path)
    return partial(_read_csv, path, SEPARATORS[suffix])


def _read_parquet(
    path: Path, columns: list[str] | None, rows: int
) -> Iterator[pd.DataFrame]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        _check_columns(columns, file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=rows, columns=columns):
            yield batch.to_pandas()


def _read_lines(
    path: Path, columns: list[str] | None, rows: int
) -> Iterator[pd.DataFrame]:
    # No text becomes a number or a date.
    with pd.read_json(path, lines=True, chunksize=rows, dtype=False) as frames:
        for frame in frames:
            _check_columns(columns, list(frame))
            yield frame if columns is None else frame[columns]


def _read_csv(
    path: Path, separator: str, columns: list[str] | None, rows: int
) -> Iterator[pd.DataFrame]:
    # A text is what stands there, also "NA" or "1e5"; only an empty cell is missing.
    as_text: dict[str, Any] = {"dtype": str, "keep_default_na": False, "na_values": ""}
    with pd.read_csv(path, sep=separator, chunksize=rows, **as_text) as frames:
        for frame in frames:
            _check_columns(columns, list(frame))
            yield frame if columns is None else frame[columns]


def _check_columns(columns: list[str] | None, found: Iterable[Any]) -> None:
    found = [str(name) for name in found]
    missing = [name for name in columns or () if name not in found]
    if missing:
        raise ValueError(f"it has no column {missing[0]!r}, but {found}.")


def _only_column(path: Path, read: Callable[..., Iterator[pd.DataFrame]]) -> list[str]:
    try:
        found = [str(name) for name in next(read(None, 1), pd.DataFrame())]
    except ValueError as error:
        raise ValueError(f"source {str(path)!r}: {error}") from error
    if len(found) != 1:
        raise ValueError(
            f"source {str(path)!r} has the columns {found}; expected columns=, those "
            "of them that are the texts."
        )
    return found
