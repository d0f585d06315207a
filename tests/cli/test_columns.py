"""Columns of a table become texts, labels and numbers."""

import numpy as np
import pandas as pd
import pytest

from sklearn_bert.cli._columns import (
    as_classes,
    as_labels,
    as_numbers,
    texts_of,
    training_rows,
)
from sklearn_bert.cli._tables import Table


def table(**columns):
    return Table("a.csv", pd.DataFrame(columns))


@pytest.mark.parametrize(
    ("cells", "texts", "n_numbers"),
    [
        ([1, 2, 30], ["1", "2", "30"], 3),
        ([1.5, None, 2.0], ["1.5", None, "2.0"], 2),
        (["a", 7, True], ["a", "7", "True"], 2),
        (["007", "1e5", "3"], ["007", "1e5", "3"], 3),  # of CSV
        (["007", "x", "3"], ["007", "x", "3"], 0),
        (pd.Categorical(["b", "a", "b"]), ["b", "a", "b"], 0),
    ],
)
def test_numbers_become_texts_and_that_is_said(cells, texts, n_numbers):
    """A number is read as it is written, in one line that counts them."""
    said = []
    found = texts_of(table(body=cells), ["body"], said.append)["body"]
    assert [None if pd.isna(text) else text for text in found] == texts
    counted = f"Note: {n_numbers} of 3 values in column 'body' of a.csv are numbers"
    assert [line.startswith(counted) for line in said] == [True] * bool(n_numbers)


def test_other_cells_are_left_to_the_estimator():
    """What is neither text nor number is not made a text."""
    cells = [["a"], {"b": 1}, "c"]
    assert texts_of(table(body=cells), ["body"])["body"].tolist() == cells


def test_a_missing_column_is_named():
    """A column that is not there is named, with those that are."""
    with pytest.raises(ValueError, match=r"a.csv has no column 'x'; it has \['body'\]"):
        texts_of(table(body=["a"]), ["x"])


def test_rows_with_gaps_are_left_out_and_counted():
    """A row that lacks one of its texts or its label is no row to learn from."""
    said = []
    whole = table(
        a=["x", None, "y", "z"], b=["p", "q", None, "r"], c=["1"] * 3 + [None]
    )
    X, y = training_rows(whole, ["a", "b"], "c", said.append)
    assert X.to_numpy().tolist() == [["x", "p"]]
    assert y.tolist() == ["1"]
    assert said == ["Left out: 3 rows without text or label."]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["1", "-2", "0"], [1, -2, 0]),
        (["1", "02", "0"], ["1", "02", "0"]),
        (["1", "a"], ["1", "a"]),
        (["1.0", "2.0"], ["1.0", "2.0"]),
        ([1.0, 2.0], [1, 2]),
        ([1.5, 2.0], [1.5, 2.0]),
        ([True, False], [True, False]),
        (["9" * 30, "1"], ["9" * 30, "1"]),
    ],
)
def test_whole_numbers_become_integers(values, labels):
    """Labels that are written as Python writes integers are integers."""
    found = as_labels(pd.Series(values)).tolist()
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]


def test_what_is_no_number_is_named_with_its_row():
    """A target that is no number is named with its row."""
    values = pd.Series(["1.5", "-2e3", "cheap"], name="price")
    assert as_numbers("a.csv", values[:2]).tolist() == [1.5, -2000.0]
    with pytest.raises(
        ValueError, match="'price' of a.csv holds 'cheap' in row 2, cou"
    ):
        as_numbers("a.csv", values)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["b", "a"], ["a", "b"]),
        (["2", "1"], [1, 2]),
        ([2.0, 1.0], [1, 2]),
        ([2, 1], ["1", "2"]),
        (["True", "False"], [False, True]),
    ],
)
def test_labels_are_the_classes_that_they_are_written_like(values, classes):
    """A label is found among the classes by how it is written."""
    y = as_classes("a.csv", pd.Series(values, name="y"), classes)
    assert y.tolist() == classes[::-1]
    assert y.dtype == np.array(classes).dtype


def test_a_label_that_is_no_class_is_named():
    """A label that the model does not know is named with its row and the classes."""
    message = r"'y' of a.csv holds 'x' in row 1, .* are '0', '1', .* '9' and 2 more\."
    with pytest.raises(ValueError, match=message):
        as_classes("a.csv", pd.Series(["1", "x"], name="y"), range(12))
