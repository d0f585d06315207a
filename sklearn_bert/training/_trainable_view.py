"""The part of a model that learns, made ready for it and put back afterwards."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
from torch import nn

from sklearn_bert.compute._runner import Runner
from sklearn_bert.model._layers import split
from sklearn_bert.model._lora import add_lora
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._table import Table, TokenTable
from sklearn_bert.training._master_weights import MasterWeights, Snapshot
from sklearn_bert.training.acceleration._compact_embedding import CompactEmbedding


class TrainableView:
    """What of a model learns, and what it learns from.

    Nothing that stays as it is takes part in an update: frozen layers run once, before,
    and words that no text has wait outside.

    Parameters
    ----------
    whole : TextModel
        At rest; changed until `restore` is called.
    table : TokenTable
    rows : ndarray
        The texts of the table that will be asked for, in training or validation.
    pad_id : int
    adapter : {None, "lora"}
    adapter_rank : int
    runner : Runner
        Of the whole model, to compute what its frozen part makes of the texts.

    Attributes
    ----------
    whole : TextModel
    model : TextModel
        What learns; it shares its weights with the whole.
    table : TokenTable or FeatureTable
        The texts as `model` takes them.
    """

    def __init__(
        self,
        whole: TextModel,
        table: TokenTable,
        rows: np.ndarray,
        pad_id: int,
        *,
        adapter: str | None,
        adapter_rank: int,
        runner: Runner,
    ) -> None:
        self.model = self.whole = whole
        self.table: Table = table
        self._vocabulary: CompactEmbedding | None = None
        self._lora = None
        self._shared: nn.Module | None = None
        if adapter == "lora":
            self._lora = add_lora(whole.encoder, adapter_rank)
        elif whole.trainable == "all" and not whole.ties_words:
            self._leave_out_words(table, rows, pad_id)
        elif (found := runner.features(table)) is not None:
            _, self.model = split(whole)
            self.table = found
        elif whole.trainable == "head":
            # It moves and is rounded while it takes part, and may be another's too.
            self._shared = whole.encoder
            whole.encoder = copy.deepcopy(whole.encoder)

    def _leave_out_words(
        self, table: TokenTable, rows: np.ndarray, pad_id: int
    ) -> None:
        embedding = self.whole.encoder.get_input_embeddings()  # type: ignore[operator]
        # RoBERTa and its kin count positions from the padding's id, so it has to stay.
        low_ids = np.arange(pad_id + 1)
        ids = np.append(table.take(rows).vocabulary(), low_ids)
        self._vocabulary = CompactEmbedding(embedding, ids)
        self.table = replace(table, ids=self._vocabulary.renumber(table.ids))

    def restore(
        self, masters: MasterWeights | None, kept: Snapshot | None, decay: float
    ) -> None:
        """Make the whole whole again, in float32 on the CPU.

        Parameters
        ----------
        masters : MasterWeights or None
            None: training had not begun.
        kept : Snapshot or None
            The weights to put back; None: the masters as they are.
        decay : float
            What weight decay would have multiplied an unused word's row with.
        """
        if masters is not None:
            masters.restore(self.model, None if kept is None else kept.weights)
        self.model.to("cpu")
        if self._vocabulary is not None:
            self._vocabulary.restore(decay)
        if self._lora is not None:
            self.whole.encoder = self._lora.merge_and_unload().requires_grad_(True)
        if self._shared is not None:
            self.whole.encoder = self._shared
        self.whole.eval()
