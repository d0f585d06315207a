"""Pretrain on the texts of another estimator, before it learns their targets."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from sklearn_bert.estimators._fit import FitCall, as_str_path
from sklearn_bert.estimators._pretrainer import BertPretrainer
from sklearn_bert.text._input import Texts, check_texts

# What the two must agree on, and the pretrainer takes over where it says nothing.
SHARED = ("checkpoint", "revision", "precision", "device")
DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(BertPretrainer).parameters.items()
}


def read_unlabeled(
    estimator: Any, call: FitCall, unlabeled: ArrayLike | None
) -> list[str]:
    """Return the texts of `unlabeled`, those of pairs one by one.

    They have the form of the texts to learn from.
    """
    if unlabeled is None:
        return []
    if estimator.pretraining is None:
        raise ValueError(
            "unlabeled is given and pretraining is None, so that nothing would be "
            "learnt from it; set pretraining=BertPretrainer()."
        )
    if call.goes_on:
        raise ValueError(
            "unlabeled is given, but this call continues an earlier fit, and adapts "
            "nothing. Leave it out, or set warm_start=False and call fit."
        )
    try:
        found = check_texts(
            unlabeled, template=estimator.template, missing=estimator.missing
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"in unlabeled: {error}") from error
    return found.first + (found.second or [])


def resolve_nested(
    pretraining: BertPretrainer, estimator: Any, seed: int
) -> BertPretrainer:
    """Copy the pretrainer, to start where the estimator would, on the same device.

    Raises
    ------
    ValueError
        Where the two say different things, or the pretrainer starts from nothing.
    """
    if pretraining.checkpoint is None:
        raise ValueError(
            "pretraining has checkpoint=None, to start from nothing; inside another "
            "estimator it adapts that one's checkpoint. Fit and save it first, and "
            "give its folder as checkpoint."
        )
    # `fit` must not change the caller's parameter, nor fit it.
    nested = clone(pretraining)
    for name in SHARED:
        ours, own = getattr(estimator, name), getattr(nested, name)
        # A default counts as not set, because the two cannot be told apart.
        if own != DEFAULTS[name] and as_str_path(own) != as_str_path(ours):
            raise ValueError(
                f"{name} is {ours!r} and pretraining__{name} is {own!r}; expected the "
                f"same, or pretraining__{name}={DEFAULTS[name]!r}, which takes it over."
            )
        nested.set_params(**{name: ours})
    if nested.random_state is None:
        nested.set_params(random_state=seed)
    if nested.pooling == "auto":  # of no effect here, and may be one not offered
        nested.set_params(pooling="mean")
    nested._validate_params()  # scikit-learn skips it inside of another fit
    return nested


def pretrain_first(
    estimator: Any, call: FitCall, texts: Texts, rows: np.ndarray, unlabeled: list[str]
) -> BertPretrainer | None:
    """Pretrain on `unlabeled`, and of X on the texts to learn from and no others.

    None: there is nothing to do, because the call continues an earlier fit.
    """
    if estimator.pretraining is None or call.goes_on:
        return None
    # The call has not reserved a device yet: the nested fit reserves one for itself,
    # and would wait for ever for one that this process holds.
    nested = resolve_nested(estimator.pretraining, estimator, call.seeds("nested"))
    # The two texts of a pair are learnt from one by one.
    sides = [texts.first] if texts.second is None else [texts.first, texts.second]
    own = [side[row] for side in sides for row in rows]
    return nested.fit(own + unlabeled)


def pretraining_history(
    estimator: Any, call: FitCall, adapted: BertPretrainer | None
) -> dict[str, Any]:
    """Return the history of this call's pretraining, or of the one it goes on with."""
    if adapted is not None:
        return {"pretraining_history_": adapted.history_}
    if call.goes_on and hasattr(estimator, "pretraining_history_"):
        return {"pretraining_history_": estimator.pretraining_history_}
    return {}
