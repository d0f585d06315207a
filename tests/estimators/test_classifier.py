import copy
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from joblib import parallel_config
from safetensors.torch import load_file, save_file
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from transformers import AutoModel, AutoTokenizer

from sklearn_bert import (
    BertClassifier,
    CheckpointNotFoundError,
    TruncationWarning,
    cache_info,
    load,
    save,
)
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.targets._validation_split import hold_out


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer, but where layers are told apart."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def fit(settings, reviews):
    """Fit a tiny classifier; the arguments are parameters that differ."""

    def fit(X=None, y=None, sample_weight=None, **params):
        X = reviews[0] if X is None else X
        y = reviews[1] if y is None else y
        params = {"max_epochs": 1, **params}
        return BertClassifier(**(settings | params)).fit(X, y, sample_weight)

    return fit


@pytest.fixture
def no_reading(monkeypatch):
    """Fail if a checkpoint is read."""

    def refuse(*args, **kwargs):
        raise AssertionError("the checkpoint was read before the input was checked")

    monkeypatch.setattr("sklearn_bert.estimators._base.load_checkpoint", refuse)


@pytest.fixture(scope="module")
def fitted(fit):
    """A classifier that has learnt; not to be changed."""
    return fit(max_epochs=3, batch_size=8)


@pytest.fixture(scope="module")
def three(fit, reviews):
    """A classifier of three classes."""
    return fit(y=["a", "b", "c", "b"] * 10)


def test_classifier_learns(fitted, reviews):
    """The texts that it was trained on are told apart."""
    assert fitted.score(*reviews) == 1.0
    assert fitted.history_[-1]["train_loss"] < fitted.history_[0]["train_loss"]


