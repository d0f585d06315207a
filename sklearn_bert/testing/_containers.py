"""X in any container that holds a column of texts: the answers are those for a list."""

from __future__ import annotations

from typing import Any
from unittest import SkipTest

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_bert.testing._data import new_rows, problem
from sklearn_bert.testing._registry import reads_texts, text_check
from sklearn_bert.testing._tools import (
    answers,
    assert_asking_is_refused,
    assert_same_answers,
    fit,
    fitted,
    fresh,
    optional,
)


def assert_container_agrees(estimator: BaseEstimator, hold: Any, what: str) -> None:
    """Fit and ask with a container instead of a list; the answers must not change."""
    X, y = problem(estimator)
    new = new_rows(estimator)
    expected = answers(fitted(estimator), new)
    by_container = fit(estimator, hold(X), y)
    message = f"texts in {what} get other answers than in a list"
    assert_same_answers(answers(by_container, hold(new)), expected, message)


@text_check(reads_texts)
def check_text_tuple(name: str, estimator: BaseEstimator) -> None:
    """A tuple of texts is read as a list is."""
    assert_container_agrees(estimator, tuple, "a tuple")


@text_check(reads_texts)
def check_text_list_of_numpy_str(name: str, estimator: BaseEstimator) -> None:
    """A list of NumPy's own strings is read as a list of str is."""
    assert_container_agrees(
        estimator, lambda X: [np.str_(text) for text in X], "numpy.str_"
    )


@text_check(reads_texts)
def check_text_array_of_str(name: str, estimator: BaseEstimator) -> None:
    """An array of dtype `U` is read as a list is."""
    assert_container_agrees(estimator, np.array, "an array of dtype U")


@text_check(reads_texts)
def check_text_array_of_objects(name: str, estimator: BaseEstimator) -> None:
    """An array of dtype object is read as a list is."""
    assert_container_agrees(
        estimator, lambda X: np.array(X, dtype=object), "an array of dtype object"
    )


@text_check(reads_texts)
def check_text_array_of_variable_width_strings(
    name: str, estimator: BaseEstimator
) -> None:
    """An array of NumPy's `StringDType` is read as a list is."""
    kind = np.dtypes.StringDType()
    assert_container_agrees(
        estimator, lambda X: np.array(X, dtype=kind), "an array of StringDType"
    )


@text_check(reads_texts)
def check_text_strided_array(name: str, estimator: BaseEstimator) -> None:
    """Every second text of a longer array is read as a list of them is."""
    assert_container_agrees(
        estimator, lambda X: np.repeat(np.array(X), 2)[::2], "a strided array"
    )


@text_check(reads_texts)
def check_text_one_column_array(name: str, estimator: BaseEstimator) -> None:
    """An array of one column is read as a list is."""
    assert_container_agrees(
        estimator, lambda X: np.array(X).reshape(-1, 1), "an array of one column"
    )


@text_check(reads_texts)
def check_text_pandas_objects(name: str, estimator: BaseEstimator) -> None:
    """A pandas Series of dtype object is read as a list is."""
    pd = optional("pandas")
    assert_container_agrees(
        estimator, lambda X: pd.Series(X, dtype=object), "a Series of object"
    )


@text_check(reads_texts)
def check_text_pandas_str(name: str, estimator: BaseEstimator) -> None:
    """A pandas Series of dtype str is read as a list is."""
    pd = optional("pandas")
    assert_container_agrees(
        estimator, lambda X: pd.Series(X, dtype=str), "a Series of str"
    )


@text_check(reads_texts)
def check_text_pandas_string(name: str, estimator: BaseEstimator) -> None:
    """A pandas Series of dtype string is read as a list is."""
    pd = optional("pandas")
    assert_container_agrees(
        estimator, lambda X: pd.Series(X, dtype="string"), "a Series of string"
    )


@text_check(reads_texts)
def check_text_pandas_arrow(name: str, estimator: BaseEstimator) -> None:
    """A pandas Series of dtype string[pyarrow] is read as a list is."""
    pd = optional("pandas")
    optional("pyarrow")
    assert_container_agrees(
        estimator, lambda X: pd.Series(X, dtype="string[pyarrow]"), "string[pyarrow]"
    )


@text_check(reads_texts)
def check_text_pandas_category(name: str, estimator: BaseEstimator) -> None:
    """A pandas Series of dtype category is read as a list is."""
    pd = optional("pandas")
    assert_container_agrees(
        estimator, lambda X: pd.Series(X, dtype="category"), "a Series of category"
    )


