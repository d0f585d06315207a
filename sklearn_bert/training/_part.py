"""The part of a model that learns, made ready for it and put back afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sklearn_bert.model import TextModel, add_lora, split
from sklearn_bert.text import TokenTable
from sklearn_bert.training._features import FeatureTable
from sklearn_bert.training._vocabulary import VocabularyInUse


class LearningPart:
    """What of a model learns, and what it learns from.

    Nothing that stays as it is takes part in an update: frozen layers run once, before,
    and words that no text has wait outside.

    Parameters
    ----------
    whole : TextModel
        At rest; changed until `put_back` is called.
    table : TokenTable
        All texts, those for validation included.
    pad_id : int
    adapter : {None, "lora"}
    features : callable
        From the table to what the frozen part makes of it, or None if that is too much
        to keep.

    Attributes
    ----------
    model : TextModel
        What learns; it shares its weights with the whole.
    table : TokenTable or FeatureTable
        The texts as `model` takes them.
    pad_id : int
    """

    def __init__(
        self,
        whole: TextModel,
        table: TokenTable,
        pad_id: int,
        *,
        adapter: str | None,
        features: Callable[[TokenTable], FeatureTable | None],
    ) -> None:
        self.model = self._whole = whole
        self.table: TokenTable | FeatureTable = table
        self.pad_id = pad_id
        self._vocabulary: VocabularyInUse | None = None
        self._lora = None
        if adapter == "lora":
            self._lora = add_lora(whole.encoder)
        elif whole.trainable == "all":
            self._leave_out_words(table)
        elif (found := features(table)) is not None:
            _, self.model = split(whole)
            self.table = found

    def _leave_out_words(self, table: TokenTable) -> None:
        embedding = self._whole.encoder.get_input_embeddings()  # type: ignore[operator]
        ids = np.append(table.ids, self.pad_id)
        self._vocabulary = VocabularyInUse(embedding, ids)
        self.table = replace(table, ids=self._vocabulary.renumber(table.ids))
        self.pad_id = int(self._vocabulary.renumber(np.array(self.pad_id)))

    def put_back(self, decay: float) -> None:
        """Make the whole whole again, on the CPU.

        Parameters
        ----------
        decay : float
            What weight decay would have multiplied an unused word's row with.
        """
        self.model.to("cpu")
        if self._vocabulary is not None:
            self._vocabulary.restore(decay)
        if self._lora is not None:
            self._whole.encoder = self._lora.merge_and_unload().requires_grad_(True)
        self._whole.eval()
