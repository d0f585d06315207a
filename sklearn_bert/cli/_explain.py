"""`sklearn-bert explain`: the words of one text, by what they do for its prediction."""

from __future__ import annotations

import argparse
import sys
from html import escape
from typing import Any

import pandas as pd

from sklearn_bert._process._atomic_file import new_file
from sklearn_bert.cli._console import show
from sklearn_bert.cli._folders import read_folder
from sklearn_bert.cli._out import check_free
from sklearn_bert.cli._tables import STDIN
from sklearn_bert.inspection import TextAttributionDisplay, explain

KINDS = ("BertClassifier", "BertRegressor", "BertEmbedder")
WIDTH = 20  # of the longest bar, in characters
PAGE = """<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
</head>
<body style="font-family:sans-serif">
{body}
</body>
</html>
"""


def run(options: argparse.Namespace) -> None:
    """Print a line for each word, and write the text with coloured words."""
    if options.html:
        check_free(options.html, options.force)
    folder = read_folder(options.model, *KINDS, layouts=("sklearn_bert",))
    X = _texts(options.text, folder.fitted("n_features_in_"), folder.kind)
    explanation = explain(folder.load(), X, method=options.method)
    if explanation.empty:
        raise ValueError("the text has no word; there is nothing to explain.")
    if options.html:
        body = TextAttributionDisplay(explanation)._repr_html_()
        page = PAGE.format(title=escape(f"explanation by {options.model}"), body=body)
        with new_file(options.html) as draft:
            draft.write_text(page, "utf-8")
    words = [
        {
            "target": target,
            "words": rows.drop(columns=["text", "target"]).to_dict("records"),
        }
        for target, rows in explanation.groupby("target", sort=False)
    ]
    show(
        {"method": options.method, "targets": words},
        _lines(explanation),
        as_json=options.json,
    )


def _texts(texts: list[str], n_features: int, kind: str) -> list[Any]:
    """Return X of one row: a text, or a pair."""
    expected = 2 if kind == "BertEmbedder" else n_features
    if len(texts) != expected:
        raise ValueError(
            f"got {len(texts)} text(s); the {kind} is explained on {expected}."
        )
    texts = [_stdin() if text == STDIN else text for text in texts]
    return texts if len(texts) == 1 else [tuple(texts)]


def _stdin() -> str:
    if sys.stdin is None:
        raise ValueError("stdin is closed; give the text as an argument.")
    return sys.stdin.read().strip()


def _lines(explanation: pd.DataFrame) -> str:
    """Return the words from the top of the text to its end, each with a bar."""
    lines = []
    largest = explanation["score"].abs().max() or 1.0
    for target, rows in explanation.groupby("target", sort=False):
        lines.append(f"for {target}:")
        for word, score in zip(rows["word"], rows["score"], strict=True):
            bar = ("+" if score > 0 else "-") * round(WIDTH * abs(score) / largest)
            lines.append(f"{score:+9.3f}  {bar:{WIDTH}}  {word}")
    return "\n".join(lines)
