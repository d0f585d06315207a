"""Every check catches an estimator that breaks the rule it is about.

Models that count words keep all the rules; each mutant of them breaks one.
"""

import logging
import os
import random
import re
import sys
import threading
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from sklearn_bert._process._sklearn import check_sample_weight, get_feature_names
from sklearn_bert.testing import check_text_estimator
from sklearn_bert.testing._registry import text_checks
from sklearn_bert.text._columns import is_missing
from sklearn_bert.text._input import check_texts

# -- models that keep the rules ----------------------------------------------------


class Counter(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Counts the words of each text."""

    def __init__(self, smoothing=1, random_state=None):
        self.smoothing = smoothing
        self.random_state = random_state

    def fit(self, X, y=None):
        return self.publish(self.seen(X), words=self.words_of(self.read(X)))

    def transform(self, X):
        return self.count(self.read_again(X))

    # What mutants change:

    def read(self, X):
        return check_texts(X).first

    def read_again(self, X):
        check_is_fitted(self)
        texts = check_texts(X)
        if texts.n_features != self.n_features_in_:
            raise ValueError(f"X has {texts.n_features} columns")
        is_named = texts.is_2d and get_feature_names(X) is not None
        if is_named and hasattr(self, "feature_names_in_"):
            validate_data(self, X, reset=False, skip_check_array=True)
        return self.read(X)

    def split(self, text):
        return re.findall(r"\w+", text.lower())

    def count(self, texts):
        counts = np.zeros((len(texts), len(self.words_)))
        for row, text in enumerate(texts):
            for word in self.split(text):
                if word in self.words_:
                    counts[row, self.words_[word]] += 1
        return counts

    def publish(self, seen, **fitted):
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        vars(self).update(seen)
        for name, value in fitted.items():
            setattr(self, f"{name}_", value)
        self.smoothing_ = self.smoothing
        return self

    def words_of(self, texts):
        words = sorted({word for text in texts for word in self.split(text)})
        return {word: column for column, word in enumerate(words)}

    def seen(self, X):
        texts = check_texts(X)
        names = get_feature_names(X) if texts.is_2d else None
        seen = {"n_features_in_": texts.n_features}
        return seen if names is None else seen | {"feature_names_in_": names}

    @property
    def _n_features_out(self):
        return len(self.words_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


class Classifier(ClassifierMixin, Counter):
    """Multinomial naive Bayes, for one label or several per text."""

    def __init__(self, smoothing=1, class_weight=None, random_state=None):
        super().__init__(smoothing, random_state)
        self.class_weight = class_weight

    def fit(self, X, y, sample_weight=None):
        texts = self.read(X)
        if y is None:
            raise ValueError("it requires y to be passed, but the target y is None")
        check_consistent_length(texts, y)
        several = type_of_target(y) == "multilabel-indicator"
        labels = np.asarray(y) if several else self.labels(y)
        classes = np.arange(labels.shape[1]) if several else np.unique(labels)
        if len(classes) < 2:
            raise ValueError("y has one class only")
        weights = self.weigh(labels, sample_weight)
        belongs = labels if several else labels[:, None] == classes
        # A text of weight 0 is absent, and so are its words.
        words = self.words_of([t for t, w in zip(texts, weights, strict=True) if w])
        self.publish(self.seen(X), classes=classes, words=words)
        counts, self.several_ = self.count(texts), several
        self.yes_ = self.learn(counts, belongs * weights[:, None])
        self.no_ = self.learn(counts, (1 - belongs) * weights[:, None])
        return self

    def learn(self, counts, weights):
        """Log share of each class, and of each word within it."""
        words = weights.T @ counts + self.smoothing_
        with np.errstate(divide="ignore"):
            shares = np.log(weights.sum(axis=0))
        return shares, np.log(words / words.sum(axis=1, keepdims=True))

    def scores(self, texts, part):
        shares, words = part
        return shares + self.count(texts) @ words.T

    def predict_proba(self, X):
        texts = self.read_again(X)
        if self.several_:
            return expit(self.scores(texts, self.yes_) - self.scores(texts, self.no_))
        return softmax(self.scores(texts, self.yes_), axis=1)

    def predict_log_proba(self, X):
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def decision_function(self, X):
        texts = self.read_again(X)
        scores = self.scores(texts, self.yes_)
        if self.several_:
            return scores - self.scores(texts, self.no_)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X):
        proba = self.predict_proba(X)
        if self.several_:
            return (proba > 0.5).astype(int)
        return self.classes_[proba.argmax(axis=1)]

    def labels(self, y):
        if not isinstance(getattr(y, "dtype", np.dtype(object)), np.dtype):
            y = np.asarray(y, dtype=object)
        if any(is_missing(label) for label in np.asarray(y, dtype=object).flat):
            raise ValueError("a label is missing")
        labels = column_or_1d(y, warn=True)
        if labels.dtype == object and not isinstance(labels[0], str):
            labels = np.array(labels.tolist())
        check_classification_targets(labels)
        return labels

    def weigh(self, labels, sample_weight):
        weights = check_sample_weight(
            sample_weight, labels, dtype=np.float64, ensure_non_negative=True
        )
        if labels.ndim == 2 or self.class_weight is None:
            return weights
        if isinstance(self.class_weight, dict):
            return weights * [self.class_weight.get(label, 1) for label in labels]
        return weights * compute_sample_weight(self.class_weight, labels)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class Regressor(RegressorMixin, BaseEstimator):
    """Ridge regression on counts of words."""

    def __init__(self, smoothing=0.01):
        self.smoothing = smoothing

    def fit(self, X, y):
        if y is None:
            raise ValueError("it requires y to be passed, but the target y is None")
        y = self.numbers(y)
        counter = Counter().fit(X)
        counts = counter.transform(X)
        check_consistent_length(counts, y)
        self.counter_ = counter
        self.mean_ = y.mean(axis=0)
        squares = counts.T @ counts + self.smoothing * np.eye(counts.shape[1])
        self.slopes_ = np.linalg.solve(squares, counts.T @ (y - self.mean_))
        return self

    def numbers(self, y):
        y = np.asarray(y, dtype=float)
        if not np.isfinite(y).all():
            raise ValueError("y is not finite")
        return y

    def predict(self, X):
        check_is_fitted(self)
        return self.counter_.transform(X) @ self.slopes_ + self.mean_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.target_tags.multi_output = True
        return tags


class Tagger(ClassifierMixin, BaseEstimator):
    """Gives each word the tag that it has most often."""

    def __sklearn_text_input__(self):
        return "words"

    def fit(self, X, y):
        rows = self.read(X)
        if y is None:
            raise ValueError("y is None")
        tags = [list(row) for row in y]
        check_consistent_length(rows, tags)
        for row, (words, given) in enumerate(zip(rows, tags, strict=True)):
            if len(words) != len(given) or None in given:
                raise ValueError(f"y[{row}] does not have a tag for each word")
        self.classes_ = np.unique(np.concatenate([*tags]))
        self.tables_ = {}
        for words, given in zip(rows, tags, strict=True):
            for word, tag in zip(words, given, strict=True):
                table = self.tables_.setdefault(word, np.zeros(len(self.classes_)))
                table[np.searchsorted(self.classes_, tag)] += 1
        self.rest_ = sum(self.tables_.values())
        return self

    def read(self, X):
        if X is None or isinstance(X, (str, dict, set)) or len(X) == 0:
            raise ValueError("X holds no rows")
        for row, words in enumerate(X):
            if not isinstance(words, (list, tuple, np.ndarray)):
                raise TypeError(f"X[{row}] is no list of words")
            if not all(isinstance(word, str) for word in words):
                raise TypeError(f"X[{row}] holds what is no word")
        return [list(words) for words in X]

    def predict_proba(self, X):
        check_is_fitted(self)
        tables = [
            np.array([self.tables_.get(word, self.rest_) for word in words])
            for words in self.read(X)
        ]
        return [table / table.sum(axis=1, keepdims=True) for table in tables]

    def predict(self, X):
        proba = self.predict_proba(X)
        return [self.classes_[part.argmax(axis=1)].tolist() for part in proba]

    def score(self, X, y):
        pairs = zip(np.concatenate([*y]), np.concatenate(self.predict(X)), strict=True)
        return float(np.mean([tag == told for tag, told in pairs]))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


@pytest.mark.parametrize("model", [Counter, Classifier, Regressor, Tagger])
def test_models_that_keep_the_rules_pass(model):
    """Where no rule is broken, no check fails."""
    results = check_text_estimator(model(), on_skip=None, on_fail=None)
    failed = {
        r["check_name"]: r["exception"] for r in results if r["status"] == "failed"
    }
    assert failed == {}


# -- mutants: X --------------------------------------------------------------------


class ReadsListsOnly(Classifier):
    """Reads what is in another container back to front."""

    def read(self, X):
        texts = super().read(X)
        return texts if type(X) is list else texts[::-1]


class ReadsSeriesOddly(ReadsListsOnly):
    """Does so after fit only, with a Series."""

    def read(self, X):
        fitting = not hasattr(self, "classes_")
        return super().read(list(X) if fitting else X)


class ReadsPlainStr(Classifier):
    """Takes subclasses of str for empty texts."""

    def read(self, X):
        return [text if type(text) is str else "" for text in X]


class ReadsByLabel(Classifier):
    """Reads the rows of a Series in the order of its index."""

    def read(self, X):
        return super().read(X.sort_index() if isinstance(X, pd.Series) else X)


class AlignsLabels(Classifier):
    """Reads the labels of a Series in the order of its index."""

    def labels(self, y):
        return super().labels(y.sort_index() if isinstance(y, pd.Series) else y)


class CountsColumnsWrongly(Counter):
    def seen(self, X):
        return super().seen(X) | {"n_features_in_": 7}

    def read_again(self, X):
        return self.read(X)


class RemembersNames(Counter):
    """Keeps the column name of an earlier fit."""

    def publish(self, seen, **fitted):
        name = getattr(self, "feature_names_in_", None)
        super().publish(seen, **fitted)
        if name is not None:
            self.feature_names_in_ = name
        return self


class IgnoresNames(Counter):
    def read_again(self, X):
        return self.read(X)


class ReadsAnything(Classifier):
    """Makes texts of whatever it is given, and labels of as many texts."""

    def fit(self, X, y=None, sample_weight=None):
        texts = self.read(X)
        y = ["a", "b"] * len(texts) if y is None else list(y) * len(texts)
        y = [str(label) for label in y]
        if len(set(y)) < 2:
            y = ["a", "b"]
            texts = ["x", "y"]
        n = len(texts)
        weights = None if sample_weight is None else np.resize(np.abs(sample_weight), n)
        if weights is not None and not (np.isfinite(weights).all() and weights.any()):
            weights = None
        return super().fit(texts, ["a", "b", *y[:n]][-n:] if n > 1 else y, weights)

    def read(self, X):
        if X is None:
            return ["", ""]
        if hasattr(X, "to_numpy"):
            X = X.to_numpy()
        rows = np.ravel(X).tolist() if isinstance(X, np.ndarray) else list(X)
        return [str(row) for row in rows]

    def read_again(self, X):
        check_is_fitted(self)
        return self.read(X)

    def seen(self, X):
        return {"n_features_in_": 1}


class NamesNoRow(Counter):
    def read(self, X):
        try:
            return super().read(X)
        except ValueError as error:
            raise ValueError("a text is missing") from error

    def seen(self, X):
        self.read(X)
        return super().seen(X)

    def read_again(self, X):
        return self.read(X)


class TripsOver(Counter):
    """Gives NaN for texts that look unusual."""

    odd = r"[^A-Za-z ]|^ *$|.{5000}|^.$"

    def transform(self, X):
        vectors = super().transform(X)
        for row, text in enumerate(self.read(X)):
            if re.search(self.odd, text):
                vectors[row] = np.nan
        return vectors


class TripsOverNewWords(TripsOver):
    odd = "zyx|quokka"


class LosesTheLast(Tagger):
    def predict(self, X):
        return super().predict(X)[:-1] if len(X) > 3 else super().predict(X)

    def predict_proba(self, X):
        proba = super().predict_proba(X)
        return proba[:-1] if len(X) > 3 else proba


class LosesALine(Counter):
    def transform(self, X):
        return super().transform(X)[:-1]


class CentresTheBatch(Counter):
    """Looks at the other rows of the call."""

    def transform(self, X):
        vectors = super().transform(X)
        return vectors - vectors.mean(axis=0)


class NumbersTheRows(Counter):
    """Adds the place of the row."""

    def transform(self, X):
        vectors = super().transform(X)
        return vectors + np.arange(len(vectors))[:, None]


class PadsToTheLongest(Counter):
    """Lets the length of the longest text in."""

    def transform(self, X):
        vectors = super().transform(X)
        return vectors + max(len(text) for text in self.read(X))


class NeverTheSame(Counter):
    def transform(self, X):
        noise = np.random.default_rng().normal(scale=1e-9)
        return super().transform(X) + noise


MUTANTS = {
    ReadsListsOnly: """
        tuple array_of_str array_of_objects array_of_variable_width_strings
        strided_array one_column_array pandas_objects pandas_str pandas_string
        pandas_arrow pandas_category pandas_odd_index pandas_frame polars_series
        polars_category polars_frame arrow_array arrow_chunks arrow_table
        containers_mix
    """,
    ReadsSeriesOddly: "containers_mix",
    ReadsPlainStr: "list_of_numpy_str",
    ReadsByLabel: "pandas_odd_index",
    AlignsLabels: "labels_pandas_odd_index",
    CountsColumnsWrongly: "n_features_in_is_one",
    RemembersNames: "feature_names_in",
    IgnoresNames: "other_column_name_is_refused other_number_of_columns_is_refused",
    ReadsAnything: """
        none_is_refused nan_is_refused pandas_na_is_refused missing_row_is_named
        bytes_are_refused numbers_are_refused array_of_numbers_is_refused
        number_among_texts_is_refused lists_of_words_are_refused
        bare_string_is_refused dict_is_refused set_is_refused generator_is_refused
        nothing_is_refused zero_dimensions_are_refused three_dimensions_are_refused
        empty_X_is_refused other_length_of_y_is_refused no_y_is_refused
        missing_label_is_refused continuous_labels_are_refused
        weights_all_zero_are_refused negative_weight_is_refused
        weight_of_nan_is_refused other_number_of_weights_is_refused
        failed_fit_keeps_the_model
    """,
    NamesNoRow: "missing_row_is_named",
    TripsOver: """
        empty_string nothing_but_empty_strings white_space line_ends punctuation
        special_tokens emoji accents_and_scripts control_characters lone_surrogates
        very_long single_characters
    """,
    TripsOverNewWords: "unseen_words",
    LosesTheLast: "one_answer_per_row",
    LosesALine: "one_answer_per_row vectors",
    CentresTheBatch: "single_row subset",
    NumbersTheRows: "order_of_rows duplicates subset single_row",
    PadsToTheLongest: "rows_of_mixed_length",
    NeverTheSame: "asking_twice",
}


# -- mutants: y --------------------------------------------------------------------


class SpellsLabels(Classifier):
    """Gives every label as a str."""

    def labels(self, y):
        return super().labels(y).astype(str)


class CutsLabels(Classifier):
    """Gives the first letter of a label."""

    def labels(self, y):
        return np.array([label[:1] for label in super().labels(y)])


class NumbersLabels(Classifier):
    """Gives labels as integers."""

    def labels(self, y):
        return np.unique(super().labels(y), return_inverse=True)[1]


class FloatLabels(Classifier):
    """Gives numbers as floats, and the categories of which there is none."""

    def labels(self, y):
        labels = super().labels(y)
        if isinstance(getattr(y, "dtype", None), pd.CategoricalDtype):
            labels = np.where(np.arange(len(y)) == 0, y.dtype.categories[1], labels)
        return labels.astype(float) if labels.dtype.kind in "bi" else labels


class AnyOneClass(Classifier):
    """Predicts another label than the one there is."""

    def fit(self, X, y, sample_weight=None):
        if len(set(y)) == 1:
            y = ["other", *y[1:]]
        return super().fit(X, y, sample_weight)

    def predict(self, X):
        return super().predict(X) if len(self.classes_) > 2 else self.classes_[[0] * 5]


class UnsortedClasses(Classifier):
    def fit(self, X, y, sample_weight=None):
        super().fit(X, y, sample_weight)
        self.classes_ = self.classes_[::-1]
        return self


class SkewedProba(Classifier):
    """Its probabilities are those of the other classes, and sum to 2."""

    def predict_proba(self, X):
        return super().predict_proba(X)[:, ::-1] * 2

    def predict(self, X):
        return self.classes_[(super().decision_function(X) > 0) * 1]

    def predict_log_proba(self, X):
        return super().predict_log_proba(X) + 1


class SkewedScores(Classifier):
    def decision_function(self, X):
        return -super().decision_function(X)


class SkewedMethodScore(Classifier):
    def score(self, X, y):
        return 1.0


class LearnsNothing(Classifier):
    def count(self, texts):
        return np.zeros_like(super().count(texts))


class IgnoresWeights(Classifier):
    def weigh(self, labels, sample_weight):
        super().weigh(labels, sample_weight)
        return np.ones(len(labels))


class WeighsInversely(Classifier):
    def weigh(self, labels, sample_weight):
        return 1 / (1 + super().weigh(labels, sample_weight))


class LearnsBitByBit(Classifier):
    """Forgets the classes of its first call."""

    def partial_fit(self, X, y, classes=None):
        return self.fit(X, [*y[:-1], "other"])


class LeavesOneOut(Classifier):
    """Leaves a text out where there are weights."""

    def weigh(self, labels, sample_weight):
        weights = super().weigh(labels, sample_weight)
        return weights if sample_weight is None else weights * (np.arange(16) > 0)


class WeighsListsTwice(Classifier):
    def weigh(self, labels, sample_weight):
        weights = super().weigh(labels, sample_weight)
        return weights**2 if isinstance(sample_weight, list) else weights


class WritesWeights(Classifier):
    def weigh(self, labels, sample_weight):
        if sample_weight is not None:
            sample_weight /= sample_weight.sum()
        return super().weigh(labels, sample_weight)


class RoundsSeveralLabels(Classifier):
    """Gives several labels as floats, turned around, and reads lists differently."""

    def fit(self, X, y, sample_weight=None):
        if isinstance(y, list) and isinstance(y[0], list):
            y = np.array(y)[::-1]
        return super().fit(X, y, sample_weight)

    def predict(self, X):
        predicted = super().predict(X)
        return 1.0 - predicted if self.several_ else predicted


class Rounds(Regressor):
    """Predicts integers, of one column; takes anything for a number."""

    def numbers(self, y):
        y = np.nan_to_num(pd.to_numeric(np.ravel(y), errors="coerce").astype(float))
        return y[: len(np.asarray(y))]

    def fit(self, X, y):
        super().fit(X, self.numbers(y)[: len(X)])
        return self

    def predict(self, X):
        return super().predict(X).astype(int)


class RanksNumbers(Regressor):
    """Reads integers in another order; learns nothing beyond 1000; says so of R2."""

    def fit(self, X, y):
        if isinstance(y, list):
            y = y[::-1]
        return super().fit(X, np.clip(y, -1000, 1000))

    def score(self, X, y):
        return super().score(X, y) / 2


class MixesColumns(Regressor):
    def predict(self, X):
        predicted = super().predict(X)
        return predicted[:, ::-1] if predicted.ndim == 2 else predicted * 0


MUTANTS |= {
    SpellsLabels: """
        labels_int labels_list_of_int labels_negative_int labels_int_objects
        labels_bool labels_whole_floats labels_pandas_int
    """,
    CutsLabels: """
        labels_list_of_str labels_array_of_str labels_objects
        labels_list_of_numpy_str labels_odd_str labels_pandas_category
        labels_pandas_string
    """,
    NumbersLabels: "three_classes labels_whole_floats labels_bool",
    FloatLabels: "labels_bool labels_int labels_pandas_int labels_pandas_category",
    AnyOneClass: "single_class",
    UnsortedClasses: "classes_are_sorted",
    SkewedProba: """
        predict_is_the_most_probable probabilities log_probabilities
        scores_rise_with_probabilities
    """,
    SkewedScores: "decision_function decision_function_of_three",
    SkewedMethodScore: "score_is_accuracy",
    LearnsNothing: """
        learns_a_decisive_word multilabel_learns_decisive_words vectors_differ
        vectors_feed_a_model
    """,
    IgnoresWeights: """
        class_weight_decides class_weight_balanced weights_matter weight_of_zero
        heavy_weight_decides
    """,
    WeighsInversely: "heavy_weight_decides",
    LeavesOneOut: "weights_of_one",
    LearnsBitByBit: "partial_fit",
    WeighsListsTwice: "weights_in_any_container",
    WritesWeights: "weights_are_left_alone",
    RoundsSeveralLabels: """
        multilabel_predictions multilabel_list_of_lists multilabel_probabilities
        multilabel_decision_function
    """,
    Rounds: """
        regression_predictions regression_bad_y_is_refused multioutput_predictions
    """,
    RanksNumbers: "regression_kinds_of_y score_is_r2 regression_scale_of_y",
    MixesColumns: "multioutput_keeps_columns_apart regression_learns_a_decisive_word",
}


# -- mutants: state ----------------------------------------------------------------


class AnswersUnfitted(Counter):
    """Answers, and passes for fitted, before fit."""

    def __sklearn_is_fitted__(self):
        return True

    def transform(self, X):
        return super().transform(X) if hasattr(self, "words_") else np.ones((len(X), 1))

    def get_feature_names_out(self, input_features=None):
        return np.array(["counter0"] * len(getattr(self, "words_", "x")), dtype=object)


class WrongTags(Counter):
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = False
        return tags


class Nameless(Counter):
    def __repr__(self, N_CHAR_MAX=700):
        return "..."


class ChangesWhenShown(Counter):
    def __repr__(self, N_CHAR_MAX=700):
        self.shown = True
        return super().__repr__(N_CHAR_MAX)


class ReturnsNothing(Counter):
    def fit(self, X, y=None):
        super().fit(X, y)


class WritesParameters(Counter):
    """Changes a parameter, and sets what looks like one."""

    def fit(self, X, y=None):
        super().fit(X, y)
        self.smoothing = float(self.smoothing)
        self.done = True
        return self


class GoesOn(Classifier):
    """Adds to the words of the fit before, and keeps an attribute of it."""

    def words_of(self, texts):
        old = getattr(self, "_old", {})
        if old:
            self._again = True
        words = super().words_of([*texts, *old])
        self._old = words
        return words


class GrowsWithEachFit(Counter):
    def fit(self, X, y=None):
        self._fits = getattr(self, "_fits", 0) + 1
        return super().fit(X, y)

    def transform(self, X):
        return super().transform(X) * self._fits


class DrawsItsModel(Counter):
    """Draws from the generator that everyone shares, whatever its random_state."""

    def fit(self, X, y=None):
        self.factor_ = np.random.normal()
        random.random()
        super().fit(X, y)
        self.factor_ = np.random.normal()
        return self

    def transform(self, X):
        return super().transform(X) * self.factor_


class SeedsNumPy(Counter):
    def fit(self, X, y=None):
        np.random.seed(0)
        return super().fit(X, y)


class SeedsTorch(Counter):
    def transform(self, X):
        torch.manual_seed(0)
        return super().transform(X)


class DropsItsModelFirst(Classifier):
    def fit(self, X, y, sample_weight=None):
        self.publish({})
        return super().fit(X, y, sample_weight)


class ReadsParametersLate(Counter):
    def transform(self, X):
        return super().transform(X) * self.smoothing


class CountsItsCalls(Counter):
    def transform(self, X):
        self._calls = getattr(self, "_calls", 0) + 1
        return super().transform(X)


class ClonesItself(Counter):
    """Clones as it is, fitted."""

    def __sklearn_clone__(self):
        other = type(self)()
        vars(other).update(vars(self))
        return other


class PicklesBadly(Counter):
    """Loses count of its words in any copy, fitted or not."""

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "words_" in state:
            state["words_"] = dict.fromkeys(state["words_"], 0)
        return state | {"copied": True}

    def fit(self, X, y=None):
        super().fit(X, y)
        if hasattr(self, "copied"):
            self.words_ = {}
        return self


class WritesItsArrays(Counter):
    """Writes into an array of its own, which may be mapped to read-only memory."""

    def fit(self, X, y=None):
        super().fit(X, y)
        self.buffer_ = np.zeros(100_000)
        return self

    def transform(self, X):
        self.buffer_[0] = 0
        return super().transform(X)


class SharesItsModel(Counter):
    """Keeps its words in a list that a deep copy shares."""

    def fit(self, X, y=None):
        shared = getattr(self, "_shared", [])
        super().fit(X, y)
        self._shared = shared
        self._shared[:] = [self.words_]
        return self

    def __deepcopy__(self, memo):
        other = type(self)(self.smoothing, self.random_state)
        vars(other).update(vars(self))
        return other

    def transform(self, X):
        self.words_ = self._shared[0]
        return super().transform(X)


MUTANTS |= {
    AnswersUnfitted: "not_fitted is_fitted_by_fit feature_names_out_before_fit",
    WrongTags: "tags_say_so",
    Nameless: "repr",
    ChangesWhenShown: "repr",
    ReturnsNothing: "fit_returns_self",
    WritesParameters: "fit_keeps_parameters fitted_names",
    GoesOn: "refit_forgets",
    GrowsWithEachFit: "fit_twice",
    DrawsItsModel: """
        random_state global_random_state fit_transform pipeline column_transformer
        feature_union fit_twice
    """,
    SeedsNumPy: "global_random_state",
    SeedsTorch: "global_random_state",
    DropsItsModelFirst: "failed_fit_keeps_the_model",
    ReadsParametersLate: "set_params_waits_for_fit",
    CountsItsCalls: "answers_change_nothing",
    ClonesItself: "clone",
    PicklesBadly: "pickle joblib_memory_map deepcopy unfitted_pickle",
    WritesItsArrays: "joblib_memory_map",
    SharesItsModel: "deepcopy",
}


# -- mutants: the caller's process --------------------------------------------------


class WritesX(Counter):
    def read(self, X):
        texts = super().read(X)
        X[0] = X[0].upper()
        return texts


class RepeatsItsAnswer(Counter):
    """Gives the same array again, which the caller may have changed."""

    def fit(self, X, y=None):
        self._last = {}
        return super().fit(X, y)

    def transform(self, X):
        return self._last.setdefault(tuple(X), super().transform(X))


class LooksBackAtX(Counter):
    """Keeps the caller's array, and reads it when asked."""

    def fit(self, X, y=None):
        self._X = X
        return super().fit(X, y)

    def transform(self, X):
        return super().transform(X) + len("".join(self._X))


class SetsUpTheProcess(Counter):
    def fit(self, X, y=None):
        os.environ["COUNTER_FITS"] = str(random.random())
        return super().fit(X, y)


class Talks(Counter):
    def fit(self, X, y=None):
        logging.getLogger("counter").error("fitted")
        return super().fit(X, y)


class Prints(Counter):
    def transform(self, X):
        sys.stdout.write("counting")
        return super().transform(X)


class Warns(Counter):
    def transform(self, X):
        warnings.warn("this is an ordinary text", UserWarning, stacklevel=2)
        return super().transform(X)


class KeepsTheQuestion(Classifier):
    """Puts the question where another thread can overwrite it."""

    def read_again(self, X):
        self._texts = super().read_again(X)
        time.sleep(0.005)
        return self._texts


class SharesItsFit(Classifier):
    """Weighs texts twice where another instance is being fitted."""

    barrier = threading.Barrier(2)

    def weigh(self, labels, sample_weight):
        weights = super().weigh(labels, sample_weight)
        try:
            self.barrier.wait(timeout=1)
        except threading.BrokenBarrierError:
            self.barrier.reset()  # alone
            return weights
        return 2 * weights


MUTANTS |= {
    WritesX: "data_is_left_alone read_only_data",
    RepeatsItsAnswer: "answers_are_the_caller_s",
    LooksBackAtX: "training_data_may_change",
    SetsUpTheProcess: "process_settings",
    Talks: "quiet",
    Prints: "quiet",
    Warns: "no_warnings",
    KeepsTheQuestion: "threads",
    SharesItsFit: "fits_in_threads",
}


# -- mutants: vectors, guests, words -----------------------------------------------


class OneVector(Counter):
    """Gives a one-dimensional array; another from fit_transform."""

    def transform(self, X):
        return super().transform(X).sum(axis=1)

    def fit_transform(self, X, y=None):
        return self.fit(X).transform(X) + 1


class RefusesY(Counter):
    def fit(self, X, y=None):
        if y is not None:
            raise ValueError("I take no y")
        return super().fit(X)


class NamesTooMany(Counter):
    def get_feature_names_out(self, input_features=None):
        return np.append(super().get_feature_names_out(), "more")


class FramesOfItsOwn(Counter):
    """Ignores `set_output`."""

    def set_output(self, *, transform=None):
        return self


class CutsPipelines(Classifier):
    """Depends on what scikit-learn's meta-estimators do with it."""

    def __sklearn_clone__(self):
        other = type(self)(self.smoothing + 1, self.class_weight, self.random_state)
        other.smoothing = self.smoothing
        other._copies = getattr(self, "_copies", 0) + 1
        return other

    def predict(self, X):
        return super().predict(X)[:: -1 if getattr(self, "_copies", 0) > 1 else 1]


class NeedsAList(Classifier):
    """Takes nothing but a list with an even number of labels of two kinds."""

    def fit(self, X, y, sample_weight=None):
        if not isinstance(X, list) or len(X) < 6 or not isinstance(y[0], str):
            raise TypeError("X is no list, or too short")
        return super().fit(X, y, sample_weight)


class KeepsItsParameters(Counter):
    """Cannot be told otherwise."""

    def set_params(self, **params):
        return self


class DependsOnPipelines(Classifier):
    """Behaves differently where a pipeline has cloned it and calls it."""

    def read_again(self, X):
        texts = super().read_again(X)
        names = {frame.f_code.co_qualname for frame in _callers()}
        inside = any(name.startswith("Pipeline.") for name in names)
        return texts[::-1] if inside else texts


def _callers():
    frame = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


class ShortOfTags(Tagger):
    """Loses the last tag, and gives arrays."""

    def predict(self, X):
        return [np.array(tags[:-1]) for tags in super().predict(X)]


class NumbersTags(Tagger):
    def predict(self, X):
        return [[0 for _ in tags] for tags in super().predict(X)]


class TagsListsOnly(Tagger):
    """Reads what is not a list of lists back to front."""

    def predict(self, X):
        tags = super().predict(X)
        plain = type(X) is list and all(type(row) is list for row in X)
        return tags if plain else tags[::-1]


class TagsAnything(Tagger):
    def read(self, X):
        return [[str(word) for word in (row or "x")] for row in X]

    def fit(self, X, y):
        return super().fit(*_as_long_as(self.read(X), y))


def _as_long_as(rows, y):
    tags = [[str(tag) for tag in tags] for tags in y]
    return rows, [(part * 9)[: len(row)] for row, part in zip(rows, tags, strict=True)]


class SkipsBlankWords(Tagger):
    def predict(self, X):
        tags = super().predict(X)
        return [
            [tag for word, tag in zip(words, row, strict=True) if word.strip()]
            for words, row in zip(self.read(X), tags, strict=True)
        ]


class SkewedTagProba(Tagger):
    def predict_proba(self, X):
        return [2 * part[:, ::-1] for part in super().predict_proba(X)]

    def predict(self, X):
        return [["O" for _ in words] for words in self.read(X)]


MUTANTS |= {
    OneVector: "vectors fit_transform",
    RefusesY: "y_is_ignored_or_used",
    NamesTooMany: "feature_names_out",
    FramesOfItsOwn: "output_pandas output_polars",
    NeedsAList: """
        cross_validate_a_series learning_curve one_vs_rest read_only_data
    """,
    KeepsItsParameters: "parameters_by_path",
    DependsOnPipelines: "pipeline",
    CutsPipelines: "cross_val_predict grid_search",
    ShortOfTags: "words_one_tag_each",
    NumbersTags: "words_tags_come_back",
    TagsListsOnly: "words_tuples words_arrays words_array_of_lists words_series",
    TagsAnything: """
        words_sentence_is_refused words_one_row_is_refused words_missing_is_refused
        words_other_number_of_tags_is_refused words_missing_tag_is_refused
    """,
    SkipsBlankWords: "words_odd_words",
    SkewedTagProba: "words_probabilities words_learns_decisive_words",
}


CHECKS = {check.name.removeprefix("check_text_"): check for check in text_checks()}
CASES = [(mutant, name) for mutant, names in MUTANTS.items() for name in names.split()]
# These refuse, with an error of their own, what they ought to take.
REFUSE = {NeedsAList, RefusesY, WritesItsArrays, WritesWeights, WritesX}


@pytest.mark.parametrize(
    ("mutant", "name"),
    CASES,
    ids=[f"{mutant.__name__}-{name}" for mutant, name in CASES],
)
def test_mutant_is_caught(mutant, name):
    """A broken rule fails the check that is about it, and the check is asked."""
    check = CHECKS[name]
    assert check in text_checks(mutant()), f"{check} is not for {mutant.__name__}"
    kinds = (AssertionError, TypeError, ValueError)
    with pytest.raises(kinds if mutant in REFUSE else AssertionError):
        check(mutant())


def test_every_check_has_a_mutant():
    """There is no check that has never been seen to fail."""
    assert {name for _, name in CASES} == set(CHECKS)
