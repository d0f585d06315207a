"""Check the configuration and the weights of a checkpoint.

An error names the file, what is wrong with it, and what to do. transformers would go on
with the files that are left, or raise errors about its own code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import CONFIG_MAPPING, MODEL_MAPPING, PreTrainedConfig

from sklearn_bert.model._damage import (
    AGAIN,
    FIT,
    CheckpointError,
    DamagedCheckpointError,
    check_file,
    damage_named,
    damaged,
    path_in,
    read_json,
)

CONFIG, WEIGHTS = "config.json", "model.safetensors"
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


# -- configuration -----------------------------------------------------------------


def read_config(name: str, folder: Path) -> PreTrainedConfig:
    """Read the configuration of a text encoder, without the entries in `LEFT_OUT`."""
    path = folder / CONFIG
    values = read_json(path, {})
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        _refuse_kind(name, folder, values)
    if values.get("quantization_config"):
        raise CheckpointError(
            f"checkpoint {name!r} has quantised weights ({path} has a "
            "quantization_config), which are not read. Choose the checkpoint that they "
            "were made from."
        )
    kept = {key: value for key, value in values.items() if key not in LEFT_OUT}
    with damage_named(f"{path}, with values that do not fit,", FIT):
        config = CONFIG_MAPPING[kind].from_dict(kept)
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


def _check_is_encoder(name: str, path: Path, config: PreTrainedConfig) -> None:
    """Raise CheckpointError if the model is no encoder of texts."""
    classes: Any = MODEL_MAPPING.get(type(config), None)
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


# -- files that have to be there ---------------------------------------------------


def check_folder(name: str, folder: Path) -> None:
    """Raise CheckpointError if a needed file is missing, or an adapter is present."""
    if not (folder / CONFIG).exists():
        raise _without_config(name, folder)
    if (folder / ADAPTER).exists():
        raise DamagedCheckpointError(
            f"checkpoint {name!r}: {folder / ADAPTER} says that an adapter belongs to "
            "these weights, which is not read. Merge it with peft (merge_and_unload, "
            "then save_pretrained to a new folder), or remove the file to take the "
            "weights without it."
        )
    for path in weight_files(name, folder):
        check_weights(path)


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
    elif inner := sorted([*folder.glob("*/config.json"), *_snapshots(folder)]):
        folders = ", ".join(str(path.parent) for path in inner[:3])
        what += f" There is one in {folders}: give such a folder."
    return DamagedCheckpointError(what)


def _snapshots(folder: Path) -> Iterator[Path]:
    """Return the configurations below a folder of the Hub's cache."""
    return folder.glob("snapshots/*/config.json")


def weight_files(name: str, folder: Path) -> list[Path]:
    """Return the files that hold the weights of a folder."""
    single, index = folder / WEIGHTS, folder / INDEX
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


def check_weights(path: Path) -> None:
    """Raise DamagedCheckpointError if a file of weights is damaged or quantised."""
    check_file(path)
    with damage_named(str(path)), safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - it is no dict
            kind = file.get_slice(name).get_dtype()
            if name.endswith(".weight") and kind not in ("F64", "F32", "F16", "BF16"):
                raise damaged(
                    path,
                    f"holds {name!r} in {kind}: quantised weights are not read",
                    "Choose the checkpoint that they were made from",
                )


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
