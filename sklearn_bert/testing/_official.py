"""scikit-learn's own checks, on an estimator of texts."""

from __future__ import annotations

import inspect
import warnings
from functools import partial
from itertools import dropwhile, takewhile
from typing import Any
from unittest import SkipTest

from sklearn.base import BaseEstimator
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import estimator_checks_generator

from sklearn_bert.testing._numbers_as_texts import NumbersAsTexts
from sklearn_bert.testing._registry import Check, gives_vectors
from sklearn_bert.testing._rows import check_text_subset

# These look at the estimator alone, so they need no adapter.
WITHOUT_DATA = {
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
}

# Of what these ask, nothing would reach an estimator of texts.
MEANINGLESS = {
    "check_complex_data": (
        "a text has no imaginary part; what is no text is refused in "
        "check_text_numbers_are_refused"
    ),
    "check_estimators_nan_inf": (
        "a text is not infinite; missing ones are refused in check_text_nan_is_refused"
    ),
    "check_fit1d": "a column of texts is one-dimensional, so it cannot be refused",
    "check_fit2d_predict1d": (
        "a column of texts is one-dimensional, so it cannot be refused"
    ),
    "check_n_features_in": (
        "it counts the columns of numbers; those of texts are counted in "
        "check_text_n_features_in_is_one"
    ),
    "check_n_features_in_after_fitting": (
        "it counts the columns of numbers; those of texts are counted in "
        "check_text_n_features_in_is_one"
    ),
    "check_positive_only_tag_during_fit": "a word has no sign",
    "check_transformer_preserve_dtypes": "texts have no dtype that vectors could keep",
}

# These compare to the eighth decimal, which no product of float32 matrices of another
# shape keeps; the same is asked to float32's precision.
TOO_EXACT = {"check_methods_subset_invariance": check_text_subset}

# These ask of what `transform` gives what can only be asked of a matrix.
OF_VECTORS = {"check_transformer_data_not_an_array", "check_transformer_general"}


def official_checks(estimator: BaseEstimator) -> list[Check]:
    """Return the checks of scikit-learn that its type and tags call for."""
    return [_restate(check) for _, check in _generate(estimator)]


def _generate(estimator: BaseEstimator) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        # The adapter's tags say that X is a matrix; otherwise one check is generated.
        return list(estimator_checks_generator(NumbersAsTexts(estimator)))


def _restate(check: partial[None]) -> Check:
    """Turn a check of scikit-learn, bound to its options, into one of ours."""
    name = check.func.__name__
    variant = ",".join(f"{key}={value}" for key, value in check.keywords.items())

    def ask(estimator_name: str, estimator: BaseEstimator) -> None:
        if name in MEANINGLESS:
            raise SkipTest(MEANINGLESS[name])
        if name in TOO_EXACT:
            TOO_EXACT[name](estimator_name, estimator)
            return
        if name in OF_VECTORS and not gives_vectors(estimator):
            raise SkipTest("what transform gives is no matrix")
        if name not in WITHOUT_DATA:
            estimator = NumbersAsTexts(estimator)
        with warnings.catch_warnings():
            # scikit-learn casts an infinite y to int on its way to refuse it.
            warnings.filterwarnings("ignore", "invalid value encountered in cast")
            check.func(estimator_name, estimator, **check.keywords)

    return Check(name, _summary(check), ask, variant)


def _summary(check: partial[None]) -> str:
    """Return the first sentence of its docstring, or of the comment in place of one."""
    name = check.func.__name__
    # scikit-learn decorates its checks; the comment is in the undecorated function.
    text = inspect.getdoc(check.func) or _first_comment(inspect.unwrap(check.func))
    text = " ".join(text.partition("\n\n")[0].split()) or name.replace("_", " ")
    sentence = text.partition(". ")[0].rstrip(".")
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _first_comment(function: Any) -> str:
    """Return the comment that stands where a docstring would."""
    lines = (line.strip() for line in inspect.getsource(function).splitlines())
    body = list(dropwhile(lambda line: not line.endswith(":"), lines))[1:]
    comment = takewhile(lambda line: line.startswith("#"), body)
    return " ".join(line.strip("# ") for line in comment)