def test_scores_are_plain_transformers_(fitted, reviews, checkpoint):
    """The scores are those of a plain transformers model on the same ids."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModel.from_pretrained(checkpoint).eval()
    model.load_state_dict(fitted.net_.module.encoder.state_dict())
    with torch.inference_mode():
        batch = tokenizer(reviews[0], padding=True, return_tensors="pt")
        states = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        vectors = (states * mask).sum(1) / mask.sum(1)
        scaled = torch.nn.functional.layer_norm(vectors, (32,))
        scores = fitted.net_.module.head(scaled).numpy()
    np.testing.assert_allclose(fitted.transform(reviews[0]), vectors, atol=2e-6)
    expected = softmax(scores.astype(float) / fitted.temperature_, axis=1)
    np.testing.assert_allclose(fitted.predict_proba(reviews[0]), expected, atol=2e-6)


LABELS = {
    "str": ["no", "yes"],
    "int": [3, 8],
    "negative": [-1, 1],
    "bool": [False, True],
    "float": [0.0, 1.0],
    "object": np.array(["no", "yes"], dtype=object),
    "category": pd.Categorical(["no", "yes"]),
    "arrow": pd.array(["no", "yes"], dtype="string[pyarrow]"),
    "numpy": np.array(["no", "yes"]),
    "nullable bool": pd.array([False, True], dtype="boolean"),
    "nullable int": pd.array([3, 8], dtype="Int64"),
    "object ints": np.array([3, 8], dtype=object),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_come_back_as_they_went_in(fit, reviews, kind):
    """predict gives labels of the kind of y, and agrees with predict_proba."""
    no, yes = LABELS[kind]
    y = [yes if label == "pos" else no for label in reviews[1]]
    y = pd.Series(y, dtype=getattr(LABELS[kind], "dtype", None))
    clf = fit(y=y, max_epochs=3)
    predicted = clf.predict(reviews[0])
    np.testing.assert_array_equal(predicted, np.asarray(y))
    assert type(np.array(predicted[0]).item()) is type(np.array(yes).item())
    by_proba = clf.classes_[clf.predict_proba(reviews[0]).argmax(axis=1)]
    np.testing.assert_array_equal(predicted, by_proba)
    assert list(clf.classes_) == sorted({no, yes})


def test_labels_in_a_column(fit, reviews):
    """A column of labels is read as scikit-learn reads it: with a warning."""
    y = np.array(reviews[1])[:, None]
    with pytest.warns(Warning, match="column-vector y"):
        clf = fit(y=y, max_epochs=1)
    assert list(clf.classes_) == ["neg", "pos"]


def test_binary_decision_function(fitted, reviews):
    """For two classes it is one logit, whose sigmoid is the second probability."""
    decision = fitted.decision_function(reviews[0])
    assert decision.shape == (40,)
    proba = fitted.predict_proba(reviews[0])
    np.testing.assert_allclose(expit(decision.astype(float)), proba[:, 1], atol=1e-6)
    np.testing.assert_array_equal(decision > 0, fitted.predict(reviews[0]) == "pos")


def test_multiclass_decision_function(three, reviews):
    """For more classes it is the logits, whose softmax is the probabilities."""
    decision = three.decision_function(reviews[0])
    assert decision.shape == (40, 3)
    expected = softmax(decision.astype(float), axis=1)
    np.testing.assert_allclose(three.predict_proba(reviews[0]), expected, atol=1e-6)


def test_proba_sums_to_one(three, reviews):
    """Each row of probabilities sums to 1 in double precision."""
    proba = three.predict_proba(reviews[0])
    assert proba.dtype == np.float64
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)


CONTAINERS = {
    "tuple": tuple,
    "array": np.array,
    "object array": partial(np.array, dtype=object),
    "column array": lambda texts: np.array(texts)[:, None],
    "Series": pd.Series,
    "object Series": partial(pd.Series, dtype=object),
    "arrow Series": partial(pd.Series, dtype="string[pyarrow]"),
    "category": partial(pd.Series, dtype="category"),
    "odd index": lambda texts: pd.Series(texts, index=range(100, 140)),
    "frame": lambda texts: pd.DataFrame({"text": texts}),
    "polars Series": pl.Series,
    "polars frame": lambda texts: pl.DataFrame({"text": texts}),
}


@pytest.fixture(scope="module")
def brief(fit):
    """A classifier of two updates; not to be changed."""
    return fit(max_epochs=1, batch_size=20)


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_agree(brief, reviews, container):
    """Every container trains and predicts as a list does, bit by bit."""
    X = CONTAINERS[container](reviews[0])
    expected = brief.predict_proba(reviews[0])
    np.testing.assert_array_equal(brief.predict_proba(X), expected)
    trained = clone(brief).fit(X, reviews[1])
    np.testing.assert_array_equal(trained.predict_proba(X), expected)


@pytest.fixture(scope="module")
def pairs():
    """Pairs whose label is whether both halves speak of the same thing."""
    things = ["cat", "dog", "film", "plot"]
    halves = [(f"the {a}", f"a {b}") for a in things for b in things] * 3
    return halves, [int(a.split()[1] == b.split()[1]) for a, b in halves]


def test_classifier_reads_pairs(fit, pairs):
    """Pairs as tuples, arrays and frames train and predict alike."""
    halves, y = pairs
    clf = fit(halves, y, max_epochs=1)
    assert clf.n_features_in_ == 2
    expected = clf.predict_proba(halves)
    np.testing.assert_array_equal(clf.predict_proba(np.array(halves)), expected)
    frame = pd.DataFrame(halves, columns=["a", "b"])
    by_frame = fit(frame, y, max_epochs=1)
    np.testing.assert_array_equal(by_frame.predict_proba(frame), expected)
    assert list(by_frame.feature_names_in_) == ["a", "b"]


def test_classifier_reads_a_template(fit, reviews):
    """A template joins columns into the text that it spells."""
    frame = pd.DataFrame({"body": reviews[0], "stars": 3, "title": "good film"})
    clf = fit(frame, template="{title}. {body}", max_epochs=1)
    by_hand = fit([f"good film. {text}" for text in reviews[0]], max_epochs=1)
    np.testing.assert_array_equal(
        clf.predict_proba(frame),
        by_hand.predict_proba([f"good film. {text}" for text in reviews[0]]),
    )
    assert list(clf.feature_names_in_) == ["title", "body"]
    assert clf.n_features_in_ == 2
    with pytest.raises(ValueError, match="column 'title', which X does not have"):
        clf.predict(frame[["body"]])


def test_names_must_agree(fit, reviews):
    """A column of another name is refused, as scikit-learn does."""
    frame = pd.DataFrame({"text": reviews[0]})
    clf = fit(frame, max_epochs=1)
    assert list(clf.feature_names_in_) == ["text"]
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict(frame.rename(columns={"text": "body"}))


def test_order_of_two_columns_must_agree(fit, pairs):
    """Two columns in another order are refused, not read the wrong way round."""
    frame = pd.DataFrame(pairs[0], columns=["a", "b"])
    clf = fit(frame, pairs[1], max_epochs=1)
    with pytest.raises(ValueError, match="must be in the same order"):
        clf.predict(frame[["b", "a"]])


def test_number_of_columns_must_agree(fitted, pairs):
    """Pairs are refused by a model of single texts."""
    with pytest.raises(ValueError, match="X has 2 features, but .* expecting 1"):
        fitted.predict(pairs[0])


def test_names_of_an_earlier_fit_go(fit, reviews):
    """A refit without names forgets the names."""
    clf = fit(pd.DataFrame({"text": reviews[0]}), max_epochs=1)
    clf.fit(*reviews)
    assert not hasattr(clf, "feature_names_in_")


def test_transform_in_a_frame(fitted, reviews):
    """The vectors before the head have names, and fit into a frame."""
    frame = pd.DataFrame({"text": reviews[0]}, index=range(5, 45))
    out = clone(fitted).fit(frame, reviews[1]).set_output(transform="pandas")
    vectors = out.transform(frame)
    assert vectors.shape == (40, 32)
    assert vectors.columns[0] == "bertclassifier0"
    assert list(vectors.index) == list(range(5, 45))


# -- determinism and independence --------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_same_seed_same_bits(fit, reviews, precision):
    """Two fits with one random_state are equal bit by bit."""
    one, two = [fit(precision=precision) for _ in range(2)]
    np.testing.assert_array_equal(
        one.decision_function(reviews[0]), two.decision_function(reviews[0])
    )


def test_other_seed_other_model(fitted, fit, reviews):
    """The seed matters, and None draws a new one each time."""
    outcomes = {
        fit(random_state=seed, max_epochs=1).decision_function(reviews[0][:1])[0]
        for seed in (0, 1, None, None)
    }
    assert len(outcomes) == 4


@pytest.mark.parametrize("random_state", [0, None])
def test_caller_s_generators_are_untouched(fit, reviews, random_state):
    """NumPy's, Python's and torch's generators go on as if nothing had happened."""

    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    def seed():
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)

    seed()
    expected = draw()
    seed()
    fit(random_state=random_state, max_epochs=1).predict(reviews[0])
    assert draw() == expected


