"""Dask: partitions, and its backend of joblib."""

import dask.dataframe as dd
import distributed
import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose
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


def test_partial_fit_goes_through_partitions(settings, reviews):
    """Partitions may be learnt one after the other, as dask_ml's Incremental does."""
    texts, labels = reviews
    clf = BertClassifier(**(settings | {"max_epochs": 1}))
    bag = [(texts[:20], labels[:20]), (texts[20:], labels[20:])]
    delayed = [distributed.get_client().submit(lambda part: part, p) for p in bag]
    for part in delayed:
        clf.partial_fit(*part.result(), classes=["neg", "pos"])
    other = BertClassifier(**(settings | {"max_epochs": 1}))
    for part in bag:
        other.partial_fit(*part, classes=["neg", "pos"])
    assert_allclose(clf.predict_proba(texts), other.predict_proba(texts), atol=1e-6)
