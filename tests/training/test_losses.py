"""Losses, sums over windows and scores, held against NumPy and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, r2_score

from sklearn_bert.training._losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Objective,
    RegressionLoss,
    TokenCrossEntropy,
)

lenient = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

N = 9
RNG = np.random.default_rng(0)
SCORES = RNG.normal(0, 3, (N, 4)).astype(np.float32)
CODES = RNG.integers(0, 4, N)
FLAGS = RNG.integers(0, 2, (N, 4)).astype(np.float32)
NUMBERS = RNG.normal(0, 2, (N, 4)).astype(np.float32)
WEIGHTS = RNG.uniform(0, 3, N).astype(np.float32)
ONES = np.ones(N, dtype=np.int64)


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def sigmoid(scores):
    return 1 / (1 + np.exp(-scores))


def losses_of(objective, scores, targets):
    return objective(torch.from_numpy(scores), torch.from_numpy(targets)).numpy()


# -- losses ------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_one_label_is_cross_entropy(smoothing):
    """The negative logarithm of what the softmax gives the class, perhaps smoothed."""
    targets = np.eye(4)[CODES] * (1 - smoothing) + smoothing / 4
    expected = -(targets * np.log(softmax(SCORES.astype(np.float64)))).sum(axis=1)
    found = losses_of(CrossEntropy(smoothing), SCORES, CODES)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_many_labels_is_binary_cross_entropy(smoothing):
    """The entries of a row add up to the mean of its labels' cross-entropies."""
    targets = np.abs(FLAGS - smoothing / 2)
    yes = sigmoid(SCORES.astype(np.float64))
    each = -(targets * np.log(yes) + (1 - targets) * np.log(1 - yes))
    found = losses_of(BinaryCrossEntropy(smoothing), SCORES, FLAGS)
    assert found.shape == (N, 4)
    np.testing.assert_allclose(found.sum(axis=1), each.mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(found, each / 4, rtol=1e-4, atol=1e-6)


def test_numbers_are_squared_errors():
    """The mean squared error over the outputs of a row."""
    expected = ((SCORES.astype(np.float64) - NUMBERS) ** 2).mean(axis=1)
    np.testing.assert_allclose(
        losses_of(RegressionLoss(), SCORES, NUMBERS), expected, 1e-5
    )


def test_numbers_by_huber():
    """Half the square up to 1, then a line that goes on at the same slope."""
    error = np.abs(SCORES.astype(np.float64) - NUMBERS)
    expected = np.where(error < 1, error**2 / 2, error - 0.5).mean(axis=1)
    found = losses_of(RegressionLoss("huber"), SCORES, NUMBERS)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_word_tags_are_one_label_each():
    """The loss of a word is the cross-entropy of its tag."""
    found = losses_of(TokenCrossEntropy(lambda *_: 0.0), SCORES, CODES)
    np.testing.assert_array_equal(found, losses_of(CrossEntropy(), SCORES, CODES))


def test_the_base_learns_nothing():
    """An objective without a loss or a score says so."""
    with pytest.raises(NotImplementedError):
        Objective()(torch.zeros(1, 1), torch.zeros(1))
    with pytest.raises(NotImplementedError):
        Objective().score(SCORES, CODES, WEIGHTS, ONES)


# -- windows -----------------------------------------------------------------------


@st.composite
def windows(draw):
    """Scores of windows, their texts in any order, and shares that add up to 1."""
    counts = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    text_of_row = np.repeat(np.arange(len(counts)), counts)
    n = len(text_of_row)
    raw = draw(arrays(np.float64, n, elements=st.floats(0.1, 1)))
    shares = raw / np.bincount(text_of_row, raw)[text_of_row]
    width = draw(st.integers(1, 4))
    elements = st.floats(-20, 20, width=32)
    scores = draw(arrays(np.float32, (n, width), elements=elements))
    order = np.array(draw(st.permutations(range(n))))
    return scores[order], text_of_row[order], shares[order], len(counts)


def merged(objective, scores, text_of_row, shares, n_texts):
    return objective.merge_windows(
        torch.from_numpy(scores),
        torch.from_numpy(text_of_row),
        torch.from_numpy(shares.astype(np.float32)),
        n_texts,
    ).numpy()


def averages(values, text_of_row, shares, n_texts):
    """The weighted average over the windows of each text, in float64."""
    return np.array(
        [
            (values[text_of_row == text] * shares[text_of_row == text, None]).sum(
                axis=0
            )
            for text in range(n_texts)
        ]
    )


@lenient
@given(windows())
def test_one_label_averages_probabilities(drawn):
    """The probabilities of a text are its windows', averaged by their shares."""
    scores, *rest = drawn
    expected = averages(softmax(scores.astype(np.float64)), *rest)
    found = softmax(merged(CrossEntropy, *drawn).astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@lenient
@given(windows())
def test_many_labels_average_probabilities(drawn):
    """The same label by label, and what is close to 0 or to 1 is as exact."""
    scores, *rest = drawn
    found = merged(BinaryCrossEntropy, *drawn).astype(np.float64)
    for sign in (1, -1):
        expected = averages(sigmoid(sign * scores.astype(np.float64)), *rest)
        np.testing.assert_allclose(sigmoid(sign * found), expected, rtol=1e-4)


@lenient
@given(windows())
def test_numbers_are_averaged(drawn):
    """The number of a text is its windows', averaged by their shares."""
    scores, *rest = drawn
    for objective in (RegressionLoss, Objective):
        found = merged(objective, *drawn)
        expected = averages(scores.astype(np.float64), *rest)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("objective", "probabilities"),
    [
        (CrossEntropy, softmax),
        (BinaryCrossEntropy, sigmoid),
        (RegressionLoss, np.asarray),
    ],
)
def test_one_window_is_the_text(objective, probabilities):
    """Where each text is a window, its probabilities, loss and gradient are those."""
    rows, shares = torch.arange(N), torch.ones(N)
    targets = {CrossEntropy: CODES, BinaryCrossEntropy: FLAGS, RegressionLoss: NUMBERS}[
        objective
    ]
    plain = torch.from_numpy(SCORES.copy()).requires_grad_()
    read = torch.from_numpy(SCORES.copy()).requires_grad_()
    found = objective.merge_windows(read, rows, shares, N)
    np.testing.assert_allclose(
        probabilities(found.detach().numpy()), probabilities(SCORES), rtol=1e-5
    )
    losses = [objective()(s, torch.from_numpy(targets)) for s in (found, plain)]
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-6)
    for loss in losses:
        loss.sum().backward()
    torch.testing.assert_close(read.grad, plain.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [20.0, 42.0, 43.0, 86.0, 100.0, 1e4, 1e30])
