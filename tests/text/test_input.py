"""Any container of texts becomes the same lists; what is no text is refused by name."""

import enum
import re
import string
import warnings
from collections import UserString, deque
from decimal import Decimal

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from sklearn_bert.text._columns import is_missing
from sklearn_bert.text._input import Texts, check_texts
from sklearn_bert.text._template import parse_template, template_columns

lenient = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
few = settings(lenient, max_examples=15)

# Arrow and polars keep UTF-8, so that only Python's own containers can hold surrogates.
any_unicode = st.text(st.characters(codec="utf-8"), max_size=20)
any_text = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cs"]),
        st.sampled_from("\0\u202e\ufeff\ufffd\ud800\udbff\udc00\udfff\U0010ffff"),
    ),
    max_size=12,
)

TEXTS = ["good", "", "a film, naïve 😀", "good"]


def objects(cells):
    """A one-dimensional object array, even of tuples."""
    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    return array


def series(dtype):
    """A maker of pandas columns of one dtype."""
    return lambda cells: pd.Series(cells, dtype=dtype, name="x")


# Containers of one column, by whether they have a second dimension. All take gaps.
FLAT = {
    "list": list,
    "tuple": tuple,
    "deque": deque,
    "object array": objects,
    "Series of object": series(object),
    "Series of str": series("str"),
    "Series of string[python]": series("string[python]"),
    "Series of string[pyarrow]": series("string[pyarrow]"),
    "Series of Arrow strings": series(pd.ArrowDtype(pa.string())),
    "Series of category": series("category"),
    "Series, rows renamed": lambda cells: pd.Series(
        cells, dtype=object, index=range(len(cells), 0, -1)
    ),
    "Index": lambda cells: pd.Index(cells, dtype=object),
    "Index of str": lambda cells: pd.Index(cells, dtype="str"),
    "Categorical": pd.Categorical,
    "pandas array": lambda cells: pd.array(cells, dtype="string"),
    "polars Series": lambda cells: pl.Series(cells, dtype=pl.String),
    "polars Categorical": lambda cells: pl.Series(cells, dtype=pl.Categorical),
    "polars Object": lambda cells: pl.Series(cells, dtype=pl.Object),
    "Arrow array": lambda cells: pa.array(cells, pa.string()),
    "Arrow large array": lambda cells: pa.array(cells, pa.large_string()),
    "Arrow dictionary": lambda cells: pa.array(cells, pa.string()).dictionary_encode(),
    "Arrow chunks": lambda cells: pa.chunked_array(
        [cells[:1], cells[1:]], type=pa.string()
    ),
    "narwhals Series": lambda cells: nw.from_native(
        pl.Series(cells, dtype=pl.String), series_only=True
    ),
}
TALL = {
    "(n, 1) object array": lambda cells: objects(cells).reshape(-1, 1),
    "frame of object": lambda cells: pd.DataFrame({"x": cells}, dtype=object),
    "frame of str": lambda cells: pd.DataFrame({"x": cells}, dtype="str"),
    "frame of category": lambda cells: pd.DataFrame({"x": cells}, dtype="category"),
    "polars frame": lambda cells: pl.DataFrame({"x": cells}, schema={"x": pl.String}),
    "Arrow table": lambda cells: pa.table({"x": pa.array(cells, pa.string())}),
    "Arrow batch": lambda cells: pa.record_batch({"x": pa.array(cells, pa.string())}),
    "narwhals frame": lambda cells: nw.from_native(
        pd.DataFrame({"x": cells}, dtype="str")
    ),
}
COLUMNS = {**FLAT, **TALL}

# Containers of two columns, made from a list of 2-tuples.
FLAT_PAIRS = {
    "list": list,
    "tuple": tuple,
    "object array of tuples": objects,
    "Series of tuples": lambda pairs: pd.Series(pairs, dtype=object),
    "MultiIndex": pd.MultiIndex.from_tuples,
}
WIDE_PAIRS = {
    "(n, 2) object array": lambda pairs: np.array(pairs, dtype=object),
    "frame": lambda pairs: pd.DataFrame(pairs, columns=["q", "a"]),
    "frame, one name twice": lambda pairs: pd.DataFrame(pairs, columns=["x", "x"]),
    "frame, no names": pd.DataFrame,
    "polars frame": lambda pairs: pl.DataFrame(pairs, schema=["q", "a"], orient="row"),
    "Arrow table": lambda pairs: pa.Table.from_pandas(
        pd.DataFrame(pairs, columns=["q", "a"])
    ),
    "Arrow batch": lambda pairs: pa.RecordBatch.from_pandas(
        pd.DataFrame(pairs, columns=["q", "a"])
    ),
}
PAIRS = {**FLAT_PAIRS, **WIDE_PAIRS}

MARKERS = {
    "None": None,
    "float": float("nan"),
    "np.nan": np.nan,
    "np.float32": np.float32("nan"),
    "pd.NA": pd.NA,
    "pd.NaT": pd.NaT,
    "datetime64": np.datetime64("NaT"),
    "timedelta64": np.timedelta64("NaT", "s"),
}
OBJECT_COLUMNS = [
    "list",
    "tuple",
    "object array",
    "Series of object",
    "Index",
    "(n, 1) object array",
    "frame of object",
]


