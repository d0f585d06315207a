"""Any number of labels per text: what an indicator is, and that it comes back."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.sparse import (
    coo_array,
    csc_array,
    csr_array,
    csr_matrix,
    issparse,
    lil_array,
)
from scipy.special import expit
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import (
    FixedThresholdClassifier,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.utils import get_tags

from sklearn_bert import BertClassifier


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer: nothing here is about layers."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def topics(reviews):
    """Which of three labels each text has: good, animal, film."""
    return np.array(
        [
            [label == "pos", "cat" in text or "dog" in text, "film" in text]
            for text, label in zip(*reviews, strict=True)
        ]
    ).astype(int)


@pytest.fixture(scope="module")
def fit(settings, reviews, topics):
    """Fit a tiny classifier; the arguments are parameters that differ."""

    def fit(X=None, y=None, sample_weight=None, **params):
        X = reviews[0] if X is None else X
        y = topics if y is None else y
        params = {"max_epochs": 1, **params}
        return BertClassifier(**(settings | params)).fit(X, y, sample_weight)

    return fit


@pytest.fixture(scope="module")
def fit_fast(fit, reviews):
    """Fit on the first 8 texts, the head alone."""

    def fit_fast(y, sample_weight=None, **params):
        params = {"trainable": "head", "max_epochs": 1, **params}
        return fit(reviews[0][:8], y, sample_weight, **params)

    return fit_fast


@pytest.fixture
def no_reading(monkeypatch):
    """Fail if a checkpoint is read."""

    def refuse(*args, **kwargs):
        raise AssertionError("the checkpoint was read before the input was checked")

    monkeypatch.setattr("sklearn_bert.estimators._base.load_checkpoint", refuse)


@pytest.fixture(scope="module")
def fitted(fit):
    """A classifier that has learnt; not to be changed."""
    return fit(max_epochs=8, learning_rate=1e-2, batch_size=8)


def test_classifier_learns_several_labels(fitted, reviews, topics):
    """The labels of the texts that it was trained on are found."""
    assert f1_score(topics, fitted.predict(reviews[0]), average="macro") > 0.9
    assert fitted.multilabel_
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert get_tags(fitted).classifier_tags.multi_label


def test_labels_are_probable_ones(fitted, reviews):
    """Logits, probabilities and labels agree; each probability is of its own."""
    decision, proba = [
        method(reviews[0])
        for method in (fitted.decision_function, fitted.predict_proba)
    ]
    assert decision.shape == proba.shape == (40, 3)
    assert (decision.dtype, proba.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(proba, expit(decision.astype(float)), rtol=1e-6)
    predicted = fitted.predict(reviews[0])
    np.testing.assert_array_equal(predicted, proba > 0.5)
    np.testing.assert_array_equal(predicted, decision > 0)
    assert not np.allclose(proba.sum(axis=1), 1)


def test_a_label_that_no_text_has_is_improbable(fit, reviews):
    """Where nothing speaks for a label, a few updates leave it unlikely."""
    y = np.column_stack([INDICATOR, np.zeros(8, dtype=int)])
    proba = fit(reviews[0][:8], y).predict_proba(reviews[0])
    assert proba[:, 3].max() < 0.1
    assert proba[:, :3].max(axis=0).min() > 0.1


def test_score_is_of_whole_rows(fitted, reviews, topics):
    """`score` is the share of texts whose labels are all right, weighted or not."""
    true = np.where(np.arange(40)[:, None] % 3 == 0, 1 - topics, topics)
    predicted = fitted.predict(reviews[0])
    assert fitted.score(reviews[0], true) == accuracy_score(true, predicted)
    weight = np.arange(1.0, 41.0)
    assert fitted.score(reviews[0], true, weight) == accuracy_score(
        true, predicted, sample_weight=weight
    )


# -- kinds of indicators ---------------------------------------------------------------


INDICATOR = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]] * 2)
SAME_KIND = {
    "int": INDICATOR,
    "bool": INDICATOR.astype(bool),
    "uint8": INDICATOR.astype(np.uint8),
    "float": INDICATOR.astype(float),
    "float32": INDICATOR.astype(np.float32),
    "list of lists": INDICATOR.tolist(),
    "list of bools": INDICATOR.astype(bool).tolist(),
    "list of tuples": [tuple(row) for row in INDICATOR.tolist()],
    "tuple of tuples": tuple(tuple(row) for row in INDICATOR.tolist()),
    "list of arrays": list(INDICATOR),
    "frame": pd.DataFrame(INDICATOR, columns=list("abc")),
    "nullable frame": pd.DataFrame(INDICATOR).astype("boolean"),
    "frame of kinds": pd.DataFrame(INDICATOR).astype({0: bool, 1: "int8", 2: float}),
    "polars frame": pl.DataFrame(INDICATOR),
    "Arrow table": pa.table({name: INDICATOR[:, i] for i, name in enumerate("abc")}),
    "object": INDICATOR.astype(object),
    "csr_array": csr_array(INDICATOR),
    "csr_matrix": csr_matrix(INDICATOR),
    "csr_array of bool": csr_array(INDICATOR.astype(bool)),
    "csr_matrix of uint8": csr_matrix(INDICATOR.astype(np.uint8)),
    "csc_array": csc_array(INDICATOR),
    "coo_array": coo_array(INDICATOR),
    "lil_array": lil_array(INDICATOR),
}


def dense(y):
    return y.toarray() if issparse(y) else np.asarray(y)


@pytest.fixture(scope="module")
def proba(fit_fast, reviews):
    """The probabilities after a fit on the plain indicator."""
    return fit_fast(INDICATOR).predict_proba(reviews[0])


@pytest.mark.parametrize("kind", SAME_KIND)
def test_indicators_come_back_as_they_went_in(fit_fast, proba, reviews, kind):
    """Every indicator is the same y; predict gives its kind and its dtype."""
    y = SAME_KIND[kind]
    clf = fit_fast(y)
    np.testing.assert_array_equal(clf.predict_proba(reviews[0]), proba)
    predicted = clf.predict(reviews[0])
    assert predicted.shape == (40, 3)
    np.testing.assert_array_equal(dense(predicted), proba > 0.5)
    assert issparse(predicted) == issparse(y)
    if issparse(y):
        assert isinstance(predicted, csr_matrix) == isinstance(y, csr_matrix)
        assert predicted.format == "csr"
    if hasattr(y, "dtype") and y.dtype != object:
        assert predicted.dtype == y.dtype
    assert 0 <= clf.score(reviews[0][:8], y if issparse(y) else INDICATOR) <= 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_kinds_are_those_of_scikit_learn(fit_fast, reviews):
    """Shapes and kinds are those of OneVsRestClassifier and MLPClassifier."""
    clf = fit_fast(INDICATOR)
    texts = reviews[0][:8]
    several = OneVsRestClassifier(BertClassifier(**clf.get_params()))
    several.fit(texts, INDICATOR)
    vectors = clf.transform(texts)
    mlp = MLPClassifier(max_iter=5, random_state=0).fit(vectors, INDICATOR)
    for theirs, X in ((several, texts), (mlp, vectors)):
        assert theirs.predict(X).shape == clf.predict(texts).shape
        assert theirs.predict_proba(X).shape == clf.predict_proba(texts).shape
        np.testing.assert_array_equal(theirs.classes_, clf.classes_)
    assert mlp.predict(vectors).dtype == clf.predict(texts).dtype


@hypothesis_settings(max_examples=15, deadline=None)
@given(
    y=st.integers(2, 5).flatmap(
        lambda width: st.lists(
            st.lists(st.sampled_from([0, 1]), min_size=width, max_size=width),
            min_size=8,
            max_size=8,
        )
    ),
    dtype=st.sampled_from(["?", "i1", "u4", "i8", "f2", "f8"]),
    kind=st.sampled_from([np.asarray, csr_array, csr_matrix]),
)
def test_any_indicator_is_learnt(fit_fast, reviews, y, dtype, kind):
    """Whatever labels there are, also none or all, shape, kind and dtype come back."""
    if kind is not np.asarray and dtype == "f2":
        dtype = "f4"  # scipy has no sparse float16
    given_y = kind(np.array(y, dtype=dtype))
    predicted = fit_fast(given_y).predict(reviews[0])
    assert type(predicted) is type(given_y)
    assert predicted.dtype == given_y.dtype
    assert predicted.shape == (40, len(y[0]))
    assert np.isin(dense(predicted), [0, 1]).all()


def test_texts_without_labels(fit, reviews):
    """Texts without any label are learnt, and predicted as such."""
    y = np.zeros((40, 2), dtype=int)
    y[::2, 0] = 1  # the good ones; the others have none
    predicted = fit(y=y, max_epochs=6).predict(reviews[0])
    assert (predicted.sum(axis=1) == 0).any()
    np.testing.assert_array_equal(predicted[:, 1], 0)


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_labels_that_no_text_has(fit, reviews, topics, value, class_weight):
    """A label that no text has, or every text, is no error, and is predicted so."""
    y = np.column_stack([topics[:, 0], np.full(40, value)])
    clf = fit(y=y, max_epochs=5, class_weight=class_weight, learning_rate=1e-2)
    np.testing.assert_array_equal(clf.predict(reviews[0])[:, 1], value)


# -- weights ---------------------------------------------------------------------------


def test_weights_of_one_are_none(fit_fast, reviews):
    """Equal weights of any size are no weights, bit by bit."""
    expected = fit_fast(INDICATOR).decision_function(reviews[0])
    for weight in (np.ones(8), np.full(8, 3), 0.5):
        found = fit_fast(INDICATOR, weight).decision_function(reviews[0])
        np.testing.assert_array_equal(found, expected)


def test_weight_zero_is_absent(fit, reviews, topics):
    """A text of weight 0 has no effect at all."""
    weight = np.array([1, 0, 1, 1] * 10)
    keep = np.flatnonzero(weight)
    zeroed = fit(sample_weight=weight, max_epochs=1)
    removed = fit([reviews[0][i] for i in keep], topics[keep], max_epochs=1)
    np.testing.assert_array_equal(
        zeroed.decision_function(reviews[0]), removed.decision_function(reviews[0])
    )


@pytest.mark.parametrize("class_weight", [None, "balanced", "dicts"])
def test_weight_two_is_doubled(fit, reviews, topics, class_weight):
    """A text of weight 2 counts as if it stood there twice, class weights included."""
    if class_weight == "dicts":
        class_weight = [{0: 1, 1: 3}, {0: 0.5, 1: 1}, {0: 1, 1: 1}]
    weight = np.array([1, 2, 1, 1] * 10)
    rows = np.repeat(np.arange(40), weight)
    params = {"batch_size": 1000, "dropout": 0.0, "max_epochs": 2}
    # A probe is a regression with a penalty, which doubled texts outweigh.
    params |= {"class_weight": class_weight, "head_init": "random"}
    weighted = fit(sample_weight=weight, **params)
    doubled = fit([reviews[0][i] for i in rows], topics[rows], **params)
    np.testing.assert_allclose(
        weighted.predict_proba(reviews[0]), doubled.predict_proba(reviews[0]), atol=1e-4
    )


def test_balanced_is_by_label(fit, reviews, topics):
    """ "balanced" is a dict per label, of 0 and 1 as scikit-learn balances them."""
    by_label = [
        {v: 40 / (2 * (column == v).sum()) for v in (0, 1)} for column in topics.T
    ]
    balanced, by_hand = [
        fit(class_weight=weight, max_epochs=1) for weight in ("balanced", by_label)
    ]
    np.testing.assert_allclose(
        balanced.decision_function(reviews[0]),
        by_hand.decision_function(reviews[0]),
        atol=1e-5,
    )


def test_equal_class_weights_are_none(fit, reviews):
    """Dicts of equal weights change nothing; an empty dict weighs all alike."""
    expected = fit(max_epochs=1).decision_function(reviews[0])
    for weight in ([{0: 2, 1: 2}] * 3, [{}, {}, {}]):
        found = fit(class_weight=weight, max_epochs=1).decision_function(reviews[0])
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_class_weights_move_their_label_only(fit, reviews, topics):
    """A heavy 1 makes its label more frequent, and not the others."""
    weights = [{0: 1, 1: 30}, {0: 1, 1: 1}, {0: 1, 1: 1}]
    plain, heavy = [
        fit(class_weight=weight, max_epochs=2, head_init="random")
        .predict_proba(reviews[0])
        .mean(axis=0)
        for weight in (None, weights)
    ]
    assert heavy[0] > 0.7 > plain[0]
    assert heavy[2] < 0.6


BAD_CLASS_WEIGHTS = {
    "dict": {0: 1, 1: 2},
    "too few": [{0: 1, 1: 2}],
    "too many": [{0: 1, 1: 2}] * 4,
    "other keys": [{0: 1, 1: 2}, {0: 1, 1: 2}, {"a": 3}],
    "strings": ["a", "b", "c"],
    "numbers": [1, 2, 3],
    "negative": [{0: 1, 1: -2}, {0: 1, 1: 2}, {0: 1, 1: 2}],
    "nothing": [{0: 0, 1: 0}] * 3,
    "not finite": [{0: 1, 1: np.inf}, {0: 1, 1: 2}, {0: 1, 1: 2}],
}


@pytest.mark.parametrize("name", BAD_CLASS_WEIGHTS)
@pytest.mark.usefixtures("no_reading")
def test_wrong_class_weights_are_refused(fit, name):
    """Class weights that are not one dict per label are named, with what would be."""
    with pytest.raises((TypeError, ValueError), match="class_weight.* is .*expected"):
        fit(class_weight=BAD_CLASS_WEIGHTS[name])


@pytest.mark.usefixtures("no_reading")
def test_dicts_per_label_need_several_labels(fit):
    """A list of dicts for one label per text is refused, with what was expected."""
    with pytest.raises(ValueError, match="class_weight.* is .*expected"):
        fit(y=["a", "b"] * 20, class_weight=[{0: 1, 1: 2}])


# -- scikit-learn ----------------------------------------------------------------------


def test_scorers_of_indicators(settings, reviews, topics):
    """Scorers of labels, logits and probabilities work in cross-validation."""
    clf = BertClassifier(**settings | {"learning_rate": 1e-2})
    names = ["f1_macro", "average_precision", "roc_auc", "accuracy"]
    scores = cross_validate(clf, reviews[0], topics, cv=2, scoring=names)
    for name in names:
        assert ((scores[f"test_{name}"] >= 0) & (scores[f"test_{name}"] <= 1)).all()
    assert (scores["test_roc_auc"] > 0.5).all()


def test_cross_val_score_of_indicators(settings, reviews, topics):
    """cross_val_score without a scorer is `score`, the share of whole rows."""
    clf = BertClassifier(**settings | {"trainable": "head"})
    scores = cross_val_score(clf, reviews[0], topics, cv=2)
    half = clf.fit(reviews[0][20:], topics[20:])
    assert scores[0] == half.score(reviews[0][:20], topics[:20])


def test_cross_validated_predictions(settings, reviews, topics):
    """cross_val_predict gives indicators, probabilities and logits of every text."""
    clf = BertClassifier(**settings | {"trainable": "head", "max_epochs": 1})
    for method in ("predict", "predict_proba", "decision_function"):
        found = cross_val_predict(clf, reviews[0], topics, cv=2, method=method)
        assert np.shape(found) == (40, 3)


def test_tuned_threshold(settings, reviews):
    """The threshold of two classes can be tuned, or fixed, by scikit-learn."""
    clf = BertClassifier(**settings | {"trainable": "head"})
    tuned = TunedThresholdClassifierCV(clf, scoring="balanced_accuracy", cv=2)
    tuned.fit(*reviews)
    scores = tuned.estimator_.predict_proba(reviews[0])[:, 1]
    expected = np.where(scores >= tuned.best_threshold_, "pos", "neg")
    np.testing.assert_array_equal(tuned.predict(reviews[0]), expected)
    low = FixedThresholdClassifier(clf, threshold=1e-30, pos_label="pos")
    assert set(low.fit(*reviews).predict(reviews[0])) == {"pos"}


def test_thresholds_of_each_label(settings, reviews, topics):
    """With a classifier per label, each label has a threshold of its own."""
    clf = BertClassifier(**settings | {"trainable": "head"})
    tuned = MultiOutputClassifier(TunedThresholdClassifierCV(clf, cv=2))
    tuned.fit(reviews[0], topics[:, :2])
    assert tuned.predict(reviews[0]).shape == (40, 2)
    assert len({one.best_threshold_ for one in tuned.estimators_}) == 2


def test_lists_of_labels_by_binarizer(fit_fast, reviews):
    """MultiLabelBinarizer makes an indicator of lists, and lists of predictions."""
    names = [["good", "film"], ["bad"], [], ["bad", "film"]] * 2
    binarizer = MultiLabelBinarizer()
    clf = fit_fast(binarizer.fit_transform(names))
    found = binarizer.inverse_transform(clf.predict(reviews[0]))
    assert len(found) == 40
    assert set().union(*found) <= {"good", "film", "bad"}


def test_refit_may_change_the_kind(fit_fast, reviews):
    """A refit with labels instead of an indicator, and back, forgets the other."""
    clf = fit_fast(csr_array(INDICATOR))
    clf.fit(reviews[0][:8], ["a", "b"] * 4)
    assert not clf.multilabel_
    assert set(clf.predict(reviews[0])) <= {"a", "b"}
    clf.fit(reviews[0][:8], INDICATOR.astype(bool))
    assert clf.predict(reviews[0]).dtype == bool


# -- bad input -------------------------------------------------------------------------


def changed(row, column, value):
    y = [list(r) for r in INDICATOR.tolist()]
    y[row][column] = value
    return y


BAD = {
    "two": (changed(3, 1, 2), r"y\[3, 1\] is 2; expected 0 or 1"),
    "half": (changed(7, 2, 0.5), r"y\[7, 2\] is 0.5; expected 0 or 1"),
    "minus one": (changed(0, 0, -1), r"y\[0, 0\] is -1; expected 0 or 1"),
    "NaN": (changed(2, 1, np.nan), r"y\[2, 1\] is nan"),
    "None": (changed(5, 1, None), r"y\[5, 1\] is None"),
    "NA": (pd.DataFrame(changed(5, 1, None)).astype("Int64"), r"y\[5, 1\] is <NA>"),
    "word": (changed(6, 0, "x"), r"y\[6, 0\] is 'x'"),
    "sparse": (csr_array(np.array(changed(3, 1, 2))), r"y\[3, 1\] is 2"),
    "sparse column": (csr_array(INDICATOR[:, :1]), "y has 1 column; .* at least 2"),
    "list of one": ([[1], [0]] * 4, "y has 1 column; .* column of classes"),
    "lists of labels": (
        [["a"], ["b", "c"]] * 4,
        r"lists of different lengths.*MultiLabelBinarizer\(\).fit_transform",
    ),
    "lists of as many labels": ([["a", "b"]] * 8, r"y\[0, 0\] is 'a'.*MultiLabelBin"),
    "several classes": (INDICATOR + 3, r"y\[0, 0\] is 4; expected 0 or 1"),
    "three dimensions": (np.zeros((8, 2, 2)), "dim 3|3 dimensions"),
    "too few": (INDICATOR[:7], r"inconsistent numbers of samples: \[8, 7\]"),
    "too few sparse": (csr_array(INDICATOR[:7]), "inconsistent numbers of samples"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.usefixtures("no_reading")
def test_bad_indicators_are_refused_at_once(reviews, name, method):
    """What is no 0 or 1 is named with its place before the checkpoint is read."""
    y, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        getattr(BertClassifier(), method)(reviews[0][:8], y)


@hypothesis_settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_wrong_cell_is_named(data):
    """Wherever a cell is neither 0 nor 1, its place and its value are named."""
    row, column = data.draw(st.integers(0, 7)), data.draw(st.integers(0, 2))
    value = data.draw(st.sampled_from([2, -1, 7]))
    kind = data.draw(
        st.sampled_from([np.array, pd.DataFrame, csr_array, csr_matrix, list])
    )
    y = kind(np.array(changed(row, column, value)))
    with pytest.raises(ValueError, match=rf"y\[{row}, {column}\] is {value};"):
        BertClassifier("/no/such/folder").fit(["a"] * 8, y)


def test_failed_refit_keeps_the_old_model(fit_fast, reviews):
    """A refit with a wrong indicator leaves the model and its kind as they were."""
    clf = fit_fast(csr_matrix(INDICATOR))
    state = {name: id(value) for name, value in vars(clf).items()}
    before = clf.predict_proba(reviews[0])
    for wrong in (changed(1, 1, 3), [["a"]] * 8, np.zeros((8, 0))):
        with pytest.raises(ValueError, match="y"):
            clf.fit(reviews[0][:8], wrong)
    assert {name: id(value) for name, value in vars(clf).items()} == state
    np.testing.assert_array_equal(clf.predict_proba(reviews[0]), before)
    assert isinstance(clf.predict(reviews[0]), csr_matrix)
