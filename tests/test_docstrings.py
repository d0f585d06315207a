"""The docstrings of the estimators say what the code does."""

import inspect
import re

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

CLASSES = [
    BertClassifier,
    BertRegressor,
    BertTokenClassifier,
    BertEmbedder,
    BertPretrainer,
    BertGenerator,
]
# What is said of rows, which may hold several texts or a part of one.
OF_ROWS = {
    "checkpoint",
    "template",
    "max_length",
    "max_epochs",
    "batch_size",
    "learning_rate",
    "dropout",
    "early_stopping",
    "validation_fraction",
    "warm_start",
    "precision",
    "random_state",
    "pooling",
    "history_",
    "max_length_",
    "unknown_report_",
    "batch_size_used_",
    "n_features_in_",
}
# What is said of vectors instead of predictions, and of sentences instead of texts.
DIFFERENT_ON_PURPOSE = {
    BertRegressor: {"long_text", "early_stopping", "warm_start"},
    BertTokenClassifier: {
        "max_length",
        "trainable",
        "max_epochs",
        "batch_size",
        "early_stopping",
        "validation_fraction",
        "warm_start",
        "classes_",
        "history_",
        "max_length_",
        "unknown_report_",
        "batch_size_used_",
        "n_features_in_",
    },
    BertEmbedder: {
        "long_text",
        "pooling",
        "trainable",
        "adapter",
        "batch_size",
        "learning_rate",
        "layer_decay",
        "dropout",
        "precision",
        "random_state",
        "history_",
        "n_iter_",
        "batch_size_used_",
        "net_",
        "n_features_in_",
    },
    BertPretrainer: OF_ROWS,
    BertGenerator: OF_ROWS,
}


def section(cls, name):
    """The entries of a numpydoc section: name -> (type line, text)."""
    doc = inspect.getdoc(cls)
    body = re.search(rf"{name}\n-+\n(.*?)(?:\n\n\w[\w ]+\n-+\n|\Z)", doc, re.S)[1]
    entries = re.findall(r"^(\w+) : (.*)\n((?:    .*\n?|\n)*)", body, re.M)
    return {name: (kind, text.strip()) for name, kind, text in entries}


@pytest.mark.parametrize("cls", [*CLASSES, WordPieceVocabulary])
def test_every_parameter_is_documented_with_its_default(cls):
    """The docstring names the parameters in order, each with the default it has."""
    documented = section(cls, "Parameters")
    signature = inspect.signature(cls).parameters
    assert list(documented) == list(signature)
    for name, parameter in signature.items():
        default = re.search(r"default=(.*)$", documented[name][0])[1]
        assert eval(default) == parameter.default, name


@pytest.mark.parametrize("cls", [*CLASSES, WordPieceVocabulary])
def test_parameters_have_constraints(cls):
    """Every parameter is validated, and nothing else is."""
    assert set(cls._parameter_constraints) == set(inspect.signature(cls).parameters)


@pytest.mark.parametrize("cls", CLASSES[1:])
def test_the_same_word_means_the_same_everywhere(cls):
    """Parameters and attributes that the estimators share are documented alike."""
    for name in ("Parameters", "Attributes"):
        ours, theirs = [section(c, name) for c in (BertClassifier, cls)]
        shared = (ours.keys() & theirs.keys()) - DIFFERENT_ON_PURPOSE[cls]
        assert len(shared) >= 3
        for entry in shared:
            assert ours[entry] == theirs[entry], entry


@pytest.fixture
def examples(reviews):
    """X and y as each kind of estimator takes them."""
    texts, labels = reviews
    words = [text.split() for text in texts]
    return {
        BertRegressor: (texts, [len(label) for label in texts]),
        BertTokenClassifier: (words, [["x", *["y"] * (len(w) - 1)] for w in words]),
        BertEmbedder: (texts, None),
        BertPretrainer: (texts, None),
        BertGenerator: (texts, None),
        BertClassifier: (texts, labels),
    }


def test_pretrainer_and_generator_say_the_same():
    """What the two share is documented alike, but for what one learns besides."""
    for name in ("Parameters", "Attributes"):
        ours, theirs = section(BertPretrainer, name), section(BertGenerator, name)
        different = {"pack", "random_state", "max_epochs", "history_"}
        for entry in (ours.keys() & theirs.keys()) - different:
            assert ours[entry] == theirs[entry], entry


@pytest.mark.parametrize("cls", CLASSES)
def test_every_fitted_attribute_is_documented(cls, checkpoint, examples):
    """What fit publishes stands under Attributes."""
    documented = section(cls, "Attributes")
    fitted = cls(checkpoint, device="cpu").fit(*examples[cls])
    published = {n for n in vars(fitted) if n.endswith("_") and not n.startswith("_")}
    assert published <= documented.keys()
