"""Spark: a function that each Python worker makes once."""

import gc
import os
import signal
import sys
from contextlib import suppress

import numpy as np
import pandas as pd
import psutil
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
        SparkSession.builder.master("local[2,4]")  # a task may fail four times
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


def test_a_killed_worker_loses_no_row(spark, classifier, folder, frame, tmp_path):
    """Spark asks another Python worker for what one had not answered when it died."""
    make_predict, flag = make_predict_fn(folder, "predict"), tmp_path / "flag"

    def make_dying():
        predict = make_predict()

        def answer(texts):
            with suppress(FileExistsError):
                flag.touch(exist_ok=False)  # one of the workers is the first
                os.kill(os.getpid(), signal.SIGKILL)
            return predict(texts)

        return answer

    udf = predict_batch_udf(make_dying, return_type=StringType(), batch_size=25)
    rows = spark.createDataFrame(frame).repartition(4)
    found = rows.withColumn("label", udf("body")).toPandas().sort_values("id")
    assert flag.exists()
    assert found["id"].tolist() == frame["id"].tolist()
    assert found["label"].tolist() == classifier.predict(frame["body"]).tolist()


def test_memory_of_workers_stays(spark, folder, frame):
    """Answering batch after batch, a worker keeps no more than after the first ones."""
    predictor = Predictor(folder, "body")

    def own_memory(batches):
        for batch in batches:
            predictor(batch)
            gc.collect()
            yield pd.DataFrame({"bytes": [psutil.Process().memory_full_info().uss]})

    many = pd.concat([frame] * 20, ignore_index=True)
    # One partition is one worker's; a batch has as many rows as the frame.
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", len(frame))
    rows = spark.createDataFrame(many).coalesce(1)
    sizes = rows.mapInPandas(own_memory, "bytes long").toPandas()["bytes"]
    assert len(sizes) >= 20
    assert sizes.iloc[-1] - sizes.iloc[4] < 16 * 2**20


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
