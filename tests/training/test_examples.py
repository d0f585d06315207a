import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_bert.text._long import Windows
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._words import WordTable
from sklearn_bert.training._examples import Examples

lenient = settings(max_examples=60, deadline=None)


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
    assert some.counts().tolist() == [1, 1]
    assert some.targets_of(np.array([1, 3])).tolist() == [1, 3]


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
    assert some.targets_of(some.rows).tolist() == rows
    assert some.counts().tolist() == [1] * len(rows)


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
    assert some.targets_of(some.rows).tolist() == [3, 4, 0, 1, 2]
    assert some.counts().tolist() == [2, 3]
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
    assert examples(table, [0, 1, 2], 6).counts().tolist() == [4, 2]


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
)
def test_parts_hold_so_many_tokens(lengths, size, n_tokens):
    """With padding, and in the fewest parts; a longer text is alone in its part."""
    some = examples(table_of(lengths), list(range(len(lengths))), len(lengths))
    parts = [part.tolist() for part in some.parts(some.rows, size, n_tokens)]
    assert sum(parts, []) == some.rows.tolist()

    def fits(part):
        padded = len(part) * max(lengths[row] for row in part)
        return len(part) <= size and padded <= n_tokens

    assert all(fits(part) or len(part) == 1 for part in parts)
    for part, following in zip(parts, parts[1:], strict=False):
        assert not fits([*part, following[0]])