def each(cases):
    """Parametrise over a dict, whose keys name the tests."""
    return pytest.mark.parametrize("case", cases.values(), ids=cases)


# -- containers --------------------------------------------------------------------


@each(COLUMNS)
@few
@given(texts=st.lists(any_unicode, min_size=1, max_size=6))
def test_every_container_gives_the_same_texts(case, texts):
    """The same texts come out of every container that holds them."""
    found = check_texts(case(texts))
    assert found.first == texts
    assert found.second is None
    assert len(found) == len(texts)
    assert all(type(text) is str for text in found.first)


@pytest.mark.parametrize(
    "dtype", [str, "U30", np.dtypes.StringDType()], ids=["U", "U30", "T"]
)
@pytest.mark.parametrize("shape", [-1, (-1, 1)])
def test_arrays_of_strings_are_read(dtype, shape):
    """NumPy's own string arrays give the same texts as a list."""
    X = np.array(TEXTS, dtype=dtype).reshape(shape)
    assert check_texts(X) == Texts(TEXTS, None, 1, is_2d=X.ndim == 2)


@pytest.mark.parametrize(
    ("cases", "is_2d"), [(FLAT, False), (TALL, True)], ids=["flat", "tall"]
)
def test_one_column_is_one_feature(cases, is_2d):
    """One column counts as one feature, and only a frame or matrix as 2-D."""
    for name, make in cases.items():
        assert check_texts(make(TEXTS)) == Texts(TEXTS, None, 1, is_2d), name


@each(PAIRS)
@few
@given(pairs=st.lists(st.tuples(any_unicode, any_unicode), min_size=1, max_size=6))
def test_every_container_gives_the_same_pairs(case, pairs):
    """The same sentence pairs come out of every container that holds them."""
    found = check_texts(case(pairs))
    assert found.first == [first for first, _ in pairs]
    assert found.second == [second for _, second in pairs]


@pytest.mark.parametrize(
    ("cases", "is_2d"), [(FLAT_PAIRS, False), (WIDE_PAIRS, True)], ids=["flat", "wide"]
)
def test_pairs_are_two_features(cases, is_2d):
    """Pairs count as two features, and only a frame or matrix as 2-D."""
    for name, make in cases.items():
        found = check_texts(make([("a", "b"), ("c", "d")]))
        assert found == Texts(["a", "c"], ["b", "d"], 2, is_2d), name


def test_subclasses_of_str_become_str():
    """A subclass of str is read for its letters, whatever its __str__ says."""

    class Mood(str, enum.Enum):  # noqa: UP042
        good = "a good one"

    class Level(enum.StrEnum):
        high = "a high one"

    found = check_texts([np.str_("numpy"), Mood.good, Level.high, "plain"])
    assert found.first == ["numpy", "a good one", "a high one", "plain"]
    assert [type(text) for text in found.first] == [str] * 4


@each(COLUMNS)
def test_columns_are_left_as_they_were(case):
    """Reading, filling and mending change nothing in the caller's container."""
    cells = ["a", None, "b", ""]
    X, untouched = case(cells), case(cells)
    found = check_texts(X, missing="empty")
    found.first[0] = "changed"
    X, untouched = (nw.to_native(side, pass_through=True) for side in (X, untouched))
    if hasattr(X, "equals") and getattr(X, "dtype", None) != pl.Object:
        assert X.equals(untouched)
    else:
        assert list(X) == list(untouched)


def test_what_is_mended_or_rendered_leaves_the_caller_alone():
    """Mended surrogates and rendered templates leave list and frame as they were."""
    rows = ["a\ud800", "b"]
    with pytest.warns(UserWarning, match="surrogates"):
        check_texts(rows)
    assert rows == ["a\ud800", "b"]
    frame = pd.DataFrame({"t": ["x", None], "n": [1.5, np.nan]})
    untouched = frame.copy(deep=True)
    check_texts(frame, template="{t} {n:.1f}", missing="empty")
    pd.testing.assert_frame_equal(frame, untouched)


def test_masked_cells_are_missing():
    """A masked cell is missing text, in one dimension and in two."""
    X = np.ma.array(["a", "hidden"], mask=[False, True])
    with pytest.raises(ValueError, match=r"X\[1\] is None .* in rows 1 \(1 of 2\)"):
        check_texts(X)
    assert check_texts(X, missing="empty").first == ["a", ""]
    wide = np.ma.array([["a", "b"], ["c", "d"]], mask=[[0, 1], [0, 0]])
    with pytest.raises(ValueError, match=r"X\[0, 1\] is None"):
        check_texts(wide)
    assert check_texts(wide, missing="empty").second == ["", "d"]
    assert X.tolist() == ["a", None]
    assert X.data.tolist() == ["a", "hidden"]


def test_masked_arrays_are_held_to_the_same_rules():
    """A masked array without gaps is read; one of numbers is refused even if masked."""
    assert check_texts(np.ma.array(["a", "b"])).first == ["a", "b"]
    with pytest.raises(TypeError, match="X is an array of dtype int64 and shape"):
        check_texts(np.ma.array([1, 2], mask=[True, True]), missing="empty")


# -- missing texts -----------------------------------------------------------------


