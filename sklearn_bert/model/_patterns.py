"""Regular expressions of a tokenizer that take a time we can answer for.

The engine behind `tokenizers` tries all ways to match, one after the other, cannot be
interrupted, and panics after 10 million. A pattern is let through if at most one repeat
in each alternative can be tried anew when what follows it fails, and the other choices
are few: then the time grows with the square of a text's length at worst. So it is with
the patterns of GPT-2, of Llama 3, of Qwen and of sentencepiece's converters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MOST_LENGTH = 2000
MOST_REPEATS = 1  # in an alternative, that may be tried anew
MOST_CHOICES = 64  # the product over the other choices of an alternative
MOST_DEPTH = 8
# What a pattern is made of; of other things (references, recursion) nothing is known.
PIECE = re.compile(
    r"""
    (?P<open> \( (?: \?: | \?[imx]+: | \?<?[=!] | (?!\?|\*) ) )
  | (?P<close> \) )
  | (?P<bar> \| )
  | (?P<repeat> (?: [*+?] | \{\d{1,3}(?:,\d{0,3})?\} ) [?+]? )
  | (?P<atom> \\[pP]\{\^?\w+\} | \\[^gk1-9] | \[ \^? (?: \\. | [^\[\]\\] )+ \]
            | [^()|*+?{\[\]\\] )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass
class _Part:
    """An element of an alternative, and what it costs to try it anew."""

    repeats: int = 0
    choices: int = 1
    may_fail: bool = True
    # What it costs if nothing that may fail follows.
    last: tuple[int, int] = (0, 1)


@dataclass
class _Group:
    """The alternatives that are open, each a list of parts."""

    alternatives: list[list[_Part]] = field(default_factory=lambda: [[]])
    looks: bool = False  # around, so that nothing follows inside it


def check_pattern(pattern: str) -> None:
    """Raise ValueError if a regular expression may take a text's time to the cube."""
    if len(pattern) > MOST_LENGTH:
        raise ValueError(f"a regular expression of {len(pattern):,} characters")
    stack, place = [_Group()], 0
    while place < len(pattern):
        piece = PIECE.match(pattern, place)
        if piece is None or len(stack) > MOST_DEPTH:
            raise ValueError(f"a regular expression of an unknown kind, {pattern!r}")
        place, kind = piece.end(), piece.lastgroup
        parts = stack[-1].alternatives[-1]
        if kind == "open":
            stack.append(_Group(looks=piece[0][-1] in "=!"))
        elif kind == "bar":
            stack[-1].alternatives.append([])
        elif kind == "atom":
            parts.append(_Part())
        elif kind == "close" and len(stack) > 1:
            group = stack.pop()
            stack[-1].alternatives[-1].append(_closed(group))
        elif kind == "repeat" and parts:
            parts[-1] = _repeated(parts[-1], piece[0])
        else:
            raise ValueError(f"a regular expression that is not closed, {pattern!r}")
    if len(stack) > 1:
        raise ValueError(f"a regular expression that is not closed, {pattern!r}")
    repeats, choices = _cost(stack[0])
    if repeats > MOST_REPEATS or choices > MOST_CHOICES:
        raise ValueError(f"a regular expression that may take very long, {pattern!r}")


def _repeated(part: _Part, sign: str) -> _Part:
    if sign[0] == "?":
        return _Part(part.repeats, 2 * part.choices, may_fail=False, last=part.last)
    if part.repeats or part.choices > 1 or part.last != (0, 1):
        # A repeat of what has choices itself: their number is a power.
        return _Part(MOST_REPEATS + 1, 1, last=(MOST_REPEATS + 1, 1))
    least = 0 if sign[0] == "*" or sign.startswith(("{0", "{,")) else 1
    return _Part(repeats=1, may_fail=bool(least))


def _closed(group: _Group) -> _Part:
    """Return a group as a part of the alternative around it."""
    inside = group.alternatives
    choices = sum(_product(parts) for parts in inside)
    repeats = max(sum(p.repeats for p in parts) for parts in inside)
    may_fail = group.looks or all(any(p.may_fail for p in parts) for parts in inside)
    last = (repeats, choices) if group.looks else _cost(group)
    return _Part(repeats, choices, may_fail, last)


def _cost(group: _Group) -> tuple[int, int]:
    """Return the repeats and choices of a group after which nothing may fail."""
    costs = [_cost_at_end(parts) for parts in group.alternatives]
    return max(c[0] for c in costs), max(c[1] for c in costs)


def _cost_at_end(parts: list[_Part]) -> tuple[int, int]:
    # From the end: what cannot fail, and the last part that can, are not tried anew.
    rest = list(parts)
    lasts = []
    while rest:
        lasts.append(rest.pop())
        if lasts[-1].may_fail:
            break
    repeats = sum(p.repeats for p in rest) + max((p.last[0] for p in lasts), default=0)
    choices = _product(rest) * max((p.last[1] for p in lasts), default=1)
    return repeats, choices


def _product(parts: list[_Part]) -> int:
    choices = 1
    for part in parts:
        choices *= part.choices
    return choices
