"""Every text meets the model once per epoch, in full and beside texts of its length."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from transformers import AutoTokenizer

from sklearn_bert.text._batches import (
    ShuffledBatches,
    pack,
    pad,
    padded_indices,
    token_budget_batches,
)
from sklearn_bert.text._input import Texts
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer

lenient = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

words = st.sampled_from(["the", "film", "was", "good", "Unfathomable", "!", ""])
sentences = st.lists(words, max_size=12).map(" ".join)
lengths_of_texts = st.one_of(
    st.lists(st.integers(1, 40), min_size=1, max_size=40).map(np.array),
    # Long enough for several pools of 16 batches.
    st.builds(
        lambda n_texts, seed: np.random.default_rng(seed).integers(1, 40, n_texts),
        st.integers(40, 250),
        st.integers(0, 2**32),
    ),
)


@pytest.fixture(scope="session")
def reference(checkpoint):
    """The tokenizer of transformers, to compare with."""
    return AutoTokenizer.from_pretrained(checkpoint)


def batches_of(lengths, batch_size, seed=0):
    """The batches under test with a generator of their own."""
    return ShuffledBatches(lengths, batch_size, np.random.default_rng(seed))


def epoch_of(batches):
    """One epoch as plain lists of rows."""
    return [rows.tolist() for rows in batches]


# -- pad ---------------------------------------------------------------------------


@lenient
@given(
    st.lists(st.tuples(sentences, sentences), min_size=1, max_size=8),
    st.integers(4, 20),
    st.booleans(),
)
def test_padded_batch_is_that_of_transformers(reference, pairs, max_length, is_pair):
    """Ids, mask and token types are those of transformers' own padding and cutting."""
    first, second = map(list, zip(*pairs, strict=True))
    if not is_pair:
        second = None
    tokenizer = TextTokenizer(
        reference.backend_tokenizer,
        max_length=max_length,
        pad_id=reference.pad_token_id,
        has_type_ids=True,
        config={},
    )
    table = tokenizer(Texts(first, second, n_features=1 + is_pair, is_2d=False))
    batch = pad(table, np.arange(len(table)), tokenizer.pad_id)
    expected = reference(
        first,
        second,
        truncation=True,
        max_length=max_length,
        padding=True,
        return_tensors="np",
    )
    np.testing.assert_array_equal(batch["input_ids"], expected["input_ids"])
    all_text = np.ones(batch["input_ids"].shape, dtype=bool)
    mask = batch.get("attention_mask", all_text)
    np.testing.assert_array_equal(mask, expected["attention_mask"])
    types = batch.get("token_type_ids", np.zeros_like(batch["input_ids"]))
    np.testing.assert_array_equal(types, expected["token_type_ids"])
    assert ("token_type_ids" in batch) == is_pair


@st.composite
def tables_and_rows(draw):
    """Any table, even of shared texts and ids that look like padding; and some rows."""
    texts = draw(
        st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1)
    )
    lengths = np.array([len(text) for text in texts])
    ids = np.concatenate(texts).astype(np.int32)
    place = draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=20))
    table = TokenTable(
        ids=ids,
        starts=(np.cumsum(lengths) - lengths)[place],
        lengths=lengths[place],
        type_ids=(ids % 2).astype(np.uint8) if draw(st.booleans()) else None,
        whole_lengths=lengths[place],
    )
    rows = draw(st.lists(st.integers(0, len(place) - 1), min_size=1, max_size=12))
    return table, np.array(rows), [texts[place[row]] for row in rows]


@lenient
@given(tables_and_rows(), st.integers(0, 3))
def test_padding_round_trips(drawn, pad_id):
    """What is not padding is the text again; the rest is padding, and no wider."""
    table, rows, texts = drawn
    batch = pad(table, rows, pad_id)
    longest = max(map(len, texts))
    assert batch["input_ids"].shape == (len(rows), longest)
    assert ("attention_mask" in batch) == (len(set(map(len, texts))) > 1)
    for i, text in enumerate(texts):
        gap = longest - len(text)
        assert batch["input_ids"][i].tolist() == text + [pad_id] * gap
        if "attention_mask" in batch:
            expected = [True] * len(text) + [False] * gap
            assert batch["attention_mask"][i].tolist() == expected
        if table.type_ids is not None:
            expected = [token % 2 for token in text] + [0] * gap
            assert batch["token_type_ids"][i].tolist() == expected
    assert ("token_type_ids" in batch) == (table.type_ids is not None)


