"""`scoring`: what is scored after each epoch, by whom, and what comes of it."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    get_scorer,
    log_loss,
    make_scorer,
    r2_score,
)
from sklearn.model_selection import GridSearchCV
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback

from sklearn_bert import BertClassifier, BertRegressor, BertTokenClassifier, load, save
from sklearn_bert.compute._runner import Runner
from sklearn_bert.training._net import BertNet

CLASSES = [BertClassifier, BertRegressor, BertTokenClassifier]
OF_KIND = {
    "number": BertRegressor,
    "numbers": BertRegressor,
    "tags": BertTokenClassifier,
}
N_VALID = 16
WEIGHT = np.arange(1.0, 41.0)


class Rows(Callback):
    """Notes which texts are validated on."""

    def on_train_begin(self, net, **kwargs):
        self.valid = net.valid_examples_.rows


class Spy:
    """A scorer that notes what it is called with, and returns what it is told to."""

    def __init__(self, *scores):
        self.scores = scores or [0.5]
        self.calls = []

    def __call__(self, estimator, X, y):
        self.calls.append((estimator, X, y))
        return self.scores[(len(self.calls) - 1) % len(self.scores)]

    def __deepcopy__(self, memo):
        return self


class WeighedSpy(Spy):
    """One that takes weights."""

    def __call__(self, estimator, X, y, sample_weight=None):
        self.weights = sample_weight
        return super().__call__(estimator, X, y)


def neg_log_loss(estimator, X, y, labels=None):
    return -log_loss(y, estimator.predict_proba(X), labels=labels)


def right_words(true, predicted):
    """The share of right tags, of lists of tags."""
    assert all(isinstance(tags, list) for tags in [*true, *predicted])
    pairs = [
        (one, other)
        for tags, found in zip(true, predicted, strict=True)
        for one, other in zip(tags, found, strict=True)
    ]
    return np.mean([one == other for one, other in pairs])


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer: nothing here is about layers."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def data(reviews):
    """40 texts with targets of each kind, many of which are wrong."""
    texts, labels = reviews
    rng = np.random.default_rng(0)
    is_good = (np.array(labels) == "pos") ^ (rng.random(40) < 1 / 3)
    is_animal = np.array([("cat" in text) or ("dog" in text) for text in texts])
    words = [text.split() for text in texts]
    tags = [rng.choice(["O", "B-X", "I-X"], len(sentence)) for sentence in words]
    for row in tags:
        row[:2] = ["B-X", "I-X"]
        for place in range(2, len(row)):
            if row[place - 1] == "O" and row[place] == "I-X":
                row[place] = "B-X"  # nothing begins with I-
    return {
        "two": (texts, np.where(is_good, "pos", "neg")),
        "three": (texts, np.where(is_animal, "pet", np.where(is_good, "pos", "neg"))),
        "indicator": (texts, np.column_stack([is_good, is_animal]).astype(int)),
        "pairs": ([(t, texts[-i]) for i, t in enumerate(texts)], is_good),
        "number": (texts, is_good + rng.normal(size=40)),
        "numbers": (texts, rng.normal(size=(40, 2)) + is_good[:, None]),
        "tags": (words, [row.tolist() for row in tags]),
    }


@pytest.fixture(scope="module")
def make(settings):
    """Make an estimator for a kind of target, which fits in two epochs."""

    def make(kind="two", **params):
        cls = OF_KIND.get(kind, BertClassifier)
        if cls is BertClassifier:  # whose scores are those before it is calibrated
            params.setdefault("calibrate", False)
        return cls(**(settings | {"max_epochs": 2, "learning_rate": 1e-3} | params))

    return make


@pytest.fixture(scope="module")
def fit(make, data):
    """Fit an estimator, and validate on the first texts of its data."""

    def fit(kind="two", **params):
        X, y = data[kind]
        return make(kind, **params).fit(X, y, X_val=X[:N_VALID], y_val=y[:N_VALID])

    return fit


def valid_scores(estimator):
    return [row["valid_score"] for row in estimator.history_]


def weights_of(estimator):
    state = estimator.net_.module.state_dict()
    return np.concatenate([value.numpy().ravel() for value in state.values()])


# -- what the score is -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("two", "neg_log_loss"),
        ("two", "roc_auc"),
        ("two", "balanced_accuracy"),
        ("three", "neg_log_loss"),
        ("three", "f1_macro"),
        ("three", "roc_auc_ovr"),
        ("indicator", "f1_micro"),
        ("indicator", "average_precision"),
        ("pairs", "neg_brier_score"),
        ("pairs", "average_precision"),
        ("number", "neg_mean_absolute_error"),
        ("number", "neg_max_error"),
        ("numbers", "neg_root_mean_squared_error"),
    ],
)
def test_names(fit, data, kind, name):
    """The last score of a name is that of scikit-learn for the fitted estimator."""
    X, y = data[kind]
    found = fit(kind, scoring=name)
    expected = get_scorer(name)(found, X[:N_VALID], y[:N_VALID])
    assert valid_scores(found)[-1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("accuracy", accuracy_score),
        ("f1_macro", partial(f1_score, average="macro")),
        ("neg_log_loss", lambda true, proba: -log_loss(true, proba)),
    ],
)
def test_names_of_a_tagger(make, data, name, metric):
    """With a name each word counts by itself, also where a sentence has none."""
    X, y = data["tags"]
    X_val, y_val = [X[0], [], *X[1:N_VALID]], [y[0], [], *y[1:N_VALID]]
    found = make("tags", scoring=name).fit(X, y, X_val=X_val, y_val=y_val)
    method = "predict_proba" if name == "neg_log_loss" else "predict"
    predicted = np.concatenate(getattr(found, method)(X[:N_VALID]))
    expected = metric(np.concatenate(y[:N_VALID]), predicted)
    assert valid_scores(found)[-1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "scorer", "name"),
    [
        ("two", make_scorer(f1_score, pos_label="pos"), None),
        ("two", neg_log_loss, "neg_log_loss"),
        ("two", partial(neg_log_loss, labels=["neg", "pos"]), "neg_log_loss"),
        ("two", lambda estimator, X, y: estimator.score(X, y), "accuracy"),
        ("number", lambda estimator, X, y: estimator.score(X, y), "r2"),
        ("tags", make_scorer(right_words), "accuracy"),
        ("tags", lambda estimator, X, y: estimator.score(X, y), None),
        ("two", partial(get_scorer("accuracy")), "accuracy"),
    ],
)
def test_callables(fit, data, kind, scorer, name):
    """A function's score is what it says of the fitted estimator, and as by name."""
    X, y = data[kind]
    found = fit(kind, scoring=scorer)
    expected = scorer(found, X[:N_VALID], y[:N_VALID])
    assert valid_scores(found)[-1] == pytest.approx(expected, rel=1e-5)
    if name is not None:
        by_name = valid_scores(fit(kind, scoring=name))
        np.testing.assert_allclose(valid_scores(found), by_name, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "name"), [("two", "accuracy"), ("indicator", "accuracy"), ("number", "r2")]
)
def test_default(fit, kind, name):
    """Without `scoring` the score is that of `score`."""
    expected = valid_scores(fit(kind))
    np.testing.assert_allclose(valid_scores(fit(kind, scoring=name)), expected, 1e-6)


