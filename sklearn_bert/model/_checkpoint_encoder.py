"""The encoder of a folder: its files, its configuration and its weights, checked.

An error names the file, what is wrong with it, and what to do. transformers would go on
with the files that are left, or raise errors about its own code.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from sklearn_bert._process._errors import CheckpointError, DamagedCheckpointError
from sklearn_bert._process._warn import warn
from sklearn_bert.model._attention import FAMILIES as ATTENDING
from sklearn_bert.model._attention import position_offset
from sklearn_bert.model._damage import (
    CONFIG,
    FIT,
    WEIGHTS,
    check_finite,
    check_weights,
    damage_named,
    damaged,
    path_in,
    read_json,
    token_limit,
)
from sklearn_bert.model._language_model import language_class
from sklearn_bert.model._sizes import Shapes, check_config_sizes, check_model_size
from sklearn_bert.model._transformers_layout import AddedLayer, undo_scale
from sklearn_bert.model._weight_file import read_weights

# Where a folder that is no checkpoint may have one: in it, or as the Hub's cache does.
CONFIGS_BELOW = ("*/config.json", "snapshots/*/config.json")
INDEX = f"{WEIGHTS}.index.json"
ADAPTER = "adapter_config.json"
# Entries of a configuration about how to compute, which say nothing about the weights.
LEFT_OUT = (
    "return_dict",
    "torchscript",
    "output_attentions",
    "output_hidden_states",
    "chunk_size_feed_forward",
    "dtype",
    "torch_dtype",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "experts_implementation",
    "_experts_implementation",
    "_experts_implementation_internal",
    "fusion_config",
    "distributed_config",
    "quantization_config",
    # Other files and other code, which are never read.
    "auto_map",
    "transformers_weights",
    # Of heads that are not read. transformers would make a name for each label.
    "num_labels",
    # First values of weights that the files hold.
    "sinusoidal_pos_embds",
    "sinusoidal_embeddings",
)
# Weights in formats that are not read, and how to convert them to safetensors.
OTHER_WEIGHTS = {
    "pytorch_model*.bin": "only pickled weights ({}), which could run code",
    "*.ckpt.index": "weights of TensorFlow 1 ({})",
    "tf_model*.h5": "weights of TensorFlow ({})",
    "flax_model*.msgpack": "weights of Flax ({})",
    "*.gguf": "weights of llama.cpp ({})",
    "*.onnx": "a graph of ONNX ({})",
    "onnx/*.onnx": "a graph of ONNX ({})",
}
CONVERT = {
    "pytorch_model*.bin": (
        "Convert it once with transformers, where you trust it: "
        "AutoModel.from_pretrained(folder).save_pretrained(folder) writes safetensors"
    ),
    "tf_model*.h5": (
        "Convert it once with transformers 4 and TensorFlow installed: "
        "AutoModel.from_pretrained(folder, from_tf=True).save_pretrained(folder)"
    ),
    "flax_model*.msgpack": (
        "Convert it once with transformers 4 and Flax installed: "
        "AutoModel.from_pretrained(folder, from_flax=True).save_pretrained(folder)"
    ),
    "*.ckpt.index": (
        "Convert it once with the command `transformers-cli convert` of transformers 4"
    ),
}
# Tensors that checkpoints hold beside their weights: they are computed anew.
NO_WEIGHTS = ("position_ids", "token_type_ids", "inv_freq", ".masked_bias")
LEAST_LENGTH = 4  # the least value of the parameter max_length
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


# -- files that have to be there ---------------------------------------------------


def check_folder(name: str, folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of a folder, by the headers of its files.

    Raises
    ------
    CheckpointError
        If a needed file is missing or damaged, or an adapter is present.
    """
    if not (folder / CONFIG).exists():
        raise _without_config(name, folder)
    if (folder / ADAPTER).exists():
        raise DamagedCheckpointError(
            f"checkpoint {name!r}: {folder / ADAPTER} says that an adapter belongs to "
            "these weights, which is not read. Merge it with peft (merge_and_unload, "
            "then save_pretrained to a new folder), or remove the file to take the "
            "weights without it."
        )
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weight_files(name, folder):
        found = check_weights(path)
        if twice := sorted(found.keys() & shapes.keys()):
            raise damaged(path, f"holds {twice[0]!r}, which another file holds as well")
        shapes |= found
    return shapes


def _without_config(name: str, folder: Path) -> DamagedCheckpointError:
    what = f"checkpoint {name!r}: {folder} has no config.json, so it is not the folder "
    what += "of a transformers model."
    if (folder / ADAPTER).exists():
        base = read_json(folder / ADAPTER, {}).get("base_model_name_or_path")
        what = (
            f"checkpoint {name!r}: {folder} holds an adapter alone ({ADAPTER}). Merge "
            f"it with peft into the checkpoint that it was made for ({base!r}): "
            "merge_and_unload, then save_pretrained to a new folder, and give that."
        )
    elif (folder / "bert_config.json").exists():
        what = (
            f"checkpoint {name!r}: {folder} has bert_config.json and no config.json, "
            "as BERT was published for TensorFlow 1. Convert it once with transformers "
            "4: `transformers-cli convert --model_type bert`, then save_pretrained "
            'with "model_type": "bert" in config.json.'
        )
    elif inner := sorted(
        path for pattern in CONFIGS_BELOW for path in folder.glob(pattern)
    ):
        folders = ", ".join(str(path.parent) for path in inner[:3])
        what += f" There is one in {folders}: give such a folder."
    return DamagedCheckpointError(what)


