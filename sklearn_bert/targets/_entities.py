"""Compute the F1 of the entities that tags with prefixes mark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# I, and the last word of an entity in BIOES and in BILOU.
GOING_ON = ("I-", "E-", "L-")
# The last word, and an entity of a single word.
ENDING = ("E-", "L-", "S-", "U-")


def entity_f1(true: list[list[Any]], predicted: list[list[Any]]) -> float:
    """Compute the F1 of the entities of all sentences together (micro).

    An entity is right where its kind, its beginning and its end are. 0.0 where none is,
    also where there are none.

    Parameters
    ----------
    true, predicted : list of n_sentences lists
        A tag for each word.

    Examples
    --------
    >>> entity_f1([["B-PER", "I-PER", "O"]], [["B-PER", "I-PER", "B-LOC"]])
    0.6666666666666666
    """
    wanted, found = _entities(true), _entities(predicted)
    n_right = len(wanted & found)
    if not n_right:
        return 0.0
    precision, recall = n_right / len(found), n_right / len(wanted)
    return 2 * precision * recall / (precision + recall)


def _entities(sentences: list[list[Any]]) -> set[tuple[int, int, int, Any]]:
    return {
        (number, *entity)
        for number, tags in enumerate(sentences)
        for entity in _entities_of(tags)
    }


def _entities_of(tags: list[Any]) -> Iterator[tuple[int, int, Any]]:
    """Yield the beginning, end and kind of the entities, as `conlleval` reads tags.

    An entity goes on with I of its kind; an I that nothing came before begins one.
    """
    start, kind, is_open = 0, None, False
    for place, tag in enumerate(tags):
        prefix, new_kind = _split(tag)
        if is_open and prefix in GOING_ON and new_kind == kind:
            is_open = prefix not in ENDING
            continue
        if kind is not None:
            yield start, place, kind
        start, kind, is_open = place, new_kind, prefix not in ENDING
    if kind is not None:
        yield start, len(tags), kind


def _split(tag: Any) -> tuple[str, Any]:
    """Split a tag into its prefix and its kind; the kind of O is None."""
    if tag == "O":
        return "", None
    if isinstance(tag, str) and tag[1:2] == "-":
        return tag[:2], tag[2:]
    return "", tag
