import warnings
from inspect import signature
from unittest import SkipTest

import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.exceptions import EstimatorCheckFailedWarning, SkipTestWarning
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from sklearn_bert import BertClassifier
from sklearn_bert.testing import check_text_estimator, parametrize_with_text_checks
from sklearn_bert.testing._official import MEANINGLESS, WITHOUT_DATA, official_checks
from sklearn_bert.testing._registry import input_kind, text_checks
from sklearn_bert.testing._run import all_checks


class Nothing(ClassifierMixin, BaseEstimator):
    """A classifier that cannot do anything."""

    def fit(self, X, y):
        raise RuntimeError("nothing can be fitted")


class Words(Nothing):
    def __sklearn_text_input__(self):
        return "words"


class Sounds(Nothing):
    def __sklearn_text_input__(self):
        return "sounds"


class Documents(Nothing):
    def __sklearn_text_input__(self):
        return "documents"


class Stream(TransformerMixin, BaseEstimator):
    """What reads iterators, and gives lists."""

    def __sklearn_text_input__(self):
        return "stream"

    def __sklearn_text_output__(self):
        return "lists"

    def transform(self, X):
        return [[len(text)] for text in X]


@pytest.fixture
def vectorizer():
    return HashingVectorizer(n_features=16)


def test_result_has_the_form_of_scikit_learn_s(vectorizer):
    """The result holds what that of `check_estimator` holds, under the same keys."""
    ours = check_text_estimator(vectorizer, on_skip=None, on_fail=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        (theirs,) = check_estimator(vectorizer)
    assert {tuple(result) for result in ours} == {tuple(theirs)}
    assert {result["status"] for result in ours} == {"passed", "failed", "skipped"}
    for result in ours:
        assert result["estimator"] is vectorizer
        assert result["check_name"].startswith("check_")
        assert (result["exception"] is None) == (result["status"] == "passed")
        assert not result["expected_to_fail"]


@pytest.mark.parametrize(
    ("ours", "theirs", "left_out"),
    [
        (check_text_estimator, check_estimator, {"legacy"}),
        (parametrize_with_text_checks, parametrize_with_checks, {"legacy"}),
    ],
)
def test_signature_is_that_of_scikit_learn(ours, theirs, left_out):
    """Parameters are those of scikit-learn's functions, with their defaults."""
    ours, theirs = signature(ours).parameters, signature(theirs).parameters
    assert set(ours) == set(theirs) - left_out
    for name, parameter in ours.items():
        assert parameter.kind == theirs[name].kind
        if name != "estimator":  # which is not optional here
            assert parameter.default == theirs[name].default


def test_a_classifier_is_asked_much():
    """At least ninety checks of different names are for a `BertClassifier`."""
    names = {check.name for check in all_checks(BertClassifier())}
    assert len(names) >= 90
    assert len({str(check) for check in all_checks(BertClassifier())}) == len(
        all_checks(BertClassifier())
    )


def test_every_check_says_what_it_checks():
    """Each of our own has a summary of one line, a sentence."""
    for check in text_checks():
        assert check.name.startswith("check_text_")
        assert check.summary.endswith("."), check
        assert len(check.summary) > 15, check


def test_failure_is_raised(vectorizer):
    """By default, the first failed check raises its own error."""
    with pytest.raises(AssertionError, match="empty data"):
        check_text_estimator(vectorizer, on_skip=None)


@pytest.fixture(scope="module")
def told():
    """What a run says that warns of all: its result, its warnings, its callbacks."""
    heard = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = check_text_estimator(
            HashingVectorizer(n_features=16),
            on_fail="warn",
            callback=lambda **told: heard.append(told),
        )
    return results, caught, heard


def test_failures_warn(told):
    """With `on_fail="warn"`, each failed check gives a warning, with its error."""
    results, caught, _ = told
    of_failures = [w for w in caught if w.category is EstimatorCheckFailedWarning]
    failed = [result for result in results if result["status"] == "failed"]
    assert len(of_failures) == len(failed) > 0
    for warning, result in zip(of_failures, failed, strict=True):
        assert warning.message.exception is result["exception"]


def test_skips_warn(told):
    """A skipped check gives a warning with the reason."""
    results, caught, _ = told
    of_skips = [str(w.message) for w in caught if w.category is SkipTestWarning]
    skipped = [result for result in results if result["status"] == "skipped"]
    assert len(of_skips) == len(skipped) > 0
    for message, result in zip(of_skips, skipped, strict=True):
        assert result["check_name"] in message
        assert str(result["exception"]) in message


def test_callback_is_told_of_every_check(told):
    """The callback is told of every check what the result says."""
    results, _, heard = told
    assert heard == results


def test_expected_failures(vectorizer):
    """An expected failure is noted with its reason, and raises nothing."""
    reasons = {
        "check_text_none_is_refused": "it is an AttributeError",
        "check_text_tuple": "this passes",
    }
    results = check_text_estimator(
        vectorizer, expected_failed_checks=reasons, on_skip=None, on_fail=None
    )
    by_name = {result["check_name"]: result for result in results}
    failing, passing = (by_name[name] for name in reasons)
    assert failing["status"] == "xfail"
    assert isinstance(failing["exception"], AssertionError)
    assert passing["status"] == "passed"
    for result, reason in zip((failing, passing), reasons.values(), strict=True):
        assert result["expected_to_fail"]
        assert result["expected_to_fail_reason"] == reason


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"on_fail": "shout"}, "on_fail is 'shout'; expected 'raise', 'warn' or None"),
        ({"on_skip": "raise"}, "on_skip is 'raise'; expected 'warn' or None"),
        ({"callback": print}, "callback is given and on_fail is 'raise'"),
    ],
)
def test_bad_arguments(vectorizer, arguments, match):
    """What cannot be meant is refused before any check."""
    with pytest.raises(ValueError, match=match):
        check_text_estimator(vectorizer, **arguments)


