"""A `TextModel` <-> safetensors and JSON: for pickles, and for saved folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, load_file, save
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModel

from sklearn_bert._process._random import seeded
from sklearn_bert.model._language_model import LanguageModel, language_class
from sklearn_bert.model._loaded_checks import check_finite
from sklearn_bert.model._pooling import ATTENTION_FILE
from sklearn_bert.model._post_processing import (
    OWN_MODULES,
    Normalize,
    n_features_after,
    plan_of,
    read_step_weights,
    write_step,
)
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.model._torch_state import building
from sklearn_bert.text._tokenizer import TextTokenizer

ENCODER_FILE = "model.safetensors"
# What is not the encoder's, by the beginning of its name.
FILES_BESIDE = {"head.": "head.safetensors", "attention.": ATTENTION_FILE}
# What a configuration says of a head: transformers would make one up, with no weights.
OF_A_HEAD = ("id2label", "label2id", "num_labels", "problem_type")
# The modules of a folder that come before the steps: Transformer and Pooling.
N_BEFORE_STEPS = 2


def pack_model(model: TextModel) -> dict[str, Any]:
    """The model as plain text and bytes: its weights once, and no class of torch."""
    config, settings, weights = _config(model), model_settings(model), _weights(model)
    _check_state(config, settings, weights)
    return {
        "config": json.dumps(config),
        "settings": settings,
        "weights": save(weights),
    }


def unpack_model(packed: dict[str, Any]) -> TextModel:
    """Build the model that `pack_model` took apart, on the CPU."""
    config = json.loads(packed["config"])
    return _build_model(config, packed["settings"], load(packed["weights"]))


def model_settings(model: TextModel) -> dict[str, Any]:
    """What the model was built with, beside what transformers' configuration says."""
    if isinstance(model, LanguageModel):
        return {
            "pooling": model.pooling,
            "normalize": model.normalize,
            "left_to_right": model.left_to_right,
            "untrained": list(model.untrained),
        }
    return {
        "pooling": model.pooling,
        "steps": plan_of(model.steps),
        "normalize": model.normalize,
        "n_outputs": None if model.head is None else model.head.out_features,
        "dropout": model.dropout.p,
        "trainable": model.trainable,
        "left_to_right": model.left_to_right,
    }


