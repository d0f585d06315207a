"""A batch passes through a model in parts on a CPU; the update is that of the whole."""

import numpy as np
import pytest

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
)
from sklearn_bert._process._techniques import without
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.training import _update

ROADS = {
    "classes": (BertClassifier, {}, "decision_function"),
    "smooth": (BertClassifier, {"label_smoothing": 0.1}, "decision_function"),
    "balanced": (BertClassifier, {"class_weight": "balanced"}, "decision_function"),
    "windows": (
        BertClassifier,
        {"long_text": "window", "max_length": 6},
        "decision_function",
    ),
    "attention": (BertClassifier, {"pooling": "attention"}, "decision_function"),
    "top": (BertClassifier, {"trainable": 1}, "decision_function"),
    "head": (BertClassifier, {"trainable": "head"}, "decision_function"),
    "numbers": (BertRegressor, {}, "predict"),
    "words": (BertTokenClassifier, {}, "predict_proba"),
    "masked": (BertPretrainer, {"pack": False}, "transform"),
    "next_sentence_labels": (BertPretrainer, {"next_sentence": True}, "transform"),
    "written": (BertGenerator, {"pack": False}, "score_samples"),
}


@pytest.fixture
def fit(settings, reviews):
    """Fit and answer; nothing is dropped, for parts draw in another order."""
    texts, labels = reviews
    texts = [f"{text} but" * (place % 3 + 1) for place, text in enumerate(texts)]

    def fit(road, n=40):
        cls, params, method = ROADS[road]
        X, y = texts[:n], labels[:n]
        if cls is BertRegressor:
            y = np.arange(n)
        if cls is BertTokenClassifier:
            X = [text.split() for text in X]
            y = [["B-X", *["O"] * (len(words) - 1)] for words in X]
        if road == "next_sentence_labels":
            X = [[text, text] for text in X]
        params = {**settings, "dropout": 0.0, "max_epochs": 1, **params}
        params |= {"batch_size": 16, "learning_rate": 1e-3}
        model = cls(**params).fit(X, y)
        answer = getattr(model, method)(X if road != "next_sentence_labels" else texts)
        if isinstance(answer, list):
            answer = np.concatenate(answer)
        return model, answer

    return fit


class Passes(list):
    """Numbers of texts; and the tokens of the same passes, padding included."""

    def __init__(self):
        self.tokens = []

    def clear(self):
        super().clear()
        self.tokens.clear()


@pytest.fixture
def passes(monkeypatch, texts_in_pass):
    """How many texts each pass of a training gets, and how many tokens."""
    seen, forward = Passes(), TextModel.forward

    def note(self, input_ids=None, *args, **inputs):
        if self.training and input_ids is not None:
            seen.append(len(texts_in_pass(input_ids, *args, **inputs)))
            seen.tokens.append(input_ids.numel())
        return forward(self, input_ids, *args, **inputs)

    monkeypatch.setattr(TextModel, "forward", note)
    return seen


