"""A name or a folder -> tokenizer, encoder and what it was trained with.

Only weights in safetensors are read, and code that a download brings along never runs.
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
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel

from sklearn_bert._process._cache import WEIGHTS
from sklearn_bert._process._random import seeded
from sklearn_bert.model._attention import FAMILIES as ATTENDING
from sklearn_bert.model._attention import position_offset
from sklearn_bert.model._checkpoint_tokenizer import (
    TOKENIZER_CONFIG,
    lowercase,
    read_checkpoint_tokenizer,
    tokenizers_of,
)
from sklearn_bert.model._damage import FIT, damage_named, token_limit
from sklearn_bert.model._errors import CheckpointError, DamagedCheckpointError
from sklearn_bert.model._find import find_checkpoint
from sklearn_bert.model._folder_checks import (
    CONFIG,
    check_folder,
    check_weights,
    read_config,
)
from sklearn_bert.model._language_model import language_class
from sklearn_bert.model._loaded_checks import (
    check_encoder,
    check_finite,
    check_padding,
    check_reads_texts,
    check_weights_fit,
)
from sklearn_bert.model._pooling import ATTENTION_FILE, POOLINGS, AttentionPooling
from sklearn_bert.model._post_processing import Normalize
from sklearn_bert.model._sentence_transformers import (
    PROMPTS_FILE,
    SentenceModules,
    read_sentence_modules,
)
from sklearn_bert.model._torch_state import quiet_transformers
from sklearn_bert.text._tokenizer import TextTokenizer

# What a tokenizer takes in memory, about, for each token of its vocabulary.
BYTES_PER_TOKEN = 200
LEAST_LENGTH = 4  # as for the parameter max_length


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
    full_model : transformers.PreTrainedModel
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
    full_model: nn.Module
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
        return self.full_model.base_model  # type: ignore[return-value]

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
        self, pooling: str, *, of_pairs: bool = False, is_trained: bool = True
    ) -> str:
        """What `pooling` means for this checkpoint, if it can do that.

        A sentence encoder was trained to average one text. Of two, an average says
        what they are about, and little of how they relate; the first token can learn
        that (`of_pairs`), as Devlin et al. (2019, section 3) have it. Where nothing
        `is_trained`, attention has to be there already.
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
    folder = find_checkpoint(name, revision).resolve()
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
    return replace(
        found, full_model=copy.deepcopy(found.full_model).requires_grad_(True)
    )


def _read(
    name: str,
    folder: Path,
    state: tuple[Any, ...],
    dropout: float | None,
    with_heads: bool,
) -> Checkpoint:
    with quiet_transformers(), damage_named(f"checkpoint {name!r} in {folder}"):
        modules = read_sentence_modules(folder)
        source = modules.encoder_folder
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
        tokenizer = read_checkpoint_tokenizer(f"checkpoint {name!r}", source, config)
        if modules.lowercase:
            lowercase(tokenizer.backend_tokenizer)
        limit = tokenizer.model_max_length
        soft_limit = token_limit(limit, "model_max_length", source / TOKENIZER_CONFIG)
        kind = _model_class(name, config, with_heads)
        full_model, report = _read_model(source, config, kind)
        encoder = full_model.base_model
        attention = _read_attention(folder, encoder)
        check_weights_fit(source, full_model, encoder, report)
        missing_keys, new_heads = _missing(full_model, report["missing_keys"])
        check_encoder(name, source, encoder, missing_keys)
        check_finite(source, full_model.state_dict().items())
        # What stands around every text, which the weights are known to know.
        frame = tokenizer.backend_tokenizer.encode("").ids[:LEAST_LENGTH]
        check_reads_texts(name, source, encoder, frame or [0])
        longest = _position_limit(encoder, source / "config.json")
        check_padding(name, encoder, tokenizer, longest)
    trained = min(longest, soft_limit, modules.max_length)
    if trained < LEAST_LENGTH:
        raise DamagedCheckpointError(
            f"checkpoint {name!r}: its files in {folder} limit texts to {trained} "
            "tokens, which leaves no room for a word. Correct the limit "
            "(model_max_length in tokenizer_config.json, max_seq_length in "
            "sentence_bert_config.json, max_position_embeddings in config.json)."
        )
    has_pooler = _has_trained_pooler(encoder, missing_keys)
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
        ),
        trained_length=trained,
        longest_length=longest,
        pooling=_trained_pooling(modules, config, has_pooler, attention, left_to_right),
        has_trained_pooler=has_pooler,
        attention=attention,
        sentence_steps=modules.steps,
        prompt=modules.prompt,
        pools_prompt=modules.pools_prompt,
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


def _size(checkpoint: Checkpoint) -> int:
    full_model = checkpoint.full_model
    n_bytes = sum(t.nbytes for t in (*full_model.parameters(), *full_model.buffers()))
    n_tokens = checkpoint.text_tokenizer(None).backend.get_vocab_size()
    return n_bytes + BYTES_PER_TOKEN * n_tokens


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
        full_model, report = kind.from_pretrained(
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
    for tensor in (*full_model.parameters(), *full_model.buffers()):
        tensor.data = tensor.data.clone()
    return full_model, report


def _missing(full_model: Any, keys: Any) -> tuple[list[str], tuple[str, ...]]:
    """Weights that a folder lacks: of the encoder, by their names in it; of heads."""
    if full_model.base_model is full_model:
        return sorted(keys), ()
    prefix = f"{full_model.base_model_prefix}."
    missing_keys = sorted(
        key.removeprefix(prefix) for key in keys if key.startswith(prefix)
    )
    return missing_keys, tuple(
        sorted(key for key in keys if not key.startswith(prefix))
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
    return token_limit(getattr(encoder.config, limit, None), limit, source)


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
    modules: SentenceModules,
    config: Any,
    has_pooler: bool,
    attention: AttentionPooling | None,
    left_to_right: bool,
) -> str:
    if attention is not None:
        return "attention"
    if modules.pooling is not None:
        return modules.pooling
    # Of a decoder the first token, which a pooler reads, has seen itself alone.
    if has_pooler and not left_to_right:
        return "pooler"
    # ModernBERT says how its own classifier pools; the mean suits all others.
    return str(getattr(config, "classifier_pooling", "mean"))