def test_padded_arrays_have_the_documented_dtypes():
    """Ids and types are int64, as an embedding wants them, and the mask is bool."""
    table = TokenTable(
        ids=np.array([5, 6, 7], dtype=np.int32),
        starts=np.array([0, 1]),
        lengths=np.array([1, 2]),
        type_ids=np.array([0, 0, 1], dtype=np.uint8),
        whole_lengths=np.array([1, 2]),
    )
    batch = pad(table, np.array([0, 1]), 0)
    assert {name: array.dtype for name, array in batch.items()} == {
        "input_ids": np.int64,
        "attention_mask": np.bool_,
        "token_type_ids": np.int64,
    }
    batch["input_ids"][:] = 0
    assert table.ids.tolist() == [5, 6, 7]


@lenient
@given(tables_and_rows())
def test_places_are_those_of_a_plain_loop(drawn):
    """Row by row: the places of a text's values, then zeros that are no text."""
    table, rows, texts = drawn
    where, is_text = padded_indices(table.starts[rows], table.lengths[rows])
    longest = max(map(len, texts))
    for i, text in enumerate(texts):
        start, gap = int(table.starts[rows[i]]), longest - len(text)
        assert where[i].tolist() == [*range(start, start + len(text)), *[0] * gap]
        assert is_text[i].tolist() == [True] * len(text) + [False] * gap
    assert (where.dtype, is_text.dtype) == (np.int64, np.bool_)


# -- pack --------------------------------------------------------------------------


@lenient
@given(tables_and_rows(), st.integers(0, 3), st.one_of(st.none(), st.integers(1, 12)))
def test_packed_line_is_that_of_a_plain_loop(drawn, pad_id, multiple):
    """Text after text, positions from 0 in each, and at last a text of padding."""
    table, rows, texts = drawn
    batch = pack(table, rows, pad_id, multiple)
    if multiple is not None:
        n_tokens = sum(map(len, texts))
        filler = next(n for n in range(1, 99) if (n_tokens + n) % multiple == 0)
        assert filler <= multiple
        texts = [*texts, [pad_id] * filler]
    ids, positions, ends = [], [], [0]
    for text in texts:
        ids += text
        positions += range(len(text))
        ends.append(len(ids))
    if multiple is not None:
        positions[-filler:] = [0] * filler
    assert batch["input_ids"].tolist() == [ids]
    assert batch["position_ids"].tolist() == [positions]
    assert batch["cu_seq_lens"].tolist() == ends
    assert multiple is None or len(ids) % multiple == 0
    if table.type_ids is None:
        assert "token_type_ids" not in batch
        return
    types = [token % 2 for token in ids]
    if multiple is not None:
        types[-filler:] = [0] * filler
    assert batch["token_type_ids"].tolist() == [types]


def test_packed_arrays_have_the_documented_dtypes():
    """Ids, positions and types are int64, and the borders int32, as a kernel asks."""
    table = TokenTable(
        ids=np.array([5, 6, 7], dtype=np.int32),
        starts=np.array([0, 1]),
        lengths=np.array([1, 2]),
        type_ids=np.array([0, 0, 1], dtype=np.uint8),
        whole_lengths=np.array([1, 2]),
    )
    for multiple in (None, 8):
        batch = pack(table, np.array([0, 1]), 0, multiple)
        assert {name: array.dtype for name, array in batch.items()} == {
            "input_ids": np.int64,
            "position_ids": np.int64,
            "cu_seq_lens": np.int32,
            "token_type_ids": np.int64,
        }


# -- shuffled batches --------------------------------------------------------------


@lenient
@given(lengths_of_texts, st.integers(1, 9), st.integers(0, 2**32))
def test_every_text_is_met_once_per_epoch(lengths, batch_size, seed):
    """In every epoch each row occurs once, in full batches but for one at most."""
    untouched = lengths.copy()
    batches = batches_of(lengths, batch_size, seed)
    n_full, rest = divmod(len(lengths), batch_size)
    sizes = Counter({batch_size: n_full}) + Counter({rest: int(rest > 0)})
    for _ in range(3):
        epoch = epoch_of(batches)
        assert sorted(sum(epoch, [])) == list(range(len(lengths)))
        assert Counter(map(len, epoch)) == sizes
        assert len(epoch) == len(batches)
    np.testing.assert_array_equal(lengths, untouched)


