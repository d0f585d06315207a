"""The estimators at home in scikit-learn's own tools."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_score,
    cross_validate,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils import estimator_checks

from sklearn_bert import BertClassifier, BertEmbedder


@pytest.fixture
def clf(settings, shallow_checkpoint):
    return BertClassifier(**settings | {"checkpoint": shallow_checkpoint}, max_epochs=8)


@pytest.fixture
def embedder(embedder_settings):
    return BertEmbedder(**embedder_settings)


@pytest.fixture
def frame(reviews):
    """A data frame with a text, a number, a category and a label."""
    texts, labels = reviews
    return pd.DataFrame(
        {
            "text": texts,
            "stars": np.arange(40) % 5,
            "shop": ["web", "app"] * 20,
            "label": labels,
        }
    )


def test_embedder_in_a_pipeline(embedder, frame):
    """An embedder and a linear model learn a column of texts."""
    model = make_pipeline(embedder, LogisticRegression(max_iter=1000))
    model.fit(frame["text"], frame["label"])
    assert model.score(frame["text"], frame["label"]) == 1.0
    assert len(model[:-1].get_feature_names_out()) == 32


def test_pipeline_ends_in_a_classifier(clf, frame):
    """A classifier is the last step of a pipeline, with sample weights."""
    model = Pipeline([("bert", clf)])
    model.fit(frame["text"], frame["label"], bert__sample_weight=np.ones(40))
    assert model.score(frame["text"], frame["label"]) == 1.0


@pytest.mark.parametrize("column", ["text", ["text"]])
def test_column_transformer(embedder, frame, column):
    """A column is given by name or as a list, beside other columns."""
    columns = ColumnTransformer(
        [
            ("text", embedder, column),
            ("stars", StandardScaler(), ["stars"]),
            ("shop", OneHotEncoder(), ["shop"]),
        ]
    ).set_output(transform="pandas")
    out = columns.set_params(shop__sparse_output=False).fit_transform(frame)
    assert out.shape == (40, 32 + 1 + 2)
    assert out.columns[0] == "text__bertembedder0"
    model = make_pipeline(columns, LogisticRegression(max_iter=1000))
    model.fit(frame, frame["label"])
    assert model.score(frame, frame["label"]) == 1.0


def test_grid_search(clf, frame):
    """A grid over parameters, scored by a metric of string labels."""
    search = GridSearchCV(
        clf,
        {"max_epochs": [3], "learning_rate": [1e-6, 5e-3], "head_init": ["random"]},
        scoring="f1_macro",
        refit=False,
        cv=2,
        error_score="raise",
    ).fit(frame["text"], frame["label"])
    assert search.best_params_["learning_rate"] == 5e-3
    chosen = clone(clf).set_params(**search.best_params_)
    in_one = cross_val_score(
        chosen, frame["text"], frame["label"], cv=2, scoring="f1_macro"
    )
    best = search.cv_results_["mean_test_score"].max()
    assert best == pytest.approx(in_one.mean())


def test_randomized_search(clf, frame):
    """A random search by ROC AUC through a pipeline."""
    search = RandomizedSearchCV(
        Pipeline([("bert", clf)]),
        {"bert__learning_rate": [1e-6, 5e-3], "bert__max_epochs": [1, 3]},
        n_iter=2,
        cv=2,
        scoring="roc_auc",
        random_state=0,
        error_score="raise",
    ).fit(frame["text"], frame["label"])
    assert 0 <= search.best_score_ <= 1


def test_cross_validate(clf, frame):
    """Several metrics, and the fitted estimators back."""
    result = cross_validate(
        clf,
        frame["text"],
        frame["label"],
        cv=2,
        scoring=["accuracy", "neg_log_loss", "roc_auc", "f1_macro"],
        return_estimator=True,
        error_score="raise",
    )
    assert result["test_accuracy"].mean() > 0.8
    assert np.isfinite(result["test_neg_log_loss"]).all()
    assert len(result["estimator"]) == 2


def test_calibration_by_temperature(clf, frame):
    """A frozen classifier is calibrated by temperature on its logits."""
    # scikit-learn reads y[0], so that y must be an array: a Series may have no row 0.
    text, label = frame["text"], frame["label"].to_numpy()
    fitted = clf.fit(text[:20], label[:20])
    calibrated = CalibratedClassifierCV(FrozenEstimator(fitted), method="temperature")
    calibrated.fit(text[20:], label[20:])
    proba = calibrated.predict_proba(frame["text"])
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    agree = calibrated.predict(frame["text"]) == fitted.predict(frame["text"])
    assert agree.all()  # one temperature changes no order


def test_self_training(embedder, frame):
    """Vectors feed scikit-learn's self-training, which refuses raw text."""
    y = frame["label"].to_numpy(dtype=object)
    codes = np.where(y == "pos", 1, 0)
    codes[10:] = -1  # not labelled
    model = make_pipeline(
        embedder, SelfTrainingClassifier(LogisticRegression(max_iter=1000))
    )
    model.fit(frame["text"], codes)
    assert model.score(frame["text"], y == "pos") > 0.8


