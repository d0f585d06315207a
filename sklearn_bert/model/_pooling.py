"""The states of a text's tokens -> one vector per text."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from sklearn_bert.model._damage import check_finite, check_weights, damage_named
from sklearn_bert.model._weight_file import read_weights

POOLINGS = ("cls", "pooler", "mean", "max", "attention")
# The file of a folder with the weights of an `AttentionPooling`.
ATTENTION_FILE = "attention.safetensors"


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
    """Pool texts that are packed one after the other without padding.

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
    return _reduce(states.float(), how, cu_seq_lens.diff().long())


class AttentionPooling(nn.Module):
    """Weighted mean of the tokens' states, with learned weights: additive attention.

    A token with the state h gets the score u . q, where u = tanh(W h + b); the weights
    are the softmax of the scores over the tokens of a text. The score is that of
    D. Bahdanau, K. Cho, Y. Bengio, "Neural Machine Translation by Jointly Learning to
    Align and Translate", ICLR 2015, appendix A.1.2; with a learned query q, and for
    pooling, it is that of Z. Yang et al., "Hierarchical Attention Networks for Document
    Classification", NAACL 2016, equations 5 to 7.

    It starts as the mean, because q starts at 0. W starts at random: if both started at
    0, the gradient of each would be 0.

    Parameters
    ----------
    width : int
        Of the states, and of u.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        # Xavier keeps the input of the tanh at the scale of the states.
        nn.init.xavier_uniform_(self.hidden.weight)
        nn.init.zeros_(self.hidden.bias)
        self.query = nn.Parameter(torch.zeros(width))

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool padded texts, as `pool` does: (n_texts, width), float32."""
        states = states.to(self.query.dtype)
        scores = self._scores(states)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return (scores.softmax(1)[..., None] * states).sum(1)

    def packed(self, states: Tensor, cu_seq_lens: Tensor) -> Tensor:
        """Pool packed texts, as `pool_packed` does."""
        states = states.to(self.query.dtype)
        scores = self._scores(states)
        lengths = cu_seq_lens.diff().long()
        # Subtracting the maximum changes no weight, and exp cannot overflow.
        greatest = _reduce(scores.detach(), "max", lengths)
        shifts = greatest.repeat_interleave(lengths, output_size=len(scores))
        weights = (scores - shifts).exp()[:, None]
        return _reduce(weights * states, "sum", lengths) / _reduce(
            weights, "sum", lengths
        )

    def _scores(self, states: Tensor) -> Tensor:
        return torch.tanh(self.hidden(states)) @ self.query


def read_attention(path: Path, width: int) -> AttentionPooling:
    """Read the attention pooling of a saved estimator."""
    check_weights(path)
    with damage_named(str(path)):
        weights = read_weights(path)
        attention = AttentionPooling(width)
        attention.load_state_dict(
            {name.removeprefix("attention."): value for name, value in weights.items()}
        )
    check_finite(path, weights.items())
    return attention


def _reduce(values: Tensor, how: str, lengths: Tensor) -> Tensor:
    """Reduce packed values to one per text."""
    # unsafe=True: checking the lengths, which are right, would make a GPU wait.
    return torch.segment_reduce(values, how, lengths=lengths, unsafe=True)


def _masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask[..., None].to(states.dtype)  # (n_texts, n_tokens, 1)
    return (states * weights).sum(1) / weights.sum(1)