@pytest.mark.parametrize("weight", [1.0, 1e-3, 1e3])
@pytest.mark.parametrize("objective", [CrossEntropy, BinaryCrossEntropy])
def test_extreme_scores_stay_finite(objective, weight, size):
    """Neither losses nor gradients overflow, whatever the answer and its weight."""
    scores = [[size, -size], [-size, size], [size, 0], [-size, 0], [0, 0], [size, size]]
    scores = torch.tensor(scores, requires_grad=True)
    for rows in (torch.arange(6), torch.tensor([0, 0, 1, 1, 2, 2])):
        n_texts = int(rows.max()) + 1
        shares = 1 / torch.bincount(rows).float()[rows]
        merged = objective.merge_windows(scores, rows, shares, n_texts)
        assert merged.isfinite().all()
        for wrong in (0, 1):
            targets = torch.full((n_texts,), wrong)
            if objective is BinaryCrossEntropy:
                targets = torch.eye(2)[targets]
            losses = objective()(merged, targets) * weight
            (gradient,) = torch.autograd.grad(losses.sum(), scores, retain_graph=True)
            assert losses.isfinite().all()
            assert gradient.isfinite().all()


@pytest.mark.parametrize("size", [20.0, 60.0, 200.0])
@pytest.mark.parametrize("objective", [CrossEntropy, BinaryCrossEntropy])
def test_what_is_surely_wrong_can_be_unlearnt(objective, size):
    """However sure windows are of the wrong answer, the gradient leads out of it."""
    scores = torch.tensor([[-size, size], [-size, size]], requires_grad=True)
    merged = objective.merge_windows(
        scores, torch.zeros(2).long(), torch.ones(2) / 2, 1
    )
    targets = torch.tensor([0])
    if objective is BinaryCrossEntropy:
        targets = torch.tensor([[1.0, 0.0]])
    objective()(merged, targets).sum().backward()
    assert (scores.grad[:, 0] < 0).all()
    assert (scores.grad[:, 1] > 0).all()


