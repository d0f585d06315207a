"""Rows and pairs that are made of a corpus: nothing is lost, and half are true."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.text._columns import holds_lists
from sklearn_bert.text._corpus import (
    SentencePairs,
    check_documents,
    check_single_texts,
    packed_rows,
    read_corpus,
    split_sentences,
    text_rows,
)
from sklearn_bert.text._input import check_texts

lenient = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
words = st.sampled_from(["good", "films", "cat", "sleeps", "!", "nice", "xyz"])
sentences = st.lists(words, max_size=12).map(" ".join)
corpora = st.lists(st.lists(sentences, max_size=5), min_size=1, max_size=5)
lengths = st.integers(4, 30)
FAMILIES = ["bert", "roberta", "xlm-roberta", "modernbert", "mpnet", "e5"]


@pytest.fixture(scope="module")
def tokenizer_of(checkpoint):
    """The tiny BERT's tokenizer with a limit of length."""
    return load_checkpoint(checkpoint).text_tokenizer


def plain_ids(tokenizer, text):
    """What the tokenizer itself makes of a text, without special tokens."""
    return tokenizer.backend.encode(text, add_special_tokens=False).ids


def rows_of(table):
    """The ids of each row."""
    return [
        table.ids[start : start + length].tolist()
        for start, length in zip(table.starts, table.lengths, strict=True)
    ]


def types_of(table):
    """The type ids of each row."""
    return [
        table.type_ids[start : start + length].tolist()
        for start, length in zip(table.starts, table.lengths, strict=True)
    ]


@lenient
@given(documents=corpora)
def test_a_corpus_is_all_tokens(tokenizer_of, documents):
    """Each sentence is read whole, in order, and those without tokens are none."""
    tokenizer = tokenizer_of(None)
    corpus = read_corpus(tokenizer, documents)
    expected = [
        (place, ids)
        for place, document in enumerate(documents)
        for sentence in document
        if (ids := plain_ids(tokenizer, sentence))
    ]
    assert corpus.document.tolist() == [place for place, _ in expected]
    found = [corpus.text(i).tolist() for i in range(len(corpus.lengths))]
    assert found == [ids for _, ids in expected]
    assert len(corpus.ids) == sum(len(ids) for _, ids in expected)


@lenient
@given(documents=corpora, max_length=lengths)
def test_packed_rows(tokenizer_of, documents, max_length):
    """All tokens once, in order, a separator between texts, and rows full but one."""
    tokenizer = tokenizer_of(max_length)
    corpus = read_corpus(tokenizer, documents)
    if not len(corpus.ids):
        return
    texts = [
        ids
        for document in documents
        for sentence in document
        if (ids := plain_ids(tokenizer, sentence))
    ]
    table = packed_rows(tokenizer, [corpus])
    rows = rows_of(table)
    assert {row[0] for row in rows} == {2}  # [CLS]
    assert {row[-1] for row in rows} == {3}  # [SEP]
    assert all(len(row) == max_length for row in rows[:-1])
    assert len(rows[-1]) <= max_length
    stream = [i for row in rows for i in row[1:-1]]
    assert stream == [i for ids in texts for i in (*ids, 3)][:-1]


@lenient
@given(documents=corpora, max_length=lengths)
def test_text_rows(tokenizer_of, documents, max_length):
    """Each text in rows of its own, of which all but its last are full."""
    tokenizer = tokenizer_of(max_length)
    corpus = read_corpus(tokenizer, documents)
    if not len(corpus.ids):
        return
    room = max_length - 2
    expected = [
        [2, *ids[begin : begin + room], 3]
        for document in documents
        for sentence in document
        for ids in [plain_ids(tokenizer, sentence)]
        for begin in range(0, len(ids), room)
    ]
    assert rows_of(text_rows(tokenizer, [corpus])) == expected