def test_windows(fit, data):
    """A text that is read in windows has one prediction, as after the fit."""
    X, y = data["two"]
    found = fit(scoring="neg_log_loss", long_text="window", max_length=5)
    expected = neg_log_loss(found, X[:N_VALID], y[:N_VALID])
    assert valid_scores(found)[-1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("value", [np.float32(0.5), np.array(0.5), np.int64(1), True])
def test_numbers(fit, value):
    """Numbers of NumPy, and arrays without a dimension, are scores, as floats."""
    for score in valid_scores(fit(scoring=Spy(value))):
        assert type(score) is float
        assert score == float(value)


# -- what a scorer gets ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["two", "number", "tags"])
def test_the_estimator_of_a_function(fit, data, kind):
    """It is fitted, of the same class, and has the weights of its epoch."""
    X, y = data[kind]
    spy = Spy()
    found = fit(kind, scoring=spy, max_epochs=3)
    assert len(spy.calls) == 3
    answers = []
    for epoch, (estimator, X_val, y_val) in enumerate(spy.calls, start=1):
        assert type(estimator) is OF_KIND.get(kind, BertClassifier)
        assert X_val == X[:N_VALID]
        pairs = zip(y_val, y[:N_VALID], strict=True)
        assert all(np.array_equal(*pair) for pair in pairs)
        check_is_fitted(estimator)
        assert estimator.n_iter_ == len(estimator.history_) == epoch
        assert "valid_loss" in estimator.history_[-1]
        assert estimator.get_params() == found.get_params()
        answers.append(np.concatenate(estimator.predict(X[N_VALID:]), axis=None))
    last = np.concatenate(found.predict(X[N_VALID:]), axis=None)
    np.testing.assert_array_equal(answers[-1], last)
    assert not np.array_equal(weights_of(spy.calls[0][0]), weights_of(found))
    np.testing.assert_array_equal(weights_of(spy.calls[-1][0]), weights_of(found))


def test_a_function_that_changes_X(fit, data):
    """Predictions are of the texts as they are, not of those that were handed in."""
    texts, y = data["two"]

    def scorer(estimator, X, y):
        X[:] = X[::-1]
        return neg_log_loss(estimator, X, y)

    found = fit(scoring=neg_log_loss, max_epochs=1)
    turned = clone(found).set_params(scoring=scorer)
    turned.fit(*data["two"], X_val=texts[:N_VALID], y_val=y[:N_VALID])
    expected = neg_log_loss(found, texts[:N_VALID][::-1], y[:N_VALID])
    assert valid_scores(turned) == pytest.approx([expected], rel=1e-5)


TEXT_CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "Series": lambda X: pd.Series(X, index=range(100, 140)),
    "Index": pd.Index,
    "array of pandas": lambda X: pd.array(X, dtype="string"),
    "DataFrame": lambda X: pd.DataFrame({"text": X}),
    "polars": pl.Series,
    "polars frame": lambda X: pl.DataFrame({"text": X}),
    "Arrow": pa.array,
    "chunks": lambda X: pa.chunked_array([X[:7], X[7:]]),
    "RecordBatch": lambda X: pa.record_batch({"text": X}),
}
LABEL_CONTAINERS = {
    **{
        name: TEXT_CONTAINERS[name]
        for name in ("list", "tuple", "Series", "polars", "Arrow", "Index")
    },
    "Categorical": pd.Categorical,
}


