"""scikit-learn's meta-estimators and helpers take the estimator in."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_predict,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, Pipeline

from sklearn_bert.testing._data import by_turns, new_rows, problem, texts
from sklearn_bert.testing._registry import (
    classifies,
    gives_vectors,
    has,
    is_deterministic,
    reads_texts,
    text_check,
)
from sklearn_bert.testing._tools import (
    answers,
    assert_same,
    assert_same_answers,
    fit,
    fitted,
    fresh,
    optional,
    pick,
)

predicts = has("predict")


@text_check(is_deterministic)
def check_text_pipeline(name: str, estimator: BaseEstimator) -> None:
    """As the only step of a pipeline, it gives the same answers."""
    X, y = problem(estimator)
    new = new_rows(estimator)
    pipeline = Pipeline([("model", fresh(estimator))]).fit(X, y)
    expected = answers(fitted(estimator), new)
    assert_same_answers(answers(pipeline, new), expected, "in a pipeline")


@text_check()
def check_text_parameters_by_path(name: str, estimator: BaseEstimator) -> None:
    """Its parameters are set, whatever to, and reached through a pipeline."""
    pipeline = Pipeline([("model", fresh(estimator))])
    for key, value in estimator.get_params(deep=True).items():
        if hasattr(value, "get_params") or isinstance(value, (list, tuple)):
            continue  # steps are what the path leads through
        other = object()  # values are checked in `fit`, and nowhere else
        pipeline.set_params(**{f"model__{key}": other})
        assert pipeline.get_params()[f"model__{key}"] is other, f"{key} is not set"


@text_check(reads_texts, predicts, is_deterministic)
def check_text_cross_val_predict(name: str, estimator: BaseEstimator) -> None:
    """`cross_val_predict` gives what a fit on each fold predicts."""
    X, y = problem(estimator)
    model, folds = fresh(estimator), KFold(2)
    predicted = cross_val_predict(model, X, y, cv=folds)
    for train, test in folds.split(X):
        by_hand = fit(estimator, *(_rows(part, train) for part in (X, y)))
        expected = by_hand.predict(_rows(X, test))
        assert_same(pick(predicted, test), expected, "cross_val_predict of a fold")


def _rows(values: Any, rows: np.ndarray) -> Any:
    return None if values is None else [values[row] for row in rows]


@text_check(predicts, has("score"), reads_texts)
def check_text_cross_validate_a_series(name: str, estimator: BaseEstimator) -> None:
    """`cross_validate` takes a Series whose index does not count from zero."""
    pd = optional("pandas")
    X, y = problem(estimator)
    X = pd.Series(X, index=range(100, 100 + len(X)))
    scores = cross_validate(fresh(estimator), X, y, cv=KFold(2), error_score="raise")
    assert np.isfinite(scores["test_score"]).all(), f"scores are {scores['test_score']}"


@text_check(predicts, has("score"))
def check_text_learning_curve(name: str, estimator: BaseEstimator) -> None:
    """`learning_curve` fits it on more and more rows."""
    X, y = problem(estimator)
    sizes, *_ = learning_curve(
        fresh(estimator), X, y, train_sizes=[4, 8], cv=KFold(2), error_score="raise"
    )
    assert list(sizes) == [4, 8], f"sizes are {sizes}"


@text_check(predicts, has("score"), is_deterministic)
def check_text_grid_search(name: str, estimator: BaseEstimator) -> None:
    """`GridSearchCV` fits it, and its best model is that of a fit by hand."""
    X, y = problem(estimator)
    new = new_rows(estimator)
    search = GridSearchCV(fresh(estimator), {}, cv=KFold(2), error_score="raise")
    search.fit(X, y)
    got = answers(search.best_estimator_, new)
    assert_same_answers(got, answers(fitted(estimator), new), "after a search")


@text_check(classifies, has("decision_function"))
def check_text_one_vs_rest(name: str, estimator: BaseEstimator) -> None:
    """`OneVsRestClassifier` makes three classes of it."""
    model = OneVsRestClassifier(fresh(estimator))
    model.fit(np.array(texts(9)), by_turns("c", "a", "b", n=18))
    predicted = model.predict(np.array(new_rows(estimator)))
    assert set(predicted) <= {"a", "b", "c"}, f"predicts {set(predicted)}"


@text_check(reads_texts, gives_vectors, is_deterministic)
def check_text_column_transformer(name: str, estimator: BaseEstimator) -> None:
    """In a `ColumnTransformer`, it gives the vectors of one column of a frame."""
    pd = optional("pandas")
    X, y = problem(estimator)
    frame = pd.DataFrame({"number": range(len(X)), "text": X})
    # A name alone, not a list of names, selects a one-dimensional column. The result is
    # dense, whatever the vectors are.
    columns = ColumnTransformer(
        [("text", fresh(estimator), "text")], sparse_threshold=0
    )
    got = columns.fit(frame, y).transform(frame)
    assert_same(got, fitted(estimator).transform(X), "in a ColumnTransformer")


@text_check(reads_texts, gives_vectors, is_deterministic)
def check_text_feature_union(name: str, estimator: BaseEstimator) -> None:
    """In a `FeatureUnion`, two of it stand side by side."""
    X, y = problem(estimator)
    union = FeatureUnion([("one", fresh(estimator)), ("other", fresh(estimator))])
    vectors = fitted(estimator).transform(X)
    width = vectors.shape[1]
    both = union.fit(X, y).transform(X)
    assert both.shape[1] == 2 * width, f"{both.shape[1]} columns from two of {width}"
    assert_same(
        both.tocsr()[:, :width] if hasattr(both, "tocsr") else both[:, :width],
        vectors,
        "in a FeatureUnion",
    )
