"""What vectors of texts learn: to be near those of like texts, and far from others.

Every example has two views, which are rows of a table: the same text twice, two texts
of a class, or a pair. Vectors are compared by their cosine, within a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sklearn_bert.training._losses import CrossEntropy, Objective, Scores


class Contrast(Objective):
    """Base of the objectives that compare the examples of a batch.

    Parameters
    ----------
    temperature : float
        What cosines are divided by.
    """

    n_views = 2
    compares = True

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    @staticmethod
    def merge_windows(
        scores: Tensor, text_of_row: Tensor, shares: Tensor, n_texts: int
    ) -> Tensor:
        """Put the two vectors of each example side by side: (n_examples, 2 * width)."""
        return scores.reshape(n_texts, -1)

    def cosines(self, first: Tensor, second: Tensor) -> Tensor:
        """Compare all first with all second views, over the temperature: (n, n)."""
        unit = functional.normalize
        return unit(first) @ unit(second).T / self.temperature


class MultipleNegativesRanking(Contrast):
    """The second view of an example is to be found among those of all examples.

    With the same text twice, under two draws of dropout: T. Gao, X. Yao, D. Chen,
    "SimCSE: Simple Contrastive Learning of Sentence Embeddings", EMNLP 2021, equation
    4. With pairs: M. Henderson et al., "Efficient Natural Language Response Suggestion
    for Smart Reply", 2017, section 4.4 (multiple negatives).
    """

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of each example, (n,), from numbers of texts, (n, 2).

        The second view of another example is no wrong answer where the two examples
        share a view, or it is the text that is asked for.
        """
        first, second = scores.chunk(2, dim=1)
        cosines = self.cosines(first, second)
        # Two examples are alike where a first view, or a second, is the same text.
        same = (targets[:, None] == targets[None]).any(2)
        same |= targets[:, :1] == targets[:, 1]
        same.fill_diagonal_(False)
        cosines = cosines.masked_fill(same, -torch.inf)
        right = torch.arange(len(cosines), device=cosines.device)
        return functional.cross_entropy(cosines, right, reduction="none")


class SupervisedContrastive(Contrast):
    """The views of a class are to be near each other and far from all others.

    P. Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, equation 2.
    """

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of each example, (n,), from the codes of classes, (n,)."""
        views = torch.cat(scores.chunk(2, dim=1))
        losses = supervised_contrast(self.cosines(views, views), targets.repeat(2))
        return losses.view(2, -1).mean(0)


class ContrastiveCrossEntropy(CrossEntropy):
    """Cross-entropy of the scores, and the contrast of the vectors behind them.

    All pairs of the texts that pass through the model together are compared. B. Gunel
    et al., "Supervised Contrastive Learning for Pre-trained Language Model
    Fine-tuning", ICLR 2021, equation 1, over 1 - lambda.

    Parameters
    ----------
    n_classes : int
    label_smoothing : float
        Of the cross-entropy.
    contrast_weight : float
        Of the contrast, where the cross-entropy has 1: lambda / (1 - lambda).
    temperature : float
        What cosines are divided by.
    """

    takes_vectors = True
    compares = True

    def __init__(
        self,
        n_classes: int,
        label_smoothing: float = 0.0,
        contrast_weight: float = 1.0,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(label_smoothing)
        self.n_classes = n_classes
        self.contrast_weight = contrast_weight
        self.temperature = temperature

    def losses(
        self,
        scores: Scores,
        targets: Tensor,
        weights: Tensor,
        n_targets: int,
        n_rows: int,
    ) -> Tensor:
        """Compute the share of some rows in the weighted sum of both mean losses."""
        assert isinstance(scores, Tensor)
        # Behind the texts there may be one of padding.
        outputs = scores[: len(targets)]
        vectors = functional.normalize(outputs[:, self.n_classes :])
        losses = self(outputs[:, : self.n_classes], targets)
        losses = losses + self.contrast_weight * supervised_contrast(
            vectors @ vectors.T / self.temperature, targets
        )
        return (losses * weights).sum() / n_targets


def supervised_contrast(similarities: Tensor, codes: Tensor) -> Tensor:
    """Compute how far each row is from preferring those of its class: (n_rows,).

    P. Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, equation 2. It is
    0 for a row that is alone of its class.

    Parameters
    ----------
    similarities : Tensor of shape (n_rows, n_rows)
        Cosines over the temperature. The diagonal does not count.
    codes : Tensor of shape (n_rows,)
        The class of each row.
    """
    is_self = torch.eye(len(codes), dtype=torch.bool, device=codes.device)
    like = (codes[:, None] == codes[None]) & ~is_self
    logs = similarities.masked_fill(is_self, -torch.inf).log_softmax(1)
    # A loss of nothing, and not 0 / 0, where a row has nobody of its class.
    return -logs.masked_fill(~like, 0.0).sum(1) / like.sum(1).clamp(min=1)


class CoSENT(Contrast):
    """Of two pairs, the one with the higher score is to have the higher cosine.

    J. Su, "CoSENT", 2022; X. Li, J. Li, "AnglE-optimized Text Embeddings", ACL 2024,
    equation 4. Only the order of the scores counts, and not their scale.
    """

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Compute a share of the batch's loss for each pair, (n,), of scores, (n,)."""
        first, second = scores.chunk(2, dim=1)
        cosines = functional.cosine_similarity(first, second) / self.temperature
        gaps = cosines[:, None] - cosines[None]
        is_lower = targets[:, None] < targets[None]
        # Only pairs in the wrong order count: exp(-inf) adds nothing to the sum.
        gaps = gaps.masked_fill(~is_lower, -torch.inf).flatten()
        loss = torch.logsumexp(torch.cat([gaps.new_zeros(1), gaps]), 0)
        return loss.expand(len(cosines))