def plain(values):
    """The rows of any container as a list."""
    if isinstance(values, (pa.RecordBatch, pd.DataFrame, pl.DataFrame)):
        values = values["text"]
    return values.to_pylist() if hasattr(values, "to_pylist") else list(values)


@pytest.mark.parametrize("name", TEXT_CONTAINERS)
def test_held_out_texts(make, data, name):
    """A function gets the rows that are held out, in the container of X."""
    texts, labels = data["two"]
    X, spy = TEXT_CONTAINERS[name](texts), Spy()
    found = make(scoring=spy, early_stopping=True, callbacks=[Rows()], max_epochs=1)
    found.fit(X, labels)
    rows = found.net_.callbacks_[0][1].valid
    _, seen, y = spy.calls[0]
    assert type(seen) is (list if name == "tuple" else type(X))
    assert plain(seen) == [texts[row] for row in rows]
    np.testing.assert_array_equal(y, labels[rows])


@pytest.mark.parametrize("name", LABEL_CONTAINERS)
def test_held_out_labels(make, data, name):
    """So it is with labels; by name the score is as of a list."""
    texts, labels = data["two"]
    params = {"early_stopping": True, "max_epochs": 1, "callbacks": [Rows()]}
    spy, y = Spy(), LABEL_CONTAINERS[name](labels.tolist())
    found = make(scoring=spy, **params).fit(texts, y)
    seen = spy.calls[0][2]
    assert type(seen) is (list if name == "tuple" else type(y))
    rows = found.net_.callbacks_[0][1].valid
    assert plain(seen) == labels[rows].tolist()
    by_name = make(scoring="neg_log_loss", **params).fit(texts, y)
    as_array = make(scoring="neg_log_loss", **params).fit(texts, labels)
    assert valid_scores(by_name) == valid_scores(as_array)


