"""Any container of texts -> plain lists of `str`; every complaint about X is here.

The only window to data frames. What leaves this file is a `Texts`; no later layer
asks what the caller's container was.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from scipy.sparse import issparse

from sklearn_bert._process._warn import warn

N_ROWS_NAMED = 5  # how many offending rows an error lists


@dataclass(frozen=True)
class Texts:
    """The texts of one call: one list, or two of equal length for sentence pairs.

    Attributes
    ----------
    first : list of str
    second : list of str or None
        The other half of each pair; None where X holds single texts.
    n_features : int
        Columns that are read: 1 for texts, 2 for pairs, with a template those it names.
    is_2d : bool
        Whether the container was two-dimensional, so that it can have column names.
    """

    first: list[str]
    second: list[str] | None
    n_features: int
    is_2d: bool

    def __len__(self) -> int:
        return len(self.first)

    def rows(self) -> list[Any]:
        """Each text, or each pair as a tuple."""
        if self.second is None:
            return self.first
        return list(zip(self.first, self.second, strict=True))

    def distinct(self) -> tuple[Texts, np.ndarray]:
        """Each text (or pair) once, and for every row its place among them."""
        place: dict[Any, int] = {}
        row_of = [place.setdefault(row, len(place)) for row in self.rows()]
        if self.second is None:
            return replace(self, first=list(place)), np.array(row_of, dtype=np.int64)
        first, second = (list(side) for side in zip(*place, strict=True))
        return replace(self, first=first, second=second), np.array(row_of)

    def joined(self, more: Texts) -> Texts:
        """These texts and then others of the same form."""
        second = None
        if self.second is not None and more.second is not None:
            second = self.second + more.second
        return replace(self, first=self.first + more.first, second=second)

    def part(self, begin: int, end: int) -> Texts:
        """Some rows that follow each other."""
        second = None if self.second is None else self.second[begin:end]
        return replace(self, first=self.first[begin:end], second=second)


@dataclass(frozen=True)
class _Column:
    """One column of the caller's container, and how to name its cells in an error."""

    cells: list[Any]
    name: Any = None
    index: pd.Index | None = None  # of pandas
    of: str = "X"

    def cell_name(self, row: int) -> str:
        column = "" if self.name is None else f", {self.name!r}"
        place = f"{self.of}[{row}{column}]"
        if self.index is None:
            return place
        label = self.index[row : row + 1].tolist()[0]
        is_place = isinstance(label, int) and label == row
        return place if is_place else f"{place} (index label {label!r})"


@dataclass(frozen=True)
class _Container:
    columns: list[_Column]
    is_2d: bool
    has_names: bool = False


def check_texts(
    X: Any, *, template: str | None = None, missing: str = "error"
) -> Texts:
    """Return the texts in `X`, or say which row is wrong and what to do.

    Parameters
    ----------
    X : container of texts
        A list, tuple, NumPy array, pandas, polars or Arrow column: texts. Two columns,
        or a list of 2-tuples: sentence pairs.
    template : str or None
        Joins the named columns of a frame into one text, e.g. `"{title}. {body}"`.
    missing : {"error", "empty"}
        Whether None, NaN and NA are refused or read as `""`.

    Raises
    ------
    TypeError
        Where X or one of its cells is of a kind that holds no text.
    ValueError
        Where texts are missing, X is empty, or its shape is neither texts nor pairs.
    """
    container = _open(X)
    n_features = len(container.columns)
    n_rows = len(container.columns[0].cells) if container.columns else 0
    if n_features == 0:
        raise ValueError(
            f"X has 0 feature(s) (shape=({len(X)}, 0)) while a minimum of 1 is "
            "required."
        )
    if n_rows == 0:
        raise ValueError(
            "X is empty: found array with 0 sample(s) while a minimum of 1 is required."
        )
    if template is not None:
        n_features = len(template_columns(template))
        sides = [_render(template, container, missing)]
    elif n_features > 2:
        raise ValueError(
            f"X has {n_features} columns "
            f"({_listed(column.name for column in container.columns)}); expected one "
            "column of texts or two columns of sentence pairs. Join the columns with "
            "template='{first_column} {other_column}', or select one with a "
            "ColumnTransformer."
        )
    else:
        sides = [_check_cells(column, missing) for column in container.columns]
    first, *rest = _mend_surrogates(sides)
    return Texts(first, rest[0] if rest else None, n_features, container.is_2d)


