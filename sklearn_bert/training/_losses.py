"""What a net learns: the loss of each target, and how windows of a text are merged.

An objective knows scores and targets, not labels. Scores are what the head gives,
(n_rows, n_outputs), where a row is a text, a window of a text, or a word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_bert.compute._windows import log_sum_by_text, mean_of_windows
from sklearn_bert.model._language_model import LanguageModel
from sklearn_bert.model._text_model import TextModel

# What a model gives in training: (n_rows, n_outputs), or of a language model the losses
# of its tokens, (n_tokens,), and of its pairs, (n_rows,), if it has any.
Scores = Tensor | tuple[Tensor, Tensor | None]


class Objective(nn.Module):
    """Base of the objectives.

    Attributes
    ----------
    parts : tuple of str
        Names of the losses that add up to the whole; empty: there is one.
    n_views : int
        Rows of an example. With more than one the loss compares the examples of a
        batch, so that they cannot be learnt from one after the other.
    takes_vectors : bool
        Whether the model is to give, in training, the vectors behind the scores.
    compares : bool
        Whether the loss of a row is another one with other rows beside it.
    """

    parts: tuple[str, ...] = ()
    n_views = 1
    takes_vectors = False
    compares = False

    def validation_scores(self, model: TextModel, inputs: dict[str, Any]) -> Tensor:
        """Compute what `score` and `forward` take in validation, of laid out texts."""
        return model(**inputs)

    def losses(
        self,
        scores: Scores,
        targets: Tensor,
        weights: Tensor,
        n_targets: int,
        n_rows: int,
    ) -> Tensor:
        """Compute the share of some rows in the mean losses of a batch.

        Parameters
        ----------
        scores
            What the model gives for these rows.
        targets, weights : Tensor
            Of these rows.
        n_targets, n_rows : int
            Of the whole batch.

        Returns
        -------
        Tensor of shape (n_parts,), or () where there is one
        """
        # Behind the texts there may be one of padding.
        losses = self(scores[: len(targets)], targets)
        return (losses * weights).sum() / n_targets

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of each row, before weighing: (n_rows,), or wider."""
        raise NotImplementedError

    @staticmethod
    def merge_windows(
        scores: Tensor, text_of_row: Tensor, shares: Tensor, n_texts: int
    ) -> Tensor:
        """Compute the scores of whole texts from those of their windows.

        Parameters
        ----------
        scores : Tensor of shape (n_windows, n_outputs)
        text_of_row : int64 Tensor of shape (n_windows,)
        shares : Tensor of shape (n_windows,)
            They add up to 1 over a text.
        n_texts : int

        Returns
        -------
        Tensor of shape (n_texts, n_outputs)
        """
        return mean_of_windows(scores, text_of_row, shares, n_texts)

    def score(
        self,
        scores: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        counts: np.ndarray,
    ) -> float:
        """Compute what the estimator's `score` would; `counts` rows belong together."""
        raise NotImplementedError


class CrossEntropy(Objective):
    """Cross-entropy of one class per row.

    Parameters
    ----------
    label_smoothing : float
        Share of the target that is spread over all classes.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of each row, (n_rows,), from codes, (n_rows,)."""
        return functional.cross_entropy(
            scores, targets, reduction="none", label_smoothing=self.label_smoothing
        )

    @staticmethod
    def merge_windows(
        scores: Tensor, text_of_row: Tensor, shares: Tensor, n_texts: int
    ) -> Tensor:
        """Average the probabilities, and return their logarithms."""
        logs = scores.log_softmax(1) + shares.log()[:, None]
        return log_sum_by_text(logs, text_of_row, n_texts)

    def score(
        self,
        scores: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        counts: np.ndarray,
    ) -> float:
        """Compute the accuracy."""
        return float(np.average(scores.argmax(1) == targets, weights=weights))


