"""Descriptions of the classes in `fit`: beside labelled texts, and instead of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_bert.estimators._fit import refuse_name
from sklearn_bert.targets._descriptions import (
    REMEDY,
    Descriptions,
    read_descriptions,
)
from sklearn_bert.targets._labels import (
    Labels,
    OneOfSeveral,
    is_indicator,
    read_column,
    read_labels,
)
from sklearn_bert.text._columns import excerpt
from sklearn_bert.text._input import Texts
from sklearn_bert.text._template import template_columns
from sklearn_bert.text._tokenizer import TextTokenizer

NO_TEXTS = "X is None, so that the descriptions of the classes are all there is"


def read_beside(estimator: Any, labels: Labels, texts: Texts) -> Descriptions | None:
    """Return the descriptions for a fit of labelled texts; None: there are none.

    Raises
    ------
    TypeError, ValueError
        Where they are wrong, or would have no effect.
    """
    given = estimator.class_descriptions
    found = read_descriptions(given, labels.classes)
    if given is not None and estimator.head_init != "probe":
        raise ValueError(
            f"class_descriptions is given and head_init is {estimator.head_init!r}; "
            "the head starts from them with head_init='probe' only. Set it, or "
            "class_descriptions=None."
        )
    if found is None or found.are_labels:
        return found if texts.second is None else None
    if texts.second is not None:
        raise ValueError(
            "class_descriptions is given and X has two columns, of sentence pairs; a "
            "class of pairs has no text of its own. Set class_descriptions=None."
        )
    return found


def check_without_texts(estimator: Any, given: dict[str, Any]) -> None:
    """Raise an error where `fit` has no X and cannot do without it.

    Parameters
    ----------
    estimator : BertClassifier
    given : dict
        What else `fit` got, by name.
    """
    if estimator.class_descriptions is None:
        raise TypeError(
            "X is of type NoneType; expected a list, array, column or frame of texts. "
            "To classify without labelled texts set class_descriptions, a dict that "
            "says what each class is."
        )
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name} is given and {NO_TEXTS}; it would have no effect. Leave it "
                "out, or hand in texts."
            )
    if estimator.pretraining is not None:
        raise ValueError(
            f"pretraining is given and {NO_TEXTS}; it would adapt the checkpoint to "
            "nothing. Set pretraining=None, or hand in texts."
        )
    if estimator.warm_start and hasattr(estimator, "net_"):
        raise ValueError(
            f"warm_start is True and {NO_TEXTS}; there is nothing to go on with. Hand "
            "in texts, or set warm_start=False to begin anew."
        )


def read_classes(estimator: Any, y: ArrayLike) -> tuple[OneOfSeveral, Descriptions]:
    """Read the classes, each of which stands in y once, and their descriptions.

    Raises
    ------
    TypeError, ValueError
        Where y is no list of classes, or one of them has no description.
    """
    expected = f"{NO_TEXTS}; expected the list of the classes as y"
    if y is None:
        raise ValueError(f"y is None and {expected}.")
    if is_indicator(y):
        raise ValueError(
            f"y has several columns and {expected}, each once. Without labelled texts "
            "a text cannot get several labels."
        )
    refuse_name(y, "y")
    given = read_column(y).tolist()
    twice = next((label for label in given if given.count(label) > 1), None)
    if twice is not None:
        raise ValueError(
            f"y holds {twice!r} {given.count(twice)} times and {expected}, each once: "
            "list(set(y))."
        )
    labels = read_labels(y, y)
    assert isinstance(labels, OneOfSeveral)
    descriptions = read_descriptions(estimator.class_descriptions, labels.classes)
    if descriptions is None:
        raise _labels_are_no_words(labels)
    return labels, descriptions


def check_words(
    descriptions: Descriptions, labels: OneOfSeveral, tokenizer: TextTokenizer
) -> None:
    """Raise ValueError where labels that should be words are none to the checkpoint."""
    if not descriptions.can_be_read(tokenizer):
        raise _labels_are_no_words(labels)


def _labels_are_no_words(labels: OneOfSeveral) -> ValueError:
    return ValueError(
        "class_descriptions is 'auto', which reads the labels as descriptions, but "
        f"they are {excerpt(labels.classes.tolist())}: no words that the checkpoint "
        f"knows. {REMEDY}"
    )


def attributes_of_no_X(estimator: Any) -> dict[str, Any]:
    """Return the attributes that describe the X of later calls: texts."""
    template = estimator.template
    if template is None:
        return {"n_features_in_": 1, "_template": None}
    columns = template_columns(template)
    return {
        "n_features_in_": len(columns),
        "feature_names_in_": np.array(columns, dtype=object),
        "_template": template,
    }