def parse_template(template: str) -> list[tuple[str, str | None, str]]:
    """Split a template into (literal text, column name or None, format spec) pieces.

    Raises
    ------
    ValueError
        Where the braces do not match, a field is unnamed, a field asks for a
        conversion, or there is no field.
    """
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(
            f"template is {template!r}, which is not a valid format string ({error}); "
            "expected column names in braces, e.g. '{title}. {body}'."
        ) from error
    names = [name for _, name, _, _ in pieces if name is not None]
    if not names or not all(names):
        raise ValueError(
            f"template is {template!r}; expected at least one column name, and a name "
            "in every pair of braces, e.g. '{title}. {body}'."
        )
    conversions = [conversion for *_, conversion in pieces if conversion]
    if conversions:
        raise ValueError(
            f"template is {template!r}; expected no conversion such as "
            f"'!{conversions[0]}'. Convert the column first."
        )
    return [(literal, name, spec or "") for literal, name, spec, _ in pieces]


def template_columns(template: str) -> list[str]:
    """The columns that a template reads, each once, in its order."""
    names = [name for _, name, _ in parse_template(template) if name is not None]
    return list(dict.fromkeys(names))


# -- opening the container ---------------------------------------------------------


def rows_of_column(X: Any, name: str = "X") -> list[Any]:
    """The cells of a one-dimensional container, or of a frame's only column."""
    X = nw.to_native(X, pass_through=True)
    _refuse_what_is_no_column(X, name)
    if nw.dependencies.is_into_dataframe(X):
        columns = _open_frame(X).columns
        if len(columns) != 1:
            raise ValueError(
                f"{name} is a frame of {len(columns)} columns; expected one column of "
                "lists."
            )
        rows = columns[0].cells
    elif nw.dependencies.is_into_series(X):
        rows = nw.from_native(X, series_only=True).to_list()
    elif hasattr(X, "to_pylist"):
        rows = X.to_pylist()
    elif isinstance(X, (Sequence, np.ndarray)) and not isinstance(X, (str, bytes)):
        rows = list(X)
    else:
        raise TypeError(
            f"{name} is of type {type(X).__name__}; expected a list of sentences, each "
            "a list."
        )
    if not rows:
        raise ValueError(
            f"{name} is empty: found array with 0 sample(s) while a minimum of 1 is "
            "required."
        )
    return rows


def holds_lists(X: Any) -> bool:
    """Whether the first row that is not missing is a list: of sentences."""
    native = nw.to_native(X, pass_through=True)
    is_frame = nw.dependencies.is_into_dataframe(native) and native.shape[1] == 1
    is_column = nw.dependencies.is_into_series(native) or hasattr(native, "to_pylist")
    if not (is_frame or is_column or isinstance(native, (list, tuple, np.ndarray))):
        return False
    if isinstance(native, np.ndarray) and native.ndim != 1 or not len(native):
        return False
    first = next((r for r in rows_of_column(native) if not is_missing(r)), None)
    return isinstance(first, (list, np.ndarray))


def _open(X: Any) -> _Container:
    """Take the columns out of the caller's container, without looking at the cells."""
    X = nw.to_native(X, pass_through=True)
    _refuse_what_is_no_column(X)
    if _is_arrow_table(X):
        # Not through narwhals: Arrow allows a column name to occur twice.
        columns = zip(X.schema.names, X.columns, strict=True)
        return _frame((name, cells.to_pylist()) for name, cells in columns)
    if nw.dependencies.is_into_dataframe(X):
        return _open_frame(X)
    if nw.dependencies.is_into_series(X):
        index = X.index if nw.dependencies.is_pandas_series(X) else None
        return _open_rows(nw.from_native(X, series_only=True).to_list(), index)
    if hasattr(X, "to_pylist"):  # an Arrow array
        return _open_rows(X.to_pylist())
    if isinstance(X, Sequence):
        return _open_rows(list(X))
    if hasattr(X, "__array__"):
        return _open_array(X)
    raise TypeError(
        f"X is of type {type(X).__name__}; expected a list, array, column or frame of "
        "texts. Turn it into a list first, e.g. list(X)."
    )


