"""A `TextModel` <-> safetensors and JSON: for pickles, and for saved folders."""

from __future__ import annotations

import json
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import transformers
from safetensors.torch import save
from torch import Tensor, nn

from sklearn_bert._process._random import seeded
from sklearn_bert.model._checkpoint_encoder import read_config_values
from sklearn_bert.model._damage import (
    CONFIG,
    FIT,
    WEIGHTS,
    check_finite,
    check_weights,
    damage_named,
    damaged,
)
from sklearn_bert.model._language_model import LanguageModel, language_class
from sklearn_bert.model._one_piece import move_to_one_piece
from sklearn_bert.model._post_processing import (
    OWN_MODULES,
    Normalize,
    build_steps,
    n_features_after,
    read_step_weights,
    write_step,
)
from sklearn_bert.model._shared_weights import read_once
from sklearn_bert.model._sizes import check_model_size
from sklearn_bert.model._text_model import ENCODER_FILE, FILE_OF_PART, TextModel
from sklearn_bert.model._torch_state import Undrawn, building, own_torch_state
from sklearn_bert.model._weight_array import from_array, to_array
from sklearn_bert.model._weight_file import read_weights
from sklearn_bert.text._tokenizer import TextTokenizer

# What a configuration says of transformers' own heads. transformers would make up a
# head for it, with random weights.
HEAD_SETTINGS = ("id2label", "label2id", "num_labels", "problem_type")
# The modules of a folder that come before the steps: Transformer and Pooling.
N_BEFORE_STEPS = 2
# The sha256 and the array of a model's last pickle.
_pickled: WeakKeyDictionary[TextModel, tuple[str, np.ndarray]] = WeakKeyDictionary()


def pack_model(model: TextModel) -> dict[str, Any]:
    """Return the model as text and one array: its weights once, no class of torch."""
    config, settings, weights = _config(model), model.settings(), _weights(model)
    _check_state(config, settings, weights)
    layout, array = to_array(weights)
    digest = sha256(array.data).hexdigest()
    return {
        "config": json.dumps(config),
        "settings": settings,
        "layout": layout,
        "weights": _same_as_before(model, array, digest),
        "sha256": digest,
    }


def _same_as_before(model: TextModel, array: np.ndarray, digest: str) -> np.ndarray:
    """Return the array of the model's last pickle, if it has the same bytes.

    joblib writes an array to a file for its workers, and knows it again as an object.
    """
    before, old = _pickled.get(model, (None, array))
    if before == digest:
        return old
    if not array.flags.owndata:  # the weights themselves; a copy would double them
        _pickled[model] = digest, array
    return array


def unpack_model(packed: dict[str, Any]) -> TextModel:
    """Build the model that `pack_model` took apart, on the CPU.

    It shares the memory of the array, and the weights of all that are equal.
    """
    config, settings, layout = (packed[k] for k in ("config", "settings", "layout"))

    def build() -> TextModel:
        weights = from_array(layout, packed["weights"])
        return _build_model(json.loads(config), settings, weights, copies=False)

    what = {"config": config, "settings": settings, "layout": layout}
    return read_once({"pickle": packed["sha256"]}, what, build)


