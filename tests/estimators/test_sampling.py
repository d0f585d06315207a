"""Which token comes next: frequencies, and the sets that transformers keeps."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import chisquare
from transformers import TopKLogitsWarper, TopPLogitsWarper

from sklearn_bert.estimators._sampling import Sampling
from sklearn_bert.model._checkpoint import load_checkpoint

# How likely a chance result may be that fails a test which is fair.
LEVEL = 1e-4


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return load_checkpoint(checkpoint).text_tokenizer(None)


@pytest.fixture(scope="module")
def n_words(tokenizer):
    return max(tokenizer.backend.get_vocab().values()) + 1


@pytest.fixture(scope="module")
def words(tokenizer, n_words):
    """Twelve ids that are no special ones, and not in their order."""
    ordinary = np.setdiff1d(np.arange(n_words), tokenizer.special_ids())
    return np.random.default_rng(0).permutation(ordinary)[:12]


@pytest.fixture(scope="module")
def sampling(tokenizer):
    """Make a sampling; the arguments are settings that differ."""

    def make(**settings):
        defaults = {"temperature": 1.0, "top_k": None, "top_p": None}
        defaults |= {"seed": 0, "n_texts": 1}
        return Sampling(tokenizer, **(defaults | settings))

    return make


@pytest.fixture(scope="module")
def scores_of(n_words, words):
    """A row in which only the twelve words can be drawn."""

    def make(values):
        row = np.full(n_words, -np.inf, dtype=np.float32)
        row[words] = values
        return row

    return make


def draws(sample, row, n):
    return [sample(row[None], [0])[0] for _ in range(n)]


def expected_counts(row, temperature, n):
    with np.errstate(divide="ignore"):
        return n * softmax(row.astype(np.float64) / temperature)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_frequencies_follow_the_scores(sampling, scores_of, words, temperature):
    """Draws for one text, one after the other, follow softmax(scores / temperature)."""
    row = scores_of(np.linspace(-1, 1, 12))
    n = 3000
    counts = np.bincount(
        draws(sampling(temperature=temperature), row, n), minlength=len(row)
    )
    expected = expected_counts(row, temperature, n)
    assert counts.sum() == counts[words].sum() == n
    is_usual = expected >= 5
    observed = [*counts[is_usual], counts[~is_usual].sum()]
    wanted = [*expected[is_usual], expected[~is_usual].sum()]
    keep = np.array(wanted) > 1e-9
    assert chisquare(np.array(observed)[keep], np.array(wanted)[keep]).pvalue > LEVEL


def test_frequencies_over_texts_follow_the_scores(sampling, scores_of, words):
    """So do the first draws of many texts, whose numbers are their own."""
    row, n = scores_of(np.linspace(0, 2, 12)), 4000
    chosen = sampling(n_texts=n)(np.tile(row, (n, 1)), list(range(n)))
    counts = np.bincount(chosen, minlength=len(row))[words]
    assert chisquare(counts, expected_counts(row, 1.0, n)[words]).pvalue > LEVEL


def test_neighbours_are_not_alike(sampling, scores_of, words):
    """What a text draws says nothing of what the next one draws."""
    row, n = scores_of(np.where(np.arange(12) < 2, 0, -np.inf)), 4000
    chosen = sampling(n_texts=n)(np.tile(row, (n, 1)), list(range(n)))
    is_first = np.array(chosen) == words[0]
    same = (is_first[1:] == is_first[:-1]).sum()
    assert chisquare([same, n - 1 - same]).pvalue > LEVEL


def kept_by_transformers(row, words, *, top_k=None, top_p=None):
    logits = torch.from_numpy(row.copy())[None].double()
    kept = np.ones(len(row), dtype=bool)
    if top_k is not None:
        kept &= torch.isfinite(TopKLogitsWarper(top_k)(None, logits))[0].numpy()
    if top_p is not None:
        kept &= torch.isfinite(TopPLogitsWarper(top_p)(None, logits))[0].numpy()
    return {int(word) for word in words if kept[word]}


VALUES = np.random.default_rng(1).permutation(np.linspace(0, 2, 12))


@pytest.mark.parametrize(
    "limits",
    [
        *({"top_k": k} for k in (1, 2, 7, 12, 500)),
        *({"top_p": p} for p in (1e-12, 0.1, 0.17, 0.5, 0.93, 0.99, 1.0, 1)),
        {"top_k": 3, "top_p": 0.99},
        {"top_k": 9, "top_p": 0.3},
    ],
    ids=str,
)
def test_what_is_kept_is_what_transformers_keeps(sampling, scores_of, words, limits):
    """top_k and top_p draw from just the tokens that transformers' warpers keep."""
    row = scores_of(VALUES)
    seen = set(draws(sampling(**limits), row, 600))
    assert seen == kept_by_transformers(row, words, **limits)


