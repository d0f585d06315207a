"""An encoder with its pretraining heads: for masked words and next sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutputWithPooling

from sklearn_bert.model._layers import with_submodule
from sklearn_bert.model._recompute import recompute
from sklearn_bert.model._text_model import CONFIG_KEY, ENCODER_FILE, TextModel
from sklearn_bert.model._torch_state import building

# Tokens whose scores over the whole vocabulary are in memory at a time.
WORDS_AT_ONCE = 2048
# Prefixes of BERT's weights for next-sentence prediction.
POOLER, NSP_HEAD = "bert.pooler.", "cls.seq_relationship."


def language_class(
    config: transformers.PreTrainedConfig,
) -> type[transformers.PreTrainedModel]:
    """Return the class of transformers with this encoder and its head for words.

    For BERT it is the class with both heads of Devlin et al. (2019, section 3.1).

    Raises
    ------
    ValueError
        If there is none.
    """
    if config.model_type == "bert":
        return transformers.BertForPreTraining
    if type(config) not in transformers.MODEL_FOR_MASKED_LM_MAPPING:
        raise ValueError(
            f"the family {config.model_type!r} has no head for masked words in "
            "transformers; expected an encoder such as BERT, RoBERTa or DistilBERT."
        )
    found: Any = transformers.MODEL_FOR_MASKED_LM_MAPPING[type(config)]
    return found


class LanguageModel(TextModel):
    """Token ids -> how likely each token of the vocabulary is at some positions.

    The scores over the vocabulary are computed at those positions only, and not for
    every token. The head runs in the dtype of the encoder, whose word embeddings it
    shares; its scores are compared in float32.

    Parameters
    ----------
    full_model : transformers.PreTrainedModel
        Of `language_class`. Its encoder is taken out of it.
    pooling : {"cls", "pooler", "mean", "max"}
        Of the vectors that `vectors` computes.
    normalize : bool
    left_to_right : bool
        Whether a token attends only to itself and those before it.
    has_new_head : bool
        Whether the head for words has random weights, above a pretrained encoder.
    untrained : iterable of str
        Prefixes of the names, in `full_model`, of weights that are random and are not
        trained either.

    Notes
    -----
    Texts have the forms of `TextModel`; `word_positions` count all tokens of the batch.
    """

    ties_words = True

    def __init__(
        self,
        full_model: transformers.PreTrainedModel,
        *,
        pooling: str,
        normalize: bool = False,
        left_to_right: bool = False,
        has_new_head: bool = False,
        untrained: Iterable[str] = (),
    ) -> None:
        super().__init__(
            full_model.base_model,
            pooling=pooling,
            normalize=normalize,
            left_to_right=left_to_right,
        )
        self.new_parameters = ("language_head.",) if has_new_head else ()
        self.untrained = tuple(untrained)
        self.prefix: str = full_model.base_model_prefix
        # To run the head alone, the model of transformers runs without its encoder:
        # families build their heads differently, but all call the encoder by its name.
        embeddings = SimpleNamespace(word_embeddings=full_model.get_input_embeddings())
        stand_in = _StandIn(embeddings)
        self.language_head = with_submodule(full_model, self.prefix, stand_in)

    def frozen_modules(self) -> list[nn.Module]:
        """Return none: the pooler is trained too, for next-sentence prediction."""
        return []

    def half_precision_modules(self) -> list[nn.Module]:
        """Return the modules that may run in 16 bits: the head for words as well."""
        return [*super().half_precision_modules(), self.language_head]

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        word_positions: Tensor,
        labels: Tensor,
        next_sentence_labels: Tensor | None = None,
        **inputs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the losses of a batch, float32.

        Parameters
        ----------
        word_positions, labels : int64 Tensor of shape (n_words,)
            The positions to predict, and the right token ids.
        next_sentence_labels : int64 Tensor of shape (n_texts,), or None
            1 where the second half of a pair follows the first in its document.

        Returns
        -------
        word_losses : Tensor of shape (n_words,)
            Minus the log-likelihood (in nats) of each right token.
        follow_losses : Tensor of shape (n_texts,), or None
        """
        states = self._states(input_ids, attention_mask, token_type_ids, **inputs)
        at_words = states.flatten(0, 1)[word_positions]
        parts = zip(
            at_words.split(WORDS_AT_ONCE), labels.split(WORDS_AT_ONCE), strict=True
        )
        if len(at_words) <= WORDS_AT_ONCE or not torch.is_grad_enabled():
            losses = [self._word_losses(*part) for part in parts]
        else:  # scores of a chunk are computed again instead of kept
            losses = [recompute(self._word_losses, *part) for part in parts]
        if next_sentence_labels is None:
            return torch.cat(losses), None
        scores = self._follow_scores(states, inputs.get("cu_seq_lens"))
        return (
            torch.cat(losses),
            functional.cross_entropy(
                # In BERT's head class 0 is "follows", and 1 is "does not".
                scores,
                1 - next_sentence_labels,
                reduction="none",
            ),
        )

    def token_log_likelihood(self, *args: Any, labels: Tensor, **inputs: Any) -> Tensor:
        """Compute of each token its log-likelihood, and whether it is the most likely.

        Returns
        -------
        Tensor of shape (n_words, 2), float32
        """
        parts = []
        states = self._at_words(*args, **inputs).split(WORDS_AT_ONCE)
        for some, ids in zip(states, labels.split(WORDS_AT_ONCE), strict=True):
            scores = self._word_scores(some)  # (n_at_once, vocabulary)
            losses = functional.cross_entropy(scores, ids, reduction="none")
            parts.append(torch.stack([-losses, (scores.argmax(1) == ids).float()], 1))
        return torch.cat(parts)

    def top_tokens(self, *args: Any, n_best: int, **inputs: Any) -> Tensor:
        """Compute the most likely tokens at some positions.

        Returns
        -------
        Tensor of shape (n_words, 2 * n_best), float32
            Their ids (float32 is exact up to 2 ** 24), then their probabilities. A
            smaller vocabulary gives all its tokens.
        """
        parts = []
        for some in self._at_words(*args, **inputs).split(WORDS_AT_ONCE):
            shares = self._word_scores(some).softmax(1)
            best = shares.topk(min(n_best, shares.shape[1]), 1)
            parts.append(torch.cat([best.indices.float(), best.values], 1))
        return torch.cat(parts)

    def next_token_logits(self, *args: Any, **inputs: Any) -> Tensor:
        """Compute the scores of all tokens at some positions: (n_words, n_tokens)."""
        return self._word_scores(self._at_words(*args, **inputs))

    def next_sentence_logits(self, *args: Any, **inputs: Any) -> Tensor:
        """Compute two scores of each pair: its halves follow each other, or do not.

        Returns
        -------
        Tensor of shape (n_texts, 2), float32
        """
        states = self._states(*args, **inputs)
        return self._follow_scores(states, inputs.get("cu_seq_lens"))

    @property
    def reads_as_decoder(self) -> bool:
        """Whether transformers has a left-to-right class for this model."""
        return self.left_to_right and (
            type(self.encoder.config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
        )

    def settings(self) -> dict[str, Any]:
        """Return the arguments, as JSON can hold them, that build this model again."""
        return {
            "pooling": self.pooling,
            "normalize": self.normalize,
            "left_to_right": self.left_to_right,
            "untrained": list(self.untrained),
        }

    def transformers_config(self) -> dict[str, Any]:
        """Return the configuration of transformers for a saved folder."""
        return super().transformers_config() | {"is_decoder": self.left_to_right}

    def weights_by_file(
        self, weights: dict[str, Tensor]
    ) -> dict[str, dict[str, Tensor]]:
        """Leave out what was not trained; the rest goes into one file."""
        trained = {
            name: value
            for name, value in weights.items()
            if not name.startswith(self.untrained)
        }
        return {ENCODER_FILE: trained}

    def transformers_class(self) -> str:
        """Return the name of the class of transformers that opens a saved folder."""
        if self.reads_as_decoder:
            config: Any = self.encoder.config
            found: Any = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
            return found.__name__
        is_bert = self.encoder.config.model_type == "bert"  # type: ignore[union-attr]
        if is_bert and NSP_HEAD in self.untrained:
            return transformers.BertForMaskedLM.__name__
        return type(self.language_head).__name__

    def full_state(self) -> dict[str, Tensor]:
        """Return each weight once, under the name that transformers has for it."""
        found: dict[str, Tensor] = {}
        names: dict[int, str] = {}
        for name, value in self.state_dict(keep_vars=True).items():
            if names.setdefault(id(value), name) != name:
                continue  # a second name of the same tensor
            if name.startswith("encoder."):
                name = f"{self.prefix}.{name.removeprefix('encoder.')}"
            found[name.removeprefix("language_head.")] = value.detach()
        return found

    def _states(self, *args: Any, **inputs: Any) -> Tensor:
        return self.states(*args, **inputs).last_hidden_state

    def _at_words(
        self,
        *args: Any,
        word_positions: Tensor,
        labels: Tensor | None = None,
        next_sentence_labels: Tensor | None = None,
        **inputs: Any,
    ) -> Tensor:
        """Compute the states at the word positions; labels are ignored."""
        return self._states(*args, **inputs).flatten(0, 1)[word_positions]

    def _word_scores(self, states: Tensor) -> Tensor:
        output = self.language_head(inputs_embeds=states[None])
        scores = getattr(output, "prediction_logits", None)
        return (output.logits if scores is None else scores)[0].float()

    def _word_losses(self, states: Tensor, ids: Tensor) -> Tensor:
        scores = self._word_scores(states)
        return functional.cross_entropy(scores, ids, reduction="none")

    def _follow_scores(self, states: Tensor, cu_seq_lens: Tensor | None) -> Tensor:
        # The pooler reads the first token of each text.
        first = states[:, :1]
        if cu_seq_lens is not None:
            first = states[0, cu_seq_lens[:-1]][:, None]
        pooled = self.encoder.pooler(first)  # type: ignore[operator]
        return self.language_head.cls.seq_relationship(pooled).float()


class _StandIn(nn.Module):
    """Module in the place of the encoder, which returns the states it is given."""

    def __init__(self, embeddings: SimpleNamespace) -> None:
        super().__init__()
        self.embeddings = embeddings

    def forward(
        self, *args: Any, inputs_embeds: Tensor, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        return BaseModelOutputWithPooling(
            last_hidden_state=inputs_embeds, pooler_output=inputs_embeds.sum(1)
        )


def new_language_model(
    *,
    n_words: int,
    hidden_size: int,
    n_layers: int,
    n_heads: int,
    max_length: int,
    pad_id: int,
    dropout: float | None,
    position_encoding: str,
) -> transformers.PreTrainedModel:
    """Build a BERT with random weights and both heads, as Devlin et al. start it.

    `position_encoding` is "learned" or "sinusoidal".
    """
    # Devlin et al., appendix A.2
    rate = 0.1 if dropout is None else float(dropout)
    config = transformers.BertConfig(
        vocab_size=n_words,
        hidden_size=hidden_size,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        intermediate_size=4 * hidden_size,
        max_position_embeddings=max_length,
        pad_token_id=pad_id,
        hidden_dropout_prob=rate,
        attention_probs_dropout_prob=rate,
    )
    with building():
        full_model = transformers.BertForPreTraining(config).eval()
        if position_encoding == "sinusoidal":
            use_sinusoids(full_model.base_model)
    return full_model


START_DEVIATION = 0.02  # of BERT's embeddings before training


def use_sinusoids(encoder: transformers.PreTrainedModel) -> None:
    """Fill the encoder's position embeddings with sines and cosines."""
    embeddings: Any = encoder.embeddings
    table = embeddings.position_embeddings
    table.weight.data = sinusoids(table.num_embeddings, table.embedding_dim)
    setattr(encoder.config, CONFIG_KEY, "sinusoidal")


def sinusoids(n_positions: int, width: int) -> Tensor:
    """Compute sines and cosines of wavelengths 2 pi to 20,000 pi: (n_positions, width).

    A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5. They
    are scaled to the size of the initial word embeddings, which they would drown
    otherwise.
    """
    positions = torch.arange(n_positions)[:, None]
    rates = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    table = torch.zeros(n_positions, width)
    table[:, 0::2] = torch.sin(positions * rates)
    table[:, 1::2] = torch.cos(positions * rates[: width // 2])
    return table * (START_DEVIATION * math.sqrt(2))
