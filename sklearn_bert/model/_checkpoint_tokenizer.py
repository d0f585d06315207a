"""The tokenizer of a folder -> `TextTokenizer`s of any length."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers
from transformers import (
    AutoTokenizer,
    BertConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

from sklearn_bert.model._damage import SAVE_TOKENIZER, damage_named
from sklearn_bert.model._errors import CheckpointNotFoundError
from sklearn_bert.model._find import as_path
from sklearn_bert.model._folder_checks import check_tokenizer_files
from sklearn_bert.model._loaded_checks import check_tokenizer, tokenizer_damage
from sklearn_bert.model._torch_state import quiet_transformers
from sklearn_bert.text._tokenizer import SPECIAL_NAMES, TextTokenizer

TOKENIZER_CONFIG = "tokenizer_config.json"


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
    of_length = tokenizers_of(tokenizer, BertConfig(), max_length, n_embeddings=None)
    return of_length(max_length, "truncate", None)


def read_checkpoint_tokenizer(
    what: str, folder: Path, config: PreTrainedConfig | None
) -> PreTrainedTokenizerFast:
    """Read the tokenizer of a folder whose files have been checked."""
    with damage_named(tokenizer_damage(folder), SAVE_TOKENIZER):
        tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, config=config, local_files_only=True, trust_remote_code=False
        )
    check_tokenizer(what, folder, tokenizer, getattr(config, "vocab_size", None))
    return tokenizer


def tokenizers_of(
    tokenizer: PreTrainedTokenizerFast,
    config: PreTrainedConfig,
    longest_length: int,
    *,
    n_embeddings: int | None,
) -> Callable[[int, str, int | None], TextTokenizer]:
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    # With an embedding for every id of the vocabulary there is nothing to check.
    if n_embeddings and n_embeddings > max(backend.get_vocab().values()):
        n_embeddings = None
    make = functools.partial(
        TextTokenizer,
        backend,
        pad_id=tokenizer.pad_token_id or 0,
        has_type_ids=_has_type_ids(config, tokenizer),
        n_embeddings=n_embeddings,
        shares_backend=True,
    )

    @functools.lru_cache(maxsize=4)  # each may keep a tokenizer of single words
    def of_length(
        max_length: int, long_text: str, window_stride: int | None
    ) -> TextTokenizer:
        return make(
            max_length=max_length,
            config=_tokenizer_config(tokenizer, max(max_length, longest_length)),
            long_text=long_text,
            window_stride=window_stride,
        )

    return of_length


def lowercase(backend: Tokenizer) -> None:
    """Lowercase texts before the tokenizer's own normaliser, in place."""
    first = normalizers.Lowercase()
    before = backend.normalizer
    backend.normalizer = (
        first if before is None else normalizers.Sequence([first, before])
    )


def _has_type_ids(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast) -> bool:
    return (
        "token_type_ids" in tokenizer.model_input_names
        and getattr(config, "type_vocab_size", 0) > 1
    )


def _tokenizer_config(
    tokenizer: PreTrainedTokenizerFast, longest_length: int
) -> dict[str, Any]:
    """Return the `tokenizer_config.json` that `AutoTokenizer` needs."""
    config: dict[str, Any] = {
        # This class takes a tokenizer.json as it is. BertTokenizer and others would
        # build a new normaliser from options that are not in this file.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": longest_length,
        "model_input_names": list(tokenizer.model_input_names),
    }
    for name in SPECIAL_NAMES:
        token = getattr(tokenizer, f"{name}_token", None)
        if token is not None:
            config[f"{name}_token"] = str(token)
    return config
