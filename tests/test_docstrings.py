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


@pytest.mark.parametrize("cls", CLASSES)
def test_every_fitted_attribute_is_documented(cls, checkpoint, examples):
    """What fit publishes stands under Attributes."""
    documented = section(cls, "Attributes")
    fitted = cls(checkpoint, device="cpu").fit(*examples[cls])
    published = {n for n in vars(fitted) if n.endswith("_") and not n.startswith("_")}
    assert published <= documented.keys()