def _refuse_what_is_no_column(X: Any, name: str = "X") -> None:
    if isinstance(X, (str, bytes, bytearray)):
        raise TypeError(
            f"{name} is a single {type(X).__name__} ({excerpt(X)}); expected a "
            "sequence of texts. Wrap it in a list: [text]."
        )
    if issparse(X):
        raise TypeError(
            f"{name} is a sparse matrix of shape {X.shape}; expected raw texts. Hand "
            "in the text column itself instead of its vectorised form."
        )
    if isinstance(X, (Mapping, Set)):
        raise TypeError(
            f"{name} is a {type(X).__name__}, which has no rows in order; expected a "
            "list, array, column or frame of texts." + _first_value(X, name)
        )
    if hasattr(X, "column_names") and hasattr(X, "features"):  # of Hugging Face
        columns = X.column_names or ["text"]
        raise TypeError(
            f"{name} is a {type(X).__module__}.{type(X).__name__} of the columns "
            f"{_listed(columns)}; expected texts. Take out the column that holds them, "
            f"e.g. [row[{columns[0]!r}] for row in {name}]."
        )
    if isinstance(X, Iterator):
        raise TypeError(
            f"{name} is a {type(X).__name__}, which can be read only once; expected a "
            "sequence of texts. Turn it into a list first: list(X)."
        )
    if nw.dependencies.is_polars_lazyframe(X):
        raise TypeError(f"{name} is a polars LazyFrame; call .collect() on it first.")


def _first_value(X: Any, name: str) -> str:
    """What to do with a mapping, such as columns or splits by their names."""
    if not isinstance(X, Mapping) or not X:
        return ""
    return f" Take one of its values, e.g. {name}[{next(iter(X))!r}]."


def _is_arrow_table(X: Any) -> bool:
    return hasattr(X, "schema") and hasattr(X, "columns") and hasattr(X, "to_pylist")


def _open_frame(X: Any) -> _Container:
    if nw.dependencies.is_pandas_dataframe(X):
        # Not through narwhals: pandas allows a column name to occur twice.
        columns = ((n, X.iloc[:, i].tolist()) for i, n in enumerate(X.columns))
        return _frame(columns, X.index)
    frame = nw.from_native(X, eager_only=True)
    return _frame((name, frame[name].to_list()) for name in frame.columns)


def _frame(
    columns: Iterable[tuple[Any, list[Any]]], index: pd.Index | None = None
) -> _Container:
    named = [_Column(cells, name, index) for name, cells in columns]
    return _Container(named, is_2d=True, has_names=True)


def _open_array(X: Any) -> _Container:
    array = X.to_numpy(dtype=object) if hasattr(X, "to_numpy") else np.asarray(X)
    if array.ndim == 0 or array.ndim > 2:
        raise ValueError(
            f"X is an array with {array.ndim} dimensions; expected one (texts) or two "
            "(one column of texts, or two columns of sentence pairs)."
        )
    # An empty array has a number's dtype by default, and is told of its emptiness.
    if array.size and array.dtype.kind not in "UOT":
        raise TypeError(
            f"X is an array of dtype {array.dtype} and shape {array.shape}; expected "
            "texts (dtype str or object). Numbers and bytes are not read as text."
        )
    if np.ma.isMaskedArray(X):
        array = array.astype(object)
        array[np.ma.getmaskarray(X)] = None
    if array.ndim == 1:
        return _open_rows(array.tolist())
    width = array.shape[1]
    names = [None] if width == 1 else list(range(width))
    columns = [_Column(array[:, i].tolist(), name) for i, name in enumerate(names)]
    return _Container(columns, is_2d=True)


def _open_rows(rows: list[Any], index: pd.Index | None = None) -> _Container:
    """One-dimensional input: texts, or 2-tuples as sentence pairs."""
    if not any(isinstance(row, tuple) for row in rows):
        return _Container([_Column(rows, index=index)], is_2d=False)
    pairs = [(None, None) if is_missing(row) else row for row in rows]
    for i, pair in enumerate(pairs):
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(
                f"X[{i}] is {excerpt(pair)}; since X holds tuples, every row must be a "
                "tuple of two texts (a sentence pair)."
            )
    columns = [_Column([pair[side] for pair in pairs], side, index) for side in (0, 1)]
    return _Container(columns, is_2d=False)


# -- checking the cells ------------------------------------------------------------


def _check_cells(column: _Column, missing: str) -> list[str]:
    cells = _fill_missing(column, missing)
    if all(type(cell) is str for cell in cells):
        return list(cells)
    wrong = [row for row, cell in enumerate(cells) if not isinstance(cell, str)]
    if not wrong:
        # Subclasses, such as numpy.str_; an Enum's own __str__ gives its name.
        return [str.__str__(cell) for cell in cells]
    cell = cells[wrong[0]]
    raise TypeError(
        f"{column.cell_name(wrong[0])} is {excerpt(cell)} of type "
        f"{type(cell).__name__}; every text must be a str. {_remedy(cell)} "
        f"Rows that are no text: {_listed(wrong)} ({len(wrong)} of {len(cells)})."
    )


