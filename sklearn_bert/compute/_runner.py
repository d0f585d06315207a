"""`Runner`: a model that is computed forward over the texts of a table."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_bert._process._interrupts import heard
from sklearn_bert.compute._device import on_device
from sklearn_bert.compute._features import FeatureTable, features_of
from sklearn_bert.compute._inference import Feed, compute
from sklearn_bert.compute._memory import shortage_named
from sklearn_bert.compute._precision import matmul_precision, resolve_precision
from sklearn_bert.compute._self_check import check_packing, is_proven
from sklearn_bert.compute._windows import (
    MergeWindows,
    maximum_of_windows,
    mean_of_windows,
)
from sklearn_bert.model._attention import fits_kernel, head_size
from sklearn_bert.model._language_model import LanguageModel
from sklearn_bert.model._layers import can_split, split
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.model._torch_state import own_torch_state
from sklearn_bert.text._long import Windows
from sklearn_bert.text._table import Table, TokenTable
from sklearn_bert.text._words import PerWordTable


@dataclass(eq=False, repr=False)
class Runner:
    """Runs a model over tables of texts, on a device and in a precision.

    Equal texts are computed once. What the frozen part of the model makes of a text is
    remembered by the process, where its checkpoint is known by a fingerprint.

    Attributes
    ----------
    model : TextModel
        At rest: in float32 on the CPU. It is not changed; elsewhere, or in another
        precision, a copy computes, of which a process keeps the last used.
    device : torch.device
    precision : {"auto", "float32", "tf32", "bfloat16", "float16"}
    pad_id : int
    fingerprint : str or None
        Of the checkpoint that the model's frozen part comes from; None: its features
        are not remembered.
    """

    model: TextModel
    device: torch.device
    precision: str
    pad_id: int
    fingerprint: str | None = None

    def scores(
        self,
        table: TokenTable,
        merge_windows: MergeWindows = mean_of_windows,
        *,
        remember: bool = True,
    ) -> np.ndarray:
        """Compute what the head says of each text, or of each word.

        Parameters
        ----------
        table : TokenTable
        merge_windows : callable
            From the scores of windows to those of texts, as an objective defines it.
        remember : bool
            Whether the process keeps the features of these texts for later.

        Returns
        -------
        ndarray of shape (n_texts, n_outputs), float32
            In the table's order; of a table of words (n_words, n_outputs).
        """
        with self.computing():
            rows, windows = _windows_of(table)
            features = self.features(rows, remember=remember)
            if features is None or not features.are_vectors:
                model, source = self._above(features, rows)
                found = compute(model.forward, source, self.feed())
            elif self.model.head is None:
                found = features.vectors()
            else:  # so little that moving it to a GPU would take longer
                _, head = split(self.model)
                found = compute(head, features, Feed(torch.device("cpu"), 0))
        if windows is not None:
            found = merged(merge_windows, found, windows)
        return found.numpy()

    def vectors(self, table: TokenTable, *, remember: bool = True) -> np.ndarray:
        """Compute the vector of each text, before the head.

        Of a text in windows it is their mean, by the tokens that are new in each; with
        `pooling="max"` it is their maximum.

        Parameters
        ----------
        table : TokenTable
        remember : bool
            Whether the process keeps the features of these texts for later.

        Returns
        -------
        ndarray of shape (n_texts, width), float32
            In the table's order.
        """
        with self.computing():
            rows, windows = _windows_of(table)
            features = self.features(rows, remember=remember)
            if features is None or not features.are_vectors:
                model, source = self._above(features, rows)
                found = compute(model.vectors, source, self.feed())
            else:
                found = features.vectors()
            # Merged before the last steps, which are defined for vectors of texts.
            if windows is not None:
                is_maximum = self.model.pooling == "max"
                merge = maximum_of_windows if is_maximum else mean_of_windows
                found = merged(merge, found, windows)
            return self.model.finish(found).numpy()

    def token_log_likelihood(self, table: PerWordTable) -> np.ndarray:
        """Compute how likely the tokens are that stand, or stood, in a table.

        Parameters
        ----------
        table : PerWordTable
            With the tokens to predict, for a language model.

        Returns
        -------
        ndarray of shape (n_tokens, 2), float32
            Of each token to predict its log-likelihood in nats, and 1 where no other
            token is likelier, else 0.
        """
        with self.computing():
            return self._run(self._language_model().token_log_likelihood, table)

    def top_tokens(self, table: PerWordTable, n_best: int) -> np.ndarray:
        """Compute the likeliest tokens at some positions.

        Parameters
        ----------
        table : PerWordTable
            With the tokens to predict, for a language model.
        n_best : int

        Returns
        -------
        ndarray of shape (n_tokens, 2 * n_best), float32
            Of each token to predict the ids of the likeliest ones, then their
            probabilities. Of a smaller vocabulary all.
        """
        with self.computing():
            top_tokens = self._language_model().top_tokens
            return self._run(partial(top_tokens, n_best=n_best), table)

    def next_token_logits(self, table: PerWordTable) -> np.ndarray:
        """Compute the scores of all tokens of the vocabulary at some positions.

        Parameters
        ----------
        table : PerWordTable
            With the tokens to predict, for a language model.

        Returns
        -------
        ndarray of shape (n_tokens, n_vocabulary), float32
        """
        with self.computing():
            return self._run(self._language_model().next_token_logits, table)

    def next_sentence_logits(self, table: TokenTable) -> np.ndarray:
        """Compute the scores of pairs: the second text follows the first, or does not.

        Parameters
        ----------
        table : TokenTable
            Of pairs, for a language model with a head for next sentences.

        Returns
        -------
        ndarray of shape (n_pairs, 2), float32
        """
        with self.computing():
            return self._run(self._language_model().next_sentence_logits, table)

    def features(
        self, table: TokenTable, *, remember: bool = True
    ) -> FeatureTable | None:
        """Compute what the frozen part of the model makes of texts.

        Returns
        -------
        FeatureTable or None
            None: nothing is frozen, the frozen part does not run alone, or there is too
            much to keep at a time, as for the words of a text.
        """
        model = self.model
        if model.trainable == "all" or not table.has_one_output_per_row:
            return None
        if not can_split(model):
            return None
        dtype, are_vectors = self.dtype(), model.freezes_vectors

        def compute_these(texts: TokenTable) -> Tensor:
            lower, _ = split(self.model_in_place())
            assert lower is not None
            return compute(lower, texts, self.feed(), per_token=not are_vectors)

        # All that a feature depends on beside the text itself.
        cache_key = None
        if self.fingerprint is not None:
            kind = (model.pooling, model.trainable, are_vectors)
            # By its dtype tf32 is float32, but its products are rounded.
            is_rounded = self.precision == "tf32"
            cache_key = (self.fingerprint, *kind, dtype, is_rounded, str(self.device))
        return features_of(
            table,
            compute_these,
            are_vectors=are_vectors,
            # Vectors are pooled in float32, whatever the encoder computes in.
            row_bytes=model.width * (4 if are_vectors else dtype.itemsize),
            cache_key=cache_key,
            keep=remember,
        )

    def dtype(self) -> torch.dtype:
        """Return the number format that the encoder computes in."""
        return resolve_precision(self.precision, self.device)

    def feed(self) -> Feed:
        """Return what lays out texts: without padding where the device can do so."""
        # Only this kernel knows where a text ends in a line, and it takes no float32.
        encoder, dtype = self.model.encoder, self.dtype()
        packed = (
            self.device.type == "cuda"
            and dtype == torch.bfloat16
            and torch.backends.cuda.is_flash_attention_available()
            and self.model.can_be_packed
            and fits_kernel(size := head_size(encoder))
            and is_proven("packing", self.device, check_packing, dtype, size)
        )
        return Feed(self.device, self.pad_id, packed=packed)

    def model_in_place(self) -> TextModel:
        """Return the model on its device in its precision: itself, or a kept copy."""
        # The model itself where it is at rest already: no second copy of the weights.
        dtype = self.dtype()
        if self.device.type == "cpu" and dtype == torch.float32:
            return self.model
        return WORKING_COPY.of(
            self, lambda: copy_in_place(self.model, self.device, dtype)
        )

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute with this object's settings of torch, not with the caller's."""
        here = on_device(self.device)
        precisely = matmul_precision(self.precision, self.device)
        with heard(), shortage_named("predicting"), own_torch_state(), here, precisely:
            yield

    def _above(
        self, features: FeatureTable | None, rows: TokenTable
    ) -> tuple[TextModel, Table]:
        """Return the model above the features, or all of it, and what it takes."""
        model = self.model_in_place()
        return (model, rows) if features is None else (split(model)[1], features)

    def _language_model(self) -> LanguageModel:
        model = self.model_in_place()
        assert isinstance(model, LanguageModel)
        return model

    def _run(self, function: Callable[..., Tensor], table: TokenTable) -> np.ndarray:
        return compute(function, table, self.feed()).numpy()


