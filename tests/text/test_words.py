"""Pieces and places of words, held against what transformers makes of them."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.text._words import check_words, tokenize_words

lenient = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

WORDS = ["the", "film", "Good", "unfathomable", "é", "好", "cat's", "1", "[SEP]", "..."]
some_words = st.one_of(
    st.sampled_from(WORDS),
    # No spaces: transformers would take what is around them for words of one word too,
    # but each word has its pieces here, and its first one alone counts.
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Zs"]), min_size=1),
)
short_words = st.sampled_from(["cat", "plot", "one", "!", "Good", "cats", "é"])


def byte_level():
    """A tokenizer like RoBERTa's, with a space before each word."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        show_progress=False,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    sentences = ["the film was very good", "film the plot , a cat 's film", "cats"]
    backend.train_from_iterator(sentences, trainer)
    backend.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=True
    )
    return backend


@pytest.fixture(scope="session", params=["bert", "byte-level"])
def family(request, checkpoint):
    """A tokenizer, and the one of transformers that splits words as it should."""
    if request.param == "bert":
        reference = AutoTokenizer.from_pretrained(checkpoint)
        return reference.backend_tokenizer, reference
    backend = byte_level()
    spaced = Tokenizer.from_str(backend.to_str())
    spaced.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    names = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "pad": "<pad>"}
    names = {f"{name}_token": token for name, token in names.items()}
    return backend, PreTrainedTokenizerFast(tokenizer_object=spaced, **names)


@pytest.fixture(scope="session")
def make_tokenizer(family):
    made = {}

    def make(max_length):
        if max_length not in made:
            made[max_length] = TextTokenizer(
                family[0],
                max_length=max_length,
                pad_id=family[1].pad_token_id,
                has_type_ids=False,
                config={},
            )
        return made[max_length]

    return make


def read_by_row(table):
    """Of each row its ids, and the ids at which its words begin."""
    rows = []
    for row in range(len(table)):
        begin, first = table.starts[row], table.word_starts[row]
        ids = table.ids[begin : begin + table.lengths[row]].tolist()
        places = table.word_positions[first : first + table.word_counts[row]].tolist()
        rows.append((ids, places))
    return rows


def rows_of_sentence(table, sentence):
    """The same of the rows of one sentence."""
    rows = read_by_row(table)
    return [rows[row] for row in table.rows_of(np.array([sentence]))]


def first_places(encoding, n_words):
    """Where `labels` says that each word begins."""
    ids = encoding.word_ids()
    return [ids.index(word) for word in range(n_words)]


# -- the same as transformers ------------------------------------------------------


@lenient
@given(st.lists(st.lists(some_words, max_size=8), min_size=1, max_size=4))
def test_ids_and_places_are_those_of_transformers(family, make_tokenizer, sentences):
    """Sentences that fit: their ids, and the first piece of every word."""
    _, reference = family
    sentences = [*sentences, ["the"]]  # one word at least
    table = tokenize_words(make_tokenizer(10_000), sentences)
    for i, sentence in enumerate(sentences):
        found = rows_of_sentence(table, i)
        if not sentence:
            assert found == []
            continue
        pieces = reference(
            [[word] for word in sentence],
            is_split_into_words=True,
            add_special_tokens=False,
        )["input_ids"]
        ((ids, places),) = found
        if all(pieces):
            expected = reference(sentence, is_split_into_words=True)
            assert ids == expected["input_ids"]
            assert places == first_places(expected, len(sentence))
        else:
            unknown = [reference.unk_token_id]
            whole = sum((piece or unknown for piece in pieces), [])
            assert ids[1:-1] == whole
    assert table.whole_lengths.tolist() == table.lengths.tolist()


@pytest.mark.parametrize("nothing", ["", "\x00", "\x7f", "\u200d"])
def test_words_of_nothing_are_unknown_ones(family, make_tokenizer, nothing):
    """A word that the tokenizer makes nothing of still has a token, and a place."""
    _, reference = family
    pieces = reference([nothing], is_split_into_words=True, add_special_tokens=False)
    expected = pieces["input_ids"] or [reference.unk_token_id]
    table = tokenize_words(make_tokenizer(50), [["cat", nothing, "cat"]])
    ((ids, places),) = read_by_row(table)
    cat = reference(["cat"], is_split_into_words=True, add_special_tokens=False)
    assert ids[1:-1] == cat["input_ids"] + expected + cat["input_ids"]
    n_cat = len(cat["input_ids"])
    assert places == [1, 1 + n_cat, 1 + n_cat + len(expected)]


