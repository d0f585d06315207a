"""Training that diverges is an error, and no answer is NaN."""

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

ANSWERS = ("predict_proba", "decision_function", "predict", "transform")
ROADS = {
    "classes": (BertClassifier, {}),
    "labels": (BertClassifier, {}),
    "windows": (BertClassifier, {"long_text": "window", "max_length": 6}),
    "head": (BertClassifier, {"trainable": "head"}),
    "top": (BertClassifier, {"trainable": 1}),
    "decay": (BertClassifier, {"layer_decay": 0.5}),
    "lora": (BertClassifier, {"adapter": "lora"}),
    "stopping": (BertClassifier, {"early_stopping": True}),
    "numbers": (BertRegressor, {}),
    "numbers stopping": (BertRegressor, {"early_stopping": True}),
    "words": (BertTokenClassifier, {}),
    "simcse": (BertEmbedder, {"objective": "simcse"}),
    "supervised": (BertEmbedder, {"objective": "supervised"}),
    "mlm": (BertEmbedder, {"objective": "mlm"}),
    "few labels": (BertClassifier, {"max_epochs": "auto"}),
    "self-training": (BertClassifier, {"max_epochs": "auto"}),
    "random head": (BertClassifier, {"head_init": "random"}),
    "no calibration": (BertClassifier, {"calibrate": False}),
    "numbers random head": (BertRegressor, {"head_init": "random"}),
    "huber": (BertRegressor, {"loss": "huber"}),
    "pairs": (BertEmbedder, {"objective": "pairs"}),
    "whitened": (BertEmbedder, {"objective": "simcse", "whiten": True}),
    "pretrainer": (BertPretrainer, {}),
    "next sentences": (BertPretrainer, {"next_sentence": True}),
    "generator": (BertGenerator, {}),
}
# The last is the largest that a float can hold, nearly.
RATES = [1e6, 1.7e308]
ALL_RATES = (10.0 ** np.linspace(-4, np.log10(1.7e308), 56)).tolist()


@pytest.fixture
def fit(settings, reviews):
    """Fit one of the roads in a single update; its model and what it is asked."""
    texts, labels = reviews

    def fit(road, rate, **more):
        cls, params = ROADS[road]
        X, y, fit_params = texts, labels, {}
        if cls is BertRegressor:
            y = np.arange(len(texts)) * 1e6
        elif road == "labels":
            y = np.array([[label == "pos", label == "neg"] for label in labels])
        elif road == "words":
            X = [text.split() for text in texts]
            y = [["B-X", *["O"] * (len(words) - 1)] for words in X]
        elif road in ("few labels", "self-training"):
            X, y = texts[:8], labels[:8]
            if road == "self-training":
                fit_params = {"unlabeled": texts}
        elif road == "pairs":
            X, y = list(zip(texts, reversed(texts), strict=True)), None
        elif road == "next sentences":
            X = [texts[i : i + 4] for i in range(0, len(texts), 4)]
        if road == "lora":
            pytest.importorskip("peft")
        params = {**settings, "max_epochs": 1, **params, "warmup": 0.0}
        params |= {"batch_size": 1000, "learning_rate": rate, **more}
        return cls(**params).fit(X, y, **fit_params), X

    return fit


def assert_finite_or_raised(fit, road, rate):
    """Fit and answer; an error is that of a training that has diverged."""
    try:
        model, X = fit(road, rate)
        if road == "pairs":  # learnt from pairs, asked for texts
            X = [text for pair in X for text in pair]
        names = [name for name in ANSWERS if hasattr(model, name)]
        if hasattr(model, "score_samples"):
            names.append("score_samples")
        answers = [getattr(model, name)(X) for name in names]
    except FloatingPointError:
        return
    for answer in answers:
        values = np.concatenate(answer) if road == "words" else answer
        if values.dtype.kind == "f":
            assert np.isfinite(values).all()
    assert np.isfinite([list(epoch.values()) for epoch in model.history_]).all()


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("road", ROADS)
def test_answers_are_finite_or_an_error_is_raised(road, rate, fit):
    """Also where the last update spoils what the loss before it did not show."""
    assert_finite_or_raised(fit, road, rate)


@pytest.mark.slow
@pytest.mark.parametrize("road", ROADS)
def test_answers_are_finite_at_any_rate(road, fit):
    """At 56 rates, from useful ones to the largest that a float can hold."""
    for rate in ALL_RATES:
        assert_finite_or_raised(fit, road, rate)


@pytest.mark.parametrize("road", ROADS)
def test_a_hopeless_rate_is_said(road, fit):
    """The error tells what happened and what to do; nothing is fitted."""
    with pytest.raises(FloatingPointError, match="Lower learning_rate") as caught:
        fit(road, 1e38)
    assert "diverged" in str(caught.value)


def test_the_last_update_is_looked_at(fit):
    """Weights that are not finite are named."""
    with pytest.raises(FloatingPointError, match=r"after update 1 weights .* first in"):
        fit("head", 1e38)


def test_a_model_that_overflows_does_not_answer(fit):
    """Finite weights whose answers are not: an error instead of NaN."""
    model, X = fit("classes", 1e-3)
    model.net_.module.head.weight.data.fill_(1e37)
    with pytest.raises(FloatingPointError, match=r"of \d+ texts is not finite"):
        model.predict_proba(X)


@pytest.mark.parametrize("rate", [8e5, 1e6, 1.2e6])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_fit_that_succeeds_answers_for_its_last_batch(settings, reviews, rate, seed):
    """Where the last update spoils the answers for some texts only, fit says so."""
    texts = [f"{text}{' but' * (place % 7)}" for place, text in enumerate(reviews[0])]
    X, y = texts[8:], reviews[1][8:]
    params = {**settings, "max_epochs": 1, "batch_size": 32, "warmup": 0.0}
    clf = BertClassifier(**{**params, "learning_rate": rate, "random_state": seed})
    try:
        clf.fit(X, y)
    except FloatingPointError:
        return
    assert np.isfinite(clf.predict_proba(X)).all()
