"""Head and tail, or windows, of long texts, held against slices in plain Python."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from sklearn_bert import cache_info
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.text._input import Texts
from sklearn_bert.text._long import LONG_TEXT, Windows
from sklearn_bert.text._reports import truncation_report
from sklearn_bert.text._tokenizer import TextTokenizer

lenient = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

SENTENCES = ["the film was very good", "i love the cat", "a bad plot , not great !"]
words = st.sampled_from(
    ["the", "film", "good", "Unfathomable", "é", "好", "!", "1", "", "cat's"]
)
texts = st.lists(words, max_size=30).map(" ".join)
strides = st.one_of(st.none(), st.integers(1, 40))


def bert(reference):
    return reference.backend_tokenizer


def byte_level(reference):
    """A tokenizer like RoBERTa's, which reads a space as a part of the next word."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        show_progress=False,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    backend.train_from_iterator(SENTENCES, trainer)
    backend.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False
    )
    return backend


def bare(reference):
    """A tokenizer without special tokens."""
    backend = Tokenizer.from_str(reference.backend_tokenizer.to_str())
    backend.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1")
    return backend


class Family:
    """A tokenizer, and what stands around and between texts, written out by hand."""

    def __init__(self, make, around, between, second_type, reference):
        # A copy: transformers sets the length limit of its own at each call.
        self.backend = Tokenizer.from_str(make(reference).to_str())
        self.backend.no_truncation()
        self.backend.no_padding()
        self.around = [[self.backend.token_to_id(t) for t in s] for s in around]
        self.between = [self.backend.token_to_id(t) for t in between]
        self.second_type = second_type

    def ids(self, text):
        return self.backend.encode(text, add_special_tokens=False).ids

    def room(self, max_length, *, is_pair):
        n_special = sum(map(len, self.around))
        return max_length - n_special - (len(self.between) if is_pair else 0)

    def row(self, *halves):
        """Ids and type ids of a text, or of a pair."""
        begin, end = self.around
        if len(halves) == 1:
            ids = [*begin, *halves[0], *end]
            return ids, [0] * len(ids)
        # What stands between belongs to the first half up to its first token.
        first = [*begin, *halves[0], *self.between[:1]]
        second = [*self.between[1:], *halves[1], *end]
        types = [0] * len(first) + [self.second_type] * len(second)
        return first + second, types

    def tokenizer(self, max_length, **how):
        return TextTokenizer(
            self.backend,
            max_length=max_length,
            pad_id=0,
            has_type_ids=True,
            config={},
            **how,
        )


FAMILIES = {
    "bert": (bert, (["[CLS]"], ["[SEP]"]), ["[SEP]"], 1),
    "byte-level": (byte_level, (["<s>"], ["</s>"]), ["</s>", "</s>"], 0),
    "bare": (bare, ([], []), [], 1),
}


@pytest.fixture(scope="session")
def reference(checkpoint):
    """The tokenizer of transformers."""
    return PreTrainedTokenizerFast.from_pretrained(checkpoint)


@pytest.fixture(scope="session", params=FAMILIES)
def family(request, reference):
    return Family(*FAMILIES[request.param], reference)


@pytest.fixture(scope="session")
def bert_family(reference):
    return Family(*FAMILIES["bert"], reference)


def singles(texts):
    return Texts(list(texts), None, n_features=1, is_2d=False)


def paired(pairs):
    first, second = zip(*pairs, strict=True)
    return Texts(list(first), list(second), n_features=2, is_2d=False)


def windows_of(table):
    """Of each text the ids, type ids and share of each of its windows."""
    rows, windows = table.by_window()
    types = np.zeros_like(rows.ids) if rows.type_ids is None else rows.type_ids
    found = []
    for start, count in zip(windows.starts, windows.counts, strict=True):
        text = []
        for row in range(start, start + count):
            part = slice(rows.starts[row], rows.starts[row] + rows.lengths[row])
            share = float(windows.shares[row])
            text.append((rows.ids[part].tolist(), types[part].tolist(), share))
        found.append(text)
    return found


