"""Files of tables: CSV, TSV, JSON Lines, Parquet and Excel, by their suffix."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from sklearn_bert._process._atomic_file import new_file
from sklearn_bert.cli._console import to_json, write_stdout
from sklearn_bert.cli._out import check_free

STDIN = "-"
NAMES = {
    "csv": "CSV",
    "tsv": "TSV",
    "jsonl": "JSON Lines",
    "parquet": "Parquet",
    "xlsx": "Excel",
}
SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
}
OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
PACKED = [*OPENERS, ".zip"]
SEPARATORS = {"csv": ",", "tsv": "\t"}
# The errors of a file that is not what its suffix says.
UNREADABLE = (
    gzip.BadGzipFile,
    ValueError,
    LookupError,  # also of an unknown encoding
    EOFError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Table:
    """A data frame, and the file that it comes from.

    Attributes
    ----------
    name : str
        Of the file, for messages.
    frame : DataFrame
        Its columns have names of type `str`. What comes from CSV and TSV is `str`,
        as it stands in the file, and only an empty cell is missing.
    """

    name: str
    frame: pd.DataFrame

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [str(name) for name in self.frame]

    def column(self, name: str) -> pd.Series:
        """Return a column, or raise ValueError with the columns that there are."""
        if name not in self.frame:
            raise ValueError(
                f"{self.name} has no column {name!r}; it has {self.columns}."
            )
        return self.frame[name]


def format_of(path: str, asked: str | None) -> str:
    """Return the format of a file by its suffix, or the one asked for.

    Parameters
    ----------
    path : str
        "-" is stdin or stdout, and CSV unless another format is asked for.
    asked : str or None
        For a file whose suffix says nothing.
    """
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    known = SUFFIXES.get(suffixes[-1]) if suffixes else None
    if path == STDIN:
        return asked or "csv"
    if known is None and asked is None:
        raise ValueError(
            f"{path} has no suffix of a table; expected {', '.join(SUFFIXES)}, also "
            f"with {', '.join(PACKED)} behind it, or --format."
        )
    return known or str(asked)


def check_out(path: str, asked: str | None, force: bool) -> None:
    """Raise an error if `write_table` would: before minutes of work, not after."""
    _check_library(format_of(path, asked), path)
    if path != STDIN:
        check_free(path, force)


def read_table(path: str, asked: str | None = None, encoding: str = "utf-8") -> Table:
    """Read a table from a file, or from stdin.

    Raises
    ------
    ValueError
        If the file is none of its format.
    OSError
        If it cannot be opened.
    ModuleNotFoundError
        If a library that reads it is missing.
    """
    name = "stdin" if path == STDIN else path
    form = format_of(path, asked)
    _check_library(form, name)
    try:
        with _open(path) as stream:
            frame = _read(stream, form, encoding)
    except UNREADABLE as error:  # whose message does not name the file
        advice = ""
        if isinstance(error, UnicodeDecodeError):
            advice = f". It is not {encoding}; name its encoding by --encoding"
        raise ValueError(
            f"{name} cannot be read as {NAMES[form]}: {error}{advice}"
        ) from error
    except OSError as error:
        raise OSError(
            f"{name} cannot be opened ({error.strerror or error}); expected a "
            f"{NAMES[form]} file."
        ) from error
    frame.columns = [str(column) for column in frame.columns]
    if not len(frame):
        raise ValueError(f"{name} has 0 rows, only a header.")
    return Table(name, frame)


def write_table(frame: pd.DataFrame, path: str, asked: str | None = None) -> None:
    """Write a table to a file, completely or not at all, or to stdout."""
    form = format_of(path, asked)
    _check_library(form, "stdout" if path == STDIN else path)
    data = _to_bytes(frame, form)
    if path == STDIN:
        write_stdout(data)
        return
    suffix = Path(path).suffix.lower()
    with new_file(path) as draft:
        if suffix == ".zip":
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(Path(path).stem, data)
        else:
            with OPENERS.get(suffix, open)(draft, "wb") as file:
                file.write(data)


# -- reading ---------------------------------------------------------------------------


@contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    """Open a file, or stdin, as a stream of bytes that are not packed."""
    suffix = Path(path).suffix.lower()
    if path == STDIN:
        if sys.stdin is None or sys.stdin.closed:
            raise ValueError("stdin is closed; name a file, or pipe a table into it")
        yield sys.stdin.buffer
    elif suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise ValueError(f"the archive holds {len(names)} files, not one")
            with archive.open(names[0]) as member:
                yield member  # type: ignore[misc]
    else:
        with OPENERS.get(suffix, open)(path, "rb") as stream:
            yield stream


def _read(stream: BinaryIO, form: str, encoding: str) -> pd.DataFrame:
    if form in SEPARATORS:
        return _read_csv(stream, SEPARATORS[form], encoding)
    if form == "jsonl":
        return _read_json_lines(stream, encoding)
    data = io.BytesIO(stream.read())  # these formats are read from their end
    if form == "parquet":
        return pd.read_parquet(data, engine="pyarrow")
    return pd.read_excel(
        data, engine="openpyxl", dtype=object, keep_default_na=False, na_values=[""]
    )


def _read_csv(stream: BinaryIO, separator: str, encoding: str) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            # Of rows that are longer than the header, whose ends would be lost.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                stream,
                sep=separator,
                encoding=encoding,
                dtype=str,  # as it stands there: 007 is no 7
                index_col=False,
                # Only an empty cell is missing: "None" or "NA" may be a label.
                keep_default_na=False,
                na_values=[""],
            )
    except pd.errors.ParserWarning as error:
        raise ValueError("a row has more fields than the header") from error


def _read_json_lines(stream: BinaryIO, encoding: str) -> pd.DataFrame:
    # pandas' own reader makes numbers of strings, and dates of numbers.
    records = []
    text = stream.read().decode(encoding).removeprefix("\ufeff")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} is no JSON ({error})") from error
        if not isinstance(record, dict):
            raise ValueError(
                f"line {number} is a {type(record).__name__}; expected an object, such "
                'as {"text": "..."}'
            )
        records.append(record)
    if not records:
        raise ValueError("it has no line")
    # Of type object: a column that some lines lack would make floats of integers.
    return pd.DataFrame(records, dtype=object)


# -- writing ---------------------------------------------------------------------------


def _to_bytes(frame: pd.DataFrame, form: str) -> bytes:
    if form in SEPARATORS:
        text = frame.to_csv(
            index=False,
            sep=SEPARATORS[form],
            lineterminator="\n",
            quoting=csv.QUOTE_MINIMAL,
        )
        return text.encode()
    if form == "jsonl":
        names = list(frame)
        rows = frame.astype(object).where(frame.notna(), None).itertuples(index=False)
        lines = (to_json(dict(zip(names, row, strict=True))) for row in rows)
        return "".join(f"{line}\n" for line in lines).encode()
    buffer = io.BytesIO()
    if form == "parquet":
        frame.to_parquet(buffer, engine="pyarrow", index=False)
    else:
        _write_excel(frame, buffer)
    return buffer.getvalue()


def _write_excel(frame: pd.DataFrame, buffer: io.BytesIO) -> None:
    try:
        with pd.ExcelWriter(buffer, engine="openpyxl") as writer:
            frame.to_excel(writer, index=False)
            cells = (cell for row in writer.book.active for cell in row)
            for cell in cells:
                if cell.data_type == "f":  # a text that begins with =
                    cell.data_type = "s"
    except Exception as error:
        if type(error).__name__ != "IllegalCharacterError":
            raise
        raise ValueError(f"Excel has no such characters: {error!s:.60}") from error


def _check_library(form: str, name: str) -> None:
    """Raise ModuleNotFoundError if the library of a format is not installed."""
    library = {"parquet": "pyarrow", "xlsx": "openpyxl"}.get(form)
    if library is not None and find_spec(library) is None:
        raise ModuleNotFoundError(
            f"{name} needs {library}, which is not installed. Install it: pip install "
            f"{library}."
        )
