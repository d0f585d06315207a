"""Labels in y: what is missing, masked or would not come back is named at once."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sklearn_bert import BertClassifier, BertRegressor, BertTokenClassifier
from sklearn_bert.targets._labels import read_labels
from sklearn_bert.targets._numbers import read_numbers
from sklearn_bert.targets._tags import read_tag_set
from sklearn_bert.training._losses import CrossEntropy

TEXTS = ["a", "b", "c", "d"]


def refuses(error, message, y, method="fit", texts=TEXTS, **arguments):
    """Before any checkpoint is read: there is none."""
    parameters = {"class_weight": arguments.pop("class_weight", None)}
    clf = BertClassifier("/no/such/folder", **parameters)
    with pytest.raises(error, match=message):
        getattr(clf, method)(texts, y, **arguments)


# -- missing ---------------------------------------------------------------------------


MISSING = {
    "None": None,
    "NaN": np.nan,
    "NumPy's NaN": np.float32("nan"),
    "NA": pd.NA,
    "NaT": pd.NaT,
    "masked": np.ma.masked,
}
OTHERS = {"str": ["x", "y", "x"], "int": [0, 1, 0], "bool": [True, False, True]}


@pytest.mark.filterwarnings("ignore:.*converting a masked element to nan")  # pandas
@pytest.mark.parametrize("container", [list, tuple, pd.Series], ids=repr)
@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("missing", MISSING)
def test_a_missing_label_is_called_missing(missing, kind, container):
    """Whatever marks it and whatever it stands beside, its row is named."""
    y = container([*OTHERS[kind], MISSING[missing]])
    message = r"y\[3\] is .*; every text needs a label\. 1 of 4 labels are missing"
    refuses(ValueError, message, y)
    refuses(ValueError, message, y, "partial_fit")


LABELLED = range(100, 104)  # an index that does not count from 0
WRONG_ROWS = {
    "missing label": (BertClassifier, ["x", "y", "x", None], {}),
    "missing number": (BertRegressor, [1.0, 2.0, 3.0, np.nan], {}),
    "no number": (BertRegressor, [1.0, 2.0, 3.0, "4"], {}),
    "missing group": (BertClassifier, list("xyxy"), {"groups": ["a", "a", "b", None]}),
    "wrong weight": (BertClassifier, list("xyxy"), {"sample_weight": [1, 1, 1, -1]}),
    "unknown label": (
        BertClassifier,
        list("xyxy"),
        {"X_val": TEXTS, "y_val": list("xyxz")},
    ),
}


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_a_row_is_named_by_its_index_label_too(name):
    """Wherever an argument is a Series, its own label stands beside the position."""
    cls, y, given = WRONG_ROWS[name]
    given = {
        key: pd.Series(value, index=LABELLED, dtype=object)
        for key, value in {"y": y, **given}.items()
    }
    wrong = list(given)[-1]
    with pytest.raises(ValueError, match=rf"^{wrong}\[3\] \(index label 103\) is "):
        cls("/no/such/folder").fit(TEXTS, **given)


@pytest.mark.parametrize("cell", [2, "x", None])
def test_a_cell_of_a_frame_is_named_by_its_index_label_too(cell):
    """So is a cell of an indicator."""
    y = pd.DataFrame([[0, 1], [1, 0], [1, 1], [0, cell]], index=LABELLED)
    refuses(ValueError, r"^y\[3, 1\] \(index label 103\) is ", y)


def test_mixed_labels_are_mixed():
    """Where nothing is missing, strings beside numbers are refused as such."""
    refuses(TypeError, "y mixes strings and other labels", ["x", 1.5, "y", "x"])


@pytest.mark.parametrize("name", ["y", "classes", "groups"])
def test_what_is_masked_is_not_read(name):
    """The value below a mask is not taken, in labels, classes and groups."""
    y, array = ["x", "y", "x", "y"], np.ma.array([0, 1, 0, 1], mask=[0, 0, 1, 0])
    message = rf"{name}\[2\] is masked: 1 of 4 values are missing"
    if name == "y":
        refuses(ValueError, message, array)
        refuses(ValueError, message, np.ma.array(y, mask=[0, 0, 1, 0]))
    elif name == "classes":
        refuses(ValueError, message, y, "partial_fit", classes=array)
    else:
        refuses(ValueError, message, y, groups=array)


def test_a_masked_cell_of_an_indicator_is_named():
    """So is one of several labels."""
    indicator = np.ma.array([[0, 1], [1, 0]] * 2, mask=[[0, 0]] * 3 + [[0, 1]])
    refuses(ValueError, r"y\[3, 1\] is masked: 1 of 8 values", indicator)


@pytest.mark.parametrize(
    "y", [[3, 1, 3, 1], ["x", "y", "x", "y"], [[0, 1], [1, 0]] * 2]
)
def test_masked_arrays_without_a_mask_are_arrays(y):
    """Where nothing is masked, labels are those of the data, of the same type."""
    plain, ours = (read_labels(kind(y), TEXTS) for kind in (np.array, np.ma.array))
    assert ours.classes.dtype == plain.classes.dtype
    np.testing.assert_array_equal(ours.classes, plain.classes)
    np.testing.assert_array_equal(ours.encode(np.ma.array(y)), plain.encode(y))


# -- kinds -----------------------------------------------------------------------------


INTEGERS = ["uint8", "int8", "int16", "int32", "int64"]
OF_INTEGERS = {
    "tensor": lambda y, dtype: torch.tensor(y, dtype=getattr(torch, dtype)),
    "column of a tensor": lambda y, dtype: torch.tensor(y, dtype=getattr(torch, dtype))[
        :, None
    ],
    "tensors": lambda y, dtype: list(torch.tensor(y, dtype=getattr(torch, dtype))),
    "array": lambda y, dtype: np.array(y, dtype),
    "scalars": lambda y, dtype: list(np.array(y, dtype)),
    "Series": lambda y, dtype: pd.Series(y, dtype=dtype),
    "nullable Series": lambda y, dtype: pd.Series(
        y, dtype=dtype.title().replace("Ui", "UI")
    ),
    "polars": lambda y, dtype: pl.Series(np.array(y, dtype)),
    "Arrow": lambda y, dtype: pa.array(y, dtype),
}


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("kind", OF_INTEGERS)
def test_integers_stay_integers(kind, dtype):
    """Classes of whole numbers are whole numbers, wherever they come from."""
    labels = read_labels(OF_INTEGERS[kind]([7, 2, 2, 7], dtype), TEXTS)
    assert labels.classes.dtype.kind in "iu"
    assert labels.classes.tolist() == [2, 7]
    codes = labels.encode(OF_INTEGERS[kind]([2, 7, 7, 2], dtype))
    assert codes.tolist() == [0, 1, 1, 0]


# -- what NumPy would not give back ----------------------------------------------------


@pytest.mark.parametrize("label", ["x\0", "\0", "x\0\0", "\0x\0"])
@pytest.mark.parametrize(
    "container", [list, tuple, pd.Series, lambda y: np.array(y, object)]
)
def test_a_nul_at_the_end_is_refused(container, label):
    """NumPy would drop it, and make one class of two; row and remedy are named."""
    message = re.escape(f"is {label!r}, which ends in a NUL character") + ".*rstrip"
    y = container(["x", label, "y", "x"])
    refuses(ValueError, rf"y\[1\] {message}", y)
    classes = container(["x", "y", label])
    refuses(
        ValueError,
        rf"classes\[2\] {message}",
        [*"xyxy"],
        "partial_fit",
        classes=classes,
    )


@hypothesis_settings(max_examples=200, deadline=None)
@given(st.sets(st.text(max_size=4), min_size=2, max_size=5))
def test_any_other_strings_come_back(found):
    """Labels are refused for a NUL at their end, or come back as they went in."""
    y = sorted(found)
    if any(label.endswith("\0") for label in y):
        with pytest.raises(ValueError, match="which ends in a NUL character"):
            read_labels(y, y)
        return
    labels = read_labels(y, y)
    assert labels.decide(np.eye(len(y))[labels.encode(y)]).tolist() == y


# -- classes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        ([], ValueError, "classes holds no class; .* at least 2 classes"),
        (np.array([]), ValueError, "classes holds no class"),
        (["x"], ValueError, r"classes holds one class only \('x'\)"),
        (["x", "x"], ValueError, r"classes holds one class only \('x'\)"),
        (["x", "y", None], ValueError, r"classes\[2\] is None; every class needs a"),
        ([["x", "y"]], ValueError, "classes has several columns; .* a list of labels"),
        (["x", 3], TypeError, "classes mixes strings"),
        ("xy", TypeError, "classes is 'xy' of type str; expected a list"),
        (2, TypeError, "classes is 2 of type int; expected a list"),
        ({"x"}, TypeError, "classes is {'x'} of type set; expected a list"),
        (["x", "z"], ValueError, r"y\[1\] is 'y', .* as classes to partial_fit"),
    ],
)
def test_wrong_classes_are_named(classes, error, message):
    """`classes` of `partial_fit` that say too little are refused, as `classes`."""
    refuses(error, message, ["x", "y", "x", "y"], "partial_fit", classes=classes)


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        ([], ValueError, "classes holds 0 tags"),
        (["X"], ValueError, "classes holds 1 tags"),
        (["X", "Y", None], ValueError, r"classes\[2\] is None; .*needs a tag"),
        (["X", 3], TypeError, "classes mixes strings"),
        ([0, 1, -100], ValueError, r"classes\[2\] is -100, with which transformers"),
        ([0.5, 1.5], TypeError, r"classes\[0\] is 0.5 of type float"),
        (["X", "Y\0"], ValueError, r"classes\[1\] is 'Y\\x00', which ends in a NUL"),
        (["X", "B-Y"], ValueError, "classes mixes tags with and without prefix"),
        ("XY", TypeError, "classes is 'XY' of type str; expected a list"),
        (2, TypeError, "classes is 2 of type int; expected a list"),
        (
            ["X", "Z"],
            ValueError,
            r"y\[0\]\[1\] is 'Y', .* as classes in the first call",
        ),
    ],
)
def test_wrong_classes_of_tags_are_named(classes, error, message):
    """So are those of a tagger."""
    tagger = BertTokenClassifier("/no/such/folder")
    with pytest.raises(error, match=message):
        tagger.partial_fit([["a", "b"]], [["X", "Y"]], classes=classes)


@pytest.mark.parametrize("kind", [list, set, frozenset, np.array])
def test_a_set_of_tags_is_as_a_list(kind):
    """Their order says nothing; they are sorted in any case."""
    found = read_tag_set(kind(["Y", "O", "X"]))
    assert found.classes.tolist() == ["O", "X", "Y"]


# -- class weights ---------------------------------------------------------------------


@pytest.mark.parametrize("y", [["x", "y"] * 2, [0, 1] * 2])
def test_an_unknown_class_weight_is_named(y):
    """The label that y does not have is named, and not those that it has."""
    weights = {y[0]: 1.0, "positive": 2.0}
    message = (
        r"class_weight has a weight for 'positive', which is not among the 2 classes "
        rf"\({re.escape(repr(y[:2]))}\), and none for {y[1]!r}"
    )
    refuses(ValueError, message, y, class_weight=weights)


@pytest.mark.parametrize("weight", ["2", "a", None, pd.NA, 1 + 1j, 10**400], ids=type)
def test_a_class_weight_that_is_no_number_is_named(weight):
    """The class is named, of one label per text and of several."""
    message = r"is .* of type \w+; expected a finite number of 0 or more"
    weights = {"x": 1.0, "y": weight}
    refuses(
        ValueError,
        rf"^class_weight\['y'\] {message}",
        ["x", "y"] * 2,
        class_weight=weights,
    )
    indicator = [[0, 1], [1, 0]] * 2
    weights = [{0: 1, 1: 1}, {0: 1, 1: weight}]
    refuses(
        ValueError,
        rf"^class_weight\[1\]\[1\] {message}",
        indicator,
        class_weight=weights,
    )


# -- tensors ---------------------------------------------------------------------------


TENSORS = {
    "with a gradient": torch.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True),
    "in bfloat16": torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.bfloat16),
}


@pytest.mark.parametrize("name", TENSORS)
def test_any_tensor_is_read(name):
    """As labels, indicator and numbers; of any precision, and part of a graph."""
    tensor, plain = TENSORS[name], np.array([0.0, 1.0, 0.0, 1.0])
    labels = read_labels(tensor, TEXTS)
    np.testing.assert_array_equal(labels.classes, [0.0, 1.0])
    np.testing.assert_array_equal(labels.encode(tensor), plain)
    numbers, is_column = read_numbers(tensor, TEXTS)
    assert is_column
    np.testing.assert_array_equal(numbers[:, 0], plain)
    indicator = torch.stack([tensor, 1 - tensor], 1)
    found = read_labels(indicator, TEXTS).encode(indicator)
    np.testing.assert_array_equal(found, np.column_stack([plain, 1 - plain]))


# -- the loss --------------------------------------------------------------------------


def test_loss_contrasts_where_the_contrast_has_a_weight():
    """Without a weight it is the cross-entropy alone."""
    targets = read_labels(np.array(list("xyxz")), TEXTS)
    assert targets.loss(0.0, contrast_weight=9.0).contrast_weight == 9.0
    assert type(targets.loss(0.0)) is CrossEntropy
