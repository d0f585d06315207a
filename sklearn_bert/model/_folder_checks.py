"""A checkpoint's files, looked at before a library below reads them.

Whatever is wrong with a folder is said here: the file, what is wrong with it, and what
to do. The libraries below would go on with what is left, or speak of their own insides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, MODEL_MAPPING

from sklearn_bert.model._errors import CheckpointError, DamagedCheckpointError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
ADAPTER = "adapter_config.json"
# Each is enough to build a tokenizer of; the last kind may have any name.
TOKENIZER_FILES = [
    ["tokenizer.json"],
    ["vocab.txt"],
    ["vocab.json", "merges.txt"],
    ["*.model"],
]
# What may stand beside them.
TOKENIZER_SETTINGS = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
]
# How the first bytes of a file betray that it is another one than its name says.
PICKLE = (
    "is a pickle of torch (or another zip archive) under a wrong name",
    "Open it where you trust it, and write it anew with save_pretrained",
)
POINTER = (
    "is a Git LFS pointer and not the file itself",
    "Fetch the file: git lfs install, and git lfs pull in that folder",
)
WEB_PAGE = (
    "is a web page and not the file itself",
    "Download the file again, with an account that may read it",
)
FOREIGN: dict[bytes, tuple[str, str]] = {
    b"version https://git-lfs": POINTER,
    b"PK\x03\x04": PICKLE,
    b"<!doctype": WEB_PAGE,
    b"<html": WEB_PAGE,
}
AGAIN = "Download or copy the folder again, or write it anew with save_pretrained"
FIT = "Take config.json and weights of the same checkpoint"
SAVE_TOKENIZER = "Write it with tokenizer.save_pretrained(folder)"
OF_THE_WEIGHTS = ", of the tokenizer that the weights were trained with"
# Weights may have rows to spare, so that their number suits a processor; not so many.
LEAST_SHARE = 0.9
# How a process computes or answers, and nothing about the weights: ours to decide.
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
# Weights in forms that are not read, and how they are turned into safetensors.
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
PROBE = "a ᚠ 龘 ꙮ"  # at least one of these is in nobody's vocabulary


def damaged(path: Path, problem: str, remedy: str = AGAIN) -> DamagedCheckpointError:
    """The error that names a file, what is wrong with it, and what to do."""
    return DamagedCheckpointError(f"{path} {problem}. {remedy}.")


@contextmanager
def damage_named(what: str, remedy: str = AGAIN) -> Iterator[None]:
    """Turn whatever a library raises at a damaged file into one error of ours."""
    try:
        yield
    except (CheckpointError, MemoryError):
        raise
    except BaseException as error:
        # A tokenizer that is written in Rust may panic, which is no Exception.
        is_panic = type(error).__name__ == "PanicException"
        if not (isinstance(error, Exception) or is_panic):
            raise
        text = " ".join(str(error).split())[:300] or "no reason given"
        if "trust_remote_code" in text:  # that is no way on here
            raise DamagedCheckpointError(
                f"{what} cannot be read: it needs code of its own, which is never run "
                "here. Choose a checkpoint of a family that transformers has itself."
            ) from error
        raise DamagedCheckpointError(
            f"{what} cannot be read: {text} ({type(error).__name__}). {remedy}."
        ) from error


def check_file(path: Path, remedy: str = AGAIN) -> None:
    """Raise DamagedCheckpointError where a file is missing, empty or another one."""
    if path.is_dir():
        raise damaged(path, "is a folder; expected a file", remedy)
    if not path.is_file():
        raise damaged(path, "is missing", remedy)
    try:
        with path.open("rb") as file:
            begin = file.read(64)
    except OSError as error:
        raise damaged(
            path, f"cannot be opened ({error.strerror})", "Look at its permissions"
        ) from error
    if not begin.strip():
        raise damaged(path, "is empty", remedy)
    for start, (problem, way_on) in FOREIGN.items():
        if begin.lower().lstrip().startswith(start.lower()):
            raise damaged(path, problem, way_on)


def read_json(path: Path, default: Any, remedy: str = AGAIN) -> Any:
    """What a JSON file holds, of the kind of the default; the default without it."""
    if not (path.exists() or path.is_symlink()):
        return default
    check_file(path, remedy)
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"is not JSON in UTF-8 ({error})", remedy) from error
    if type(found) is not type(default):
        raise damaged(
            path,
            f"holds JSON of type {type(found).__name__}; expected "
            f"{type(default).__name__}",
            remedy,
        )
    return found


def path_in(folder: Path, name: Any, source: Path) -> Path:
    """The path of a part that a file of a folder names: right inside it, or an error.

    What lies deeper could change unseen: only so far are files looked after.
    """
    if not isinstance(name, str):
        raise damaged(source, f"names the part {name!r}; expected a path")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise damaged(source, f"names the part {name!r}, outside of the folder")
    if len(Path(name).parts) > 1:
        raise damaged(
            source,
            f"names the part {name!r}, a path of several folders",
            "Move it into the folder itself, and correct the path",
        )
    return folder / name


# -- configuration -----------------------------------------------------------------


def read_config(name: str, folder: Path) -> Any:
    """The configuration of a text encoder, less what is for the process to decide."""
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


def _check_is_encoder(name: str, path: Path, config: Any) -> None:
    """Raise CheckpointError where a configuration is not of an encoder of texts."""
    found: Any = MODEL_MAPPING.get(type(config), None)
    model = found[0] if isinstance(found, tuple) else found
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
    """Raise CheckpointError where a file that is needed is missing, or too many are."""
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
    check_tokenizer_files(f"checkpoint {name!r}", folder)


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
    """Where a folder of the Hub's cache has its checkpoints."""
    return folder.glob("snapshots/*/config.json")


