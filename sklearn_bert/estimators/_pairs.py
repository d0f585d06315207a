"""Pairs of texts whose similarity says more than both texts read together."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
import torch

from sklearn_bert._process._errors import CheckpointError
from sklearn_bert._process._random import seeded
from sklearn_bert.estimators._fit import FitCall
from sklearn_bert.estimators._recipe import Recipe
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._input import Texts
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.training._examples import Examples

# Fewer pairs cannot tell. With more it is not measured which way is the better: 5,749
# of STS-B have a rank correlation of 0.862 compared, 0.818 read together, and 3,668 of
# MRPC an accuracy of 0.810 and 0.803 (three seeds).
LEAST_PAIRS, MOST_PAIRS = 10, 6_000
# Fewer pairs spoil the checkpoint's similarity more than they improve it: those of MRPC
# have an accuracy of 0.72 untrained and 0.67 trained with 100, 0.72 and 0.75 with 300.
UNTRAINED_PAIRS = 200
# What the cosine has to resolve of the uncertainty about the targets. With 8 or 16
# pairs per class of MRPC it does in 8 and 12 of 12 draws, unrelated numbers in a sixth.
LEAST_KNOWN = 0.01
# Parameters that say how to train: who sets one wants a training.
OF_TRAINING = (
    "adapter",
    "batch_size",
    "early_stopping",
    "label_smoothing",
    "layer_decay",
    "loss",
    "trainable",
    "warmup",
    "weight_decay",
)
# From vectors, targets and a seed to the share of the uncertainty about the targets
# that a linear model resolves, cross-validated; None: it cannot tell.
KnownShare = Callable[[np.ndarray, np.ndarray, int], float | None]


def check_pooling(estimator: Any, texts: Texts | None) -> None:
    """Raise ValueError where texts without a second half are to be compared."""
    if estimator.pooling == "similarity" and (texts is None or texts.second is None):
        raise ValueError(
            "pooling is 'similarity', which compares the two texts of a pair, and X "
            "holds single texts; expected two columns, or a list of 2-tuples. Set "
            "another pooling for single texts."
        )


def check_divides(estimator: Any, tokenizer: TextTokenizer) -> None:
    """Raise CheckpointError where a pair cannot be taken apart."""
    if estimator.pooling == "similarity" and not tokenizer.divides_pairs:
        raise CheckpointError(
            f"pooling is 'similarity', but checkpoint {str(estimator.checkpoint)!r} "
            "does not tell the two texts of a pair apart by token types; take one that "
            "does, such as a BERT or an ELECTRA, or set another pooling."
        )


def compare_if_better(
    estimator: Any,
    call: FitCall,
    texts: Texts,
    model: TextModel,
    tokenizer: TextTokenizer,
    train: Examples,
    known_share: KnownShare,
) -> TextModel:
    """Choose between a model that reads pairs together, and one of their similarity.

    Parameters
    ----------
    estimator : BertClassifier or BertRegressor
    call : FitCall
    texts : Texts
    model : TextModel
        With a head.
    tokenizer : TextTokenizer
    train : Examples
    known_share : callable

    Returns
    -------
    TextModel
        That one, or one with `pooling="similarity"` and the same encoder.
    """
    can_compare = texts.second is not None and tokenizer.divides_pairs
    if not (can_compare and _is_left_open(estimator, call, len(train))):
        return model
    seed = call.seeds("compare")

    def known(model: TextModel) -> float:
        vectors, targets, _ = call.head_inputs(model, tokenizer, train)
        return known_share(vectors, targets, seed) or 0.0

    settings = model.settings() | {"steps": (), "pooling": "similarity"}
    # Its head has a generator of its own, for the training to draw as without it.
    with seeded(seed, torch.device("cpu")):
        compared = TextModel(model.encoder, **settings)
    compared.fingerprint = model.fingerprint
    share = known(compared)
    is_better = share > LEAST_KNOWN and share > known(model)
    return compared if is_better else model


def untrained_if_few(
    estimator: Any, call: FitCall, model: TextModel, n_pairs: int, recipe: Recipe
) -> Recipe:
    """Train the head alone where few pairs are compared by the choice of "auto".

    Not where a parameter says how to train.
    """
    is_chosen = estimator.pooling == "auto" and model.pooling == "similarity"
    if call.goes_on or not is_chosen or n_pairs > UNTRAINED_PAIRS:
        return recipe
    defaults = signature(type(estimator)).parameters
    says_how = any(
        getattr(estimator, name) != defaults[name].default
        for name in OF_TRAINING
        if name in defaults
    )
    return recipe if says_how else recipe.untrained()


def _is_left_open(estimator: Any, call: FitCall, n_pairs: int) -> bool:
    """Tell whether "auto" may choose the similarity for so many pairs."""
    return (
        LEAST_PAIRS <= n_pairs <= MOST_PAIRS
        and not (call.goes_on or call.is_partial)
        and estimator.pooling == "auto"
        and estimator.max_epochs == "auto"
        and estimator.learning_rate == "auto"
        and estimator.head_init == "probe"
    )
