"""Token tables hold what transformers would make of the texts, and say what was cut."""

import copy
import itertools
import json
import pickle
import re
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer

from sklearn_bert import cache_info
from sklearn_bert.text import _tokenizer
from sklearn_bert.text._input import Texts, check_texts
from sklearn_bert.text._reports import TruncationWarning, truncation_report, warn_if_cut
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer

lenient = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

SENTENCES = [
    "the film was very good",
    "bad",
    "",
    "I love the cat, and the cat loves nobody!",
    "one two three",
    "the film was very good",
]
words = st.sampled_from(
    ["the", "film", "good", "Unfathomable", "é", "好", "[MASK]", "[SEP]", "!", "1", ""]
)
sentences = st.lists(words, max_size=12).map(" ".join)
any_text = st.one_of(sentences, st.text(max_size=20))
# Up to some characters more than the cache takes for a key.
texts_of_any_length = st.one_of(
    any_text,
    st.builds(
        lambda text, length: (text * length)[:length],
        st.text(min_size=1, max_size=5),
        st.integers(_tokenizer.KEY_LENGTH - 2, _tokenizer.KEY_LENGTH + 3),
    ),
)


@pytest.fixture(scope="session")
def reference(checkpoint):
    """The tokenizer of transformers, to compare with."""
    return AutoTokenizer.from_pretrained(checkpoint)


@pytest.fixture(scope="session")
def make_tokenizer(reference):
    """Build the tokenizer under test with some length limit."""

    def make(max_length=16, *, has_type_ids=True):
        return TextTokenizer(
            reference.backend_tokenizer,
            max_length=max_length,
            pad_id=reference.pad_token_id,
            has_type_ids=has_type_ids,
            config={"padding_side": "right"},
        )

    return make


@pytest.fixture(scope="session")
def bare_tokenizer(reference):
    """A tokenizer without special tokens, which makes nothing of an empty text."""
    backend = Tokenizer.from_str(reference.backend_tokenizer.to_str())
    backend.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1")
    return TextTokenizer(backend, max_length=4, pad_id=7, has_type_ids=True, config={})


def singles(texts):
    """Texts as they leave `check_texts`, without its checks."""
    return Texts(list(texts), None, n_features=1, is_2d=False)


def paired(pairs):
    """Pairs as they leave `check_texts`, without its checks."""
    first, second = zip(*pairs, strict=True)
    return Texts(list(first), list(second), n_features=2, is_2d=False)


def rows_of(table, values):
    """Read a flat array of a table text by text."""
    ends = table.starts + table.lengths
    return [values[i:j].tolist() for i, j in zip(table.starts, ends, strict=True)]


def assert_same_table(table, other):
    """Every array of two tables is the same."""
    for name in ("ids", "starts", "lengths", "whole_lengths", "type_ids", "is_cut"):
        np.testing.assert_array_equal(getattr(table, name), getattr(other, name))


# -- the same tokens as transformers -----------------------------------------------


@lenient
@given(st.lists(any_text, min_size=1, max_size=8), st.integers(4, 12))
def test_texts_get_the_ids_of_transformers(
    make_tokenizer, reference, texts, max_length
):
    """Any texts, cut or not, get the ids that transformers gives them, in order."""
    table = make_tokenizer(max_length)(singles(texts))
    expected = reference(texts, truncation=True, max_length=max_length)
    assert len(table) == len(texts)
    assert rows_of(table, table.ids) == expected["input_ids"]
    assert table.type_ids is None


@lenient
@given(
    st.lists(st.tuples(any_text, any_text), min_size=1, max_size=8), st.integers(4, 20)
)
def test_pairs_get_the_ids_of_transformers(
    make_tokenizer, reference, pairs, max_length
):
    """Any pairs, cut or not, get the ids and token types of transformers."""
    table = make_tokenizer(max_length)(paired(pairs))
    first, second = map(list, zip(*pairs, strict=True))
    expected = reference(first, second, truncation=True, max_length=max_length)
    assert len(table) == len(pairs)
    assert rows_of(table, table.ids) == expected["input_ids"]
    assert rows_of(table, table.type_ids) == expected["token_type_ids"]