@lenient
@given(lengths_of_texts, st.integers(1, 9), st.integers(0, 2**32))
def test_batches_are_those_of_a_plain_loop(lengths, batch_size, seed):
    """Shuffle, sort each pool of batches by length, cut, shuffle: text by text."""
    rng = np.random.default_rng(seed)
    batches = batches_of(lengths, batch_size, seed)
    for _ in range(2):
        waiting = rng.permutation(len(lengths)).tolist()
        blur = np.ones(len(lengths))
        if len(lengths) <= 16 * batch_size:  # one pool: lengths are blurred
            blur = rng.uniform(0.8, 1.25, len(lengths))
        cut = []
        while waiting:
            pool = []
            while waiting and len(pool) < 16 * batch_size:
                pool.append(waiting.pop(0))
            pool.sort(key=lambda row: lengths[row] * blur[row])  # noqa: B023
            while pool:
                cut.append(pool[:batch_size])
                del pool[:batch_size]
        assert epoch_of(batches) == [cut[i] for i in rng.permutation(len(cut))]


def test_epochs_differ_and_seeds_repeat():
    """Each epoch has its own order; the same seed gives the same sequence of epochs."""
    lengths = np.arange(1, 101)
    batches, again, other = (batches_of(lengths, 4, seed) for seed in (5, 5, 6))
    epochs = [epoch_of(batches) for _ in range(4)]
    for one, next_one in pairwise(epochs):
        assert one != next_one
        assert {frozenset(rows) for rows in one} != {
            frozenset(rows) for rows in next_one
        }
    assert [epoch_of(again) for _ in range(4)] == epochs
    assert epoch_of(other) != epochs[0]


def test_global_generator_is_left_alone():
    """The order comes from the generator that was handed in, and from no other."""
    before = np.random.get_state()[1].tolist()
    epoch_of(batches_of(np.arange(1, 50), 4))
    assert np.random.get_state()[1].tolist() == before