@pytest.mark.parametrize("container", [np.array, list, pd.DataFrame, csr_array])
def test_held_out_indicator(make, data, container):
    """Rows of an indicator are held out as they are, sparse ones too."""
    texts, y = data["indicator"]
    given = y.tolist() if container is list else container(y)
    params = {"early_stopping": True, "max_epochs": 1, "callbacks": [Rows()]}
    found = make(scoring="f1_micro", **params).fit(texts, given)
    rows = found.net_.callbacks_[0][1].valid
    predicted = found.predict([texts[row] for row in rows])
    predicted = predicted.toarray() if container is csr_array else predicted
    expected = f1_score(y[rows], predicted, average="micro")
    assert valid_scores(found) == [pytest.approx(expected)]


@pytest.mark.parametrize(
    ("kind", "name", "metric"),
    [
        ("two", "accuracy", accuracy_score),
        ("number", "r2", r2_score),
        ("tags", "accuracy", accuracy_score),
    ],
)
def test_weights_of_held_out_texts(make, data, kind, name, metric):
    """A score that takes weights gets those of the held-out texts, by name as well."""
    X, y = data[kind]
    params = {"early_stopping": True, "max_epochs": 1, "callbacks": [Rows()]}
    params["validation_fraction"] = 0.4
    spy = WeighedSpy()
    found = make(kind, scoring=spy, **params).fit(X, y, WEIGHT)
    _, X_val, y_val = spy.calls[0]
    rows = found.net_.callbacks_[0][1].valid
    weights = WEIGHT[rows]
    np.testing.assert_array_equal(spy.weights, weights)
    predicted = found.predict(X_val)
    if kind == "tags":  # by word
        weights = np.repeat(weights, [len(sentence) for sentence in X_val])
        y_val, predicted = np.concatenate(y_val), np.concatenate(predicted)
    by_name = make(kind, scoring=name, **params).fit(X, y, WEIGHT)
    expected = metric(y_val, predicted, sample_weight=weights)
    assert valid_scores(by_name) == [pytest.approx(expected, rel=1e-5)]
    assert expected != pytest.approx(metric(y_val, predicted), rel=1e-3)


def test_scores_without_weights(make, data):
    """Weights reach neither a score that takes none nor one of X_val."""
    X, y = data["number"]
    for scoring in ("neg_max_error", Spy()):
        found = make("number", scoring=scoring, early_stopping=True)
        assert len(valid_scores(found.fit(X, y, WEIGHT))) == 2
    spy = WeighedSpy()
    make("number", scoring=spy).fit(X, y, WEIGHT, X_val=X[:9], y_val=y[:9])
    assert len(spy.calls) == 2
    assert spy.weights is None


@pytest.mark.parametrize("kind", ["two", "indicator", "number", "tags"])
@pytest.mark.parametrize("is_name", [True, False], ids=["name", "make_scorer"])
def test_predictions_are_computed_once(fit, monkeypatch, kind, is_name):
    """Names and make_scorer take the scores of validation: nothing else is computed."""

    def refuse(*args, **kwargs):
        raise AssertionError("this is computed a second time")

    monkeypatch.setattr(Runner, "scores", refuse)
    monkeypatch.setattr(BertNet, "trained_module", refuse)
    name = "r2" if kind == "number" else "accuracy"
    scoring = name if is_name else make_scorer(lambda true, predicted: len(predicted))
    scores = valid_scores(fit(kind, scoring=scoring))
    assert len(scores) == 2
    assert is_name or scores == [N_VALID] * 2