@pytest.mark.parametrize(
    ("pair", "kept"),
    [
        (("the film was very good", "bad"), "[CLS] the film was [SEP] bad [SEP]"),
        (("bad", "the film was very good"), "[CLS] bad [SEP] the film was [SEP]"),
        (("one two three", "cat dog film"), "[CLS] one two [SEP] cat dog [SEP]"),
    ],
)
def test_pairs_are_cut_at_the_longer_half(make_tokenizer, reference, pair, kept):
    """A long pair loses the end of its longer half first."""
    table = make_tokenizer(7)(paired([pair]))
    assert reference.convert_ids_to_tokens(table.ids) == kept.split()


def test_tables_have_the_documented_dtypes(make_tokenizer):
    """Ids are int32, starts and lengths int64, token types uint8."""
    table = make_tokenizer()(paired([("the film", "was good")]))
    arrays = {name: value for name, value in vars(table).items() if value is not None}
    assert {name: array.dtype for name, array in arrays.items()} == {
        "ids": np.int32,
        "starts": np.int64,
        "lengths": np.int64,
        "whole_lengths": np.int64,
        "type_ids": np.uint8,
        "is_cut": np.bool_,
    }


def test_models_without_token_types_get_none(make_tokenizer):
    """Pairs have the same ids, but no token types, where the model has none."""
    texts = paired([("the film", "was good"), ("bad", "")])
    table = make_tokenizer(has_type_ids=False)(texts)
    assert table.type_ids is None
    assert table.ids.tolist() == make_tokenizer()(texts).ids.tolist()


def test_empty_text_without_special_tokens_is_one_pad(bare_tokenizer):
    """Where nothing stands for "", one pad token does: no row is empty."""
    table = bare_tokenizer(singles(["", "good film", ""]))
    assert table.lengths.tolist() == [1, 2, 1]
    assert rows_of(table, table.ids)[0] == [7]
    assert rows_of(table, table.ids)[2] == [7]
    assert table.whole_lengths.tolist() == [0, 2, 0]
    pairs = bare_tokenizer(paired([("", ""), ("good", "film")]))
    assert rows_of(pairs, pairs.type_ids) == [[0], [0, 1]]


def test_chunks_make_no_difference(make_tokenizer, monkeypatch):
    """Tokenising chunk by chunk gives the table of one big chunk, cuts included."""
    tokenizer = make_tokenizer(5)
    texts = singles(f"{word} {word} film {i}" for i, word in enumerate(SENTENCES * 3))
    whole = tokenizer(texts)
    monkeypatch.setattr(_tokenizer, "TEXTS_PER_CALL", 4)
    cache_info(clear=True)
    assert_same_table(tokenizer(texts), whole)


# -- each text once ----------------------------------------------------------------


@lenient
@given(
    st.lists(st.sampled_from(["a", "b", "a b", "", "good film"]), min_size=1).map(
        lambda texts: [*texts, texts[0]]
    )
)
def test_equal_texts_share_their_ids(make_tokenizer, texts):
    """Equal texts lie at one place, different ones do not overlap, and none is lost."""
    table = make_tokenizer()(singles(texts))
    place_of = dict(zip(texts, table.starts.tolist(), strict=True))
    assert [place_of[text] for text in texts] == table.starts.tolist()
    assert len(set(place_of.values())) == len(set(texts))
    length_of = dict(zip(texts, table.lengths.tolist(), strict=True))
    assert len(table.ids) == sum(length_of.values())
    rows, inverse = table.distinct()
    assert sorted(texts[row] for row in rows) == sorted(set(texts))
    assert [texts[rows[i]] for i in inverse] == texts


def test_equal_pairs_share_their_ids(make_tokenizer):
    """Pairs are equal if both halves are, in this order."""
    pairs = [("good", "bad"), ("bad", "good"), ("good bad", ""), ("good", "bad")]
    table = make_tokenizer()(paired(pairs))
    assert table.starts[0] == table.starts[3]
    rows, inverse = table.distinct()
    assert len(rows) == 3
    assert [pairs[rows[i]] for i in inverse] == pairs


def test_empty_texts_are_told_apart_from_others(bare_tokenizer):
    """Also where "" has no token of its own, it is a text of its own."""
    texts = ["", "good", "", "film"]
    rows, inverse = bare_tokenizer(singles(texts)).distinct()
    assert [texts[rows[i]] for i in inverse] == texts
    assert len(rows) == 3


