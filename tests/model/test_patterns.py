"""Regular expressions of tokenizers: the published ones pass, slow ones do not."""

import pytest

from sklearn_bert.model._patterns import check_pattern

PUBLISHED = {
    "GPT-2": (
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    ),
    "Llama 3": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "o200k": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "CLIP": r"<\|startoftext\|>|'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    "sentencepiece": r" {2,}",
    "whitespace": r"\w+|[^\w\s]+",
}
SLOW = [
    "(a+)+$",
    "(a|aa)+$",
    "a*a*a*b",
    "a+b*c+d",
    "(?:a{1,9}){1,9}b",
    "a?a?a?a?a?a?a?aaaaaaa",
    "(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)(a|a)b",
    "(?=a+b+c+d)x",
]
UNKNOWN = [r"(?<x>a\g<x>?b)", r"(a)\1", "(?{x})", "((a", "a)", "*", "a{9999}", "[[a]b]"]


@pytest.mark.parametrize("pattern", PUBLISHED.values(), ids=PUBLISHED)
def test_published_patterns_pass(pattern):
    """Patterns of published checkpoints are let through."""
    check_pattern(pattern)


@pytest.mark.parametrize("pattern", SLOW)
def test_slow_patterns_are_refused(pattern):
    """Where several repeats are tried anew, or many choices, it is refused."""
    with pytest.raises(ValueError, match="may take very long"):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", UNKNOWN)
def test_unknown_patterns_are_refused(pattern):
    """References, recursion and what is not closed are refused."""
    with pytest.raises(ValueError, match="of an unknown kind|not closed"):
        check_pattern(pattern)
