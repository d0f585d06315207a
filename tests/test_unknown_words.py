"""Every estimator counts words that its checkpoint does not know, and says so once."""

import warnings

import numpy as np
import pytest

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    UnknownWordsWarning,
    load,
    save,
)

STRANGE = ["it is 😀", "it is 😡"] * 4
KNOWN = ["it is good", "it is bad"] * 4
NAMES = [BertClassifier, BertRegressor, BertEmbedder, BertTokenClassifier]
NAMES += [BertPretrainer, BertGenerator]


def rows(cls, texts):
    return [text.split() for text in texts] if cls is BertTokenClassifier else texts


def fit(cls, texts, settings):
    """Fit on the texts, with whatever targets the class asks for."""
    if cls is BertEmbedder:
        shared = ("checkpoint", "device", "precision")
        return cls(**{name: settings[name] for name in shared}).fit(texts)
    targets = {
        BertClassifier: ["a", "b"] * 4,
        BertRegressor: [0.0, 1.0] * 4,
        BertTokenClassifier: [["O", "O", "X"], ["O", "O", "Y"]] * 4,
    }
    return cls(**settings, max_epochs=1).fit(rows(cls, texts), targets.get(cls))


def answer(model, texts):
    cls = type(model)
    if cls is BertEmbedder:
        return model.transform(texts)
    if cls in (BertPretrainer, BertGenerator):
        return model.score_samples(texts)
    return model.predict(rows(cls, texts))


def told(call, *args):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = call(*args)
    return found, [w for w in caught if w.category is UnknownWordsWarning]


@pytest.mark.parametrize("cls", NAMES)
def test_unknown_words_are_said_once_per_call(cls, settings):
    """fit and an answer warn once of words that are unknown, and of others never."""
    settings = settings | ({} if cls is not BertGenerator else {"pack": False})
    model, of_fit = told(fit, cls, STRANGE, settings)
    _, of_answer = told(answer, model, STRANGE)
    assert [len(of_fit), len(of_answer)] == [1, 1]
    assert of_fit[0].filename == of_answer[0].filename == __file__
    assert told(answer, model, KNOWN)[1] == []
    assert model.unknown_report_["n_unknown"] > 0
    assert model.unknown_report_["n_unknown_texts"] == 0
    model, of_fit = told(fit, cls, KNOWN, settings)
    assert of_fit == []
    assert model.unknown_report_["n_unknown"] == 0


def test_the_report_of_unknown_words(settings, tmp_path):
    """The figures are those of the texts of fit, and are saved with the model."""
    texts = ["good film", "😀", "", "bad 😡"]
    clf, _ = told(
        BertClassifier(**settings, max_epochs=1).fit, texts, ["a", "b", "a", "b"]
    )
    assert clf.unknown_report_ == {
        "n_texts": 4,
        "n_unknown_texts": 1,
        "n_tokens": 5,
        "n_unknown": 2,
    }
    save(clf, tmp_path / "model")
    assert load(tmp_path / "model").unknown_report_ == clf.unknown_report_


def test_texts_that_differ_in_unknown_words_are_alike_and_it_is_said(embedder_settings):
    """Two emoji that the checkpoint does not know give equal vectors, and a warning."""
    embedder = BertEmbedder(**embedder_settings).fit(KNOWN)
    with pytest.warns(UnknownWordsWarning, match=r"2 of 6 tokens \(33.3%\)"):
        first, second = embedder.transform(["it is 😀", "it is 😡"])
    np.testing.assert_array_equal(first, second)