def test_a_sentence_of_nothing(family, make_tokenizer):
    """A sentence whose only word is empty has one row and one word."""
    table = tokenize_words(make_tokenizer(50), [[""], []])
    assert table.row_counts.tolist() == [1, 0]
    assert table.word_counts.tolist() == [1]
    assert table.ids[1] == family[1].unk_token_id


@pytest.mark.parametrize("at", [0, 3, 5])
def test_a_word_longer_than_a_row_is_cut(family, make_tokenizer, at):
    """It keeps its beginning and its tag, and the words around it lose nothing."""
    _, reference = family
    sentence = ["cat", "plot", "one", "cat", "plot"]
    sentence.insert(at, "x1" * 400)
    table = tokenize_words(make_tokenizer(16), [sentence])
    firsts = [
        ids[place] for ids, places in rows_of_sentence(table, 0) for place in places
    ]
    expected = [
        reference([word], is_split_into_words=True, add_special_tokens=False)[
            "input_ids"
        ][0]
        for word in sentence
    ]
    assert firsts == expected
    assert table.lengths.max() <= 16


# -- long sentences ----------------------------------------------------------------


def assert_each_word_once(table, sentence, i, pieces):
    """Every word of a sentence is read once, in order, with all of its pieces."""
    found = []
    for ids, places in rows_of_sentence(table, i):
        assert places == sorted(set(places))
        found += [ids[place:] for place in places]
    assert len(found) == len(sentence)
    for ids, word in zip(found, sentence, strict=True):
        assert ids[: len(pieces[word])] == pieces[word]


def pieces_of(reference, sentences):
    words = sorted({word for sentence in sentences for word in sentence})
    ids = reference(
        [[word] for word in words], is_split_into_words=True, add_special_tokens=False
    )["input_ids"]
    return dict(zip(words, ids, strict=True))


@lenient
@given(
    st.lists(st.lists(short_words, max_size=60), min_size=1, max_size=3),
    st.integers(8, 24),
)
def test_every_word_is_read_once(family, make_tokenizer, sentences, max_length):
    """Whatever the lengths, each word of each sentence has one place, in order."""
    _, reference = family
    sentences = [*sentences, ["cat"]]
    table = tokenize_words(make_tokenizer(max_length), sentences)
    pieces = pieces_of(reference, sentences)
    assert table.word_counts.sum() == sum(map(len, sentences))
    assert table.lengths.max() <= max_length
    assert table.row_counts.tolist() == [
        len(table.rows_of(np.array([i]))) for i in range(len(sentences))
    ]
    for i, sentence in enumerate(sentences):
        assert (table.row_counts[i] == 0) == (not sentence)
        assert_each_word_once(table, sentence, i, pieces)


def contexts(table, words, pieces):
    """How much of the sentence a row shows before and behind each of its words.

    Infinite where it shows all of it. The rows are found in the sentence by counting
    words, so a row must hold a run of whole words.
    """
    lengths = np.array([len(pieces[word]) for word in words])
    ends = np.cumsum(lengths)
    starts = ends - lengths
    word, found = 0, []
    for ids, places in rows_of_sentence(table, 0):
        for place in places:
            shift = starts[word] - (place - 1)  # where the row begins in the sentence
            row_end = shift + len(ids) - 2
            assert shift in starts
            assert row_end in ends
            before = np.inf if shift == 0 else starts[word] - shift
            behind = np.inf if row_end == ends[-1] else row_end - ends[word]
            found.append((before, behind))
            word += 1
    assert word == len(words)
    return np.array(found)


def test_single_pieces_have_a_quarter_around_them(checkpoint):
    """5,000 words of a piece each: a quarter of a window or an end on both sides."""
    reference = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer = TextTokenizer(
        reference.backend_tokenizer,
        max_length=34,
        pad_id=0,
        has_type_ids=False,
        config={},
    )
    rng = np.random.default_rng(0)
    words = rng.choice(["cat", "dog", "film", "plot", "one"], 5000).tolist()
    table = tokenize_words(tokenizer, [words])
    pieces = pieces_of(reference, [words])
    assert {len(piece) for piece in pieces.values()} == {1}
    assert_each_word_once(table, words, 0, pieces)
    assert contexts(table, words, pieces).min() >= 32 // 4
    assert len(table) <= 5000 / 14


