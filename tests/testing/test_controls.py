"""What fails for pipelines and for scikit-learn's own vectorizers, and why."""

import pytest
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from sklearn_bert import BertEmbedder
from sklearn_bert.testing import check_text_estimator

VECTORIZER = {
    "what is no text ends in an AttributeError, for want of a method `lower`": """
        check_estimator_sparse_array check_estimator_sparse_matrix
        check_estimator_sparse_tag check_text_array_of_numbers_is_refused
        check_text_lists_of_words_are_refused check_text_missing_row_is_named
        check_text_none_is_refused check_text_number_among_texts_is_refused
        check_text_numbers_are_refused check_text_pandas_na_is_refused
        check_text_three_dimensions_are_refused
    """,
    "X is iterated over: a frame gives its column names, an array its rows": """
        check_text_arrow_array check_text_arrow_chunks check_text_arrow_table
        check_text_one_column_array check_text_pandas_frame check_text_polars_frame
    """,
    "X may be whatever can be iterated over": """
        check_text_dict_is_refused check_text_generator_is_refused
        check_text_other_number_of_columns_is_refused check_text_set_is_refused
    """,
    "bytes are decoded, as the parameter `encoding` says": """
        check_text_bytes_are_refused
    """,
    "parameters are read in transform": "check_text_set_params_waits_for_fit",
}
FORGETS_FIRST = {
    "a fit drops the model of the one before first, or fits one step of two": """
        check_text_failed_fit_keeps_the_model
    """
}
PIPELINE = {
    "a Pipeline fits its steps in place, which scikit-learn expects to fail": """
        check_dont_overwrite_parameters check_estimators_overwrite_params
        check_text_fit_keeps_parameters
    """,
    "a Pipeline does not have the input tags of its steps": "check_text_tags_say_so",
}
LINEAR_CLASSIFIER = {
    "nullable integers become floats": "check_text_labels_pandas_int",
    "NaN in a list of str becomes 'nan'": "check_text_missing_label_is_refused",
}
FRAMES_IN_PIPELINE = {
    "a frame of one column is one text to a vectorizer, for sixteen labels": """
        check_text_feature_names_in check_text_other_column_name_is_refused
    """,
}


@pytest.fixture
def estimators(embedder_settings, shallow_checkpoint):
    embedder = BertEmbedder(**embedder_settings | {"checkpoint": shallow_checkpoint})
    hashing = HashingVectorizer(n_features=1024)
    return {
        "tfidf": TfidfVectorizer(),
        "tfidf pipeline": make_pipeline(TfidfVectorizer(), LogisticRegression()),
        "hashing pipeline": make_pipeline(hashing, SGDClassifier(random_state=0)),
        "embedder pipeline": make_pipeline(embedder, GaussianNB()),
    }


@pytest.mark.parametrize(
    ("estimator", "reasons"),
    [
        (
            "tfidf",
            VECTORIZER
            | FORGETS_FIRST
            | {"it has no transformer tags": "check_text_tags_say_so"},
        ),
        (
            "tfidf pipeline",
            VECTORIZER
            | FORGETS_FIRST
            | PIPELINE
            | LINEAR_CLASSIFIER
            | FRAMES_IN_PIPELINE,
        ),
        pytest.param(
            "hashing pipeline",
            VECTORIZER
            | FORGETS_FIRST
            | PIPELINE
            | LINEAR_CLASSIFIER
            | FRAMES_IN_PIPELINE
            | {
                "no rows end in a StopIteration": """
                    check_estimators_empty_data_messages check_text_empty_X_is_refused
                """
            },
            marks=pytest.mark.slow,
        ),
        (
            "embedder pipeline",
            PIPELINE
            | LINEAR_CLASSIFIER
            | {
                "vectors of a random checkpoint tell too little": (
                    "check_classifiers_train"
                )
            },
        ),
    ],
)
def test_known_failures(estimators, estimator, reasons):
    """Exactly those checks fail for which there is a reason."""
    results = check_text_estimator(estimators[estimator], on_skip=None, on_fail=None)
    failed = {r["check_name"] for r in results if r["status"] == "failed"}
    assert failed == {name for names in reasons.values() for name in names.split()}
