"""Texts with coloured words as a fragment of HTML."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from sklearn_bert.inspection._plotting import AGAINST, FOR, opacity

# Colours are laid over the page's own background, and letters keep the page's colour:
# both are readable in dark mode. An underline tells what speaks against the target.
STYLE = "line-height:1.9;margin:0 0 1em 0;overflow-wrap:anywhere;max-width:60em"
HEADING = "font-size:85%;opacity:0.75"


def to_html(passages: Iterable[Any]) -> str:
    """Return one element for all passages, which needs neither styles nor scripts."""
    return (
        '<div class="sklearn-bert-attribution">'
        + "".join(_paragraph(passage) for passage in passages)
        + "</div>"
    )


def _paragraph(passage: Any) -> str:
    direction = "rtl" if passage.is_rtl else "ltr"
    words = "".join(
        _word(word, score, passage.largest) for word, score in passage.words
    )
    return (
        f'<div style="{HEADING}">{escape(passage.heading)}</div>'
        f'<p dir="{direction}" style="{STYLE}">{words}</p>'
    )


def _word(text: str, score: float, largest: float) -> str:
    word, space = text.rstrip(), text[len(text.rstrip()) :]
    color = FOR if score > 0 else AGAINST
    strength = opacity(score, largest)
    if strength < 0.05:
        return escape(text)
    against = ";text-decoration:underline dotted" if score < 0 else ""
    background = f"background:{color}{round(255 * strength):02x};border-radius:3px"
    return (
        f'<span title="{score:+.3f}" style="{background}{against}">{escape(word)}'
        f"</span>{space}"
    )
