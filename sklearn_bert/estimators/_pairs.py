"""Pairs of texts whose similarity says more than both texts read together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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

# Fewer pairs cannot tell. With more it is not yet measured which way is the better.
LEAST_PAIRS, MOST_PAIRS = 10, 1_000
# Fewer pairs spoil the checkpoint's similarity more than they improve it: those of MRPC
# have an accuracy of 0.72 untrained and 0.67 trained with 100, 0.71 and 0.76 with 300.
UNTRAINED_PAIRS = 200
# What similarity has to resolve of the uncertainty about the targets. With 8 or 16
# pairs per class of MRPC it does in 8 and 12 of 12 draws, unrelated numbers in a sixth.
LEAST_SKILL = 0.01
# From vectors, targets and a seed to the share of the uncertainty about the targets
# that a linear model resolves, cross-validated; None: it cannot tell.
Skill = Callable[[np.ndarray, np.ndarray, int], float | None]


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
    recipe: Recipe,
    skill: Skill,
) -> tuple[TextModel, Recipe]:
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
    recipe : Recipe
        For the model.
    skill : callable

    Returns
    -------
    model : TextModel
        That one, or one with `pooling="similarity"` and the same encoder.
    recipe : Recipe
        That one, or, of few pairs, one of no epoch.
    """
    chooses = (estimator.pooling, estimator.max_epochs, estimator.learning_rate)
    is_left_to_us = (*chooses, estimator.head_init) == ("auto", "auto", "auto", "probe")
    is_plain = not (call.goes_on or call.is_partial or call.is_validated)
    are_few_pairs = (
        texts.second is not None
        and tokenizer.divides_pairs
        and LEAST_PAIRS <= len(train) <= MOST_PAIRS
    )
    if not (is_left_to_us and is_plain and are_few_pairs):
        return model, recipe
    assert model.head is not None
    settings = model.settings() | {"steps": (), "pooling": "similarity"}
    # Its head has a generator of its own, for the training to draw as without it.
    seed = call.seeds("compare")
    with seeded(seed, torch.device("cpu")):
        compared = TextModel(model.encoder, **settings)
    compared.fingerprint = model.fingerprint
    known = skill(*call.head_inputs(compared, tokenizer, train)[:2], seed)
    if known is None or known <= LEAST_SKILL:
        return model, recipe
    known_by_vectors = skill(*call.head_inputs(model, tokenizer, train)[:2], seed)
    assert known_by_vectors is not None
    if known <= known_by_vectors:
        return model, recipe
    # There are no vectors to contrast, and one number has little to overfit.
    recipe = replace(recipe, has_few_labels=False, contrasts=False)
    if len(train) <= UNTRAINED_PAIRS:
        recipe = replace(recipe, learning_rate=0.0, max_epochs=0)
    return compared, recipe
