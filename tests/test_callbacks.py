"""scikit-learn's callbacks: what they are told, how they stop, what they leave."""

import copy
import pickle
import threading

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertRegressor,
    BertTokenClassifier,
)

ESTIMATORS = [BertClassifier, BertRegressor, BertTokenClassifier]


class Recorder:
    """Notes every task; stops after the one that `stop` names.

    Parameters
    ----------
    stop : tuple of str and int, or None
        Name and id of a task.
    """

    def __init__(self, stop=None):
        self.stop = stop
        self.events = []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context):
        self.events.append(("end", context.task_name, context.task_id))
        return (context.task_name, context.task_id) == self.stop


class Witness(Recorder):
    """Asks for a fitted estimator at the end of each task, and keeps its answers."""

    def __init__(self, X):
        super().__init__()
        self.X = X
        self.answers = []

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if fitted_estimator is None:
            assert context.task_name == "update"
            return
        assert fitted_estimator.n_iter_ == len(fitted_estimator.history_)
        self.answers.append((context.task_name, answers(fitted_estimator, self.X)))


def answers(estimator, X):
    method = getattr(estimator, "predict_proba", estimator.predict)
    found = method(X)
    return np.concatenate(found) if isinstance(found, list) else found


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer, but where layers are told apart."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def data(reviews):
    """X and y of 16 texts for each estimator."""
    texts, labels = reviews[0][:16], reviews[1][:16]
    sentences = [text.split() for text in texts]
    tags = [["B-X" if w == "film" else "O" for w in words] for words in sentences]
    return {
        BertClassifier: (texts, labels),
        BertRegressor: (texts, np.arange(16.0)),
        BertTokenClassifier: (sentences, tags),
    }


@pytest.fixture(scope="module")
def make(settings):
    """Make an estimator of two epochs of two updates each."""

    def make(cls, **params):
        return cls(**(settings | {"max_epochs": 2, "batch_size": 8} | params))

    return make


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_tasks_are_a_fit_of_epochs_of_updates(make, data, cls):
    """Each task begins and ends once, in order: the fit, its epochs, their updates."""
    recorder = Recorder()
    make(cls).set_callbacks(recorder).fit(*data[cls])
    update = [(t, "update", i) for i in (0, 1) for t in ("begin", "end")]
    epochs = [
        event
        for i in (0, 1)
        for event in (("begin", "epoch", i), *update, ("end", "epoch", i))
    ]
    assert recorder.events == [
        "setup",
        ("begin", "fit", 0),
        *epochs,
        ("end", "fit", 0),
        "teardown",
    ]


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_partial_fit_is_a_fit_of_one_epoch(make, data, cls):
    """partial_fit tells of one epoch, in every call."""
    recorder = Recorder()
    estimator = make(cls, batch_size=16).set_callbacks(recorder)
    for n_calls in (1, 2):
        estimator.partial_fit(*data[cls])
        assert recorder.events.count(("end", "epoch", 0)) == n_calls
        assert recorder.events.count("teardown") == n_calls
    assert ("end", "epoch", 1) not in recorder.events


def test_callbacks_are_told_the_data(make, data):
    """X and y are handed on as they came, and sample weights as metadata."""
    told = []

    class Asking(Recorder):
        def on_fit_task_begin(self, estimator, context, *, X, y, metadata):
            told.append((context.task_name, X, y, metadata, context.max_subtasks))

    X, y = data[BertClassifier]
    weight = np.arange(1.0, 17.0)
    make(BertClassifier).set_callbacks(Asking()).fit(X, y, sample_weight=weight)
    assert all(one[1] is X and one[2] is y for one in told)
    assert all(list(one[3]) == ["sample_weight"] for one in told)
    assert all(one[3]["sample_weight"] is weight for one in told)
    assert {(name, n) for name, *_, n in told} == {
        ("fit", 2),
        ("epoch", 2),
        ("update", 0),
    }


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_fitted_estimators_answer_as_the_fit_would(make, data, cls):
    """At the end of an epoch there is an estimator as if the fit had ended there."""
    X, y = data[cls]
    witness = Witness(X)
    # What calibrates comes after the last epoch.
    params = {"calibrate": False} if cls is BertClassifier else {}
    estimator = make(cls, **params).set_callbacks(witness).fit(X, y)
    names = [name for name, _ in witness.answers]
    assert names == ["epoch", "epoch", "fit"]
    recorder = Recorder(stop=("epoch", 0))
    stopped = make(cls, **params).set_callbacks(recorder).fit(X, y)
    np.testing.assert_allclose(witness.answers[0][1], answers(stopped, X), atol=1e-5)
    for _, found in witness.answers[1:]:
        np.testing.assert_allclose(found, answers(estimator, X), atol=1e-5)