# -- what comes of it ------------------------------------------------------------------


def test_early_stopping_keeps_the_best(fit, data):
    """The weights are those of the epoch with the best log loss."""
    X, y = data["two"]
    params = {"early_stopping": True, "max_epochs": 6, "n_iter_no_change": 6}
    params |= {"learning_rate": 1e-2, "random_state": 1}
    found = fit(scoring="neg_log_loss", **params)
    scores = valid_scores(found)
    assert len(scores) == 6
    kept = neg_log_loss(found, X[:N_VALID], y[:N_VALID])
    assert kept == pytest.approx(max(scores), rel=1e-5)
    assert max(scores) > max(scores[0], scores[-1])  # which others would have kept


def test_early_stopping_stops(fit):
    """Greater is better, and the training ends where the score no longer rises."""
    spy = Spy(-3.0, -2.0, -2.5, -4.0, -1.0)
    params = {"early_stopping": True, "max_epochs": 5, "n_iter_no_change": 2}
    found = fit(scoring=spy, **params)
    assert valid_scores(found) == [-3.0, -2.0, -2.5, -4.0]
    np.testing.assert_array_equal(weights_of(spy.calls[1][0]), weights_of(found))


@pytest.mark.parametrize("kind", ["two", "number", "tags"])
def test_training_is_the_same(make, fit, data, kind):
    """A score changes nothing of what is learnt; fits repeat to the bit."""
    plain = weights_of(fit(kind))
    name = "neg_mean_squared_error" if kind == "number" else "balanced_accuracy"
    for scoring in (name, lambda estimator, X, y: estimator.score(X, y)):
        one, other = (fit(kind, scoring=scoring) for _ in range(2))
        np.testing.assert_array_equal(weights_of(one), plain)
        assert valid_scores(one) == valid_scores(other)


@pytest.mark.parametrize("kind", ["two", "number", "tags"])
def test_no_validation(make, data, kind):
    """Without validation nothing is scored, by `partial_fit` neither."""
    spy = Spy()
    found = make(kind, scoring=spy).fit(*data[kind])
    found.partial_fit(*data[kind])
    assert not spy.calls
    expected = make(kind).fit(*data[kind]).partial_fit(*data[kind])
    np.testing.assert_array_equal(weights_of(found), weights_of(expected))
    assert "valid_score" not in found.history_[-1]


def test_warm_start(fit, data):
    """A fit that goes on counts its epochs on, and scores what it has by then."""
    X, y = data["two"]
    spy = Spy()
    found = fit(scoring=spy, warm_start=True)
    found.fit(X, y, X_val=X[:N_VALID], y_val=y[:N_VALID])
    assert [estimator.n_iter_ for estimator, *_ in spy.calls] == [1, 2, 3, 4]
    np.testing.assert_array_equal(weights_of(spy.calls[-1][0]), weights_of(found))
    assert valid_scores(found) == [0.5] * 4


# -- errors ----------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("name", ["log_loss", "", "Accuracy"])
def test_unknown_names(data, cls, name):
    """A name that scikit-learn does not know is refused before anything is read."""
    estimator = cls("/nowhere", scoring=name, device="cpu")
    message = rf"scoring is '{name}', which .*sklearn\.metrics\.get_scorer_names\(\)"
    with pytest.raises(ValueError, match=message):
        estimator.fit(*data["tags"])


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("value", [3, ["accuracy"], {"a": "accuracy"}, b"accuracy"])
def test_wrong_types(data, cls, value):
    """What is neither str nor callable is refused as scikit-learn does."""
    estimator = cls("/nowhere", scoring=value, device="cpu")
    message = f"The 'scoring' parameter of {cls.__name__} must be an instance of 'str'"
    with pytest.raises(ValueError, match=message):
        estimator.fit(*data["tags"])