@pytest.mark.parametrize("road", ROADS)
def test_parts_make_the_update_of_the_whole_batch(road, fit, monkeypatch):
    """Losses, weights and answers are those of undivided batches."""
    monkeypatch.setattr(_update, "TRAINING_TOKENS", np.inf)
    whole, expected = fit(road, n=24)
    monkeypatch.setattr(_update, "TRAINING_TOKENS", 24)
    parted, found = fit(road, n=24)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    ours, theirs = [[row["train_loss"] for row in m.history_] for m in (parted, whole)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_long_texts_pass_in_parts_and_short_ones_at_once(fit, passes, monkeypatch):
    """What counts are tokens; the size of a batch stays what it was."""
    model, _ = fit("classes")
    assert sorted(passes) == [8] + [16] * 2
    passes.clear()
    monkeypatch.setattr(_update, "TRAINING_TOKENS", 40)
    parted, _ = fit("classes")
    assert sum(passes) == 40
    assert max(passes) < 8
    assert parted.batch_size_used_ == model.batch_size_used_ == 16


def test_compared_texts_pass_together(settings, reviews, passes, monkeypatch):
    """Of an objective that compares the texts of a batch, none is left out."""
    monkeypatch.setattr(_update, "TRAINING_TOKENS", 8)
    params = {**settings, "max_epochs": 1, "batch_size": 10}
    BertEmbedder(objective="simcse", **params).fit(reviews[0])
    assert passes == [20] * 4


LONG_AND_SHORT = {
    "few_labels": lambda params: BertClassifier(
        **params | {"max_epochs": "auto", "batch_size": 8}
    ),
    "views": lambda params: BertEmbedder(
        objective="supervised", **params | {"batch_size": 8}
    ),
}


@pytest.fixture(params=LONG_AND_SHORT)
def fit_long_and_short(request, settings, reviews, passes):
    """Fit to texts of which each fourth is long; return answers and what passed."""
    texts, labels = reviews[0][:16], reviews[1][:16]
    texts = [text + " but" * (8 * (row % 4 == 0)) for row, text in enumerate(texts)]
    params = {**settings, "dropout": 0.0, "max_epochs": 1, "random_state": 0}

    def fit():
        passes.clear()
        model = LONG_AND_SHORT[request.param](params).fit(texts, labels)
        return model.transform(texts), sum(passes), sum(passes.tokens)

    fit.passes = passes
    return fit


def test_compared_texts_pass_without_padding(fit_long_and_short, passes):
    """They pass in one line, and the update is that of padded texts."""
    vectors, n_texts, n_tokens = fit_long_and_short()
    n_passes = len(passes)
    with without("packing"):
        padded, n_padded, n_padded_tokens = fit_long_and_short()
    assert n_texts == n_padded
    assert n_tokens < n_padded_tokens
    assert n_passes < len(passes)
    np.testing.assert_allclose(vectors, padded, rtol=1e-3, atol=1e-4)


def test_padding_that_is_not_there_cuts_no_batch(fit_long_and_short, monkeypatch):
    """Packed texts are counted by their own tokens: a batch of 8 passes at once."""
    passes_of_8 = fit_long_and_short.passes
    fit_long_and_short()
    n_tokens = max(passes_of_8.tokens)
    assert set(passes_of_8) <= {8, 16}
    whole = list(passes_of_8)
    monkeypatch.setattr(_update, "TRAINING_TOKENS", n_tokens)
    fit_long_and_short()
    assert passes_of_8 == whole


def test_texts_of_one_length_are_not_packed(settings, monkeypatch):
    """Where there is nothing to save, compared texts pass as rows of a rectangle."""
    rows, forward = [], TextModel.forward

    def note(self, input_ids=None, *args, **inputs):
        if self.training:
            rows.append(len(input_ids))
        return forward(self, input_ids, *args, **inputs)

    monkeypatch.setattr(TextModel, "forward", note)
    params = {**settings, "max_epochs": 1, "batch_size": 8}
    texts = ["the film was " + word for word in ("good", "bad", "fine", "dull")] * 4
    BertEmbedder(objective="simcse", **params).fit(texts)
    assert rows == [16, 16]


def test_compared_texts_of_similar_length_pass_together(
    fit_long_and_short, monkeypatch
):
    """Where they are padded, short ones stay short, and the update is the same."""
    found, n_texts, n_tokens = [], [], []
    for pass_tokens in (1_000_000, 32, 0):
        monkeypatch.setattr(_update, "PASS_TOKENS", pass_tokens)
        with without("packing"):
            vectors, texts, tokens = fit_long_and_short()
        found.append(vectors)
        n_texts.append(texts)
        n_tokens.append(tokens)
    assert n_texts[0] == n_texts[1] == n_texts[2]
    assert n_tokens[0] > n_tokens[1] >= n_tokens[2]
    for vectors in found[1:]:
        np.testing.assert_allclose(vectors, found[0], rtol=1e-3, atol=1e-4)
