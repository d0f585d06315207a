"""Any container of texts -> `Texts`: plain lists of `str`, checked.

No later module asks what the caller's container was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sklearn_bert._process._warn import warn
from sklearn_bert.text._columns import Column, excerpt, listed, open_container
from sklearn_bert.text._template import render, template_columns


@dataclass(frozen=True)
class Texts:
    """The texts of one call: one list, or two lists of equal length for pairs.

    Attributes
    ----------
    first : list of str
    second : list of str or None
        The other half of each pair; None where X holds single texts.
    n_features : int
        Number of columns read: 1 for texts, 2 for pairs, or those of a template.
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
        """Return the texts, or the pairs as tuples."""
        if self.second is None:
            return self.first
        return list(zip(self.first, self.second, strict=True))

    def distinct(self) -> tuple[Texts, np.ndarray]:
        """Return each distinct text (or pair) once, and for every row its index."""
        if len(self) == 1:  # as a service is asked most often
            return self, np.zeros(1, dtype=np.int64)
        place: dict[Any, int] = {}
        row_of = [place.setdefault(row, len(place)) for row in self.rows()]
        if self.second is None:
            return replace(self, first=list(place)), np.array(row_of, dtype=np.int64)
        first, second = (list(side) for side in zip(*place, strict=True))
        return replace(self, first=first, second=second), np.array(row_of)

    def without(self, others: Texts) -> Texts:
        """Return the texts (or pairs) that are not among others of the same form."""
        known = set(others.rows())
        kept = [i for i, row in enumerate(self.rows()) if row not in known]
        first = [self.first[i] for i in kept]
        second = None if self.second is None else [self.second[i] for i in kept]
        return replace(self, first=first, second=second)

    def joined(self, others: Texts) -> Texts:
        """Return these texts followed by others of the same form."""
        second = None
        if self.second is not None and others.second is not None:
            second = self.second + others.second
        return replace(self, first=self.first + others.first, second=second)

    def part(self, begin: int, end: int) -> Texts:
        """Return the rows from `begin` to `end`."""
        second = None if self.second is None else self.second[begin:end]
        return replace(self, first=self.first[begin:end], second=second)


def check_texts(
    X: Any, *, template: str | None = None, missing: str = "error"
) -> Texts:
    """Return the texts in `X`, or raise an error that names the row and a remedy.

    Parameters
    ----------
    X : container of texts
        A list, tuple, NumPy array, pandas, polars or Arrow column: texts. Two columns,
        or a list of 2-tuples: sentence pairs.
    template : str or None
        Joins the named columns of a frame into one text, e.g. `"{title}. {body}"`.
    missing : {"error", "empty"}
        Whether None, NaN and NA are an error or are read as `""`.

    Raises
    ------
    TypeError
        If X or one of its cells is of a type that holds no text.
    ValueError
        If texts are missing, X is empty, or its shape is neither texts nor pairs.
    """
    container = open_container(X)
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
        sides = [render(template, container, missing)]
    elif n_features > 2:
        raise ValueError(
            f"X has {n_features} columns "
            f"({listed(column.name for column in container.columns)}); expected one "
            "column of texts or two columns of sentence pairs. Join the columns with "
            "template='{first_column} {other_column}', or select one with a "
            "ColumnTransformer."
        )
    else:
        sides = [_check_cells(column, missing) for column in container.columns]
    first, *rest = _mend(sides)
    return Texts(first, rest[0] if rest else None, n_features, container.is_2d)


def _check_cells(column: Column, missing: str) -> list[str]:
    cells = column.filled(missing)
    if all(type(cell) is str for cell in cells):
        return list(cells)
    wrong = [row for row, cell in enumerate(cells) if not isinstance(cell, str)]
    if not wrong:
        # Subclasses of str, such as numpy.str_. An Enum's own __str__ returns its name.
        return [str.__str__(cell) for cell in cells]
    cell = cells[wrong[0]]
    raise TypeError(
        f"{column.cell_name(wrong[0])} is {excerpt(cell)} of type "
        f"{type(cell).__name__}; every text must be a str. {_remedy(cell)} "
        f"Rows that are no text: {listed(wrong)} ({len(wrong)} of {len(cells)})."
    )


def _remedy(cell: object) -> str:
    if isinstance(cell, bytes):
        return "Decode it first, e.g. cell.decode('utf-8')."
    if isinstance(cell, Mapping):
        return "Take the texts out of the rows, e.g. [row['text'] for row in X]."
    if isinstance(cell, (list, np.ndarray)):
        return "Join nested words into one text, or use tuples for sentence pairs."
    return "Convert the column first, e.g. with astype(str)."


def _mend(sides: list[list[str]]) -> list[list[str]]:
    """Mend the surrogates of all texts, with one warning."""
    mended = [[mend_surrogates(text) for text in texts] for texts in sides]
    broken = {
        row
        for texts, old in zip(mended, sides, strict=True)
        for row, text in enumerate(texts)
        if text is not old[row]
    }
    if broken:
        rows = f" (rows {listed(sorted(broken))})"
        warn_of_surrogates(len(broken), len(sides[0]), rows)
    return mended


def mend_surrogates(text: str) -> str:
    """Return the text as valid Unicode: lone surrogates become U+FFFD.

    A valid text is returned as it is.
    """
    if text.isascii():  # as most are, and much faster to tell
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Through UTF-16: two surrogates that belong together become one letter.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def warn_of_surrogates(n_broken: int, n_texts: int, rows: str = "") -> None:
    """Warn that texts were mended; `rows` names them."""
    warn(
        f"{n_broken} of {n_texts} texts hold surrogates, which are no valid "
        f"Unicode{rows}; lone ones are read as U+FFFD."
    )