def weight_files(name: str, folder: Path) -> list[Path]:
    """Return the files that hold the weights of a folder."""
    single, index = folder / WEIGHTS, folder / INDEX
    # In the Hub's cache half a download is a link to nowhere: `check_file` says so.
    if single.exists() or single.is_symlink():
        return [single]
    if not index.exists():
        raise _without_weights(name, folder)
    content = read_json(index, {})
    shards = content.get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise damaged(index, "has no weight_map of names to files")
    if not isinstance(content.get("metadata"), dict):
        raise damaged(index, "has no metadata", 'Add it: "metadata": {}')
    paths = []
    for shard in sorted(set(map(str, shards.values()))):
        path = path_in(folder, shard, index)
        if not shard.endswith(".safetensors"):
            raise damaged(index, f"names {shard!r}; only safetensors are read")
        paths.append(path)
    return paths


def _without_weights(name: str, folder: Path) -> DamagedCheckpointError:
    for pattern, what in OTHER_WEIGHTS.items():
        for path in sorted(folder.glob(pattern)):
            way_on = CONVERT.get(
                pattern, "Choose the checkpoint that it was made from, in safetensors"
            )
            what = what.format(path.relative_to(folder))
            return DamagedCheckpointError(
                f"checkpoint {name!r}: {folder} has no {WEIGHTS} but {what}; only "
                f"safetensors are read. {way_on}."
            )
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    beside = f" It has {', '.join(others[:3])}: rename what it is." if others else ""
    return DamagedCheckpointError(
        f"checkpoint {name!r}: {folder} has no weights in {WEIGHTS}, the only form "
        f"that is read.{beside} save_pretrained of transformers writes it."
    )


# -- configuration -----------------------------------------------------------------


def read_config_values(name: str, folder: Path, shapes: Shapes) -> dict[str, Any]:
    """Read the entries of a configuration, without those in `LEFT_OUT`.

    No number in it asks for more than the tensors beside it, of these shapes, have.
    """
    path = folder / CONFIG
    values = read_json(path, {})
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in transformers.CONFIG_MAPPING:
        _refuse_kind(name, folder, values)
    if values.get("quantization_config"):
        raise CheckpointError(
            f"checkpoint {name!r} has quantised weights ({path} has a "
            "quantization_config), which are not read. Choose the checkpoint that they "
            "were made from."
        )
    kept = {key: value for key, value in values.items() if key not in LEFT_OUT}
    family = transformers.CONFIG_MAPPING[kind]
    # What the family does not know may be anything, and changes nothing.
    known = {key: value for key, value in kept.items() if _knows(family, key)}
    check_config_sizes(path, known, shapes)
    return kept


def _knows(family: type, key: str) -> bool:
    return hasattr(family, key) or key in getattr(family, "attribute_map", {})


def read_config(
    name: str, folder: Path, shapes: Shapes
) -> transformers.PreTrainedConfig:
    """Read the configuration of a text encoder; see `read_config_values`."""
    path = folder / CONFIG
    kept = read_config_values(name, folder, shapes)
    with damage_named(f"{path}, with values that do not fit,", FIT):
        # Not by AutoConfig, which follows an auto_map to code in the folder.
        config = transformers.CONFIG_MAPPING[kept["model_type"]].from_dict(kept)
    n_layers = getattr(config, "num_hidden_layers", None)
    if isinstance(n_layers, int) and n_layers < 1:
        raise damaged(path, f"says {n_layers} layers; expected at least 1", FIT)
    _check_is_encoder(name, path, config)
    return config


def _refuse_kind(name: str, folder: Path, values: dict[str, Any]) -> None:
    path, kind = folder / CONFIG, values.get("model_type")
    if values.get("auto_map"):
        raise DamagedCheckpointError(
            f"checkpoint {name!r} cannot be read: it needs code of its own ({path} has "
            f"an auto_map, and transformers has no model_type {kind!r}), which is "
            "never run here. Choose a checkpoint of a family that transformers has "
            "itself, such as BERT."
        )
    if kind is None:
        raise damaged(
            path,
            "has no model_type, so it is not clear of which family the weights are",
            'Add it, for a BERT "model_type": "bert"; if it is not of a transformers '
            "model, choose another folder",
        )
    raise damaged(
        path,
        f"has the model_type {kind!r}, which the installed transformers does not know",
        "Upgrade transformers if it is a newer family; else choose another checkpoint",
    )


def _check_is_encoder(
    name: str, path: Path, config: transformers.PreTrainedConfig
) -> None:
    """Raise CheckpointError if the model is no encoder of texts."""
    classes: Any = transformers.MODEL_MAPPING.get(type(config), None)
    model = classes[0] if isinstance(classes, tuple) else classes
    family = f"{config.model_type!r} in {path}"
    if getattr(config, "is_encoder_decoder", False):
        what = f"is an encoder-decoder ({family})"
    elif getattr(config, "add_cross_attention", False):
        what = f"is the decoder of an encoder-decoder (add_cross_attention in {path})"
    elif model is None:
        what = f"is of a family that has no encoder alone ({family})"
    elif getattr(config, "sub_configs", None):
        what = f"reads more than texts ({family})"
    elif model.main_input_name != "input_ids":
        what = f"reads {model.main_input_name} and no texts ({family})"
    else:
        return
    raise CheckpointError(
        f"checkpoint {name!r} {what}; expected an encoder of texts such as BERT."
    )


def prepare_config(
    config: transformers.PreTrainedConfig, dropout: float | None
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


# -- weights -----------------------------------------------------------------------


def read_encoder(
    name: str,
    folder: Path,
    config: transformers.PreTrainedConfig,
    added: AddedLayer | None,
    *,
    with_heads: bool,
) -> tuple[transformers.PreTrainedModel, bool, tuple[str, ...]]:
    """Read the weights of a folder in float32, and see whether they are all there.

    A layer that `save` has added for transformers is left out.

    Returns
    -------
    full_model : transformers.PreTrainedModel
        The encoder, alone or with its pretraining heads.
    has_pooler : bool
        Whether it has one that was trained.
    new_heads : tuple of str
        Weights of the heads that the folder lacks, so that they are random.
    """
    build: Callable[[transformers.PreTrainedConfig], Any] = (
        transformers.AutoModel.from_config
    )
    if with_heads:
        try:
            build = language_class(config)
        except ValueError as error:
            raise CheckpointError(f"checkpoint {name!r}: {error}") from error
    # The files of weights were checked before: an error here is one of config.json.
    what = f"model of {folder / CONFIG}, with values that do not fit,"
    tensors: dict[str, Tensor] = {}
    for path in weight_files(name, folder):
        with damage_named(str(path)):
            tensors |= read_weights(path)
    with damage_named(what, FIT):
        shapes = {key: tuple(value.shape) for key, value in tensors.items()}
        sketch: Any = check_model_size(
            folder / CONFIG, lambda: build(copy.deepcopy(config)), shapes
        )
        full_model, report = type(sketch).from_pretrained(
            None,  # it would look for other files in the folder
            state_dict=tensors,
            config=config,
            dtype=torch.float32,  # whatever the dtype of the file
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
    if added is not None:
        report["unexpected_keys"] = []
        undo_scale(encoder, added)
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
    has_pooler &= added is None  # the head of such a folder is no trained pooler
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
    _warn_of_unused(folder, encoder, sorted(report["unexpected_keys"]))


def _warn_of_unused(folder: Path, encoder: nn.Module, unexpected: list[str]) -> None:
    """Warn of weights inside the encoder that its class does not have.

    Those of a head, of a pooler, and what a checkpoint has written down of positions
    are left out without a word.
    """
    prefix = f"{encoder.base_model_prefix}."
    inside = tuple(f"{name}." for name, _ in encoder.named_children())
    names = [(key, key.removeprefix(prefix)) for key in unexpected]
    unused = [
        key
        for key, name in names
        if name.startswith(inside) and not name.startswith("pooler.")
        if not name.endswith(NO_WEIGHTS)
    ]
    if unused:
        warn(
            f"the weights in {folder} hold {len(unused)} tensors that a "
            f"{type(encoder).__name__} of its config.json does not have, first "
            f"{unused[0]!r}; they are left out, so its vectors may differ from those "
            f"of the model that was trained. {FIT}."
        )


def position_limit(encoder: nn.Module, source: Path) -> int:
    """Return the number of tokens that have an embedding of their position."""
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module.num_embeddings - position_offset(encoder)
    limit = "max_position_embeddings"
    return token_limit(getattr(encoder.config, limit, None), limit, source)


def check_encoder(
    name: str,
    folder: Path,
    encoder: transformers.PreTrainedModel,
    tokenizer: transformers.PreTrainedTokenizerFast,
    limit: int,
) -> None:
    """Raise CheckpointError if an encoder does not read texts, or minds their padding.

    It must return a state for each token, and the same ones where padding follows; a
    text has up to `limit` tokens.
    """
    # The special tokens around a text; the weights have embeddings for them.
    frame = tokenizer.backend_tokenizer.encode("").ids[:LEAST_LENGTH]
    tokens = torch.tensor([frame or [0]])
    what = f"checkpoint {name!r} in {folder}: a text given to {type(encoder).__name__}"
    with damage_named(what, "Choose an encoder of texts such as BERT"), torch.no_grad():
        output = encoder(input_ids=tokens, attention_mask=torch.ones_like(tokens))
        states = output.last_hidden_state
        if states.shape[:2] != tokens.shape:
            n_tokens = tokens.shape[1]
            raise ValueError(f"{tuple(states.shape)} states for {n_tokens} tokens")
        if not torch.isfinite(states).all():
            raise ValueError("its states hold NaN or infinity")
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
