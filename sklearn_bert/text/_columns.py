"""Any container of the caller -> columns of cells, and the name of a cell in errors.

Only this module knows data frames. It imports no library of them before it is handed
one: `sklearn_bert.onnx` reads lists and arrays where none is installed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

N_ROWS_NAMED = 5  # how many offending rows an error lists
# The types of pandas' NA and NaT.
PANDAS_GAPS = ("NAType", "NaTType")


@dataclass(frozen=True)
class Column:
    """One column of the caller's container, with what names its cells in an error."""

    cells: list[Any]
    name: Any = None
    index: Any = None  # pandas.Index: the labels of its rows in pandas
    of: str = "X"

    def cell_name(self, row: int) -> str:
        """Name a cell as the caller would index it, with its label in pandas."""
        column = "" if self.name is None else f", {self.name!r}"
        place = f"{self.of}[{row}{column}]"
        if self.index is None:
            return place
        label = self.index[row : row + 1].tolist()[0]
        is_place = isinstance(label, int) and label == row
        return place if is_place else f"{place} (index label {label!r})"

    def filled(self, missing: str) -> list[Any]:
        """Return the cells, "" for missing ones, or raise an error that names them."""
        # All of them first: the error says how many there are.
        gaps = [row for row, cell in enumerate(self.cells) if is_missing(cell)]
        if not gaps:
            return self.cells
        if missing == "empty":
            return ["" if is_missing(cell) else cell for cell in self.cells]
        cell = self.cells[gaps[0]]
        raise ValueError(
            f"{self.cell_name(gaps[0])} is {cell!r} of type {type(cell).__name__}; "
            f"every text must be a str. Missing texts in rows {listed(gaps)} "
            f"({len(gaps)} of {len(self.cells)}): drop these rows, or read them as '' "
            "with missing='empty'."
        )


@dataclass(frozen=True)
class Container:
    columns: list[Column]
    is_2d: bool
    has_names: bool = False


def open_container(X: Any) -> Container:
    """Return the columns of the caller's container; their cells are not checked."""
    X, kind = _native(X)
    _check_is_column(X, kind)
    if all(hasattr(X, name) for name in ("schema", "columns", "to_pylist")):  # Arrow
        # Not through narwhals: Arrow allows a column name to occur twice.
        columns = zip(X.schema.names, X.columns, strict=True)
        return _frame((name, cells.to_pylist()) for name, cells in columns)
    if kind == "frame":
        return _open_frame(X)
    if kind == "series":
        return _open_rows(_list_of_series(X), X.index if _is_pandas(X) else None)
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


def _native(X: Any) -> tuple[Any, str]:
    """Return X, out of the wrapper of narwhals, and what it is.

    That is a "frame", a "series", a "lazy" frame, or "other".
    """
    library = type(X).__module__.partition(".")[0]
    is_plain = isinstance(X, (Sequence, Mapping, Set, Iterator))
    if is_plain or library in ("builtins", "numpy", "scipy"):
        return X, "other"
    if _is_pandas(X):
        return X, "frame" if X.ndim == 2 else "series"
    nw = _narwhals(X)
    X = nw.to_native(X, pass_through=True)
    if nw.dependencies.is_into_dataframe(X):
        return X, "frame"
    if nw.dependencies.is_into_series(X):
        return X, "series"
    return X, "lazy" if nw.dependencies.is_polars_lazyframe(X) else "other"


def _narwhals(X: Any) -> Any:
    """Return the library that reads the frames of any other."""
    try:
        import narwhals
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"to read X of type {type(X).__name__} takes narwhals, which is not "
            "installed. Install it (pip install narwhals), or hand in a list of texts."
        ) from error
    return narwhals


def _is_pandas(X: Any) -> bool:
    pandas = sys.modules.get("pandas")  # nobody has a frame of it before it is imported
    return pandas is not None and isinstance(X, (pandas.DataFrame, pandas.Series))


