"""Ray: actors of a class, and an estimator in the object store."""

import gc
import os
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import ray
from numpy.testing import assert_allclose

from sklearn_bert.distributed import Predictor

pytestmark = [
    pytest.mark.engines,
    # Ray warns of its own settings.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    # Two actors, and the tasks that read for them.
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_two_actors_answer_as_one_process(classifier, folder, frame):
    """Each row has the answer of one call, whichever actor gave it."""
    rows = ray.data.from_pandas(frame).repartition(8)
    answers = rows.map_batches(
        Predictor,
        fn_constructor_args=[folder, "body", "predict_proba"],
        concurrency=2,
        batch_size=25,
    )
    found = sorted(answers.take_all(), key=lambda row: row["id"])
    assert [row["id"] for row in found] == list(frame["id"])
    proba = np.array([row["prediction"] for row in found])
    assert_allclose(proba, classifier.predict_proba(frame["body"]), atol=1e-5)


class DyingPredictor(Predictor):
    """It ends its process at one row, the first time."""

    def __call__(self, batch):
        mark = Path(self.model).parent / "died"
        if 120 in batch["id"] and not mark.exists():
            mark.write_text("once")
            os._exit(1)
        return super().__call__(batch)


def test_a_worker_that_dies_loses_no_row(classifier, folder, frame):
    """Ray starts another actor; no row is lost, none is there twice."""
    rows = ray.data.from_pandas(frame).repartition(8)
    answers = rows.map_batches(
        DyingPredictor,
        fn_constructor_args=[folder, "body"],
        concurrency=2,
        batch_size=25,
    )
    found = sorted(answers.take_all(), key=lambda row: row["id"])
    assert (Path(folder).parent / "died").exists()
    assert [row["id"] for row in found] == list(frame["id"])
    labels = [row["prediction"] for row in found]
    assert labels == classifier.predict(frame["body"]).tolist()


class WeighingPredictor(Predictor):
    """It adds how much memory its process has for itself."""

    def __call__(self, batch):
        answers = super().__call__(batch)
        gc.collect()
        own = psutil.Process().memory_full_info().uss
        return {**answers, "own": np.full(len(batch["id"]), own)}


def test_memory_of_workers_stays(folder, frame):
    """Answering batch after batch, an actor keeps no more than after the first ones."""
    many = pd.concat([frame] * 20, ignore_index=True)
    many["id"] = range(len(many))
    answers = ray.data.from_pandas(many).map_batches(
        WeighingPredictor,
        fn_constructor_args=[folder, "body"],
        concurrency=1,
        batch_size=len(frame),
    )
    found = sorted(answers.take_all(), key=lambda row: row["id"])
    sizes = [row["own"] for row in found[:: len(frame)]]
    assert len(sizes) == 20
    assert sizes[-1] - sizes[4] < 16 * 2**20


def test_an_estimator_in_the_object_store_is_shared(classifier, frame):
    """Tasks answer with weights that lie in Ray's shared memory."""
    stored = ray.put(classifier)

    @ray.remote
    def answer(clf, texts):
        address = next(clf.net_.module.parameters()).data_ptr()
        for line in Path("/proc/self/maps").read_text().splitlines():
            begin, end = (int(x, 16) for x in line.split()[0].split("-"))
            if begin <= address < end:
                return line.split(maxsplit=5)[-1], clf.predict_proba(texts)
        return None, None

    halves = [frame["body"][:100].tolist(), frame["body"][100:].tolist()]
    found = ray.get([answer.remote(stored, half) for half in halves])
    assert all("plasma" in where or "/dev/shm" in where for where, _ in found)
    proba = np.concatenate([part for _, part in found])
    assert_allclose(proba, classifier.predict_proba(frame["body"]), atol=1e-5)