def test_top_p_looks_at_what_the_temperature_has_made(sampling, scores_of, words):
    """The probability that top_p counts is that after dividing by temperature."""
    row = scores_of(VALUES)
    for temperature in (0.2, 3.0):
        seen = set(draws(sampling(top_p=0.6, temperature=temperature), row, 600))
        assert seen == kept_by_transformers(row / temperature, words, top_p=0.6)


def test_what_is_kept_keeps_its_proportions(sampling, scores_of):
    """Among the three likeliest the frequencies are their shares of the three."""
    row, n = scores_of(VALUES), 2500
    counts = np.bincount(draws(sampling(top_k=3), row, n), minlength=len(row))
    best = np.argsort(-row)[:3]
    expected = n * softmax(row[best].astype(np.float64))
    assert counts.sum() == counts[best].sum()
    assert chisquare(counts[best], expected).pvalue > LEVEL


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(-8, 8, width=16), min_size=12, max_size=12, unique=True),
    top_p=st.floats(0.01, 0.999),
    seed=st.integers(0, 2**31 - 1),
)
def test_nothing_else_is_ever_drawn(sampling, scores_of, words, values, top_p, seed):
    """Whatever the scores and the seed, a draw is among what transformers keeps."""
    row = scores_of(np.array(values))
    # An edge that float32 and float64 see on different sides is no one's mistake.
    wide = kept_by_transformers(row, words, top_p=min(top_p + 1e-6, 1.0))
    assert set(draws(sampling(top_p=top_p, seed=seed), row, 10)) <= wide
    few = kept_by_transformers(row, words, top_k=3)
    assert set(draws(sampling(top_k=3, seed=seed), row, 10)) <= few


@pytest.mark.parametrize("temperature", [0, 0.7])
def test_special_tokens_but_the_end_are_never_drawn(
    sampling, tokenizer, n_words, temperature
):
    """Though special tokens score highest, only the one that ends a text is drawn."""
    special = set(tokenizer.special_ids().tolist())
    end = tokenizer.special_id("sep")
    row = np.zeros(n_words, dtype=np.float32)
    row[list(special)] = 9.0
    sample = sampling(temperature=temperature)
    chosen = set(draws(sample, row, 300))
    assert end in chosen
    assert chosen & special == {end}
    assert sample.ends == {end}
    row[end] = -50.0
    assert not set(draws(sample, row, 300)) & special


def test_without_temperature_the_likeliest_is_chosen(sampling, scores_of, words):
    """temperature=0 takes the highest score of each row, whatever the seed."""
    rows = np.array([scores_of(np.roll(VALUES, shift)) for shift in range(4)])
    for seed in range(3):
        sample = sampling(temperature=0, seed=seed, n_texts=4)
        assert sample(rows, [0, 1, 2, 3]) == rows.argmax(1).tolist()


@pytest.mark.parametrize("temperature", [1e-3, 1e-200, 5e-324])
def test_towards_0_the_likeliest_is_drawn(sampling, scores_of, temperature):
    """A temperature near 0 draws what 0 takes, and computes it without a warning."""
    row = scores_of(VALUES)
    assert set(draws(sampling(temperature=temperature), row, 50)) == {row.argmax()}


def test_a_high_temperature_draws_from_all(sampling, scores_of, words):
    """Towards infinity all tokens become equally likely."""
    row, n = scores_of(VALUES), 2500
    counts = np.bincount(draws(sampling(temperature=1e9), row, n), minlength=len(row))
    assert chisquare(counts[words]).pvalue > LEVEL


def test_a_text_s_numbers_are_its_own(sampling, scores_of):
    """Which other texts are asked for changes no text's draws."""
    row = scores_of(VALUES)
    whole = sampling(n_texts=5)
    together = [whole(np.tile(row, (5, 1)), [0, 1, 2, 3, 4]) for _ in range(20)]
    for text in range(5):
        alone = sampling(n_texts=5 if text < 3 else text + 1)
        expected = [step[text] for step in together]
        assert [alone(row[None], [text])[0] for _ in range(20)] == expected
    assert len({tuple(step[t] for step in together) for t in range(5)}) == 5


def test_a_seed_is_a_seed(sampling, scores_of):
    """The same seed draws the same, and another something else."""
    row = scores_of(VALUES)
    first, second, other = (draws(sampling(seed=s), row, 40) for s in (1, 1, 2))
    assert first == second != other


def test_scores_are_left_alone(sampling, scores_of):
    """What was handed in is as before, and ids come back as Python's integers."""
    rows = np.tile(scores_of(VALUES), (2, 1))
    before = rows.copy()
    for temperature in (0, 1.0):
        chosen = sampling(temperature=temperature, n_texts=2)(rows, [0, 1])
        assert [type(token) for token in chosen] == [int, int]
    np.testing.assert_array_equal(rows, before)