@pytest.mark.parametrize("cls", CLASSES)
def test_metrics(data, cls):
    """A metric of scikit-learn is no scorer; its own words say what to do."""
    estimator = cls("/nowhere", scoring=accuracy_score, device="cpu")
    with pytest.raises(ValueError, match="accuracy_score.* looks like .*make_scorer"):
        estimator.fit(*data["tags"])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.nan, "nan of type float"),
        (np.float32("-inf"), "-inf of type float"),
        (10**400, r"10+\.\.\. of type int"),
        (None, "None of type NoneType"),
        ("0.5", "'0.5' of type str"),
        (np.ones(2), r"array\(\[1., 1.\]\) of type ndarray"),
        ({"a": 0.5}, r"{'a': 0.5} of type dict"),
        (1j, "1j of type complex"),
    ],
    ids=str,
)
def test_what_is_no_score(fit, value, shown):
    """A score that is no finite number ends the fit, naming scorer, epoch and value."""
    message = rf"scoring is <.*Spy .* after epoch 2 is {shown}; expected a finite"
    with pytest.raises(ValueError, match=message):
        fit(scoring=Spy(0.5, value))


@pytest.mark.filterwarnings("ignore:Only one class is present")
def test_an_undefined_score(make, data):
    """A name may be undefined for the texts that are there."""
    X, y = data["two"]
    is_good = y == "pos"
    message = "scoring is 'roc_auc', and .* after epoch 1 is nan of type float"
    with pytest.raises(ValueError, match=message):
        make(scoring="roc_auc").fit(X, y, X_val=np.array(X)[is_good], y_val=y[is_good])


@pytest.mark.parametrize("scoring", ["f1", "neg_mean_squared_error"])
def test_a_scorer_that_fails(fit, scoring):
    """Its error reaches the caller as it is, with a note that names it."""
    with pytest.raises((ValueError, TypeError)) as caught:
        fit(scoring=scoring)
    assert caught.value.__notes__ == [f"Raised by scoring='{scoring}' after epoch 1."]


# -- as any other parameter ------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
def test_clone(cls):
    """A clone has the scorer."""
    scorer = make_scorer(f1_score, average="macro")
    for scoring in ("f1_macro", neg_log_loss, scorer):
        copied = clone(cls(scoring=scoring)).scoring
        assert repr(copied) == repr(scoring)


def test_grid_search(make, data):
    """A search chooses among scorers as among other values."""
    grid = {"scoring": ["neg_log_loss", None, neg_log_loss]}
    search = GridSearchCV(make(early_stopping=True, max_epochs=1), grid, cv=2)
    search.fit(*data["two"])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    score = search.best_estimator_.history_[0]["valid_score"]
    assert score < 0 if search.best_params_["scoring"] else score >= 0


def test_pickle(fit, data):
    """A fitted estimator takes its scorer along."""
    found = pickle.loads(pickle.dumps(fit(scoring=neg_log_loss)))
    assert found.scoring is neg_log_loss
    assert found.predict(data["two"][0][:3]).shape == (3,)


def test_save(fit, tmp_path):
    """A name is saved; a function cannot be, and nothing is written."""
    save(fit(scoring="neg_log_loss"), tmp_path / "name")
    assert load(tmp_path / "name").scoring == "neg_log_loss"
    with pytest.raises(TypeError, match="scoring holds <function neg_log_loss"):
        save(fit(scoring=neg_log_loss), tmp_path / "function")
    assert not (tmp_path / "function").exists()


def test_nothing_is_kept(fit):
    """After a fit the net holds neither the scorer nor the texts."""
    assert fit(scoring="accuracy").net_.scorer is None
