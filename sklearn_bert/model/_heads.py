"""Encoder + pooling + linear head: the whole network of an estimator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_bert.model._pooling import pool


class TextModel(nn.Module):
    """Token ids -> one vector per text -> scores.

    The head sees vectors of mean 0 and deviation 1, whatever scale a checkpoint pools
    to; a sentence encoder's are so short that its head would learn several times more
    slowly. The encoder may run in bfloat16; pooling and head always work in float32,
    because eight bits of mantissa make ties of scores that differ.

    Parameters
    ----------
    encoder : transformers.PreTrainedModel
    pooling : {"cls", "pooler", "mean", "max"}
    normalize : bool
        Whether the vectors are scaled to length 1.
    n_outputs : int or None
        Width of the scores; None: no head, the scores are the vectors.
    dropout : float
        Share of the vector's entries that the head drops in training.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        pooling: str,
        normalize: bool = False,
        n_outputs: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.normalize = normalize
        self.width: int = encoder.config.hidden_size  # type: ignore[union-attr,assignment]
        self.dropout = nn.Dropout(dropout)
        self.head = None if n_outputs is None else _linear(self.width, n_outputs)
        if pooling != "pooler":  # it takes no part: no gradient, no weight decay
            for parameter in _pooler_parameters(encoder):
                parameter.requires_grad_(False)

    def vectors(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Token ids of shape (n_texts, n_tokens) -> (n_texts, width), float32."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        output = self.encoder(**inputs)
        if self.pooling == "pooler":
            vectors = output.pooler_output.float()
        else:
            vectors = pool(output.last_hidden_state, attention_mask, self.pooling)
        return functional.normalize(vectors) if self.normalize else vectors

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Token ids of shape (n_texts, n_tokens) -> (n_texts, n_outputs), float32."""
        vectors = self.vectors(input_ids, attention_mask, token_type_ids)
        if self.head is None:
            return vectors
        if self.pooling != "pooler":  # its tanh has given the vectors a scale already
            vectors = functional.layer_norm(vectors, (self.width,))
        return self.head(self.dropout(vectors))


def _linear(width: int, n_outputs: int) -> nn.Linear:
    """A head as BERT starts it: normal weights of deviation 0.02 and no bias."""
    head = nn.Linear(width, n_outputs)
    nn.init.normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head


def _pooler_parameters(encoder: nn.Module) -> list[torch.nn.Parameter]:
    pooler = getattr(encoder, "pooler", None)
    return [] if pooler is None else list(pooler.parameters())