@pytest.mark.parametrize("max_length", [58, 66, 130])
def test_words_of_several_pieces_have_a_quarter_around_them(
    family, make_tokenizer, max_length
):
    """Also where words are of several pieces: at least a quarter on both sides."""
    _, reference = family
    room = max_length - 2
    rng = np.random.default_rng(1)
    words = rng.choice(["cats", "one", "x", "good", "was", "zebra"], 5000).tolist()
    table = tokenize_words(make_tokenizer(max_length), [words])
    pieces = pieces_of(reference, [words])
    longest = max(map(len, pieces.values()))
    assert 1 < longest < room / 8
    assert_each_word_once(table, words, 0, pieces)
    assert contexts(table, words, pieces).min() >= room // 4


def test_as_many_rows_as_are_needed(family, make_tokenizer):
    """The number of rows grows with the length of a sentence, no faster."""
    words = ["cat"] * 4000
    counts = [
        len(tokenize_words(make_tokenizer(66), [words[:n]])) for n in (1000, 2000, 4000)
    ]
    assert counts[1] <= 2 * counts[0]
    assert counts[2] <= 2 * counts[1]


# -- tables ------------------------------------------------------------------------


def test_part_of_a_table(make_tokenizer):
    """Rows taken from a table keep their tokens and their words, in the order asked."""
    table = tokenize_words(make_tokenizer(12), [["cat", "plot"], [], ["one"] * 30])
    rows = read_by_row(table)
    part = table.take(np.array([3, 0, 3]))
    assert len(rows) > 4
    assert read_by_row(part) == [rows[3], rows[0], rows[3]]


def test_rows_of_sentences(make_tokenizer):
    """`rows_of` gives all rows of each sentence, in the order asked."""
    sentences = [["one"] * 30, [], ["cat"], ["plot"] * 30]
    table = tokenize_words(make_tokenizer(12), sentences)
    ends = np.cumsum(table.row_counts)
    expected = [*range(ends[2], ends[3]), *range(ends[1], ends[2]), *range(ends[0])]
    assert table.rows_of(np.array([3, 1, 2, 0])).tolist() == expected


def test_equal_sentences_have_rows_of_their_own(make_tokenizer):
    """No two rows are taken for one: each has its words."""
    table = tokenize_words(make_tokenizer(12), [["cat"], ["cat"]])
    rows, inverse = table.distinct()
    assert rows.tolist() == inverse.tolist() == [0, 1]


# -- checks ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "X",
    [
        [["a", "b"], []],
        (("a", "b"), ()),
        [np.array(["a", "b"]), np.array([], dtype=str)],
        np.array([["a", "b"], []], dtype=object),
    ],
    ids=["lists", "tuples", "arrays", "object array"],
)
def test_sentences_become_lists(X):
    """Any sequence of sequences of str gives lists of str."""
    found = check_words(X)
    assert found == [["a", "b"], []]
    assert {type(word) for word in found[0]} == {str}


def test_lone_surrogates_are_replaced():
    """What no tokenizer takes is read as U+FFFD; a pair of surrogates as its letter."""
    assert check_words([["a\ud800", "\ud83d\ude00"]]) == [["a\ufffd", "\U0001f600"]]


@pytest.mark.parametrize(
    ("X", "error", "match"),
    [
        ("a b", TypeError, "X is a single str"),
        (["a b"], TypeError, r"X\[0\] is a single str .*Split it first"),
        ([["a"], None], ValueError, r"X\[1\] is None; .*\[\], which has no words"),
        ([["a"], float("nan")], ValueError, r"X\[1\] is nan"),
        ([["a", None]], ValueError, r"X\[0\]\[1\] is None"),
        ([["a"], ["b", 3]], TypeError, r"X\[1\]\[1\] is 3 of type int"),
        ([["a"], 3], TypeError, r"X\[1\] is 3 of type int; expected a list of words"),
        ([["a"], {"b"}], TypeError, r"X\[1\] is \{'b'\} of type set"),
        ([], ValueError, "X is empty"),
        ({"a": ["b"]}, TypeError, "X is a dict"),
        (iter([["a"]]), TypeError, "X is a list_iterator"),
    ],
)
def test_what_are_no_sentences_is_refused(X, error, match):
    """Each complaint names the row and the word, and says what to do."""
    with pytest.raises(error, match=match):
        check_words(X)
