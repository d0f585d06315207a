"""Whitening: the linear map after which entries of vectors do not correlate."""

from __future__ import annotations

import numpy as np
from sklearn.utils.extmath import svd_flip

VECTORS_AT_ONCE = 2**14  # in float64


class Moments:
    """The number of vectors, their mean and their scatter matrix, as they come.

    T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for Computing the Sample
    Variance", The American Statistician, 1983, eq. 2.1, with matrices.

    Attributes
    ----------
    n : int
    mean : ndarray of shape (width,), float64
    scatter : ndarray of shape (width, width), float64
        The sum over the vectors of the outer product of what differs from the mean.
    """

    def __init__(self) -> None:
        self.n = 0
        self.mean = self.scatter = np.zeros(())

    def add(self, vectors: np.ndarray) -> None:
        """Add vectors, (n_vectors, width)."""
        for begin in range(0, len(vectors), VECTORS_AT_ONCE):
            # In float64: eigenvalues of a covariance lose half of the digits.
            part = vectors[begin : begin + VECTORS_AT_ONCE].astype(np.float64)
            mean = part.mean(axis=0)
            centred = part - mean
            n_before, self.n = self.n, self.n + len(part)
            step = mean - self.mean
            between = np.outer(step, step) * (n_before * len(part) / self.n)
            self.scatter = self.scatter + centred.T @ centred + between
            self.mean = self.mean + step * (len(part) / self.n)


def whitening(
    moments: Moments, n_components: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the linear map that whitens vectors: (n_components, width), and its bias.

    It is that of scikit-learn's `PCA(whiten=True)`, signs included. Directions whose
    deviation is no more than what float32 rounds off are mapped to 0: divided by it,
    noise would be as loud as what the vectors mean.
    """
    width = len(moments.mean)
    variances, directions = np.linalg.eigh(moments.scatter / (moments.n - 1))
    # The largest first; rounding leaves some a little below 0.
    deviations = np.sqrt(variances[::-1].clip(min=0))[:n_components]
    _, directions = svd_flip(None, directions.T[::-1], u_based_decision=False)
    mean_square = moments.scatter.trace() / moments.n + moments.mean @ moments.mean
    noise = np.sqrt(width * mean_square) * np.finfo(np.float32).eps
    factors = np.divide(
        1, deviations, where=deviations > noise, out=np.zeros(len(deviations))
    )
    weight = directions[:n_components] * factors[:, None]
    return weight.astype(np.float32), (-weight @ moments.mean).astype(np.float32)