def test_classifiers_vote(clf, frame):
    """Two classifiers of raw text vote."""
    other = clone(clf).set_params(random_state=1)
    model = VotingClassifier([("a", clf), ("b", other)], voting="soft")
    model.fit(frame["text"], frame["label"])
    assert model.score(frame["text"], frame["label"]) == 1.0


def test_classifier_and_embedder_are_stacked(clf, embedder, frame):
    """A fine-tuned model and an embedding pipeline are stacked."""
    model = StackingClassifier(
        [("bert", clf), ("linear", make_pipeline(embedder, LogisticRegression()))],
        cv=2,
    )
    model.fit(frame["text"], frame["label"])
    assert model.score(frame["text"], frame["label"]) == 1.0


def test_classifier_in_one_vs_rest(clf, frame):
    """One classifier per class."""
    y = np.resize(["a", "b", "c"], 40)
    model = OneVsRestClassifier(clf.set_params(max_epochs=1)).fit(frame["text"], y)
    assert model.predict_proba(frame["text"]).shape == (40, 3)
    assert set(model.predict(frame["text"])) <= {"a", "b", "c"}


def test_tuned_threshold(clf, frame):
    """The threshold of a binary classifier is tuned on held-out texts."""
    model = TunedThresholdClassifierCV(clf, cv=2, scoring="balanced_accuracy")
    model.fit(frame["text"], frame["label"])
    assert model.score(frame["text"], frame["label"]) > 0.9


@pytest.mark.parametrize("cls", [BertClassifier, BertEmbedder])
@pytest.mark.parametrize(
    "check",
    [
        "check_estimator_cloneable",
        "check_estimator_tags_renamed",
        "check_valid_tag_types",
        "check_estimator_repr",
        "check_no_attributes_set_in_init",
        "check_mixin_order",
        "check_parameters_default_constructible",
        "check_get_params_invariance",
        "check_set_params",
    ],
)
def test_common_checks(cls, check):
    """scikit-learn's common checks that need no data hold."""
    getattr(estimator_checks, check)(cls.__name__, cls())


def test_clone_is_unfitted(clf, reviews):
    """A clone has the parameters and nothing else."""
    fitted = clf.fit(*reviews)
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params()
    assert not hasattr(copied, "net_")


def test_tags_of_classifier_and_embedder(clf, embedder):
    """The tags say what the estimators take and give."""
    for estimator in (clf, embedder):
        tags = estimator.__sklearn_tags__().input_tags
        assert tags.string
        assert not tags.two_d_array
    assert is_classifier(clf)
    assert clf.__sklearn_tags__().target_tags.required
    assert not embedder.__sklearn_tags__().target_tags.required