@lenient
@given(parts=st.lists(corpora, min_size=1, max_size=4), max_length=lengths)
@pytest.mark.parametrize("lay_out", [packed_rows, text_rows])
def test_rows_of_parts(tokenizer_of, lay_out, parts, max_length):
    """Texts that come part by part, into a file, make the rows of all texts at once."""
    tokenizer = tokenizer_of(max_length)
    whole = read_corpus(tokenizer, [document for part in parts for document in part])
    if not len(whole.ids):
        return
    expected = lay_out(tokenizer, [whole])
    corpora = (read_corpus(tokenizer, part) for part in parts)
    found = lay_out(tokenizer, corpora, in_file=True)
    assert isinstance(found.ids, np.memmap)
    assert rows_of(found) == rows_of(expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_framed_as_the_family_has_it(family_checkpoint, texts_of, family):
    """A row of one short text is what the tokenizer makes of that text."""
    tokenizer = load_checkpoint(family_checkpoint(family)).text_tokenizer(60)
    texts = [text for texts in texts_of.values() for text in texts]
    short = [t for t in texts if len(tokenizer.backend.encode(t).ids) <= 60]
    assert len(short) > 3
    table = text_rows(tokenizer, [read_corpus(tokenizer, [[t] for t in short])])
    assert rows_of(table) == [tokenizer.backend.encode(t).ids for t in short]


@pytest.mark.parametrize("family", FAMILIES)
def test_packing_loses_nothing_in_any_family(family_checkpoint, texts_of, family):
    """Without special tokens the rows are the texts' tokens, one after the other."""
    tokenizer = load_checkpoint(family_checkpoint(family)).text_tokenizer(16)
    texts = [text for texts in texts_of.values() for text in texts]
    table = packed_rows(tokenizer, [read_corpus(tokenizer, [[t] for t in texts])])
    ordinary = table.ids[~np.isin(table.ids, tokenizer.special_ids())]
    all_ids = np.concatenate([plain_ids(tokenizer, text) for text in texts])
    expected = all_ids[~np.isin(all_ids, tokenizer.special_ids())]
    np.testing.assert_array_equal(ordinary, expected)
    assert (table.lengths[:-1] == 16).all()
    # Where the last row ends with special tokens, they are those of one text.
    n_special = len(tokenizer.backend.encode("").ids)
    assert table.lengths[-1] > n_special


# -- pairs ---------------------------------------------------------------------------
# Sentence s of document d is one token, repeated: which it is says where it is from.


def document_of(d, sizes):
    """Sentences whose tokens are told apart: the s-th is of letter s, of size n."""
    return [" ".join([chr(97 + d)] + [chr(110 + s)] * n) for s, n in enumerate(sizes)]


def halves(row, types):
    """The two segments of a row, by their type ids."""
    row, types = np.array(row), np.array(types)
    assert row[0] == 2
    assert row[-1] == 3
    assert (row == 3).sum() == 2
    middle = int(np.flatnonzero(row == 3)[0])
    assert types.tolist() == [0] * (middle + 1) + [1] * (len(row) - middle - 1)
    return row[1:middle].tolist(), row[middle + 1 : -1].tolist()


def is_within(part, whole):
    """Whether a list is a stretch of another; where it begins, or None."""
    for begin in range(len(whole) - len(part) + 1):
        if whole[begin : begin + len(part)] == part:
            return begin
    return None


shapes = st.lists(
    st.lists(st.integers(0, 9), min_size=1, max_size=7), min_size=2, max_size=5
)


@lenient
@given(shape=shapes, max_length=st.integers(8, 40), seed=st.integers(0, 50))
def test_pairs_follow_or_not(tokenizer_of, shape, max_length, seed):
    """True pairs stand side by side in a document, false ones are of two documents."""
    documents = [document_of(d, sizes) for d, sizes in enumerate(shape)]
    if sum(len(document) > 1 for document in documents) < 2:
        return
    tokenizer = tokenizer_of(max_length)
    pairs = SentencePairs(tokenizer, read_corpus(tokenizer, documents))
    table, follows = pairs(np.random.default_rng(seed))
    assert follows.sum() == len(follows) // 2
    assert (table.lengths <= max_length).all()
    whole = [plain_ids(tokenizer, " ".join(document)) for document in documents]
    begins = [
        np.cumsum([0] + [len(plain_ids(tokenizer, s)) for s in document])
        for document in documents
    ]
    first_ids = {plain_ids(tokenizer, chr(97 + d))[0]: d for d in range(len(shape))}
    for row, types, follow in zip(
        rows_of(table), types_of(table), follows, strict=True
    ):
        first, second = halves(row, types)
        assert first
        assert second
        # A second segment begins with a sentence, whose first token names the document.
        d = first_ids[second[0]]
        if follow:
            joined = is_within(first + second, whole[d])
            assert joined is not None
            assert joined + len(first) in begins[d]
            continue
        assert is_within(second, whole[d]) is not None
        of_first = [
            e for e in range(len(shape)) if is_within(first, whole[e]) is not None
        ]
        named = {first_ids[i] for i in first if i in first_ids}
        assert d not in named
        assert set(of_first) - {d}


def test_half_of_the_pairs_follow(tokenizer_of):
    """Exactly half are true, and each pair is as often true as any other."""
    tokenizer = tokenizer_of(16)
    documents = [document_of(d, [2, 2, 2, 2, 2]) for d in range(4)]
    pairs = SentencePairs(tokenizer, read_corpus(tokenizer, documents))
    rng = np.random.default_rng(0)
    drawn = np.stack([pairs(rng)[1] for _ in range(400)])
    assert drawn.shape[1] % 2 == 0
    assert (drawn.sum(axis=1) == drawn.shape[1] // 2).all()
    assert stats.chisquare(drawn.sum(axis=0)).pvalue > 1e-4


def test_strangers_are_of_any_other_document(tokenizer_of):
    """What does not follow is of each other document as often as of any."""
    tokenizer = tokenizer_of(16)
    documents = [document_of(d, [3, 3]) for d in range(5)]
    pairs = SentencePairs(tokenizer, read_corpus(tokenizer, documents))
    ids = {plain_ids(tokenizer, chr(97 + d))[0]: d for d in range(5)}
    rng = np.random.default_rng(0)
    counts = np.zeros((5, 5))
    for _ in range(600):
        table, follows = pairs(rng)
        for row, types, follow in zip(
            rows_of(table), types_of(table), follows, strict=True
        ):
            first, second = halves(row, types)
            if not follow:
                counts[ids[first[0]], ids[second[0]]] += 1
    assert not counts.diagonal().any()
    others = counts[~np.eye(5, dtype=bool)]
    assert stats.chisquare(others).pvalue > 1e-4


def test_pairs_are_cut_away_from_their_border(tokenizer_of):
    """Of long segments the end of the first and the beginning of the second stay."""
    tokenizer = tokenizer_of(13)  # room for ten
    documents = [
        ["a b c d e f g h i j", "k l m n o p q r s t"],
        ["k l m n o p q r s t", "a b c d e f g h i j"],
    ]
    pairs = SentencePairs(tokenizer, read_corpus(tokenizer, documents))
    table, follows = pairs(np.random.default_rng(0))
    assert sorted(follows.tolist()) == [0, 1]
    row = rows_of(table)[int(follows.argmax())]
    first, second = halves(row, types_of(table)[int(follows.argmax())])
    place = int(follows.argmax())
    assert first == plain_ids(tokenizer, documents[place][0])[-5:]
    assert second == plain_ids(tokenizer, documents[place][1])[:5]


def test_a_short_half_stays_whole(tokenizer_of):
    """The longer segment gives way, as tokenizers truncate the longest first."""
    tokenizer = tokenizer_of(13)
    documents = [["a b", "k l m n o p q r s t u v"], ["c d", "k l m n o p q r s t u v"]]
    pairs = SentencePairs(tokenizer, read_corpus(tokenizer, documents))
    table, _ = pairs(np.random.default_rng(0))
    for row, types in zip(rows_of(table), types_of(table), strict=True):
        first, second = halves(row, types)
        assert len(first) == 2
        assert second == plain_ids(tokenizer, "k l m n o p q r")


@pytest.mark.parametrize("max_length", [5, 6, 7])
def test_the_shortest_pairs(tokenizer_of, max_length):
    """Where there is room for two tokens, each segment has one."""
    tokenizer = tokenizer_of(max_length)
    documents = [["a b c", "d e f", "g h"], ["i j k", "l m n"]]
    pairs = SentencePairs(tokenizer, read_corpus(tokenizer, documents))
    table, _ = pairs(np.random.default_rng(0))
    for row, types in zip(rows_of(table), types_of(table), strict=True):
        assert all(halves(row, types))


def test_every_sentence_of_a_document_is_read(tokenizer_of):
    """Over many draws each token of documents that fit a row is seen."""
    tokenizer = tokenizer_of(24)
    documents = [document_of(d, [2, 3, 2, 4, 1, 2, 5]) for d in range(3)]
    corpus = read_corpus(tokenizer, documents)
    pairs = SentencePairs(tokenizer, corpus)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(20):
        seen |= set(pairs(rng)[0].ids.tolist())
    assert set(corpus.ids.tolist()) <= seen


def test_pairs_are_drawn_anew(tokenizer_of):
    """Another draw splits elsewhere and takes other strangers; a seed repeats it."""
    tokenizer = tokenizer_of(32)
    documents = [document_of(d, [2] * 6) for d in range(6)]
    pairs = SentencePairs(tokenizer, read_corpus(tokenizer, documents))
    rng = np.random.default_rng(0)
    (one, _), (other, _) = pairs(rng), pairs(rng)
    again, _ = pairs(np.random.default_rng(0))
    assert rows_of(one) != rows_of(other)
    assert rows_of(one) == rows_of(again)


@pytest.mark.parametrize("documents", [[["a"], ["b"], ["c"]], [["a", ""], ["b", " "]]])
def test_corpus_without_two_sentences(tokenizer_of, documents):
    """Without two sentences in a document there is nothing to pair."""
    tokenizer = tokenizer_of(32)
    corpus = read_corpus(tokenizer, documents)
    with pytest.raises(ValueError, match="documents of two sentences or more, and X"):
        SentencePairs(tokenizer, corpus)


@pytest.mark.parametrize("documents", [[["a", "b", "c"]], [["a", "b"], ["c"], []]])
def test_corpus_without_two_documents(tokenizer_of, documents):
    """Without a second document nothing can be taken that does not follow."""
    tokenizer = tokenizer_of(32)
    corpus = read_corpus(tokenizer, documents)
    with pytest.raises(ValueError, match="at least two documents.*got 1"):
        SentencePairs(tokenizer, corpus)


# -- documents of sentences, from any container ------------------------------------

DOCUMENTS = [["one two", "three"], ["four"], []]
array = np.empty(3, dtype=object)
array[:] = DOCUMENTS
CONTAINERS = {
    "list": DOCUMENTS,
    "array": array,
    "list of arrays": [np.array(document, dtype=object) for document in DOCUMENTS],
    "pandas": pd.Series(DOCUMENTS),
    "pandas frame": pd.DataFrame({"d": DOCUMENTS}),
    "polars": pl.Series(DOCUMENTS),
    "polars frame": pl.DataFrame({"d": DOCUMENTS}),
    "arrow": pa.array(DOCUMENTS),
    "chunked arrow": pa.chunked_array([DOCUMENTS[:1], DOCUMENTS[1:]]),
    "arrow table": pa.table({"d": DOCUMENTS}),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_documents_of_any_container(kind):
    """A column of lists is documents, whatever holds it."""
    X = CONTAINERS[kind]
    assert holds_lists(X)
    assert check_documents(X) == DOCUMENTS


@pytest.mark.parametrize(
    "X",
    [
        ["a", "b"],
        [("a", "b")],
        np.array(["a"]),
        pd.Series(["a"]),
        pd.DataFrame({"a": ["x"], "b": ["y"]}),
        pl.Series(["a"]),
        pa.array(["a"]),
        [],
        None,
        "text",
        iter([["a"]]),
    ],
    ids=lambda X: type(X).__name__,
)
def test_what_is_no_column_of_lists(X):
    """Texts, pairs and what is no column hold no documents."""
    assert not holds_lists(X)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([["a"], "b"], TypeError, r"X\[1\] is a single str .*make it \[text\]"),
        ([["a"], None], ValueError, r"X\[1\] is None"),
        ([["a", None]], ValueError, r"X\[0\]\[1\] is None"),
        ([["a"], ["b", float("nan")]], ValueError, r"X\[1\]\[1\] is nan"),
        ([["a", 3]], TypeError, r"X\[0\]\[1\] is 3 of type int"),
        ([["a"], [["b"]]], TypeError, r"X\[1\]\[0\] is .* of type list"),
        ([["a"], {"b": 1}], TypeError, r"X\[1\] is .* of type dict"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_with_its_place(X, error, message):
    """The row and the sentence are named."""
    with pytest.raises(error, match=message):
        check_documents(X)


def test_lone_surrogates_are_mended():
    """Half of an emoji becomes the replacement character, which tokenizers take."""
    assert check_documents([["a\ud83d b"]]) == [["a\ufffd b"]]


def test_pairs_are_refused():
    """Two columns are no raw text."""
    with pytest.raises(ValueError, match="X has two columns.*expected one column"):
        check_single_texts(check_texts([("a", "b")]))
    check_single_texts(check_texts(["a"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Wait... what?! Yes", ["Wait...", "what?!", "Yes"]),
        ("No end", ["No end"]),
        ("3.14 is pi. Yes.", ["3.14 is pi.", "Yes."]),
        ("我喜欢。你呢！好", ["我喜欢。", "你呢！", "好"]),
        ("一行\n二行\n\n三行", ["一行", "二行", "三行"]),
        ("a\r\nb", ["a", "b"]),
        ("كيف حالك؟ جيد", ["كيف حالك؟", "جيد"]),
        ("राम घर गया। सीता आई।", ["राम घर गया।", "सीता आई।"]),
        ("", []),
        (" \n ", []),
        ("...", ["..."]),
    ],
)
def test_sentences_end_at_punctuation_and_line_breaks(text, expected):
    """Sentences of a text, without the white space between."""
    assert [part.strip() for part in split_sentences(text)] == expected


@given(st.text())
def test_splitting_loses_no_character(text):
    """All characters but white space are in a sentence, in order; none is empty."""
    parts = split_sentences(text)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(part.strip() for part in parts)
