"""Spark: a function that each Python worker makes once."""

import os
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, FloatType, StringType

from sklearn_bert.distributed import Predictor, make_predict_fn

pytestmark = [
    pytest.mark.engines,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully:FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Spark's use of pandas
]


@pytest.fixture(scope="module")
def spark():
    os.environ["PYSPARK_PYTHON"] = sys.executable  # not the first one on the path
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .getOrCreate()
    )
    yield session
    session.stop()


def test_predict_batch_udf_answers_as_one_process(spark, classifier, folder, frame):
    """Labels are a column of strings, in the order of the ids."""
    udf = predict_batch_udf(
        make_predict_fn(folder, "predict"), return_type=StringType(), batch_size=25
    )
    rows = spark.createDataFrame(frame).repartition(4)
    found = rows.withColumn("label", udf("body")).toPandas().sort_values("id")
    assert found["id"].tolist() == frame["id"].tolist()
    expected = classifier.predict(frame["body"]).tolist()
    assert found["label"].tolist() == expected


def test_probabilities_are_an_array_column(spark, classifier, folder, frame):
    """Rows of several numbers are arrays of floats."""
    udf = predict_batch_udf(
        make_predict_fn(folder), return_type=ArrayType(FloatType()), batch_size=25
    )
    rows = spark.createDataFrame(frame).repartition(4)
    found = rows.withColumn("p", udf("body")).toPandas().sort_values("id")
    proba = np.array(found["p"].tolist())
    assert_allclose(proba, classifier.predict_proba(frame["body"]), atol=1e-5)


def test_map_in_pandas_answers_as_one_process(spark, classifier, folder, frame):
    """mapInPandas gives batches to a Predictor."""
    predictor = Predictor(folder, "body")

    def answer(batches):
        yield from map(predictor, batches)

    rows = spark.createDataFrame(frame).repartition(4)
    schema = "id long, body string, prediction string"
    found = rows.mapInPandas(answer, schema).toPandas().sort_values("id")
    expected = frame.assign(prediction=classifier.predict(frame["body"]))
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected)
