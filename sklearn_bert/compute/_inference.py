"""A forward pass over many texts, laid out in batches that fit into memory.

Proof of packing: on a CPU, packed texts have the scores and gradients of padded ones
(`tests/model/test_attention.py`). Not yet measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_bert._process._progress import tell
from sklearn_bert.compute._copies import Fetch, to_device
from sklearn_bert.compute._memory import is_shortage, make_room, nothing_fits
from sklearn_bert.text._table import Table, ragged_indices, token_budget_batches

# Tokens of a batch that is only computed forward. On a CPU small batches stay in its
# cache; a GPU wants to be filled, and one that shares the memory of the CPU, to leave
# some. None of the figures of GPUs is measured.
INFERENCE_TOKENS = {"cpu": 2048, "cuda": 65536, "mps": 8192, "xpu": 32768}
# No answer of a sound model is this large; the squares of those below are finite.
LARGEST = 2.0**60
REMEDY = (
    "Lower learning_rate (or a large weight_decay), raise warmup, or set "
    "precision='float32'."
)


@dataclass(frozen=True)
class Feed:
    """Lays out rows of a table as those of a rectangle, or packed in one line.

    Attributes
    ----------
    device : torch.device
    pad_id : int
    packed : bool
        One line without padding, for attention that knows where a text ends.
    """

    device: torch.device
    pad_id: int
    packed: bool = False

    def __call__(
        self, table: Table, rows: np.ndarray, multiple: int | None = None
    ) -> dict[str, Any]:
        """Return the arguments of `TextModel` for these rows, on the device.

        With `multiple` a line of packed tokens is lengthened to one by a text of
        padding, which comes last.
        """
        batch = table.lay_out(rows, self.pad_id, packed=self.packed, multiple=multiple)
        return {
            name: value if isinstance(value, int) else self.move(torch.as_tensor(value))
            for name, value in batch.items()
        }

    def move(self, tensor: Tensor) -> Tensor:
        """Return the tensor on the device."""
        return to_device(tensor, self.device)


def compute(
    function: Callable[..., Tensor],
    table: Table,
    feed: Feed,
    *,
    per_token: bool = False,
) -> Tensor:
    """Run a function of a model over each distinct text of a table once.

    Parameters
    ----------
    function : callable
        Takes what `feed` lays out and gives a row per text, (n_texts, width), or per
        word of a `WordTable`; with `per_token` the states of its tokens,
        (n_texts, n_tokens, width) or packed.
    table : Table
    feed : Feed

    Returns
    -------
    Tensor, on the CPU
        (n_texts, width), float32, in the table's order; of words (n_words, width).
        With `per_token` (n_tokens, width) in the function's number format: the texts
        one after the other, for a table without duplicates.

    Raises
    ------
    FloatingPointError
        Where an answer is not finite.
    """
    rows, row_of = table.distinct()
    lengths = table.lengths[rows] if per_token else table.n_outputs(rows)
    starts = np.cumsum(lengths) - lengths
    output: Tensor | None = None
    n_done = 0
    # Longest first: if memory is short, the first batch shows it.
    for batch, values in _answers(function, table, rows, feed):
        if output is None:
            dtype = values.dtype if per_token else torch.float32
            # At once for all texts: joining parts would take the memory twice.
            output = torch.empty(int(lengths.sum()), values.shape[-1], dtype=dtype)
        if per_token:
            values = _without_padding(values, lengths[batch])
        where = ragged_indices(starts[batch], lengths[batch])
        values = values[: len(where)]  # behind the texts there may be one of padding
        if not (values.abs() < LARGEST).all():  # nor is NaN
            raise FloatingPointError(
                f"what the model makes of {len(batch)} texts is not finite, or as good "
                "as infinite; its training has diverged, its checkpoint is damaged, or "
                "its numbers are too large for float16, where that is used. "
                f"{REMEDY} Then fit again; where that does not help, from another "
                "checkpoint."
            )
        output[torch.from_numpy(where)] = values.to(output.dtype)
        n_done += len(batch)
        tell(n_done, len(rows))
    assert output is not None  # a table holds at least one text
    if np.array_equal(row_of, np.arange(len(rows))):  # each text once, in order
        return output
    return output[torch.from_numpy(ragged_indices(starts[row_of], lengths[row_of]))]


def _answers(
    function: Callable[..., Tensor],
    table: Table,
    rows: np.ndarray,
    feed: Feed,
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Yield places among `rows` and the function's values for them, on the CPU.

    The values of one batch are fetched while the next is computed.
    """
    budget = INFERENCE_TOKENS[feed.device.type]
    underway: list[tuple[np.ndarray, Fetch]] = []
    remaining = np.arange(len(rows))
    while len(remaining):
        lengths = table.lengths[rows[remaining]]
        batches = [remaining[b] for b in token_budget_batches(lengths, budget)]
        while batches:
            batch = batches[0]
            values, shortage = _try(function, table, rows[batch], feed)
            if values is None:
                break
            batches.pop(0)
            underway.append((batch, Fetch(values)))
            if len(underway) > 1:
                earlier, fetch = underway.pop(0)
                yield earlier, fetch.result()
        for earlier, fetch in underway:
            yield earlier, fetch.result()
        underway = []
        if not batches:
            return
        # What does not fit in this size will not later either: all become smaller.
        make_room(feed.device)
        longest = int(table.lengths[rows[batch]].max())
        if len(batch) == 1:
            n_texts = len(rows)
            raise nothing_fits("predicting", feed.device, n_texts, longest, shortage)
        budget = longest * (len(batch) // 2)
        remaining = np.concatenate(batches)


@torch.inference_mode()
def _try(
    function: Callable[..., Tensor],
    table: Table,
    rows: np.ndarray,
    feed: Feed,
) -> tuple[Tensor | None, str]:
    """Return the function's values; None, and torch's words, if memory runs out."""
    # Its words, and not the error itself: its frames would hold on to tensors.
    try:
        return function(**feed(table, rows)), ""
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        return None, str(error)


def _without_padding(states: Tensor, lengths: np.ndarray) -> Tensor:
    """Return the states of tokens alone, (n_tokens, width), padded or packed."""
    if len(states) == 1:
        return states[0, : int(lengths.sum())]
    is_text = np.arange(states.shape[1]) < lengths[:, None]
    return states[torch.from_numpy(is_text)]
