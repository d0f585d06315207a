"""The part of a model that learns, made ready for it and put back afterwards."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor, nn

from sklearn_bert._process._techniques import uses
from sklearn_bert.compute._runner import Runner
from sklearn_bert.model._layers import layer_depths, split
from sklearn_bert.model._lora import add_lora
from sklearn_bert.model._one_piece import move_to_one_piece
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._table import Table, TokenTable
from sklearn_bert.training._optimizer import MasterWeights, layer_factors
from sklearn_bert.training.acceleration._compact_embedding import CompactEmbedding


@dataclass(frozen=True)
class Snapshot:
    """A model at some moment of its training.

    Attributes
    ----------
    weights : dict of str to Tensor
        The trained ones by name, on the CPU.
    embedding : float or None
        Of the `CompactEmbedding`; None: there is none.
    """

    weights: dict[str, Tensor]
    embedding: float | None


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
    layer_decay, weight_decay : float
        Of the optimizer to come.
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
        layer_decay: float,
        weight_decay: float,
        runner: Runner,
    ) -> None:
        self.model = self.whole = whole
        self.table: Table = table
        self._compact: CompactEmbedding | None = None
        self._lora = None
        self._shared: nn.Module | None = None
        # One of five: adapters in the layers; fewer rows of the embedding; features of
        # the frozen part, and only what is above them; a copy of a shared encoder; or
        # the model as it is.
        if adapter == "lora":
            self._lora = add_lora(whole.encoder, adapter_rank)
        elif (
            uses("compact_embedding")
            and whole.trainable == "all"
            and not whole.ties_words
        ):
            # RoBERTa and its kin count positions from the padding's id: it has to stay.
            ids = np.append(table.take(rows).vocabulary(), np.arange(pad_id + 1))
            factors = None
            if layer_decay != 1:
                factors = layer_factors(layer_depths(whole), layer_decay)
            self._compact = CompactEmbedding(
                whole.encoder.get_input_embeddings(),  # type: ignore[operator]
                ids,
                # Embeddings lie lowest, and the rate falls from layer to layer.
                rate_factor=1.0 if factors is None else min(factors.values()),
                weight_decay=weight_decay,
            )
            self.table = replace(table, ids=self._compact.renumber(table.ids))
        elif (found := runner.features(table)) is not None:
            # They share their weights: what the upper part learns, the whole learns.
            _, self.model = split(whole)
            self.table = found
        elif whole.trainable == "head":
            # It moves and is rounded while it takes part, and may be another's too.
            self._shared = whole.encoder
            whole.encoder = copy.deepcopy(whole.encoder)

    def after_update(self, rate: float) -> None:
        """Note that the optimizer has stepped at this learning rate."""
        if self._compact is not None:
            self._compact.after_update(rate)

    def snapshot(self, masters: MasterWeights) -> Snapshot:
        """Return the weights as they are now, on the CPU."""
        compact = self._compact
        return Snapshot(
            masters.snapshot(), None if compact is None else compact.snapshot()
        )

    def put_back(self, masters: MasterWeights, snapshot: Snapshot) -> None:
        """Go on with the training from a snapshot."""
        masters.put_back(snapshot.weights)
        if self._compact is not None:
            assert snapshot.embedding is not None
            self._compact.put_back(snapshot.embedding)

    def restore(self, masters: MasterWeights | None, kept: Snapshot | None) -> None:
        """Put the whole model together again, in float32 on the CPU.

        Parameters
        ----------
        masters : MasterWeights or None
            None: training had not begun.
        kept : Snapshot or None
            The weights to put back; None: the masters as they are.
        """
        if masters is not None:
            masters.restore(self.model, None if kept is None else kept.weights)
        self.model.to("cpu")
        if self._compact is not None:
            self._compact.restore(None if kept is None else kept.embedding)
        # Only now, in float32: merging into rounded weights would lose small changes.
        if self._lora is not None:
            self.whole.encoder = self._lora.merge_and_unload().requires_grad_(True)
        if self._shared is not None:
            self.whole.encoder = self._shared
        # An encoder that is frozen whole may be another's too, and keeps its place.
        owns_all = self.whole.trainable != "head"
        move_to_one_piece(
            p for p in self.whole.parameters() if owns_all or p.requires_grad
        )
        self.whole.eval()