def write_model(model: TextModel, folder: Path, *, tokenizer: TextTokenizer) -> None:
    """Write a folder that transformers and sentence-transformers open as well."""
    config, weights = _config(model), _weights(model)
    _check_state(config, model_settings(model), weights)
    if isinstance(model, LanguageModel):
        untrained = model.untrained
        encoder = {n: w for n, w in weights.items() if not n.startswith(untrained)}
    else:
        encoder = _starting_with("encoder.", weights)
    _write_json(folder / "config.json", config)
    # Not save_file: it makes files that only their owner may read.
    (folder / ENCODER_FILE).write_bytes(save(encoder, metadata={"format": "pt"}))
    for start, file in FILES_BESIDE.items():
        if isinstance(model, LanguageModel):
            break  # ModernBERT's own head has such a name
        if found := _starting_with(start, weights):
            named = {f"{start}{name}": value for name, value in found.items()}
            (folder / file).write_bytes(save(named, metadata={"format": "pt"}))
    width = model.width
    for place, step in enumerate(model.steps):
        write_step(step, _step_path(folder, place), width)
        width = n_features_after([step], width)
    (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    _write_json(folder / "tokenizer_config.json", tokenizer.config)
    _write_sentence_modules(model, folder, tokenizer.max_length)


def read_model(folder: Path, settings: dict[str, Any]) -> TextModel:
    """Build the model that `write_model` wrote; `settings` are `model_settings`."""
    weights = load_file(folder / ENCODER_FILE)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if "untrained" in settings:
        check_finite(folder, weights.items())
        return _build_language_model(config, settings, weights)
    weights = {f"encoder.{name}": value for name, value in weights.items()}
    if settings["n_outputs"] is not None:
        weights |= load_file(folder / FILES_BESIDE["head."])
    if settings["pooling"] == "attention":
        weights |= load_file(folder / ATTENTION_FILE)
    for place, (kind, *_) in enumerate(settings.get("steps", [])):
        if kind == "dense":
            found = read_step_weights(_step_path(folder, place))
            weights |= {f"steps.{place}.{n}": value for n, value in found.items()}
    check_finite(folder, weights.items())
    return _build_model(config, settings, weights)


def _build_model(
    config: dict[str, Any], settings: dict[str, Any], weights: dict[str, Tensor]
) -> TextModel:
    """A model of this shape with these weights; every tensor must find its place."""
    if "untrained" in settings:
        return _build_language_model(config, settings, weights)
    if "left_to_right" in settings:
        config = {**config, "is_decoder": False}  # the model itself knows
    # The random weights that it starts with must not cost the caller random numbers.
    with seeded(0, torch.device("cpu")), building():
        model = _new_model(config, settings)
    model.load_state_dict(weights, strict=True)
    return model.eval()


def _new_model(config: dict[str, Any], settings: dict[str, Any]) -> TextModel:
    encoder = AutoModel.from_config(
        CONFIG_MAPPING[config["model_type"]].from_dict(config),
        dtype=torch.float32,
        trust_remote_code=False,
    )
    return TextModel(encoder, **settings)


def _check_state(
    config: dict[str, Any], settings: dict[str, Any], weights: dict[str, Tensor]
) -> None:
    """Raise ValueError where a model that is built anew could not take the weights."""
    config = json.loads(json.dumps({**config, "is_decoder": False}))
    # Where random weights cost neither time nor numbers.
    with seeded(0, torch.device("cpu")), building(), torch.device("meta"):
        if "untrained" in settings:
            configuration = CONFIG_MAPPING[config["model_type"]].from_dict(config)
            new: Any = language_class(configuration)(configuration)
        else:
            new = _new_model(config, settings)
    expected = new.state_dict(keep_vars=True)
    given = {id(expected[name]) for name in weights if name in expected}
    fresh = tuple(settings.get("untrained", ()))
    problems = [f"{name!r} is not in it" for name in weights if name not in expected]
    for name, value in expected.items():
        if name not in weights:
            # A tensor of two names is written once.
            if id(value) not in given and not (fresh and name.startswith(fresh)):
                problems.append(f"{name!r} is missing")
        elif value.shape != weights[name].shape:
            shapes = tuple(weights[name].shape), tuple(value.shape)
            problems.append(f"{name!r} has the shape {shapes[0]}, there {shapes[1]}")
    if problems:
        raise ValueError(
            f"the model cannot be saved or pickled: a {config['model_type']} built "
            f"from its configuration has other weights ({len(problems)} differ; "
            f"{problems[0]}), so that it could not be loaded again. Something has "
            "changed the modules of net_.module after they were read; nothing was "
            "written."
        )


def _build_language_model(
    config: dict[str, Any], settings: dict[str, Any], weights: dict[str, Tensor]
) -> LanguageModel:
    """The same with its heads; a weight may stand under two names in it."""
    config = {**config, "is_decoder": False}  # what is read, it says itself
    configuration = CONFIG_MAPPING[config["model_type"]].from_dict(config)
    # For what was never trained.
    with seeded(0, torch.device("cpu")), building():
        full_model = language_class(configuration)(configuration)
    state = full_model.state_dict(keep_vars=True)
    given = {id(state[name]): weights[name] for name in weights if name in state}
    for name, value in state.items():
        if id(value) in given:
            weights[name] = given[id(value)]
        elif name.startswith(tuple(settings["untrained"])):
            weights[name] = value.detach()
    full_model.load_state_dict(weights, strict=True)
    return LanguageModel(full_model, **settings).eval()


def _write_sentence_modules(model: TextModel, folder: Path, max_length: int) -> None:
    """Say how the states are pooled, in the words of sentence-transformers."""
    _write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": max_length, "do_lower_case": False},
    )
    steps = [*model.steps, Normalize()] if model.normalize else model.steps
    kinds = ["Normalize" if isinstance(s, Normalize) else "Dense" for s in steps]
    modules = [
        {
            "idx": place,
            "name": str(place),
            "path": f"{place}_{kind}" if place else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for place, kind in enumerate(["Transformer", "Pooling", *kinds])
    ]
    if model.pooling in ("pooler", "attention"):
        # sentence-transformers has no word for it, but what comes then is ours to know.
        _write_json(folder / OWN_MODULES, modules[N_BEFORE_STEPS:])
        return
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


def _step_path(folder: Path, place: int) -> Path:
    return folder / f"{place + N_BEFORE_STEPS}_Dense"


def _starting_with(start: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(start): value
        for name, value in weights.items()
        if name.startswith(start)
    }


def _config(model: TextModel) -> dict[str, Any]:
    config: dict[str, Any] = model.encoder.config.to_dict()  # type: ignore[union-attr,operator]
    config["architectures"] = [type(model.encoder).__name__]
    if isinstance(model, LanguageModel):
        config["architectures"] = [model.transformers_class()]
        config["is_decoder"] = model.left_to_right
    elif model.left_to_right:
        config["is_decoder"] = True
    config["dtype"] = "float32"
    config.pop("_name_or_path", None)  # a path of this machine
    for name in OF_A_HEAD:
        config.pop(name, None)
    return config


def _weights(model: TextModel) -> dict[str, Tensor]:
    named = model.state_dict()
    if isinstance(model, LanguageModel):
        named = model.full_state()
    return {name: value.detach().cpu().contiguous() for name, value in named.items()}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