@each(MARKERS)
@pytest.mark.parametrize("name", OBJECT_COLUMNS)
def test_every_marker_is_missing_everywhere(case, name):
    """Each marker of a missing value is refused with rows, count and remedy."""
    X = COLUMNS[name](["a", case, "b", case])
    with pytest.raises(
        ValueError,
        match=r"^X\[1(, 'x')?\] is \S+ of type \w+; every text must be a str\. "
        r"Missing texts in rows 1, 3 \(2 of 4\): drop these rows, or read them as '' "
        r"with missing='empty'\.$",
    ):
        check_texts(X)
    assert check_texts(X, missing="empty").first == ["a", "", "b", ""]


@each(COLUMNS)
def test_gaps_of_every_container_are_missing(case):
    """A gap is refused, or read as "", whatever the container makes of it."""
    X = case(["a", None, "b", None, "c"])
    with pytest.raises(
        ValueError, match=r"every text must be a str\. Missing .* 1, 3 \(2 of 5\)"
    ):
        check_texts(X)
    assert check_texts(X, missing="empty").first == ["a", "", "b", "", "c"]


@pytest.mark.parametrize("marker", [None, np.nan, pd.NA, pd.NaT], ids=repr)
@pytest.mark.parametrize(
    "dtype",
    ["object", "str", "string[python]", "string[pyarrow]", "category"],
)
@pytest.mark.parametrize("make", [pd.Series, pd.DataFrame])
def test_every_marker_is_missing_in_every_pandas_dtype(marker, dtype, make):
    """Whatever marker went into a pandas column, its gaps are found."""
    X = make(["a", marker, "b"], dtype=dtype)
    with pytest.raises(
        ValueError, match=r"every text must be a str\. Missing .* rows 1 \(1 of 3\)"
    ):
        check_texts(X)
    assert check_texts(X, missing="empty").first == ["a", "", "b"]


def test_first_missing_text_is_shown():
    """Of several markers the error shows the first, as the caller wrote it."""
    with pytest.raises(ValueError, match=r"^X\[1\] is None of .* rows 1, 2 \(2 of 3\)"):
        check_texts(["a", None, pd.NA])


def test_missing_texts_are_named_in_full():
    """The error for a missing text says row, value, type, count and remedy."""
    message = (
        "X[2] is None of type NoneType; every text must be a str. Missing texts in "
        "rows 2, 3, 4, 5, 6, ... (7 of 9): drop these rows, or read them as '' with "
        "missing='empty'."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_texts(["a", "b", *[None] * 7])


@pytest.mark.parametrize(
    ("X", "cell", "read"),
    [
        ([("a", "b"), ("c", None)], "X[1, 1]", ("c", "")),
        ([("a", "b"), (np.nan, "d")], "X[1, 0]", ("", "d")),
        ([("a", "b"), None], "X[1, 0]", ("", "")),
        (pd.DataFrame({"q": ["a", "c"], "a": ["b", None]}), "X[1, 'a']", ("c", "")),
        (
            pd.DataFrame([["a", "b"], ["c", None]], columns=["x", "x"]),
            "X[1, 'x']",
            ("c", ""),
        ),
        (pl.DataFrame({"q": ["a", None], "a": ["b", "d"]}), "X[1, 'q']", ("", "d")),
        (np.array([["a", "b"], ["c", pd.NA]], dtype=object), "X[1, 1]", ("c", "")),
    ],
)
def test_missing_halves_are_named_by_row_and_side(X, cell, read):
    """A missing half of a pair is named by row and column, and alone is read as ""."""
    with pytest.raises(ValueError, match=re.escape(f"{cell} is ") + ".*1 of 2"):
        check_texts(X)
    found = check_texts(X, missing="empty")
    assert (found.first, found.second) == (["a", read[0]], ["b", read[1]])


def test_missing_pair_is_two_empty_texts():
    """With missing="empty" a row without a pair is read as two empty texts."""
    found = check_texts([("a", "b"), None, float("nan")], missing="empty")
    assert (found.first, found.second) == (["a", "", ""], ["b", "", ""])


@pytest.mark.parametrize(
    "cell", ["", "nan", "None", 0, 0.0, np.inf, False, [], (), "NA"]
)
def test_what_only_looks_empty_is_not_missing(cell):
    """Empty, zero and the word "nan" are values, not markers of missing ones."""
    assert not is_missing(cell)


# -- cells that are no text --------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "shown", "remedy"),
    [
        (3, "3 of type int", "astype(str)"),
        (1.5, "1.5 of type float", "astype(str)"),
        (True, "True of type bool", "astype(str)"),
        (float("inf"), "inf of type float", "astype(str)"),
        (np.float64(2), "np.float64(2.0) of type float64", "astype(str)"),
        (Decimal("NaN"), "Decimal('NaN') of type Decimal", "astype(str)"),
        (UserString("a"), "'a' of type UserString", "astype(str)"),
        ({"a": 1}, "{'a': 1} of type dict", "[row['text'] for row in X]"),
        (b"caf\xc3", r"b'caf\xc3' of type bytes", "Decode it first"),
        (["a", "b"], "['a', 'b'] of type list", "Join nested words into one text"),
        (np.array(["a"]), "array(['a'], dtype='<U1') of type ndarray", "Join nested"),
        (10**80, f"1{'0' * 56}... of type int", "astype(str)"),
    ],
)
def test_cells_that_are_no_text_are_refused(cell, shown, remedy):
    """What is no text is refused with row, value, type, count and remedy."""
    X = ["good", cell, "bad", cell]
    with pytest.raises(
        TypeError,
        match=rf"^X\[1\] is {re.escape(shown)}; every text must be a str\. "
        rf".*{re.escape(remedy)}.* Rows that are no text: 1, 3 \(2 of 4\)\.$",
    ):
        check_texts(X)


