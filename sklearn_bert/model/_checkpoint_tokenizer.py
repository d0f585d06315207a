"""The tokenizer of a folder, read and checked -> `TextTokenizer`s of any length."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, normalizers

from sklearn_bert._process._cache import WEIGHTS
from sklearn_bert._process._errors import (
    CheckpointError,
    CheckpointNotFoundError,
    DamagedCheckpointError,
)
from sklearn_bert.model._damage import (
    OF_THE_WEIGHTS,
    SAVE_TOKENIZER,
    as_path,
    check_file,
    check_plain_files,
    damage_named,
    damaged,
    parse_json,
    read_json,
)
from sklearn_bert.model._tokenizer_parts import (
    check_backend,
    check_sentencepiece,
    check_tokenizer_json,
    check_tokenizer_parts,
    check_tokenizer_settings,
)
from sklearn_bert.model._torch_state import quiet_transformers
from sklearn_bert.text._columns import excerpt
from sklearn_bert.text._tokenizer import (
    SPECIAL_NAMES,
    TextTokenizer,
    n_bytes_of,
    plain_backend,
)

TOKENIZER_CONFIG = "tokenizer_config.json"
# Each of these sets is enough for a tokenizer; a file *.model may have any name.
TOKENIZER_FILES = [
    ["tokenizer.json"],
    ["vocab.txt"],
    ["vocab.json", "merges.txt"],
    ["*.model"],
]
# Optional files of a tokenizer.
TOKENIZER_SETTINGS = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
]
# Embeddings may have unused rows, to round their number up, but at most a tenth.
LEAST_SHARE = 0.9
PROBE = "a ᚠ 龘 ꙮ"  # at least one of these is in no vocabulary


def read_tokenizer(folder: str | os.PathLike[str], max_length: int) -> TextTokenizer:
    """Read the tokenizer of a folder, for a network with random weights.

    Raises
    ------
    CheckpointError
        If there is none that can be used.
    """
    name, path = os.fspath(folder), as_path(os.fspath(folder))
    try:
        is_there = any((path / f).exists() for f in ("tokenizer.json", "vocab.txt"))
    except OSError:  # too long a name
        is_there = False
    if not is_there:
        raise CheckpointNotFoundError(
            f"vocabulary {excerpt(name, 500)} is not a folder with a tokenizer.json "
            "or a vocab.txt; expected one that WordPieceVocabulary.save has written."
        )
    what = f"vocabulary {name!r}"
    path = path.resolve()
    with quiet_transformers(), damage_named(f"{what} in {path}", SAVE_TOKENIZER):
        check_plain_files(path, path)
        check_tokenizer_files(what, path)
        tokenizer = read_checkpoint_tokenizer(what, path, None)
    of_length = tokenizers_of(
        tokenizer,
        transformers.BertConfig(),
        max_length,
        n_embeddings=None,
        owner=what,
    )
    return of_length(max_length, "truncate", None)


def read_saved_tokenizer(
    folder: Path, settings: dict[str, Any], n_rows: int, longest_length: int
) -> TextTokenizer:
    """Read the tokenizer of a saved estimator; `settings` are those of the tokenizer.

    Parameters
    ----------
    n_rows : int
        The number of word embeddings.
    longest_length : int
        The number of positions that have an embedding.
    """
    path = folder / "tokenizer.json"
    kept = _parse_saved(path)
    with damage_named(str(path)):
        tokenizer = TextTokenizer(kept.backend, **settings, shares_backend=True)
        frame = tokenizer.special_tokens()
        ids = [tokenizer.pad_id, *frame.before, *frame.after]
    stride = tokenizer.window_stride
    is_right = (
        0 <= min(ids) <= max(ids) < n_rows
        and frame.n_special < tokenizer.max_length <= longest_length
        and (stride is None or stride > 0)
    )
    if not is_right:
        raise damaged(
            path,
            f"does not fit its settings: ids around a text {ids}, for {n_rows} "
            f"embeddings; max_length {tokenizer.max_length}, for {longest_length} "
            f"positions; window_stride {stride}",
        )
    if kept.largest_id >= n_rows:
        tokenizer.n_embeddings = min(tokenizer.n_embeddings or n_rows, n_rows)
    tokenizer.owner = f"the model of {folder}"
    return tokenizer


@dataclass(frozen=True)
class _Parsed:
    """The tokenizer of a saved estimator, parsed and checked."""

    backend: Tokenizer
    largest_id: int


def _parse_saved(path: Path) -> _Parsed:
    """Parse a tokenizer.json, unless the process keeps one of equal content."""
    check_file(path, SAVE_TOKENIZER)
    content = path.read_bytes()

    def parse(_: list[int]) -> list[_Parsed]:
        check_tokenizer_parts(path, parse_json(path, content, {}, SAVE_TOKENIZER))
        with damage_named(str(path)):
            backend = plain_backend(Tokenizer.from_str(content.decode("utf-8")))
            largest = check_backend(path, backend)
            backend.encode(PROBE)
        return [_Parsed(backend, largest)]

    key = "saved tokenizer", blake2b(content, digest_size=16).digest()
    (kept,) = WEIGHTS.get([key], parse, size=lambda kept: n_bytes_of(kept.backend))
    return kept


def read_checkpoint_tokenizer(
    what: str, folder: Path, config: transformers.PreTrainedConfig | None
) -> transformers.PreTrainedTokenizerFast:
    """Read the tokenizer of a folder whose files have been checked."""
    path = folder / "tokenizer.json"
    files = f"{path}, made by a newer or older version of tokenizers perhaps,"
    if is_whole := path.exists():
        check_tokenizer_json(path)
    else:
        found = [p for names in TOKENIZER_FILES for n in names for p in folder.glob(n)]
        files = f"tokenizer in {folder} ({', '.join(p.name for p in found)})"
    _check_class(what, folder, config)
    with damage_named(files, SAVE_TOKENIZER):
        if not is_whole:
            for model in folder.glob("*.model"):
                check_sentencepiece(model)
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
            folder, config=config, local_files_only=True, trust_remote_code=False
        )
    if not isinstance(tokenizer, transformers.PreTrainedTokenizerFast):
        raise _in_python(what, type(tokenizer))
    backend = tokenizer.backend_tokenizer
    if not is_whole:
        check_tokenizer_parts(folder, json.loads(backend.to_str()))
    check_backend(folder, backend)
    _check_tokenizer(what, folder, tokenizer, getattr(config, "vocab_size", None))
    return tokenizer


def _check_class(
    what: str, folder: Path, config: transformers.PreTrainedConfig | None
) -> None:
    """Raise CheckpointError if the files name a class that is written in Python.

    Some run programs, or read further files, that the settings name.
    """
    settings = read_json(folder / TOKENIZER_CONFIG, {})
    for owner in (
        settings.get("tokenizer_class"),
        getattr(config, "tokenizer_class", 0),
    ):
        found = getattr(transformers, owner, None) if isinstance(owner, str) else None
        if isinstance(found, type) and not issubclass(
            found, transformers.PreTrainedTokenizerFast
        ):
            raise _in_python(what, found)


def _in_python(what: str, found: type) -> CheckpointError:
    return CheckpointError(
        f"{what} has a tokenizer written in Python ({found.__name__}); expected one "
        "with a tokenizer.json."
    )


def tokenizers_of(
    tokenizer: transformers.PreTrainedTokenizerFast,
    config: transformers.PreTrainedConfig,
    longest_length: int,
    *,
    n_embeddings: int | None,
    owner: str,
) -> Callable[[int, str, int | None], TextTokenizer]:
    """Return a function from a length limit, and so on, to a `TextTokenizer`."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    # With an embedding for every id of the vocabulary there is nothing to check.
    if n_embeddings and n_embeddings > max(backend.get_vocab().values()):
        n_embeddings = None
    inputs = list(tokenizer.model_input_names)
    # The `tokenizer_config.json` that `AutoTokenizer` needs.
    saved: dict[str, Any] = {
        # This class takes a tokenizer.json as it is. BertTokenizer and others would
        # build a new normaliser from options that are not in this file.
        "tokenizer_class": "transformers.PreTrainedTokenizerFast",
        "model_max_length": longest_length,
        "model_input_names": inputs,
    }
    for name in SPECIAL_NAMES:
        token = getattr(tokenizer, f"{name}_token", None)
        if token is not None:
            saved[f"{name}_token"] = str(token)
    n_types = getattr(config, "type_vocab_size", 0)

    @functools.lru_cache(maxsize=4)  # each may keep a tokenizer of single words
    def of_length(
        max_length: int, long_text: str, window_stride: int | None
    ) -> TextTokenizer:
        limited = TextTokenizer(
            backend,
            max_length=max_length,
            pad_id=tokenizer.pad_token_id or 0,
            has_type_ids="token_type_ids" in inputs and n_types > 1,
            config=saved | {"model_max_length": max(max_length, longest_length)},
            long_text=long_text,
            window_stride=window_stride,
            n_embeddings=n_embeddings,
            shares_backend=True,
        )
        limited.owner = owner
        return limited

    return of_length