def test_random_state_instance_is_drawn_from(fit, reviews):
    """A RandomState gives another fit each time, and repeats from the start."""
    state = np.random.RandomState(3)
    one, two = [fit(random_state=state, max_epochs=1) for _ in range(2)]
    again = fit(random_state=np.random.RandomState(3), max_epochs=1)
    first = one.decision_function(reviews[0])
    assert not np.array_equal(first, two.decision_function(reviews[0]))
    np.testing.assert_array_equal(first, again.decision_function(reviews[0]))


@hypothesis_settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_neighbours_do_not_matter(fitted, reviews, data):
    """In float32, order and company of a text change no probability beyond 2e-6."""
    rows = data.draw(st.lists(st.integers(0, 39), min_size=1, max_size=60))
    texts = [reviews[0][row] for row in rows]
    np.testing.assert_allclose(
        fitted.predict_proba(texts),
        fitted.predict_proba(reviews[0])[rows],
        rtol=0,
        atol=2e-6,
    )


@hypothesis_settings(max_examples=40, deadline=None)
@given(text=st.text())
@pytest.mark.filterwarnings("ignore::sklearn_bert.TruncationWarning")
def test_any_string_is_classified(fitted, text):
    """Whatever a Python string holds, it gets finite probabilities."""
    text = text.encode("utf-8", "replace").decode()
    assert np.isfinite(fitted.predict_proba([text])).all()


@pytest.mark.parametrize("text", ["", "\x00", "a" * 1_000_000, "\ud800 lone"])
@pytest.mark.filterwarnings("ignore:.*surrogates:UserWarning")
def test_odd_strings_are_classified(fitted, text):
    """Empty, NUL, a megabyte without a space, a lone surrogate."""
    assert np.isfinite(fitted.predict_proba([text])).all()


def test_fit_is_idempotent(fitted, reviews):
    """Fitting again with the same data gives the same model."""
    before = fitted.decision_function(reviews[0])
    again = clone(fitted).fit(*reviews).fit(*reviews)
    np.testing.assert_array_equal(again.decision_function(reviews[0]), before)


