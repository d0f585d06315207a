"""The two texts of a pair, taken out of the row that a model reads of both."""

from __future__ import annotations

import torch
from torch import Tensor


def halves(
    tokens: Tensor, mask: Tensor | None, types: Tensor | None, *, trims: bool
) -> tuple[Tensor, Tensor]:
    """Lay out each text of each pair as it would be read alone.

    A pair is `[CLS] first [SEP] second [SEP]`, so that its first text ends where the
    types change, and its second one alone is the first token and what is left.

    Parameters
    ----------
    tokens : Tensor of shape (n_pairs, n_tokens) or (n_pairs, n_tokens, width)
        Ids, or embeddings.
    mask : bool Tensor of shape (n_pairs, n_tokens), or None
        True at tokens, False at padding; None: no padding.
    types : Tensor of shape (n_pairs, n_tokens), or None
        1 at the tokens of the second text; None: there is none, and it is empty.
    trims : bool
        Whether to leave out padding that no row needs, for which a GPU would wait.

    Returns
    -------
    tokens : Tensor of shape (2 * n_pairs, n_tokens) or (2 * n_pairs, n_tokens, width)
        All first texts, then all second ones.
    mask : bool Tensor of shape (2 * n_pairs, n_tokens)
    """
    shape, device = tokens.shape[:2], tokens.device
    is_token = torch.ones(shape, dtype=torch.bool, device=device)
    is_token = is_token if mask is None else mask
    is_second = torch.zeros_like(is_token) if types is None else types.bool() & is_token
    n_second = is_second.sum(1, keepdim=True)
    n_first = is_token.sum(1, keepdim=True) - n_second
    place = torch.arange(tokens.shape[1], device=device)[None]
    in_first, in_second = place < n_first, place < n_second + 1
    # Where there is padding it does not matter what is taken.
    source = torch.where(in_second & (place > 0), place - 1 + n_first, 0)
    if tokens.dim() == 3:
        source = source[..., None].expand(-1, -1, tokens.shape[2])
    both = torch.cat([tokens, tokens.gather(1, source)])
    is_text = torch.cat([in_first, in_second])
    if trims:
        longest = int(is_text.sum(1).max())
        both, is_text = both[:, :longest], is_text[:, :longest]
    return both, is_text