def test_texts_of_similar_length_meet():
    """In each 16 batches the texts are sorted by length, so that little is padded."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 200, size=64 * 10)
    padded = sum(len(rows) * lengths[rows].max() for rows in batches_of(lengths, 4))
    order = rng.permutation(len(lengths)).reshape(-1, 4)
    padded_at_random = 4 * lengths[order].max(axis=1).sum()
    assert padded < 1.1 * lengths.sum() < 1.4 * lengths.sum() < padded_at_random


@lenient
@given(lengths_of_texts, st.integers(1, 9), st.integers(0, 2**32))
def test_without_lengths_it_is_a_plain_shuffle(lengths, batch_size, seed):
    """by_length=False: a permutation, cut into batches, whatever the lengths are."""
    rng = np.random.default_rng(seed)
    batches = ShuffledBatches(
        lengths, batch_size, np.random.default_rng(seed), by_length=False
    )
    for _ in range(2):
        order = rng.permutation(len(lengths)).tolist()
        begins = range(0, len(order), batch_size)
        assert epoch_of(batches) == [order[i : i + batch_size] for i in begins]


# -- how honest the shuffle is -----------------------------------------------------

N_EPOCHS = 2000
LENGTHS = {
    "one length": (np.ones(24), 4),
    "all lengths": (np.arange(1, 25), 4),
    "two sizes": (np.repeat([10, 1000], 32), 4),
    "powers": (1.3 ** np.arange(64), 4),
    "two pools": (1.3 ** np.arange(64), 2),
    "a smaller batch": (1.3 ** np.arange(30), 4),
}


def some_short_first(epochs, lengths):
    """The same epochs, but in one of four nobody has shuffled the sorted batches."""
    return [
        epoch if i % 4 else sorted(epoch, key=lambda rows: lengths[rows].mean())
        for i, epoch in enumerate(epochs)
    ]


@pytest.mark.parametrize("kind", LENGTHS)
def test_place_of_every_text_is_uniform(kind):
    """Every text is met equally often in each batch of an epoch, as in a shuffle."""
    lengths, batch_size = LENGTHS[kind]
    batches = batches_of(lengths, batch_size)

    def p_value(epochs):
        counts = np.zeros((len(lengths), len(batches)))
        for epoch in epochs:
            for place, rows in enumerate(epoch):
                counts[rows, place] += 1
        # Of the most uneven text, as if it were the only one.
        return stats.chisquare(counts, axis=1).pvalue.min() * len(lengths)

    epochs = [list(batches) for _ in range(N_EPOCHS)]
    assert p_value(epochs) > 1e-3
    if kind != "one length":
        assert p_value(some_short_first(epochs, lengths)) < 1e-6


def test_batches_of_long_texts_come_at_any_time():
    """They are spread over an epoch as a plain shuffle of batches would spread them.

    Not as one of texts: on average as many long texts are in its first half, but they
    come four at a time, so that their number varies twice as much.
    """
    lengths, batch_size = LENGTHS["two sizes"]
    batches = batches_of(lengths, batch_size)
    epochs = [list(batches) for _ in range(N_EPOCHS)]
    of_batches, of_texts = stats.hypergeom(16, 8, 8), stats.hypergeom(64, 32, 32)
    cells = of_batches.pmf(range(9))

    def count_long(epochs):
        halves = [np.concatenate(epoch[: len(epoch) // 2]) for epoch in epochs]
        return np.array([(lengths[half] == 1000).sum() for half in halves])

    def p_value(n_long):
        observed = np.bincount(n_long // batch_size, minlength=9)
        # The outer cells are merged: fewer than ten epochs are expected in each.
        observed, expected = (
            [sum(x[:3]), *x[3:6], sum(x[6:])] for x in (observed, N_EPOCHS * cells)
        )
        return stats.chisquare(observed, expected).pvalue

    n_long = count_long(epochs)
    assert not (n_long % batch_size).any()
    assert p_value(n_long) > 1e-3
    assert abs(n_long.mean() - of_texts.mean()) < 4.5 * n_long.std() / N_EPOCHS**0.5
    assert 1.9 < n_long.std() / of_texts.std() < 2.2
    assert p_value(count_long(some_short_first(epochs, lengths))) < 1e-6


def test_any_two_texts_of_one_length_meet_equally_often():
    """Which texts of equal length share a batch is drawn evenly."""
    n_texts, batch_size, n_epochs = 24, 4, 1500
    batches = batches_of(np.full(n_texts, 9), batch_size)
    met = np.zeros((n_texts, n_texts))
    for _ in range(n_epochs):
        for rows in batches:
            met[np.ix_(rows, rows)] += 1
    chance = (batch_size - 1) / (n_texts - 1)
    spread = np.sqrt(n_epochs * chance * (1 - chance))
    away = (met[np.triu_indices(n_texts, 1)] - n_epochs * chance) / spread
    assert np.abs(away).max() < 4.5
    assert 0.7 < away.std() < 1.3


def test_company_of_a_text_varies():
    """Even where no two lengths are equal, a text meets others in other epochs."""
    n_texts, batch_size, n_epochs = 320, 2, 100
    batches = batches_of(np.arange(1, n_texts + 1), batch_size)
    company = [set() for _ in range(n_texts)]
    for _ in range(n_epochs):
        for rows in batches:
            for row in rows:
                company[row].update(set(rows.tolist()) - {row})
    assert min(map(len, company)) > 15


# -- batches by budget -------------------------------------------------------------


@lenient
@given(lengths_of_texts, st.integers(1, 200))
def test_budget_is_held_and_every_text_met(lengths, max_tokens):
    """Each row occurs once, longest first; none but a lone text passes the budget."""
    untouched = lengths.copy()
    batches = token_budget_batches(lengths, max_tokens)
    rows = np.concatenate(batches)
    assert sorted(rows) == list(range(len(lengths)))
    assert (np.diff(lengths[rows]) <= 0).all()
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= max_tokens
    np.testing.assert_array_equal(lengths, untouched)


@lenient
@given(lengths_of_texts, st.integers(1, 200))
def test_budget_batches_are_those_of_a_plain_loop(lengths, max_tokens):
    """Text by text, longest first: a batch is closed when one more would not fit."""
    expected = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        batch = expected[-1] if expected else None
        if batch and (len(batch) + 1) * lengths[batch[0]] <= max_tokens:
            batch.append(row)
        else:
            expected.append([row])
    assert epoch_of(token_budget_batches(lengths, max_tokens)) == expected


def test_budget_counts_padding():
    """The budget is filled with the longest text's length for each of its batch."""
    lengths = np.array([1, 10, 5, 4, 3, 30])
    found = epoch_of(token_budget_batches(lengths, 20))
    assert found == [[5], [1, 2], [3, 4, 0]]


def test_small_data_meet_in_several_ways():
    """Ten batches of texts of different lengths are not the same ten every epoch."""
    batches = batches_of(np.arange(1, 41), 4)
    companies = {frozenset(rows) for _ in range(20) for rows in epoch_of(batches)}
    assert len(companies) > 50