def test_parameters_and_data_are_untouched(settings, reviews):
    """fit changes no parameter, no text and no label."""
    frame = pd.DataFrame({"text": reviews[0]}, index=range(7, 47))
    y = pd.Series(reviews[1])
    frame_before, y_before = frame.copy(deep=True), y.copy(deep=True)
    weights = {"pos": 2, "neg": 1}
    clf = BertClassifier(**settings | {"max_epochs": 1, "class_weight": weights})
    before = clf.get_params()
    clf.fit(frame, y)
    assert weights == {"pos": 2, "neg": 1}
    pd.testing.assert_frame_equal(frame, frame_before)
    pd.testing.assert_series_equal(y, y_before)
    after = clf.get_params()
    assert all(after[name] is value for name, value in before.items())


def test_set_params_waits_for_fit(fit, reviews):
    """A parameter changed after fit changes no prediction until the next fit."""
    clf = fit(max_epochs=1)
    before = clf.decision_function(reviews[0])
    clf.set_params(
        max_length=4, pooling="cls", template="{a}", missing="empty", checkpoint="gone"
    )
    np.testing.assert_array_equal(clf.decision_function(reviews[0]), before)


# -- what the process remembers ----------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_search_encodes_each_text_once(settings, reviews, n_jobs):
    """With a frozen encoder folds, settings and threads share one pass over the texts.

    The texts that are predicted later are known as well.
    """
    cache_info(clear=True)
    encoder = load_checkpoint(settings["checkpoint"], shared=True).encoder
    rows = []
    handle = encoder.register_forward_pre_hook(
        lambda encoder, args, kwargs: rows.append(len(kwargs["input_ids"])),
        with_kwargs=True,
    )
    clf = BertClassifier(**settings, trainable="head", max_epochs=1)
    grid = {"learning_rate": [1e-3, 1e-2], "dropout": [0.0, 0.2]}
    with handle, parallel_config(backend="threading"):
        search = GridSearchCV(clf, grid, cv=3, n_jobs=n_jobs).fit(*reviews)
        search.predict([*reviews[0], reviews[0][0]])
    info = cache_info()
    assert sum(rows) == 40
    assert {name: row["misses"] for name, row in info.items()} == {
        "tokens": 40,
        "features": 40,
        "weights": 1,
    }


@pytest.mark.parametrize("trainable", ["head", 1, "all"])
def test_memory_changes_no_result(fit, reviews, two_layer_checkpoint, trainable):
    """Fits and predictions are the same whether the texts are known, in part or not."""
    params = {"trainable": trainable, "checkpoint": two_layer_checkpoint}
    known = fit(**params, max_epochs=1)
    outcomes = []
    for texts in ([], reviews[0], reviews[0][::3]):
        cache_info(clear=True)
        if texts:
            known.predict(texts)
        clf = fit(**params, max_epochs=1)
        for _ in range(2):
            outcomes.append(clf.predict_proba(reviews[0]))
    for proba in outcomes[1:]:
        np.testing.assert_allclose(proba, outcomes[0], rtol=0, atol=1e-5)


def test_fine_tuned_models_do_not_share(fit, reviews, two_layer_checkpoint):
    """Where the encoder learns, another fit's vectors are never taken for its own."""
    params = {"checkpoint": two_layer_checkpoint, "max_epochs": 1}
    one, other = [fit(random_state=seed, **params) for seed in (0, 1)]
    vectors = one.transform(reviews[0])
    assert not np.allclose(other.transform(reviews[0]), vectors, atol=1e-3)
    for trainable in ("head", 1):
        frozen = fit(trainable=trainable, **params)
        assert not np.allclose(frozen.transform(reviews[0]), vectors, atol=1e-3)
    np.testing.assert_array_equal(one.transform(reviews[0]), vectors)


@pytest.mark.parametrize("trainable", ["head", 1])
def test_pickle_holds_no_memory(fit, two_layer_checkpoint, trainable):
    """A pickle does not grow with the texts that were predicted."""
    clf = fit(trainable=trainable, checkpoint=two_layer_checkpoint, max_epochs=1)
    before = len(pickle.dumps(clf))
    for begin in range(0, 300, 100):
        clf.predict([f"the film {i}" for i in range(begin, begin + 100)])
    assert len(pickle.dumps(clf)) == before


# -- weights -------------------------------------------------------------------------


