"""A template such as "{title}. {body}" -> one text from the columns of each row."""

from __future__ import annotations

import string
from dataclasses import replace

from sklearn_bert.text._columns import Column, Container, excerpt, listed


def parse_template(template: str) -> list[tuple[str, str | None, str]]:
    """Split a template into (literal text, column name or None, format spec) pieces.

    Raises
    ------
    ValueError
        If the braces do not match, a field has no name or a conversion, or there is no
        field.
    """
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(
            f"template is {excerpt(template, 500)}, which is not a valid format string "
            f"({error}); "
            "expected column names in braces, e.g. '{title}. {body}'."
        ) from error
    names = [name for _, name, _, _ in pieces if name is not None]
    if not names or not all(names):
        raise ValueError(
            f"template is {excerpt(template, 500)}; expected at least one column name, "
            "and a name in every pair of braces, e.g. '{title}. {body}'."
        )
    conversions = [conversion for *_, conversion in pieces if conversion]
    if conversions:
        raise ValueError(
            f"template is {template!r}; expected no conversion such as "
            f"'!{conversions[0]}'. Convert the column first."
        )
    return [(literal, name, spec or "") for literal, name, spec, _ in pieces]


def template_columns(template: str) -> list[str]:
    """Return the columns that a template names, each once, in their order."""
    names = [name for _, name, _ in parse_template(template) if name is not None]
    return list(dict.fromkeys(names))


def render(template: str, container: Container, missing: str) -> list[str]:
    """Join named columns row by row; numbers are formatted as Python formats them."""
    pieces = parse_template(template)
    if not container.has_names:
        raise ValueError(
            f"template is {template!r}, but X has no column names; hand in a "
            "data frame."
        )
    columns = {
        name: replace(column, cells=column.filled(missing))
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


def _column_named(name: str, container: Container) -> Column:
    found = [column for column in container.columns if column.name == name]
    if len(found) == 1:
        return found[0]
    problem = f"occurs {len(found)} times in X" if found else "X does not have"
    raise ValueError(
        f"template names the column {name!r}, which {problem}; its columns are "
        f"{listed(column.name for column in container.columns)}."
    )


def _format(column: Column, row: int, spec: str) -> str:
    cell = column.cells[row]
    # A missing number was replaced by "", which a number's format spec does not accept.
    if isinstance(cell, str) and cell == "":
        return ""
    if isinstance(cell, bytes):
        raise TypeError(
            f"{column.cell_name(row)} is {excerpt(cell)} of type bytes; every cell "
            f"must be text or a number. Decode it first, e.g. "
            "cell.decode('utf-8')."
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
