"""Our estimators keep all the rules."""

import pytest

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    WordPieceVocabulary,
)
from sklearn_bert.testing._run import all_checks

IN_BATCHES = (
    "a text that is repeated comes in batches of its own, so that the updates are "
    "others than those for a text that weighs more"
)
# Where something has to be learnt, from random weights.
IN_SMALL_BATCHES = {"max_epochs": 3, "batch_size": 8}
LEARNING = {
    "check_classifiers_train": {"max_epochs": 3},
    "check_regressors_train": {"max_epochs": 10},
    "check_text_learns_a_decisive_word": IN_SMALL_BATCHES,
    "check_text_multilabel_learns_decisive_words": IN_SMALL_BATCHES,
    "check_text_multioutput_keeps_columns_apart": IN_SMALL_BATCHES,
    "check_text_regression_learns_a_decisive_word": IN_SMALL_BATCHES,
    "check_text_regression_scale_of_y": IN_SMALL_BATCHES,
}
EXPECTED = {"check_sample_weight_equivalence_on_dense_data": IN_BATCHES}


ESTIMATORS = (
    BertClassifier,
    BertRegressor,
    BertTokenClassifier,
    BertEmbedder,
    BertPretrainer,
    BertGenerator,
    WordPieceVocabulary,
)


def cases():
    for estimator in ESTIMATORS:
        for check in all_checks(estimator()):
            reason = EXPECTED.get(check.name)
            marks = [] if reason is None else [pytest.mark.xfail(reason=reason)]
            # As texts these numbers are those of the same check without options.
            if "rs_train(readonly_memmap" in str(check):
                marks.append(pytest.mark.slow)
            case_id = f"{estimator.__name__}-{check}"
            yield pytest.param(estimator, check, marks=marks, id=case_id)


@pytest.mark.parametrize(("estimator", "check"), list(cases()))
def test_our_estimators(
    estimator, check, settings, embedder_settings, shallow_checkpoint
):
    """No check that is for an estimator of ours fails."""
    settings = settings | {"checkpoint": shallow_checkpoint, "batch_size": 16}
    if estimator is BertEmbedder:
        check(BertEmbedder(**embedder_settings))
    elif estimator is WordPieceVocabulary:
        check(WordPieceVocabulary(vocab_size=200, min_frequency=1))
    elif estimator in (BertPretrainer, BertGenerator):
        check(estimator(**settings, max_epochs=1))
    else:
        learning = LEARNING.get(check.name, {"max_epochs": 1})
        check(estimator(**settings | learning))
