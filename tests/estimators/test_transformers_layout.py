"""A folder of transformers says what the estimator says, in plain transformers."""

import json

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    pipeline,
)

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertRegressor,
    BertTokenClassifier,
    load,
    save,
)
from sklearn_bert.estimators import _transformers_layout
from sklearn_bert.model._checkpoint import load_checkpoint

# What each family can say of a text.
POOLINGS = {
    "bert": ["mean", "cls", "pooler"],
    "roberta": ["mean", "cls", "pooler"],
    "xlm-roberta": ["mean", "cls", "pooler"],
    "distilbert": ["mean", "cls"],
    "electra": ["mean", "cls"],
    "deberta-v2": ["mean", "cls"],
    "deberta": ["cls"],
    "mpnet": ["cls", "pooler"],
    "modernbert": ["mean", "cls"],
}
TEXTS = [
    "Das Päckchen kam nie an.",
    "It was a great film, really great!",
    "我喜欢这部电影。",
    "no",
    "The parcel never arrived. " * 20,
]


def fitted(cls, folder, X, y, **params):
    """An estimator after one epoch, so that it has learnt something."""
    defaults = {"max_epochs": 1, "learning_rate": 1e-3, "random_state": 0}
    defaults |= {"device": "cpu", "precision": "float32", "max_length": 40}
    return cls(**(defaults | {"checkpoint": folder} | params)).fit(X, y)


def plain(folder, *texts, kind=AutoModelForSequenceClassification, **options):
    """What plain transformers says of a padded batch."""
    model = kind.from_pretrained(folder, **options).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(*texts, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        return model(**batch).logits.double().numpy()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "served"


@pytest.mark.parametrize("family", POOLINGS)
@pytest.mark.filterwarnings("ignore::sklearn_bert.TruncationWarning")
@pytest.mark.filterwarnings("ignore::sklearn_bert.UnknownWordsWarning")
def test_classifier_of_each_family(family, family_checkpoint, target):
    """Plain transformers gives the probabilities, whatever the pooling."""
    for pooling in POOLINGS[family]:
        clf = fitted(
            BertClassifier,
            family_checkpoint(family),
            TEXTS,
            ["a", "b", "c", "a", "b"],
            pooling=pooling,
        )
        save(clf, target, layout="transformers")
        proba = softmax(plain(target, TEXTS), axis=1)
        np.testing.assert_allclose(proba, clf.predict_proba(TEXTS), atol=1e-5)
        assert proba.std(axis=0).max() > 1e-3  # the texts do not all read the same


@pytest.mark.parametrize("family", POOLINGS)
def test_token_classifier_of_each_family(family, family_checkpoint, target):
    """Plain transformers gives the probabilities of the words of a text."""
    words = ["a", "great", "film", "never", "arrived"]
    tags = ["O", "B-X", "I-X", "O", "O"]
    tagger = fitted(BertTokenClassifier, family_checkpoint(family), [words], [tags])
    save(tagger, target, layout="transformers")
    tokenizer = AutoTokenizer.from_pretrained(target)
    batch = tokenizer(words, is_split_into_words=True)
    assert tokenizer(" ".join(words)).input_ids == batch.input_ids
    places = [batch.word_ids().index(i) for i in range(len(words))]
    scores = plain(target, [" ".join(words)], kind=AutoModelForTokenClassification)
    proba = softmax(scores[0, places], axis=1)
    np.testing.assert_allclose(proba, tagger.predict_proba([words])[0], atol=1e-5)


@pytest.fixture(scope="module")
def classifier(settings, reviews):
    texts, labels = reviews
    clf = BertClassifier(**settings, max_epochs=2).fit(texts, labels)
    clf.temperature_ = 3.0
    return clf


def test_labels_and_temperature(classifier, reviews, target):
    """`pipeline` gives the names of the classes and the tempered probabilities."""
    texts = reviews[0][:5]
    save(classifier, target, layout="transformers")
    answers = pipeline("text-classification", str(target), top_k=None)(texts)
    for answer, proba in zip(answers, classifier.predict_proba(texts), strict=True):
        found = {item["label"]: item["score"] for item in answer}
        expected = dict(zip(["neg", "pos"], proba, strict=True))
        assert found == pytest.approx(expected, abs=1e-5)


def test_pairs(settings, reviews, target):
    """Of pairs the second half is the tokenizer's `text_pair`."""
    texts, labels = reviews
    pairs = list(zip(texts, texts[::-1], strict=True))
    clf = BertClassifier(**settings, max_epochs=1).fit(pairs, labels)
    save(clf, target, layout="transformers")
    proba = softmax(plain(target, texts, texts[::-1]), axis=1)
    np.testing.assert_allclose(proba, clf.predict_proba(pairs), atol=1e-5)


def test_several_labels(settings, reviews, target):
    """Several labels per text have a probability each."""
    texts, labels = reviews
    indicator = np.stack([np.array(labels) == "pos", ["film" in t for t in texts]], 1)
    clf = BertClassifier(**settings, max_epochs=1).fit(texts, indicator.astype(int))
    save(clf, target, layout="transformers")
    config = json.loads((target / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    proba = expit(plain(target, texts))
    np.testing.assert_allclose(proba, clf.predict_proba(texts), atol=1e-5)


@pytest.mark.parametrize("n_targets", [1, 2])
def test_regressor(settings, reviews, target, n_targets):
    """Numbers come in the units of the targets, also where these are far from 0."""
    texts, _ = reviews
    numbers = 2000.0 + np.array([[len(t) / 9, -len(t)] for t in texts])[:, :n_targets]
    model = BertRegressor(**settings, max_epochs=1).fit(texts, numbers)
    save(model, target, layout="transformers")
    found = plain(target, texts)
    np.testing.assert_allclose(found, model.predict(texts), atol=1e-3)
    assert np.ptp(found) > 0.01


def test_texts_are_cut_at_max_length(classifier, target):
    """The tokenizer and the servers know the limit of the estimator."""
    classifier = clone_with_length(classifier, 8)
    save(classifier, target, layout="transformers")
    assert AutoTokenizer.from_pretrained(target).model_max_length == 8
    limit = json.loads((target / "sentence_bert_config.json").read_text())
    assert limit["max_seq_length"] == 8


def clone_with_length(classifier, length):
    params = classifier.get_params() | {"max_length": length, "max_epochs": 1}
    return type(classifier)(**params).fit(["good", "bad"], ["pos", "neg"])


def test_the_folder_is_a_checkpoint(classifier, settings, reviews, target):
    """It gives the estimator's own encoder back: the added layer is left out."""
    texts, labels = reviews
    save(classifier, target, layout="transformers")
    found = load_checkpoint(str(target))
    expected = classifier.net_.module.encoder.state_dict()
    assert found.pooling == "mean"
    for name, value in found.encoder.state_dict().items():
        if not name.startswith("pooler."):
            torch.testing.assert_close(value, expected[name])
    params = settings | {"checkpoint": target, "trainable": "head", "max_epochs": 1}
    again = BertClassifier(**params).fit(texts, labels)
    np.testing.assert_allclose(
        again.transform(texts), classifier.transform(texts), atol=1e-5
    )
    save(again, target.with_name("again"))
    reloaded = load(target.with_name("again"))
    np.testing.assert_array_equal(reloaded.predict(texts), again.predict(texts))


def test_float16_answers_are_nan(classifier, target):
    """Numbers that float16 cannot hold give NaN, and no wrong answer."""
    save(classifier, target, layout="transformers")
    assert np.isnan(plain(target, ["a good film"], dtype=torch.float16)).all()
    scores = plain(target, ["a good film"], dtype=torch.bfloat16)
    close = softmax(scores, axis=1)
    assert close == pytest.approx(classifier.predict_proba(["a good film"]), abs=0.05)


def test_load_says_what_the_folder_is(classifier, target):
    """`load` reads the default layout alone, and says so."""
    save(classifier, target, layout="transformers")
    with pytest.raises(ValueError, match="it is a checkpoint and no BertClassifier"):
        load(target)


def test_either_layout_replaces_the_other(classifier, target):
    """A folder of one layout can be overwritten by the other, and leaves nothing."""
    save(classifier, target)
    save(classifier, target, layout="transformers")
    assert not (target / "head.safetensors").exists()
    save(classifier, target)
    assert load(target).classes_.tolist() == ["neg", "pos"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "max"}, "pooling='max'.*fit with pooling='mean', 'cls'"),
        ({"pooling": "attention"}, "pooling='attention'.*fit with pooling='mean'"),
        ({"long_text": "window"}, "long_text is 'window'.*long_text='truncate'"),
        ({"long_text": "head_tail"}, "long_text is 'head_tail'"),
    ],
)
def test_refused_settings(settings, changes, message, target):
    """What transformers cannot say is refused, with what to fit with instead."""
    params = settings | {"max_epochs": 1} | changes
    clf = BertClassifier(**params).fit(["good", "bad"], ["pos", "neg"])
    with pytest.raises(ValueError, match=message):
        save(clf, target, layout="transformers")
    assert not target.exists()


