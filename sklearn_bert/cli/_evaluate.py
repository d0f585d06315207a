"""`sklearn-bert evaluate`: the scores of a model on a table with targets."""

from __future__ import annotations

import argparse

from sklearn_bert.cli._answers import ANSWERS, PREDICTORS, read_X, read_y
from sklearn_bert.cli._bar import bar
from sklearn_bert.cli._console import show
from sklearn_bert.cli._folders import read_folder
from sklearn_bert.cli._scores import scores_of
from sklearn_bert.cli._tables import read_table


def run(options: argparse.Namespace) -> None:
    """Print the scores."""
    folder = read_folder(options.model, *PREDICTORS, layouts=ANSWERS)
    table = read_table(options.data, options.format, options.encoding)
    X, y = read_X(table, options.text, folder), read_y(table, options.target, folder)
    model = folder.load()
    with bar():
        scores, lines = scores_of(model, X, y)
    show(scores, lines, as_json=options.json)
