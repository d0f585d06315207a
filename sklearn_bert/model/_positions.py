"""Position tables that hold sines and cosines, and do not learn."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

# How a configuration says so: transformers keeps what it does not know.
CONFIG_KEY = "position_encoding"
START_DEVIATION = 0.02  # of BERT's embeddings before training


def use_sinusoids(encoder: Any) -> None:
    """Fill the encoder's position table with sines and cosines, for good."""
    table = encoder.embeddings.position_embeddings
    table.weight.data = sinusoids(table.num_embeddings, table.embedding_dim)
    setattr(encoder.config, CONFIG_KEY, "sinusoidal")


def keep_fixed_positions(encoder: nn.Module) -> None:
    """Let a table of sines and cosines not learn, however the rest does."""
    if getattr(encoder.config, CONFIG_KEY, None) == "sinusoidal":
        encoder.embeddings.position_embeddings.requires_grad_(False)  # type: ignore[union-attr]


def sinusoids(n_positions: int, width: int) -> Tensor:
    """Sines and cosines of wavelengths from 2 pi to 20,000 pi: (n_positions, width).

    A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5. They are
    as small as the words' embeddings start; at full size they would drown them.
    """
    positions = torch.arange(n_positions)[:, None]
    rates = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    table = torch.zeros(n_positions, width)
    table[:, 0::2] = torch.sin(positions * rates)
    table[:, 1::2] = torch.cos(positions * rates[: width // 2])
    return table * (START_DEVIATION * math.sqrt(2))
