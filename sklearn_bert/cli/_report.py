"""`sklearn-bert report`: one page that shows where a model errs."""

from __future__ import annotations

import argparse

from sklearn_bert import inspection
from sklearn_bert.cli._answers import PREDICTORS, read_X, read_y
from sklearn_bert.cli._console import show
from sklearn_bert.cli._folders import read_folder
from sklearn_bert.cli._new_file import check_free, new_file
from sklearn_bert.cli._tables import read_table


def run(options: argparse.Namespace) -> None:
    """Write the page."""
    check_free(options.out, options.force)
    folder = read_folder(options.model, *PREDICTORS, layouts=("sklearn_bert",))
    table = read_table(options.data, options.format, options.encoding)
    X, y = read_X(table, options.text, folder), read_y(table, options.target, folder)
    model = folder.load()
    with new_file(options.out) as draft:
        inspection.error_report(model, X, y, draft)
    result = {"report": options.out, "rows": len(y)}
    lines = f"report on {len(y)} texts written to {options.out}"
    show(result, lines, as_json=options.json)
