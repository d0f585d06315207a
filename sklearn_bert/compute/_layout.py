"""Some texts of a table -> the tensors that a model takes, on its device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sklearn_bert.compute._features import FeatureTable
from sklearn_bert.text._batches import pack, pad, places
from sklearn_bert.text._masking import MaskedTable
from sklearn_bert.text._table import TokenTable, ragged_indices
from sklearn_bert.text._words import WordTable


class Feed:
    """Lays out tokens or features as rows of a rectangle, or packed in one line.

    Parameters
    ----------
    device : torch.device
    pad_id : int
    packed : bool
        One line without padding, for attention that knows where a text ends.
    """

    def __init__(
        self,
        device: torch.device,
        pad_id: int,
        *,
        packed: bool = False,
    ) -> None:
        self.device = device
        self.pad_id = pad_id
        self.packed = packed

    def __call__(
        self,
        table: TokenTable | FeatureTable,
        rows: np.ndarray,
        multiple: int | None = None,
    ) -> dict[str, Any]:
        """The arguments of `TextModel` for these rows.

        With `multiple` a line of packed tokens is lengthened to one by a text of
        padding, which comes last.
        """
        if isinstance(table, FeatureTable):
            if table.are_vectors:
                values = table.values[torch.from_numpy(table.starts[rows])]
                return {"vectors": self.move(values)}
            return self._lay_out_states(table, rows)
        words: dict[str, np.ndarray] = {}
        if isinstance(table, WordTable):
            words["word_positions"] = self._word_positions(table, rows)
        if isinstance(table, MaskedTable):
            words |= _to_guess(table, rows)
        if not self.packed:
            return self._move_all({**pad(table, rows, self.pad_id), **words})
        arrays = {**pack(table, rows, self.pad_id, multiple), **words}
        return {**self._move_all(arrays), "longest": _longest(table, rows, multiple)}

    def _word_positions(self, table: WordTable, rows: np.ndarray) -> np.ndarray:
        """Where the words of some rows begin among all tokens that are laid out."""
        lengths, counts = table.lengths[rows], table.word_counts[rows]
        begins = np.cumsum(lengths) - lengths
        if not self.packed:
            begins = np.arange(len(rows)) * lengths.max()
        words = ragged_indices(table.word_starts[rows], counts)
        return np.repeat(begins, counts) + table.word_positions[words]

    def move(self, tensor: Tensor) -> Tensor:
        """The tensor on the device; a GPU fetches it without making anyone wait."""
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def _move_all(self, arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
        return {n: self.move(torch.from_numpy(a)) for n, a in arrays.items()}

    def _lay_out_states(self, table: FeatureTable, rows: np.ndarray) -> dict[str, Any]:
        starts, lengths = table.starts[rows], table.lengths[rows]
        if not self.packed:
            where, is_text = places(starts, lengths)
            batch = {"lower_states": self.move(table.values[torch.from_numpy(where)])}
            if not is_text.all():
                batch["attention_mask"] = self.move(torch.from_numpy(is_text))
            return batch
        where = ragged_indices(starts, lengths)
        ends = np.cumsum([0, *lengths]).astype(np.int32)
        return {
            "lower_states": self.move(table.values[torch.from_numpy(where)][None]),
            "cu_seq_lens": self.move(torch.from_numpy(ends)),
            "longest": int(lengths.max()),
        }


def _to_guess(table: MaskedTable, rows: np.ndarray) -> dict[str, np.ndarray]:
    """What is right at the places of some rows, and whether their halves belong."""
    words = ragged_indices(table.word_starts[rows], table.word_counts[rows])
    right = {"labels": table.labels[words]}
    if table.next_sentence_labels is not None:
        right["next_sentence_labels"] = table.next_sentence_labels[rows]
    return right


def _longest(table: TokenTable, rows: np.ndarray, multiple: int | None) -> int:
    if multiple is None:
        return int(table.lengths[rows].max())
    # What is captured into a graph must hold for every batch.
    return max(int(table.lengths.max()), multiple)