STOPPING = {"early_stopping": True, "validation_fraction": 0.25}


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (BertClassifier, {}),
        (BertClassifier, {"trainable": "head"}),
        (BertClassifier, {"trainable": 1}),
        (BertClassifier, {"adapter": "lora"}),
        (BertClassifier, {"gradient_checkpointing": True}),
        (BertClassifier, STOPPING),
        (BertClassifier, {"precision": "bfloat16"}),
        (BertRegressor, {}),
        (BertRegressor, STOPPING),
        (BertTokenClassifier, {"trainable": "head"}),
        (BertTokenClassifier, STOPPING),
    ],
    ids=str,
)
def test_watching_changes_nothing(
    make, data, two_layer_checkpoint, emulated_bfloat16, cls, params
):
    """With a callback that asks for everything the fit is the same, bit by bit."""
    X, y = data[cls]
    if params.get("trainable") == 1:
        params = {"checkpoint": two_layer_checkpoint, **params}
    plain = make(cls, **params).fit(X, y)
    witness = Witness(X)
    watched = make(cls, **params).set_callbacks(witness).fit(X, y)
    np.testing.assert_array_equal(answers(watched, X), answers(plain, X))
    np.testing.assert_array_equal(witness.answers[-1][1], answers(plain, X))
    for ours, theirs in zip(watched.history_, plain.history_, strict=True):
        assert ours["train_loss"] == theirs["train_loss"]


# -- stopping --------------------------------------------------------------------------


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_a_callback_stops_after_an_epoch(make, data, cls):
    """True at the end of an epoch ends the fit; what was learnt is kept."""
    X, y = data[cls]
    recorder = Recorder(stop=("epoch", 1))
    estimator = make(cls, max_epochs=5).set_callbacks(recorder).fit(X, y)
    assert estimator.n_iter_ == len(estimator.history_) == 2
    assert recorder.events[-2:] == [("end", "fit", 0), "teardown"]
    assert np.isfinite(answers(estimator, X)).all()


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_a_callback_stops_after_an_update(make, data, cls):
    """True at the end of an update ends its epoch, which is recorded, and the fit."""
    X, y = data[cls]
    recorder = Recorder(stop=("update", 0))
    estimator = make(cls, max_epochs=5).set_callbacks(recorder).fit(X, y)
    assert recorder.events.count(("begin", "update", 0)) == 1
    assert ("begin", "update", 1) not in recorder.events
    assert recorder.events[-3:] == [("end", "epoch", 0), ("end", "fit", 0), "teardown"]
    assert estimator.n_iter_ == 1
    assert np.isfinite(estimator.history_[0]["train_loss"])


def test_a_stopped_fit_is_validated(make, data):
    """The epoch in which a callback stops is validated, and its weights compared."""
    recorder = Recorder(stop=("update", 0))
    clf = make(BertClassifier, early_stopping=True, validation_fraction=0.25)
    clf.set_callbacks(recorder).fit(*data[BertClassifier])
    assert 0 <= clf.history_[0]["valid_score"] <= 1


def test_any_of_several_callbacks_stops(make, data):
    """It is enough that one of several wants to stop; all are told."""
    first, second = Recorder(), Recorder(stop=("epoch", 0))
    clf = make(BertClassifier).set_callbacks(first, second)
    assert clf.fit(*data[BertClassifier]).n_iter_ == 1
    assert first.events == second.events


# -- errors ----------------------------------------------------------------------------


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_callbacks_are_torn_down_after_an_error(make, data, cls):
    """Wrong data tear the callbacks down, and leave nothing behind."""
    recorder = Recorder()
    estimator = make(cls).set_callbacks(recorder)
    with pytest.raises(ValueError, match="inconsistent"):
        estimator.fit(data[cls][0], data[cls][1][:-1])
    assert recorder.events[-1] == "teardown"
    assert not [name for name in vars(estimator) if name.endswith("_")]
    estimator.fit(*data[cls])
    assert recorder.events[-2:] == [("end", "fit", 0), "teardown"]


