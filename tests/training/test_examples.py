from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from sklearn_bert.text._long import Windows
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._words import WordTable
from sklearn_bert.training._examples import Examples, ShuffledBatches

lenient = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
lengths_of_texts = st.one_of(
    st.lists(st.integers(1, 40), min_size=1, max_size=40).map(np.array),
    # Long enough for several pools of 16 batches.
    st.builds(
        lambda n_texts, seed: np.random.default_rng(seed).integers(1, 40, n_texts),
        st.integers(40, 250),
        st.integers(0, 2**32),
    ),
)


def table_of(lengths, cls=TokenTable, **more):
    lengths = np.array(lengths)
    starts = np.cumsum(lengths) - lengths
    ids = np.arange(lengths.sum(), dtype=np.int32)
    return cls(ids, starts, lengths, lengths, None, **more)


def windows_of(counts):
    """Windows of texts whose rows lie the other way round than the texts."""
    counts = np.array(counts)
    starts = counts[::-1].cumsum()[::-1] - counts
    return Windows(starts, counts, np.ones(counts.sum(), np.float32))


def examples(table, rows, n_targets, windows=None):
    weights = np.ones(n_targets, np.float32)
    return Examples(table, np.array(rows), np.arange(n_targets), weights, windows)


def test_examples_of_texts():
    """A text is a row of the table, and has one target: that of its number."""
    some = examples(table_of([3, 9, 1, 5]), [3, 1], 4)
    assert len(some) == 2
    assert some.lengths().tolist() == [5, 9]
    assert some.table.counts(some.rows).tolist() == [1, 1]
    assert some.table.targets_of(np.array([1, 3])).tolist() == [1, 3]


@lenient
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.data())
def test_lengths_are_of_all_windows(counts, data):
    """An example is as long as its windows together, whichever rows they are."""
    n_rows = sum(counts)
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=n_rows, max_size=n_rows))
    any_row = st.integers(0, len(counts) - 1)
    rows = data.draw(st.lists(any_row, min_size=1, max_size=9))
    windows = windows_of(counts)
    some = examples(table_of(lengths), rows, len(counts), windows)
    begins = windows.starts
    expected = [sum(lengths[begins[r] : begins[r] + counts[r]]) for r in rows]
    assert some.lengths().tolist() == expected
    assert some.table.targets_of(some.rows).tolist() == rows
    assert some.table.counts(some.rows).tolist() == [1] * len(rows)


def test_examples_of_words():
    """A row has the targets of its words, which follow each other in all rows."""
    table = table_of(
        [5, 9, 4],
        WordTable,
        word_starts=np.array([0, 3, 3]),
        word_counts=np.array([3, 0, 2]),
        word_positions=np.array([1, 2, 3, 1, 2]),
        row_starts=np.array([0, 1, 2]),
        row_counts=np.array([1, 1, 1]),
    )
    some = examples(table, [2, 0], 5)
    assert some.table.targets_of(some.rows).tolist() == [3, 4, 0, 1, 2]
    assert some.table.counts(some.rows).tolist() == [2, 3]
    assert some.lengths().tolist() == [4, 5]


def test_words_of_a_long_sentence_belong_together():
    """The words of all rows of a sentence are counted as one."""
    table = table_of(
        [5, 9, 4],
        WordTable,
        word_starts=np.array([0, 3, 4]),
        word_counts=np.array([3, 1, 2]),
        word_positions=np.array([1, 2, 3, 1, 1, 2]),
        row_starts=np.array([0, 2]),
        row_counts=np.array([2, 1]),
    )
    assert table.counts(np.array([0, 1, 2])).tolist() == [4, 2]


@lenient
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(1, 12), st.data()
)
def test_parts_hold_so_many_windows(counts, size, data):
    """All texts in order, in the fewest parts that keep each within the size.

    A text of more windows is alone in its part.
    """
    any_row = st.integers(0, len(counts) - 1)
    rows = data.draw(st.lists(any_row, min_size=1, max_size=9))
    n_rows = sum(counts)
    some = examples(table_of([1] * n_rows), rows, len(counts), windows_of(counts))
    parts = [part.tolist() for part in some.parts(np.array(rows), size)]
    assert sum(parts, []) == rows
    n_windows = [sum(counts[row] for row in part) for part in parts]
    assert all(
        n <= size or len(part) == 1 for n, part in zip(n_windows, parts, strict=True)
    )
    for part, following in zip(n_windows, parts[1:], strict=False):
        assert part + counts[following[0]] > size


@pytest.mark.parametrize(
    ("size", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (9, [5])]
)
def test_parts_without_windows(size, sizes):
    """Without windows a part is so many texts."""
    some = examples(table_of([3, 9, 1, 5, 2]), [4, 3, 2, 1, 0], 5)
    parts = [part.tolist() for part in some.parts(some.rows, size)]
    assert [len(part) for part in parts] == sizes
    assert sum(parts, []) == [4, 3, 2, 1, 0]


@lenient
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=9),
    st.integers(1, 9),
    st.integers(1, 40),
    st.booleans(),
)
def test_parts_hold_so_many_tokens(lengths, size, n_tokens, packed):
    """With padding or packed, in the fewest parts; a longer text is alone in one."""
    some = examples(table_of(lengths), list(range(len(lengths))), len(lengths))
    found = some.parts(some.rows, size, n_tokens, packed=packed)
    parts = [part.tolist() for part in found]
    assert sum(parts, []) == some.rows.tolist()

    def fits(part):
        of_part = [lengths[row] for row in part]
        tokens = sum(of_part) if packed else len(part) * max(of_part)
        return len(part) <= size and tokens <= n_tokens

    assert all(fits(part) or len(part) == 1 for part in parts)
    for part, following in zip(parts, parts[1:], strict=False):
        assert not fits([*part, following[0]])


# -- shuffled batches --------------------------------------------------------------


def batches_of(lengths, batch_size, seed=0):
    """The batches under test with a generator of their own."""
    return ShuffledBatches(lengths, batch_size, np.random.default_rng(seed))


def epoch_of(batches):
    """One epoch as plain lists of rows."""
    return [rows.tolist() for rows in batches]


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


def test_small_data_meet_in_several_ways():
    """Ten batches of texts of different lengths are not the same ten every epoch."""
    batches = batches_of(np.arange(1, 41), 4)
    companies = {frozenset(rows) for _ in range(20) for rows in epoch_of(batches)}
    assert len(companies) > 50