def full_batch(fit, **arguments):
    """A fit without chance: every text in every update, and no dropout."""
    return fit(batch_size=1000, dropout=0.0, max_epochs=4, **arguments)


def test_weights_of_one_are_none(fit, reviews):
    """Equal weights of any size are no weights, bit by bit."""
    expected = fit(max_epochs=1).decision_function(reviews[0])
    for weight in (np.ones(40), np.full(40, 3), 1.0):
        clf = fit(sample_weight=weight, max_epochs=1)
        np.testing.assert_array_equal(clf.decision_function(reviews[0]), expected)


def test_weight_zero_is_absent(fit, reviews):
    """A text of weight 0 has no effect at all."""
    weight = np.array([1, 1, 0, 1] * 10)
    keep = np.flatnonzero(weight)
    zeroed = fit(sample_weight=weight)
    removed = fit([reviews[0][i] for i in keep], [reviews[1][i] for i in keep])
    np.testing.assert_array_equal(
        zeroed.decision_function(reviews[0]), removed.decision_function(reviews[0])
    )


def test_weight_two_is_doubled(fit, reviews):
    """A text of weight 2 counts as if it stood there twice."""
    weight = np.array([1, 2, 1, 1] * 10)
    rows = np.repeat(np.arange(40), weight)
    # A probe is a regression with a penalty, which doubled texts outweigh.
    params = {"head_init": "random", "calibrate": False}
    weighted = full_batch(fit, sample_weight=weight, **params)
    doubled = full_batch(
        fit, X=[reviews[0][i] for i in rows], y=[reviews[1][i] for i in rows], **params
    )
    np.testing.assert_allclose(
        weighted.predict_proba(reviews[0]), doubled.predict_proba(reviews[0]), atol=1e-4
    )


def test_class_weight_is_sample_weight(fit, reviews):
    """A dict of class weights is the same weights by text."""
    weight = np.where(np.array(reviews[1]) == "pos", 3.0, 1.0)
    by_class = fit(class_weight={"pos": 3.0, "neg": 1.0}, max_epochs=1)
    by_text = fit(sample_weight=weight, max_epochs=1)
    np.testing.assert_array_equal(
        by_class.decision_function(reviews[0]), by_text.decision_function(reviews[0])
    )


def test_balanced_counts_the_fold(fit, reviews):
    """ "balanced" weighs by the labels of this fit, as scikit-learn does."""
    X, y = reviews[0][:30:2] + reviews[0][1:10:2], ["pos"] * 15 + ["neg"] * 5
    balanced = fit(X, y, class_weight="balanced", max_epochs=1)
    by_hand = fit(X, y, class_weight={"pos": 20 / 30, "neg": 20 / 10}, max_epochs=1)
    np.testing.assert_array_equal(
        balanced.decision_function(X), by_hand.decision_function(X)
    )


def test_weights_move_predictions(fit, reviews):
    """A class with a great weight is predicted more often."""
    y = np.resize(["a", "a", "b", "b"], 40)  # which the texts do not tell
    heavy = fit(sample_weight=np.where(y == "a", 50.0, 1.0), y=y, max_epochs=2)
    assert (heavy.predict(reviews[0]) == "a").mean() > 0.9


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(40), "zero"),
        (np.full(40, -1.0), "[Nn]egative"),
        (np.full(40, np.nan), "NaN"),
        (np.ones(39), "inconsistent|shape"),
    ],
)
def test_wrong_weights_are_refused(fit, weight, message):
    """Zero, negative, missing and too few weights are errors."""
    with pytest.raises(ValueError, match=message):
        fit(sample_weight=weight)


@pytest.mark.parametrize("weight", [0, -1, np.nan])
@pytest.mark.usefixtures("no_reading")
def test_impossible_class_weights_are_refused(fit, weight):
    """Class weights below 0, or 0 for all, are named before anything is read."""
    with pytest.raises(ValueError, match="class_weight is .*expected weights"):
        fit(class_weight={"pos": weight, "neg": min(weight, 0)})


def test_unknown_class_weight_is_refused(fit):
    """A class weight for a label that y does not have is an error."""
    with pytest.raises(ValueError, match="class_weight"):
        fit(class_weight={"positive": 1, "negative": 2})


# -- early stopping --------------------------------------------------------------------


