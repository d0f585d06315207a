"""How sure a classifier is to be."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)

from sklearn_bert.targets._temperature import (
    HIGHEST,
    HIGHEST_TO_PRIOR,
    LOWEST,
    confidence_to_have,
    information_of,
    information_to_have,
    temperature_of_confidence,
    temperature_of_held_out,
    temperature_of_information,
)


def drawn_labels(logits, temperature, seed=0):
    """Draw labels of which the logits are right at a temperature."""
    rng = np.random.default_rng(seed)
    proba = softmax(logits / temperature, axis=1)
    return np.array([rng.choice(len(p), p=p) for p in proba])


@pytest.mark.parametrize("temperature", [0.7, 1.0, 3.0])
def test_temperature_of_held_out_finds_the_true_one(temperature):
    """Of labels drawn at a temperature, that temperature is found again."""
    logits = np.random.default_rng(1).normal(size=(4000, 3)) * 4
    found = temperature_of_held_out(logits, drawn_labels(logits, temperature))
    assert found == pytest.approx(temperature, rel=0.1)


def test_temperature_of_held_out_has_the_least_log_loss():
    """No temperature of a grid has a lower log loss on the held-out texts."""
    logits = np.random.default_rng(2).normal(size=(50, 4)) * 5
    codes = drawn_labels(logits, 2.0)

    def log_loss(temperature):
        return -log_softmax(logits / temperature, axis=1)[np.arange(50), codes].mean()

    found = temperature_of_held_out(logits, codes)
    grid = np.geomspace(LOWEST, HIGHEST, 200)
    assert log_loss(found) <= min(map(log_loss, grid)) + 1e-6


def test_temperature_of_held_out_is_bounded():
    """Logits that are always right, or always wrong, give the bounds."""
    logits = np.eye(3)[np.arange(60) % 3] * 9
    right, wrong = np.arange(60) % 3, (np.arange(60) + 1) % 3
    assert temperature_of_held_out(logits, right) == pytest.approx(LOWEST, rel=1e-3)
    assert temperature_of_held_out(logits, wrong) == pytest.approx(HIGHEST, rel=1e-3)


@pytest.mark.parametrize("temperature", [0.7, 3.0])
def test_temperature_to_a_prior_finds_the_true_one(temperature):
    """Of labels drawn between the prior and the logits, that place is found again."""
    logits = np.random.default_rng(1).normal(size=(4000, 3)) * 4
    prior = np.log([0.7, 0.2, 0.1])
    codes = drawn_labels(prior + (logits - prior) / temperature, 1.0)
    found = temperature_of_held_out(logits, codes, prior)
    assert found == pytest.approx(temperature, rel=0.1)


@pytest.mark.parametrize("confidence", [0.6, 0.8, 0.95])
def test_temperature_of_confidence_makes_a_model_so_sure(confidence):
    """At the temperature found, the mean top probability is the one asked for."""
    logits = np.random.default_rng(3).normal(size=(80, 3)) * 8
    found = temperature_of_confidence(logits, confidence)
    mean = softmax(logits / found, axis=1).max(axis=1).mean()
    assert mean == pytest.approx(confidence, abs=1e-4)


@pytest.mark.parametrize(("spread", "low", "high"), [(0.0, 0.5, 0.8), (6.0, 0.97, 1.0)])
def test_confidence_follows_what_vectors_tell(spread, low, high):
    """It is low where vectors tell nothing of the classes, high where they tell all."""
    rng = np.random.default_rng(4)
    codes = np.arange(200) % 2
    vectors = rng.normal(size=(200, 16))
    vectors[:, 0] += spread * codes
    assert low <= confidence_to_have(vectors, codes, seed=0) <= high


def test_confidence_in_a_head_that_learns_alone_is_less():
    """Of the errors of a regression that is right 3 of 4 times it keeps more."""
    rng = np.random.default_rng(8)
    codes = np.arange(400) % 2
    vectors = rng.normal(size=(400, 4))
    vectors[:, 0] += 1.4 * codes
    vectors *= 2 / np.linalg.norm(vectors, axis=1, keepdims=True)  # sqrt(width)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    probe = LogisticRegression(C=10)
    accuracy = cross_val_score(probe, vectors / 2, codes, cv=folds).mean()
    skill = (400 * (2 * accuracy - 1) + 16 * 0.3) / 416
    alone = confidence_to_have(vectors, codes, seed=0, learns=False)
    assert alone == pytest.approx(1 - (1 - skill) ** 1.5 / 2, abs=0.02)
    whole = confidence_to_have(vectors, codes, seed=0)
    assert whole == pytest.approx(1 - (1 - skill) ** 4 / 2, abs=0.02)
    assert 0.7 < accuracy < 0.8 < alone < whole - 0.05


def test_confidence_of_a_frequent_class_is_its_share_at_least():
    """Who knows nothing but that nine of ten are spam is nine tenths sure."""
    vectors = np.random.default_rng(5).normal(size=(300, 16))
    codes = (np.arange(300) % 10 == 0).astype(int)
    assert 0.9 <= confidence_to_have(vectors, codes, seed=0) <= 0.95


def test_confidence_in_few_texts_is_held_back():
    """Of 20 texts that tell all, luck may be the reason; of 200 it is not."""
    rng = np.random.default_rng(5)
    codes = np.arange(200) % 2
    vectors = rng.normal(size=(200, 16))
    vectors[:, 0] += 12 * codes
    few = confidence_to_have(vectors[:20], codes[:20], seed=0)
    assert 0.98 < few < 0.997 < confidence_to_have(vectors, codes, seed=0)


def test_confidence_does_without_classes_of_one_text():
    """Classes of one text each cannot be cross-validated: what is usual is taken."""
    vectors = np.random.default_rng(6).normal(size=(4, 16))
    assert 0.7 < confidence_to_have(vectors, np.arange(4), seed=0) < 0.8


@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
def test_temperature_of_information_leaves_so_much(share):
    """The mean divergence from the prior is the share of the prior's entropy."""
    rng = np.random.default_rng(7)
    logits, weights = rng.normal(size=(80, 3)) * 6, rng.uniform(0.5, 2, 80)
    shares = np.array([0.5, 0.3, 0.2])
    prior = np.log(shares)
    found = temperature_of_information(logits, weights, prior, share)
    proba = softmax(prior + (logits - prior) / found, axis=1)
    gained = [float(p @ np.log(p / shares)) for p in proba]
    expected = share * -float(shares @ prior)
    assert np.average(gained, weights=weights) == pytest.approx(expected, rel=1e-4)