def test_a_failed_fit_has_no_end(make, data):
    """After an error the task of a fit has no end, as in scikit-learn's own."""
    theirs, ours = Recorder(), Recorder()
    logistic = LogisticRegression().set_callbacks(theirs)
    logistic.set_params(solver="liblinear")  # of two classes
    with pytest.raises(ValueError, match="multiclass"):
        logistic.fit(np.eye(3), [0, 1, 2])
    X, y = data[BertClassifier]
    with pytest.raises(ValueError, match="inconsistent"):
        make(BertClassifier).set_callbacks(ours).fit(X, y[:-1])
    assert ours.events == theirs.events == ["setup", ("begin", "fit", 0), "teardown"]


def test_the_bar_of_a_failed_fit_is_closed(make, data):
    """scikit-learn's bar ends with a fit that fails, and its thread with it."""
    X, y = data[BertClassifier]
    with pytest.raises(ValueError, match="inconsistent"):
        make(BertClassifier).set_callbacks(ProgressBar()).fit(X, y[:-1])
    kinds = [type(thread).__name__ for thread in threading.enumerate()]
    assert "RichProgressMonitor" not in kinds


@pytest.mark.parametrize("when", ["update", "epoch"])
def test_an_error_in_a_callback_is_raised(make, data, when):
    """An error in a callback ends the fit, and leaves the old model as it was."""

    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            if context.task_name == when:
                raise KeyError("of the callback")

    X, y = data[BertClassifier]
    clf = make(BertClassifier).fit(X, y)
    before = answers(clf, X)
    callback = Failing()
    with pytest.raises(KeyError, match="of the callback"):
        clf.set_callbacks(callback).fit(X, y[::-1])
    assert callback.events[-1] == "teardown"
    np.testing.assert_array_equal(answers(clf, X), before)


def test_callbacks_do_not_stay(make, data):
    """clone, copies and pickles work with callbacks set; set_callbacks() drops them."""
    X, y = data[BertClassifier]
    recorder = Recorder()
    clf = make(BertClassifier).set_callbacks(recorder).fit(X, y)
    for other in (copy.deepcopy(clf), pickle.loads(pickle.dumps(clf))):
        np.testing.assert_array_equal(answers(other, X), answers(clf, X))
    n_events = len(recorder.events)
    clf.set_callbacks().fit(X, y)
    assert len(recorder.events) == n_events


# -- embedder --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_an_embedder_is_one_task(embedder_settings, reviews, method):
    """An embedder learns nothing: its fit is one task, with a fitted estimator."""
    shapes = []

    class Asking(Recorder):
        def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
            self.events.append(("end", context.task_name, context.task_id))
            shapes.append(fitted_estimator.transform(X).shape)

    recorder = Asking()
    embedder = BertEmbedder(**embedder_settings).set_callbacks(recorder)
    getattr(embedder, method)(reviews[0])
    assert shapes == [(40, 32)]
    assert recorder.events == [
        "setup",
        ("begin", "fit", 0),
        ("end", "fit", 0),
        "teardown",
    ]


@pytest.mark.parametrize("objective", ["simcse", "mlm", "supervised"])
def test_an_objective_is_a_fit_of_epochs(embedder_settings, reviews, objective):
    """Whatever an embedder learns, its epochs and updates are tasks of its fit."""
    recorder = Recorder()
    params = {"max_epochs": 1, "batch_size": 20, "objective": objective}
    embedder = BertEmbedder(**embedder_settings, **params).set_callbacks(recorder)
    embedder.fit(*reviews)
    updates = [(t, "update", i) for i in (0, 1) for t in ("begin", "end")]
    assert recorder.events == [
        "setup",
        ("begin", "fit", 0),
        ("begin", "epoch", 0),
        *updates,
        ("end", "epoch", 0),
        ("end", "fit", 0),
        "teardown",
    ]


