"""Encoder + pooling + linear head: the whole network of an estimator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutput

from sklearn_bert.model._attention import (
    NAME,
    can_pack,
    check_left_to_right,
    position_offset,
    use_own_attention,
)
from sklearn_bert.model._dropout import Dropout, use_own_dropout
from sklearn_bert.model._layers import check_trainable, lower_modules
from sklearn_bert.model._pairs import halves
from sklearn_bert.model._pooling import (
    ATTENTION_FILE,
    AttentionPooling,
    pool,
    pool_packed,
)
from sklearn_bert.model._post_processing import n_features_after, plan_of
from sklearn_bert.model._torch_state import building

ENCODER_FILE = "model.safetensors"
# The entry of a configuration that says that positions are sines and cosines, which are
# not trained; transformers keeps entries that it does not know.
CONFIG_KEY = "position_encoding"
# A cosine differs little from pair to pair: by so much it is multiplied for the head.
SIMILARITY_SCALE = 5.0
# The parts of a model whose weights have files of their own in a saved folder.
FILE_OF_PART = {"head": "head.safetensors", "attention": ATTENTION_FILE}


class TextModel(nn.Module):
    """Token ids -> one vector per text -> scores.

    The head gets vectors that are scaled to mean 0 and standard deviation 1. The
    vectors of a sentence encoder are so short that the head would learn several times
    more slowly from them. The encoder may run in bfloat16 or float16; pooling and head
    always run in float32, because the eight bits of bfloat16 turn different scores into
    ties.

    Parameters
    ----------
    encoder : transformers.PreTrainedModel
        With `trainable="head"` it is not changed, and may be shared.
    pooling : {"cls", "pooler", "mean", "max", "attention", "similarity"}
        "similarity": of a pair, instead of a vector, the cosine of the vectors of its
        two texts, each read alone.
    text_pooling : {"cls", "mean", "max"}
        How these vectors are pooled.
    attention : AttentionPooling or None
        The pooling of `pooling="attention"`; None: a new one.
    steps : iterable of nn.Module
        What `finish` applies first, as `build_steps` makes it of a plan.
    normalize : bool
        Whether `finish` scales the vectors to length 1 at the end.
    n_outputs : int or None
        Width of the scores; None: no head, the scores are the vectors.
    dropout : float
        Dropout of the head: the share of the vector's entries.
    trainable : {"all", "head"} or int
        What is trained: everything, the head alone, or the head and so many top layers.
    left_to_right : bool
        Whether a token attends only to itself and those before it.

    Notes
    -----
    Texts have one of four forms, by the names of the arguments: padded (`input_ids`,
    `attention_mask`), packed one after the other (`input_ids`, `position_ids`,
    `cu_seq_lens`, `longest`), and both with `lower_states` instead of `input_ids`. A
    head alone takes `vectors`. With `word_positions`, the positions of the words' first
    tokens among all tokens of the batch, there is a vector per word, not per text.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        pooling: str,
        text_pooling: str = "mean",
        attention: AttentionPooling | None = None,
        steps: Iterable[nn.Module] = (),
        normalize: bool = False,
        n_outputs: int | None = None,
        dropout: float = 0.0,
        trainable: str | int = "all",
        left_to_right: bool = False,
    ) -> None:
        super().__init__()
        use_own_attention(encoder)
        if left_to_right:
            check_left_to_right(encoder)
        self.left_to_right = left_to_right
        use_own_dropout(encoder)
        self.encoder = encoder
        self.pooling = pooling
        self.text_pooling = text_pooling
        self.normalize = normalize
        self.width: int = encoder.config.hidden_size  # type: ignore[union-attr,assignment]
        self.position_offset = position_offset(encoder)
        # The one number of a pair is not dropped.
        self.dropout = Dropout(0.0 if pooling == "similarity" else dropout)
        with building():
            n_inputs = self.pooled_width
            self.head = None if n_outputs is None else new_head(n_inputs, n_outputs)
            if pooling == "attention" and attention is None:
                attention = AttentionPooling(self.width)
        self.steps = nn.Sequential(*steps)
        self.attention = attention if pooling == "attention" else None
        self.set_trainable(trainable)

    # Of the checkpoint that the frozen part comes from, to know its features by; None:
    # they are not remembered.
    fingerprint: str | None = None
    # Whether `forward` in training gives, beside the scores, the vectors behind them.
    gives_vectors = False
    # Whether the word embeddings are also the output layer, so that all are needed.
    ties_words = False
    # The prefixes of parameters that start from random weights: the linear head and the
    # attention pooling.
    new_parameters: tuple[str, ...] = ("head.", "attention.")

    @property
    def has_dropout(self) -> bool:
        """Whether the encoder has dropout, so that two training passes differ."""
        config: Any = self.encoder.config
        return any(
            value > 0
            for name, value in config.to_dict().items()
            if "dropout" in name and isinstance(value, float) and "class" not in name
        )

    def half_precision_modules(self) -> list[nn.Module]:
        """Return the modules that may run in bfloat16 or float16."""
        return [] if self.encoder is None else [self.encoder]

    def set_trainable(self, trainable: str | int) -> None:
        """Choose what is trained: "all", "head", or the head and so many top layers."""
        if not isinstance(trainable, str):
            check_trainable(self.encoder, trainable)
            trainable = int(trainable)  # json cannot write NumPy's integers
        self.trainable = trainable
        if trainable != "head":  # with "head" the encoder may be shared
            self.requires_grad_(True)
            if getattr(self.encoder.config, CONFIG_KEY, None) == "sinusoidal":
                positions: Any = self.encoder.embeddings
                positions.position_embeddings.requires_grad_(False)
        # The steps are part of the checkpoint's definition and are never trained.
        self.steps.requires_grad_(False)
        for module in self.frozen_modules():
            module.requires_grad_(False)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build this model again; of the steps their plan."""
        return {
            "pooling": self.pooling,
            "text_pooling": self.text_pooling,
            "steps": plan_of(self.steps),
            "normalize": self.normalize,
            "n_outputs": None if self.head is None else self.head.out_features,
            "dropout": self.dropout.p,
            "trainable": self.trainable,
            "left_to_right": self.left_to_right,
        }

    def transformers_class(self) -> str:
        """Return the name of the class of transformers that opens a saved folder."""
        return type(self.encoder).__name__

    def transformers_config(self) -> dict[str, Any]:
        """Return the configuration of transformers for a saved folder."""
        config: dict[str, Any] = self.encoder.config.to_dict()  # type: ignore[union-attr,operator]
        config["architectures"] = [self.transformers_class()]
        if self.left_to_right:
            config["is_decoder"] = True
        return config

    def full_state(self) -> dict[str, Tensor]:
        """Return each weight once, under the name that `weights_by_file` takes."""
        return self.state_dict()

    def weights_by_file(
        self, weights: dict[str, Tensor]
    ) -> dict[str, dict[str, Tensor]]:
        """Divide the weights of `full_state` over the files of a saved folder."""
        files: dict[str, dict[str, Tensor]] = {ENCODER_FILE: {}}
        for name, value in weights.items():
            part = name.partition(".")[0]
            if part == "encoder":
                files[ENCODER_FILE][name.removeprefix("encoder.")] = value
            elif part in FILE_OF_PART:
                files.setdefault(FILE_OF_PART[part], {})[name] = value
        return files

    def frozen_modules(self) -> list[nn.Module]:
        """Return the parts that take neither gradient nor weight decay."""
        if self.trainable == "head":
            return [self.encoder]
        # A pooler whose output is not used must not change either.
        pooler: Any = getattr(self.encoder, "pooler", None)
        frozen = [pooler] if pooler is not None and self.pooling != "pooler" else []
        if isinstance(self.trainable, int):
            frozen += lower_modules(self.encoder, self.trainable)
        return frozen

    @property
    def pooled_width(self) -> int:
        """Number of entries of what a text is pooled to, and the head takes."""
        return 1 if self.pooling == "similarity" else self.width

    @property
    def n_features(self) -> int:
        """Number of entries of a finished vector."""
        return n_features_after(self.steps, self.pooled_width)

    @property
    def freezes_vectors(self) -> bool:
        """Whether the vectors, before the head, are the same throughout training."""
        pools_as_it_learns = self.attention is not None and self.head is not None
        return self.trainable == "head" and not pools_as_it_learns

    @property
    def can_be_packed(self) -> bool:
        """Whether the encoder can read texts one after the other, without padding."""
        # The two texts of a pair are taken apart, row by row.
        is_of_pairs = self.pooling == "similarity"
        return self.encoder is not None and not is_of_pairs and can_pack(self.encoder)

    def train(self, mode: bool = True) -> TextModel:
        """Switch dropout on, except in the frozen part, whose output stays the same."""
        super().train(mode)
        if self.encoder is not None:
            for module in self.frozen_modules():
                module.eval()
        return self

    def states(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        position_ids: Tensor | None = None,
        lower_states: Tensor | None = None,
        by_formula: bool = False,
        **packing: Any,
    ) -> Any:
        """Run the encoder; return its output, with `last_hidden_state`.

        The states are of shape (n_texts, n_tokens, width), or (1, n_tokens, width)
        where the texts are packed.
        """
        if self.encoder is None:  # it is all frozen, and has run in the lower part
            return BaseModelOutput(last_hidden_state=lower_states)
        inputs = {"input_ids": input_ids, "inputs_embeds": lower_states, **packing}
        if self.left_to_right:
            inputs["left_to_right"] = True
        is_own = self.encoder.config._attn_implementation == NAME  # type: ignore[union-attr]
        if by_formula and is_own:
            inputs["by_formula"] = True
        if attention_mask is not None:
            # Some families with an attention of their own refuse a mask of bool.
            mask = attention_mask[:, None, None] if is_own else attention_mask.long()
            inputs["attention_mask"] = mask
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        if position_ids is not None:
            inputs["position_ids"] = position_ids + self.position_offset
        return self.encoder(**inputs)

    def vectors(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        cu_seq_lens: Tensor | None = None,
        word_positions: Tensor | None = None,
        **inputs: Any,
    ) -> Tensor:
        """Compute one vector per text, or per word: (n_texts, width), float32.

        The steps and the normalisation are left to `finish`, because the vectors of the
        windows of a long text are averaged first.
        """
        if self.pooling == "similarity":
            return self._similarity(input_ids, attention_mask, token_type_ids, **inputs)
        if cu_seq_lens is not None:
            inputs["cu_seq_lens"] = cu_seq_lens
        output = self.states(input_ids, attention_mask, token_type_ids, **inputs)
        states = output.last_hidden_state
        if word_positions is not None:
            return states.flatten(0, 1)[word_positions].float()
        # transformers' pooler takes the first token of a row, and packed texts are one
        # row: so the first token of each text is made a row of its own.
        if self.pooling == "pooler" and cu_seq_lens is not None:
            first = states[0, cu_seq_lens[:-1]]
            vectors = self.encoder.pooler(first[:, None]).float()  # type: ignore[operator]
        elif self.pooling == "pooler":
            vectors = output.pooler_output.float()
        elif self.attention is not None and cu_seq_lens is not None:
            vectors = self.attention.packed(states[0], cu_seq_lens)
        elif self.attention is not None:
            vectors = self.attention(states, attention_mask)
        elif cu_seq_lens is not None:
            vectors = pool_packed(states[0], cu_seq_lens, self.pooling)
        else:
            vectors = pool(states, attention_mask, self.pooling)
        return vectors

    def _similarity(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        *,
        lower_states: Tensor | None = None,
        by_formula: bool = False,
    ) -> Tensor:
        """Compute the cosine of the two texts of each pair: (n_pairs, 1), float32."""
        tokens = lower_states if input_ids is None else input_ids
        assert tokens is not None
        trims = tokens.device.type == "cpu" and not by_formula
        both, mask = halves(tokens, attention_mask, token_type_ids, trims=trims)
        name = "lower_states" if input_ids is None else "input_ids"
        found = self.states(attention_mask=mask, by_formula=by_formula, **{name: both})
        vectors = pool(found.last_hidden_state, mask, self.text_pooling)
        first, second = vectors.view(2, tokens.shape[0], self.width)
        return functional.cosine_similarity(first, second)[:, None]

    def finish(self, vectors: Tensor) -> Tensor:
        """Apply the steps, and the normalisation, to the vectors of whole texts."""
        vectors = self.steps(vectors)
        return functional.normalize(vectors) if self.normalize else vectors

    def scaled(self, vectors: Tensor) -> Tensor:
        """Scale vectors to mean 0 and deviation 1, as the head gets them."""
        if self.pooling == "similarity":
            return SIMILARITY_SCALE * vectors
        if self.pooling == "pooler":  # whose tanh has scaled them already
            return vectors
        return functional.layer_norm(vectors, (self.width,))

    def set_head(self, weight: np.ndarray, bias: np.ndarray) -> None:
        """Let the head start from these weights.

        Parameters
        ----------
        weight : ndarray of shape (n_outputs, pooled_width)
        bias : ndarray of shape (n_outputs,)
        """
        assert self.head is not None
        self.new_parameters = ("attention.",)
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weight))
            self.head.bias.copy_(torch.from_numpy(bias))

    def scores_of(self, vectors: np.ndarray) -> np.ndarray:
        """Return what the head says of scaled vectors: (n_texts, n_outputs)."""
        assert self.head is not None
        with torch.no_grad():
            return self.head(torch.from_numpy(vectors).float()).numpy()

    def shift_head(self, bias: np.ndarray) -> None:
        """Add to the bias of each output: (n_outputs,)."""
        assert self.head is not None
        with torch.no_grad():
            self.head.bias.add_(torch.from_numpy(bias))

    def grow_head(
        self, is_new: np.ndarray, rows: tuple[np.ndarray, np.ndarray] | None
    ) -> None:
        """Let the head have more outputs; those that it has keep their weights.

        Parameters
        ----------
        is_new : ndarray of bool, of shape (n_outputs,)
            The others are those that there are, in order.
        rows : tuple of ndarray, or None
            Weight and bias of the new ones; None: small random weights.
        """
        assert self.head is not None
        with building():
            grown = new_head(self.pooled_width, len(is_new))
        with torch.no_grad():
            grown.weight[~is_new], grown.bias[~is_new] = self.head.parameters()
            if rows is not None:
                weight, bias = (torch.from_numpy(row).float() for row in rows)
                grown.weight[is_new], grown.bias[is_new] = weight, bias
        self.head = grown

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        vectors: Tensor | None = None,
        **inputs: Any,
    ) -> Tensor:
        """Compute the scores of each text: (n_texts, n_outputs), float32.

        With `gives_vectors`, in training, the vectors that the head sees stand behind
        them: (n_texts, n_outputs + width).
        """
        if vectors is None:
            vectors = self.vectors(input_ids, attention_mask, token_type_ids, **inputs)
        if self.head is None:
            return self.steps(vectors)
        vectors = self.scaled(vectors)
        scores = self.head(self.dropout(vectors))
        if self.gives_vectors and self.training:
            return torch.cat([scores, vectors], dim=1)
        return scores


def new_head(width: int, n_outputs: int) -> nn.Linear:
    """Make a linear layer with BERT's initial weights."""
    head = nn.Linear(width, n_outputs)
    nn.init.normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head
