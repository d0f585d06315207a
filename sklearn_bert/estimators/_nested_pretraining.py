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
    estimator: Any,
    call: FitCall,
    unlabeled: ArrayLike | None,
    *,
    like: Texts | None = None,
) -> Texts | None:
    """Return the texts of `unlabeled`; None: there are none.

    Parameters
    ----------
    estimator : BertClassifier or BertRegressor
    call : FitCall
    unlabeled : as X, or None
    like : Texts or None
        Texts that they must have the form of, because the head learns from them. None:
        only `pretraining` does.
    """
    if unlabeled is None:
        return None
    if estimator.pretraining is None and like is None:
        raise ValueError(
            "unlabeled is given and pretraining is None, so that nothing would be "
            "learnt from it; set pretraining=BertPretrainer()."
        )
    if call.goes_on:
        raise ValueError(
            "unlabeled is given, but this call continues an earlier fit, and learns "
            "nothing from it. Leave it out, or set warm_start=False and call fit."
        )
    try:
        found = check_texts(
            unlabeled, template=estimator.template, missing=estimator.missing
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"in unlabeled: {error}") from error
    if like is not None and found.n_features != like.n_features:
        raise ValueError(
            f"unlabeled has {found.n_features} features and X has {like.n_features}; "
            "expected the same. For pretraining alone set self_training=False."
        )
    return found


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
    estimator: Any,
    call: FitCall,
    texts: Texts,
    rows: np.ndarray,
    unlabeled: Texts | None,
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
    more = [] if unlabeled is None else unlabeled.first + (unlabeled.second or [])
    return nested.fit(own + more)


def pretraining_history(
    estimator: Any, call: FitCall, adapted: BertPretrainer | None
) -> dict[str, Any]:
    """Return the history of this call's pretraining, or of the one it goes on with."""
    if adapted is not None:
        return {"pretraining_history_": adapted.history_}
    if call.goes_on and hasattr(estimator, "pretraining_history_"):
        return {"pretraining_history_": estimator.pretraining_history_}
    return {}