@pytest.mark.parametrize(
    ("X", "match"),
    [
        (pd.Series([1, 2]), r"X\[0\] is 1 of type int.* 0, 1 \(2 of 2\)"),
        (pd.Series(pd.to_datetime(["2020-01-02"])), r"X\[0\] is Timestamp\("),
        (pd.DataFrame({"n": [1.5]}), r"X\[0, 'n'\] is 1.5 of type float"),
        (pd.Series([["a"], ["b"]]), r"X\[0\] is \['a'\] of type list.*Join nested"),
        (pl.Series([1, 2]), r"X\[0\] is 1 of type int"),
        (pl.DataFrame({"n": [1]}), r"X\[0, 'n'\] is 1 of type int"),
        (pl.Series([["a"], ["b"]]), r"X\[0\] is \['a'\] of type list"),
        (pa.array([1]), r"X\[0\] is 1 of type int"),
        (pa.array([b"a"]), r"X\[0\] is b'a' of type bytes.*Decode it first"),
        (pa.table({"b": [b"a"]}), r"X\[0, 'b'\] is b'a' of type bytes"),
        (np.array(["a", 1], dtype=object), r"X\[1\] is 1 of type int"),
        ([("a", "b"), ("c", 3)], r"X\[1, 1\] is 3 of type int"),
        (range(3), r"X\[0\] is 0 of type int.* 0, 1, 2 \(3 of 3\)"),
        ([["a", "b"], ["c"]], r"X\[0\] is \['a', 'b'\] of type list; .*use tuples"),
        ([1] * 7, r"Rows that are no text: 0, 1, 2, 3, 4, \.\.\. \(7 of 7\)\."),
    ],
)
def test_columns_that_hold_no_text_are_refused(X, match):
    """Numbers, bytes and lists are refused in every container, never converted."""
    with pytest.raises(TypeError, match=match):
        check_texts(X)
    with pytest.raises(TypeError, match=match):
        check_texts(X, missing="empty")


cells_and_kinds = st.lists(
    st.one_of(
        st.tuples(any_unicode, st.just("text")),
        st.tuples(st.sampled_from(list(MARKERS.values())), st.just("missing")),
        st.tuples(
            st.one_of(
                st.integers(),
                st.booleans(),
                st.binary(max_size=4),
                st.floats(allow_nan=False),
                st.lists(any_unicode, max_size=2),
            ),
            st.just("wrong"),
        ),
    ),
    min_size=1,
    max_size=12,
)


@lenient
@given(cells_and_kinds, st.sampled_from(["error", "empty"]))
def test_any_mix_of_cells_is_judged_row_by_row(drawn, missing):
    """Of any mix of cells, the first bad row and the number of them are named."""
    cells = [cell for cell, _ in drawn]
    kinds = [kind for _, kind in drawn]
    complaint = None
    if "missing" in kinds and missing == "error":
        complaint, kind = ValueError, "missing"
    elif "wrong" in kinds:
        complaint, kind = TypeError, "wrong"
    if complaint is None:
        expected = [cell if kind == "text" else "" for cell, kind in drawn]
        assert check_texts(cells, missing=missing).first == expected
        return
    first = kinds.index(kind)
    shown = re.escape(repr(cells[first])[:57])
    with pytest.raises(
        complaint,
        match=rf"^X\[{first}\] is {shown}(?s:.)*"
        rf"\({kinds.count(kind)} of {len(kinds)}\)",
    ):
        check_texts(cells, missing=missing)


# -- containers that hold no texts -------------------------------------------------