def lowercase(backend: Tokenizer) -> None:
    """Lowercase texts before the tokenizer's own normaliser, in place."""
    first = normalizers.Lowercase()
    before = backend.normalizer
    backend.normalizer = (
        first if before is None else normalizers.Sequence([first, before])
    )


def check_tokenizer_files(what: str, folder: Path) -> None:
    """Raise DamagedCheckpointError if the files do not make a tokenizer.

    Parameters
    ----------
    what : str
        The owner of the files: "checkpoint 'a/b'", "vocabulary 'c'".
    """
    for names in TOKENIZER_FILES:
        matches = [sorted(folder.glob(file)) for file in names]
        if all(matches):
            for path in (paths[0] for paths in matches):
                check_file(path, SAVE_TOKENIZER)
            break
    else:
        some = [n for names in TOKENIZER_FILES for n in names if (folder / n).exists()]
        lacks = "vocab.json" if "merges.txt" in some else "tokenizer.json"
        lacks = "merges.txt" if "vocab.json" in some else lacks
        raise DamagedCheckpointError(
            f"{what}: {folder} has weights but no tokenizer: there is no "
            f"{lacks} (nor vocab.txt or another vocabulary), and without it every text "
            f"would be read as the same. {SAVE_TOKENIZER}{OF_THE_WEIGHTS}."
        )
    for file in TOKENIZER_SETTINGS:
        read_json(folder / file, {}, SAVE_TOKENIZER)
    check_tokenizer_settings(folder / TOKENIZER_CONFIG)