def test_classes_are_refused():
    """A class in the place of an instance is refused."""
    match = r"class TfidfVectorizer; expected .*TfidfVectorizer\(\)"
    with pytest.raises(TypeError, match=match):
        check_text_estimator(TfidfVectorizer)
    with pytest.raises(TypeError, match=match):
        parametrize_with_text_checks([TfidfVectorizer])


def test_every_check_needs_a_working_fit():
    """An estimator that cannot be fitted passes no check that looks at data."""
    results = check_text_estimator(Nothing(), on_skip=None, on_fail=None)
    passed = {r["check_name"] for r in results if r["status"] == "passed"}
    of_our_own = {name for name in passed if name.startswith("check_text_")}
    assert passed - of_our_own - WITHOUT_DATA <= {
        "check_classifiers_one_label_sample_weights",  # it has no such argument
        "check_estimators_unfitted",
        "check_non_transformer_estimators_n_iter",
        "check_decision_proba_consistency",
        "check_estimators_partial_fit_n_features",
    }
    assert of_our_own == {
        "check_text_no_y_is_refused",
        "check_text_not_fitted",
        "check_text_parameters_by_path",
    }


def test_words_have_their_own_list():
    """An estimator of words is asked no check of numbers, and no check of texts."""
    names = {check.name for check in all_checks(Words())}
    assert all(name.startswith("check_text_") for name in names)
    assert "check_text_words_one_tag_each" in names
    assert "check_text_tuple" not in names
    of_texts = {check.name for check in all_checks(Nothing())}
    assert not any(name.startswith("check_text_words_") for name in of_texts)


def test_lists_and_iterators_are_refused_but_where_they_are_read():
    """Who reads lists or iterators is not asked to refuse them."""
    lists, iterators = (
        "check_text_lists_of_words_are_refused",
        "check_text_generator_is_refused",
    )
    asked = {
        type(estimator): {check.name for check in text_checks(estimator)}
        for estimator in (Nothing(), Documents(), Stream(), Words())
    }
    assert {lists, iterators} <= asked[Nothing]
    assert lists not in asked[Documents]
    assert iterators in asked[Documents]
    assert lists in asked[Stream]
    assert iterators not in asked[Stream]
    assert not {lists, iterators} & asked[Words]


def test_lists_are_asked_nothing_that_only_a_matrix_has():
    """Of an estimator that gives lists, no shape, names or neighbours are asked."""
    names = {check.name for check in text_checks(Stream())}
    assert "check_text_vectors" not in names
    assert "check_text_vectors" in {c.name for c in text_checks(HashingVectorizer())}
    check = next(
        check
        for check in official_checks(Stream())
        if check.name == "check_transformer_general"
    )
    with pytest.raises(SkipTest, match="no matrix"):
        check(Stream())


def test_unknown_kind_of_input():
    """A kind of rows that is not known is refused by name."""
    assert input_kind(Words()) == "words"
    with pytest.raises(ValueError, match=r"Sounds.__sklearn_text_input__\(\) gives"):
        check_text_estimator(Sounds())


def test_few_official_checks_are_left_out():
    """At most eight of scikit-learn's checks are skipped, and there are such checks."""
    assert len(MEANINGLESS) <= 8
    known = {
        check.name
        for estimator in (BertClassifier(), TfidfVectorizer())
        for check in official_checks(estimator)
    }
    assert set(MEANINGLESS) <= known
    assert known >= WITHOUT_DATA


def test_one_test_for_each_check(vectorizer):
    """Each check is a test of its own, by a readable name; expected ones are marked."""
    mark = parametrize_with_text_checks(
        [vectorizer, TfidfVectorizer()],
        expected_failed_checks=lambda estimator: {
            "check_text_dict_is_refused": "as is"
        },
        xfail_strict=True,
    )
    names, cases = mark.args
    assert names == ("estimator", "check")
    by_id = {case.id: case for case in cases}
    assert len(by_id) == len(cases)
    assert len(cases) == sum(
        len(all_checks(estimator)) for estimator in (vectorizer, TfidfVectorizer())
    )
    case = by_id["HashingVectorizer(n_features=16)-check_text_dict_is_refused"]
    estimator, check = case.values
    assert estimator is vectorizer
    with pytest.raises(AssertionError, match="fit of a dict was accepted"):
        check(estimator)
    (xfail,) = case.marks
    assert xfail.kwargs == {"reason": "as is", "strict": True}
    case = by_id["TfidfVectorizer()-check_estimators_pickle(readonly_memmap=True)"]
    assert not case.marks
