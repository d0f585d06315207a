"""What engines call: a function for Spark, a class for Ray Data and Dask."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from sklearn_bert import BertClassifier, BertEmbedder, save
from sklearn_bert.distributed import Predictor, make_predict_fn


@pytest.fixture(scope="module")
def classifier(quick, reviews):
    return BertClassifier(**quick).fit(*reviews)


@pytest.fixture(scope="module")
def folder(classifier, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    save(classifier, folder)
    return folder


@pytest.mark.parametrize("method", ["predict", "predict_proba", "transform"])
def test_spark_s_function_answers_a_column(classifier, folder, reviews, method):
    """What is pickled is a path; what it makes takes an array of texts."""
    make_predict = make_predict_fn(folder, method)
    assert len(pickle.dumps(make_predict)) < 500
    predict = pickle.loads(pickle.dumps(make_predict))()
    texts = np.array(reviews[0], dtype=object)
    assert_array_equal(predict(texts), getattr(classifier, method)(list(texts)))


@pytest.mark.parametrize("columns", ["an array", "a frame", "a template"])
def test_spark_s_function_takes_columns(quick, reviews, tmp_path, columns):
    """Several columns are pairs, or those of a template, as in fit, by their order."""
    texts, labels = (np.array(part, dtype=object) for part in reviews)
    X = pd.DataFrame({"title": texts, "body": texts[::-1]})
    template = "{title}: {body}" if columns == "a template" else None
    if columns == "an array":
        X = X.to_numpy()
    clf = BertClassifier(**quick, template=template).fit(X, labels)
    save(clf, tmp_path / "model")
    predict = make_predict_fn(tmp_path / "model")()
    assert_array_equal(predict(texts, texts[::-1]), clf.predict_proba(X))


def test_what_was_read_is_not_pickled(classifier, quick, reviews, tmp_path):
    """A Predictor keeps its model; one that was pickled reads the folder itself."""
    save(classifier, tmp_path / "model")
    batch = pd.DataFrame({"text": reviews[0]})
    first = Predictor(tmp_path / "model", "text", "predict_proba")
    before = first(batch)
    other = BertClassifier(**(quick | {"random_state": 1})).fit(*reviews)
    save(other, tmp_path / "model")
    pd.testing.assert_frame_equal(first(batch), before)
    data = pickle.dumps(first)
    assert len(data) < 1000
    found = pickle.loads(data)(batch)[["prediction_neg", "prediction_pos"]]
    assert_array_equal(found, other.predict_proba(reviews[0]))


class TwoNumbers:
    """A model of two classes whose vectors have two numbers."""

    classes_ = ("neg", "pos")

    def transform(self, X):
        return np.zeros((len(X), 2))


def test_a_vector_s_numbers_are_not_named_after_classes():
    """Where there are as many of both, the columns are numbered all the same."""
    found = Predictor(TwoNumbers(), "text", "transform")(pd.DataFrame({"text": ["a"]}))
    assert found.columns.tolist() == ["text", "prediction_0", "prediction_1"]


@pytest.mark.parametrize("as_estimator", [False, True])
def test_a_batch_of_ray_has_a_column_more(classifier, folder, reviews, as_estimator):
    """A dict of arrays keeps its columns, and has the answers as one more."""
    model = classifier if as_estimator else folder
    batch = {"id": np.arange(40), "text": np.array(reviews[0], dtype=object)}
    found = Predictor(model, "text", "predict_proba", output="proba")(batch)
    assert list(found) == ["id", "text", "proba"]
    assert_array_equal(found["id"], batch["id"])
    assert_array_equal(found["proba"], classifier.predict_proba(reviews[0]))


def test_a_frame_has_columns_more_and_its_index(classifier, folder, reviews):
    """A data frame keeps its index and columns; probabilities are a column each."""
    frame = pd.DataFrame({"text": reviews[0], "id": 1}, index=range(100, 140))
    labels = Predictor(folder, "text")(frame)
    assert labels.columns.tolist() == ["text", "id", "prediction"]
    assert_array_equal(labels.index, frame.index)
    assert_array_equal(labels["prediction"], classifier.predict(reviews[0]))
    proba = Predictor(folder, ["text"], "predict_proba", "p")(frame)
    assert_array_equal(proba[["p_neg", "p_pos"]], classifier.predict_proba(reviews[0]))
    assert "prediction" not in frame


@pytest.mark.parametrize("method", ["predict", "predict_proba", "transform"])
def test_a_frame_without_rows_has_the_columns(folder, reviews, method):
    """A partition without rows has the columns of the others."""
    predictor = Predictor(folder, "text", method)
    frame = pd.DataFrame({"text": reviews[0]})
    empty = predictor(frame[:0])
    assert len(empty) == 0
    whole = predictor(frame)
    assert empty.columns.tolist() == whole.columns.tolist()
    assert empty["text"].dtype == whole["text"].dtype
    last = whole.columns[-1]
    assert empty[last].dtype.kind == whole[last].dtype.kind


def test_two_columns_are_pairs_by_name(quick, reviews):
    """Columns are chosen by name, in the order that is asked for."""
    texts, labels = reviews
    frame = pd.DataFrame({"b": texts[::-1], "a": texts})
    clf = BertClassifier(**quick).fit(frame[["a", "b"]], labels)
    found = Predictor(clf, ["a", "b"])(frame)["prediction"]
    assert_array_equal(found, clf.predict(frame[["a", "b"]]))


def test_vectors_are_numbered_columns(embedder_settings, reviews):
    """Vectors of an embedder are numbered columns of a frame."""
    texts, _ = reviews
    embedder = BertEmbedder(**embedder_settings).fit(texts)
    frame = pd.DataFrame({"text": texts})
    found = Predictor(embedder, "text", "transform", "v")(frame)
    assert found.columns[1:4].tolist() == ["v_0", "v_1", "v_2"]
    assert_array_equal(found.iloc[:, 1:], embedder.transform(texts))


def test_a_column_that_is_not_there_is_named(folder):
    """The columns of the batch are listed."""
    match = r"no column 'text'; it has \['body'\]"
    with pytest.raises(ValueError, match=match):
        Predictor(folder, "text")(pd.DataFrame({"body": ["a"]}))


def test_a_folder_that_is_not_there_is_named():
    """The error of the system names the folder."""
    with pytest.raises(FileNotFoundError, match="no such model"):
        make_predict_fn("no such model")()