@text_check(reads_texts)
def check_text_pandas_odd_index(name: str, estimator: BaseEstimator) -> None:
    """Rows of a pandas Series are read by position, whatever its index says."""
    pd = optional("pandas")

    def hold(X: list[str]) -> Any:
        # Each label occurs twice, and 0 is none of them: reading by label fails.
        return pd.Series(X, index=[len(X) - row // 2 for row in range(len(X))])

    assert_container_agrees(estimator, hold, "a Series whose index counts down")


@text_check(reads_texts)
def check_text_pandas_frame(name: str, estimator: BaseEstimator) -> None:
    """A pandas frame of one column is read as a list is."""
    pd = optional("pandas")
    assert_container_agrees(
        estimator, lambda X: pd.DataFrame({"text": X}), "a pandas frame of one column"
    )


@text_check(reads_texts)
def check_text_polars_series(name: str, estimator: BaseEstimator) -> None:
    """A polars Series is read as a list is."""
    pl = optional("polars")
    assert_container_agrees(estimator, pl.Series, "a polars Series")


@text_check(reads_texts)
def check_text_polars_category(name: str, estimator: BaseEstimator) -> None:
    """A polars Series of categories is read as a list is."""
    pl = optional("polars")
    assert_container_agrees(
        estimator,
        lambda X: pl.Series(X, dtype=pl.Categorical),
        "a polars Series of categories",
    )


@text_check(reads_texts)
def check_text_polars_frame(name: str, estimator: BaseEstimator) -> None:
    """A polars frame of one column is read as a list is."""
    pl = optional("polars")
    assert_container_agrees(
        estimator, lambda X: pl.DataFrame({"text": X}), "a polars frame of one column"
    )


@text_check(reads_texts)
def check_text_arrow_array(name: str, estimator: BaseEstimator) -> None:
    """An Arrow array is read as a list is."""
    pa = optional("pyarrow")
    assert_container_agrees(estimator, pa.array, "an Arrow array")


@text_check(reads_texts)
def check_text_arrow_chunks(name: str, estimator: BaseEstimator) -> None:
    """An Arrow array of several chunks is read as a list is."""
    pa = optional("pyarrow")
    assert_container_agrees(
        estimator,
        lambda X: pa.chunked_array([X[:2], X[2:]]),
        "an Arrow array of two chunks",
    )


@text_check(reads_texts)
def check_text_arrow_table(name: str, estimator: BaseEstimator) -> None:
    """An Arrow table of one column is read as a list is."""
    pa = optional("pyarrow")
    assert_container_agrees(
        estimator, lambda X: pa.table({"text": X}), "an Arrow table of one column"
    )


@text_check(reads_texts)
def check_text_containers_mix(name: str, estimator: BaseEstimator) -> None:
    """Fitted on one container, it may be asked with another."""
    pd = optional("pandas")
    X, y = problem(estimator)
    new = new_rows(estimator)
    expected = answers(fitted(estimator), new)
    # Neither has column names, so that there is nothing to disagree about.
    by_series = fit(estimator, pd.Series(X), y)
    message = "fitted on a Series and asked with a list, the answers differ"
    assert_same_answers(answers(by_series, new), expected, message)
    got = answers(fitted(estimator), pd.Series(new))
    message = "fitted on a list and asked with a Series, the answers differ"
    assert_same_answers(got, expected, message)


@text_check(reads_texts)
def check_text_n_features_in_is_one(name: str, estimator: BaseEstimator) -> None:
    """`n_features_in_`, if there is one, is 1 after fit and absent before."""
    assert not hasattr(fresh(estimator), "n_features_in_"), (
        "n_features_in_ is there before fit"
    )
    n_features = getattr(fitted(estimator), "n_features_in_", None)
    if n_features is None:
        raise SkipTest("it has no n_features_in_, as vectorizers are allowed to")
    assert n_features == 1, f"n_features_in_ is {n_features} for a list of texts"


@text_check(reads_texts)
def check_text_feature_names_in(name: str, estimator: BaseEstimator) -> None:
    """A frame's column name is in `feature_names_in_`, and forgotten with the frame."""
    pd = optional("pandas")
    X, y = problem(estimator)
    by_frame = fit(estimator, pd.DataFrame({"review": X}), y)
    if not hasattr(by_frame, "n_features_in_"):
        raise SkipTest("it has no n_features_in_, as vectorizers are allowed to")
    assert hasattr(by_frame, "feature_names_in_"), "a column name is not recorded"
    names = list(by_frame.feature_names_in_)
    assert names == ["review"], f"feature_names_in_ is {names} for a column 'review'"
    by_frame.fit(X, y)  # the same estimator again, not a clone
    assert not hasattr(by_frame, "feature_names_in_"), (
        "feature_names_in_ of a frame is still there after a fit on a list"
    )


@text_check(reads_texts)
def check_text_other_column_name_is_refused(
    name: str, estimator: BaseEstimator
) -> None:
    """A frame whose column has another name than in fit is refused."""
    pd = optional("pandas")
    X, y = problem(estimator)
    by_frame = fit(estimator, pd.DataFrame({"review": X}), y)
    if not hasattr(by_frame, "feature_names_in_"):
        raise SkipTest("it records no column names")
    other = pd.DataFrame({"summary": new_rows(estimator)})
    assert_asking_is_refused(by_frame, other, "a column of another name")