def test_part_of_a_table_shares_its_ids(make_tokenizer):
    """Taking rows keeps their tokens in the order asked for, without copying them."""
    pairs = [("good", "bad"), ("film", "the cat"), ("", "dog")]
    table = make_tokenizer()(paired(pairs))
    part = table.take(np.array([2, 0, 2]))
    assert part.whole_lengths.tolist() == table.whole_lengths[[2, 0, 2]].tolist()
    for values in ("ids", "type_ids"):
        assert getattr(part, values) is getattr(table, values)
        texts = rows_of(table, getattr(table, values))
        assert rows_of(part, getattr(part, values)) == [texts[2], texts[0], texts[2]]


@lenient
@given(
    st.lists(st.tuples(sentences, sentences), min_size=1, max_size=6),
    st.booleans(),
    st.data(),
)
def test_table_tells_what_its_texts_hold(make_tokenizer, pairs, is_pair, data):
    """`vocabulary` and `content` tell of the texts taken, and of no other."""
    table = make_tokenizer(9)(paired(pairs) if is_pair else singles(dict(pairs)))
    any_row = st.integers(0, len(table) - 1)
    part = table.take(np.array(data.draw(st.lists(any_row, min_size=1))))
    texts = rows_of(part, part.ids)
    assert part.vocabulary().tolist() == sorted(set(sum(texts, [])))
    known = texts
    if part.type_ids is not None:
        known = list(zip(texts, rows_of(part, part.type_ids), strict=True))
    for i, j in itertools.product(range(len(part)), repeat=2):
        assert (part.content(i) == part.content(j)) == (known[i] == known[j])


# -- truncation --------------------------------------------------------------------


@lenient
@given(
    st.lists(st.tuples(sentences, sentences), min_size=1, max_size=8).map(
        lambda pairs: [*pairs, pairs[0]]
    ),
    st.integers(4, 20),
    st.booleans(),
)
def test_truncation_counts_equal_a_reference_count(
    make_tokenizer, reference, pairs, max_length, is_pair
):
    """What was cut is counted row by row, duplicates too, as counting by hand does."""
    texts = paired(pairs) if is_pair else singles(first for first, _ in pairs)
    table = make_tokenizer(max_length)(texts)
    n_special = 3 if is_pair else 2
    whole = [
        sum(len(reference.tokenize(text)) for text in (pair if is_pair else pair[:1]))
        + n_special
        for pair in pairs
    ]
    assert table.whole_lengths.tolist() == whole
    assert truncation_report(table.whole_lengths, max_length) == {
        "n_texts": len(pairs),
        "n_truncated": sum(length > max_length for length in whole),
        "max_length": max_length,
        "longest": max(whole),
    }
    assert table.lengths.tolist() == [min(length, max_length) for length in whole]


@pytest.mark.parametrize(("max_length", "n_truncated"), [(6, 1), (7, 0), (8, 0)])
def test_text_of_exactly_the_limit_is_whole(make_tokenizer, max_length, n_truncated):
    """A text as long as the limit is not cut, and one token longer it is."""
    table = make_tokenizer(max_length)(singles(["the film was very good"]))
    report = truncation_report(table.whole_lengths, max_length)
    assert report["n_truncated"] == n_truncated
    assert table.lengths.tolist() == [min(7, max_length)]


def test_cut_texts_give_exactly_one_warning(make_tokenizer):
    """One TruncationWarning says how many were cut, where, and how long they were."""
    table = make_tokenizer(5)(singles(SENTENCES))
    message = (
        "3 of 6 texts are longer than 5 tokens and were cut; the longest has 19. Raise "
        "max_length if the checkpoint allows it, or read them whole with "
        "long_text='window'."
    )
    with pytest.warns(TruncationWarning, match=f"^{re.escape(message)}$") as record:
        warn_if_cut(truncation_report(table.whole_lengths, 5))
    assert len(record) == 1
    assert record[0].filename == __file__
    assert issubclass(TruncationWarning, UserWarning)


def test_whole_texts_give_no_warning(make_tokenizer):
    """Nothing is said where nothing was cut, nor by tokenising alone."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = make_tokenizer(4)(singles(SENTENCES))
        warn_if_cut(truncation_report(table.whole_lengths, 19))
    assert caught == []


# -- what the process remembers ----------------------------------------------------


class Spy:
    """A backend that notes what it is asked to tokenise."""

    def __init__(self, backend):
        self.backend = backend
        self.asked = []

    def encode_batch_fast(self, texts):
        self.asked += texts
        return self.backend.encode_batch_fast(texts)

    def encode(self, text):
        self.asked.append(text)
        return self.backend.encode(text)


def spy_on(tokenizer):
    """Note what a tokenizer tokenises."""
    assert tokenizer.fingerprint  # taken of the backend, before it is hidden
    tokenizer.backend = Spy(tokenizer.backend)
    return tokenizer.backend.asked


def test_known_texts_are_not_tokenised_again(make_tokenizer):
    """A second call tokenises what is new to the process, and nothing else."""
    tokenizer = make_tokenizer(5)
    whole = spy_on(tokenizer)
    first = tokenizer(singles(SENTENCES))
    assert whole == list(dict.fromkeys(SENTENCES))
    assert first.is_cut.sum() == 3
    assert_same_table(tokenizer(singles(SENTENCES)), first)
    assert len(whole) == 5
    tokenizer(singles(["bad", "new", *SENTENCES]))
    assert whole[5:] == ["new"]
    pairs = paired([("bad", "good"), ("good", "bad")])
    assert_same_table(tokenizer(pairs), tokenizer(pairs))
    assert whole[6:] == pairs.rows()
    assert cache_info()["tokens"]["misses"] == len(whole)
    cache_info(clear=True)
    tokenizer(singles(["bad"]))
    assert whole[8:] == ["bad"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (paired([("ab", "c")]), paired([("a", "bc")])),
        (paired([("a", "b")]), paired([("b", "a")])),
        (paired([("a", "")]), singles(["a"])),
        (singles(["a"]), paired([("a", "a")])),
        (singles(["a b" * 200]), singles(["a b" * 200 + "c"])),
        (paired([("c" * 300, "b" * 300)]), paired([("b" * 300, "c" * 300)])),
        (singles(["a"]), singles(["a "])),
        (singles(["é"]), singles(["e\u0301"])),
    ],
)
def test_what_differs_is_not_taken_for_the_other(make_tokenizer, one, other):
    """Pairs, texts and long ones that look alike each get tokens of their own."""
    tokenizer = make_tokenizer(1000)
    alone = tokenizer(other)
    cache_info(clear=True)
    tokenizer(one)
    assert_same_table(tokenizer(other), alone)
    assert cache_info()["tokens"]["misses"] == 2


def test_tokenizers_do_not_share_what_they_make(make_tokenizer, bare_tokenizer):
    """One tokenizer never gets what another, or one of another length, has made."""
    added = Tokenizer.from_str(make_tokenizer().to_json())
    added.add_tokens(["very good"])
    settings_of_added = make_tokenizer(6).settings()
    makers = [
        lambda: make_tokenizer(6),
        lambda: make_tokenizer(7),
        lambda: make_tokenizer(6, has_type_ids=False),
        lambda: bare_tokenizer,
        lambda: TextTokenizer(added, **settings_of_added),
        lambda: TextTokenizer(added, **(settings_of_added | {"pad_id": 3})),
    ]
    texts = paired(zip(SENTENCES, reversed(SENTENCES), strict=True))
    alone = []
    for make in makers:
        cache_info(clear=True)
        alone.append(make()(texts))
    cache_info(clear=True)
    for make, table in zip(makers, alone, strict=True):
        assert_same_table(make()(texts), table)
    assert cache_info()["tokens"]["hits"] == 0
    assert len({make().fingerprint for make in makers}) == len(makers)


def test_equal_tokenizers_share_what_they_make(make_tokenizer):
    """A copy of a tokenizer, or one built anew, knows what the first has made."""
    tokenizer = make_tokenizer(6)
    table = tokenizer(singles(SENTENCES))
    for again in (pickle.loads(pickle.dumps(tokenizer)), make_tokenizer(6)):
        assert again.fingerprint == tokenizer.fingerprint
        whole = spy_on(again)
        assert_same_table(again(singles(SENTENCES)), table)
        assert whole == []


def test_pickle_holds_no_memory(make_tokenizer):
    """A tokenizer's pickle does not grow with what it has tokenised."""
    tokenizer = make_tokenizer()
    before = pickle.dumps(tokenizer)
    tokenizer(singles(f"film {i}" for i in range(1000)))
    assert pickle.dumps(tokenizer) == before


@lenient
@given(
    st.lists(
        st.tuples(texts_of_any_length, texts_of_any_length), min_size=1, max_size=6
    ),
    st.integers(4, 300),
    st.booleans(),
    st.data(),
)
def test_remembered_tokens_are_fresh_ones(
    make_tokenizer, pairs, max_length, is_pair, data
):
    """Any texts and pairs get the same tokens whether all, some or none are known."""
    tokenizer = make_tokenizer(max_length)
    texts = paired(pairs) if is_pair else singles(sum(pairs, ()))
    cache_info(clear=True)
    fresh = tokenizer(texts)
    cache_info(clear=True)
    for row in data.draw(st.lists(st.integers(0, len(texts) - 1))):
        tokenizer(texts.part(row, row + 1))
    assert_same_table(tokenizer(texts), fresh)
    misses = cache_info()["tokens"]["misses"]
    assert misses == len(set(texts.rows()))
    assert_same_table(tokenizer(texts), fresh)
    assert cache_info()["tokens"]["misses"] == misses


# -- part by part ------------------------------------------------------------------


@lenient
@given(
    st.lists(st.tuples(sentences, sentences), min_size=1, max_size=12),
    st.integers(1, 14),
    st.booleans(),
)
def test_parts_are_the_whole(make_tokenizer, pairs, size, is_pair):
    """Tables of any size, one after the other, hold the tokens of a single one."""
    tokenizer = make_tokenizer(9)
    texts = paired(pairs) if is_pair else singles(first for first, _ in pairs)
    whole = tokenizer(texts)
    cache_info(clear=True)
    parts = list(tokenizer.in_parts(texts, size))
    n_full, rest = divmod(len(texts), size)
    assert [len(part) for part in parts] == [size] * n_full + [rest] * (rest > 0)
    for name in ("ids", "type_ids")[: 1 + is_pair]:
        found = sum((rows_of(part, getattr(part, name)) for part in parts), [])
        assert found == rows_of(whole, getattr(whole, name))
    found = np.concatenate([part.whole_lengths for part in parts])
    np.testing.assert_array_equal(found, whole.whole_lengths)


def test_next_part_is_made_meanwhile(make_tokenizer):
    """While the caller has one table, a thread makes the next, and no more."""
    tokenizer = make_tokenizer()
    whole = spy_on(tokenizer)
    tables = tokenizer.in_parts(singles("abcdef"), 2)
    n_threads = threading.active_count()
    next(tables)
    deadline = time.monotonic() + 20
    while len(whole) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    assert whole == list("abcd")
    tables.close()
    assert threading.active_count() == n_threads


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("size", [1, 4, 6])
def test_error_of_a_part_reaches_the_caller(make_tokenizer, place, size):
    """What the thread stumbles over is raised here, after the parts before it."""
    texts = list("abcdef")
    texts[place] = "\ud800"
    tables = make_tokenizer().in_parts(singles(texts), size)
    n_threads = threading.active_count()
    for _ in range(place // size):
        next(tables)
    with pytest.raises(TypeError, match=r"Text\w+ must be"):
        next(tables)
    assert threading.active_count() == n_threads


# -- any text ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "n_tokens"),
    [("a" * 2**20, 3), ("𠀀" * 2**18, 2**18 + 2), ("\0" * 2**20, 2)],
    ids=["letters", "ideographs", "NUL"],
)
def test_megabyte_without_a_space_is_tokenised(make_tokenizer, text, n_tokens):
    """A megabyte without a space is read, and its tokens are counted."""
    table = make_tokenizer(16)(singles([text]))
    assert len(text.encode()) == 2**20
    assert table.lengths.tolist() == [min(n_tokens, 16)]
    assert table.whole_lengths.tolist() == [n_tokens]


def test_twenty_thousand_random_texts_are_tokenised(make_tokenizer):
    """Letters of all planes, surrogates and controls included, are always read."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, [0x110000, 0x110000, 0x3000, 0x3000, 0x80], (20_000, 5))
    codes[::10, 0] = rng.integers(0xD800, 0xE000, 2_000)
    X = ["".join(map(chr, row)) for row in codes.tolist()]
    n_broken = ((codes >= 0xD800) & (codes < 0xE000)).any(axis=1).sum()
    with pytest.warns(UserWarning, match=f"{n_broken} of 20000 texts hold surrogates"):
        texts = check_texts(X)
    table = make_tokenizer(16)(texts)
    assert len(table) == len(X)
    assert table.lengths.min() >= 2
    assert table.lengths.max() <= 16


# -- the caller's tokenizer, threads and pickles -----------------------------------


def test_tokenizer_of_the_caller_stays_as_it_was(reference):
    """The caller's settings neither change nor matter, before and after."""
    backend = Tokenizer.from_str(reference.backend_tokenizer.to_str())
    backend.enable_truncation(3)
    backend.enable_padding(length=9)
    before = backend.to_str()
    tokenizer = TextTokenizer(
        backend, max_length=5, pad_id=0, has_type_ids=True, config={}
    )
    table = tokenizer(singles(SENTENCES))
    assert backend.to_str() == before
    expected = reference(SENTENCES, truncation=True, max_length=5)["input_ids"]
    assert rows_of(table, table.ids) == expected
    backend.enable_truncation(4)
    backend.add_tokens(["the film"])
    cache_info(clear=True)
    assert_same_table(tokenizer(singles(SENTENCES)), table)


def test_texts_stay_as_they_were(make_tokenizer):
    """Tokenising changes nothing in the texts."""
    texts = paired(zip(SENTENCES, reversed(SENTENCES), strict=True))
    before = copy.deepcopy(texts)
    make_tokenizer(5)(texts)
    assert texts == before


def test_threads_tokenise_as_one_does(make_tokenizer):
    """Eight threads on one tokenizer get the tables that one thread gets."""
    tokenizer = make_tokenizer(6)
    jobs = [
        singles(
            f"{sentence} {i % 50} {job}" for i, sentence in enumerate(SENTENCES * 50)
        )
        for job in range(48)
    ]
    expected = [tokenizer(job) for job in jobs]
    cache_info(clear=True)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # many changes of thread, so that a race would show
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(tokenizer, jobs))
    finally:
        sys.setswitchinterval(interval)
    for table, other in zip(found, expected, strict=True):
        assert_same_table(table, other)


@pytest.mark.parametrize(
    "again",
    [
        lambda tokenizer: pickle.loads(pickle.dumps(tokenizer)),
        copy.deepcopy,
        lambda tokenizer: TextTokenizer.from_json(
            tokenizer.to_json(), json.loads(json.dumps(tokenizer.settings()))
        ),
    ],
    ids=["pickle", "deepcopy", "json"],
)
def test_tokenizer_round_trips(make_tokenizer, again):
    """A tokenizer comes back from pickle, copy and JSON as it was."""
    tokenizer = make_tokenizer(6)
    copied = again(tokenizer)
    assert copied.settings() == tokenizer.settings()
    assert copied.to_json() == tokenizer.to_json()
    assert copied.settings() == {
        "max_length": 6,
        "pad_id": 0,
        "has_type_ids": True,
        "config": {"padding_side": "right"},
        "long_text": "truncate",
        "window_stride": None,
    }
    texts = paired(zip(SENTENCES, reversed(SENTENCES), strict=True))
    table = tokenizer(texts)
    cache_info(clear=True)
    assert_same_table(copied(texts), table)


def test_json_has_no_length_limit(make_tokenizer, reference):
    """The JSON is the checkpoint's tokenizer, with neither truncation nor padding."""
    backend = Tokenizer.from_str(reference.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    description = json.loads(make_tokenizer(6).to_json())
    assert description == json.loads(backend.to_str())
    assert description["truncation"] is None
    assert description["padding"] is None


def test_repr_is_short(make_tokenizer):
    """The repr names the limit and spills no vocabulary."""
    assert repr(make_tokenizer(6)) == "TextTokenizer(max_length=6)"


def test_tables_can_be_built_by_hand():
    """A table is its arrays: `len` counts texts, `distinct` goes by their starts."""
    table = TokenTable(
        ids=np.arange(5, dtype=np.int32),
        starts=np.array([3, 0, 3]),
        lengths=np.array([2, 3, 2]),
        type_ids=None,
        whole_lengths=np.array([2, 5, 2]),
    )
    assert len(table) == 3
    rows, inverse = table.distinct()
    assert (rows.tolist(), inverse.tolist()) == ([1, 0], [1, 0, 1])
