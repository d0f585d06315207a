"""How sure a classifier is to be: a temperature that its logits are divided by.

C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks",
ICML 2017, section 4.2.

Without texts to fit it to, it is guessed from a cross-validated probe of the unchanged
vectors, which tells how far the classes can be told apart at all. Fine-tuning knows
more: of a share s that the probe avoids, of errors or of uncertainty, it makes
1 - (1 - s)^4. By errors (`confidence_to_have`), this power brought the mean log loss of
40 fits on six sets of 16 to 1,000 texts from 0.65 to 0.53; the temperatures that are
best on the test texts bring 0.48. By uncertainty (`information_to_have`), it was the
best of the second, third and fourth power on 18 fits of 16 to 50 texts of six sets
(with 30 updates, and the contrast at weight 1). A head that learns alone knows little
more than the probe: of 24 fits of 300 and 1,000 texts of six sets the mean log loss was
0.51 with the power 1.5, 0.52 with 1 and with 2, and 0.66 with 4.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from sklearn_bert.targets._probe import STRENGTH

# From nearly certain to nearly undecided; a temperature of a usable model lies between.
LOWEST, HIGHEST = 0.3, 20.0
# A regression that is fitted to few texts is too sure of them, never too modest. But in
# a small sample some class is more frequent by chance: a temperature that leads to the
# prior has to end where not every text would be of that class.
LOWEST_TO_PRIOR, HIGHEST_TO_PRIOR = 1.0, 5.0
# Held-out texts that are enough to fit one number to.
ENOUGH_TEXTS = 32
# Texts that the probe's skill is measured on. Where luck in dividing fewer of them
# would count, they are divided again until there are so many predictions.
MOST_TEXTS, LEAST_PREDICTIONS = 500, 250
PRIOR_SKILL, PRIOR_TEXTS = 0.3, 16
POWER, HEAD_POWER = 4, 1.5


def temperature_of_held_out(
    logits: np.ndarray, codes: np.ndarray, prior: np.ndarray | float = 0.0
) -> float:
    """Fit the temperature to texts that were not trained on, by their log loss.

    Parameters
    ----------
    logits : ndarray of shape (n_texts, n_classes)
    codes : ndarray of shape (n_texts,)
    prior : ndarray of shape (n_classes,), or 0.0
        Logits that a high temperature leads to.
    """

    def log_loss(log_temperature: float) -> float:
        return _log_loss(prior + (logits - prior) / np.exp(log_temperature), codes)

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

    def is_surer(temperature: float) -> bool:
        return softmax(logits / temperature, axis=1).max(axis=1).mean() > confidence

    return _lowest_that_is_not(is_surer, LOWEST, HIGHEST)


def temperature_of_information(
    logits: np.ndarray, weights: np.ndarray, prior: np.ndarray, share: float
) -> float:
    """Find the temperature at which a model resolves so much of the uncertainty.

    A high one leads to the prior, where nothing is known of a text; the information is
    the mean Kullback-Leibler divergence of the probabilities from the prior.

    Parameters
    ----------
    logits : ndarray of shape (n_texts, n_classes)
    weights : ndarray of shape (n_texts,)
    prior : ndarray of shape (n_classes,)
        Logarithms of the shares of the classes.
    share : float
        Of the entropy of the prior.
    """
    enough = -share * float(np.exp(prior) @ prior)

    def knows_more(temperature: float) -> bool:
        logs = log_softmax(prior + (logits - prior) / temperature, axis=1)
        gained = (np.exp(logs) * (logs - prior)).sum(axis=1)
        return np.average(gained, weights=weights) > enough

    return _lowest_that_is_not(knows_more, LOWEST_TO_PRIOR, HIGHEST_TO_PRIOR)


def confidence_to_have(
    vectors: np.ndarray, codes: np.ndarray, seed: int, *, learns: bool = True
) -> float:
    """Say how sure a model may be of the texts that it has learned.

    The probe's skill is the share that it avoids of the errors of "always the most
    frequent class".

    Parameters
    ----------
    vectors : ndarray of shape (n_texts, width)
        As the head gets them, before any training.
    codes : ndarray of shape (n_texts,)
    seed : int
        Of the choice of texts, and of the folds.
    learns : bool
        Whether the vectors change in the training; False: the head learns alone.
    """
    power = POWER if learns else HEAD_POWER
    found = _unseen(vectors, codes, seed)
    if found is None:
        return _after_training(PRIOR_SKILL, power)
    logs, codes = found
    n_texts = len(codes)
    chance = float(np.bincount(codes).max() / len(codes))
    accuracy = float((logs.argmax(axis=1) == codes).mean())
    skill = max(0.0, (accuracy - chance) / (1 - chance))
    # Of few texts the accuracy is mostly luck.
    skill = (n_texts * skill + PRIOR_TEXTS * PRIOR_SKILL) / (n_texts + PRIOR_TEXTS)
    return chance + (1 - chance) * _after_training(skill, power)


def information_to_have(vectors: np.ndarray, codes: np.ndarray, seed: int) -> float:
    """Say what share of the uncertainty about the classes a model may resolve.

    That of the probe is by how much it lowers the log loss of the shares of the
    classes, once it is as sure as it should be (D. McFadden's R2, 1974). Every text
    counts once.

    Parameters
    ----------
    vectors, codes, seed
        As in `confidence_to_have`.
    """
    found = information_of(vectors, codes, seed)
    share = PRIOR_SKILL if found is None else max(0.0, found)
    return _after_training(share)


def information_of(vectors: np.ndarray, codes: np.ndarray, seed: int) -> float | None:
    """Say what share of the uncertainty about the classes a probe resolves.

    Parameters
    ----------
    vectors, codes, seed
        As in `confidence_to_have`.

    Returns
    -------
    float or None
        D. McFadden's R2 (1974) of cross-validated probes, once they are as sure as they
        should be. None: there are too few texts.
    """
    found = _unseen(vectors, codes, seed, LEAST_PREDICTIONS)
    if found is None:
        return None
    logs, codes = found
    shares = np.bincount(codes) / len(codes)
    prior = np.log(shares)
    temperature = temperature_of_held_out(logs, codes, prior)
    entropy = -float(shares @ prior)
    known = entropy - _log_loss(prior + (logs - prior) / temperature, codes)
    return known / entropy


def _after_training(skill: float, power: float = POWER) -> float:
    """Return the share that a training avoids, from the share that a probe avoids."""
    return 1 - (1 - skill) ** power


def _unseen(
    vectors: np.ndarray, codes: np.ndarray, seed: int, least: int = 1
) -> tuple[np.ndarray, np.ndarray] | None:
    """Cross-validate probes, until there are `least` predictions; None: too few texts.

    Returns
    -------
    logs : ndarray of shape (n_predictions, n_found)
        Logarithms of probabilities, of the classes that have two texts or more.
    codes : ndarray of shape (n_predictions,)
        Numbers of these classes, which were to be predicted.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(codes))[:MOST_TEXTS]
    # A class of one text cannot be learned and tested.
    rows = rows[np.bincount(codes[rows])[codes[rows]] > 1]
    found, codes = np.unique(codes[rows], return_inverse=True)
    if len(found) < 2:
        return None
    X = vectors[rows] / np.sqrt(vectors.shape[1])
    n_folds = min(5, int(np.bincount(codes).min()))
    n_repeats = -(-least // len(rows))
    logs = []
    for repeat in range(n_repeats):
        logs.append(
            cross_val_predict(
                LogisticRegression(C=STRENGTH, tol=1e-3, max_iter=1_000),
                X,
                codes,
                cv=StratifiedKFold(
                    n_folds, shuffle=True, random_state=(seed + repeat) % 2**32
                ),
                method="predict_log_proba",
            )
        )
    return np.concatenate(logs), np.tile(codes, n_repeats)


def _log_loss(logits: np.ndarray, codes: np.ndarray) -> float:
    """Compute the mean log loss of the classes that texts have."""
    logs = log_softmax(logits, axis=1)
    return -float(logs[np.arange(len(codes)), codes].mean())


def _lowest_that_is_not(
    is_so: Callable[[float], bool], lowest: float, highest: float
) -> float:
    """Search the lowest temperature of which something, true of low ones, is not."""
    low, high = np.log(lowest), np.log(highest)
    for _ in range(30):
        middle = (low + high) / 2
        if is_so(float(np.exp(middle))):
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))