def _fill_missing(column: _Column, missing: str) -> list[Any]:
    gaps = [row for row, cell in enumerate(column.cells) if is_missing(cell)]
    if not gaps:
        return column.cells
    if missing == "empty":
        return ["" if is_missing(cell) else cell for cell in column.cells]
    cell = column.cells[gaps[0]]
    raise ValueError(
        f"{column.cell_name(gaps[0])} is {cell!r} of type {type(cell).__name__}; every "
        f"text must be a str. Missing texts in rows {_listed(gaps)} ({len(gaps)} of "
        f"{len(column.cells)}): drop these rows, or read them as '' with "
        "missing='empty'."
    )


def cell_name(values: Any, name: str, row: int, column: int | None = None) -> str:
    """A cell of `y` or the like, by its place and the label of pandas' index."""
    values = nw.to_native(values, pass_through=True)
    kinds = (nw.dependencies.is_pandas_series, nw.dependencies.is_pandas_dataframe)
    index = values.index if any(kind(values) for kind in kinds) else None
    return _Column([], column, index, name).cell_name(row)


def is_missing(cell: Any) -> bool:
    """Whether a cell marks a missing value: None, NaN, NA, NaT, or masked."""
    if cell is None or cell is pd.NA or cell is pd.NaT or cell is np.ma.masked:
        return True
    kinds = (float, np.floating, np.datetime64, np.timedelta64)
    return isinstance(cell, kinds) and bool(cell != cell)


def _remedy(cell: Any) -> str:
    if isinstance(cell, bytes):
        return "Decode it first, e.g. cell.decode('utf-8')."
    if isinstance(cell, Mapping):
        return "Take the texts out of the rows, e.g. [row['text'] for row in X]."
    if isinstance(cell, (list, np.ndarray)):
        return "Join nested words into one text, or use tuples for sentence pairs."
    return "Convert the column first, e.g. with astype(str)."


def _mend_surrogates(sides: list[list[str]]) -> list[list[str]]:
    """Replace lone surrogates, which no tokenizer takes, by U+FFFD, and say so once."""
    broken = {
        row
        for texts in sides
        for row, text in enumerate(texts)
        if not _is_unicode(text)
    }
    if not broken:
        return sides
    mended = [list(texts) for texts in sides]
    for texts in mended:
        for row in broken:
            # Through UTF-16: two surrogates that belong together become one letter.
            utf16 = texts[row].encode("utf-16", "surrogatepass")
            texts[row] = utf16.decode("utf-16", "replace")
    warn(
        f"{len(broken)} of {len(sides[0])} texts hold surrogates, which are no valid "
        f"Unicode (rows {_listed(sorted(broken))}); lone ones are read as U+FFFD."
    )
    return mended


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# -- template ----------------------------------------------------------------------


def _render(template: str, container: _Container, missing: str) -> list[str]:
    """Join named columns row by row; numbers are formatted as Python formats them."""
    pieces = parse_template(template)
    if not container.has_names:
        raise ValueError(
            f"template is {template!r}, but X has no column names; hand in a "
            "data frame."
        )
    columns = {
        name: replace(column, cells=_fill_missing(column, missing))
        for _, name, _ in pieces
        if name is not None
        for column in [_column_named(name, container)]
    }
    return [
        "".join(
            literal + ("" if name is None else _format(columns[name], row, spec))
            for literal, name, spec in pieces
        )
        for row in range(len(container.columns[0].cells))
    ]


def _column_named(name: str, container: _Container) -> _Column:
    found = [column for column in container.columns if column.name == name]
    if len(found) == 1:
        return found[0]
    problem = f"occurs {len(found)} times in X" if found else "X does not have"
    raise ValueError(
        f"template names the column {name!r}, which {problem}; its columns are "
        f"{_listed(column.name for column in container.columns)}."
    )


def _format(column: _Column, row: int, spec: str) -> str:
    cell = column.cells[row]
    # A missing number was filled with "", which a number's format spec would refuse.
    if isinstance(cell, str) and cell == "":
        return ""
    if isinstance(cell, bytes):
        raise TypeError(
            f"{column.cell_name(row)} is {excerpt(cell)} of type bytes; every cell "
            f"must be text or a number. {_remedy(cell)}"
        )
    try:
        return format(cell, spec)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{column.cell_name(row)} is {excerpt(cell)} of type "
            f"{type(cell).__name__}, "
            f"which template cannot format as {spec!r} ({error}); change the format, "
            "or convert the column first."
        ) from error


# -- wording -----------------------------------------------------------------------


def _listed(items: Iterable[Any]) -> str:
    names = [repr(item) for item in items]
    rest = ", ..." if len(names) > N_ROWS_NAMED else ""
    return ", ".join(names[:N_ROWS_NAMED]) + rest


def excerpt(value: Any, width: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."
