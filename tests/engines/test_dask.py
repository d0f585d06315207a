"""Dask: partitions, and its backend of joblib."""

import gc
import os
import signal
from contextlib import suppress

import dask.dataframe as dd
import distributed
import joblib
import numpy as np
import pandas as pd
import psutil
import pytest
from dask_ml.wrappers import Incremental, ParallelPostFit
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_bert import BertClassifier
from sklearn_bert.distributed import Predictor

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module", autouse=True)
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("as_estimator", [False, True])
def test_partitions_answer_as_one_process(classifier, folder, frame, as_estimator):
    """Each partition has the answers of one call; the order stays."""
    partitions = dd.from_pandas(frame, npartitions=8)
    model = classifier if as_estimator else folder
    predictor = Predictor(model, "body", "predict_proba", "p")
    meta = predictor(partitions.head(1))
    found = partitions.map_partitions(predictor, meta=meta).compute()
    assert found["id"].tolist() == frame["id"].tolist()
    expected = classifier.predict_proba(frame["body"])
    assert_allclose(found[["p_neg", "p_pos"]], expected, atol=1e-5)


def test_a_killed_worker_loses_no_row(classifier, folder, frame, tmp_path):
    """What a worker had not answered when it was killed, another one answers."""
    predictor, flag = Predictor(folder, "body", "predict_proba", "p"), tmp_path / "flag"

    def answer(part):
        with suppress(FileExistsError):
            flag.touch(exist_ok=False)  # one of the workers is the first
            os.kill(os.getpid(), signal.SIGKILL)
        return predictor(part)

    partitions = dd.from_pandas(frame, npartitions=8)
    meta = predictor(partitions.head(1))
    found = partitions.map_partitions(answer, meta=meta).compute()
    assert flag.exists()
    assert found["id"].tolist() == frame["id"].tolist()
    expected = classifier.predict_proba(frame["body"])
    assert_allclose(found[["p_neg", "p_pos"]], expected, atol=1e-5)


def test_memory_of_workers_stays(folder, frame, client):
    """Answering the same rows again and again, a worker keeps no more than before."""

    def own_memory():
        gc.collect()
        return psutil.Process().memory_full_info().uss

    predictor = Predictor(folder, "body", "predict_proba", "p")
    partitions = dd.from_pandas(frame, npartitions=8)
    meta = predictor(partitions.head(1))
    sizes = []
    for _ in range(4):
        for _ in range(5):
            partitions.map_partitions(predictor, meta=meta).compute()
        sizes.append(max(client.run(own_memory).values()))
    assert sizes[-1] - sizes[0] < 16 * 2**20


def test_a_search_runs_on_the_cluster(settings, reviews):
    """GridSearchCV gives what it gives on one process."""
    clf = BertClassifier(**(settings | {"max_epochs": 1}))
    grid = {"learning_rate": [1e-3, 5e-3]}
    search = GridSearchCV(clf, grid, cv=2, n_jobs=2)
    expected = GridSearchCV(clf, grid, cv=2).fit(*reviews)
    with joblib.parallel_config(backend="dask"):
        search.fit(*reviews)
    for name in ("split0_test_score", "split1_test_score"):
        found, here = (s.cv_results_[name] for s in (search, expected))
        np.testing.assert_array_equal(found, here)
    assert search.best_params_ == expected.best_params_


def test_parallel_post_fit_answers_as_one_process(classifier, frame):
    """dask_ml's wrapper computes a column of texts partition by partition, in order."""
    partitions = dd.from_pandas(frame, npartitions=8)[["body"]]
    parallel = ParallelPostFit(
        classifier, predict_meta=np.array(["pos"]), predict_proba_meta=np.zeros((1, 2))
    )
    for method in ("predict", "predict_proba"):
        found = getattr(parallel, method)(partitions)
        assert found.npartitions == 8
        expected = getattr(classifier, method)(frame["body"])
        if method == "predict":
            np.testing.assert_array_equal(found.compute(), expected)
        else:
            assert_allclose(found.compute(), expected, atol=1e-5)


def test_incremental_learns_one_partition_after_the_other(settings, reviews):
    """dask_ml's Incremental gives what partial_fit of the partitions gives, in order.

    A later call brings a class that the first did not know.
    """
    frame = pd.DataFrame({"text": reviews[0], "label": reviews[1]})
    partitions = dd.from_pandas(frame, npartitions=2)
    clf = BertClassifier(**settings)
    incremental = Incremental(clf, shuffle_blocks=False)
    by_hand = clone(clf)
    for classes in (["neg", "pos"], ["neg", "neutral", "pos"]):
        incremental.partial_fit(
            partitions["text"], partitions["label"], classes=classes
        )
        for part in (frame[:20], frame[20:]):
            by_hand.partial_fit(part["text"], part["label"], classes=classes)
    assert incremental.classes_.tolist() == ["neg", "neutral", "pos"]
    assert_allclose(
        incremental.estimator_.predict_proba(reviews[0]),
        by_hand.predict_proba(reviews[0]),
        atol=1e-6,
    )
