"""One forward pass over many texts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sklearn_bert.text import TokenTable, token_budget_batches
from sklearn_bert.training._features import FeatureTable
from sklearn_bert.training._feed import Feed
from sklearn_bert.training._memory import free_memory, nothing_fits

# Tokens of a batch that is only computed forward. On a CPU small batches stay in its
# cache; a GPU wants to be filled.
INFERENCE_TOKENS = {"cpu": 2048, "cuda": 65536}


def compute(
    function: Callable[..., Tensor],
    table: TokenTable | FeatureTable,
    feed: Feed,
    *,
    per_token: bool = False,
) -> Tensor:
    """Run a function of a model over each distinct text of a table once.

    Parameters
    ----------
    function : callable
        Takes what `feed` lays out and gives a row per text, (n_texts, width); with
        `per_token` the states of its tokens, (n_texts, n_tokens, width) or packed.
    table : TokenTable or FeatureTable
    feed : Feed

    Returns
    -------
    Tensor, on the CPU
        (n_texts, width), float32, in the table's order. With `per_token`
        (n_tokens, width) in the function's number format: the texts one after the
        other, for a table without duplicates.
    """
    rows, row_of = table.distinct()
    lengths = table.lengths[rows] if per_token else np.ones(len(rows), dtype=np.int64)
    ends = np.cumsum(lengths)
    output: Tensor | None = None
    for batch, values in _answers(function, table, rows, feed):
        if output is None:
            dtype = values.dtype if per_token else torch.float32
            output = torch.empty(int(ends[-1]), values.shape[-1], dtype=dtype)
        if not per_token:
            output[torch.from_numpy(batch)] = values.float()
            continue
        begins = np.repeat(ends[batch] - lengths[batch], lengths[batch])
        steps = np.concatenate([np.arange(n) for n in lengths[batch]])
        values = _without_padding(values, lengths[batch])
        output[torch.from_numpy(begins + steps)] = values
    assert output is not None  # a table holds at least one text
    return output if per_token else output[torch.from_numpy(row_of)]


def _answers(function, table, rows, feed):  # type: ignore[no-untyped-def]
    """Yield places among `rows` and the function's values for them, on the CPU.

    The values of one batch are fetched while the next is computed.
    """
    budget = INFERENCE_TOKENS.get(feed.device.type, 8192)
    waiting = token_budget_batches(table.lengths[rows], budget)[::-1]
    underway = None
    while waiting:
        batch = waiting.pop()
        values, shortage = _try(function, table, rows[batch], feed)
        if values is None:
            underway = yield from _deliver(underway)
            free_memory(feed.device)
            if len(batch) == 1:
                n_tokens = int(table.lengths[rows[batch[0]]])
                raise nothing_fits("computing", feed.device, 1, n_tokens, shortage)
            middle = len(batch) // 2
            waiting += [batch[middle:], batch[:middle]]
            continue
        fetching = batch, *_fetch(values)
        yield from _deliver(underway)
        underway = fetching
    yield from _deliver(underway)


@torch.inference_mode()
def _try(function, table, rows, feed):  # type: ignore[no-untyped-def]
    """The function's values, or what is missing; the error holds on to its tensors."""
    try:
        return function(**feed(table, rows)), ""
    except torch.OutOfMemoryError as error:
        return None, str(error)


def _fetch(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Start to bring values to the CPU, and tell when they are there."""
    if not values.is_cuda:
        return values.cpu(), None
    host = torch.empty_like(values, device="cpu", pin_memory=True)
    host.copy_(values, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()
    return host, arrived


def _deliver(underway):  # type: ignore[no-untyped-def]
    if underway is not None:
        batch, values, arrived = underway
        if arrived is not None:
            arrived.synchronize()
        yield batch, values


def _without_padding(states: Tensor, lengths: np.ndarray) -> Tensor:
    """States of the tokens only, (n_tokens, width), of padded or packed texts."""
    if len(states) == 1:
        return states[0, : int(lengths.sum())]
    is_text = np.arange(states.shape[1]) < lengths[:, None]
    return states[torch.from_numpy(is_text)]