def merged(merge_windows: MergeWindows, values: Tensor, windows: Windows) -> Tensor:
    """Return the values of texts, from those of their windows."""
    return merge_windows(
        values,
        torch.from_numpy(windows.text_of_row()),
        torch.from_numpy(windows.shares[windows.rows()]),
        len(windows.counts),
    )


def _windows_of(table: TokenTable) -> tuple[TokenTable, Windows | None]:
    """Return the rows that a model reads of a table, and which make up each text."""
    all_rows, windows = table.by_window()
    if windows is None:
        return all_rows, None
    return all_rows.take(windows.rows()), windows


def copy_in_place(
    model: TextModel, device: torch.device, dtype: torch.dtype
) -> TextModel:
    """Return a copy on the device that works in `dtype`, and leave the original."""
    # deepcopy takes these for copies that it has made already: no weight is copied
    # twice, first as it is and then to the device.
    weights = {
        id(p): nn.Parameter(p.detach().to(device, dtype), requires_grad=False)
        for module in model.half_precision_modules()
        for p in module.parameters()
    }
    return copy.deepcopy(model, weights).to(device)


class LastUsed:
    """Keeps one thing made for one owner, as long as that is the last to ask."""

    def __init__(self) -> None:
        self._kept: tuple[weakref.ref[Any], Any] | None = None

    def of(self, owner: object, make: Callable[[], Any]) -> Any:
        """Return what was made for this owner; make it now if another was the last."""
        # Read once: another thread may replace it between two looks.
        kept = self._kept
        if kept is not None and kept[0]() is owner:
            return kept[1]
        self._kept = kept = None  # before the new one is made: both may not fit
        made = make()
        # Weakly: a net whose estimator is gone takes its copy along.
        self._kept = weakref.ref(owner, self._drop), made
        return made

    def forget(self, owner: object) -> None:
        """Drop what was made for this owner."""
        kept = self._kept
        if kept is not None and kept[0]() is owner:
            self._kept = None

    def _drop(self, reference: weakref.ref[Any]) -> None:
        kept = self._kept
        if kept is not None and kept[0] is reference:
            self._kept = None


# A fitted net holds nothing on a GPU at rest, but for the one that was used last.
WORKING_COPY = LastUsed()
