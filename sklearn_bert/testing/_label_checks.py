"""Labels come back as they went in, and the methods of a classifier agree."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import accuracy_score

from sklearn_bert.testing._data import by_turns, new_rows, texts
from sklearn_bert.testing._registry import (
    classifies,
    has,
    has_parameter,
    is_deterministic,
    is_multiclass,
    learns_well,
    text_check,
)
from sklearn_bert.testing._tools import (
    TOLERANCE,
    answers,
    assert_close,
    assert_refused,
    assert_same_answers,
    differ,
    fit,
    fitted,
    fresh,
    optional,
)

# -- kinds of labels ---------------------------------------------------------------


def assert_labels_come_back(estimator: BaseEstimator, y: Any) -> None:
    """Fit these labels; `classes_` and predictions are of their kind."""
    given = np.asarray(y)
    model = fit(estimator, texts(len(given) // 2), y)
    predicted = model.predict(new_rows(estimator))
    expected = np.unique(given)
    np.testing.assert_array_equal(
        model.classes_, expected, err_msg="classes_ are not the sorted labels"
    )
    assert isinstance(predicted, np.ndarray), (
        f"predict gives a {type(predicted).__name__}; expected an array"
    )
    for what, array in (("classes_", model.classes_), ("predict", predicted)):
        assert array.dtype.kind in _kinds(given), (
            f"{what} is of dtype {array.dtype} for labels of dtype {given.dtype}"
        )
        assert all(label in expected for label in array), (
            f"{what} holds labels that were not in y: {array}"
        )


def _kinds(given: np.ndarray) -> str:
    """Return the kinds of dtype that labels may have; objects of str are like str."""
    if given.dtype.kind not in "UO":
        return given.dtype.kind
    return "UO" if all(isinstance(label, str) for label in given) else "Obiuf"


@text_check(classifies)
def check_text_labels_list_of_str(name: str, estimator: BaseEstimator) -> None:
    """A list of str as labels comes back."""
    assert_labels_come_back(estimator, by_turns("pos", "neg"))


@text_check(classifies)
def check_text_labels_array_of_str(name: str, estimator: BaseEstimator) -> None:
    """An array of str as labels comes back, the longest uncut."""
    assert_labels_come_back(estimator, np.array(by_turns("positive, by far", "n")))


@text_check(classifies)
def check_text_labels_objects(name: str, estimator: BaseEstimator) -> None:
    """An array of objects that are str, as labels, comes back."""
    assert_labels_come_back(estimator, np.array(by_turns("pos", "neg"), dtype=object))


@text_check(classifies)
def check_text_labels_list_of_numpy_str(name: str, estimator: BaseEstimator) -> None:
    """A list of NumPy's own strings as labels comes back."""
    assert_labels_come_back(estimator, by_turns(np.str_("pos"), np.str_("neg")))


@text_check(classifies)
def check_text_labels_odd_str(name: str, estimator: BaseEstimator) -> None:
    """Labels may be empty, spaces, or in any script."""
    assert_labels_come_back(estimator, by_turns("", "\u4e2d \U0001f600"))


@text_check(classifies)
def check_text_labels_int(name: str, estimator: BaseEstimator) -> None:
    """Integers that are not 0 and 1 come back."""
    assert_labels_come_back(estimator, np.array(by_turns(7, 2)))


@text_check(classifies)
def check_text_labels_list_of_int(name: str, estimator: BaseEstimator) -> None:
    """A list of int as labels comes back."""
    assert_labels_come_back(estimator, by_turns(1, 0))


@text_check(classifies)
def check_text_labels_negative_int(name: str, estimator: BaseEstimator) -> None:
    """-1 and 1 come back."""
    assert_labels_come_back(estimator, np.array(by_turns(1, -1)))


@text_check(classifies)
def check_text_labels_int_objects(name: str, estimator: BaseEstimator) -> None:
    """An array of objects that are int is read as labels, or refused as such."""
    y = np.array(by_turns(7, 2), dtype=object)
    try:
        assert_labels_come_back(estimator, y)
    except (TypeError, ValueError) as error:
        if "label" not in str(error):
            raise AssertionError(f"the error is not about labels: {error}") from error


@text_check(classifies)
def check_text_labels_bool(name: str, estimator: BaseEstimator) -> None:
    """Booleans come back as booleans."""
    assert_labels_come_back(estimator, np.array(by_turns(True, False)))


@text_check(classifies)
def check_text_labels_whole_floats(name: str, estimator: BaseEstimator) -> None:
    """Floats that are whole numbers come back as floats."""
    assert_labels_come_back(estimator, np.array(by_turns(1.0, 3.0)))


@text_check(classifies)
def check_text_labels_pandas_category(name: str, estimator: BaseEstimator) -> None:
    """A pandas Series of categories comes back, less the categories not in it."""
    pd = optional("pandas")
    y = pd.Series(
        by_turns("pos", "neg"), dtype=pd.CategoricalDtype(["pos", "x", "neg"])
    )
    assert_labels_come_back(estimator, y)


