"""f as a function of how much of each word of a text is there, and its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_bert._process._interrupts import check_heard
from sklearn_bert.compute._inference import Feed, token_budget_batches
from sklearn_bert.compute._memory import is_shortage, make_room, nothing_fits
from sklearn_bert.compute._runner import Runner
from sklearn_bert.inspection._goals import Goals
from sklearn_bert.text._table import padded_indices, ragged_indices
from sklearn_bert.text._tokenizer import TextTokenizer

# Tokens of a batch. A GPU keeps the activations of all layers for a gradient.
TOKENS = {"cpu": 2048, "cuda": 16384, "mps": 4096, "xpu": 8192}
# From an item to the share of each word of its text, or one share for all of them.
SharesOf = Callable[[int], np.ndarray | float]


class WordShares:
    """Computes f where a share of each word is there.

    The embedding of a token is the mean of its own, by the share of its word, and that
    of the mask token: a word of the share 1 is as it is, of the share 0 hidden. Special
    tokens, positions and token types stay.

    Parameters
    ----------
    runner : Runner
    goals : Goals
    tokenizer : TextTokenizer
    """

    def __init__(self, runner: Runner, goals: Goals, tokenizer: TextTokenizer) -> None:
        self.goals = goals
        self.reading = goals.reading
        self.feed = Feed(runner.device, runner.pad_id)  # not packed
        self.model = runner.model_in_place()
        embed: Any = self.model.encoder.get_input_embeddings()  # type: ignore[operator]
        self.embed = embed
        mask = tokenizer.special_id("mask")
        self.hidden_id = tokenizer.pad_id if mask is None else mask

    def values(self, goals: np.ndarray, shares_of: SharesOf) -> np.ndarray:
        """Compute f of many items, float64.

        Parameters
        ----------
        goals : ndarray of shape (n_items,)
            The goal of each item.
        shares_of : callable
        """
        found = np.zeros(len(goals))

        def run(items: np.ndarray) -> None:
            with torch.no_grad():
                f, _ = self._f(goals[items], [shares_of(item) for item in items])
            found[items] = f.cpu().double().numpy()  # MPS has no float64

        for _ in self._batches(goals, run):
            check_heard()
        return found

    def gradients(
        self, goals: np.ndarray, shares_of: SharesOf
    ) -> Iterator[tuple[int, float, np.ndarray]]:
        """Yield items in any order, their f, and its slope by the share of each word.

        The slope is the gradient of f by the embeddings, times how far these are from
        the mask token's, summed over the tokens of a word.
        """

        def run(items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            f, shares = self._f(goals[items], [shares_of(item) for item in items])
            slopes = torch.autograd.grad(f.sum(), shares)[0]
            return f.detach().cpu().double().numpy(), slopes.cpu().double().numpy()

        for items, (f, slopes) in self._batches(goals, run):
            check_heard()
            for item, value, slope in zip(items, f, slopes, strict=True):
                n_words = len(self.reading.words[self.goals.texts[goals[item]]])
                yield int(item), float(value), slope[:n_words]

    def _f(
        self, goals: np.ndarray, shares: list[np.ndarray | float]
    ) -> tuple[Tensor, Tensor]:
        """Return f of items, and the shares, (n_items, most words), to derive it by."""
        reading, texts = self.reading, self.goals.texts[goals]
        counts = reading.row_counts[texts]
        rows = ragged_indices(reading.row_starts[texts], counts)
        batch = self.feed(reading.table, rows)
        n_words = [len(reading.words[text]) for text in texts]
        # The last column is that of tokens of no word, which are always there.
        matrix = np.ones((len(goals), max(n_words) + 1), dtype=np.float32)
        for line, n, share in zip(matrix, n_words, shares, strict=True):
            line[:n] = share
        leaf = self.feed.move(torch.from_numpy(matrix)).requires_grad_()
        item_of_row = torch.from_numpy(np.repeat(np.arange(len(goals)), counts))
        item_of_row = self.feed.move(item_of_row)
        word_of_token = self.feed.move(self._lay_out_words(rows))
        word_of_token = word_of_token % matrix.shape[1]  # -1: the last column
        there = leaf[item_of_row].gather(1, word_of_token)[..., None]
        ids = batch.pop("input_ids")
        own = self.embed(ids).detach()
        hidden = self.embed(ids.new_tensor(self.hidden_id)).detach()
        batch["lower_states"] = (hidden + there * (own - hidden)).to(own.dtype)
        outputs = self.goals.outputs(self.model, batch)
        return self.goals.values(outputs, goals, item_of_row, rows), leaf

    def _lay_out_words(self, rows: np.ndarray) -> Tensor:
        """Return the word of each token of some rows, -1 behind a row's end."""
        table = self.reading.table
        where, is_text = padded_indices(table.starts[rows], table.lengths[rows])
        return torch.from_numpy(
            np.where(is_text, self.reading.word_of_token[where], -1)
        )

    def _batches(
        self, goals: np.ndarray, run: Callable[[np.ndarray], Any]
    ) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield batches of items, and what `run` makes of them.

        After a shortage of memory they are smaller.
        """
        lengths = self.reading.longest_rows()[self.goals.texts[goals]]
        device = self.feed.device
        budget = TOKENS[device.type]
        remaining = np.arange(len(goals))
        while len(remaining):
            for batch in token_budget_batches(lengths[remaining], budget):
                items = remaining[batch]
                result, shortage = _try(run, items)
                if shortage:
                    break
                yield items, result
                lengths[items] = 0  # done
            else:
                return
            make_room(device)
            longest = int(lengths[items].max())
            if len(items) == 1:
                raise nothing_fits("predicting", device, len(goals), longest, shortage)
            budget = longest * (len(items) // 2)
            remaining = remaining[lengths[remaining] > 0]


def _try(run: Callable[[np.ndarray], Any], items: np.ndarray) -> tuple[Any, str]:
    """Return what `run` returns; torch's words if memory runs out."""
    # Its words, and not the error itself: its frames would hold on to tensors.
    try:
        return run(items), ""
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        return None, str(error) or "out of memory"