@pytest.mark.parametrize("params", [{}, {"whiten": True, "n_components": 4}], ids=str)
def test_an_embedder_in_the_middle_of_its_words(embedder_settings, reviews, params):
    """After an epoch of hidden words there is an embedder as if the fit had ended."""
    X, found = reviews[0], []

    class Asking(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            if context.task_name != "update":
                found.append(fitted_estimator.transform(X))

    params = params | {"objective": "mlm", "max_epochs": 1, "random_state": 0}
    embedder = BertEmbedder(**embedder_settings, **params)
    plain = embedder.fit(X).transform(X)
    np.testing.assert_array_equal(
        embedder.set_callbacks(Asking()).fit_transform(X), plain
    )
    for vectors in found:
        np.testing.assert_allclose(vectors, plain, atol=1e-4)
    assert len(found) == 2


@pytest.mark.parametrize("objective", [None, "simcse", "mlm", "supervised"])
def test_texts_are_read_once(embedder_settings, reviews, monkeypatch, objective):
    """An embedder reads X once, whatever it learns."""
    calls = []
    read = BertEmbedder._read_X
    monkeypatch.setattr(
        BertEmbedder, "_read_X", lambda self, X: calls.append(X) or read(self, X)
    )
    params = {"max_epochs": 1, "objective": objective}
    BertEmbedder(**embedder_settings, **params).fit(*reviews)
    assert len(calls) == 1


# -- scikit-learn's own ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "scoring"), [(BertClassifier, "accuracy"), (BertRegressor, "r2")]
)
def test_scoring_monitor(make, data, cls, scoring):
    """ScoringMonitor logs the score of each epoch, and of the fit."""
    monitor = ScoringMonitor(scoring=scoring)
    estimator = make(cls).set_callbacks(monitor).fit(*data[cls])
    log = monitor.get_logs().data_as_pandas
    assert log["task_name"].tolist() == ["fit", "epoch", "epoch"]
    assert log[scoring].iloc[0] == pytest.approx(estimator.score(*data[cls]), rel=1e-4)
    assert log[scoring].iloc[-1] == pytest.approx(log[scoring].iloc[0], rel=1e-4)


def test_scoring_monitor_with_weights(make, data):
    """Scores are weighted as the fit is."""
    X, y = data[BertClassifier]
    weight = np.arange(1.0, 17.0)
    monitor = ScoringMonitor(scoring="accuracy")
    clf = make(BertClassifier).set_callbacks(monitor).fit(X, y, sample_weight=weight)
    found = monitor.get_logs().data_as_pandas["accuracy"].iloc[0]
    assert found == pytest.approx(clf.score(X, y, weight))


def test_scoring_monitor_in_a_search(make, data):
    """In a grid search each fit of each candidate is logged by its epochs."""
    monitor = ScoringMonitor(scoring="accuracy")
    clf = make(BertClassifier, trainable="head").set_callbacks(monitor)
    search = GridSearchCV(clf, {"learning_rate": [1e-3, 1e-2]}, cv=2)
    search.fit(*data[BertClassifier])
    log = monitor.get_logs().data_as_pandas
    assert (log["task_name"] == "epoch").sum() == 2 * (2 * 2 + 1)
    assert log["accuracy"].between(0, 1).all()


def test_progress_bar_in_a_search(make, data, capsys):
    """ProgressBar shows the epochs of the fits in a grid search; results are equal."""
    X, y = data[BertClassifier]
    clf = make(BertClassifier, trainable="head")
    grid = {"learning_rate": [1e-3, 1e-2]}
    plain = GridSearchCV(clf, grid, cv=2).fit(X, y)
    bar = ProgressBar(max_propagation_depth=None)
    shown = GridSearchCV(clf, grid, cv=2).set_callbacks(bar).fit(X, y)
    out = capsys.readouterr().out
    assert "GridSearchCV - fit" in out
    assert "BertClassifier - epoch #1" in out
    np.testing.assert_array_equal(
        shown.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(shown.predict_proba(X), plain.predict_proba(X))


def test_progress_bar_of_a_single_fit(make, data, capsys):
    """ProgressBar on an estimator alone, or in a pipeline, shows its epochs."""
    X, y = data[BertClassifier]
    clf = make(BertClassifier, trainable="head")
    clone(clf).set_callbacks(ProgressBar()).fit(X, y)
    assert "BertClassifier - epoch #1" in capsys.readouterr().out
    make_pipeline(clone(clf)).set_callbacks(ProgressBar()).fit(X, y)
    assert "BertClassifier" in capsys.readouterr().out