@text_check(classifies)
def check_text_labels_pandas_string(name: str, estimator: BaseEstimator) -> None:
    """A pandas Series of dtype string as labels comes back."""
    pd = optional("pandas")
    assert_labels_come_back(
        estimator, pd.Series(by_turns("pos", "neg"), dtype="string")
    )


@text_check(classifies)
def check_text_labels_pandas_int(name: str, estimator: BaseEstimator) -> None:
    """A pandas Series of nullable integers comes back as integers."""
    pd = optional("pandas")
    y = pd.Series(by_turns(1, 0), dtype="Int64")
    model = fit(estimator, texts(), y)
    assert list(model.classes_) == [0, 1], f"classes_ are {model.classes_}"
    predicted = np.asarray(model.predict(new_rows(estimator)))
    kinds = {type(label) for label in predicted.tolist()}
    assert kinds == {int}, f"predict gives {kinds} for nullable integers"


@text_check(classifies)
def check_text_labels_pandas_odd_index(name: str, estimator: BaseEstimator) -> None:
    """Labels of a pandas Series belong to texts by position, whatever the index."""
    pd = optional("pandas")
    y = by_turns("pos", "neg")
    expected = answers(fit(estimator, texts(), y), new_rows(estimator))
    series = pd.Series(y, index=range(len(y), 0, -1))
    model = fit(estimator, pd.Series(texts()), series)
    message = "an index of y that counts down changes the answers"
    assert_same_answers(answers(model, new_rows(estimator)), expected, message)


@text_check(classifies, is_multiclass)
def check_text_three_classes(name: str, estimator: BaseEstimator) -> None:
    """Three labels come back, with a column of scores for each."""
    # Unsorted labels; in 18 rows each of the three occurs equally often.
    y = by_turns("c", "a", "b", n=18)
    assert_labels_come_back(estimator, y)
    told = answers(fit(estimator, texts(9), y), new_rows(estimator))
    for method in ("predict_proba", "decision_function"):
        if method in told:
            shape = np.shape(told[method])
            assert shape == (len(new_rows(estimator)), 3), f"{method} has shape {shape}"


# -- labels that are refused -------------------------------------------------------


@text_check(classifies)
def check_text_single_class(name: str, estimator: BaseEstimator) -> None:
    """One class alone is refused by an error that speaks of it, or always predicted."""
    y = ["same"] * 16
    try:
        predicted = fit(estimator, texts(), y).predict(new_rows(estimator))
    except ValueError as error:
        if "class" not in str(error):
            raise AssertionError(f"the error is not about classes: {error}") from error
    else:
        assert set(predicted) == {"same"}, f"predicts {set(predicted)} for one class"


@text_check(classifies)
def check_text_missing_label_is_refused(name: str, estimator: BaseEstimator) -> None:
    """None and NaN among the labels are refused, among str and among numbers."""
    for missing in (None, np.nan):
        for labels in (("pos", "neg"), (1, 0)):
            y = [missing, *by_turns(*labels)[1:]]
            what = f"{missing} among the labels {labels}"
            assert_refused(partial(fit, estimator, texts(), y), what)


@text_check(classifies)
def check_text_continuous_labels_are_refused(
    name: str, estimator: BaseEstimator
) -> None:
    """Numbers that are not whole are refused as labels."""
    y = np.linspace(0.1, 0.9, 16)
    error = assert_refused(lambda: fit(estimator, texts(), y), "a continuous y")
    assert re.search("(?i)continuous|unknown label type|regression", str(error)), (
        f"the error does not say that y is continuous: {error}"
    )


# -- methods agree -----------------------------------------------------------------


@text_check(classifies)
def check_text_classes_are_sorted(name: str, estimator: BaseEstimator) -> None:
    """`classes_` are the labels, sorted, each once."""
    model = fit(estimator, texts(), by_turns("z", "a", "z", "b"))
    assert list(model.classes_) == ["a", "b", "z"], f"classes_ are {model.classes_}"


@text_check(classifies, has("predict_proba"))
def check_text_predict_is_the_most_probable(
    name: str, estimator: BaseEstimator
) -> None:
    """`predict` gives the label that is most probable by `predict_proba`."""
    # The training texts make sure that both classes are predicted.
    model, new = fitted(estimator), new_rows(estimator) + texts()
    probable = model.classes_[model.predict_proba(new).argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(new), probable)


@text_check(classifies, has("predict_proba"))
def check_text_probabilities(name: str, estimator: BaseEstimator) -> None:
    """Probabilities are floats from 0 to 1 that sum to 1, one column per class."""
    proba = fitted(estimator).predict_proba(new_rows(estimator))
    assert proba.shape == (len(new_rows(estimator)), 2), f"shape is {proba.shape}"
    assert proba.dtype.kind == "f", f"dtype is {proba.dtype}"
    assert proba.min() >= 0, f"a probability is {proba.min()}"
    assert proba.max() <= 1, f"a probability is {proba.max()}"
    assert_close(proba.sum(axis=1), 1)