def test_refused_attention(family_checkpoint, target):
    """An MPNet cannot average in its attention; the error names pooling='cls'."""
    clf = fitted(
        BertClassifier,
        family_checkpoint("mpnet"),
        ["no", "a great film"],
        [0, 1],
        pooling="mean",
    )
    with pytest.raises(ValueError, match="fit with pooling='cls'"):
        save(clf, target, layout="transformers")


def test_too_many_classes(settings, target):
    """More classes than the width of the vectors are refused."""
    texts = [f"the {i}" for i in range(33)]
    clf = BertClassifier(**settings, max_epochs=1, trainable="head")
    clf.fit(texts * 3, texts * 3)
    with pytest.raises(ValueError, match="33 classes, and its head has room for 32"):
        save(clf, target, layout="transformers")


def test_classes_that_read_the_same(settings, target):
    """Labels that are equal as text could not be told apart."""
    y = np.array([1, "1", 1, "1"], dtype=object)
    clf = BertClassifier(**settings, max_epochs=1)
    clf.fit(["good", "bad", "fine", "poor"], ["a", "b", "a", "b"])
    clf.classes_ = y[:2]
    with pytest.raises(ValueError, match="read the same"):
        save(clf, target, layout="transformers")


def test_embedder_is_refused(embedder_settings, target):
    """The default layout of an embedder is one of sentence-transformers already."""
    embedder = BertEmbedder(**embedder_settings).fit(["good"])
    with pytest.raises(ValueError, match="not for BertEmbedder: transformers and sent"):
        save(embedder, target, layout="transformers")


def test_unknown_layout(classifier, target):
    """An unknown layout is refused, and the known ones are named."""
    with pytest.raises(ValueError, match=r"layout is 'onnx'; expected one of \('skl"):
        save(classifier, target, layout="onnx")


def test_scores_that_differ_are_refused(classifier, target, monkeypatch):
    """A folder whose scores differ is not put in place."""
    right = _transformers_layout.as_transformers

    def wrong(*args):
        network = right(*args)
        with torch.no_grad():
            network.classifier.weight.mul_(1.001)
        return network

    monkeypatch.setattr(_transformers_layout, "as_transformers", wrong)
    with pytest.raises(ValueError, match="differ by .*, more than 1e-05; nothing was"):
        save(classifier, target, layout="transformers")
    assert not target.exists()