def test_early_stopping_restores_the_best_weights(fit, reviews):
    """The fitted model is the one of the best epoch, on the held-out texts."""
    clf = fit(
        early_stopping=True, validation_fraction=0.25, max_epochs=8, learning_rate=5e-2
    )
    best = max(clf.history_, key=lambda row: (row["valid_score"], -row["valid_loss"]))
    assert clf.n_iter_ == len(clf.history_)
    assert clf.n_iter_ < 8
    assert clf.n_iter_ == min(8, best["epoch"] + clf.n_iter_no_change)
    upto = fit(
        early_stopping=True,
        validation_fraction=0.25,
        max_epochs=8,
        learning_rate=5e-2,
        n_iter_no_change=8,
    )
    assert upto.history_[best["epoch"] - 1]["valid_loss"] == best["valid_loss"]


def test_held_out_part_is_stratified_and_seeded(reviews):
    """The held-out texts depend on the seed only and have y's shares of classes."""
    codes = (np.array(reviews[1]) == "pos").astype(int)
    rows = np.arange(40)
    held_out = [
        hold_out(rows, 0.25, codes=codes, groups=None, seed=s) for s in (0, 0, 1)
    ]
    (train, valid), (_, again), (_, other) = held_out
    np.testing.assert_array_equal(valid, again)
    assert set(valid) != set(other)
    assert sorted([*train, *valid]) == list(range(40))
    assert codes[valid].mean() == codes.mean()


def test_history_without_validation(fitted):
    """Without early stopping there is no validation in the history."""
    assert set(fitted.history_[0]) == {
        "epoch",
        "train_loss",
        "learning_rate",
        "texts_per_second",
        "seconds",
    }


def test_too_few_texts_to_hold_out(fit):
    """A class with a single text cannot be stratified: the error says so."""
    with pytest.raises(ValueError, match="early_stopping cannot.*fewest: 1 of 'b'"):
        fit(["good", "bad", "dull"], ["a", "b", "a"], early_stopping=True)


# -- length ----------------------------------------------------------------------------


def test_truncation_is_counted(fit, reviews):
    """What is cut is counted: one warning per call, and a report of fit."""
    texts = [*reviews[0][:39], "good " * 100]
    with pytest.warns(TruncationWarning) as caught:
        clf = fit(texts, reviews[1], max_epochs=1, max_length=20)
    assert len(caught) == 1
    assert "1 of 40 texts are longer than 20 tokens" in str(caught[0].message)
    assert clf.max_length_ == 20
    assert clf.truncation_report_ == {
        "n_texts": 40,
        "n_truncated": 1,
        "max_length": 20,
        "longest": 102,
    }
    with pytest.warns(TruncationWarning, match="2 of 2 .* the longest has 102"):
        clf.predict(["good " * 100] * 2)


def test_too_great_max_length_is_refused(fit):
    """max_length beyond the position table is an error that names both numbers."""
    with pytest.raises(ValueError, match="max_length is 512, .* for 64 tokens"):
        fit(max_length=512, max_epochs=1)


# -- bad input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (["a", None], [0, 1], ValueError, r"X\[1\] is None"),
        (["a", 5], [0, 1], TypeError, r"X\[1\] is 5 of type int"),
        ("a text", [0], TypeError, "single str"),
        ([], [], ValueError, "0 sample"),
        (["a", "b"], None, ValueError, "requires y"),
        (["a", "b"], [], ValueError, "inconsistent numbers of samples"),
        (["a", "b"], [0, 1, 0], ValueError, "inconsistent numbers of samples"),
        (["a", "b"], ["x", "x"], ValueError, "one class only .*'x'"),
        (["a", "b"], ["x", None], ValueError, r"y\[1\] is None"),
        (["a", "b"], [1.0, np.nan], ValueError, r"y\[1\] is .*nan"),
        (["a", "b"], pd.Series(["x", pd.NA]), ValueError, r"y\[1\] is"),
        (["a", "b"], [0.5, 1.5], ValueError, "continuous"),
        (["a", "b"], [["x", "y"], ["y", "x"]], ValueError, r"y\[0, 0\] is 'x'"),
        (["a", "b"], ["x", 1], TypeError, "y mixes strings"),
    ],
)
@pytest.mark.usefixtures("no_reading")
def test_bad_data_is_refused_at_once(fit, X, y, error, message):
    """Wrong X and y are named before the checkpoint is read."""
    with pytest.raises(error, match=message):
        BertClassifier().fit(X, y)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("max_epochs", 0),
        ("batch_size", 2.5),
        ("learning_rate", -1e-3),
        ("learning_rate", "fast"),
        ("weight_decay", -1),
        ("warmup", 1.1),
        ("dropout", 1.0),
        ("max_length", 2),
        ("pooling", "median"),
        ("precision", "float8"),
        ("missing", "drop"),
        ("class_weight", "even"),
        ("validation_fraction", 0),
        ("n_iter_no_change", 0),
        ("early_stopping", "yes"),
        ("checkpoint", 3),
        ("random_state", "seed"),
        ("device", "gpu"),
        ("template", "{"),
        ("verbose", "loud"),
    ],
)
@pytest.mark.usefixtures("no_reading")
def test_bad_parameters_are_refused_at_once(reviews, parameter, value):
    """A parameter out of range is named before the checkpoint is read."""
    with pytest.raises(ValueError, match=parameter):
        BertClassifier(**{parameter: value}).fit(*reviews)