@pytest.mark.parametrize(
    ("X", "match"),
    [
        ("a text", r"X is a single str \('a text'\); .* Wrap it in a list: \[text\]"),
        (np.str_("a"), r"X is a single str_ .* Wrap it in a list"),
        (b"bytes", r"X is a single bytes \(b'bytes'\); .* Wrap it in a list"),
        (bytearray(b"ab"), r"X is a single bytearray .* Wrap it in a list"),
        ("x" * 99, r"X is a single str \('x{56}\.\.\.\)"),
        (sparse.csr_matrix((2, 3)), r"sparse matrix of shape \(2, 3\); .* raw texts"),
        (sparse.csr_array((2, 3)), r"sparse matrix of shape \(2, 3\); .* raw texts"),
        ({"a": 1}, "X is a dict, which has no rows in order; expected a list"),
        ({"a"}, "X is a set, which has no rows in order"),
        (frozenset("a"), "X is a frozenset, which has no rows in order"),
        ({"a": 1}.keys(), "X is a dict_keys, which has no rows in order"),
        ({"a": "b"}.values(), r"X is of type dict_values; .* e\.g\. list\(X\)"),
        ((text for text in "ab"), r"a generator, which can be read only once.*list\(X"),
        (iter(["a"]), "X is a list_iterator, which can be read only once"),
        (map(str, [1]), "X is a map, which can be read only once"),
        (pl.LazyFrame({"x": ["a"]}), r"X is a polars LazyFrame; call \.collect\(\)"),
        (nw.from_native(pl.LazyFrame({"x": ["a"]})), r"polars LazyFrame; call \.coll"),
        (None, "X is of type NoneType; expected a list, array, column or frame"),
        (3, "X is of type int; expected a list, array, column or frame"),
        (float("nan"), "X is of type float; expected a list, array, column or frame"),
        (object(), "X is of type object; expected a list, array, column or frame"),
        (pa.scalar("a"), "X is of type StringScalar; expected a list"),
        (np.eye(2), r"array of dtype float64 and shape \(2, 2\); .* not read as text"),
        (np.arange(3), r"X is an array of dtype int64 and shape \(3,\)"),
        (np.array([True]), r"X is an array of dtype bool and shape \(1,\)"),
        (np.array([b"a"]), r"X is an array of dtype \|S1 and shape \(1,\)"),
        (np.array(["2020"], "M8[Y]"), r"X is an array of dtype datetime64\[Y\]"),
        (np.array([("a", "b")], "U1,U1"), r"X is an array of dtype \[\('f0', '<U1'\)"),
    ],
)
def test_containers_of_no_texts_are_refused(X, match):
    """What is no ordered column of texts is refused by its kind, with the remedy."""
    with pytest.raises(TypeError, match=match):
        check_texts(X)


@pytest.mark.parametrize(
    "X",
    [np.array("a"), np.array(None), np.full((1, 2, 3), "a"), np.zeros((1, 1, 1, 1))],
    ids=lambda X: f"{X.ndim}-d",
)
def test_other_dimensions_are_refused(X):
    """An array without dimension, or with more than two, is refused."""
    with pytest.raises(
        ValueError, match=rf"X is an array with {X.ndim} dimensions; expected one"
    ):
        check_texts(X)


@pytest.mark.parametrize(
    "X",
    [
        [],
        (),
        np.array([]),
        np.array([], dtype=str),
        np.empty((0, 1), dtype=object),
        np.empty((0, 3)),
        pd.Series([], dtype=str),
        pd.Series([], dtype=float),
        pd.DataFrame({"x": []}),
        pl.Series([], dtype=pl.String),
        pl.DataFrame({"x": []}),
        pa.array([], pa.string()),
        pa.table({"x": pa.array([], pa.string())}),
    ],
)
@pytest.mark.parametrize("missing", ["error", "empty"])
def test_no_rows_are_refused_in_the_words_of_sklearn(X, missing):
    """Without rows there is a ValueError with scikit-learn's wording."""
    with pytest.raises(
        ValueError,
        match=r"^X is empty: found array with 0 sample\(s\) while a minimum of 1 is "
        r"required\.$",
    ):
        check_texts(X, missing=missing)


@pytest.mark.parametrize(
    ("X", "n_rows"),
    [
        (pd.DataFrame(), 0),
        (pd.DataFrame(index=[1, 2]), 2),
        (np.empty((15, 0)), 15),
        (np.empty((3, 0), dtype=object), 3),
        (pl.DataFrame(), 0),
        (pa.table({}), 0),
        (pa.record_batch({}), 0),
    ],
)
@pytest.mark.parametrize("template", [None, "{x}"])
def test_no_columns_are_refused_in_the_words_of_sklearn(X, n_rows, template):
    """Without columns there is a ValueError with scikit-learn's wording."""
    with pytest.raises(
        ValueError,
        match=rf"^X has 0 feature\(s\) \(shape=\({n_rows}, 0\)\) while a minimum of 1 "
        r"is required\.$",
    ):
        check_texts(X, template=template)


@pytest.mark.parametrize(
    ("X", "columns"),
    [
        (pd.DataFrame([list("xyz")], columns=list("abc")), "3 columns ('a', 'b', 'c')"),
        (pd.DataFrame([list("xyz")], columns=list("aaa")), "3 columns ('a', 'a', 'a')"),
        (pl.DataFrame([list("xyz")], schema=list("abc"), orient="row"), "('a', 'b',"),
        (pa.table({"a": ["x"], "b": ["y"], "c": ["z"]}), "3 columns ('a', 'b', 'c')"),
        (np.full((2, 3), "x"), "3 columns (0, 1, 2)"),
        (np.full((2, 7), "x"), "7 columns (0, 1, 2, 3, 4, ...)"),
    ],
)
def test_more_than_two_columns_need_a_template(X, columns):
    """Three columns are refused by name, with template and ColumnTransformer."""
    with pytest.raises(
        ValueError,
        match=rf"X has .*{re.escape(columns)}.*; expected one column of texts or two "
        r"columns of sentence pairs\. Join .* template='.*ColumnTransformer\.",
    ):
        check_texts(X)