def test_gradients_of_averages():
    """The gradient through the averages is that of the plain formula in float64."""
    rows = torch.tensor([0, 0, 0, 1, 2, 2, 1, 2, 2])
    shares = torch.from_numpy(RNG.uniform(0.1, 1, N))
    shares = shares / torch.zeros(3).double().index_add(0, rows, shares)[rows]
    codes = torch.tensor([1, 0, 3])
    ours = torch.from_numpy(SCORES).requires_grad_()
    CrossEntropy()(
        CrossEntropy.merge_windows(ours, rows, shares.float(), 3), codes
    ).sum().backward()
    plain = torch.from_numpy(SCORES).double().requires_grad_()
    chances = plain.exp() / plain.exp().sum(1, keepdim=True)
    for text, code in enumerate(codes.tolist()):
        mine = rows == text
        (-(chances[mine, code] * shares[mine]).sum().log()).backward(retain_graph=True)
    torch.testing.assert_close(ours.grad.double(), plain.grad, rtol=1e-4, atol=1e-6)


# -- scores ------------------------------------------------------------------------

weights = st.one_of(
    st.just(np.ones(6, np.float32)),
    arrays(np.float32, 6, elements=st.floats(0.125, 8, width=32)),
)
few_numbers = st.sampled_from([-1.5, -1.0, -0.25, 0.0, 0.5, 1.0, 2.0])


@lenient
@given(
    arrays(np.float32, (6, 3), elements=few_numbers),
    arrays(np.int64, 6, elements=st.integers(0, 2)),
    weights,
)
def test_the_score_of_one_label_is_accuracy(scores, codes, weights):
    """As scikit-learn's, with sample weights."""
    expected = accuracy_score(codes, scores.argmax(axis=1), sample_weight=weights)
    found = CrossEntropy().score(scores, codes, weights, np.ones(6))
    assert found == pytest.approx(expected, rel=1e-6)


@lenient
@given(
    arrays(np.float32, (6, 3), elements=few_numbers),
    arrays(np.float32, (6, 3), elements=st.sampled_from([0.0, 1.0])),
    weights,
)
def test_the_score_of_many_labels_is_subset_accuracy(scores, flags, weights):
    """As scikit-learn's accuracy of indicators, with sample weights."""
    expected = accuracy_score(
        flags.astype(int), (sigmoid(scores) > 0.5).astype(int), sample_weight=weights
    )
    wide = np.repeat(weights[:, None], 3, axis=1)
    found = BinaryCrossEntropy().score(scores, flags, wide, np.ones(6))
    assert found == pytest.approx(expected, rel=1e-6)


@lenient
@given(
    arrays(np.float32, (6, 2), elements=few_numbers),
    arrays(np.float32, (6, 2), elements=few_numbers),
    weights,
)
def test_the_score_of_numbers_is_r2(scores, numbers, weights):
    """As scikit-learn's, with sample weights, the mean over the outputs."""
    expected = r2_score(
        numbers.astype(np.float64),
        scores.astype(np.float64),
        sample_weight=weights.astype(np.float64),
    )
    found = RegressionLoss().score(scores, numbers, weights, np.ones(6))
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.5, -2.0])
@pytest.mark.parametrize("n_texts", [1, 7, 1000])
def test_r2_of_a_constant(value, n_texts):
    """Where all targets are one number: 1 if it is met exactly, else 0."""
    numbers = np.full((n_texts, 1), value, dtype=np.float32)
    weights = np.arange(1, n_texts + 1, dtype=np.float32)
    counts = np.ones(n_texts)
    assert RegressionLoss().score(numbers, numbers, weights, counts) == 1
    assert RegressionLoss().score(numbers + 1, numbers, weights, counts) == 0


def test_the_score_of_tags_is_asked_for():
    """What scores tags is given true and predicted codes, and the words of each row."""
    given = []
    objective = TokenCrossEntropy(lambda *args: given.append(args) or 0.25)
    assert objective.score(SCORES, CODES, WEIGHTS, np.array([4, 5])) == 0.25
    true, predicted, counts = given[0]
    np.testing.assert_array_equal(true, CODES)
    np.testing.assert_array_equal(predicted, SCORES.argmax(axis=1))
    assert counts.tolist() == [4, 5]