def test_unknown_checkpoint(reviews):
    """A folder that does not exist is named."""
    with pytest.raises(CheckpointNotFoundError, match="/no/such/folder"):
        BertClassifier("/no/such/folder").fit(*reviews)


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "decision_function", "transform"]
)
def test_not_fitted(method):
    """Everything but fit needs a fitted estimator."""
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(BertClassifier(), method)(["a text"])


@pytest.mark.parametrize("error", [KeyboardInterrupt, FloatingPointError])
def test_failed_refit_keeps_the_old_model(fit, reviews, monkeypatch, error):
    """A refit that fails leaves the model as it was, never a mixture."""
    clf = fit(max_epochs=1)
    state = {name: id(value) for name, value in vars(clf).items()}
    before = clf.decision_function(reviews[0])

    def fail(self, batch):
        raise error

    monkeypatch.setattr("sklearn_bert.training._net.BertNet.train_step", fail)
    with pytest.raises(error):
        clf.fit(pd.DataFrame({"other": reviews[0]}), ["x", "y"] * 20)
    assert {name: id(value) for name, value in vars(clf).items()} == state
    np.testing.assert_array_equal(clf.decision_function(reviews[0]), before)


def test_failed_first_fit_leaves_it_unfitted(checkpoint, reviews):
    """A first fit that fails publishes nothing."""
    clf = BertClassifier(checkpoint, device="cpu")
    parameters = set(vars(clf))
    with pytest.raises(ValueError, match="inconsistent"):
        clf.fit(reviews[0], reviews[1][:-1])
    assert set(vars(clf)) == parameters


# -- what learns ---------------------------------------------------------------------


def weights_of(clf):
    return clf.net_.module.encoder.state_dict()


@pytest.mark.parametrize("trainable", ["head", 1, 2, "all"])
def test_only_what_is_trainable_learns(fit, two_layer_checkpoint, trainable):
    """The head, the head and so many top layers, or everything is changed."""
    before = AutoModel.from_pretrained(two_layer_checkpoint).state_dict()
    params = {"checkpoint": two_layer_checkpoint, "dropout": 0.1, "max_epochs": 1}
    after = weights_of(fit(trainable=trainable, **params))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    parts = {
        "head": set(),
        1: {"encoder.layer.1."},
        2: {"encoder.layer.0.", "encoder.layer.1."},
        "all": {"encoder.layer.0.", "encoder.layer.1.", "embeddings."},
    }[trainable]
    assert {
        part for part in parts for name in changed if name.startswith(part)
    } == parts
    assert all(name.startswith(tuple(parts)) for name in changed)


def test_trainable_from_numpy(fit, reviews, tmp_path):
    """A number out of an array works as the number does, and can be saved."""
    clf, plain = [fit(trainable=n, max_epochs=1) for n in (np.int64(1), 1)]
    np.testing.assert_array_equal(
        clf.decision_function(reviews[0]), plain.decision_function(reviews[0])
    )
    save(clf, tmp_path / "model")
    np.testing.assert_array_equal(
        load(tmp_path / "model").predict_proba(reviews[0]),
        clf.predict_proba(reviews[0]),
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"trainable": 2}, "the checkpoint has 1 layers"),
        ({"trainable": True}, "trainable is True; expected 'all', 'head' or a number"),
        ({"trainable": "top"}, "'trainable' parameter of BertClassifier must be"),
        ({"trainable": 1, "adapter": "lora"}, "so it takes trainable='all'"),
        ({"adapter": "dora"}, "'adapter' parameter of BertClassifier must be"),
        ({"gradient_checkpointing": "yes"}, "'gradient_checkpointing' parameter"),
    ],
)
def test_what_learns_is_checked(fit, params, message):
    """More layers than there are, or parts that exclude each other, are refused."""
    with pytest.raises(ValueError, match=message):
        fit(**params)


