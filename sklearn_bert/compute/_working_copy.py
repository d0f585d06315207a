"""The copy of a model that computes: on its device, in its number format."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sklearn_bert.model._text_model import TextModel


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
        kept = self._kept
        if kept is not None and kept[0]() is owner:
            return kept[1]
        self._kept = kept = None  # before the new one is made: both may not fit
        made = make()
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
