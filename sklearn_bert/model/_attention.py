"""Attention without padding, and by whichever way is fast where there is padding.

It is registered with transformers under one name and used for the model families with
plain softmax attention; the other families keep their own.

Proof: packed and plain answers are those of padded transformers
(`tests/model/test_attention.py`). On two cores of an Intel Sapphire Rapids with AMX a
fit of 48 sentences as few labels, whose texts pass together, takes 1.56 times as long
padded as packed (1.47 to 1.90 in five rounds; `benchmarks/results/ablation.json`), and
one of 160 short texts, padded, 1.17 times as long with the attention of transformers
(1.02 to 1.24). Packing is not yet measured on a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from sklearn_bert._process._techniques import uses
from sklearn_bert.model._dropout import drop
from sklearn_bert.text._table import parts_of_similar_length, ragged_indices

NAME = "sklearn_bert"
FAMILIES = ("bert", "distilbert", "electra", "roberta", "xlm-roberta")
# The largest head that the kernel for packed texts takes.
LARGEST_HEAD = 256
# Of texts of fewer tokens plain matrix products beat the fused kernel on a CPU in
# bfloat16: with AMX they take 0.6 times as long at 12 tokens, 1.1 at 16, 1.6 at 64.
SHORT = 16
# Tokens of padding that one rectangle less is worth.
RECTANGLE_TOKENS = 128


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    cu_seq_lens: Tensor | None = None,
    longest: int | None = None,
    left_to_right: bool = False,
    by_formula: bool = False,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Compute attention, with the arguments that a layer of transformers passes.

    Parameters
    ----------
    query, key, value : Tensor of shape (n_texts, n_heads, n_tokens, head_size)
        With `cu_seq_lens` the texts are packed one after the other, as one text.
    attention_mask : bool Tensor of shape (n_texts, 1, 1, n_tokens), or None
    cu_seq_lens : int32 Tensor of shape (n_texts + 1,), or None
        Where each text begins and the last ends.
    longest : int or None
        At least the number of tokens of the longest text.
    left_to_right : bool
        Whether a token attends only to itself and those before it.
    by_formula : bool
        Whether to use no kernel, for a graph of plain operations.

    Returns
    -------
    Tensor of shape (n_texts, n_tokens, n_heads, head_size), and None
    """
    if cu_seq_lens is not None:
        assert longest is not None
        attend_packed = _by_kernel if query.is_cuda else _in_rectangles
        q, k, v = (x.transpose(1, 2)[0] for x in (query, key, value))
        out = attend_packed(
            q, k, v, cu_seq_lens, longest, scaling, dropout, left_to_right
        )
        return out[None], None
    inputs = query, key, value, attention_mask, scaling, dropout, left_to_right
    return _padded(*inputs, by_formula).transpose(1, 2), None


def use_own_attention(encoder: nn.Module) -> None:
    """Make the encoder use `attend`, if its family can."""
    config: Any = encoder.config
    if not uses("own_attention"):
        return
    if config.model_type in FAMILIES and not getattr(config, "is_decoder", False):
        # Here and not at import: reading this name loads half of transformers.
        transformers.AttentionInterface.register(NAME, attend)
        encoder.set_attn_implementation(NAME)  # type: ignore[operator]


def check_left_to_right(encoder: nn.Module) -> None:
    """Raise ValueError if the encoder cannot attend to earlier tokens only."""
    config: Any = encoder.config
    if config._attn_implementation != NAME:
        raise ValueError(
            f"an encoder of the family {config.model_type!r} cannot read from left to "
            f"right here; expected one of {', '.join(FAMILIES)}."
        )


def can_pack(encoder: nn.Module) -> bool:
    """Return whether the encoder can read texts that are packed without padding."""
    config: Any = encoder.config
    return bool(config._attn_implementation == NAME)


def fits_kernel(head_size: int) -> bool:
    """Return whether the kernel of a GPU for packed texts takes such heads."""
    return head_size % 8 == 0 and head_size <= LARGEST_HEAD


def head_size(encoder: nn.Module) -> int:
    """Return the width of an attention head."""
    config: Any = encoder.config
    return config.hidden_size // config.num_attention_heads


