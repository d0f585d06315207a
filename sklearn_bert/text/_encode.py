"""Call the tokenizers library, in batches, and safely in a forked process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tokenizers import Encoding, Tokenizer

from sklearn_bert._process._fork import is_forked

TEXTS_PER_CALL = 8192  # bounds the tokenizer's own objects, which are large


def encode_texts(
    backend: Tokenizer, texts: Sequence[Any], **options: bool
) -> Iterator[Encoding]:
    """Tokenise texts, pairs or lists of words: with all cores, or one after a fork.

    The threads of a process do not live on in its children. A tokenizer that is told
    to use threads (TOKENIZERS_PARALLELISM=true) would wait for them for ever.
    """
    for begin in range(0, len(texts), TEXTS_PER_CALL):
        chunk = texts[begin : begin + TEXTS_PER_CALL]
        if not is_forked():
            yield from backend.encode_batch_fast(chunk, **options)
            continue
        for text in chunk:
            halves = text if isinstance(text, tuple) else (text,)
            yield backend.encode(*halves, **options)


def plain_backend(backend: Tokenizer) -> Tokenizer:
    """Return a copy that neither truncates nor pads."""
    copy = Tokenizer.from_str(backend.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy
