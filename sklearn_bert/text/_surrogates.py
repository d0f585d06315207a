"""Surrogates in a text, which no tokenizer takes."""

from __future__ import annotations

from sklearn_bert._process._warn import warn


def mend_surrogates(text: str) -> str:
    """Return the text as valid Unicode: lone surrogates become U+FFFD.

    A valid text is returned as it is.
    """
    if _is_unicode(text):
        return text
    # Through UTF-16: two surrogates that belong together become one letter.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def warn_of_surrogates(n_broken: int, n_texts: int, rows: str = "") -> None:
    """Warn that texts were mended; `rows` names them."""
    warn(
        f"{n_broken} of {n_texts} texts hold surrogates, which are no valid "
        f"Unicode{rows}; lone ones are read as U+FFFD."
    )


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