@pytest.mark.parametrize(
    ("X", "row", "shown"),
    [
        ([("a", "b"), ("c",)], 1, "('c',)"),
        ([("a", "b", "c"), ("d", "e")], 0, "('a', 'b', 'c')"),
        ([("a", "b"), "c"], 1, "'c'"),
        (["c", ("a", "b")], 0, "'c'"),
        ([("a", "b"), ["c", "d"]], 1, "['c', 'd']"),
        ([("a",), ("b",)], 0, "('a',)"),
        ([(), ()], 0, "()"),
        (pd.Series([("a", "b"), "c"], dtype=object), 1, "'c'"),
    ],
)
def test_ragged_pairs_are_refused(X, row, shown):
    """Where one row is a tuple, a row that is no pair is named."""
    with pytest.raises(
        ValueError,
        match=re.escape(f"X[{row}] is {shown}; since X holds tuples, every row must"),
    ):
        check_texts(X)


anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.binary(max_size=4),
        any_text,
        st.sampled_from([pd.NA, pd.NaT, np.str_("a"), np.array("a"), Decimal("NaN")]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(any_text, max_size=4),
        st.lists(st.tuples(any_text, any_text), max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(objects),
        st.lists(inner, max_size=4).map(lambda cells: pd.Series(cells, dtype=object)),
        st.dictionaries(any_text, inner, max_size=2),
    ),
    max_leaves=8,
)


@settings(lenient, max_examples=300)
@given(anything, st.sampled_from(["error", "empty"]))
def test_anything_gives_texts_or_a_complaint_about_X(X, missing):
    """Whatever is handed in becomes proper texts, or an error that begins with X."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*surrogates", UserWarning)
        try:
            found = check_texts(X, missing=missing)
        except (TypeError, ValueError) as error:
            assert re.match(r"X(\[\d+(, \d+)?\])? (is|has) ", str(error))  # noqa: PT017
            return
    sides = [found.first] if found.second is None else [found.first, found.second]
    assert len(sides) == found.n_features
    for side in sides:
        assert len(side) == len(found) == len(X)
        assert all(type(text) is str and text.encode() is not None for text in side)


# -- surrogates --------------------------------------------------------------------


def mend(text):
    """Join surrogates that belong together, by arithmetic, and replace the others."""
    letters, i = [], 0
    while i < len(text):
        high, low = text[i], text[i + 1 : i + 2]
        if "\ud800" <= high <= "\udbff" and "\udc00" <= low <= "\udfff":
            code = 0x10000 + (ord(high) - 0xD800) * 0x400 + (ord(low) - 0xDC00)
            letters.append(chr(code))
            i += 2
        else:
            letters.append("\ufffd" if "\ud800" <= high <= "\udfff" else high)
            i += 1
    return "".join(letters)


def is_broken(text):
    """Whether a text holds a surrogate."""
    return any(0xD800 <= ord(letter) <= 0xDFFF for letter in text)


@settings(lenient, max_examples=200)
@given(st.lists(st.tuples(any_text, any_text), min_size=1, max_size=6), st.booleans())
def test_surrogates_are_mended_with_one_counted_warning(pairs, is_pair):
    """Any text comes out as Unicode; one warning counts the rows that were not."""
    X = pairs if is_pair else [first for first, _ in pairs]
    broken = [i for i, row in enumerate(X) if is_broken("".join(row))]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = check_texts(X)
    assert found.first == [mend(first) for first, _ in pairs]
    assert found.second == ([mend(second) for _, second in pairs] if is_pair else None)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == (1 if broken else 0)
    if broken:
        assert messages[0].startswith(f"{len(broken)} of {len(X)} texts hold surrog")
        assert f"(rows {', '.join(map(str, broken[:5]))}" in messages[0]


def test_surrogate_warning_says_what_was_done():
    """The warning counts, lists the first rows, and says what is read instead."""
    message = (
        "6 of 7 texts hold surrogates, which are no valid Unicode (rows 1, 2, 3, 4, 5, "
        "...); lone ones are read as U+FFFD."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$") as record:
        found = check_texts(["fine", *["a\udc00b"] * 5, "\ud83d\ude00"])
    assert len(record) == 1
    assert found.first == ["fine", *["a\ufffdb"] * 5, "😀"]


def test_mended_rows_are_listed_in_order():
    """The rows of the warning are in order, also where they lie far apart."""
    X = ["\ud800" if row in (1, 64, 129) else "a" for row in range(130)]
    with pytest.warns(UserWarning, match=r"3 of 130 texts .* \(rows 1, 64, 129\)"):
        check_texts(X)


# -- template ----------------------------------------------------------------------

ROWS = {
    "title": ["Fine", "Dull"],
    "stars": [4, 1],
    "price": [9.5, 12.25],
    "the body": ["a film", "a plot"],
    "o.p": ["u", "v"],
}
FRAMES = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "Arrow table": pa.table,
    "Arrow batch": pa.record_batch,
    "narwhals": lambda rows: nw.from_native(pd.DataFrame(rows)),
}


@each(FRAMES)
@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{title}", ["Fine", "Dull"]),
        ("{title}. {the body}!", ["Fine. a film!", "Dull. a plot!"]),
        ("{title}{title}", ["FineFine", "DullDull"]),
        ("{{{title}}} {{}}", ["{Fine} {}", "{Dull} {}"]),
        ("{stars}", ["4", "1"]),
        ("{stars:03d} {stars:.1f}", ["004 4.0", "001 1.0"]),
        ("{price:.2f} EUR", ["9.50 EUR", "12.25 EUR"]),
        ("{title:>6}|{title:.2}", ["  Fine|Fi", "  Dull|Du"]),
        ("{o.p}", ["u", "v"]),
    ],
)
def test_template_joins_named_columns(case, template, expected):
    """A template joins columns of any frame, formatted as Python formats them."""
    found = check_texts(case(ROWS), template=template)
    n_named = sum(name in template for name in ROWS)
    assert found == Texts(expected, None, n_features=n_named, is_2d=True)


def test_template_names_its_columns_once():
    """The columns of a template are those it reads, each once, in its order."""
    template = "{{x}} {the body}: {price:.2f} {title}{price}"
    assert template_columns(template) == ["the body", "price", "title"]


def test_template_formats_dates():
    """A date's format spec is the one of strftime."""
    frame = pd.DataFrame({"day": pd.to_datetime(["2020-01-02"])})
    assert check_texts(frame, template="{day:%d.%m.%y}").first == ["02.01.20"]