def _check_tokenizer(
    what: str,
    folder: Path,
    tokenizer: transformers.PreTrainedTokenizerFast,
    n_rows: int | None,
) -> None:
    """Raise CheckpointError if a tokenizer does not fit the weights.

    Parameters
    ----------
    what : str
        As for `check_tokenizer_files`.
    n_rows : int or None
        The number of word embeddings; None: there are no weights yet.
    """
    backend = tokenizer.backend_tokenizer
    n_tokens = backend.get_vocab_size()
    n_added = len(backend.get_added_tokens_decoder())
    if n_tokens <= n_added:
        whose = "" if n_rows is None else OF_THE_WEIGHTS
        raise DamagedCheckpointError(
            f"{what}: the tokenizer files in {folder} hold {n_tokens} special tokens "
            f"and no word, so every text would be read as the same. {SAVE_TOKENIZER}"
            f"{whose}."
        )
    with damage_named(f"{what}: tokenizer in {folder}", SAVE_TOKENIZER):
        # Some vocabularies fail only when they meet a character that they lack.
        backend.encode(PROBE)
        backend.encode(PROBE, PROBE)
        frame = backend.encode("")
    # A vocab.txt that is cut short still makes a tokenizer, silently: special tokens
    # that it lacks get new ids. It is read only if there is no tokenizer.json.
    vocabulary = folder / "vocab.txt"
    if vocabulary.exists() and not (folder / "tokenizer.json").exists():
        needed = {*frame.tokens, tokenizer.unk_token} - {None}
        _check_vocabulary(vocabulary, needed, n_tokens, n_rows)
    for token, place in zip(frame.tokens, frame.ids, strict=True):
        if n_rows is not None and place >= n_rows:
            raise DamagedCheckpointError(
                f"{what}: the tokenizer in {folder} puts {token!r} (id {place}) around "
                f"every text, but the weights know only {n_rows} tokens: it belongs to "
                f"another checkpoint. {SAVE_TOKENIZER}{OF_THE_WEIGHTS}."
            )


def _check_vocabulary(
    path: Path, needed: set[str], n_tokens: int, n_rows: int | None
) -> None:
    """Raise DamagedCheckpointError if a vocab.txt lacks tokens."""
    if missing := sorted(needed - set(path.read_text("utf-8").splitlines())):
        raise damaged(
            path,
            f"lacks the special token {missing[0]!r}: it is cut short, or of another "
            "checkpoint",
            SAVE_TOKENIZER,
        )
    if n_rows is not None and n_tokens < LEAST_SHARE * n_rows:
        raise damaged(
            path,
            f"gives {n_tokens} tokens, but the weights know {n_rows}: it is cut short, "
            "or of another checkpoint",
            SAVE_TOKENIZER + OF_THE_WEIGHTS,
        )
