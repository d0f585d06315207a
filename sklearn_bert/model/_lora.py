"""Low-rank adapters: train small additions to the weights instead of the weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from sklearn_bert.model._torch_state import building

SCALE = 2  # of the products: peft's lora_alpha divided by the rank


def add_lora(encoder: nn.Module, rank: int = 8) -> Any:
    """Freeze the encoder and add low-rank matrices to all its linear layers, in place.

    E. J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022;
    the products are scaled by 2.

    Returns
    -------
    peft.LoraModel
        Its `merge_and_unload` adds the products to the weights, in place, and returns a
        plain encoder.

    Raises
    ------
    ImportError
        If peft is not installed.
    """
    try:
        from peft import LoraConfig, LoraModel
    except ImportError as error:
        raise ImportError(
            "adapter='lora' needs peft; install it with "
            "pip install 'sklearn-bert[lora]'."
        ) from error
    settings = LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules="all-linear")
    with building():
        return LoraModel(encoder, settings, "default")
