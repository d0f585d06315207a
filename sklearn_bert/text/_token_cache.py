"""Tokenised texts as the cache of the process keeps them."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from sklearn_bert.text._input import Texts

KEY_LENGTH = 256  # characters; the key of a longer text is its hash


class Tokens(NamedTuple):
    """One text as the cache keeps it, in bytes, which are smaller than arrays."""

    ids: bytes  # int32
    type_ids: bytes | None  # uint8
    whole_length: int  # in tokens, before cutting
    is_cut: bool = False
    windows: bytes | None = None  # pairs of int32: length, and tokens that are new


def cache_keys(fingerprint: str, texts: Texts) -> list[str]:
    """Return the key of each text, or pair, in the cache.

    Each key is one string: many tuples would start the garbage collector.
    """
    first = [t if len(t) <= KEY_LENGTH else hashed(t) for t in texts.first]
    if texts.second is None:
        return [f"{fingerprint} {text}" for text in first]
    second = [t if len(t) <= KEY_LENGTH else hashed(t) for t in texts.second]
    pairs = zip(first, second, strict=True)
    return [f"{fingerprint}{len(one)} {one}{other}" for one, other in pairs]


def hashed(text: str) -> str:
    # No text begins with a lone surrogate, so no text can be equal to a hash.
    return "\ud800" + blake2b(text.encode(), digest_size=16).hexdigest()


def size_in_bytes(tokens: Tokens) -> int:
    key = len(tokens.ids)  # the key, a text, is about as long as its ids
    n_bytes = len(tokens.ids) + len(tokens.type_ids or b"")
    return key + n_bytes + len(tokens.windows or b"")
