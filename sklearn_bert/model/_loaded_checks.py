"""Check the tokenizer and the weights of a checkpoint after they were read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from sklearn_bert.model._attention import FAMILIES as ATTENDING
from sklearn_bert.model._damage import (
    AGAIN,
    FIT,
    OF_THE_WEIGHTS,
    SAVE_TOKENIZER,
    damage_named,
    damaged,
    read_json,
)
from sklearn_bert.model._errors import CheckpointError, DamagedCheckpointError
from sklearn_bert.model._folder_checks import CONFIG, TOKENIZER_FILES

# Embeddings may have unused rows, to round their number up, but at most a tenth.
LEAST_SHARE = 0.9
PROBE = "a ᚠ 龘 ꙮ"  # at least one of these is in no vocabulary


def check_tokenizer(
    what: str, folder: Path, tokenizer: PreTrainedTokenizerBase, n_rows: int | None
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


def tokenizer_damage(folder: Path) -> str:
    """Describe the files of a tokenizer, for an error about them."""
    path = folder / "tokenizer.json"
    if not path.exists():
        files = [
            p.name for names in TOKENIZER_FILES for n in names for p in folder.glob(n)
        ]
        return f"tokenizer in {folder} ({', '.join(files)})"
    read_json(path, {}, SAVE_TOKENIZER)
    return f"{path}, made by a newer or older version of tokenizers perhaps,"


def check_weights_fit(
    folder: Path, full_model: nn.Module, encoder: nn.Module, report: dict[str, Any]
) -> None:
    """Raise DamagedCheckpointError if weights and configuration disagree."""
    for found in sorted(report["mismatched_keys"], key=str):
        tensor, in_file, in_model = found
        raise damaged(
            folder / CONFIG,
            f"does not fit the weights beside it: {tensor!r} has shape "
            f"{tuple(in_file)} there, and {tuple(in_model)} by the configuration",
            FIT,
        )
    known = {_without_number(name) for name in full_model.state_dict()}
    known |= {_without_number(name) for name in encoder.state_dict()}
    for key in sorted(report["unexpected_keys"]):
        name = key.removeprefix(f"{encoder.base_model_prefix}.")
        bare = _without_number(name)
        # Unexpected weights of a head are harmless; those of one more layer are not.
        if bare != name and bare in known:
            raise damaged(
                folder / CONFIG,
                f"has fewer layers than the weights beside it, which hold {key!r}",
                FIT,
            )


def _without_number(name: str) -> str:
    return re.sub(r"\.\d+(?=\.)", ".*", name)


def check_finite(folder: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Raise DamagedCheckpointError at the first tensor that holds NaN or infinity."""
    for name, value in tensors:
        if not value.is_floating_point() or torch.isfinite(value.sum()):
            continue
        if not torch.isfinite(value).all():  # not only the sum has overflowed
            raise DamagedCheckpointError(
                f"the weights in {folder} are damaged: {name!r} holds NaN or infinity, "
                f"and so would every result. {AGAIN}."
            )


def check_reads_texts(
    name: str, folder: Path, encoder: nn.Module, ids: list[int]
) -> None:
    """Raise CheckpointError if an encoder does not return a state for each token."""
    tokens = torch.tensor([ids])
    what = f"checkpoint {name!r} in {folder}: a text given to {type(encoder).__name__}"
    with damage_named(what, "Choose an encoder of texts such as BERT"), torch.no_grad():
        output = encoder(input_ids=tokens, attention_mask=torch.ones_like(tokens))
        states = output.last_hidden_state
        if states.shape[:2] != tokens.shape:
            raise ValueError(f"{tuple(states.shape)} states for {len(ids)} tokens")


# The largest change of a text's states by padding, as a share of the largest state;
# rounding alone changes them by 1e-6.
PADDING_TOLERANCE = 1e-4


def check_encoder(
    name: str, folder: Path, encoder: nn.Module, missing_keys: Iterable[str]
) -> None:
    missing = sorted(key for key in missing_keys if not key.startswith("pooler."))
    if missing:
        raise DamagedCheckpointError(
            f"checkpoint {name!r}: the weights in {folder} lack {len(missing)} tensors "
            f"of {type(encoder).__name__}, first {missing[0]!r}. Download or copy the "
            "folder again, or take config.json and weights of the same checkpoint."
        )


def check_padding(
    name: str,
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    limit: int,
) -> None:
    """Raise CheckpointError if padding changes the states of a text."""
    if encoder.config.model_type in ATTENDING:  # families with our attention
        return
    ids = torch.tensor([tokenizer("padding").input_ids])
    ids = ids.clamp(max=encoder.config.vocab_size - 1)  # any ids do
    if ids.numel() == 0 or 2 * ids.numel() > limit:
        return
    filler = torch.full_like(ids, tokenizer.pad_token_id or 0)
    mask = torch.cat([torch.ones_like(ids), torch.zeros_like(ids)], 1)
    with torch.inference_mode():
        alone = encoder(input_ids=ids).last_hidden_state
        padded = encoder(input_ids=torch.cat([ids, filler], 1), attention_mask=mask)
    states = padded.last_hidden_state[:, : ids.numel()]
    if (states - alone).abs().max() > PADDING_TOLERANCE * alone.abs().max():
        raise CheckpointError(
            f"checkpoint {name!r} is of the family {encoder.config.model_type!r}, in "
            "which the padding of a batch changes what the model says of a text, so "
            "that it would depend on the other texts; expected a family that leaves "
            "padding out, such as BERT, RoBERTa, DeBERTa, MPNet or ModernBERT."
        )
