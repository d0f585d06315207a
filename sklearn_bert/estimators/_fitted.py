"""The fitted attributes that a saved estimator may bring back, and their forms.

`load` sets these and no others, and only if they are of the form that a fit gives them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sklearn_bert.text._template import parse_template

# A width in a template pads a text to that many letters.
LONG_NUMBER = re.compile(r"\d{4}")


def _is_count(value: Any) -> bool:
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_integer and value >= 0


def _is_rate(value: Any) -> bool:
    # That of a classifier that was given no texts is 0.
    is_number = isinstance(value, int | float | np.floating) and bool(value >= 0)
    return is_number and bool(np.isfinite(value))


def _is_temperature(value: Any) -> bool:
    return _is_rate(value) and value > 0


def _is_row(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.size > 0


def _are_numbers(value: Any) -> bool:
    return _is_row(value) and value.dtype.kind == "f" and bool(np.isfinite(value).all())


def _are_names(value: Any) -> bool:
    return _is_row(value) and all(isinstance(name, str) for name in value)


def _are_dicts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _is_template(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, str) and not any(
        LONG_NUMBER.search(spec) for *_, spec in parse_template(value)
    )


def _is_indicator(value: Any) -> bool:
    if value is None:
        return True
    dtype, sparse = value
    return np.dtype(str(dtype)).kind in "biuf" and sparse in (None, "array", "matrix")


def _is_layout(value: Any) -> bool:
    is_known = _is_dict(value) and {*value} <= {"mask_fraction", "whole_words", "pack"}
    share = value.get("mask_fraction", 0.5) if is_known else 0.5
    is_number = isinstance(share, int | float | np.number)
    return is_known and is_number and bool(0 < share <= 1)


Forms = dict[str, Callable[[Any], bool]]
# What every estimator has, or may have; the first have to be there.
NEEDED: Forms = {"n_features_in_": _is_count, "max_length_": _is_count}
SHARED: Forms = {
    "n_iter_": _is_count,
    "batch_size_used_": _is_count,
    "history_": _are_dicts,
    "truncation_report_": _is_dict,
    "unknown_report_": _is_dict,
    "feature_names_in_": _are_names,
    "_template": _is_template,
    "_made_of": _is_dict,
    "_missing": lambda value: isinstance(value, str),
    "_sklearn_output_config": _is_dict,
}
TRAINED: Forms = {
    "learning_rate_": _is_rate,
    "max_epochs_": _is_count,
    "batch_size_": _is_count,
    "pretraining_history_": _are_dicts,
}
# By class: what has to be there beside `NEEDED`, and what may be.
OF_CLASS: dict[str, tuple[Forms, Forms]] = {
    "BertClassifier": (
        {"classes_": _is_row, "_template": _is_template},
        {
            **TRAINED,
            "multilabel_": _is_bool,
            "_indicator": _is_indicator,
            "temperature_": _is_temperature,
            "self_training_report_": _is_dict,
        },
    ),
    "BertRegressor": (
        {
            "target_mean_": _are_numbers,
            "target_scale_": _are_numbers,
            "_is_1d": _is_bool,
            "_template": _is_template,
        },
        TRAINED,
    ),
    "BertTokenClassifier": ({"classes_": _is_row}, TRAINED),
    "BertEmbedder": ({"_template": _is_template}, TRAINED),
    "BertPretrainer": ({"_template": _is_template, "_layout": _is_layout}, TRAINED),
    "BertGenerator": ({"_template": _is_template, "_layout": _is_layout}, TRAINED),
}


def check_fitted(name: str, fitted: Mapping[str, Any], n_outputs: int | None) -> None:
    """Raise ValueError if these are not the fitted attributes of a class.

    Parameters
    ----------
    name : str
        Of the class.
    fitted : dict
        The attributes by name, but for the net and the tokenizer.
    n_outputs : int or None
        Of the net's head.
    """
    needed, more = OF_CLASS[name]
    needed = NEEDED | needed
    forms = SHARED | more | needed
    for attribute in sorted(needed.keys() - fitted.keys()):
        raise ValueError(f"there is no {attribute} of the {name}")
    for attribute, value in fitted.items():
        if attribute not in forms:
            raise ValueError(f"{attribute!r} is no fitted attribute of a {name}")
        if not forms[attribute](value):
            raise ValueError(f"{attribute} is {str(value)[:60]!r}, which it cannot be")
    for attribute in ("classes_", "target_mean_", "target_scale_"):
        if attribute in fitted and len(fitted[attribute]) != n_outputs:
            n = len(fitted[attribute])
            raise ValueError(f"{attribute} has {n} entries for {n_outputs} outputs")
    names = fitted.get("feature_names_in_")
    if names is not None and len(names) != fitted["n_features_in_"]:
        raise ValueError(
            f"feature_names_in_ has {len(names)} names for "
            f"{fitted['n_features_in_']} features"
        )
