"""The encoder of a folder: its configuration prepared, its weights read and checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from sklearn_bert.model._attention import FAMILIES as ATTENDING
from sklearn_bert.model._attention import position_offset
from sklearn_bert.model._damage import (
    FIT,
    CheckpointError,
    DamagedCheckpointError,
    damage_named,
    damaged,
    token_limit,
)
from sklearn_bert.model._folder_checks import (
    CONFIG,
    check_finite,
)
from sklearn_bert.model._language_model import language_class

NUMBER = re.compile(r"\.\d+(?=\.)")  # of a layer, in the name of a weight
# The largest change of a text's states by padding, as a share of the largest state;
# rounding alone changes them by 1e-6.
PADDING_TOLERANCE = 1e-4

# The names of all families for the rate of a dropout, and for that of a head.
DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
)
HEAD_DROPOUTS = ("classifier_dropout", "seq_classif_dropout", "hidden_dropout_prob")


def prepare_config(
    config: PreTrainedConfig, dropout: float | None
) -> tuple[float, bool]:
    """Make a configuration fit for `TextModel`, with this dropout.

    Returns
    -------
    head_dropout : float
        The dropout before a head.
    left_to_right : bool
        Whether a token attends only to itself and those before it.
    """
    if getattr(config, "attention_type", None) == "block_sparse":
        config.attention_type = "original_full"  # as BigBird does for short texts
    # Where the family uses our attention, `TextModel` masks later tokens, not the
    # encoder of transformers.
    is_decoder = bool(getattr(config, "is_decoder", False))
    left_to_right = is_decoder and config.model_type in ATTENDING
    if left_to_right:
        config.is_decoder = False
    if dropout is None:
        rates = (getattr(config, name, None) for name in HEAD_DROPOUTS)
        return next((r for r in rates if r is not None), 0.1), left_to_right
    for name in DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, dropout)
    return dropout, left_to_right


def read_encoder(
    name: str, folder: Path, config: PreTrainedConfig, *, with_heads: bool
) -> tuple[PreTrainedModel, bool, tuple[str, ...]]:
    """Read the weights of a folder in float32, and see whether they are all there.

    Returns
    -------
    full_model : transformers.PreTrainedModel
        The encoder, alone or with its pretraining heads.
    has_pooler : bool
        Whether it has one that was trained.
    new_heads : tuple of str
        Weights of the heads that the folder lacks, so that they are random.
    """
    kind: Any = AutoModel
    if with_heads:
        try:
            kind = language_class(config)
        except ValueError as error:
            raise CheckpointError(f"checkpoint {name!r}: {error}") from error
    # The files of weights were checked before: an error here is one of config.json.
    what = f"model of {folder / CONFIG}, with values that do not fit,"
    with damage_named(what, FIT):
        full_model, report = kind.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,  # whatever the dtype of the file
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `_check_fit` names them
        )
    # transformers maps the file into memory: a program that overwrites the file would
    # change the weights, and one that shortens it would crash this process.
    for tensor in (*full_model.parameters(), *full_model.buffers()):
        tensor.data = tensor.data.clone()
    encoder = full_model.base_model
    _check_fit(folder, full_model, encoder, report)
    # Of a model with heads, the weights of the encoder have a prefix.
    prefix = "" if encoder is full_model else f"{full_model.base_model_prefix}."
    missing = sorted(report["missing_keys"])
    of_encoder = [k.removeprefix(prefix) for k in missing if k.startswith(prefix)]
    of_pooler = [key for key in of_encoder if key.startswith("pooler.")]
    if needed := [key for key in of_encoder if key not in of_pooler]:
        raise DamagedCheckpointError(
            f"checkpoint {name!r}: the weights in {folder} lack {len(needed)} tensors "
            f"of {type(encoder).__name__}, first {needed[0]!r}. Download or copy the "
            "folder again, or take config.json and weights of the same checkpoint."
        )
    check_finite(folder, full_model.state_dict().items())
    has_pooler = getattr(encoder, "pooler", None) is not None and not of_pooler
    new_heads = tuple(key for key in missing if not key.startswith(prefix))
    return full_model, has_pooler, new_heads


def _check_fit(
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
    names = [*full_model.state_dict(), *encoder.state_dict()]
    known = {NUMBER.sub(".*", name) for name in names}
    for key in sorted(report["unexpected_keys"]):
        name = key.removeprefix(f"{encoder.base_model_prefix}.")
        bare = NUMBER.sub(".*", name)
        # Unexpected weights of a head are harmless; those of one more layer are not.
        if bare != name and bare in known:
            raise damaged(
                folder / CONFIG,
                f"has fewer layers than the weights beside it, which hold {key!r}",
                FIT,
            )


def position_limit(encoder: nn.Module, source: Path) -> int:
    """Return the number of tokens that have an embedding of their position."""
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module.num_embeddings - position_offset(encoder)
    limit = "max_position_embeddings"
    return token_limit(getattr(encoder.config, limit, None), limit, source)


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
