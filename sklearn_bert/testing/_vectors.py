"""Vectors of texts: what every transformer promises about them."""

from __future__ import annotations

from typing import Any
from unittest import SkipTest

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from sklearn_bert.testing._data import by_turns, new_rows, problem, texts
from sklearn_bert.testing._registry import (
    gives_vectors,
    has,
    is_deterministic,
    must_be_fitted,
    reads_texts,
    text_check,
)
from sklearn_bert.testing._tools import (
    as_python,
    assert_same,
    fit,
    fitted,
    fresh,
    optional,
)


@text_check(reads_texts, gives_vectors)
def check_text_vectors(name: str, estimator: BaseEstimator) -> None:
    """`transform` gives one row of finite numbers for each text."""
    vectors = as_python(fitted(estimator).transform(new_rows(estimator)))
    assert isinstance(vectors, np.ndarray), "transform gives rows of different lengths"
    assert vectors.ndim == 2, f"transform gives {vectors.ndim} dimensions"
    assert vectors.shape[0] == len(new_rows(estimator)), f"shape is {vectors.shape}"
    assert vectors.dtype.kind in "fiu", f"dtype is {vectors.dtype}"
    assert np.isfinite(vectors).all(), "a number is not finite"


@text_check(reads_texts, gives_vectors)
def check_text_vectors_differ(name: str, estimator: BaseEstimator) -> None:
    """Texts of different words get different vectors."""
    vectors = as_python(
        fitted(estimator).transform(["the film was good", "a dull plot"])
    )
    assert not np.allclose(vectors[0], vectors[1]), "different texts get one vector"


@text_check(reads_texts, gives_vectors, has("fit_transform"), is_deterministic)
def check_text_fit_transform(name: str, estimator: BaseEstimator) -> None:
    """`fit_transform` gives what `fit` and then `transform` give."""
    X, y = problem(estimator)
    at_once = fresh(estimator).fit_transform(X, y)
    assert_same(at_once, fitted(estimator).transform(X), "fit_transform")


@text_check(reads_texts, gives_vectors)
def check_text_y_is_ignored_or_used(name: str, estimator: BaseEstimator) -> None:
    """`fit` takes y, also where it has no use for it, as a pipeline hands it on."""
    vectors = fit(estimator, texts(), by_turns(0, 1)).transform(texts())
    assert as_python(vectors).shape[0] == 16


@text_check(reads_texts, gives_vectors, has("get_feature_names_out"))
def check_text_feature_names_out(name: str, estimator: BaseEstimator) -> None:
    """`get_feature_names_out` gives one str for each column, all different."""
    model = fitted(estimator)
    names = model.get_feature_names_out()
    width = as_python(model.transform(new_rows(estimator))).shape[1]
    assert isinstance(names, np.ndarray), f"names are a {type(names).__name__}"
    assert all(isinstance(column, str) for column in names), "a name is no str"
    assert len(names) == width, f"{len(names)} names for {width} columns"
    assert len(set(names)) == width, "names occur twice"


@text_check(reads_texts, gives_vectors, has("get_feature_names_out"), must_be_fitted)
def check_text_feature_names_out_before_fit(
    name: str, estimator: BaseEstimator
) -> None:
    """Before fit, `get_feature_names_out` raises NotFittedError."""
    try:
        fresh(estimator).get_feature_names_out()
    except NotFittedError:
        return
    raise AssertionError(
        "get_feature_names_out works before fit; expected NotFittedError"
    )


def model_with_output(estimator: BaseEstimator, library: str) -> tuple[Any, Any]:
    """Return a fitted clone that gives frames, and its vectors as a plain array."""
    model = fitted(estimator)
    # Before `set_output`, which changes what the same model gives.
    vectors = model.transform(new_rows(estimator))
    if issparse(vectors):
        raise SkipTest("sparse vectors do not go into frames")
    return model.set_output(transform=library), vectors


@text_check(reads_texts, gives_vectors, has("set_output"))
def check_text_output_pandas(name: str, estimator: BaseEstimator) -> None:
    """`set_output` gives pandas frames, with names and the index of X."""
    pd = optional("pandas")
    model, vectors = model_with_output(estimator, "pandas")
    index = [f"row {row}" for row in range(len(vectors))][::-1]
    frame = model.transform(pd.Series(new_rows(estimator), index=index))
    assert isinstance(frame, pd.DataFrame), f"a {type(frame).__name__}"
    assert list(frame.index) == index, "the index of X is lost"
    assert list(frame.columns) == list(model.get_feature_names_out())
    assert_same(frame, vectors, "the frame holds other numbers")


@text_check(reads_texts, gives_vectors, has("set_output"))
def check_text_output_polars(name: str, estimator: BaseEstimator) -> None:
    """`set_output` gives polars frames, with names."""
    pl = optional("polars")
    model, vectors = model_with_output(estimator, "polars")
    frame = model.transform(new_rows(estimator))
    assert isinstance(frame, pl.DataFrame), f"a {type(frame).__name__}"
    assert list(frame.columns) == list(model.get_feature_names_out())
    assert_same(frame, vectors, "the frame holds other numbers")


@text_check(reads_texts, gives_vectors)
def check_text_vectors_feed_a_model(name: str, estimator: BaseEstimator) -> None:
    """A model on the vectors learns a decisive word from them."""
    X, y = problem(estimator, 40)
    vectors, labels = fit(estimator, X, y).transform(X), by_turns("pos", "neg", n=80)
    # Hardly any penalty, because the vectors of some transformers are short.
    model = LogisticRegression(C=1000, max_iter=1000).fit(vectors, labels)
    accuracy = model.score(vectors, labels)
    assert accuracy > 0.83, f"accuracy on the training texts is {accuracy:.2f}"