def write_model(model: TextModel, folder: Path, *, tokenizer: TextTokenizer) -> None:
    """Write a folder that transformers and sentence-transformers open as well."""
    config, weights = _config(model), _weights(model)
    _check_state(config, model.settings(), weights)
    _write_json(folder / "config.json", config)
    for file, content in model.weights_by_file(weights).items():
        # `save_file` would make a file that only its owner may read.
        (folder / file).write_bytes(save(content, metadata={"format": "pt"}))
    width = model.width
    for place, step in enumerate(model.steps):
        write_step(step, _step_path(folder, place), width)
        width = n_features_after([step], width)
    (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    _write_json(folder / "tokenizer_config.json", tokenizer.config)
    _write_sentence_modules(model, folder, tokenizer.max_length)


def files_of_model(settings: dict[str, Any]) -> list[str]:
    """Return the files that a model of these settings is read from."""
    files = ["config.json", "tokenizer.json", ENCODER_FILE]
    if _is_language_model(settings):
        return files
    if settings["n_outputs"] is not None:
        files.append(FILE_OF_PART["head"])
    if settings["pooling"] == "attention":
        files.append(FILE_OF_PART["attention"])
    steps = [_step_path(Path(), place) for place in _dense_steps(settings)]
    return files + [(step / WEIGHTS).as_posix() for step in steps]


def read_model(folder: Path, settings: dict[str, Any]) -> TextModel:
    """Build the model that `write_model` wrote; `settings` are those of the model.

    The files have been compared with the manifest.
    """
    is_language_model = _is_language_model(settings)
    weights: dict[str, Tensor] = {}
    for file in files_of_model(settings):
        path = folder / file
        if path.suffix != ".safetensors":
            continue
        check_weights(path)
        if path.parent != folder:  # of a step
            continue
        found = read_weights(path)
        if file == ENCODER_FILE and not is_language_model:
            found = {f"encoder.{name}": value for name, value in found.items()}
        weights |= found
    for place in _dense_steps(settings):
        found = read_step_weights(_step_path(folder, place))
        weights |= {f"steps.{place}.{name}": value for name, value in found.items()}
    check_finite(folder, weights.items())
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    config = read_config_values(f"of {folder}", folder, shapes)
    sketched = {**config, "is_decoder": False}
    with (
        damage_named(f"{folder / CONFIG}, with values that do not fit,", FIT),
        seeded(0, torch.device("cpu")),
    ):
        check_model_size(
            folder / CONFIG, lambda: _new_network(sketched, settings), shapes
        )
    model = _build_model(config, settings, weights)
    move_to_one_piece(model.parameters())
    _check_answer(folder, model)
    return model


def _check_answer(folder: Path, model: TextModel) -> None:
    """Raise DamagedCheckpointError if what the model says of a text is not finite."""
    say = model.vectors if isinstance(model, LanguageModel) else model
    with own_torch_state(), torch.inference_mode():
        tokens = torch.tensor([[0, 0]])
        answer = say(tokens, torch.ones_like(tokens, dtype=torch.bool))
    if not torch.isfinite(answer).all():
        raise damaged(folder / CONFIG, "makes vectors that hold NaN or infinity", FIT)


def _dense_steps(settings: dict[str, Any]) -> list[int]:
    """Return the places of the steps that have weights."""
    plan = settings.get("steps", [])  # the first formats have none
    for _, *sizes in plan:
        if not all(isinstance(size, int) and size >= 0 for size in sizes):
            raise ValueError(f"the steps {plan} have no sizes")
    return [place for place, (kind, *_) in enumerate(plan) if kind == "dense"]


def _is_language_model(settings: dict[str, Any]) -> bool:
    return "untrained" in settings


def _build_model(
    config: dict[str, Any],
    settings: dict[str, Any],
    weights: dict[str, Tensor],
    *,
    copies: bool = True,
) -> TextModel:
    """Build a model of this shape with these weights; no tensor may be left over.

    Without `copies` it keeps the tensors themselves. A language model copies always: it
    has some under two names.
    """
    is_language_model = _is_language_model(settings)
    # Folders of the first formats have no "left_to_right", and read as they were saved.
    if is_language_model or "left_to_right" in settings:
        config = {**config, "is_decoder": False}  # the model itself masks later tokens
    # Where all weights are overwritten, random ones would take half of the time. Those
    # that stay must not cost the caller random numbers.
    fills = nullcontext() if settings.get("untrained") else Undrawn()
    with seeded(0, torch.device("cpu")), building(), fills:
        network: Any = _new_network(config, settings)
    if is_language_model:
        weights = _with_second_names(network, weights, settings["untrained"])
    assign = not (copies or is_language_model)
    network.load_state_dict(weights, strict=True, assign=assign)
    if is_language_model:
        network = LanguageModel(network, **settings)
    return network.eval()


def _new_network(config: dict[str, Any], settings: dict[str, Any]) -> nn.Module:
    """Build the network, with random weights, whose names `full_state` uses."""
    configuration = transformers.CONFIG_MAPPING[config["model_type"]].from_dict(config)
    if _is_language_model(settings):
        return language_class(configuration)(configuration)
    steps = build_steps(settings.get("steps", ()))
    encoder = transformers.AutoModel.from_config(
        configuration, dtype=torch.float32, trust_remote_code=False
    )
    return TextModel(encoder, **{**settings, "steps": steps})


def _with_second_names(
    full_model: transformers.PreTrainedModel,
    weights: dict[str, Tensor],
    untrained: list[str],
) -> dict[str, Tensor]:
    """Add the weights that were not saved: second names of a tensor, and random ones.

    A language model has its word embeddings under two names, and they are saved once.
    """
    state = full_model.state_dict(keep_vars=True)
    given = {id(state[name]): weights[name] for name in weights if name in state}
    weights = dict(weights)
    prefix = f"{full_model.base_model_prefix}."
    for name, value in state.items():
        # Of the encoder no weight is random, but for those of the pooler.
        is_needed = name.startswith(prefix) and not name.startswith(f"{prefix}pooler.")
        if id(value) in given:
            weights[name] = given[id(value)]
        elif name.startswith(tuple(untrained)) and not is_needed:
            weights[name] = value.detach()
    return weights


def _check_state(
    config: dict[str, Any], settings: dict[str, Any], weights: dict[str, Tensor]
) -> None:
    """Raise ValueError if a model that is built anew could not take the weights."""
    config = json.loads(json.dumps({**config, "is_decoder": False}))
    # On the device "meta" random weights take no time and no memory.
    with seeded(0, torch.device("cpu")), building(), torch.device("meta"):
        new = _new_network(config, settings)
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


def _write_sentence_modules(model: TextModel, folder: Path, max_length: int) -> None:
    """Write how the states are pooled, in the files of sentence-transformers."""
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
        # sentence-transformers has no such pooling; only this package reads the steps.
        _write_json(folder / OWN_MODULES, modules[N_BEFORE_STEPS:])
        return
    of_one_text = model.pooling
    if of_one_text == "similarity":
        of_one_text = model.text_pooling
    (folder / "1_Pooling").mkdir()
    _write_json(folder / "modules.json", modules)
    _write_json(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": model.width,
            "pooling_mode_cls_token": of_one_text == "cls",
            "pooling_mode_mean_tokens": of_one_text == "mean",
            "pooling_mode_max_tokens": of_one_text == "max",
        },
    )


def _step_path(folder: Path, place: int) -> Path:
    return folder / f"{place + N_BEFORE_STEPS}_Dense"


def _config(model: TextModel) -> dict[str, Any]:
    config = model.transformers_config()
    config["dtype"] = "float32"
    config.pop("_name_or_path", None)  # a path of this machine
    for name in HEAD_SETTINGS:
        config.pop(name, None)
    return config


def _weights(model: TextModel) -> dict[str, Tensor]:
    state = model.full_state()
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
