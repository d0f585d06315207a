"""What an estimator shows of itself in a notebook."""

import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from sklearn_bert import BertClassifier, BertEmbedder, BertPretrainer
from sklearn_bert.estimators._summary import best_score, summary


@pytest.fixture
def clf(settings, reviews):
    """A classifier of two epochs, validated."""
    clf = BertClassifier(**settings, max_epochs=2, early_stopping=True)
    return clf.fit(pd.DataFrame({"text": reviews[0]}), reviews[1])


def test_what_matters_after_a_fit_is_one_line(clf, checkpoint):
    """Classes, texts, epochs, best score, device and checkpoint are said, in order."""
    best = max(epoch["valid_score"] for epoch in clf.history_)
    first, *rest = summary(clf).split(f"valid_score {best:.3g} in epoch ")
    assert first == "2 classes, 40 texts, 2 epochs, "
    assert rest[0][1:] == f", cpu, {checkpoint}"


@pytest.mark.parametrize(
    ("history", "said"),
    [
        (
            [{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.25}],
            "loss 0.25",
        ),
        (
            [
                {"epoch": 1, "train_loss": 9.0, "valid_score": 0.75},
                {"epoch": 2, "train_loss": 0.1, "valid_score": 0.5},
            ],
            "valid_score 0.75 in epoch 1",
        ),
        ([{"epoch": 1, "train_loss": 0.5, "valid_score": float("nan")}], "loss 0.5"),
        ([{"epoch": 1}], ""),
    ],
)
def test_the_best_score_is_that_of_validation(history, said):
    """Without validation the last loss of the training stands for it."""
    assert best_score(history).removeprefix("train_") == said


def test_an_embedder_has_neither_epochs_nor_classes(embedder_settings, checkpoint):
    """What there is not is left out."""
    embedder = BertEmbedder(**embedder_settings).fit(["a", "good", "film"])
    assert summary(embedder) == f"3 texts, cpu, {checkpoint}"


def test_the_html_shows_it_after_a_fit(clf, settings):
    """The diagram has the summary below the name, alone and in a pipeline."""
    for shown in (clf, make_pipeline(clf)):
        assert f'<div class="caption">{summary(clf)}</div>' in shown._repr_html_()
    assert 'caption">' not in BertClassifier(**settings)._repr_html_()
    assert summary(clf) in clf._repr_mimebundle_()["text/html"]


def test_the_html_escapes_the_checkpoint(clf):
    """A name is text, whatever is in it."""
    clf.checkpoint = "<b>bert</b>"
    assert "&lt;b&gt;bert" in clf._repr_html_()
    assert "<b>bert" not in clf._repr_html_()


def test_the_html_draws_an_estimator_inside(settings):
    """An estimator that is a parameter has a box of its own, as in any diagram."""
    outer = BertClassifier(**settings, pretraining=BertPretrainer(**settings))
    html = outer._repr_html_()
    assert "pretraining: BertPretrainer" in html
    assert html.count("BertClassifier</div>") == 1
