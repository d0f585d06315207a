"""`sklearn-bert report`: one page that shows where a model errs."""

from __future__ import annotations

import argparse

from sklearn_bert.cli._answers import ANSWERS, read_X, read_y
from sklearn_bert.cli._console import show
from sklearn_bert.cli._folders import read_folder
from sklearn_bert.cli._out import check_free
from sklearn_bert.cli._tables import read_table
from sklearn_bert.inspection import error_report


def run(options: argparse.Namespace) -> None:
    """Write the page."""
    check_free(options.out, options.force)
    folder = read_folder(options.model, "BertClassifier", layouts=ANSWERS)
    table = read_table(options.data, options.format, options.encoding)
    X, y = read_X(table, options.text, folder), read_y(table, options.target, folder)
    train = {}
    if options.train:
        table = read_table(options.train, options.format, options.encoding)
        train["X_train"] = read_X(table, options.text, folder)
        train["y_train"] = read_y(table, options.target, folder)
    model = folder.load()
    error_report(model, X, y, options.out, **train)
    result = {"report": options.out, "rows": len(y)}
    lines = f"report on {len(y)} texts written to {options.out}"
    show(result, lines, as_json=options.json)
