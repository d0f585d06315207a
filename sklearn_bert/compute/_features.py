"""What the frozen part of a model makes of texts.

Proof: a part trains from kept features as in a plain loop that computes them anew
(`tests/training/test_trainable_view.py`). On two CPU cores a grid search of 30 fits
with `trainable="head"` on 1,000 texts takes 0.87 times as long as encoding by hand
(0.73 to 1.20 in three rounds). Not yet measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from sklearn_bert._process._cache import FEATURES
from sklearn_bert.text._table import Table, TokenTable, padded_indices, ragged_indices


@dataclass(frozen=True)
class FeatureTable(Table):
    """The features of many texts in one flat tensor; equal texts share theirs.

    Those of text `i` are `values[starts[i] : starts[i] + lengths[i]]`: one vector, or
    the state of each of its tokens.

    Attributes
    ----------
    values : Tensor of shape (n_values, width), on the CPU
    starts : ndarray of shape (n_texts,), int64
    lengths : ndarray of shape (n_texts,), int64
    are_vectors : bool
        Whether there is one vector per text.
    """

    values: Tensor
    starts: np.ndarray
    lengths: np.ndarray
    are_vectors: bool

    def take(self, rows: np.ndarray) -> Self:
        """Return a table of some of the texts; the values are shared, not copied."""
        return replace(self, starts=self.starts[rows], lengths=self.lengths[rows])

    def lay_out(
        self, rows: np.ndarray, pad_id: int, *, packed: bool, multiple: int | None
    ) -> dict[str, Any]:
        """Return `vectors`, or `lower_states` with a mask or where each text begins."""
        starts, lengths = self.starts[rows], self.lengths[rows]
        if self.are_vectors:
            return {"vectors": self.values[torch.from_numpy(starts)]}
        # No positions: the states have passed the layer that adds them.
        if packed:
            where = ragged_indices(starts, lengths)
            return {
                "lower_states": self.values[torch.from_numpy(where)][None],
                "cu_seq_lens": np.cumsum([0, *lengths]).astype(np.int32),
                "longest": int(lengths.max()),
            }
        where, is_text = padded_indices(starts, lengths)
        batch = {"lower_states": self.values[torch.from_numpy(where)]}
        return batch if is_text.all() else {**batch, "attention_mask": is_text}

    def vectors(self) -> Tensor:
        """Return the one vector of each text: (n_texts, width)."""
        assert self.are_vectors
        return self.values[torch.from_numpy(self.starts)]


def features_of(
    table: TokenTable,
    compute: Callable[[TokenTable], Tensor],
    *,
    are_vectors: bool,
    row_bytes: int,
    cache_key: Hashable,
    keep: bool = True,
) -> FeatureTable | None:
    """Return the features of a table's texts, and compute those the process lacks.

    Parameters
    ----------
    table : TokenTable
    compute : callable
        From a table of distinct texts to their values, one text after the other.
    are_vectors : bool
        Whether a text has one value, or one per token.
    row_bytes : int
        Of one value.
    cache_key : hashable or None
        What the features depend on beside the text; None: they are not remembered.
    keep : bool
        Whether what is computed is kept for later.

    Returns
    -------
    FeatureTable or None
        None: the states would take too much memory to keep.
    """
    # Texts that occur twice have one feature, also across the folds of a search.
    rows, row_of = table.distinct()
    texts = table.take(rows)
    lengths = np.ones(len(rows), dtype=np.int64) if are_vectors else texts.lengths
    # A fit asks for them once in an epoch: they pay only if they can all be kept.
    is_small = lengths.sum() * row_bytes <= FEATURES.max_bytes / 2
    if not (is_small or are_vectors):
        return None

    def compute_missing(missing: list[int]) -> list[Tensor]:
        values = compute(texts.take(np.array(missing)))
        # Each on its own: a view would hold on to all of them.
        return [part.clone() for part in values.split(lengths[missing].tolist())]

    # More than half of the cache would drive out all that others keep there.
    if cache_key is None or not is_small:
        values = compute(texts)
    else:
        keys = [(cache_key, texts.content(row)) for row in range(len(texts))]
        parts = FEATURES.get(
            keys, compute_missing, size=lambda part: part.nbytes, keep=keep
        )
        values = torch.cat(parts)
    starts = np.cumsum(lengths) - lengths
    return FeatureTable(values, starts[row_of], lengths[row_of], are_vectors)
