"""The files of sentence-transformers: modules, pooling, prompt and length."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sklearn_bert.model._damage import (
    check_plain_files,
    damage_named,
    damaged,
    path_in,
    read_json,
    token_limit,
)
from sklearn_bert.model._post_processing import OWN_MODULES, Normalize, read_step

SENTENCE_FILES = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
]
PROMPTS_FILE = "config_sentence_transformers.json"
# The names that sentence-transformers has used for the transformer module.
TRANSFORMER = {"Transformer", "BERT", "RoBERTa", "DistilBERT", "CamemBERT", "ALBERT"}
TRANSFORMER |= {"XLMRoBERTa", "XLNet"}


@dataclass(frozen=True)
class SentenceModules:
    """The content of the files of a sentence-transformers folder.

    Attributes
    ----------
    encoder_folder : Path
        The folder of the transformer: the folder itself, or one in it.
    pooling : str or None
        None: the folder has no Pooling module.
    steps : tuple of (str, nn.Module or None)
        The other modules in order: their names and what they compute; None: a module
        that is not supported.
    prompt : str
        The text that is put before each text; "": none.
    pools_prompt : bool
        Whether the tokens of the prompt are pooled like those of the text.
    max_length : int
        In tokens.
    lowercase : bool
        Whether texts are lowercased before the tokenizer reads them.
    """

    encoder_folder: Path
    pooling: str | None
    steps: tuple[tuple[str, nn.Module | None], ...]
    prompt: str
    pools_prompt: bool
    max_length: int
    lowercase: bool


def read_sentence_modules(folder: Path) -> SentenceModules:
    """Read the modules, the pooling and the settings of a folder.

    A folder without such files is a transformer alone. All files that may be read
    after this are plain ones in the folder.
    """
    check_plain_files(folder, folder)
    source = folder / "modules.json"
    if not source.exists():
        source = folder / OWN_MODULES
    modules = read_json(source, [])
    prompt = _default_prompt(folder / PROMPTS_FILE)
    encoder_folder, pooling, pools_prompt = folder, None, True
    steps: list[tuple[str, nn.Module | None]] = []
    for place, module in enumerate(modules):
        if not isinstance(module, dict) or not isinstance(module.get("type"), str):
            raise damaged(source, f"has no type for the module {place}")
        # The classes have moved between modules of the library, but kept their names.
        kind = module["type"].rpartition(".")[2]
        path = path_in(folder, module.get("path"), source)
        check_plain_files(path, folder)
        if kind in TRANSFORMER and place == 0:
            encoder_folder = path
        elif kind == "Pooling":
            config = read_json(path / "config.json", {})
            if not config:
                raise damaged(
                    path / "config.json", "is missing, so it is not clear how to pool"
                )
            pooling = _pooling_mode(config)
            pools_prompt = bool(config.get("include_prompt", True))
        else:
            with damage_named(f"module {kind!r} in {path}"):
                steps.append((kind, _sentence_step(kind, path)))
    for name in SENTENCE_FILES:
        if settings := read_json(encoder_folder / name, {}):
            break
    limit = settings.get("max_seq_length")
    return SentenceModules(
        encoder_folder=encoder_folder,
        pooling=pooling,
        steps=tuple(steps),
        prompt=prompt,
        pools_prompt=pools_prompt,
        max_length=token_limit(limit, "max_seq_length", encoder_folder / name),
        lowercase=bool(settings.get("do_lower_case")),
    )


def _default_prompt(source: Path) -> str:
    settings = read_json(source, {})
    name = settings.get("default_prompt_name")
    if not name:
        return ""
    prompts = settings.get("prompts")
    if not (isinstance(prompts, dict) and isinstance(prompts.get(name), str)):
        raise damaged(source, f"has no prompt of the default_prompt_name {name!r}")
    return prompts[name]


def _sentence_step(kind: str, path: Path) -> nn.Module | None:
    if kind == "Normalize":
        return Normalize()
    return read_step(path) if kind == "Dense" else None


def _pooling_mode(config: dict[str, Any]) -> str:
    """Read both forms of a Pooling module's file: a name, or one flag per mode."""
    if "pooling_mode" in config:
        return str(config["pooling_mode"])
    flags = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max"}
    on = [
        flags.get(name.removeprefix("pooling_mode_"), name)
        for name, value in config.items()
        if name.startswith("pooling_mode_") and value
    ]
    return "+".join(on)