def is_sparse(X: Any) -> bool:
    """Return whether X is a sparse matrix or array of SciPy."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(X))


def _check_is_column(X: Any, kind: str, name: str = "X") -> None:
    """Raise TypeError if X is a container that cannot be a column of texts."""
    if isinstance(X, (str, bytes, bytearray)):
        raise TypeError(
            f"{name} is a single {type(X).__name__} ({excerpt(X)}); expected a "
            "sequence of texts. Wrap it in a list: [text]."
        )
    if is_sparse(X):
        raise TypeError(
            f"{name} is a sparse matrix of shape {X.shape}; expected raw texts. Hand "
            "in the text column itself instead of its vectorised form."
        )
    if isinstance(X, (Mapping, Set)):
        # A mapping may hold columns or splits by their names.
        has_values = isinstance(X, Mapping) and X
        first = f"{name}[{next(iter(X))!r}]" if has_values else ""
        remedy = f" Take one of its values, e.g. {first}." if has_values else ""
        raise TypeError(
            f"{name} is a {type(X).__name__}, which has no rows in order; expected a "
            f"list, array, column or frame of texts.{remedy}"
        )
    if hasattr(X, "column_names") and hasattr(X, "features"):  # of Hugging Face
        columns = X.column_names or ["text"]
        raise TypeError(
            f"{name} is a {type(X).__module__}.{type(X).__name__} of the columns "
            f"{listed(columns)}; expected texts. Take out the column that holds them, "
            f"e.g. [row[{columns[0]!r}] for row in {name}]."
        )
    # `fit` may read X more than once, and a failed check would have consumed it.
    if isinstance(X, Iterator):
        raise TypeError(
            f"{name} is a {type(X).__name__}, which can be read only once; expected a "
            "sequence of texts. Turn it into a list first: list(X)."
        )
    if kind == "lazy":
        raise TypeError(f"{name} is a polars LazyFrame; call .collect() on it first.")


def _open_frame(X: Any) -> Container:
    if _is_pandas(X):
        # Not through narwhals: pandas allows a column name to occur twice.
        columns = ((n, X.iloc[:, i].tolist()) for i, n in enumerate(X.columns))
        return _frame(columns, X.index)
    frame = _narwhals(X).from_native(X, eager_only=True)
    return _frame((name, frame[name].to_list()) for name in frame.columns)


def _list_of_series(X: Any) -> list[Any]:
    if _is_pandas(X):
        return X.tolist()
    return _narwhals(X).from_native(X, series_only=True).to_list()


def _frame(columns: Iterable[tuple[Any, list[Any]]], index: Any = None) -> Container:
    named = [Column(cells, name, index) for name, cells in columns]
    return Container(named, is_2d=True, has_names=True)


def _open_array(X: Any) -> Container:
    array = X.to_numpy(dtype=object) if hasattr(X, "to_numpy") else np.asarray(X)
    if array.ndim == 0 or array.ndim > 2:
        raise ValueError(
            f"X is an array with {array.ndim} dimensions; expected one (texts) or two "
            "(one column of texts, or two columns of sentence pairs)."
        )
    # An empty array is float64 by default; `check_texts` says that it is empty.
    if array.size and array.dtype.kind not in "UOT":
        raise TypeError(
            f"X is an array of dtype {array.dtype} and shape {array.shape}; expected "
            "texts (dtype str or object). Numbers and bytes are not read as text."
        )
    # `asarray` has dropped the mask.
    if np.ma.isMaskedArray(X):
        array = array.astype(object)
        array[np.ma.getmaskarray(X)] = None
    if array.ndim == 1:
        return _open_rows(array.tolist())
    width = array.shape[1]
    names = [None] if width == 1 else list(range(width))
    columns = [Column(array[:, i].tolist(), name) for i, name in enumerate(names)]
    return Container(columns, is_2d=True)


def _open_rows(rows: list[Any], index: Any = None) -> Container:
    """Return the columns of one-dimensional input: texts, or 2-tuples as pairs."""
    if not any(isinstance(row, tuple) for row in rows):
        return Container([Column(rows, index=index)], is_2d=False)
    # A missing row is a pair of missing texts, so that the error names its cells.
    pairs = [(None, None) if is_missing(row) else row for row in rows]
    for i, pair in enumerate(pairs):
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(
                f"X[{i}] is {excerpt(pair)}; since X holds tuples, every row must be a "
                "tuple of two texts (a sentence pair)."
            )
    columns = [Column([pair[side] for pair in pairs], side, index) for side in (0, 1)]
    return Container(columns, is_2d=False)


def rows_of_column(X: Any, name: str = "X") -> list[Any]:
    """Return the cells of a one-dimensional container or of a frame's only column."""
    X, kind = _native(X)
    _check_is_column(X, kind, name)
    if kind == "frame":
        columns = _open_frame(X).columns
        if len(columns) != 1:
            raise ValueError(
                f"{name} is a frame of {len(columns)} columns; expected one column of "
                "lists."
            )
        rows = columns[0].cells
    elif kind == "series":
        rows = _list_of_series(X)
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
    """Return whether the first row that is not missing is a list (of sentences)."""
    native, kind = _native(X)
    is_frame = kind == "frame" and native.shape[1] == 1
    is_column = kind == "series" or hasattr(native, "to_pylist")
    if not (is_frame or is_column or isinstance(native, (list, tuple, np.ndarray))):
        return False
    if isinstance(native, np.ndarray) and native.ndim != 1 or not len(native):
        return False
    first = next((r for r in rows_of_column(native) if not is_missing(r)), None)
    return isinstance(first, (list, np.ndarray))


def cell_name(values: Any, name: str, row: int, column: int | None = None) -> str:
    """Name a cell of `y` or the like, by its row and its label in pandas' index."""
    values, _ = _native(values)
    index = values.index if _is_pandas(values) else None
    return Column([], column, index, name).cell_name(row)


def is_missing(cell: object) -> bool:
    """Return whether a cell marks a missing value: None, NaN, NA, NaT, or masked."""
    if isinstance(cell, str):  # as most are
        return False
    if cell is None or cell is np.ma.masked or type(cell).__name__ in PANDAS_GAPS:
        return True
    kinds = (float, np.floating, np.datetime64, np.timedelta64)
    # Of all numbers and dates NaN and NaT alone differ from themselves.
    return isinstance(cell, kinds) and bool(cell != cell)


def listed(items: Iterable[Any]) -> str:
    names = [repr(item) for item in items]
    rest = ", ..." if len(names) > N_ROWS_NAMED else ""
    return ", ".join(names[:N_ROWS_NAMED]) + rest


def excerpt(value: object, width: int = 60) -> str:
    """Return the repr of a value, shortened to `width` characters."""
    try:
        text = repr(value)
    except Exception:  # a whole number of thousands of digits has none
        text = f"<{type(value).__name__}>"
    return text if len(text) <= width else text[: width - 3] + "..."


def as_python(value: Any) -> Any:
    """Convert a scalar of NumPy to Python's: 'b' instead of np.str_('b')."""
    if isinstance(value, np.floating):
        return float(value)  # item() of a longdouble returns a longdouble
    if isinstance(value, (np.datetime64, np.timedelta64)):
        # item() of nanoseconds returns their number.
        value = value.astype(f"{value.dtype.kind}8[us]")
    return value.item() if isinstance(value, np.generic) else value


def to_float(number: Any) -> float:
    """Convert a number to a float, infinite if it is too large."""
    try:
        return float(number)
    except OverflowError:
        return np.inf if number > 0 else -np.inf
