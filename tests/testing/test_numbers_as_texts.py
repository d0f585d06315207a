import pickle

import joblib
import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from sklearn_bert import BertClassifier
from sklearn_bert.testing._numbers_as_texts import NumbersAsTexts, spell

X = np.array([[0.0, 1.0], [3.0, -1.0], [0.0, 1.0], [100.0, 0.1]])
y = [0, 1, 0, 1]


@pytest.fixture
def fitted():
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression())
    return NumbersAsTexts(pipeline).fit(X, y)


def test_spell_writes_a_word_per_number():
    """A row is a word per number: the letter of its column, and one for its size."""
    assert spell(X) == ["am bp", "ar bj", "am bp", "ay bm"]


def test_spell_is_monotonic_and_bounded():
    """Larger numbers have later letters, up to the last; zero is in the middle."""
    numbers = np.array([-np.finfo(float).max, -1e9, -5, -1, 0, 1, 5, 1e9])
    letters = [text[1] for text in spell(numbers.reshape(-1, 1))]
    assert letters == sorted(letters)
    assert (letters[0], letters[4], letters[-1]) == ("a", "m", "y")


def test_spell_many_columns():
    """Columns beyond the alphabet begin it anew."""
    (text,) = spell(np.zeros((1, 28)))
    assert text.split()[0] == text.split()[26] == "am"


def test_a_row_is_spelled_alone():
    """The text of a row does not depend on the rows beside it."""
    assert spell(X[:1]) == spell(X)[:1]


def test_answers_are_those_to_the_texts(fitted):
    """The wrapped estimator is given the texts, and its answer is handed out."""
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression())
    expected = pipeline.fit(spell(X), y).predict_proba(spell(X))
    np.testing.assert_array_equal(fitted.predict_proba(X), expected)
    assert fitted.score(X, y) == 1.0


def test_fit_returns_the_adapter_for_self_only():
    """Where fit returns something else than self, the adapter does so too."""

    class ReturnsNone(TfidfVectorizer):
        def fit(self, raw_documents, y=None):
            super().fit(raw_documents)

    adapter = NumbersAsTexts(TfidfVectorizer())
    assert adapter.fit(X) is adapter
    assert NumbersAsTexts(ReturnsNone()).fit(X) is None


def test_parameters_are_the_wrapped_estimator_s(checkpoint):
    """Parameters are read and set through the adapter, and cloned with it."""
    adapter = NumbersAsTexts(BertClassifier(checkpoint, max_epochs=2))
    assert adapter.get_params()["max_epochs"] == 2
    adapter.set_params(max_epochs=5)
    adapter.batch_size = 7
    copied = clone(adapter)
    assert copied.estimator is not adapter.estimator
    assert (copied.estimator.max_epochs, copied.batch_size) == (5, 7)
    with pytest.raises(AttributeError, match="max_iter"):
        _ = adapter.max_iter


def test_methods_are_the_wrapped_estimator_s(fitted, checkpoint):
    """The adapter has the methods, signatures and tags of what it wraps."""
    bert = NumbersAsTexts(BertClassifier(checkpoint))
    assert has_fit_parameter(bert, "sample_weight")
    assert not has_fit_parameter(fitted, "sample_weight")
    assert hasattr(bert, "transform")
    assert not hasattr(fitted, "transform")
    assert is_classifier(bert)
    tags = get_tags(bert).input_tags
    assert (tags.two_d_array, tags.string) == (True, False)
    assert not get_tags(BertClassifier(checkpoint)).input_tags.two_d_array


def test_state_is_the_wrapped_estimator_s(fitted):
    """`vars` of the adapter shows what the wrapped estimator holds."""
    assert vars(fitted) == vars(fitted.estimator)
    fitted.estimator.mark_ = 1
    assert vars(fitted)["mark_"] == 1
    del fitted.mark_
    assert not hasattr(fitted.estimator, "mark_")


def test_is_fitted_with_the_wrapped_estimator(fitted):
    """The adapter is fitted when the wrapped estimator is."""
    check_is_fitted(fitted)
    with pytest.raises(NotFittedError):
        check_is_fitted(clone(fitted))


def test_adapter_is_pickled(fitted, tmp_path):
    """Pickled or dumped by joblib, the adapter keeps model and number of columns."""
    joblib.dump(fitted, tmp_path / "adapter.joblib")
    mapped = joblib.load(tmp_path / "adapter.joblib", mmap_mode="r")
    for again in (pickle.loads(pickle.dumps(fitted)), mapped):
        np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
        assert again.n_features_in_ == 2


def test_numbers_are_validated(fitted):
    """NaN, another number of columns and complex numbers do not become texts."""
    with pytest.raises(ValueError, match="contains NaN"):
        fitted.predict([[np.nan, 1.0]])
    with pytest.raises(ValueError, match="X has 1 features, but NumbersAsTexts is"):
        fitted.predict(X[:, :1])
    with pytest.raises(ValueError, match="Complex data not supported"):
        fitted.fit(X * 1j, y)


def test_sparse_and_empty_go_through(checkpoint):
    """A sparse matrix, and one without rows, are left to the wrapped estimator."""
    adapter = NumbersAsTexts(BertClassifier(checkpoint))
    with pytest.raises(TypeError, match="sparse matrix of shape"):
        adapter.fit(csr_array(X), y)
    with pytest.raises(ValueError, match="X is empty"):
        adapter.fit(X[:0], [])
    with pytest.raises(ValueError, match=r"0 feature\(s\)"):
        adapter.fit(X[:, :0], y)