def position_offset(encoder: nn.Module) -> int:
    """Return the position of a text's first token, which is not 0 for RoBERTa."""
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # RoBERTa counts positions from the one behind the padding's id.
            return 0 if module.padding_idx is None else module.padding_idx + 1
    return 0


def attend_plainly(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float,
    dropout: float,
) -> Tensor:
    """Compute attention by its formula.

    `mask` says which tokens are attended to (bool), or is added to the scores.
    """
    scores = torch.matmul(query * scaling, key.transpose(-1, -2))
    if mask is not None and mask.dtype == torch.bool:
        # The softmax of a row of -inf would be NaN: padding may attend to nothing.
        least = torch.finfo(scores.dtype).min / 2
        mask = torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, least)
    if mask is not None:
        scores = scores + mask
    shares = torch.softmax(scores, -1)
    return torch.matmul(drop(shares, dropout) if dropout > 0 else shares, value)


def _padded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float,
    dropout: float,
    left_to_right: bool,
    by_formula: bool = False,
) -> Tensor:
    """Compute attention by a fused kernel, where that is faster, or by the formula."""
    if left_to_right:
        earlier = _earlier(query.shape[2], query.device)
        mask = earlier if mask is None else mask & earlier
    # The fused kernel draws dropout from the generator of the process; `attend_plainly`
    # draws it from that of the thread.
    is_on_cpu = query.device.type == "cpu"
    is_short = query.dtype == torch.bfloat16 and query.shape[2] < SHORT
    if by_formula or is_on_cpu and (dropout > 0 or is_short):
        return attend_plainly(query, key, value, mask, scaling, dropout)
    return functional.scaled_dot_product_attention(
        query, key, value, mask, dropout_p=dropout, scale=scaling
    )


def _by_kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_lens: Tensor,
    longest: int,
    scaling: float,
    dropout: float,
    left_to_right: bool,
) -> Tensor:
    # torch.nn.attention.varlen calls this too, but has no dropout and loads a compiler.
    return torch.ops.aten._flash_attention_forward(
        query,
        key,
        value,
        cu_seq_lens,
        cu_seq_lens,
        longest,
        longest,
        dropout,
        left_to_right,
        False,
        scale=scaling,
    )[0]


def _in_rectangles(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_lens: Tensor,
    longest: int,
    scaling: float,
    dropout: float,
    left_to_right: bool,
) -> Tensor:
    """Compute on a CPU what the kernel computes, texts of similar length together.

    These are padded to the rows of a rectangle, for the attention alone: all else in a
    layer is done token by token, and needs no padding.
    """
    lengths = cu_seq_lens.diff().numpy()
    rectangles = parts_of_similar_length(lengths, RECTANGLE_TOKENS)
    widths = [int(lengths[texts].max()) for texts in rectangles]
    sizes = [len(r) * width for r, width in zip(rectangles, widths, strict=True)]
    # Where each token lies when the rectangles lie row by row, one after the other.
    width_of_row = np.repeat(widths, [len(texts) for texts in rectangles])
    begins = np.empty(len(lengths), dtype=np.int64)
    begins[np.concatenate(rectangles)] = np.cumsum(width_of_row) - width_of_row
    places = torch.from_numpy(ragged_indices(begins, lengths))
    padded = [
        x.new_zeros(sum(sizes), *x.shape[1:]).index_copy(0, places, x).split(sizes)
        for x in (query, key, value)
    ]
    outputs = []
    for texts, width, *states in zip(rectangles, widths, *padded, strict=True):
        shape = len(texts), width, *query.shape[1:]
        q, k, v = (x.view(shape).transpose(1, 2) for x in states)
        mask = None
        if (lengths[texts] < width).any():
            is_token = np.arange(width) < lengths[texts, None]
            mask = torch.from_numpy(is_token)[:, None, None]
        out = _padded(q, k, v, mask, scaling, dropout, left_to_right)
        outputs.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs).index_select(0, places)


def _earlier(n_tokens: int, device: torch.device) -> Tensor:
    """Return which tokens each token may attend to: bool, (n_tokens, n_tokens)."""
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=device).tril()
