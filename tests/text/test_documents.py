"""Documents of sentences: from any container, and from one text."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_bert.text._columns import holds_lists
from sklearn_bert.text._documents import (
    check_documents,
    check_single_texts,
    split_sentences,
)
from sklearn_bert.text._input import check_texts

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