@text_check(classifies, has("predict_log_proba"))
def check_text_log_probabilities(name: str, estimator: BaseEstimator) -> None:
    """`predict_log_proba` is the logarithm of `predict_proba`."""
    model, new = fitted(estimator), new_rows(estimator)
    expected = np.log(model.predict_proba(new))
    assert_close(model.predict_log_proba(new), expected)


@text_check(classifies, has("decision_function"))
def check_text_decision_function(name: str, estimator: BaseEstimator) -> None:
    """Where `decision_function` is above 0, `predict` gives the second class."""
    model, new = fitted(estimator), new_rows(estimator) + texts()
    scores = model.decision_function(new)
    assert scores.shape == (len(new),), f"shape is {scores.shape} for two classes"
    np.testing.assert_array_equal(model.predict(new), model.classes_[(scores > 0) * 1])


@text_check(classifies, is_multiclass, has("decision_function"))
def check_text_decision_function_of_three(name: str, estimator: BaseEstimator) -> None:
    """For three classes, `predict` gives that of the highest `decision_function`."""
    model = fit(estimator, texts(9), by_turns("c", "a", "b", n=18))
    new = new_rows(estimator) + texts()
    highest = model.decision_function(new).argmax(axis=1)
    np.testing.assert_array_equal(model.predict(new), model.classes_[highest])


@text_check(classifies, has("decision_function", "predict_proba"))
def check_text_scores_rise_with_probabilities(
    name: str, estimator: BaseEstimator
) -> None:
    """`decision_function` puts texts in the order in which `predict_proba` does."""
    model, new = fitted(estimator), new_rows(estimator) + texts()
    in_order = model.predict_proba(new)[:, 1][np.argsort(model.decision_function(new))]
    # Two computations of one text may differ in the last bits.
    assert (np.diff(in_order) >= -TOLERANCE).all(), (
        "a text with a higher score has a lower probability"
    )


@text_check(classifies, has("score"))
def check_text_score_is_accuracy(name: str, estimator: BaseEstimator) -> None:
    """`score` is the accuracy of `predict`."""
    # Other labels than those learnt, because an accuracy of 1 says little.
    model, X, y = fitted(estimator), texts(), by_turns("pos", "pos", "neg")
    expected = accuracy_score(y, model.predict(X))
    assert model.score(X, y) == expected, f"{model.score(X, y)} is not {expected}"


@text_check(classifies, learns_well)
def check_text_learns_a_decisive_word(name: str, estimator: BaseEstimator) -> None:
    """Of texts that one word decides, it gets more than 83 % right.

    The bound is that of scikit-learn's `check_classifiers_train`.
    """
    X, y = texts(40), by_turns("pos", "neg", n=80)
    accuracy = accuracy_score(y, fit(estimator, X, y).predict(X))
    assert accuracy > 0.83, f"accuracy on the training texts is {accuracy:.2f}"


@text_check(classifies, is_multiclass, has("partial_fit"))
def check_text_partial_fit(name: str, estimator: BaseEstimator) -> None:
    """`partial_fit` knows all `classes` from its first call on, and keeps to them."""
    X, y = texts(), by_turns("pos", "neg")
    model = fresh(estimator)
    first = model.partial_fit(X[:8], y[:8], classes=["neg", "pos", "unseen"])
    assert first is model, "partial_fit returns something else than self"
    model.partial_fit(X[8:], ["unseen"] * 8)
    classes = list(model.classes_)
    assert classes == ["neg", "pos", "unseen"], f"classes_ are {classes}"
    assert set(model.predict(new_rows(estimator))) <= set(classes)


# -- class weights -----------------------------------------------------------------


@text_check(classifies, has_parameter("class_weight"))
def check_text_class_weight_decides(name: str, estimator: BaseEstimator) -> None:
    """A class that weighs a million times as much is predicted for doubtful texts."""
    # The texts are all equal, so only the weights can decide.
    X, y = ["a film"] * 16, by_turns("pos", "neg")
    for heavy, light in (("pos", "neg"), ("neg", "pos")):
        weights = {heavy: 1000.0, light: 0.001}
        weighted = clone(estimator).set_params(class_weight=weights)
        predicted = set(fit(weighted, X, y).predict(X))
        assert predicted == {heavy}, f"predicts {predicted} with class_weight={weights}"


@text_check(classifies, has_parameter("class_weight"), is_deterministic)
def check_text_class_weight_balanced(name: str, estimator: BaseEstimator) -> None:
    """`"balanced"` is n_texts / (n_classes * texts of the class), and not None."""
    X, y = texts(), ["rare"] * 4 + ["often"] * 12
    told = {}
    for weights in (None, "balanced", {"rare": 16 / (2 * 4), "often": 16 / (2 * 12)}):
        weighted = clone(estimator).set_params(class_weight=weights)
        told[str(weights)] = answers(fit(weighted, X, y), new_rows(estimator))
    without, balanced, by_hand = told.values()
    assert_same_answers(balanced, by_hand, "'balanced' is not the weights by hand")
    assert differ(balanced, without), "'balanced' changes nothing"
