"""The tokens that a tokenizer puts around texts, and the names of special tokens."""

from __future__ import annotations

import copy

import numpy as np
from tokenizers import Tokenizer

# Those of BERT, in the order of their ids in a new vocabulary.
BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


class SpecialTokens:
    """The special tokens around a text, or around and between the halves of a pair.

    Parameters
    ----------
    backend : tokenizers.Tokenizer
        Without truncation and padding.
    n_halves : {1, 2}
    """

    def __init__(self, backend: Tokenizer, n_halves: int) -> None:
        # One token stands for each half; what is around it in the result is special.
        probe = backend.encode("a", add_special_tokens=False)
        probe.truncate(1)
        encoding = backend.post_process(probe, probe if n_halves == 2 else None, True)
        ids, types = np.array(encoding.ids), np.array(encoding.type_ids)
        # The positions of the halves' tokens divide the special tokens into those
        # before, between and after.
        contents = np.flatnonzero(np.array(encoding.special_tokens_mask) == 0)
        self._ids = [part[i > 0 :] for i, part in enumerate(np.split(ids, contents))]
        self._types = [
            part[i > 0 :] for i, part in enumerate(np.split(types, contents))
        ]
        self._half_types = types[contents]
        self.n_special = len(ids) - n_halves
        self.n_before = int(contents[0])

    @property
    def before(self) -> np.ndarray:
        """The ids of the special tokens before a text."""
        return self._ids[0]

    @property
    def after(self) -> np.ndarray:
        """The ids of the special tokens after a text, or a pair's first half."""
        return self._ids[1]

    def divides_into(self, alone: SpecialTokens) -> bool:
        """Tell whether a pair is two texts alone, less the first token of the second.

        Parameters
        ----------
        alone : SpecialTokens
            Those around a single text.
        """
        parts = [part.tolist() for part in self._ids]
        types = [set(part.tolist()) for part in self._types]
        before, after = alone.before.tolist(), alone.after.tolist()
        return (
            self.n_before == 1
            and parts == [before, after, after]
            and [*types, *self._half_types] == [{0}, {0}, {1}, 0, 1]
        )

    def blank(self) -> SpecialTokens:
        """Return the same with -1 for each id, to lay out places instead of ids."""
        blank = copy.copy(self)
        blank._ids = [np.full_like(part, -1) for part in self._ids]
        return blank

    def __call__(self, *halves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ids (int32) and type ids (uint8) of a row with these halves."""
        ids, types = [self._ids[0]], [self._types[0]]
        for i, half in enumerate(halves):
            ids += [half, self._ids[i + 1]]
            types += [np.full(len(half), self._half_types[i]), self._types[i + 1]]
        return (
            np.concatenate(ids).astype(np.int32),
            np.concatenate(types).astype(np.uint8),
        )
