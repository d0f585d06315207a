"""The states of a text's tokens -> one vector per text."""

from __future__ import annotations

import torch
from torch import Tensor

POOLINGS = ("cls", "pooler", "mean", "max")


def pool(states: Tensor, mask: Tensor | None, how: str) -> Tensor:
    """Reduce token states to one vector per text, in float32.

    Parameters
    ----------
    states : Tensor of shape (n_texts, n_tokens, width)
    mask : bool Tensor of shape (n_texts, n_tokens), or None
        True at tokens, False at padding; None: no padding.
    how : {"cls", "mean", "max"}
        The first token's state; the mean or the maximum over the tokens.

    Returns
    -------
    Tensor of shape (n_texts, width), float32
    """
    if how == "cls":
        return states[:, 0].float()
    states = states.float()
    if how == "mean":
        return states.mean(1) if mask is None else _masked_mean(states, mask)
    if mask is not None:
        states = states.masked_fill(~mask[..., None], -torch.inf)
    return states.amax(1)


def pool_packed(states: Tensor, cu_seq_lens: Tensor, how: str) -> Tensor:
    """Do the same for texts that follow each other without padding.

    Parameters
    ----------
    states : Tensor of shape (n_tokens, width)
    cu_seq_lens : int32 Tensor of shape (n_texts + 1,)
        Where each text begins and the last ends.
    how : {"cls", "mean", "max"}

    Returns
    -------
    Tensor of shape (n_texts, width), float32
    """
    if how == "cls":
        return states[cu_seq_lens[:-1]].float()
    # unsafe: the lengths are right, and to check them a GPU would have to wait.
    return torch.segment_reduce(
        states.float(), how, lengths=cu_seq_lens.diff().long(), unsafe=True
    )


def _masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask[..., None].to(states.dtype)  # (n_texts, n_tokens, 1)
    return (states * weights).sum(1) / weights.sum(1)