class BinaryCrossEntropy(Objective):
    """Binary cross-entropy of each label, any number of which a row may have.

    Parameters
    ----------
    label_smoothing : float
        How far from 0 and 1 the targets are drawn towards one half.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Compute losses, (n_rows, n_labels), which add up to the mean of a row."""
        smooth = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = functional.binary_cross_entropy_with_logits(
            scores, smooth, reduction="none"
        )
        return losses / scores.shape[1]

    @staticmethod
    def merge_windows(
        scores: Tensor, text_of_row: Tensor, shares: Tensor, n_texts: int
    ) -> Tensor:
        """Average the probabilities, and return their logits."""
        # The two sides apart: 1 - p would lose what is close to 1.
        log_shares = shares.log()[:, None]
        yes = functional.logsigmoid(scores) + log_shares
        no = functional.logsigmoid(-scores) + log_shares
        return log_sum_by_text(yes, text_of_row, n_texts) - log_sum_by_text(
            no, text_of_row, n_texts
        )

    def score(
        self,
        scores: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        counts: np.ndarray,
    ) -> float:
        """Compute the share of the texts whose labels are all right."""
        is_right = ((scores > 0) == (targets > 0.5)).all(axis=1)
        return float(np.average(is_right, weights=weights.mean(axis=1)))


class RegressionLoss(Objective):
    """Squared error, or Huber's loss, of standardised numbers.

    Parameters
    ----------
    loss : {"squared_error", "huber"}
        Huber (1964): squared up to one standard deviation, linear beyond.
    """

    def __init__(self, loss: str = "squared_error") -> None:
        super().__init__()
        self.loss = loss

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of each row, (n_rows,), of numbers, (n_rows, n_outputs)."""
        if self.loss == "huber":
            losses = functional.huber_loss(scores, targets, reduction="none")
        else:
            losses = functional.mse_loss(scores, targets, reduction="none")
        return losses.mean(1)

    def score(
        self,
        scores: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        counts: np.ndarray,
    ) -> float:
        """Compute the mean R2 of the outputs; of a constant 1 if it is met, else 0."""
        # In float64: near an R2 of 1 squares in float32 are mostly rounding.
        targets = targets.astype(np.float64)
        mean = np.average(targets, axis=0, weights=weights)
        spread = np.average((targets - mean) ** 2, axis=0, weights=weights)
        spread[(targets == targets[0]).all(axis=0)] = 0.0
        error = np.average((targets - scores) ** 2, axis=0, weights=weights)
        constant = np.where(error == 0, 0.0, 1.0)
        share = np.divide(error, spread, out=constant, where=spread > 0)
        return float(1 - share.mean())


class LanguageModelingLoss(Objective):
    """Cross-entropy of hidden or next tokens, and of whether a sentence follows.

    The model computes the losses itself, so that scores of a whole vocabulary need not
    leave it. Devlin et al. (2019, appendix A.2) add the means of the two.

    Parameters
    ----------
    parts : tuple of str
        One name for the loss of tokens, or two with that of next sentences.
    """

    def __init__(self, parts: tuple[str, ...]) -> None:
        super().__init__()
        self.parts = parts

    def validation_scores(self, model: TextModel, inputs: dict[str, Any]) -> Tensor:
        """Compute the log-likelihood of each token, and whether it is the likeliest."""
        assert isinstance(model, LanguageModel)
        return model.token_log_likelihood(**inputs)

    def losses(
        self,
        scores: Scores,
        targets: Tensor,
        weights: Tensor,
        n_targets: int,
        n_rows: int,
    ) -> Tensor:
        """Compute the mean loss of the tokens, and of the pairs where rows are such."""
        token_losses, pair_losses = scores
        found = [token_losses.sum() / max(n_targets, 1)]
        if pair_losses is not None:
            found.append(pair_losses.sum() / n_rows)
        return torch.stack(found)

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Compute losses, (n_tokens,), from log-likelihoods in the first column."""
        return -scores[:, 0]

    def score(
        self,
        scores: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        counts: np.ndarray,
    ) -> float:
        """Compute the mean log-likelihood."""
        return float(np.average(scores[:, 0], weights=weights))


class TokenCrossEntropy(CrossEntropy):
    """Cross-entropy of one tag per word.

    Parameters
    ----------
    score_tags : callable
        From true and predicted codes of all words, and the words of each row, to a
        score.
    """

    def __init__(
        self, score_tags: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    ) -> None:
        super().__init__()
        self.score_tags = score_tags

    def score(
        self,
        scores: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        counts: np.ndarray,
    ) -> float:
        """Compute what `score_tags` does; weights do not count."""
        return self.score_tags(targets, scores.argmax(1), counts)
