"""The tokenizer of a folder, read and checked -> `TextTokenizer`s of any length."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, normalizers

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
    damage_named,
    damaged,
    read_json,
)
from sklearn_bert.model._torch_state import quiet_transformers
from sklearn_bert.text._tokenizer import SPECIAL_NAMES, TextTokenizer

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
    if not any((path / file).exists() for file in ("tokenizer.json", "vocab.txt")):
        raise CheckpointNotFoundError(
            f"vocabulary {name!r} is not a folder with a tokenizer.json or a "
            "vocab.txt; expected one that WordPieceVocabulary.save has written."
        )
    what = f"vocabulary {name!r}"
    with quiet_transformers(), damage_named(what, SAVE_TOKENIZER):
        check_tokenizer_files(what, path)
        tokenizer = read_checkpoint_tokenizer(what, path, None)
    of_length = tokenizers_of(
        tokenizer, transformers.BertConfig(), max_length, n_embeddings=None
    )
    return of_length(max_length, "truncate", None)


def read_checkpoint_tokenizer(
    what: str, folder: Path, config: transformers.PreTrainedConfig | None
) -> transformers.PreTrainedTokenizerFast:
    """Read the tokenizer of a folder whose files have been checked."""
    path = folder / "tokenizer.json"
    files = f"{path}, made by a newer or older version of tokenizers perhaps,"
    if path.exists():
        read_json(path, {}, SAVE_TOKENIZER)
    else:
        found = (p for names in TOKENIZER_FILES for n in names for p in folder.glob(n))
        files = f"tokenizer in {folder} ({', '.join(p.name for p in found)})"
    with damage_named(files, SAVE_TOKENIZER):
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
            folder, config=config, local_files_only=True, trust_remote_code=False
        )
    _check_tokenizer(what, folder, tokenizer, getattr(config, "vocab_size", None))
    return tokenizer


def tokenizers_of(
    tokenizer: transformers.PreTrainedTokenizerFast,
    config: transformers.PreTrainedConfig,
    longest_length: int,
    *,
    n_embeddings: int | None,
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
        "tokenizer_class": "PreTrainedTokenizerFast",
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
        return TextTokenizer(
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


def _check_tokenizer(
    what: str,
    folder: Path,
    tokenizer: transformers.PreTrainedTokenizerBase,
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
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise CheckpointError(
            f"{what} has a tokenizer written in Python "
            f"({type(tokenizer).__name__}); expected one with a tokenizer.json."
        )
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
