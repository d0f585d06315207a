"""Low-rank adapters: train small additions to the weights instead of the weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from sklearn_bert.model._torch_state import building

RANK = 8
SCALE = 16


def add_lora(encoder: nn.Module) -> Any:
    """Freeze the encoder and add low-rank matrices to all its linear layers, in place.

    E. J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022:
    rank 8, scaled by 16 / 8.

    Returns
    -------
    peft.LoraModel
        Its `merge_and_unload` adds the products to the weights, in place, so that what
        is left is a plain encoder.

    Raises
    ------
    ImportError
        Where peft is not installed.
    """
    try:
        from peft import LoraConfig, LoraModel
    except ImportError as error:
        raise ImportError(
            "adapter='lora' needs peft; install it with "
            "pip install 'sklearn-bert[lora]'."
        ) from error
    settings = LoraConfig(r=RANK, lora_alpha=SCALE, target_modules="all-linear")
    with building():
        return LoraModel(encoder, settings, "default")
