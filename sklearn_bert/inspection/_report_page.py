"""The HTML of an error report: everything in one file, and everything escaped."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sklearn_bert.inspection._mistakes import N_BINS, Mistakes, wilson
from sklearn_bert.text._input import Texts

# A text, divided where its colour changes: percents, under 0 against the class.
Pieces = list[tuple[str, int]]

BETWEEN = "\n\n"  # the halves of a pair
# What the texts may take of the file: on average, and together at least.
BYTES_PER_TEXT, LEAST_BYTES = 500, 200_000
LONGEST = [20_000, 5_000, 2_000, 1_000, 500, 300, 150]  # characters of a text
N_LETTERS = 200  # characters of a training text
N_CONFUSED = 20  # pairs of classes
MOST_CLASSES = 150  # of a matrix
FEW_CLASSES = 20  # whose matrix has wide cells
N_DUPLICATES = 200


@dataclass(frozen=True)
class Page:
    """What is shown.

    Parameters
    ----------
    title, estimator : str
    mistakes : Mistakes
    suspects : ndarray of int64
        The rows whose labels are doubtful, in order.
    texts : list of str
        Of all rows.
    order : ndarray of int64
        The rows that are in the file.
    words : dict
        Of some rows the class that is explained, and the coloured text.
    near : dict
        Of some rows the nearest training texts, and their cosines.
    lengths : pair of ndarray, or None
        Tokens of each text, and whether it is cut.
    duplicates : DataFrame or None
    train : list of str
    train_labels : list or None
    """

    title: str
    estimator: str
    mistakes: Mistakes
    suspects: np.ndarray
    texts: list[str]
    order: np.ndarray
    words: dict[int, tuple[Any, Pieces]]
    near: dict[int, list[tuple[int, float]]]
    lengths: tuple[np.ndarray, np.ndarray] | None
    duplicates: pd.DataFrame | None
    train: list[str]
    train_labels: list[Any] | None


def joined(texts: Texts) -> list[str]:
    """Return each text as one str; the halves of a pair are apart."""
    if texts.second is None:
        return texts.first
    return [BETWEEN.join(row) for row in texts.rows()]


def render(page: Page) -> str:
    """Return the page."""
    folder = Path(__file__).parent
    style = (folder / "_report.css").read_text("utf-8")
    script = (folder / "_report.js").read_text("utf-8")
    digest = b64encode(sha256(script.encode()).digest()).decode()
    # A browser runs this script and no other, and loads nothing.
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; "
        "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    sections = [
        ("scores", "Classes", _classes(page.mistakes)),
        ("confusion", "Confusions", _confusions(page.mistakes)),
        ("texts", "Texts", _browser(page)),
        ("training", "In training", _duplicates(page)),
        ("calibration", "Calibration", _calibration(page.mistakes)),
        ("lengths", "Lengths", _lengths(page)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{name}">{head}</a>' for name, head, _ in sections)
    body = "".join(
        f'<section id="{name}"><h2>{head}</h2>{content}</section>'
        for name, head, content in sections
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(page.title)}</title>\n<style>{style}</style></head>\n<body>"
        f"<header><h1>{escape(page.title)}</h1>{_summary(page)}</header>"
        f"<nav><div>{links}</div></nav><main>{body}"
        '<footer class="soft">Written by sklearn_bert. This file holds the texts that '
        "it shows.</footer></main>\n"
        f'<script type="application/json" id="data">{_data(page)}</script>\n'
        f"<script>{script}</script></body></html>\n"
    )


# -- sections --------------------------------------------------------------------------


def _summary(page: Page) -> str:
    mistakes = page.mistakes
    n, n_right = len(mistakes), int((~mistakes.is_wrong).sum())
    low, high = wilson(np.array(n_right), np.array(n))
    macro = mistakes.scores()["f1"].mean()
    tiles = [
        ("Accuracy", number(n_right / n), span(low, high)),
        ("Macro F1", number(macro), ""),
        ("Log loss", number(mistakes.losses.mean()), ""),
        ("Calibration error", number(mistakes.calibration_error()), ""),
        ("Predicted wrong", f"{n - n_right:,}", ""),
        ("Doubtful labels", f"{len(page.suspects):,}", ""),
    ]
    return (
        f'<p class="soft">{escape(page.estimator)}, {n:,} texts, '
        f"{len(mistakes.classes):,} classes. Intervals are of 95 %.</p>"
        + '<dl class="tiles">'
        + "".join(f"<div><dt>{a}</dt><dd>{b}{c}</dd></div>" for a, b, c in tiles)
        + "</dl>"
    )


def _classes(mistakes: Mistakes) -> str:
    scores = mistakes.scores()
    order = np.argsort(scores["f1"].to_numpy(), kind="stable")
    body = []
    for place in order:
        row = scores.iloc[place]
        cells = [_class_button(mistakes, place)]
        cells += [
            number(row[name]) + span(row[f"{name}_low"], row[f"{name}_high"])
            for name in ("precision", "recall", "f1")
        ]
        body.append([*cells, f"{int(row['support']):,}"])
    head = ["Class", "Precision", "Recall", "F1", "Texts"]
    return (
        '<p class="soft">The lowest F1 first. A class opens its texts.</p>'
        f'<div class="scroll tall">{_table(head, body)}</div>'
    )


def _confusions(mistakes: Mistakes) -> str:
    names, counts = names_of(mistakes.classes), mistakes.counts
    wrong = counts - np.diag(np.diag(counts))
    support = counts.sum(axis=1)
    cells = np.argsort(-wrong, axis=None, kind="stable")[:N_CONFUSED]
    body = [
        [
            escape(names[own]),
            escape(names[other]),
            f'<button class="link" data-label="{own}" data-predicted="{other}">'
            f"{wrong[own, other]:,}</button>",
            f"{wrong[own, other] / support[own]:.0%}",
        ]
        for own, other in zip(*np.unravel_index(cells, counts.shape), strict=True)
        if wrong[own, other]
    ]
    content = ""
    if len(names) > 2 and body:
        head = ["Label", "Predicted", "Texts", "Of the label"]
        content = "<h3>Most frequent</h3>" + (
            f'<div class="scroll">{_table(head, body, n_words=2)}</div>'
        )
    if len(names) > MOST_CLASSES:
        return content
    return content + (
        "<h3>Matrix</h3>"
        '<p class="soft">Rows are labels, columns predictions. A cell opens its texts.'
        f'</p><div class="scroll tall">{_matrix(names, counts)}</div>'
    )


def _matrix(names: list[str], counts: np.ndarray) -> str:
    heads = "".join(
        f'<th scope="col"><span title="{escape(name)}">{escape(name)}</span></th>'
        for name in names
    )
    rows = []
    for own, (name, of_row) in enumerate(zip(names, counts, strict=True)):
        total = max(int(of_row.sum()), 1)
        cells = "".join(
            _cell(names, own, other, int(n), total) if n else "<td>"
            for other, n in enumerate(of_row)
        )
        title = escape(name)
        rows.append(f'<tr><th scope="row" title="{title}">{title}</th>{cells}')
    many = " many" if len(names) > FEW_CLASSES else ""
    return (
        f'<table class="matrix{many}"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _cell(names: list[str], own: int, other: int, n: int, total: int) -> str:
    kind = ' class="diagonal"' if own == other else ""
    title = escape(f"label {names[own]}, predicted {names[other]}: {n:,}")
    # By the root: a few of many are seen, too.
    return (
        f'<td{kind}><button style="--share:{(n / total) ** 0.5:.2f}" title="{title}" '
        f'data-label="{own}" data-predicted="{other}">{n}</button>'
    )


def _browser(page: Page) -> str:
    n, n_all = len(page.order), len(page.texts)
    cut = _longest(page)
    notes = [] if n == n_all else [f"{n:,} of {n_all:,} texts are in this file."]
    if any(len(page.texts[row]) > cut for row in page.order):
        notes.append(f"Of a text the first {cut:,} characters are shown.")
    if page.words:
        notes.append(
            f"In {len(page.words):,} texts, words are coloured: orange ones speak for "
            "the predicted class, blue ones, underlined, against it."
        )
    chosen = ("", " selected") if not len(page.suspects) else (" selected", "")
    return (
        '<p class="soft">Doubtful labels are those that confident learning finds most '
        "likely wrong, the likeliest first; other texts are sorted by their loss. The "
        "margin is how far the label is above the likeliest other class. "
        f"{' '.join(notes)}</p>"
        '<div class="filter">'
        '<label class="search">Search<input id="search" type="search" '
        'autocomplete="off"></label>'
        f'<label>Show<select id="show"><option value="doubtful"{chosen[0]}>doubtful '
        f'labels</option><option value="wrong"{chosen[1]}>predicted wrong</option>'
        '<option value="all">all</option></select></label>'
        '<label>Label<select id="label"><option value="">any</option></select></label>'
        '<label>Predicted<select id="predicted"><option value="">any</option></select>'
        '</label><button id="reset">All texts</button></div>'
        '<p id="count" aria-live="polite"></p><div id="list"></div>'
        '<button class="more" id="more" hidden>Show more</button>'
    )


def _duplicates(page: Page) -> str:
    if page.duplicates is None:
        return ""
    names = names_of(page.mistakes.classes)
    body = []
    for row, train_row, similarity in page.duplicates.head(N_DUPLICATES).to_numpy():
        row, train_row = int(row), int(train_row)
        label = ""
        if page.train_labels is not None:
            label = str(page.train_labels[train_row])
        body.append(
            [
                f'<span dir="auto">{escape(cut_at(page.texts[row], N_LETTERS))}</span>',
                escape(names[page.mistakes.labels[row]]),
                f'<span dir="auto">{escape(cut_at(page.train[train_row], N_LETTERS))}'
                "</span>",
                escape(label),
                "equal" if similarity == 1 else number(similarity),
            ]
        )
    n, n_all = len(page.duplicates), len(page.texts)
    content = (
        f"<p>{n:,} of {n_all:,} texts are nearly the same as one of the "
        f"{len(page.train):,} training texts: equal but for case and punctuation, or "
        "nearly so in their letters. Scores on them say little about new texts.</p>"
    )
    if n > n_all / 2:
        content += (
            '<p class="note">If the estimator was trained on these texts, it has '
            "learnt their labels, wrong ones too: scores are too good, and few wrong "
            "labels are found. Use probabilities of cross-validation instead.</p>"
        )
    if body:
        head = ["Text", "Label", "Training text", "Its label", "Likeness"]
        content += f'<div class="scroll tall">{_table(head, body, n_words=4)}</div>'
    return content


def _calibration(mistakes: Mistakes) -> str:
    found = mistakes.calibration()
    marks = []
    for row in found.itertuples():
        x, y = _at(row.confidence), 300 - _at(row.accuracy)
        high, low = 300 - _at(row.high), 300 - _at(row.low)
        marks.append(
            f'<line x1="{x}" x2="{x}" y1="{low}" y2="{high}" stroke="var(--link)"/>'
            f'<circle cx="{x}" cy="{y}" r="4" fill="var(--link)"><title>{row.n:,} '
            f"texts, accuracy {number(row.accuracy)}</title></circle>"
        )
    path = " ".join(
        f"{_at(row.confidence)},{300 - _at(row.accuracy)}" for row in found.itertuples()
    )
    ticks = "".join(
        f'<text x="{_at(value)}" y="292" text-anchor="middle">{value}</text>'
        f'<text x="26" y="{304 - _at(value)}" text-anchor="end">{value}</text>'
        for value in (0.0, 0.5, 1.0)
    )
    return (
        "<p>How often predictions are right, by the probability of the predicted "
        "class. On the dashed line they can be taken at their word; below it they are "
        "too sure. The expected calibration error, over "
        f"{N_BINS} bins of equal width, is "
        f"{number(mistakes.calibration_error())}.</p>"
        '<svg viewBox="-12 0 312 312" role="img" aria-label="calibration curve">'
        '<path d="M30 10V270H290" fill="none" stroke="var(--line)"/>'
        '<path d="M30 270L290 10" stroke="var(--soft)" stroke-dasharray="4 4"/>'
        f'<polyline points="{path}" fill="none" stroke="var(--link)"/>{"".join(marks)}'
        f'{ticks}<text x="160" y="308" text-anchor="middle">predicted probability'
        '</text><text transform="translate(0 140) rotate(-90)" text-anchor="middle">'
        "share that is right</text></svg>"
    )


def _lengths(page: Page) -> str:
    if page.lengths is None:
        return ""
    lengths, is_cut = page.lengths
    body = [
        [
            f"{row.shortest:,} to {row.longest:,}",
            f"{row.n:,}",
            f"{row.n_cut:,}",
            number(row.accuracy) + span(row.low, row.high),
        ]
        for row in page.mistakes.by_length(lengths, is_cut).itertuples()
    ]
    n_cut = int(is_cut.sum())
    what = "No text is cut." if not n_cut else f"{n_cut:,} texts are longer, and cut."
    head = ["Tokens", "Texts", "Cut", "Accuracy"]
    return (
        f"<p>The median text has {np.median(lengths):,.0f} tokens, the longest "
        f'{lengths.max():,}. {what}</p><div class="scroll">{_table(head, body)}</div>'
    )


# -- parts -----------------------------------------------------------------------------


def _data(page: Page) -> str:
    """Return what the script reads, as JSON that no parser of HTML takes for markup."""
    mistakes, limit = page.mistakes, _longest(page)
    rank = {int(row): place + 1 for place, row in enumerate(page.suspects)}
    columns = {label: place for place, label in enumerate(mistakes.classes.tolist())}
    near_rows = {train_row for found in page.near.values() for train_row, _ in found}
    place_of = {train_row: place for place, train_row in enumerate(sorted(near_rows))}
    rows = []
    for row in page.order.tolist():
        target, pieces = page.words.get(row, (None, [(page.texts[row], 0)]))
        entry = {
            "row": row,
            "label": int(mistakes.labels[row]),
            "predicted": int(mistakes.predicted[row]),
            "p_label": round(float(mistakes.of_label[row]), 4),
            "p_predicted": round(float(mistakes.confidence[row]), 4),
            "loss": round(float(mistakes.losses[row]), 3),
            "margin": round(float(mistakes.margins[row]), 3),
            "text": _flat(pieces, limit),
        }
        if row in rank:
            entry["rank"] = rank[row]
        if target is not None and columns[target] != entry["predicted"]:
            entry["target"] = columns[target]  # proba is not of the estimator
        if row in page.near:
            found = page.near[row]
            entry["near"] = [[place_of[where], round(cos, 3)] for where, cos in found]
        rows.append(entry)
    labels = page.train_labels
    train = [
        [
            cut_at(page.train[row], N_LETTERS),
            None if labels is None else str(labels[row]),
        ]
        for row in sorted(near_rows)
    ]
    content = {"classes": names_of(mistakes.classes), "rows": rows, "train": train}
    encoded = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        encoded = encoded.replace(character, f"\\u{ord(character):04x}")
    return encoded


def _flat(pieces: Pieces, limit: int) -> list[Any]:
    """Return [text, colour, text, colour, ...], cut after so many characters."""
    found: list[Any] = []
    for text, percent in pieces:
        if limit <= 0:
            break
        found += [cut_at(text, limit), percent]
        limit -= len(text)
    return found[:-1]  # the last colour is none


def _longest(page: Page) -> int:
    """Return how many characters of a text are shown, so that the file stays small."""
    shown = [page.texts[row] for row in page.order]
    budget = max(LEAST_BYTES, BYTES_PER_TEXT * len(shown))
    for limit in LONGEST:
        if sum(len(text[:limit].encode("utf-8", "replace")) for text in shown) < budget:
            return limit
    return LONGEST[-1]


def _class_button(mistakes: Mistakes, place: int) -> str:
    name = escape(str(mistakes.classes[place]))
    return f'<button class="link" data-label="{place}">{name}</button>'


def _table(head: list[str], body: list[list[str]], n_words: int = 1) -> str:
    """Return a table; behind the first columns, of words, cells are numbers."""
    kinds = ["" if i < n_words else ' class="number"' for i in range(len(head))]
    heads = "".join(
        f'<th scope="col"{kind}>{name}</th>'
        for name, kind in zip(head, kinds, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(f"<td{k}>{cell}</td>" for k, cell in zip(kinds, cells, strict=True))
        + "</tr>"
        for cells in body
    )
    return (
        f'<table class="plain"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _at(value: Any) -> int:
    """Return the place of a share in the drawing."""
    return round(30 + 260 * value)


def names_of(classes: np.ndarray) -> list[str]:
    """Return the classes as they are shown."""
    return [str(label) for label in classes.tolist()]


def number(value: Any) -> str:
    """Return a number of three digits."""
    return "–" if np.isnan(value) else f"{value:.3f}"


def span(low: Any, high: Any) -> str:
    """Return an interval."""
    if np.isnan(low):
        return ""
    return f'<span class="range">{low:.2f}–{high:.2f}</span>'


def cut_at(text: str, n: int) -> str:
    """Return the beginning of a text that is longer than n characters."""
    return text if len(text) <= n else text[: n - 1] + "…"
