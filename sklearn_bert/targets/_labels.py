"""Labels in `y` <-> what a net learns: codes of classes, or 0 and 1 for each label."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from scipy.sparse import issparse, isspmatrix
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length

from sklearn_bert.targets._answers import AnyLabels, OneLabel
from sklearn_bert.targets._probe import class_probe, label_probe
from sklearn_bert.text._columns import (
    as_python,
    cell_name,
    excerpt,
    is_missing,
    to_float,
)
from sklearn_bert.training._contrastive import ContrastiveCrossEntropy
from sklearn_bert.training._losses import BinaryCrossEntropy, CrossEntropy, Objective


class OneOfSeveral(OneLabel):
    """Every text has one label of several, to be learnt."""

    merge_windows = staticmethod(CrossEntropy.merge_windows)

    def attributes(self) -> dict[str, Any]:
        """Return what a fitted classifier keeps of its labels."""
        return {"classes_": self.classes, "multilabel_": False, "_indicator": None}

    def loss(self, label_smoothing: float, contrast_weight: float = 0.0) -> Objective:
        """Return the cross-entropy, and a contrast of the texts of so much weight."""
        if contrast_weight > 0:
            n_classes = len(self.classes)
            return ContrastiveCrossEntropy(n_classes, label_smoothing, contrast_weight)
        return CrossEntropy(label_smoothing)

    def probe(
        self, vectors: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit a linear model of vectors: `class_probe`."""
        return class_probe(vectors, targets, weights, len(self.classes))

    def encode(self, y: Any, name: str = "y") -> np.ndarray:
        """Encode each label as int64; they must be among the classes."""
        codes = {label: code for code, label in enumerate(self.classes.tolist())}
        labels = read_column(y, name).tolist()
        for row, label in enumerate(labels):
            if label not in codes:
                raise ValueError(
                    f"{cell_name(y, name, row)} is {label!r}, which is not among "
                    f"the {len(codes)} classes ({excerpt(list(codes))}). "
                    f"{remedy(name, 'to partial_fit: known ones, and new ones')}"
                )
        return np.array([codes[label] for label in labels], dtype=np.int64)

    def class_weights(
        self, class_weight: Any, targets: np.ndarray, weights: np.ndarray, train: Any
    ) -> np.ndarray:
        """Compute a factor for each text, by dict or balanced over `train`."""
        if isinstance(class_weight, list):
            raise ValueError(
                f"class_weight is {excerpt(class_weight)}; with one label per text "
                "expected 'balanced', or one dict of weights by label."
            )
        if isinstance(class_weight, dict):
            known = self.classes.tolist()
            check_class_weights(class_weight, "class_weight")
            unknown = [label for label in class_weight if label not in known]
            without = [label for label in known if label not in class_weight]
            if unknown and without:  # a class may be absent from a fold
                raise ValueError(
                    f"class_weight has a weight for {unknown[0]!r}, which is not among "
                    f"the {len(known)} classes ({excerpt(known)}), and none for "
                    f"{without[0]!r}; expected the classes as they stand in y."
                )
        absent = sorted(set(range(len(self.classes))) - set(targets[train].tolist()))
        if class_weight == "balanced" and absent:
            raise ValueError(
                f"class_weight is 'balanced', but no text of the class "
                f"{as_python(self.classes[absent[0]])!r} weighs more than 0; leave the "
                "class out, or give the weights as a dict."
            )
        # scikit-learn counts only what it is given: the texts to train on.
        by_class = compute_class_weight(
            class_weight,
            classes=self.classes,
            y=self.classes[targets[train]],
            sample_weight=weights[train],
        )
        return by_class[targets]


