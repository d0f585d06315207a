"""A `TextModel` <-> safetensors and JSON: for pickles, and for saved folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, load_file, save
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModel

from sklearn_bert.model._heads import TextModel
from sklearn_bert.text import TextTokenizer

HEAD = "head."
ENCODER_FILE = "model.safetensors"
HEAD_FILE = "head.safetensors"


def pack_model(model: TextModel) -> dict[str, Any]:
    """The model as plain text and bytes: its weights once, and no class of torch."""
    return {
        "config": json.dumps(_config(model)),
        "settings": model_settings(model),
        "weights": save(_weights(model)),
    }


def unpack_model(packed: dict[str, Any]) -> TextModel:
    """Build the model that `pack_model` took apart, on the CPU."""
    config = json.loads(packed["config"])
    return _build_model(config, packed["settings"], load(packed["weights"]))


def model_settings(model: TextModel) -> dict[str, Any]:
    """What `TextModel` was built with, beside the encoder."""
    return {
        "pooling": model.pooling,
        "normalize": model.normalize,
        "n_outputs": None if model.head is None else model.head.out_features,
        "dropout": model.dropout.p,
        "trainable": model.trainable,
    }


def write_model(
    model: TextModel,
    folder: Path,
    *,
    tokenizer: TextTokenizer,
    labels: list[str] | None,
) -> None:
    """Write a folder that transformers and sentence-transformers open as well.

    Parameters
    ----------
    labels : list of str or None
        Names of the outputs, for the configuration; None: it has no outputs.
    """
    config = _config(model)
    if labels is not None:
        config["id2label"] = dict(enumerate(labels))
        config["label2id"] = {label: i for i, label in enumerate(labels)}
    weights = _weights(model)
    head = {name: weights.pop(name) for name in list(weights) if name.startswith(HEAD)}
    encoder = {name.removeprefix("encoder."): value for name, value in weights.items()}
    _write_json(folder / "config.json", config)
    # Not save_file: it makes files that only their owner may read.
    (folder / ENCODER_FILE).write_bytes(save(encoder, metadata={"format": "pt"}))
    if head:
        (folder / HEAD_FILE).write_bytes(save(head, metadata={"format": "pt"}))
    (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    _write_json(folder / "tokenizer_config.json", tokenizer.config)
    _write_sentence_modules(model, folder, tokenizer.max_length)


def read_model(folder: Path, settings: dict[str, Any]) -> TextModel:
    """Build the model that `write_model` wrote; `settings` are `model_settings`."""
    weights = {
        f"encoder.{name}": value
        for name, value in load_file(folder / ENCODER_FILE).items()
    }
    if settings["n_outputs"] is not None:
        weights |= load_file(folder / HEAD_FILE)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return _build_model(config, settings, weights)


def _build_model(
    config: dict[str, Any], settings: dict[str, Any], weights: dict[str, Tensor]
) -> TextModel:
    """A model of this shape with these weights; every tensor must find its place."""
    # The random weights that it starts with must not cost the caller random numbers.
    with torch.random.fork_rng(devices=[]):
        encoder = AutoModel.from_config(
            CONFIG_MAPPING[config["model_type"]].from_dict(config),
            dtype=torch.float32,
            trust_remote_code=False,
        )
        model = TextModel(encoder, **settings)
    model.load_state_dict(weights, strict=True)
    return model.eval()


def _write_sentence_modules(model: TextModel, folder: Path, max_length: int) -> None:
    """Say how the states are pooled, in the words of sentence-transformers."""
    _write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": max_length, "do_lower_case": False},
    )
    if model.pooling == "pooler":
        return  # sentence-transformers has no word for it
    package = "sentence_transformers.models"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{package}.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{package}.Pooling"},
    ]
    if model.normalize:
        modules.append(
            {
                "idx": 2,
                "name": "2",
                "path": "2_Normalize",
                "type": f"{package}.Normalize",
            }
        )
    (folder / "1_Pooling").mkdir()
    _write_json(folder / "modules.json", modules)
    _write_json(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": model.width,
            "pooling_mode_cls_token": model.pooling == "cls",
            "pooling_mode_mean_tokens": model.pooling == "mean",
            "pooling_mode_max_tokens": model.pooling == "max",
        },
    )


def _config(model: TextModel) -> dict[str, Any]:
    config: dict[str, Any] = model.encoder.config.to_dict()  # type: ignore[union-attr,operator]
    config["architectures"] = [type(model.encoder).__name__]
    config["dtype"] = "float32"
    config.pop("_name_or_path", None)  # a path of this machine
    return config


def _weights(model: TextModel) -> dict[str, Tensor]:
    return {
        name: value.detach().cpu().contiguous()
        for name, value in model.state_dict().items()
    }


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