@pytest.mark.parametrize(
    "params",
    [{"adapter": "lora"}, {"gradient_checkpointing": np.True_}, {"trainable": 1}],
    ids=str,
)
def test_ways_to_save_memory_learn_too(fit, reviews, params):
    """Low-rank additions, checkpointing and frozen layers tell the classes apart."""
    clf = fit(**params, max_epochs=5, learning_rate=2e-2, batch_size=8)
    assert clf.score(*reviews) > 0.9
    plain = AutoModel.from_pretrained(clf.checkpoint).state_dict()
    assert weights_of(clf).keys() == plain.keys()
    assert clf.batch_size_used_ == 8


def test_short_memory_is_told(fit, reviews, monkeypatch):
    """`batch_size_used_` tells how many texts fitted, and the model is the same."""
    plain = fit(dropout=0.0, batch_size=8)
    forward = TextModel.forward

    def run_out(self, input_ids=None, *args, **inputs):
        if self.training and len(input_ids) > 4:
            raise torch.OutOfMemoryError("no room")
        return forward(self, input_ids, *args, **inputs)

    monkeypatch.setattr(TextModel, "forward", run_out)
    clf = fit(dropout=0.0, batch_size=8)
    assert (plain.batch_size_used_, clf.batch_size_used_) == (8, 4)
    np.testing.assert_allclose(
        clf.predict_proba(reviews[0]), plain.predict_proba(reviews[0]), atol=1e-4
    )


def test_a_checkpoint_without_pooler_gives_the_same_fit(fit, make_checkpoint, reviews):
    """Weights that a checkpoint lacks draw no numbers, cached or read anew."""
    folder = make_checkpoint()
    path = folder / "model.safetensors"
    weights = {k: v for k, v in load_file(path).items() if "pooler" not in k}
    save_file(weights, path, metadata={"format": "pt"})
    cache_info(clear=True)
    read, cached = [fit(checkpoint=folder, max_epochs=1) for _ in range(2)]
    np.testing.assert_array_equal(
        read.decision_function(reviews[0]), cached.decision_function(reviews[0])
    )


def test_fits_in_threads_are_those_of_one_thread(fit, reviews):
    """Random numbers of one fit are not those of another; the caller's are left."""
    expected = fit(max_epochs=1).decision_function(reviews[0])
    state = torch.get_rng_state()
    with ThreadPoolExecutor(4) as threads:
        fits = [threads.submit(fit, max_epochs=1) for _ in range(8)]
    for found in fits:
        np.testing.assert_array_equal(
            found.result().decision_function(reviews[0]), expected
        )
    assert torch.equal(torch.get_rng_state(), state)


# -- silence -------------------------------------------------------------------------


def test_silent_by_default(fit, reviews, capfd, tmp_path, monkeypatch):
    """fit and predict print nothing and write nothing."""
    monkeypatch.chdir(tmp_path)
    fit(max_epochs=1).predict(reviews[0])
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_verbose_off_a_terminal(fit, capfd):
    """verbose=1 writes a line per epoch on stderr where there is no terminal."""
    fit(max_epochs=2, verbose=1)
    out, err = capfd.readouterr()
    assert out == ""
    assert [line.split(",")[0] for line in err.splitlines()] == [
        "BertClassifier: 40 examples",
        "BertClassifier: epoch 1/2",
        "BertClassifier: epoch 2/2",
    ]


def test_callbacks_are_copied(fit):
    """The caller's callbacks are not changed by fit."""
    from skorch.callbacks import EpochTimer

    timer = EpochTimer()
    before = copy.deepcopy(vars(timer))
    callbacks = [timer]
    clf = fit(max_epochs=1, callbacks=callbacks)
    assert callbacks == [timer]
    assert vars(timer) == before
    assert clf.callbacks is callbacks


def test_html_is_small(fitted):
    """The HTML representation holds no tensors."""
    assert len(fitted._repr_html_()) < 100_000
    assert "tensor(" not in fitted._repr_html_()