def test_temperature_of_no_information_is_bounded():
    """Who can know nothing still may not give all texts to the most frequent class."""
    logits, prior = np.random.default_rng(8).normal(size=(40, 2)), np.log([0.6, 0.4])
    found = temperature_of_information(logits, np.ones(40), prior, 0.0)
    assert found == pytest.approx(HIGHEST_TO_PRIOR, rel=1e-6)


@pytest.mark.parametrize("n_texts", [20, 200])
@pytest.mark.parametrize(("spread", "low", "high"), [(0.0, 0.0, 0.3), (9.0, 0.9, 1.0)])
def test_information_follows_what_vectors_tell(n_texts, spread, low, high):
    """It is low where vectors tell nothing of the classes, high where they tell all."""
    rng = np.random.default_rng(9)
    codes = (np.arange(n_texts) % 3 == 0).astype(int)
    vectors = rng.normal(size=(n_texts, 16))
    vectors[:, 0] += spread * codes
    assert low <= information_to_have(vectors, codes, seed=0) <= high


@pytest.mark.parametrize("codes", [[0, 1, 2, 3], [0, 0, 0, 1]])
def test_information_does_without_classes_of_one_text(codes):
    """Where fewer than two classes have two texts, what is usual is taken."""
    vectors = np.random.default_rng(6).normal(size=(4, 16))
    assert 0.7 < information_to_have(vectors, np.array(codes), seed=0) < 0.8


def test_information_does_without_some_classes():
    """A class of one text is left out, whatever its number."""
    rng = np.random.default_rng(10)
    codes = np.array([0, 2] * 20 + [1, 3])
    vectors = rng.normal(size=(42, 16))
    vectors[:, 0] += 9 * (codes == 2)
    found = information_to_have(vectors, codes, seed=0)
    without = information_to_have(vectors[:40], codes[:40], seed=0)
    assert found == pytest.approx(without, abs=0.05)
    assert found > 0.9


def test_information_of_is_mcfaddens_r2():
    """It is 1 less the ratio of both log losses; that of luck is close to 0."""
    rng = np.random.default_rng(11)
    codes = np.arange(300) % 2
    vectors = rng.normal(size=(300, 1)) + 2.0 * codes[:, None]
    proba = cross_val_predict(
        LogisticRegression(C=10),
        vectors,
        codes,
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
        method="predict_proba",
    )
    expected = 1 - log_loss(codes, proba) / np.log(2)
    assert expected > 0.3
    found = information_of(vectors, codes, seed=0)
    assert found == pytest.approx(expected, abs=0.01)
    nothing = information_of(rng.normal(size=(300, 1)), codes, seed=0)
    assert abs(nothing) < 0.02
    assert information_of(vectors[:3], codes[:3], seed=0) is None