literals = any_text.map(lambda text: text.replace("{", "{{").replace("}", "}}"))


@lenient
@given(
    rows=st.lists(
        st.tuples(
            any_text, st.integers(), st.floats(allow_nan=False, allow_infinity=False)
        ),
        min_size=1,
        max_size=5,
    ),
    pieces=st.lists(
        st.tuples(
            literals,
            st.sampled_from(
                ["{t}", "{t:>9}", "{i}", "{i:+,d}", "{f}", "{f:.3e}", "{f:12.4f}"]
            ),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_template_is_what_python_formats(rows, pieces):
    """For any cells and any literal text, a template gives what str.format gives."""
    template = "".join(literal + field for literal, field in pieces)
    columns = zip(*rows, strict=True)
    frame = pd.DataFrame(dict(zip("tif", columns, strict=True)), dtype=object)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*surrogates", UserWarning)
        found = check_texts(frame, template=template)
    # An empty text stays empty, because missing numbers are read as one.
    assert found.first == [
        mend(
            "".join(
                literal.format()
                + ("" if t == "" and "t" in field else field.format(t=t, i=i, f=f))
                for literal, field in pieces
            )
        )
        for t, i, f in rows
    ]


@lenient
@given(st.one_of(any_text, st.text("{}!:ab", max_size=12)))
def test_any_template_is_parsed_or_refused(template):
    """Any text is split as Python splits it, or refused with the template named."""
    try:
        pieces = parse_template(template)
    except ValueError as error:
        assert str(error).startswith(f"template is {template!r}")  # noqa: PT017
        return
    assert pieces == [
        (literal, name, spec or "")
        for literal, name, spec, _ in string.Formatter().parse(template)
    ]
    assert any(name for _, name, _ in pieces)


@pytest.mark.parametrize(
    ("template", "match"),
    [
        ("{title", r"which is not a valid format string \(.*\); expected column names"),
        ("title}", r"which is not a valid format string \(.*\); expected column names"),
        ("{", "which is not a valid format string"),
        ("{title!}", "which is not a valid format string"),
        ("{}", "expected at least one column name, and a name in every pair of braces"),
        ("{title} {}", "a name in every pair of braces"),
        ("{:.2f}", "a name in every pair of braces"),
        ("", "expected at least one column name"),
        ("no field", "expected at least one column name"),
        ("{{title}}", "expected at least one column name"),
        ("{title!r}", "expected no conversion such as '!r'. Convert the column first"),
    ],
)
def test_templates_that_say_nothing_are_refused(template, match):
    """Unbalanced braces, unnamed fields and conversions are refused, with or without X.

    An estimator parses its template before it looks at X.
    """
    whole = rf"^template is {re.escape(repr(template))}[,;] .*{match}"
    with pytest.raises(ValueError, match=whole):
        parse_template(template)
    with pytest.raises(ValueError, match=whole):
        check_texts(pd.DataFrame(ROWS), template=template)


@each(FRAMES)
def test_template_with_an_unknown_column_is_refused(case):
    """A column that X does not have is named, beside those that it has."""
    with pytest.raises(
        ValueError,
        match="template names the column 'titel', which X does not have; its columns "
        "are 'title', 'stars', 'price', 'the body', 'o.p'",
    ):
        check_texts(case(ROWS), template="{title} {titel}")


@pytest.mark.parametrize("template", ["{title.upper}", "{title[0]}", "{0}", "{ title}"])
def test_template_reads_names_only(template):
    """A field is a column name: no attribute, item, position or space is resolved."""
    with pytest.raises(
        ValueError, match="template names the column '.*', which X does"
    ):
        check_texts(pd.DataFrame(ROWS), template=template)


def test_template_with_an_ambiguous_column_is_refused():
    """Of two columns of one name none is taken; another column can be."""
    frame = pd.DataFrame([["a", "b", "c"]], columns=["x", "x", "y"])
    with pytest.raises(
        ValueError,
        match="template names the column 'x', which occurs 2 times in X; its columns "
        "are 'x', 'x', 'y'",
    ):
        check_texts(frame, template="{x}")
    assert check_texts(frame, template="{y}").first == ["c"]


@pytest.mark.parametrize(
    "X",
    [
        ["a"],
        [("a", "b")],
        np.array([["a", "b"]]),
        pd.Series(["a"], name="title"),
        pl.Series("title", ["a"]),
    ],
)
def test_template_without_column_names_is_refused(X):
    """A template needs a frame, because nothing else has column names."""
    with pytest.raises(
        ValueError,
        match=r"template is '\{title\}', but X has no column names; hand in a data fra",
    ):
        check_texts(X, template="{title}")


@each(MARKERS)
def test_missing_cells_of_a_template_are_refused(case):
    """A missing cell that the template names is refused by row and column."""
    frame = pd.DataFrame({"t": ["a", "b", "c"], "n": objects([1.0, case, 2.0])})
    with pytest.raises(
        ValueError, match=r"^X\[1, 'n'\] is .* Missing texts in rows 1 \(1 of 3\)"
    ):
        check_texts(frame, template="{t}: {n:.1f}")
    filled = check_texts(frame, template="{t}: {n:.1f}", missing="empty")
    assert filled.first == ["a: 1.0", "b: ", "c: 2.0"]
    assert check_texts(frame, template="{t}").first == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("template", "match"),
    [
        ("{title:d}", r"X\[0, 'title'\] is 'Fine' of type str, .* format as 'd' \("),
        ("{stars:zz}", r"X\[0, 'stars'\] is 4 of type int, .* format as 'zz' \("),
        (
            "{stars:>{price}}",
            r"X\[0, 'stars'\] is 4 of type int, .* as '>\{price\}' \(",
        ),
        ("{words:5}", r"X\[0, 'words'\] is \['a'\] of type list, .* format as '5' \("),
    ],
)
def test_format_that_does_not_fit_is_refused(template, match):
    """A format spec that a cell does not take is refused with row, cell and remedy."""
    frame = pd.DataFrame({**ROWS, "words": [["a"], ["b"]]})
    with pytest.raises(ValueError, match=f"^{match}.*; change the format, or convert"):
        check_texts(frame, template=template)


def test_template_reads_no_bytes():
    """Bytes are refused in a template too, instead of showing up as "b'...'"."""
    frame = pd.DataFrame({"t": ["a", "b"], "raw": ["c", b"d"]})
    with pytest.raises(
        TypeError, match=r"^X\[1, 'raw'\] is b'd' of type bytes; .* Decode it first"
    ):
        check_texts(frame, template="{t} {raw}")


def test_template_literal_is_mended_too():
    """A surrogate in the template itself does not reach the tokenizer."""
    template = "\ud800{title}"
    with pytest.warns(UserWarning, match="2 of 2 texts hold surrogates"):
        found = check_texts(pd.DataFrame(ROWS), template=template)
    assert found.first == ["\ufffdFine", "\ufffdDull"]


# -- Texts -------------------------------------------------------------------------

some_texts = st.builds(
    lambda halves, is_pair: Texts(
        [first for first, _ in halves],
        [second for _, second in halves] if is_pair else None,
        n_features=1 + is_pair,
        is_2d=is_pair,
    ),
    st.lists(
        st.tuples(*[st.sampled_from(["", "a", "ab", "b", "bc", "c"])] * 2),
        min_size=1,
        max_size=20,
    ),
    st.booleans(),
)


@lenient
@given(some_texts)
def test_rows_are_texts_or_pairs(texts):
    """A row is a text, or a tuple of both halves, in the caller's order."""
    rows = texts.rows()
    assert len(rows) == len(texts) == len(texts.first)
    for i, row in enumerate(rows):
        assert row == (
            (texts.first[i], texts.second[i]) if texts.second else texts.first[i]
        )


@lenient
@given(some_texts)
def test_distinct_rows_are_met_once_in_order(texts):
    """Each row occurs once, where it came first, and every row is found again."""
    distinct, row_of = texts.distinct()
    rows, found = texts.rows(), distinct.rows()
    assert found == [row for i, row in enumerate(rows) if row not in rows[:i]]
    assert [found[place] for place in row_of] == rows
    assert row_of.dtype == np.int64
    assert (distinct.n_features, distinct.is_2d) == (texts.n_features, texts.is_2d)


@lenient
@given(some_texts, st.integers(0, 21), st.integers(0, 21))
def test_part_is_a_slice(texts, begin, end):
    """A part has the rows of a slice, and is of the same kind."""
    part = texts.part(begin, end)
    assert part.rows() == texts.rows()[begin:end]
    assert (part.second is None) == (texts.second is None)
    assert (part.n_features, part.is_2d) == (texts.n_features, texts.is_2d)


def test_texts_without_others():
    """What is among others is left out, in order; a pair is known by both halves."""
    texts = check_texts(["a", "b", "c", "b"]).without(check_texts(["b", "d"]))
    assert texts.rows() == ["a", "c"]
    pairs = check_texts([("a", "b"), ("a", "c"), ("b", "a")])
    assert pairs.without(check_texts([("a", "b")])).rows() == [("a", "c"), ("b", "a")]
    assert pairs.without(pairs).rows() == []
