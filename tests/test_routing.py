"""Metadata on its way through scikit-learn: weights, groups and validation texts."""

from typing import ClassVar

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch.callbacks import Callback

from sklearn_bert import BertClassifier, BertRegressor, BertTokenClassifier

ESTIMATORS = [BertClassifier, BertRegressor, BertTokenClassifier]


@pytest.fixture(autouse=True)
def routing():
    """Metadata routing is on."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


class Split(Callback):
    """Notes of every fit which texts are trained on, and which are validated on.

    All copies and clones note it in one place.
    """

    fits: ClassVar[list] = []

    def on_train_begin(self, net, **kwargs):
        valid = net.valid_examples_
        self.fits.append(
            (
                np.sort(net.examples_.rows),
                None if valid is None else np.sort(valid.rows),
                net.examples_.weights,
            )
        )


@pytest.fixture
def split():
    """A callback that has noted nothing yet."""
    Split.fits.clear()
    return Split()


@pytest.fixture(scope="module")
def data(reviews):
    """24 texts for each estimator."""
    texts, labels = reviews[0][:24], reviews[1][:24]
    sentences = [text.split() for text in texts]
    tags = [["B-X" if w in ("film", "cat") else "O" for w in s] for s in sentences]
    return {
        BertClassifier: (texts, np.array(labels)),
        BertRegressor: (texts, np.arange(24.0)),
        BertTokenClassifier: (sentences, tags),
    }


@pytest.fixture(scope="module")
def make(settings):
    """Make an estimator that fits at once."""

    def make(cls, **params):
        return cls(**(settings | {"max_epochs": 1, "trainable": "head"} | params))

    return make


def answers(estimator, X):
    method = getattr(estimator, "predict_proba", estimator.predict)
    found = method(X)
    return np.concatenate(found) if isinstance(found, list) else found


GROUPS = np.arange(24) // 3
WEIGHT = np.arange(1.0, 25.0)


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize("name", ["sample_weight", "groups", "X_val", "y_val"])
def test_metadata_can_be_requested(make, cls, name):
    """fit has a request for each of its metadata, and clone keeps it."""
    estimator = make(cls).set_fit_request(**{name: True})
    for one in (estimator, clone(estimator)):
        assert one.get_metadata_routing().fit.requests[name] is True


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_what_is_not_asked_for_is_refused(make, data, cls):
    """Metadata that nobody asked for is an error, as scikit-learn says."""
    search = GridSearchCV(make(cls), {"learning_rate": [1e-3]}, cv=2)
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        search.fit(*data[cls], sample_weight=WEIGHT)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_weights_through_a_pipeline(make, data, cls):
    """A pipeline hands weights on: the fit is that of the estimator alone."""
    X, y = data[cls]
    estimator = make(cls).set_fit_request(sample_weight=True)
    piped = make_pipeline(FunctionTransformer(), estimator)
    piped.fit(X, y, sample_weight=WEIGHT)
    alone = make(cls).fit(X, y, WEIGHT)
    np.testing.assert_array_equal(answers(piped[-1], X), answers(alone, X))
    assert not np.allclose(answers(make(cls).fit(X, y), X), answers(alone, X))


@pytest.mark.parametrize("cls", [BertClassifier, BertRegressor])
def test_weights_through_a_search(make, data, cls, split):
    """Each fold gets the weights of its texts, in fit and in score."""
    X, y = data[cls]
    estimator = make(cls, callbacks=[split])
    estimator.set_fit_request(sample_weight=True)
    estimator.set_score_request(sample_weight=True)
    cv = [(np.arange(12), np.arange(12, 24)), (np.arange(12, 24), np.arange(12))]
    found = cross_validate(
        estimator, X, y, cv=cv, params={"sample_weight": WEIGHT}, return_estimator=True
    )
    for (train, test), one, score in zip(
        cv, found["estimator"], found["test_score"], strict=True
    ):
        alone = make(cls).fit([X[i] for i in train], y[train], WEIGHT[train])
        held_out = [X[i] for i in test]
        np.testing.assert_array_equal(answers(one, X), answers(alone, X))
        assert score == alone.score(held_out, y[test], WEIGHT[test])
    for _, _, weights in split.fits:
        assert weights.max() > weights.min()


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_groups_reach_the_inner_split(make, data, cls, split):
    """In a grid search over groups, early stopping divides no group either."""
    X, y = data[cls]
    estimator = make(
        cls, early_stopping=True, validation_fraction=0.3, callbacks=[split]
    ).set_fit_request(groups=True)
    search = GridSearchCV(
        estimator, {"learning_rate": [1e-3]}, cv=GroupKFold(2), refit=False
    )
    search.fit(X, y, groups=GROUPS)
    assert len(split.fits) == 2
    folds = [train for train, _ in GroupKFold(2).split(X, None, GROUPS)]
    for fold, (train, valid, _) in zip(folds, split.fits, strict=True):
        groups = GROUPS[fold]  # of the texts that this fit has seen
        assert len(train) + len(valid) == len(fold)
        assert not set(groups[train]) & set(groups[valid])


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_groups_through_a_pipeline(make, data, cls, split):
    """A pipeline hands groups on."""
    estimator = make(cls, early_stopping=True, callbacks=[split])
    piped = make_pipeline(estimator.set_fit_request(groups=True))
    piped.fit(*data[cls], groups=GROUPS)
    ((train, valid, _),) = split.fits
    assert not set(GROUPS[train]) & set(GROUPS[valid])


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_validation_texts_through_a_pipeline(make, data, cls):
    """A pipeline hands X_val on, transformed as X is."""
    X, y = data[cls]
    estimator = make(cls).set_fit_request(X_val=True, y_val=True)
    upper = FunctionTransformer(lambda X: [row[::-1] for row in X])
    piped = Pipeline([("turn", upper), ("bert", estimator)], transform_input=["X_val"])
    piped.fit(X, y, X_val=X[:7], y_val=y[:7])
    turned = [row[::-1] for row in X]
    alone = make(cls).fit(turned, y, X_val=turned[:7], y_val=y[:7])
    ours, theirs = piped[-1].history_[0], alone.history_[0]
    assert ours["valid_loss"] == theirs["valid_loss"]
    assert ours["valid_score"] == theirs["valid_score"]


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_validation_texts_through_a_search(make, data, cls, split):
    """A grid search hands all of X_val to the fit of each fold."""
    X, y = data[cls]
    estimator = make(cls, early_stopping=True, callbacks=[split])
    estimator.set_fit_request(X_val=True, y_val=True)
    search = GridSearchCV(estimator, {"learning_rate": [1e-3, 1e-2]}, cv=2)
    search.fit(X, y, X_val=X[:7], y_val=y[:7])
    assert len(split.fits) == 2 * 2 + 1
    for train, valid, _ in split.fits:
        assert len(valid) == 7
        assert len(train) in (12, 24)
    assert "valid_score" in search.best_estimator_.history_[0]


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_routing_of_all_metadata_at_once(make, data, cls):
    """Weights, groups and validation texts go together through pipeline and search."""
    X, y = data[cls]
    names = ["sample_weight", "groups", "X_val", "y_val"]
    given = dict(zip(names, [WEIGHT, GROUPS, X[:5], y[:5]], strict=True))
    estimator = make(cls, early_stopping=True)
    if cls is BertTokenClassifier:
        del given["sample_weight"]  # its score knows none
    else:
        estimator.set_score_request(sample_weight=True)
    estimator.set_fit_request(**dict.fromkeys(given, True))
    search = GridSearchCV(
        make_pipeline(estimator),
        {f"{cls.__name__.lower()}__learning_rate": [1e-3, 1e-2]},
        cv=GroupKFold(2),
    )
    search.fit(X, y, **given)
    assert "valid_score" in search.best_estimator_[-1].history_[0]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("cls", [BertClassifier, BertTokenClassifier])
def test_classes_of_partial_fit(make, cls):
    """partial_fit has requests for its classes and its weights."""
    estimator = make(cls).set_partial_fit_request(classes=True, sample_weight=True)
    requests = estimator.get_metadata_routing().partial_fit.requests
    assert requests == {"classes": True, "sample_weight": True}
