"""From a fitted estimator and X to the numbers that can be explained."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_bert.estimators._classifier import BertClassifier
from sklearn_bert.estimators._embedder import BertEmbedder
from sklearn_bert.estimators._regressor import BertRegressor
from sklearn_bert.estimators._token_classifier import BertTokenClassifier
from sklearn_bert.inspection._goals import (
    ClassGoals,
    Goals,
    NumberGoals,
    SimilarityGoals,
    TagGoals,
)
from sklearn_bert.inspection._reading import read_pairs, read_sentences, read_texts
from sklearn_bert.inspection._word_shares import WordShares
from sklearn_bert.training._losses import RegressionLoss

KINDS = (BertClassifier, BertRegressor, BertTokenClassifier, BertEmbedder)


class Subject:
    """An estimator and the texts to explain it for.

    Parameters
    ----------
    estimator : fitted estimator, one of KINDS
    X : as the estimator takes it, or pairs for an embedder
    """

    def __init__(self, estimator: Any, X: Any) -> None:
        check_estimator(estimator)
        self.runner = estimator.net_.runner_
        self.tokenizer = estimator.tokenizer_
        self.goals: Goals
        self._predicted: Callable[[], np.ndarray]
        if isinstance(estimator, BertClassifier):
            self._of_classes(estimator, X)
        elif isinstance(estimator, BertRegressor):
            self._of_numbers(estimator, X)
        elif isinstance(estimator, BertTokenClassifier):
            self._of_tags(estimator, X)
        else:
            self._of_similarity(estimator, X)

    def choose(self, target: Any) -> None:
        """Set the goals to the targets of each text."""
        self.goals.choose(target, self._predicted)

    def word_shares(self) -> WordShares:
        """Return f of the goals by the shares of words."""
        return WordShares(self.runner, self.goals, self.tokenizer)

    def computing(self) -> AbstractContextManager[None]:
        """Compute with the settings of torch that the estimator computes with."""
        return self.runner.computing()

    def _of_classes(self, estimator: BertClassifier, X: Any) -> None:
        reading = read_texts(self.tokenizer, estimator._read_X_again(X))
        goals = ClassGoals(reading, estimator._labels, estimator.temperature_)
        self.goals = goals
        net, merge = estimator.net_, estimator._labels.merge_windows
        self._predicted = lambda: goals.predicted(net.scores(reading.whole, merge))

    def _of_numbers(self, estimator: BertRegressor, X: Any) -> None:
        reading = read_texts(self.tokenizer, estimator._read_X_again(X))
        self.goals = NumberGoals(
            reading,
            RegressionLoss.merge_windows,
            estimator.target_mean_,
            estimator.target_scale_,
        )
        self._predicted = lambda: np.array(True)

    def _of_tags(self, estimator: BertTokenClassifier, X: Any) -> None:
        reading = read_sentences(self.tokenizer, X)
        goals = TagGoals(
            reading,
            estimator.classes_,
            lambda: estimator.net_.scores(reading.whole),
        )
        self.goals, self._predicted = goals, goals.predicted

    def _of_similarity(self, estimator: BertEmbedder, X: Any) -> None:
        if estimator._template is not None or estimator.n_features_in_ != 1:
            raise ValueError(
                f"the estimator reads {estimator.n_features_in_} columns as one text; "
                "only an embedder of single texts, without template, can be explained, "
                "by the similarity of two of them."
            )
        reading = read_pairs(self.tokenizer, X, estimator.missing)
        self.goals = SimilarityGoals(
            reading,
            lambda: estimator.net_.vectors(reading.whole),
            self.runner.model,
        )
        self._predicted = lambda: np.array(True)


def check_estimator(estimator: Any) -> None:
    """Raise unless the estimator is fitted and one that can be explained."""
    if not isinstance(estimator, KINDS):
        raise TypeError(
            f"estimator is of type {type(estimator).__name__}; expected a fitted "
            f"{', '.join(kind.__name__ for kind in KINDS[:-1])} or "
            f"{KINDS[-1].__name__}. Of a Pipeline pass its last step, and of an "
            "exported model, which has no gradients, the estimator that it was made of."
        )
    check_is_fitted(estimator)
