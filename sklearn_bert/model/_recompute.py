"""Activation checkpointing: compute layers twice instead of keeping activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import transformers
from torch.utils import checkpoint

from sklearn_bert.model._torch_state import same_draws


def can_checkpoint(encoder: object) -> bool:
    """Return whether this model family supports activation checkpointing."""
    return bool(getattr(encoder, "supports_gradient_checkpointing", False))


def recompute(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function, whose activations are computed again in the backward pass."""
    return checkpoint.checkpoint(
        function,
        *args,
        use_reentrant=False,
        context_fn=same_draws,
        preserve_rng_state=False,
    )


class Checkpointing:
    """Activation checkpointing of an encoder, from construction until `stop`.

    Only the states between the layers are kept for the backward pass.

    T. Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016.

    Parameters
    ----------
    encoder : transformers.PreTrainedModel
    """

    def __init__(self, encoder: transformers.PreTrainedModel) -> None:
        self._encoder = encoder
        self._use_cache = getattr(encoder.config, "use_cache", None)
        # transformers warns if use_cache is on, although encoders have no cache.
        encoder.config.use_cache = False
        # The public method would also leave a hook in the embeddings.
        encoder._set_gradient_checkpointing(True, recompute)

    def stop(self) -> None:
        """Keep all activations again."""
        self._encoder.config.use_cache = self._use_cache
        self._encoder._set_gradient_checkpointing(False)
