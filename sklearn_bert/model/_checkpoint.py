"""A name or a folder -> tokenizer, encoder and how the encoder was trained.

Only weights in safetensors are read, and no code of a downloaded folder is run.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from sklearn_bert._process._atomic_folder import read_whole
from sklearn_bert._process._cache import WEIGHTS
from sklearn_bert._process._errors import CheckpointError, DamagedCheckpointError
from sklearn_bert._process._random import seeded
from sklearn_bert.model._checkpoint_encoder import (
    ADAPTER,
    INDEX,
    LEAST_LENGTH,
    check_encoder,
    check_folder,
    position_limit,
    prepare_config,
    read_config,
    read_encoder,
)
from sklearn_bert.model._checkpoint_tokenizer import (
    TOKENIZER_CONFIG,
    TOKENIZER_SETTINGS,
    check_tokenizer_files,
    lowercase,
    read_checkpoint_tokenizer,
    tokenizers_of,
)
from sklearn_bert.model._damage import (
    CONFIG,
    as_path,
    damage_named,
    damaged,
    token_limit,
)
from sklearn_bert.model._damage import (
    WEIGHTS as WEIGHTS_FILE,
)
from sklearn_bert.model._find import find_checkpoint
from sklearn_bert.model._manifest import MANIFEST, check_listed, read_manifest
from sklearn_bert.model._one_piece import move_to_one_piece
from sklearn_bert.model._pooling import (
    ATTENTION_FILE,
    POOLINGS,
    AttentionPooling,
    read_attention,
)
from sklearn_bert.model._post_processing import OWN_MODULES, Normalize, check_widths
from sklearn_bert.model._sentence_transformers import (
    PROMPTS_FILE,
    SENTENCE_FILES,
    SentenceModules,
    read_sentence_modules,
)
from sklearn_bert.model._text_model import FILE_OF_PART
from sklearn_bert.model._torch_state import quiet_transformers
from sklearn_bert.model._transformers_layout import (
    AddedLayer,
    without_added_layer,
)
from sklearn_bert.text._tokenizer import TextTokenizer, n_bytes_of

# Of a folder that `save` wrote: what it needs at least, and what else would be read.
SAVED = (CONFIG, WEIGHTS_FILE, "tokenizer.json")
HEAD_FILE = FILE_OF_PART["head"]
READ_BESIDE = {
    *TOKENIZER_SETTINGS,
    *SENTENCE_FILES,
    *("modules.json", OWN_MODULES, PROMPTS_FILE, ATTENTION_FILE, ADAPTER, INDEX),
}
SAVE_OR_REMOVE = (
    f"Save the estimator again; if the change was meant, remove {MANIFEST} to take the "
    "folder as it is"
)
OTHERS = f"Remove it, or {MANIFEST} to take the folder as it is"


@dataclass(frozen=True)
class Checkpoint:
    """A pretrained encoder, its tokenizer, and how it was trained.

    Attributes
    ----------
    folder : Path
    encoder_folder : Path
        The folder of configuration, weights and tokenizer: `folder`, or one in it.
    state : tuple
        The state of the folder's files when they were read, as `_state_of` has it.
    full_model : transformers.PreTrainedModel
        In float32, on the CPU, in evaluation mode: an encoder, alone or with the heads
        that it was pretrained with.
    tokenizer_of_length : callable
        Takes `max_length`, `long_text` and `window_stride`, and returns a
        `TextTokenizer`, which is built once.
    trained_length : int
        The default length limit, in tokens.
    longest_length : int
        The largest possible limit: the number of positions that have an embedding.
    pooling : str
        The pooling that the checkpoint was trained with.
    has_trained_pooler : bool
    attention : AttentionPooling or None
        The trained attention pooling, if the folder has one.
    sentence_steps : tuple of (str, nn.Module or None)
        The modules of a sentence-transformers folder after transformer and pooling:
        their names and what they compute; None: a module that is not supported.
    prompt : str
        The text that a sentence-transformers folder puts before each text; "": none.
    pools_prompt : bool
        Whether the tokens of the prompt are pooled like those of the text.
    head_dropout : float
        The dropout before a classification head, by the configuration.
    left_to_right : bool
        Whether it was trained to attend to earlier tokens only.
    new_heads : tuple of str
        Weights of the heads that the folder lacks, so that they are random.
    """

    name: str
    folder: Path
    encoder_folder: Path
    state: tuple[Any, ...]
    full_model: transformers.PreTrainedModel
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
        return self.full_model.base_model

    def text_tokenizer(
        self,
        max_length: int | None,
        *,
        long_text: str = "truncate",
        window_stride: int | None = None,
    ) -> TextTokenizer:
        """Return the tokenizer with a length limit; None: the checkpoint's own.

        Raises
        ------
        ValueError
            If `max_length` is more than the checkpoint can read.
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
        """Return a hash that is equal for checkpoints of the same shape and weights."""
        return _fingerprint(self.folder, self.encoder_folder, self.state)

    @property
    def text_pooling(self) -> str:
        """How to pool a text that is compared with another: as in its training."""
        return self.pooling if self.pooling in ("cls", "max") else "mean"

    def resolve_pooling(
        self, pooling: str, *, of_pairs: bool = False, is_trained: bool = True
    ) -> str:
        """Return the pooling that `pooling` stands for, or say why it is not possible.

        A sentence encoder was trained to average the states of one text. The average
        over a pair says what the two texts are about, and little about how they relate;
        the first token can learn that, as in Devlin et al. (2019, section 3). So "auto"
        is "cls" if the texts are pairs.

        Parameters
        ----------
        pooling : str
        of_pairs : bool
        is_trained : bool
            Whether the pooling is trained. If not, attention must be trained already.
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
        if pooling == "attention" and self.attention is None and not is_trained:
            raise CheckpointError(
                f"checkpoint {self.name!r} has no trained attention (no "
                f"{ATTENTION_FILE}), and nothing is trained here; set pooling='mean', "
                "or give the folder of a saved classifier or regressor that was "
                "trained with pooling='attention'."
            )
        return pooling

    def ends_normalized(self) -> bool:
        """Return whether the checkpoint's last step scales vectors to length 1."""
        steps = self.steps()
        return bool(steps) and isinstance(steps[-1], Normalize)

    def check_prompt(self, *, is_written_out: bool = False) -> None:
        """Raise CheckpointError if the checkpoint was trained on texts with a prompt.

        Parameters
        ----------
        is_written_out : bool
            Whether a template may have written the prompt before the texts, where it is
            pooled like the text.
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
        """Return copies of the checkpoint's own steps after pooling."""
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
        Whether to return the cached encoder itself, which must not be changed, instead
        of a copy.
    with_heads : bool
        Whether to read the pretraining heads too: for masked words and, of BERT, for
        next sentences.

    Raises
    ------
    CheckpointError
        If it cannot be read; the subclass says why.
    """
    name = os.fspath(checkpoint)
    cached = read_whole(
        as_path(name),
        MANIFEST,
        lambda _: _found(name, revision, dropout, with_heads),
    )
    if shared:
        return cached
    # Training changes an encoder in place, and all estimators share the cached one.
    return replace(
        cached, full_model=copy.deepcopy(cached.full_model).requires_grad_(True)
    )


def _found(
    name: str, revision: str | None, dropout: float | None, with_heads: bool
) -> Checkpoint:
    """Find a checkpoint and read it, or take it from the cache, where it stays."""
    # Links are resolved, so that all files are of one version even if somebody changes
    # a link meanwhile.
    folder = find_checkpoint(name, revision).resolve()
    # The state is part of the key, so a file that changes is read again.
    with damage_named(f"checkpoint {name!r} in {folder}"):
        state = _state_of(folder)
    # Weights that the checkpoint lacks are random, but the same in every process.
    with seeded(0, torch.device("cpu")):
        (cached,) = WEIGHTS.get(
            [(name, dropout, state, with_heads)],
            lambda missing: [_read(name, folder, state, dropout, with_heads)],
            size=_size,
        )
    return cached


def _read(
    name: str,
    folder: Path,
    state: tuple[Any, ...],
    dropout: float | None,
    with_heads: bool,
) -> Checkpoint:
    with quiet_transformers(), damage_named(f"checkpoint {name!r} in {folder}"):
        _check_saved(folder, state)
        modules = read_sentence_modules(folder)
        source = modules.encoder_folder
        shapes = check_folder(name, source)
        check_tokenizer_files(f"checkpoint {name!r}", source)
        config = read_config(name, source, shapes)
        added = without_added_layer(config)
        head_dropout, left_to_right = prepare_config(config, dropout)
        tokenizer = read_checkpoint_tokenizer(f"checkpoint {name!r}", source, config)
        # do_lower_case of sentence-transformers acts before the tokenizer's settings.
        if modules.lowercase:
            lowercase(tokenizer.backend_tokenizer)
        limit = tokenizer.model_max_length
        # The tokenizer's limit is a setting; that of the position embeddings is not.
        soft_limit = token_limit(limit, "model_max_length", source / TOKENIZER_CONFIG)
        full_model, has_pooler, new_heads = read_encoder(
            name, source, config, added, with_heads=with_heads
        )
        move_to_one_piece(full_model.parameters())
        encoder: Any = full_model.base_model
        attention = None
        if (folder / ATTENTION_FILE).exists():
            width = encoder.config.hidden_size
            attention = read_attention(folder / ATTENTION_FILE, width)
        check_widths(folder, modules.steps, encoder.config.hidden_size)
        longest = position_limit(encoder, source / CONFIG)
        check_encoder(name, source, encoder, tokenizer, longest)
    return Checkpoint(
        name=name,
        folder=folder,
        encoder_folder=source,
        state=state,
        full_model=full_model.requires_grad_(False),
        tokenizer_of_length=tokenizers_of(
            tokenizer,
            config,
            min(longest, soft_limit),
            n_embeddings=getattr(config, "vocab_size", None),
            owner=f"checkpoint {name!r}",
        ),
        trained_length=_trained_length(
            name, folder, longest, soft_limit, modules.max_length
        ),
        longest_length=longest,
        pooling=_trained_pooling(
            modules, config, has_pooler, attention, left_to_right, added
        ),
        has_trained_pooler=has_pooler,
        attention=attention,
        sentence_steps=modules.steps,
        prompt=modules.prompt,
        pools_prompt=modules.pools_prompt,
        head_dropout=head_dropout,
        left_to_right=left_to_right,
        new_heads=new_heads,
    )


def _trained_length(name: str, folder: Path, *limits: int) -> int:
    """Return the lowest of the limits that files of the folder set, in tokens."""
    lowest = min(limits)
    if lowest < LEAST_LENGTH:
        raise DamagedCheckpointError(
            f"checkpoint {name!r}: its files in {folder} limit texts to {lowest} "
            "tokens, which leaves no room for a word. Correct the limit "
            "(model_max_length in tokenizer_config.json, max_seq_length in "
            "sentence_bert_config.json, max_position_embeddings in config.json)."
        )
    return lowest


def _state_of(folder: Path) -> tuple[Any, ...]:
    """Return a value that changes when a file of the folder is changed or replaced.

    Size and modification time alone may be equal for two versions: an archive or an
    image sets the times of its files.
    """
    paths = [*folder.glob("*.*"), *folder.glob("*/*.*")]
    stats = [(str(path), path.stat()) for path in paths if path.is_file()]
    return tuple(
        sorted(
            (path, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
            for path, s in stats
        )
    )


@functools.lru_cache(maxsize=32)  # once for each state of the files
def _check_saved(folder: Path, state: tuple[Any, ...]) -> None:
    """Compare the files of a folder that `save` wrote with its manifest.

    Raises
    ------
    CheckpointError
        If a file differs or is missing, or a file beside them would be read as well.
    """
    manifest = folder / MANIFEST
    if not (manifest.exists() or manifest.is_symlink()):
        return
    files: Any = read_manifest(manifest).get("files")
    # The head is not read here, and not downloaded.
    check_listed(
        manifest, files, needed=SAVED, optional=[HEAD_FILE], remedy=SAVE_OR_REMOVE
    )
    for path in sorted(folder.iterdir()):
        if path.name in READ_BESIDE and path.name not in files:
            raise damaged(
                path, f"is not in {MANIFEST}, and would be read with the model", OTHERS
            )


@functools.lru_cache(maxsize=32)
def _fingerprint(folder: Path, source: Path, state: tuple[Any, ...]) -> str:
    """Return a sha256 of the weights and of the configuration."""
    sha256 = hashlib.sha256()
    for path in sorted([source / "config.json", *source.glob("*.safetensors")]):
        with path.open("rb") as file:
            sha256.update(hashlib.file_digest(file, "sha256").digest())
    # If the files have changed since, the hash is not that of the weights in memory:
    # return a new one, so that no cached feature is taken for theirs.
    if _state_of(folder) != state:
        return uuid.uuid4().hex
    return sha256.hexdigest()


def _size(checkpoint: Checkpoint) -> int:
    full_model = checkpoint.full_model
    n_bytes = sum(t.nbytes for t in (*full_model.parameters(), *full_model.buffers()))
    return n_bytes + n_bytes_of(checkpoint.text_tokenizer(None).backend)


def _trained_pooling(
    modules: SentenceModules,
    config: transformers.PreTrainedConfig,
    has_pooler: bool,
    attention: AttentionPooling | None,
    left_to_right: bool,
    added: AddedLayer | None,
) -> str:
    if added is not None:
        return added.pooling
    if attention is not None:
        return "attention"
    if modules.pooling is not None:
        return modules.pooling
    # A pooler reads the first token, which in a decoder attends to itself only.
    if has_pooler and not left_to_right:
        return "pooler"
    # ModernBERT names the pooling of its classifier; other families get the mean.
    return str(getattr(config, "classifier_pooling", "mean"))
