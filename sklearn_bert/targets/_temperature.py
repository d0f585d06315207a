"""How sure a classifier is to be: a temperature that its logits are divided by.

C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks",
ICML 2017, section 4.2.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from sklearn_bert.targets._probe import STRENGTH

# From nearly certain to nearly undecided; a temperature of a usable model lies between.
LOWEST, HIGHEST = 0.3, 20.0
# Held-out texts that are enough to fit one number to.
ENOUGH_TEXTS = 32
# Texts that the probe's skill is measured on, and those that the prior counts for.
MOST_TEXTS = 500
PRIOR_SKILL, PRIOR_TEXTS = 0.3, 16
# How much more fine-tuning knows than the probe. Of 40 fits on six sets of 16 to 1,000
# texts, this power brought the mean log loss from 0.65 to 0.53; the temperatures that
# are best on the test texts bring 0.48.
POWER = 4


def temperature_of_held_out(logits: np.ndarray, codes: np.ndarray) -> float:
    """Fit the temperature to texts that were not trained on, by their log loss.

    Parameters
    ----------
    logits : ndarray of shape (n_texts, n_classes)
    codes : ndarray of shape (n_texts,)
    """
    rows = np.arange(len(codes))

    def log_loss(log_temperature: float) -> float:
        logs = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-logs[rows, codes].mean())

    bounds = (np.log(LOWEST), np.log(HIGHEST))
    return float(np.exp(minimize_scalar(log_loss, bounds=bounds, method="bounded").x))


def temperature_of_confidence(logits: np.ndarray, confidence: float) -> float:
    """Find the temperature at which the mean probability of the predicted class is so.

    Parameters
    ----------
    logits : ndarray of shape (n_texts, n_classes)
    confidence : float
    """
    logits = logits.astype(np.float64)
    low, high = np.log(LOWEST), np.log(HIGHEST)
    for _ in range(30):  # the confidence falls as the temperature rises
        middle = (low + high) / 2
        if softmax(logits / np.exp(middle), axis=1).max(axis=1).mean() > confidence:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def confidence_to_have(vectors: np.ndarray, codes: np.ndarray, seed: int) -> float:
    """Say how sure a model may be of the texts that it has learned.

    A probe of the unchanged vectors tells, on texts that it has not seen, how far the
    classes can be told apart at all: its skill s is the share that it avoids of the
    errors of "always the most frequent class". Fine-tuning makes 1 - (1 - s)^4 of it.

    Parameters
    ----------
    vectors : ndarray of shape (n_texts, width)
        As the head gets them, before any training.
    codes : ndarray of shape (n_texts,)
    seed : int
        Of the choice of texts, and of the folds.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(codes))[:MOST_TEXTS]
    # A class of one text cannot be learned and tested.
    counts = np.bincount(codes[rows])
    rows = rows[counts[codes[rows]] > 1]
    counts = np.bincount(codes[rows])
    present = counts[counts > 0]
    n_texts = len(rows)
    if len(present) < 2:
        return 1 - (1 - PRIOR_SKILL) ** POWER
    folds = StratifiedKFold(
        min(5, int(present.min())), shuffle=True, random_state=seed % 2**32
    )
    model = LogisticRegression(C=STRENGTH, tol=1e-3, max_iter=1_000)
    X = vectors[rows] / np.sqrt(vectors.shape[1])
    found = cross_val_predict(model, X, codes[rows], cv=folds)
    accuracy, chance = float((found == codes[rows]).mean()), present.max() / n_texts
    skill = max(0.0, (accuracy - chance) / (1 - chance)) if chance < 1 else 0.0
    # Of few texts the accuracy is mostly luck.
    skill = (n_texts * skill + PRIOR_TEXTS * PRIOR_SKILL) / (n_texts + PRIOR_TEXTS)
    return float(chance + (1 - chance) * (1 - (1 - skill) ** POWER))