def weight_files(name: str, folder: Path) -> list[Path]:
    """The files that hold the weights of a folder."""
    whole, index = folder / WEIGHTS, folder / INDEX
    if whole.exists() or whole.is_symlink():
        return [whole]
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
    """Raise DamagedCheckpointError where a file is no whole one of weights."""
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


def check_tokenizer_files(what: str, folder: Path) -> None:
    """Raise DamagedCheckpointError where no tokenizer can be built of the files.

    Parameters
    ----------
    what : str
        Whose files they are: "checkpoint 'a/b'", "vocabulary 'c'".
    """
    for names in TOKENIZER_FILES:
        found = [sorted(folder.glob(file)) for file in names]
        if all(found):
            for path in (paths[0] for paths in found):
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


# -- the tokenizer -----------------------------------------------------------------


def check_tokenizer(
    what: str, folder: Path, tokenizer: Any, n_rows: int | None
) -> None:
    """Raise CheckpointError where a tokenizer cannot read texts for the weights.

    Parameters
    ----------
    what : str
        As for `check_tokenizer_files`.
    n_rows : int or None
        Of the checkpoint's table of words; None: there is none yet.
    """
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise CheckpointError(
            f"{what} has a tokenizer written in Python "
            f"({type(tokenizer).__name__}); expected one with a tokenizer.json."
        )
    backend = tokenizer.backend_tokenizer
    n_tokens, n_added = (
        backend.get_vocab_size(),
        len(backend.get_added_tokens_decoder()),
    )
    if n_tokens <= n_added:
        whose = "" if n_rows is None else OF_THE_WEIGHTS
        raise DamagedCheckpointError(
            f"{what}: the tokenizer files in {folder} hold {n_tokens} special tokens "
            f"and no word, so every text would be read as the same. {SAVE_TOKENIZER}"
            f"{whose}."
        )
    with damage_named(f"{what}: tokenizer in {folder}", SAVE_TOKENIZER):
        backend.encode(PROBE)
        frame = backend.encode("")
    is_from_lines = not (folder / "tokenizer.json").exists()
    if is_from_lines and (folder / "vocab.txt").exists():
        lines = (folder / "vocab.txt").read_text("utf-8").splitlines()
        needed = {*frame.tokens, tokenizer.unk_token} - {None}
        if lost := sorted(needed - set(lines)):
            raise damaged(
                folder / "vocab.txt",
                f"lacks the special token {lost[0]!r}: it is cut short, or of another "
                "checkpoint",
                SAVE_TOKENIZER,
            )
        if n_rows is not None and n_tokens < LEAST_SHARE * n_rows:
            raise damaged(
                folder / "vocab.txt",
                f"gives {n_tokens} tokens, but the weights know {n_rows}: it is cut "
                "short, or of another checkpoint",
                SAVE_TOKENIZER + OF_THE_WEIGHTS,
            )
    for token, place in zip(frame.tokens, frame.ids, strict=True):
        if n_rows is not None and place >= n_rows:
            raise DamagedCheckpointError(
                f"{what}: the tokenizer in {folder} puts {token!r} (id {place}) around "
                f"every text, but the weights know only {n_rows} tokens: it belongs to "
                f"another checkpoint. {SAVE_TOKENIZER}{OF_THE_WEIGHTS}."
            )


def tokenizer_damage(folder: Path) -> str:
    """What to say of a tokenizer that the library below cannot build."""
    path = folder / "tokenizer.json"
    if not path.exists():
        files = [
            p.name for names in TOKENIZER_FILES for n in names for p in folder.glob(n)
        ]
        return f"tokenizer in {folder} ({', '.join(files)})"
    read_json(path, {}, SAVE_TOKENIZER)
    return f"{path}, made by a newer or older version of tokenizers perhaps,"


# -- the weights -------------------------------------------------------------------


def check_weights_fit(
    folder: Path, whole: nn.Module, encoder: nn.Module, report: dict[str, Any]
) -> None:
    """Raise DamagedCheckpointError where weights and configuration disagree."""
    for found in sorted(report["mismatched_keys"], key=str):
        tensor, in_file, in_model = found
        raise damaged(
            folder / CONFIG,
            f"does not fit the weights beside it: {tensor!r} has shape "
            f"{tuple(in_file)} there, and {tuple(in_model)} by the configuration",
            FIT,
        )
    known = {_without_number(name) for name in whole.state_dict()}
    known |= {_without_number(name) for name in encoder.state_dict()}
    for key in sorted(report["unexpected_keys"]):
        name = key.removeprefix(f"{encoder.base_model_prefix}.")
        bare = _without_number(name)
        # The weights of a head are foreign to an encoder; one more layer is not.
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
        if not torch.isfinite(value).all():  # and not only too large a sum
            raise DamagedCheckpointError(
                f"the weights in {folder} are damaged: {name!r} holds NaN or infinity, "
                f"and so would every result. {AGAIN}."
            )


def check_reads_texts(
    name: str, folder: Path, encoder: nn.Module, ids: list[int]
) -> None:
    """Raise CheckpointError where an encoder makes no state of each token."""
    tokens = torch.tensor([ids])
    what = f"checkpoint {name!r} in {folder}: a text given to {type(encoder).__name__}"
    with damage_named(what, "Choose an encoder of texts such as BERT"), torch.no_grad():
        output = encoder(input_ids=tokens, attention_mask=torch.ones_like(tokens))
        states = output.last_hidden_state
        if states.shape[:2] != tokens.shape:
            raise ValueError(f"{tuple(states.shape)} states for {len(ids)} tokens")