class AnyOfSeveral(AnyLabels):
    """Every text has any number of labels, to be learnt: y is a 2-D indicator."""

    merge_windows = staticmethod(BinaryCrossEntropy.merge_windows)

    def attributes(self) -> dict[str, Any]:
        """Return what a fitted classifier keeps of its labels."""
        indicator = (self.dtype, self.sparse)
        return {"classes_": self.classes, "multilabel_": True, "_indicator": indicator}

    def loss(self, label_smoothing: float, contrast_weight: float = 0.0) -> Objective:
        """Return the binary cross-entropy of each label; texts are not contrasted."""
        return BinaryCrossEntropy(label_smoothing)

    def probe(
        self, vectors: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit a linear model of vectors for each label: `label_probe`."""
        return label_probe(vectors, targets, weights)

    def encode(self, y: Any, name: str = "y") -> np.ndarray:
        """Encode 0 and 1 as float32 of shape (n_texts, n_labels)."""
        indicator = read_indicator(y, name)
        if indicator.shape[1] != len(self.classes):
            raise ValueError(
                f"{name} has {indicator.shape[1]} columns; expected one for each of "
                f"the {len(self.classes)} labels."
            )
        return indicator.astype(np.float32)

    def class_weights(
        self, class_weight: Any, targets: np.ndarray, weights: np.ndarray, train: Any
    ) -> np.ndarray:
        """Compute a factor for each text and label: by dicts, or balanced."""
        n_labels = targets.shape[1]
        is_list = isinstance(class_weight, list)
        if class_weight != "balanced" and not (
            is_list
            and len(class_weight) == n_labels
            and all(isinstance(w, dict) and w.keys() <= {0, 1} for w in class_weight)
        ):
            raise ValueError(
                f"class_weight is {excerpt(class_weight)}; with several labels per "
                "text expected 'balanced', or a list of one dict for each of the "
                f"{n_labels} labels, e.g. [{{0: 1, 1: 5}}, ...]."
            )
        for label, by_value in enumerate(class_weight if is_list else []):
            check_class_weights(by_value, f"class_weight[{label}]")
        # Each label is a problem of two classes and is balanced by itself; one that has
        # a single value in the texts to train on keeps the weight 1.
        factors = np.ones(targets.shape)
        for label in range(n_labels):
            column = targets[:, label].astype(np.int64)
            seen = np.unique(column[train])
            by_value = np.ones(2)
            by_value[seen] = compute_class_weight(
                class_weight[label] if is_list else class_weight,
                classes=seen,
                y=column[train],
                sample_weight=weights[train],
            )
            factors[:, label] = by_value[column]
        return factors


Labels = OneOfSeveral | AnyOfSeveral


def read_labels(y: Any, texts: Any, classes: Any = None) -> Labels:
    """Read which labels `y` holds, and of what kind.

    Parameters
    ----------
    y : labels
    texts : sequence
        As many as labels are expected.
    classes : array-like or None
        All that there are; None: those in `y`.

    Raises
    ------
    TypeError, ValueError
        Where a label is missing or of the wrong kind, where there is one class only, or
        not one row per text.
    """
    if y is None:
        raise ValueError(
            "BertClassifier requires y to be passed, but the target y is None."
        )
    check_consistent_length(texts, y)
    # Two or more columns are an indicator; one column is a list of labels.
    if is_indicator(y):
        indicator = read_indicator(y)
        columns = np.arange(indicator.shape[1])
        if classes is not None and not np.array_equal(classes, columns):
            raise ValueError(
                f"classes are {excerpt(np.asarray(classes).tolist())}, but y has "
                f"{len(columns)} columns, one per label; expected their numbers, "
                f"{excerpt(columns.tolist())}, or None."
            )
        sparse = None
        if issparse(y):
            sparse = "matrix" if isspmatrix(y) else "array"
        return AnyOfSeveral(columns, indicator.dtype.str, sparse)
    labels = read_column(y)
    check_classification_targets(labels)
    name = "y" if classes is None else "classes"
    found = np.unique(labels if classes is None else read_column(classes, name))
    if len(found) < 2:
        held = f"one class only ({as_python(found[0])!r})" if len(found) else "no class"
        raise ValueError(
            f"{name} holds {held}; a classifier needs samples of at least 2 classes."
        )
    return OneOfSeveral(found)


def is_indicator(y: Any) -> bool:
    """Tell whether `y` has several columns."""
    if issparse(y):
        return True
    if isinstance(y, (list, tuple)):
        return len(y) > 0 and isinstance(y[0], (list, tuple, np.ndarray))
    return len(getattr(y, "shape", ())) == 2 and y.shape[1] > 1


def read_indicator(y: Any, name: str = "y") -> np.ndarray:
    """Read an indicator as a dense array of 0 and 1, (n_texts, n_labels)."""
    binarized = (
        "Lists of labels become that by "
        "sklearn.preprocessing.MultiLabelBinarizer().fit_transform(y)."
    )
    given, y = y, without_mask(y, name)
    if isinstance(y, (list, tuple)) and is_indicator(y):
        lengths = {len(row) for row in y if not np.isscalar(row)}
        if len(lengths) > 1:
            raise ValueError(
                f"{name} holds lists of different lengths "
                f"({excerpt(sorted(lengths))}); "
                f"expected one column per label, with 0 and 1. {binarized}"
            )
        # As objects: NumPy would make strings of all where one is.
        array = np.asarray(y, dtype=object)
    else:
        array = y.toarray() if issparse(y) else np.asarray(y)
    if array.ndim != 2:
        raise ValueError(
            f"{name} has {array.ndim} dimensions; expected one label per text, or one "
            "column of 0 and 1 per label."
        )
    for (row, column), cell in np.ndenumerate(array if array.dtype == object else []):
        if is_missing(cell) or not isinstance(cell, (bool, int, float, np.generic)):
            raise ValueError(
                f"{cell_name(given, name, row, column)} is {excerpt(cell)}, and {name} "
                "has several columns; expected 0 or 1 in each (one per label). "
                f"{binarized}"
            )
    # Each cell is a number by now, so that NumPy can choose a type for all of them.
    array = np.array(array.tolist()) if array.dtype == object else array
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name}[0, 0] is {as_python(array[0, 0])!r}, and {name} has several "
            f"columns; expected 0 or 1 in each (one per label). {binarized}"
        )
    wrong = np.argwhere((array != 0) & (array != 1))
    if len(wrong):
        row, column = wrong[0].tolist()
        found = as_python(array[row, column])
        raise ValueError(
            f"{cell_name(given, name, row, column)} is {found!r}; "
            "expected 0 or 1 where y has several columns (one per label)."
        )
    if array.shape[1] < 2:
        raise ValueError(
            f"{name} has {array.shape[1]} column; an indicator needs at least 2. For "
            "one label hand in a column of classes."
        )
    return array


def read_column(y: Any, name: str = "y", what: str = "label") -> np.ndarray:
    """Read labels as an array of one type, none of them missing or converted."""
    if is_indicator(y):
        expected = f"a list of {what}s" if name == "classes" else f"one {what} per text"
        raise ValueError(f"{name} has several columns; expected {expected}.")
    source, y = y, without_mask(y, name)
    if not isinstance(getattr(y, "dtype", np.dtype(object)), np.dtype):
        y = np.asarray(y, dtype=object)  # pandas' own types would turn into floats
    # A list as it is: NumPy would make a string of a NaN beside strings.
    is_list = isinstance(y, (list, tuple))
    if not is_list and np.asarray(y).ndim == 0:
        raise TypeError(
            f"{name} is {excerpt(y)} of type {type(y).__name__}; expected a list or an "
            f"array of {what}s."
        )
    # scikit-learn warns of a column vector, as it does in its own classifiers.
    given = y if is_list else column_or_1d(y, warn=True)
    missing = [i for i, label in enumerate(given) if is_missing(label)]
    if missing:
        raise ValueError(
            f"{cell_name(source, name, missing[0])} is "
            f"{as_python(given[missing[0]])!r}; "
            f"every {'class' if name == 'classes' else 'text'} needs a {what}. "
            f"{len(missing)} of {len(given)} {what}s are missing."
        )
    for row, label in enumerate(given):
        check_no_nul(label, f"{name}[{row}]")
    labels = column_or_1d(given)
    # NumPy would make strings of all, and predict would give back other labels.
    n_strings = sum(isinstance(label, str) for label in given)
    if labels.dtype.kind in "UO" and 0 < n_strings < len(labels):
        raise TypeError(
            f"{name} mixes strings and other labels; convert them to one kind, e.g. "
            f"[str(label) for label in {name}]."
        )
    if labels.dtype.kind == "T":  # NumPy's new strings, which scikit-learn cannot read
        return labels.astype(object)
    if labels.dtype.kind == "O" and n_strings == 0:
        return np.array(labels.tolist())  # numbers or booleans in an object array
    return labels


def check_class_weights(class_weight: dict[Any, Any], name: str) -> None:
    """Raise ValueError where the weight of a class is no number."""
    for label, weight in class_weight.items():
        if not isinstance(weight, (Real, np.bool_)) or np.isinf(to_float(weight)):
            raise ValueError(
                f"{name}[{label!r}] is {excerpt(weight)} of type "
                f"{type(weight).__name__}; expected a finite number of 0 or more."
            )


def without_mask(values: Any, name: str) -> Any:
    """Return the data of a masked array; raise ValueError where a label is masked.

    A tensor of torch becomes one that NumPy can read.
    """
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        return tensor.float() if "bfloat16" in str(tensor.dtype) else tensor
    if not isinstance(values, np.ma.MaskedArray):
        return values
    masked = np.argwhere(np.ma.getmaskarray(values))
    if len(masked):
        raise ValueError(
            f"{name}{masked[0].tolist()} is masked: {len(masked)} of {values.size} "
            "values are missing. Drop such rows, or fill them."
        )
    return values.data


def check_no_nul(label: Any, where: str) -> None:
    """Raise ValueError where NumPy would drop the end of a label."""
    if isinstance(label, str) and label.endswith("\0"):
        raise ValueError(
            f"{where} is {label!r}, which ends in a NUL character; NumPy drops it, so "
            "that the label would not come back as it is. Remove it: "
            "label.rstrip('\\0')."
        )


def remedy(name: str, where: str) -> str:
    """Say what to do where a label in `name` is none of those that are learnt.

    `where` says where all of them can be told.
    """
    if name == "y":  # fit learns whatever y holds
        return f"Pass all of them as classes {where}."
    return f"Leave such rows out of {name}, or give some of the kind to learn from."
