"""`ValidationScorer`: a scorer of scikit-learn's for the texts to validate on."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from numbers import Real
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import check_scoring, get_scorer_names

from sklearn_bert._process._sklearn import Scorer, safe_indexing
from sklearn_bert.text._columns import excerpt, to_float
from sklearn_bert.training._examples import Examples


class ValidationScorer:
    """Scores the texts to validate on after each epoch, by a scorer of scikit-learn's.

    Parameters
    ----------
    scoring : str or callable
        As the estimator has it.

    Attributes
    ----------
    sees_predictions_alone : bool
        Whether the scorer asks an estimator only for what it predicts of the texts, as
        those by name and of `make_scorer` do.

    Raises
    ------
    ValueError
        Where scikit-learn has no scorer of that name, or where a function is one of
        its metrics, which `make_scorer` makes a scorer of.
    """

    def __init__(self, scoring: str | Callable[..., Any]) -> None:
        if isinstance(scoring, str) and scoring not in get_scorer_names():
            raise ValueError(
                f"scoring is {excerpt(scoring)}, which is the name of no scorer; "
                "sklearn.metrics.get_scorer_names() lists them. For a score of your "
                "own pass a function of (estimator, X, y)."
            )
        self.scoring = scoring
        self.scorer = check_scoring(scoring=scoring)
        # A subclass, or any other callable, may look at all of the estimator.
        self.sees_predictions_alone = type(self.scorer) is Scorer

    def validate_on(
        self, X: Any, y: Any, sample_weight: np.ndarray | None = None
    ) -> None:
        """Take what is scored: as the caller handed it in, with its weights if any."""
        self.X, self.y, self.sample_weight = X, y, sample_weight

    def __call__(
        self, estimator: BaseEstimator, scores: np.ndarray, examples: Examples
    ) -> float:
        """Score a fitted estimator; it is changed, so that it knows `scores`.

        Parameters
        ----------
        estimator : estimator
            A copy of that in the fit, with the fitted attributes of this epoch.
        scores : ndarray of shape (n_rows, n_outputs)
            What its head says of the texts, or words, to validate on.
        examples : Examples
            The same texts as the net has them.

        Raises
        ------
        ValueError
            Where the scorer returns no finite number.
        """
        epoch = estimator.n_iter_
        weights, y = self.sample_weight, self.y
        is_of_words = not examples.table.has_one_output_per_row
        if is_of_words and isinstance(self.scoring, str):
            # No scorer with a name takes lists of tags: each word counts by itself.
            places = examples.table.targets_of(examples.rows)
            y = estimator.classes_[examples.targets[places]]
            weights = None if weights is None else examples.weights[places]
            estimator = _OfWords(estimator.classes_, scores)
        elif self.sees_predictions_alone:
            vars(estimator)["_compute_scores"] = lambda X: scores
        weighed = {}
        if weights is not None and _takes_weights(self.scorer):
            weighed["sample_weight"] = weights
        try:
            score = self.scorer(estimator, self.X, y, **weighed)
        except Exception as error:
            error.add_note(f"Raised by scoring={self.scoring!r} after epoch {epoch}.")
            raise
        return self._checked(score, epoch)

    def _checked(self, score: Any, epoch: int) -> float:
        if getattr(score, "ndim", None) == 0:
            score = score.item()
        if isinstance(score, Real) and np.isfinite(to_float(score)):
            return float(score)
        raise ValueError(
            f"scoring is {self.scoring!r}, and what it returns after epoch {epoch} is "
            f"{excerpt(score)} of type {type(score).__name__}; expected a finite "
            "number. Choose a score that is defined for the texts to validate on, or "
            "pass others as X_val and y_val."
        )


def take_rows(values: Any, rows: np.ndarray) -> Any:
    """Return some rows of X or y, in a container of the same kind."""
    # scikit-learn's function knows neither pandas' Index and arrays nor RecordBatches.
    has_take = hasattr(values, "take") and not hasattr(values, "iloc")
    if has_take and not isinstance(values, np.ndarray):
        return values.take(rows)
    return safe_indexing(values, rows)


class _OfWords(ClassifierMixin, BaseEstimator):
    """Stands for a tagger before a scorer: a classifier of single words."""

    def __init__(self, classes: np.ndarray, scores: np.ndarray) -> None:
        self.classes_ = classes
        self.proba = softmax(scores.astype(np.float64), axis=1)

    def predict(self, X: Any) -> np.ndarray:
        return self.classes_[self.proba.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        return self.proba


def _takes_weights(scorer: Callable[..., Any]) -> bool:
    """Tell whether a scorer has a parameter `sample_weight`."""
    if isinstance(scorer, Scorer):  # its signature says nothing of its function's
        return "sample_weight" in scorer.get_metadata_routing().score.requests
    return "sample_weight" in signature(scorer).parameters
