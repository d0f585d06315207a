"""Position embeddings of sines and cosines, which are not trained."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

# The entry of a configuration that says so; transformers keeps unknown entries.
CONFIG_KEY = "position_encoding"
START_DEVIATION = 0.02  # of BERT's embeddings before training


def use_sinusoids(encoder: PreTrainedModel) -> None:
    """Fill the encoder's position embeddings with sines and cosines."""
    embeddings: Any = encoder.embeddings
    table = embeddings.position_embeddings
    table.weight.data = sinusoids(table.num_embeddings, table.embedding_dim)
    setattr(encoder.config, CONFIG_KEY, "sinusoidal")


def keep_fixed_positions(encoder: nn.Module) -> None:
    """Freeze the position embeddings if they are sines and cosines."""
    if getattr(encoder.config, CONFIG_KEY, None) == "sinusoidal":
        encoder.embeddings.position_embeddings.requires_grad_(False)  # type: ignore[union-attr]


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
