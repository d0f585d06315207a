"""Which tokens are hidden, how often and by what, held against the published rules."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.text import _table
from sklearn_bert.text._corpus import read_corpus, text_rows
from sklearn_bert.text._masking import Masking, causal_targets, mask_each_token
from sklearn_bert.text._table import TokenTable, ragged_indices

lenient = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
ROWS = st.lists(
    st.lists(st.integers(0, 70), max_size=40), min_size=1, max_size=8
)  # ids, special ones among them
# A tokenizer of each kind: what of a piece says that it goes on with a word.
KINDS = {
    "bert": lambda piece: piece.startswith("##"),
    "roberta": lambda piece: not piece.startswith("\u0120"),
    "xlm-roberta": lambda piece: not piece.startswith("\u2581"),
}


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    """The tokenizer of the tiny BERT: ids 0 to 4 are special."""
    return load_checkpoint(checkpoint).text_tokenizer(64)


def table_of(rows):
    """A table of rows of ids."""
    lengths = np.array([len(row) for row in rows])
    ids = np.concatenate([np.array(row, dtype=np.int32) for row in rows])
    starts = np.cumsum(lengths) - lengths
    return TokenTable(ids.astype(np.int32), starts, lengths, lengths, None)


def drawn(masking, table, seed, follow=None):
    """All rows of a table, with the tokens hidden that a generator decides."""
    masked = masking(table, np.random.default_rng(seed), follow)
    return masked.drawn(np.arange(len(masked)))


def flat(masked):
    """Where the tokens to guess stand in `masked.ids`."""
    begins = np.repeat(masked.starts, masked.word_counts)
    return begins + masked.word_positions


@pytest.fixture(scope="module")
def large(tokenizer):
    """A large table without special tokens, and 15 % of it masked."""
    rng = np.random.default_rng(0)
    table = table_of(rng.integers(5, 70, (4000, 40)))
    return table, drawn(Masking(tokenizer, 0.15), table, 1)


@lenient
@given(rows=ROWS, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 100))
def test_the_share_of_each_row(tokenizer, rows, fraction, seed):
    """Of n ordinary tokens in a row max(1, round(share * n)) are to be guessed."""
    table = table_of(rows)
    masked = drawn(Masking(tokenizer, fraction), table, seed)
    n = np.array([sum(i > 4 for i in row) for row in rows])
    expected = np.where(n > 0, np.maximum(1, np.rint(n * fraction)), 0)
    np.testing.assert_array_equal(masked.word_counts, expected)


@lenient
@given(rows=ROWS, whole=st.booleans(), seed=st.integers(0, 100))
def test_what_is_right_is_what_stood_there(tokenizer, rows, whole, seed):
    """Only ordinary tokens are changed, where they are asked for, and only once."""
    table = table_of(rows)
    before = table.ids.copy()
    masking = Masking(tokenizer, 0.3, whole_words=whole)
    masked = drawn(masking, table, seed)
    np.testing.assert_array_equal(table.ids, before)  # the caller's
    where = flat(masked)
    np.testing.assert_array_equal(masked.labels, table.ids[where])
    assert (masked.labels > 4).all()
    assert (np.diff(where) > 0).all()  # in order, and none twice
    ends = np.repeat(masked.lengths, masked.word_counts)
    assert (masked.word_positions < ends).all()
    others = np.setdiff1d(np.arange(len(table.ids)), where)
    np.testing.assert_array_equal(masked.ids[others], table.ids[others])
    hidden = masked.ids[where]
    assert ((hidden == 4) | (hidden > 4)).all()  # the mask, or no special token
    np.testing.assert_array_equal(
        masked.word_starts, np.cumsum(masked.word_counts) - masked.word_counts
    )


def test_eight_one_one(large):
    """80 % are hidden, 10 % replaced at random, 10 % stay, as far as chance allows."""
    table, masked = large
    where = flat(masked)
    now, before = masked.ids[where], table.ids[where]
    n, n_ordinary = len(where), 65  # 5 to 69 appear; the vocabulary has more
    assert stats.binomtest(int((now == 4).sum()), n, 0.8).pvalue > 1e-4
    changed = int(((now != 4) & (now != before)).sum())
    stayed = int((now == before).sum())
    assert stats.binomtest(changed, n, 0.1 * (1 - 1 / n_ordinary)).pvalue > 1e-4
    assert stats.binomtest(stayed, n, 0.1 * (1 + 1 / n_ordinary)).pvalue > 1e-4


def test_places_are_chosen_evenly(large):
    """Every place of a row is as likely as any other."""
    _, masked = large
    counts = np.bincount(masked.word_positions, minlength=40)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_fates_do_not_depend_on_places(large):
    """The mask stands at each place as often as elsewhere."""
    _, masked = large
    is_mask = masked.ids[flat(masked)] == 4
    counts = np.bincount(masked.word_positions[is_mask], minlength=40)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_random_tokens_are_any_but_special(tokenizer, large):
    """Each ordinary token of the vocabulary is drawn as often as any other."""
    _, masked = large
    now = masked.ids[flat(masked)]
    strange = now[(now != 4) & (now != masked.labels)]
    n_words = tokenizer.backend.get_vocab_size()
    counts = np.bincount(strange, minlength=n_words)
    assert not counts[:5].any()
    # A token is not counted where it replaces itself, which those never do that the
    # table has not.
    seen, unseen = counts[5:70], counts[70:]
    assert stats.chisquare(seen).pvalue > 1e-4
    assert stats.chisquare(unseen).pvalue > 1e-4
    assert len(unseen) > 5


def test_pairs_of_places_are_independent(tokenizer):
    """Two of four tokens: each of the six choices is as likely."""
    table = table_of(np.full((6000, 4), 9))
    masked = drawn(Masking(tokenizer, 0.5), table, 3)
    places = masked.word_positions.reshape(-1, 2)
    counts = np.unique(places @ [4, 1], return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-4


def test_a_draw_is_its_generators(tokenizer, large):
    """The same generator gives the same masks, and its next draw others."""
    table, masked = large
    masking = Masking(tokenizer, 0.15)
    rng = np.random.default_rng(1)
    rows = np.arange(len(table))
    again, fresh = (masking(table, rng).drawn(rows) for _ in range(2))
    np.testing.assert_array_equal(again.ids, masked.ids)
    np.testing.assert_array_equal(again.word_positions, masked.word_positions)
    both = np.isin(flat(fresh), flat(masked)).mean()
    assert both == pytest.approx(0.15, abs=0.01)


def test_follows_go_along(tokenizer):
    """Whether halves belong together is kept by row, when rows are taken too."""
    follows = np.array([1, 0, 1])
    table = table_of([[2, 9, 3], [2, 10, 11, 3], [2, 12, 3]])
    masked = drawn(Masking(tokenizer, 0.15), table, 0, follows)
    taken = masked.take(np.array([2, 1]))
    assert taken.next_sentence_labels.tolist() == [1, 0]
    assert taken.word_counts.tolist() == [1, 1]
    where = ragged_indices(taken.word_starts, taken.word_counts)
    assert taken.labels[where[0]] == 12
    assert taken.labels[where[1]] in (10, 11)


@pytest.mark.parametrize("whole", [False, True])
def test_a_row_hides_the_same_wherever_it_is_laid_out(tokenizer, whole):
    """Neither the other rows of a batch nor their order change what a row hides."""
    rng = np.random.default_rng(0)
    table = table_of([rng.integers(0, 70, n).tolist() for n in rng.integers(1, 30, 40)])
    follow = rng.integers(0, 2, len(table))
    masking = Masking(tokenizer, 0.3, whole_words=whole)
    masked = masking(table, rng, follow)
    all_at_once = masked.drawn(np.arange(len(table)))
    np.testing.assert_array_equal(masked.word_counts, all_at_once.word_counts)
    np.testing.assert_array_equal(masked.word_starts, all_at_once.word_starts)
    some = rng.permutation(len(table))[:7]
    expected = all_at_once.lay_out(some, 0, packed=True, multiple=None)
    taken = masked.take(some)
    for found in (
        masked.lay_out(some, 0, packed=True, multiple=None),
        taken.lay_out(np.arange(7), 0, packed=True, multiple=None),
    ):
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)
    np.testing.assert_array_equal(
        taken.targets_of(np.arange(7)), masked.targets_of(some)
    )


def test_a_line_for_a_graph_is_as_long_as_any(tokenizer):
    """What a captured graph takes for granted holds for all rows, not for these."""
    table = table_of([[2, 9, 3], [2, *[9] * 50, 3]])
    masked = Masking(tokenizer, 0.15)(table, np.random.default_rng(0))
    line = masked.lay_out(np.array([0]), 0, packed=True, multiple=8)
    assert line["longest"] == 52


def test_counts_of_blocks_are_those_of_all(tokenizer, monkeypatch):
    """Tokens to predict are counted block by block, whatever the size of a block."""
    rng = np.random.default_rng(0)
    table = table_of([rng.integers(0, 70, n).tolist() for n in rng.integers(1, 30, 40)])
    for whole in (False, True):
        masking = Masking(tokenizer, 0.3, whole_words=whole)
        at_once = masking(table, np.random.default_rng(1)).word_counts
        monkeypatch.setattr(_table, "TOKENS_PER_BLOCK", 60)
        assert len(list(_table.blocks_of(table))) > 5
        in_blocks = masking(table, np.random.default_rng(1)).word_counts
        np.testing.assert_array_equal(in_blocks, at_once)
        monkeypatch.undo()


@pytest.fixture(scope="module", params=KINDS)
def of_kind(request, family_checkpoint, texts_of):
    """A tokenizer of a kind, rows of texts, and which of their tokens go on."""
    tokenizer = load_checkpoint(family_checkpoint(request.param)).text_tokenizer(64)
    texts = [[text * 2] for texts in texts_of.values() for text in texts]
    table = text_rows(tokenizer, [read_corpus(tokenizer, texts * 30)])
    pieces = {i: p for p, i in tokenizer.backend.get_vocab().items()}
    goes_on = np.array([KINDS[request.param](pieces[i]) for i in table.ids.tolist()])
    special = np.isin(table.ids, tokenizer.special_ids())
    behind_special = np.concatenate([[True], special[:-1]])
    return tokenizer, table, special, goes_on & ~behind_special & ~special


def words_of(table, special, goes_on):
    """For each ordinary token the number of its word, and the sizes of words."""
    word = np.cumsum(~goes_on) - 1
    return word, np.bincount(word[~special], minlength=word[-1] + 1)


def test_whole_words_stay_together(of_kind):
    """All pieces of a word are to be guessed, or none, if it fits into the share."""
    tokenizer, table, special, goes_on = of_kind
    masking = Masking(tokenizer, 0.3, whole_words=True)
    masked = drawn(masking, table, 0)
    word, sizes = words_of(table, special, goes_on)
    chosen = np.bincount(word[flat(masked)], minlength=len(sizes))
    row_of = np.repeat(np.arange(len(table)), table.lengths)
    n = np.bincount(row_of[~special], minlength=len(table))
    budget = np.maximum(1, np.rint(0.3 * n)).astype(int)
    row_of_word = np.zeros(len(sizes), dtype=int)
    row_of_word[word] = row_of
    fits = sizes <= budget[row_of_word]
    partly = (chosen > 0) & (chosen < sizes)
    assert (sizes[fits] > 1).any()
    assert not (partly & fits).any()
    assert (masked.word_counts <= budget).all()
    assert (masked.word_counts[n > 0] > 0).all()
    assert (chosen[fits & (sizes > 1)] > 0).any()


def test_whole_words_keep_the_share(tokenizer):
    """With whole words nearly as many tokens are hidden as without."""
    rng = np.random.default_rng(0)
    pieces = tokenizer.backend.get_vocab()
    go_on = [i for piece, i in pieces.items() if piece.startswith("##")]
    begin = [i for piece, i in pieces.items() if i > 4 and not piece.startswith("##")]
    rows = []
    for _ in range(500):
        row = []
        while len(row) < 60:
            size = rng.integers(1, 4)
            row += [rng.choice(begin), *rng.choice(go_on, size - 1)]
        rows.append(row)
    masking = Masking(tokenizer, 0.15, whole_words=True)
    masked = drawn(masking, table_of(rows), 0)
    share = len(masked.labels) / len(table_of(rows).ids)
    assert 0.13 < share <= 0.155


def test_long_words_are_hidden_as_well(tokenizer):
    """A word of three pieces is nearly as likely to be hidden as one of one piece."""
    pieces = tokenizer.backend.get_vocab()
    row = [
        pieces[p] for p in ("the", "c", "##a", "##t", "is", "good", "d", "##o", "##g")
    ]
    row = (row + [pieces["i"]]) * 6  # 60 tokens
    masking = Masking(tokenizer, 0.15, whole_words=True)
    masked = drawn(masking, table_of([row] * 3000), 0)
    rate = np.bincount(masked.word_positions, minlength=60) / 3000
    long, short = rate.reshape(6, 10)[:, [1, 6]], rate.reshape(6, 10)[:, [0, 4, 5, 9]]
    assert long.mean() == pytest.approx(short.mean(), rel=0.25)


def test_a_word_longer_than_the_share_is_taken_by_pieces(tokenizer):
    """One long word is not hidden as a whole."""
    pieces = tokenizer.backend.get_vocab()
    row = [pieces["a"], *[pieces["##b"]] * 19]
    masking = Masking(tokenizer, 0.15, whole_words=True)
    masked = drawn(masking, table_of([row]), 0)
    assert masked.word_counts.tolist() == [3]


@lenient
@given(rows=ROWS)
def test_masking_one_by_one(tokenizer, rows):
    """Every ordinary token is masked once, alone, in the order of the text."""
    table = table_of(rows)
    masked, text_of_row = mask_each_token(tokenizer, table)
    expected = [
        (t, place, i)
        for t, row in enumerate(rows)
        for place, i in enumerate(row)
        if i > 4
    ]
    assert len(masked) == len(expected)
    for row, (text, place, right) in enumerate(expected):
        start, length = masked.starts[row], masked.lengths[row]
        ids = masked.ids[start : start + length].tolist()
        assert text_of_row[row] == text
        assert masked.word_positions[row] == place
        assert masked.labels[row] == right
        assert ids == [*rows[text][:place], 4, *rows[text][place + 1 :]]
    assert (masked.word_counts == 1).all()


@lenient
@given(rows=ROWS)
def test_next_tokens(rows):
    """Tokens are asked for at the place before them, but for what begins a text."""
    begin = next((row[-1] for row in rows if row), 0)
    asked = causal_targets(table_of(rows), np.array([begin]))
    starts = np.cumsum(asked.word_counts) - asked.word_counts
    for i, row in enumerate(rows):
        where = slice(starts[i], starts[i] + asked.word_counts[i])
        expected = [(k, x) for k, x in enumerate(row[1:]) if x != begin]
        found = zip(asked.word_positions[where], asked.labels[where], strict=True)
        assert [(int(place), int(word)) for place, word in found] == expected
