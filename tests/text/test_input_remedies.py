"""Complaints about X name the row as its container does, and a remedy that works."""

import pandas as pd
import pyarrow as pa
import pytest

from sklearn_bert.text._input import check_texts
from sklearn_bert.text._words import check_words

LABELS = [7, "b", ("c", 1)]


class Dataset:
    """Stands in for a data set of Hugging Face: no sequence, no frame, no array."""

    features = column_names = ("text", "label")

    def __len__(self):
        return 2

    def __iter__(self):
        yield {"text": "good", "label": 1}
        yield {"text": "bad", "label": 0}

    def __getitem__(self, key):
        return list(self)[key]


@pytest.mark.parametrize("label", LABELS, ids=repr)
@pytest.mark.parametrize("cell", [None, 3], ids=repr)
def test_a_row_of_pandas_is_named_by_its_index_label_too(label, cell):
    """Position and index label stand in the error, of a Series and of a frame."""
    index = pd.Index(["a", label], tupleize_cols=False)
    column = pd.Series(["text", cell], index=index, dtype=object, name="t")
    with pytest.raises((TypeError, ValueError)) as error:
        check_texts(column)
    assert str(error.value).startswith(f"X[1] (index label {label!r}) is ")
    with pytest.raises((TypeError, ValueError)) as error:
        check_texts(column.to_frame())
    assert str(error.value).startswith(f"X[1, 't'] (index label {label!r}) is ")


def test_an_index_label_may_be_missing():
    """A row whose own label is missing is named all the same."""
    column = pd.Series(["text", None], index=pd.Index([1, pd.NA], dtype="Int64"))
    with pytest.raises(ValueError, match=r"^X\[1\] \(index label <NA>\) is "):
        check_texts(column)


def test_a_row_of_a_template_is_named_by_its_index_label_too():
    """A missing cell that a template reads is named likewise."""
    frame = pd.DataFrame({"t": ["text", None]}, index=["a", "b"])
    with pytest.raises(ValueError, match=r"^X\[1, 't'\] \(index label 'b'\) is "):
        check_texts(frame, template="{t}!")


def test_an_index_label_that_is_the_position_is_not_named():
    """The usual index of pandas adds nothing to the position."""
    with pytest.raises(ValueError, match=r"^X\[1\] is None"):
        check_texts(pd.Series(["text", None], dtype=object))


@pytest.mark.parametrize(
    "kind",
    [
        lambda cells: pa.table(cells, names=["t", "t"]),
        lambda cells: pa.record_batch(cells, names=["t", "t"]),
        lambda cells: pd.DataFrame(zip(*cells, strict=True), columns=["t", "t"]),
    ],
    ids=["Arrow table", "Arrow batch", "pandas"],
)
def test_two_columns_of_one_name_are_a_pair(kind):
    """Columns are read by place, so that two may have one name; a template says so."""
    X = kind([["one", "two"], ["three", "four"]])
    texts = check_texts(X)
    assert texts.rows() == [("one", "three"), ("two", "four")]
    with pytest.raises(ValueError, match="'t', which occurs 2 times in X"):
        check_texts(X, template="{t}")


@pytest.mark.parametrize("check", [check_texts, check_words])
def test_a_data_set_of_hugging_face_gets_a_remedy_that_works(check):
    """The error names its columns, and how to take one out."""
    X = Dataset()
    with pytest.raises(TypeError, match="of the columns 'text', 'label'") as error:
        check(X)
    remedy = "[row['text'] for row in X]"
    assert remedy in str(error.value)
    assert check_texts(eval(remedy, {"X": X})).first == ["good", "bad"]


def test_rows_that_are_dicts_get_a_remedy_that_works():
    """A list of a data set's rows is told how to take the texts out."""
    with pytest.raises(TypeError, match=r"\[row\['text'\] for row in X\]"):
        check_texts(list(Dataset()))


def test_a_mapping_is_told_to_take_a_value():
    """Columns or splits by their names: one of them is to be handed in."""
    X = {"train": ["good"]}
    with pytest.raises(TypeError, match=r"one of its values, e.g. X\['train'\]"):
        check_texts(X)
    with pytest.raises(TypeError, match=r"column or frame of texts\.$"):
        check_texts({"good"})