def slices(ids, room, stride):
    """Pieces of a list that begin `stride` apart, and what is new in each."""
    pieces, n_new, covered = [], [], 0
    begin = 0
    while not pieces or covered < len(ids):
        end = min(begin + room, len(ids))
        pieces.append(ids[begin:end])
        n_new.append(end - covered)
        covered = end
        begin += stride or room
    return pieces, n_new


def assert_windows(found, rows, n_new):
    """The windows of a text are these rows, with these shares."""
    assert [ids for ids, _, _ in found] == [ids for ids, _ in rows]
    assert [types for _, types, _ in found] == [types for _, types in rows]
    shares = [share for _, _, share in found]
    np.testing.assert_allclose(shares, np.array(n_new) / sum(n_new), rtol=1e-6)
    assert sum(shares) == pytest.approx(1, abs=1e-6)


# -- windows of single texts -------------------------------------------------------


@lenient
@given(st.lists(texts, min_size=1, max_size=4), st.integers(3, 24), strides)
def test_windows_are_slices_of_the_text(family, some_texts, max_length, stride):
    """Windows begin a stride apart, with special tokens around; shares are new tokens.

    The last one is the first that reaches the end, so that every token is in one.
    """
    room = family.room(max_length, is_pair=False)
    assume(stride is None or stride <= room)
    tokenizer = family.tokenizer(max_length, long_text="window", window_stride=stride)
    found = windows_of(tokenizer(singles(some_texts)))
    for text, windows in zip(some_texts, found, strict=True):
        ids = family.ids(text)
        if not ids:
            # Where nothing stands for "", a token of padding does.
            expected = family.row([])[0] or [0]
            assert windows == [(expected, [0] * len(expected), 1.0)]
            continue
        pieces, n_new = slices(ids, room, stride)
        assert_windows(windows, [family.row(piece) for piece in pieces], n_new)


@lenient
@given(texts, st.integers(4, 24), st.integers(0, 20))
def test_windows_are_the_overflow_of_transformers(
    reference, bert_family, text, max_length, overlap
):
    """Windows that overlap are what transformers returns as overflowing tokens."""
    room = max_length - 2
    assume(overlap < room)
    expected = reference(
        text,
        truncation=True,
        max_length=max_length,
        stride=overlap,
        return_overflowing_tokens=True,
    )
    tokenizer = bert_family.tokenizer(
        max_length, long_text="window", window_stride=room - overlap
    )
    (windows,) = windows_of(tokenizer(singles([text])))
    assert [ids for ids, _, _ in windows] == expected["input_ids"]


@lenient
@given(texts, st.integers(3, 24))
def test_without_a_stride_every_token_is_read_once(family, text, max_length):
    """`window_stride=None`: the windows, put together, are the text."""
    tokenizer = family.tokenizer(max_length, long_text="window")
    (windows,) = windows_of(tokenizer(singles([text])))
    before, after = map(len, family.around)
    read = [ids[before : len(ids) - after] for ids, _, _ in windows]
    assert sum(read, []) == (family.ids(text) or ([] if before else [0]))
    assert all(len(ids) == max_length for ids, _, _ in windows[:-1])


def test_a_hundred_thousand_words(bert_family):
    """A very long text is read whole, in no more windows than it needs."""
    family = bert_family
    text = "the film was very good " * 20_000
    ids = family.ids(text)
    tokenizer = family.tokenizer(64, long_text="window")
    room = family.room(64, is_pair=False)
    (windows,) = windows_of(tokenizer(singles([text])))
    assert len(ids) >= 100_000
    assert len(windows) == -(-len(ids) // room)
    pieces, n_new = slices(ids, room, None)
    assert_windows(windows, [family.row(piece) for piece in pieces], n_new)


def test_the_number_of_windows_is_linear(bert_family):
    """Twice as long a text has twice as many windows, whatever the stride."""
    tokenizer = bert_family.tokenizer(12, long_text="window", window_stride=3)
    texts = ["the film " * n for n in (500, 1000, 2000)]
    n_windows = [len(found) for found in windows_of(tokenizer(singles(texts)))]
    assert n_windows == [-(-(2 * n - 10) // 3) + 1 for n in (500, 1000, 2000)]


@pytest.mark.parametrize("stride", [9, 100])
def test_a_stride_that_leaves_gaps_is_refused(bert_family, stride):
    """A stride longer than a window is refused, with the greatest that is not."""
    with pytest.raises(ValueError, match=f"window_stride is {stride}, .* at most 8"):
        bert_family.tokenizer(10, long_text="window", window_stride=stride)
    assert bert_family.tokenizer(10, window_stride=stride).max_length == 10
    tokenizer = bert_family.tokenizer(10, long_text="window", window_stride=8)
    assert tokenizer.window_stride == 8


# -- pairs -------------------------------------------------------------------------


def kept_of_a_pair(reference, pair, max_length):
    """How many tokens of each half transformers keeps where it cuts the longer one."""
    encoding = reference(
        [pair[0]], [pair[1]], truncation="longest_first", max_length=max_length
    )
    sides = encoding.sequence_ids(0)
    return [sides.count(0), sides.count(1)]


@lenient
@given(texts, texts, st.integers(6, 30), strides)
def test_the_longer_half_of_a_pair_is_divided(
    family, reference, first, second, max_length, stride
):
    """The other half goes with each window, whole or cut to half of the room."""
    halves = [family.ids(first), family.ids(second)]
    assume(len(halves[0]) != len(halves[1]))
    room = family.room(max_length, is_pair=True)
    assume(stride is None or stride <= family.room(max_length, is_pair=False))
    assume(halves[0] or halves[1])
    tokenizer = family.tokenizer(max_length, long_text="window", window_stride=stride)
    table = tokenizer(paired([(first, second)]))
    (windows,) = windows_of(table)
    long = int(len(halves[1]) > len(halves[0]))
    other = halves[1 - long]
    if sum(map(len, halves)) <= room:
        assert_windows(windows, [family.row(*halves)], [1])
        assert not table.is_cut[0]
        return
    kept = other[: room // 2]
    size = room - len(kept)
    step = min(stride or size, size)
    pieces, n_new = slices(halves[long], size, step)
    pairs = [(kept, piece) if long else (piece, kept) for piece in pieces]
    assert_windows(windows, [family.row(*pair) for pair in pairs], n_new)
    assert table.is_cut.tolist() == [len(kept) < len(other)]


@pytest.mark.parametrize("max_length", [12, 13])
@pytest.mark.parametrize("long", [0, 1])
def test_a_half_that_is_longer_by_one_is_divided(bert_family, max_length, long):
    """Also where both halves are too long, and one is longer by one token."""
    texts = ["cat " * 20, "dog " * 20]
    texts[long] += "film"
    table = bert_family.tokenizer(max_length, long_text="window")(paired([texts]))
    (windows,) = windows_of(table)
    (film,) = bert_family.ids("film")
    assert sum(ids.count(film) for ids, _, _ in windows) == 1
    assert table.is_cut.tolist() == [True]


@pytest.mark.parametrize("max_length", [12, 13])
@pytest.mark.parametrize("n_words", [6, 20])
def test_of_equal_halves_one_is_divided(family, max_length, n_words):
    """Of halves of one length, one is read whole in windows, the other is cut."""
    halves = [["cat"] * n_words, ["dog"] * n_words]
    pair = tuple(" ".join(half) for half in halves)
    table = family.tokenizer(max_length, long_text="window")(paired([pair]))
    (windows,) = windows_of(table)
    ids = [family.ids(text) for text in pair]
    room = family.room(max_length, is_pair=True)
    rows = [row for row, _, _ in windows]
    expected = []
    for long, n_other in itertools.product((0, 1), (room // 2, room - room // 2)):
        other = ids[1 - long][:n_other]
        pieces, _ = slices(ids[long], room - len(other), None)
        pairs = [(other, piece) if long else (piece, other) for piece in pieces]
        expected.append([family.row(*each)[0] for each in pairs])
    assert rows in expected
    assert table.is_cut[0] == (len(ids[0]) > room // 2)


@pytest.mark.parametrize(
    ("first", "second", "is_cut"),
    [
        ("cat " * 50, "dog", False),
        ("dog", "cat " * 50, False),
        ("cat " * 50, "dog " * 9, False),
        ("cat " * 50, "dog " * 10, True),
        ("dog " * 10, "cat " * 50, True),
        ("", "cat " * 50, False),
    ],
)
def test_a_half_that_is_left_out_is_reported(bert_family, first, second, is_cut):
    """A pair counts as cut only where the half that is not divided is shortened."""
    tokenizer = bert_family.tokenizer(21, long_text="window")
    table = tokenizer(paired([(first, second), ("a", "b")]))
    report = truncation_report(table.whole_lengths, 21, table.is_cut)
    assert report["n_truncated"] == int(is_cut)
    assert report["longest"] == len([*first.split(), *second.split()]) + 3


def test_single_texts_in_windows_are_not_cut(family):
    """Nothing of a text that is read in windows is reported as cut."""
    table = family.tokenizer(8, long_text="window")(singles(["cat " * 99, "dog"]))
    assert not table.is_cut.any()
    report = truncation_report(table.whole_lengths, 8, table.is_cut)
    assert report["n_truncated"] == 0
    n_special = sum(map(len, family.around))
    assert report["longest"] == len(family.ids("cat " * 99)) + n_special


def test_where_special_tokens_leave_no_room(family):
    """A window without room for one token of the pair is refused in words."""
    n_special = len(family.row([], [])[0])
    tokenizer = family.tokenizer(max(1, n_special), long_text="window")
    if not n_special:  # one token is room enough
        assert len(tokenizer(singles(["cat dog"])).by_window()[0]) == 2
        return
    with pytest.raises(ValueError, match="max_length"):
        tokenizer(paired([("cat dog", "film plot")]))


# -- head and tail -----------------------------------------------------------------


@lenient
@given(texts, st.integers(3, 24))
def test_head_and_tail(family, text, max_length):
    """A quarter of the room from the beginning and the rest from the end."""
    table = family.tokenizer(max_length, long_text="head_tail")(singles([text]))
    ids = family.ids(text)
    room = family.room(max_length, is_pair=False)
    assume(ids)
    kept = ids
    if len(ids) > room:
        n_head = round(room / 4)
        kept = ids[:n_head] + ids[-(room - n_head) :]
    assert table.ids.tolist() == family.row(kept)[0]
    assert table.is_cut.tolist() == [len(ids) > room]
    assert table.whole_lengths.tolist() == [len(family.row(ids)[0])]
    assert table.windows is None


def test_head_and_tail_as_published(bert_family):
    """Of 510 tokens 128 are the first and 382 the last, as Sun et al. (2019) keep."""
    text = " ".join(["cat"] * 128 + ["film"] * 200 + ["dog"] * 382)
    table = bert_family.tokenizer(512, long_text="head_tail")(singles([text]))
    (cat,), (dog,) = bert_family.ids("cat"), bert_family.ids("dog")
    assert table.ids[1:-1].tolist() == [cat] * 128 + [dog] * 382


@lenient
@given(texts, texts, st.integers(4, 24))
def test_head_and_tail_of_pairs(bert_family, reference, first, second, max_length):
    """Each half has as many tokens as transformers would leave it, of both its ends."""
    tokenizer = bert_family.tokenizer(max_length, long_text="head_tail")
    table = tokenizer(paired([(first, second)]))
    halves = []
    for text, n in zip(
        (first, second),
        kept_of_a_pair(reference, (first, second), max_length),
        strict=True,
    ):
        ids = bert_family.ids(text)
        n_head = round(n / 4)
        halves.append(
            ids if len(ids) <= n else ids[:n_head] + ids[len(ids) - n :][n_head:]
        )
    ids, types = bert_family.row(*halves)
    assert table.ids.tolist() == ids
    assert table.type_ids.tolist() == types


# -- tables ------------------------------------------------------------------------


@lenient
@given(
    st.lists(st.tuples(texts, texts), min_size=1, max_size=4),
    st.sampled_from(LONG_TEXT),
    st.booleans(),
)
def test_texts_that_fit_are_left_alone(family, pairs, long_text, is_pair):
    """Whatever becomes of long texts, the others are tokenised as ever."""
    some = paired(pairs) if is_pair else singles(first for first, _ in pairs)
    plain = family.tokenizer(1000)(some)
    table = family.tokenizer(1000, long_text=long_text)(some)
    for name in ("ids", "starts", "lengths", "whole_lengths", "type_ids", "is_cut"):
        np.testing.assert_array_equal(getattr(table, name), getattr(plain, name))
    if long_text == "window":
        assert table.windows.counts.tolist() == [1] * len(some)
        rows, windows = table.by_window()
        np.testing.assert_array_equal(windows.shares, 1)
        np.testing.assert_array_equal(rows.starts[windows.starts], plain.starts)


@lenient
@given(
    st.lists(st.tuples(texts, texts), min_size=1, max_size=6),
    st.booleans(),
    st.sampled_from(["window", "head_tail"]),
    st.data(),
)
def test_remembered_windows_are_fresh_ones(family, pairs, is_pair, long_text, data):
    """Texts get the same windows whether all, some or none are known already."""
    some = paired(pairs) if is_pair else singles(sum(pairs, ()))
    how = {"long_text": long_text, "window_stride": 3}
    tokenizer = family.tokenizer(11, **how)
    cache_info(clear=True)
    fresh = tokenizer(some)
    cache_info(clear=True)
    for row in data.draw(st.lists(st.integers(0, len(some) - 1))):
        tokenizer(some.part(row, row + 1))
    for _ in range(2):
        table = tokenizer(some)
        for name in ("ids", "starts", "lengths", "whole_lengths", "is_cut"):
            np.testing.assert_array_equal(getattr(table, name), getattr(fresh, name))
        if long_text == "window":
            assert windows_of(table) == windows_of(fresh)


def test_ways_to_read_are_told_apart_in_the_cache(bert_family):
    """Tokens of one way to read long texts are not taken for those of another."""
    some = singles(["cat dog film plot good bad one two three i you we"])
    settings = [
        {},
        {"long_text": "head_tail"},
        {"long_text": "window"},
        {"long_text": "window", "window_stride": 2},
    ]
    found = [bert_family.tokenizer(8, **how)(some).ids.tolist() for how in settings]
    assert all(a != b for a, b in itertools.combinations(found, 2))
    again = [bert_family.tokenizer(8, **how)(some).ids.tolist() for how in settings]
    assert again == found


@lenient
@given(
    st.lists(texts, min_size=1, max_size=6),
    st.data(),
    st.one_of(st.none(), st.integers(1, 6)),
)
def test_windows_of_a_part_of_a_table(bert_family, some_texts, data, stride):
    """`take` and `by_window` together: the windows of the texts taken, in order."""
    tokenizer = bert_family.tokenizer(8, long_text="window", window_stride=stride)
    table = tokenizer(singles(some_texts))
    any_row = st.integers(0, len(table) - 1)
    taken = np.array(data.draw(st.lists(any_row, min_size=1)))
    whole = windows_of(table)
    part = table.take(taken)
    assert windows_of(part) == [whole[row] for row in taken]
    rows, windows = part.by_window()
    found = rows.take(windows.rows())
    ids = [
        found.ids[start : start + length].tolist()
        for start, length in zip(found.starts, found.lengths, strict=True)
    ]
    assert ids == [window[0] for row in taken for window in whole[row]]
    assert windows.text_of_row().tolist() == [
        place for place, row in enumerate(taken) for _ in whole[row]
    ]
    expected = sorted({i for row in taken for window in whole[row] for i in window[0]})
    assert part.vocabulary().tolist() == expected


def test_a_table_without_windows_is_its_own(bert_family):
    """Where texts are cut, `by_window` gives the table itself, and None."""
    table = bert_family.tokenizer(8)(singles(["cat " * 20]))
    rows, windows = table.by_window()
    assert rows is table
    assert windows is None


def test_equal_texts_share_their_windows(bert_family):
    """The windows of a text that occurs twice lie in the table once."""
    tokenizer = bert_family.tokenizer(8, long_text="window")
    table = tokenizer(singles(["cat " * 20, "dog", "cat " * 20]))
    assert table.windows.starts.tolist() == [0, 4, 0]
    assert table.windows.counts.tolist() == [4, 1, 4]
    assert len(table.by_window()[0]) == 5


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("long_text", ["window", "head_tail"])
def test_parts_are_the_whole(bert_family, long_text, size):
    """Tables of so many texts at a time hold the windows of a single one."""
    some = [*SENTENCES, "cat " * 40, "dog", "", "film plot " * 9]
    tokenizer = bert_family.tokenizer(9, long_text=long_text)
    whole = tokenizer(singles(some))
    cache_info(clear=True)
    parts = list(tokenizer.in_parts(singles(some), size))
    assert [len(part) for part in parts] == [
        len(some[begin : begin + size]) for begin in range(0, len(some), size)
    ]
    found = np.concatenate([part.is_cut for part in parts])
    np.testing.assert_array_equal(found, whole.is_cut)
    if long_text == "window":
        assert sum(map(windows_of, parts), []) == windows_of(whole)
    else:
        ids = np.concatenate([part.ids for part in parts])
        np.testing.assert_array_equal(ids, whole.ids)


def test_windows_by_hand():
    """`rows` and `text_of_row` go through the texts in order, wherever rows lie."""
    windows = Windows(np.array([5, 0, 3]), np.array([2, 3, 1]), np.ones(7, np.float32))
    assert windows.rows().tolist() == [5, 6, 0, 1, 2, 3]
    assert windows.text_of_row().tolist() == [0, 0, 1, 1, 1, 2]
    assert windows.take(np.array([2, 0])).rows().tolist() == [3, 5, 6]


def test_a_tokenizer_in_windows_round_trips(bert_family):
    """Long text and stride are among the settings that build a tokenizer again."""
    how = {"long_text": "window", "window_stride": 3}
    tokenizer = bert_family.tokenizer(9, **how)
    again = TextTokenizer.from_json(tokenizer.to_json(), tokenizer.settings())
    some = singles(["cat dog film " * 9])
    found = windows_of(tokenizer(some))
    assert len(found[0]) > 5
    cache_info(clear=True)
    assert windows_of(again(some)) == found
    assert again.fingerprint == tokenizer.fingerprint
    assert again.fingerprint != bert_family.tokenizer(9).fingerprint


def test_a_checkpoint_makes_such_a_tokenizer(checkpoint):
    """The tokenizer of a checkpoint reads long texts as it was asked to."""
    loaded = load_checkpoint(checkpoint)
    tokenizer = loaded.text_tokenizer(10, long_text="window", window_stride=4)
    (windows,) = windows_of(tokenizer(singles(["cat " * 16])))
    assert len(windows) == 3
    assert [share for _, _, share in windows] == [0.5, 0.25, 0.25]
