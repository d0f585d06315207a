"""The parts of a `tokenizer.json`, looked at before the library `tokenizers` runs them.

The library is written in Rust. What its authors did not foresee in a file ends in a
panic, which no `except Exception` catches, in an abort of the process, or in a loop
that nothing interrupts. So what can lead there is bounded here.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from transformers.convert_slow_tokenizer import import_protobuf

from sklearn_bert._process._errors import DamagedCheckpointError
from sklearn_bert.model._damage import SAVE_TOKENIZER, damaged, read_json
from sklearn_bert.model._patterns import check_pattern

MOST_STEPS = 16  # of a normaliser, and of each other part
MOST_GROWTH = 64  # of a text, by the replacements of a normaliser
MOST_SPECIAL = 16  # tokens around a text
MOST_ADDED_LETTERS = 64  # that are put before a text
# A WordPiece model tries all parts of a word that is not longer.
LONGEST_WORD = 1000
LARGEST_ID = 2**24
LONGEST_TEXT = 2**24  # in tokens, of paddings
# Entries of a tokenizer_config.json that name other files, or stand for what a
# tokenizer.json says.
NOT_IN_CONFIG = (
    "vocab",
    "merges",
    "gguf_file",
    "fast_tokenizer_files",
    "init_inputs",
    "tokenizer_object",
    "tokenizer_padding",
    "tokenizer_truncation",
    "post_processor",
    "_json_padding",
    "_json_truncation",
    "_spm_precompiled_charsmap",
)


def check_tokenizer_json(path: Path, remedy: str = SAVE_TOKENIZER) -> None:
    """Raise DamagedCheckpointError if a tokenizer.json holds what could do harm."""
    check_tokenizer_parts(path, read_json(path, {}, remedy), remedy)


def check_tokenizer_parts(
    path: Path, parts: dict[str, Any], remedy: str = SAVE_TOKENIZER
) -> None:
    """Raise DamagedCheckpointError if the content of a tokenizer.json could do harm."""
    try:
        _check_normalizer(parts.get("normalizer"))
        _check_pre_tokenizer(parts.get("pre_tokenizer"))
        _check_model(parts.get("model"))
        _check_post_processor(parts.get("post_processor"))
        _check_decoder(parts.get("decoder"))
        _check_lengths(parts.get("padding"), parts.get("truncation"))
    except ValueError as error:
        raise damaged(path, f"has {error}, which is not read", remedy) from error
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise DamagedCheckpointError(
            f"{path}, made by a newer or older version of tokenizers perhaps, cannot "
            f"be read: {error} ({type(error).__name__}). {remedy}."
        ) from error


def check_tokenizer_settings(path: Path, remedy: str = SAVE_TOKENIZER) -> None:
    """Raise DamagedCheckpointError if a tokenizer_config.json names other files."""
    settings = read_json(path, {}, remedy)
    for name in NOT_IN_CONFIG:
        if settings.get(name):
            raise damaged(path, f"has an entry {name!r}, which is not read", remedy)


def check_sentencepiece(path: Path, remedy: str = SAVE_TOKENIZER) -> None:
    """Raise DamagedCheckpointError if a sentencepiece model could do harm."""
    model = import_protobuf().ModelProto()
    model.ParseFromString(path.read_bytes())
    try:
        _check_charsmap(model.normalizer_spec.precompiled_charsmap)
        if not all(math.isfinite(piece.score) for piece in model.pieces):
            raise ValueError("a score that is no number")
    except ValueError as error:
        raise damaged(path, f"has {error}", remedy) from error


def check_backend(path: Path, backend: Tokenizer, remedy: str = SAVE_TOKENIZER) -> int:
    """Return the largest id; raise DamagedCheckpointError if tokens could do harm."""
    largest = max(backend.get_vocab().values(), default=0)
    if largest >= LARGEST_ID:
        raise damaged(path, f"gives a token the id {largest:,}", remedy)
    normalizer = backend.normalizer
    for token in backend.get_added_tokens_decoder().values():
        is_changed = token.normalized and normalizer is not None
        # It would be found everywhere, also inside of letters.
        if is_changed and not normalizer.normalize_str(token.content):
            raise damaged(
                path,
                f"adds the token {token.content!r}, of which its normaliser leaves "
                "nothing",
                remedy,
            )
    return largest


# -- the parts: each raises ValueError ---------------------------------------------


def _check_normalizer(part: Any) -> None:
    growth, n_bytes = 1, 0
    for step in _steps(part, "normalizers"):
        kind = step.get("type")
        if kind == "Precompiled":
            _check_charsmap(_decoded(step["precompiled_charsmap"]))
        elif kind == "Replace":
            growth *= _growth(step)
        elif kind == "Prepend" and len(step["prepend"]) > MOST_ADDED_LETTERS:
            raise ValueError(f"{len(step['prepend']):,} letters to put before texts")
        n_bytes += kind == "ByteLevel"
    if growth > MOST_GROWTH:
        raise ValueError(f"replacements that make a text {growth:,} times as long")
    if n_bytes > 1:  # each makes of a byte of one letter two
        raise ValueError(f"{n_bytes} steps of the kind ByteLevel")


def _check_pre_tokenizer(part: Any) -> None:
    n_bytes = 0
    for step in _steps(part, "pretokenizers"):
        _check_step_pattern(step)
        if step.get("type") == "FixedLength" and step["length"] < 1:
            raise ValueError(f"pieces of {step['length']} letters")
        n_bytes += step.get("type") == "ByteLevel"
    if n_bytes > 1:
        raise ValueError(f"{n_bytes} steps of the kind ByteLevel")


def _check_decoder(part: Any) -> None:
    growth = 1
    for step in _steps(part, "decoders"):
        if step.get("type") == "Replace":
            growth *= _growth(step)
        if step.get("type") == "Strip" and max(step["start"], step["stop"]) > 1:
            raise ValueError("a decoder that strips more than one letter")
    if growth > MOST_GROWTH:
        raise ValueError(f"replacements that make a text {growth:,} times as long")


def _check_lengths(padding: Any, truncation: Any) -> None:
    """Raise ValueError at settings that abort; they are switched off only later."""
    if padding is not None:
        strategy, multiple = padding["strategy"], padding.get("pad_to_multiple_of")
        length = strategy["Fixed"] if isinstance(strategy, dict) else 1
        if not 0 < length <= LONGEST_TEXT:
            raise ValueError(f"a padding to {length:,} tokens")
        if multiple is not None and not 0 < multiple <= LONGEST_TEXT:
            raise ValueError(f"a padding to multiples of {multiple:,}")
    if truncation is not None:
        stride, length = truncation["stride"], truncation["max_length"]
        if not 0 <= stride <= length < 2**62:
            raise ValueError(
                f"a truncation to {length:,} tokens in steps of {stride:,}"
            )


def _check_model(part: Any) -> None:
    words, kind = part["vocab"], part.get("type")
    if kind not in (None, "BPE", "Unigram", "WordLevel", "WordPiece"):
        return  # tokenizers refuses it, and says so
    if kind == "Unigram" or isinstance(words, list):
        unknown = part.get("unk_id")
        if not (isinstance(unknown, int) and 0 <= unknown < len(words)):
            raise ValueError(f"the unk_id {unknown!r} for {len(words)} pieces")
        if not all(math.isfinite(score) for _, score in words):
            raise ValueError("a score that is no number")
        return
    unknown, letters = part.get("unk_token"), part.get("max_input_chars_per_word")
    if unknown not in words and (unknown is not None or kind not in (None, "BPE")):
        raise ValueError(f"no entry for its unknown token {unknown!r}")
    if letters is not None and letters > LONGEST_WORD:
        raise ValueError(f"words of {letters:,} letters (max_input_chars_per_word)")
    if part.get("dropout"):
        raise ValueError(f"a dropout of {part['dropout']}, so that ids are random")
    if prefix := part.get("continuing_subword_prefix"):
        for merge in part.get("merges", ()):
            second = merge.split(" ")[-1] if isinstance(merge, str) else merge[1]
            if not second.startswith(prefix):
                raise ValueError(f"the merge {merge!r} without the prefix {prefix!r}")


def _check_post_processor(part: Any) -> None:
    steps = _steps(part, "processors")
    others = [step for step in steps if step.get("type") != "ByteLevel"]
    if len(others) > 1:
        raise ValueError("more than one step that puts tokens around a text")
    for step in others:
        if step.get("type") != "TemplateProcessing":
            for place in ("sep", "cls"):
                _check_special_ids([step[place][1]])
            continue
        special = step["special_tokens"]
        for token in special.values():
            _check_special_ids(token["ids"])
            if len(token["ids"]) != len(token["tokens"]) or not token["ids"]:
                raise ValueError("a special token without as many ids as tokens")
        _check_template(step["single"], ["A"], special)
        _check_template(step["pair"], ["A", "B"], special)


def _check_template(pieces: Any, halves: list[str], special: dict[str, Any]) -> None:
    found = []
    n_special = 0
    for piece in pieces:
        ((kind, value),) = piece.items()
        if not 0 <= value["type_id"] <= 255:
            raise ValueError(f"the token type {value['type_id']}")
        if kind == "Sequence":
            found.append(value["id"])
        elif value["id"] in special:
            n_special += len(special[value["id"]]["ids"])
        else:
            raise ValueError(f"a template with the unknown token {value['id']!r}")
    if sorted(found) != halves or n_special > MOST_SPECIAL:
        raise ValueError(
            f"a template of the texts {found} and {n_special} tokens; expected "
            f"{halves} and at most {MOST_SPECIAL}"
        )


def _check_special_ids(ids: list[int]) -> None:
    if not all(0 <= i < LARGEST_ID for i in ids):
        raise ValueError(f"a special token with the ids {ids}")


def _check_charsmap(data: bytes) -> None:
    """Raise ValueError if a map of letters leads out of itself.

    It is a trie in a double array, as of J. Aoe, then the texts that it leads to. The
    library follows it without a look at its ends. All nodes that can be reached, by any
    byte, are followed here.
    """
    if not data:
        return
    size = int.from_bytes(data[:4], "little")
    if len(data) < 4 + size or size % 1024 or not size:
        raise ValueError("a charsmap that is cut short")
    units = np.frombuffer(data[4 : 4 + size], "<u4").astype(np.int64)
    texts = data[4 + size :]
    starts = {0, *(i + 1 for i, byte in enumerate(texts) if byte == 0)}
    offsets = (units >> 10) << ((units & (1 << 9)) >> 6)
    # The label with the highest bit, which marks a value.
    labels = units & ((1 << 31) | 0xFF)
    nodes, seen = np.array([offsets[0]]), np.zeros(len(units), dtype=bool)
    while nodes.size:
        if (nodes >= len(units)).any():
            raise ValueError("a charsmap that leads out of itself")
        nodes = np.unique(nodes[~seen[nodes]])
        seen[nodes] = True
        bytes_ = np.arange(1, 256)
        # As many units as a multiple of 256: a byte cannot lead out of them.
        places = nodes[:, None] ^ bytes_
        places = places[labels[places] == bytes_]
        nodes = places ^ offsets[places]
        has_value = (units[places] >> 8) & 1 == 1
        ends = nodes[has_value]
        if (ends >= len(units)).any():
            raise ValueError("a charsmap that leads out of itself")
        values = units[ends] & ((1 << 31) - 1)
        if not starts.issuperset(values.tolist()) or (values >= len(texts)).any():
            raise ValueError("a charsmap that leads out of its texts")
    texts.decode("utf-8")


# -- what the parts have in common ---------------------------------------------------


def _steps(part: Any, inside: str) -> list[dict[str, Any]]:
    """Return the steps of a part, of sequences in sequences too."""
    steps = list(_flat(part, inside))
    if len(steps) > MOST_STEPS:
        raise ValueError(f"{len(steps)} {inside}; expected {MOST_STEPS} at most")
    return steps


def _flat(part: Any, inside: str) -> Iterator[dict[str, Any]]:
    if part is None:
        return
    if part.get("type") == "Sequence" or inside in part:
        for step in part[inside]:
            yield from _flat(step, inside)
    else:
        yield part


def _check_step_pattern(step: dict[str, Any]) -> None:
    pattern = step.get("pattern")
    if isinstance(pattern, dict) and "Regex" in pattern:
        check_pattern(pattern["Regex"])


def _growth(step: dict[str, Any]) -> int:
    """Return how many times as long a replacement may make a text."""
    _check_step_pattern(step)
    replaced, content = step["pattern"].get("String"), step["content"]
    if replaced:
        return max(1, math.ceil(len(content) / len(replaced)))
    return 1 + len(content)  # it may be put between letters, too


def _decoded(charsmap: Any) -> bytes:
    if isinstance(charsmap, list):
        return bytes(charsmap)
    return base64.b64decode(charsmap or "", validate=True)
