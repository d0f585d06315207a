"""Let the head of a fine-tuned classifier learn from texts without labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_bert.estimators._class_head import ClassHead
from sklearn_bert.estimators._fit import FitCall
from sklearn_bert.targets._labels import is_indicator
from sklearn_bert.targets._self_training import self_trained
from sklearn_bert.text._columns import as_python
from sklearn_bert.text._input import Texts
from sklearn_bert.text._reports import text_reports, warn_of
from sklearn_bert.training._examples import Examples

ROUNDS = 3
# Texts whose labels are guessed: so many take seconds.
MOST_TEXTS = 2_000


def count_rounds(estimator: Any, y: ArrayLike, unlabeled: ArrayLike | None) -> int:
    """Return how many rounds of self-training a fit has.

    Raises
    ------
    ValueError
        Where the parameter is True, or nothing would be learnt from `unlabeled`.
    """
    wanted = as_python(estimator.self_training)
    if wanted is True:
        raise ValueError(
            "self_training is True; expected 'auto', False, or a number of rounds."
        )
    if unlabeled is None:
        return 0
    is_pretrained = estimator.pretraining is not None
    if wanted is False:
        if not is_pretrained:
            raise ValueError(
                "unlabeled is given, pretraining is None and self_training is False, "
                "so that nothing would be learnt from it; set self_training='auto' or "
                "pretraining=BertPretrainer()."
            )
        return 0
    if is_indicator(y):
        if wanted == "auto" and is_pretrained:
            return 0
        raise ValueError(
            f"unlabeled is given, self_training is {wanted!r} and y is an indicator of "
            "several labels; self-training needs one label per text. Set "
            "self_training=False and pretraining=BertPretrainer(), or leave unlabeled "
            "out."
        )
    return ROUNDS if wanted == "auto" else wanted


def self_train(
    call: FitCall, head: ClassHead, known: Texts, unlabeled: Texts | None, n_rounds: int
) -> dict[str, Any]:
    """Fit the head again, on labelled texts and on others with guessed labels.

    Parameters
    ----------
    call : FitCall
    head : ClassHead
        Of a fine-tuned model; it is replaced.
    known : Texts
        All texts of X and X_val, whose labels are not guessed.
    unlabeled : Texts
    n_rounds : int

    Returns
    -------
    dict
        The fitted attribute `self_training_report_`.
    """
    assert unlabeled is not None  # or else there are no rounds
    others = unlabeled.distinct()[0].without(known)
    n_classes = len(head.labels.classes)
    report = {"n_rounds": n_rounds, "n_texts": len(others)}
    labelled = head.learned_inputs()
    # A class alone, of texts that weigh more than 0, makes no model.
    if len(others) == 0 or len(np.unique(labelled[1])) < 2:
        return {"self_training_report_": {**report, "n_guessed": [0] * n_classes}}
    table = head.tokenizer(others)
    warn_of(text_reports(head.tokenizer, table))
    nothing = np.zeros(len(table), dtype=np.float32)
    to_guess = Examples(table, np.arange(len(table)), nothing, nothing)
    vectors = call.head_inputs(head.model, head.tokenizer, to_guess, most=MOST_TEXTS)[0]
    found = self_trained(*labelled, vectors, n_classes, n_rounds)
    head.model.set_head(found.weight, found.bias)
    counts = np.bincount(found.codes, minlength=n_classes).tolist()
    return {"self_training_report_": {**report, "n_guessed": counts}}
