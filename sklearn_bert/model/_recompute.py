"""Activation checkpointing: compute layers twice instead of keeping their insides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils import checkpoint

from sklearn_bert.model._draws import same_draws


def can_checkpoint(encoder: Any) -> bool:
    """Whether the layers of this family can be computed twice."""
    return bool(getattr(encoder, "supports_gradient_checkpointing", False))


def recompute(function: Callable[..., Any], *args: Any) -> Any:
    """What a function gives; its insides are computed again in the backward pass."""
    return checkpoint.checkpoint(
        function,
        *args,
        use_reentrant=False,
        context_fn=same_draws,
        preserve_rng_state=False,
    )


class Checkpointing:
    """Keeps only what goes from layer to layer for the backward pass, until `stop`.

    T. Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016.

    Parameters
    ----------
    encoder : transformers.PreTrainedModel
    """

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self._use_cache = getattr(encoder.config, "use_cache", None)
        # transformers complains where it sees a cache, which encoders never have.
        encoder.config.use_cache = False
        # Its public switch would also hook into the embeddings, for good.
        encoder._set_gradient_checkpointing(True, recompute)

    def stop(self) -> None:
        """Keep everything again."""
        self._encoder.config.use_cache = self._use_cache
        self._encoder._set_gradient_checkpointing(False)
