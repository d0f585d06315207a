"""Parameters that are numbers: those of NumPy are as Python's, and none is infinite."""

import functools
from numbers import Real

import numpy as np
import pytest

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    WordPieceVocabulary,
    load,
    save,
)
from sklearn_bert._process._sklearn import Interval

TEXTS = ["a good film", "an awful plot", "the cat sleeps", "we hate it", "two dogs run"]
TWO = [0, 1, 0, 1, 1]
WORDS = [text.split() for text in TEXTS]
TAGS = [["A", *"B" * (len(words) - 1)] for words in WORDS]
TRAINING = {
    "max_epochs": 1,
    "batch_size": 4,
    "learning_rate": 0.125,
    "weight_decay": 0.25,
    "warmup": 0.5,
    "dropout": 0.25,
    "checkpoint_minutes": 0.5,
    "random_state": 3,
    "verbose": 0,
    "gradient_checkpointing": True,
}
STOPPING = {
    "early_stopping": True,
    "validation_fraction": 0.5,
    "n_iter_no_change": 1,
    "warm_start": True,
}
READING = {"max_length": 5, "window_stride": 2}  # of which a window holds 3
LAYERS = {"trainable": 1, "layer_decay": 0.5}
NEW = {"hidden_size": 16, "n_layers": 1, "n_heads": 2, "max_length": 16, "pack": True}
VOCABULARY = {"checkpoint": None, "vocabulary": WordPieceVocabulary(60)}
SHAPE = {"normalize": True, "n_components": 2, "whiten": True}
# Of each class: all parameters that are numbers or booleans; what else it takes for
# these to be read; X and y.
KINDS = {
    "classifier": (
        BertClassifier,
        TRAINING
        | STOPPING
        | READING
        | LAYERS
        | {"label_smoothing": 0.125, "calibrate": True, "self_training": 2},
        {"long_text": "window"},
        (TEXTS * 4, [True, False] * 10),
    ),
    "regressor": (
        BertRegressor,
        TRAINING | STOPPING | READING | LAYERS,
        {"long_text": "window"},
        (TEXTS * 4, [1.0, 2.0] * 10),
    ),
    **{
        f"{cls.__name__} with an adapter": (
            cls,
            TRAINING | {"adapter_rank": 2},
            {"adapter": "lora", **others},
            data,
        )
        for cls, others, data in (
            (BertClassifier, {}, (TEXTS, TWO)),
            (BertRegressor, {}, (TEXTS, TWO)),
            (BertTokenClassifier, {}, (WORDS, TAGS)),
            (BertEmbedder, {"objective": "supervised"}, (TEXTS, TWO)),
        )
    },
    "tagger": (
        BertTokenClassifier,
        TRAINING | STOPPING | LAYERS | {"max_length": 5},
        {},
        (WORDS, TAGS),
    ),
    "embedder": (
        BertEmbedder,
        SHAPE | READING,
        {"long_text": "window"},
        (TEXTS, None),
    ),
    "embedder that learns": (
        BertEmbedder,
        TRAINING | LAYERS | SHAPE | {"temperature": 0.5, "max_length": 5},
        {"objective": "simcse", "long_text": "head_tail"},
        (TEXTS, None),
    ),
    "pretrainer": (
        BertPretrainer,
        TRAINING
        | STOPPING
        | NEW
        | {"next_sentence": False, "mask_fraction": 0.25, "whole_words": True},
        VOCABULARY,
        (TEXTS * 4, None),
    ),
    "generator": (
        BertGenerator,
        TRAINING | STOPPING | NEW,
        VOCABULARY,
        (TEXTS * 4, None),
    ),
}
CLASSES = sorted({kind[0] for kind in KINDS.values()}, key=str)
TYPES = [
    (np.float16, np.uint8),
    (np.float32, np.int32),
    (np.float64, np.int64),
    (np.longdouble, np.int16),
]


def from_numpy(value, real, integral):
    kinds = {bool: np.bool_, float: real, int: integral}
    return kinds[type(value)](value)


def answers(estimator, X):
    for method in ("predict_proba", "predict", "transform"):
        if hasattr(estimator, method):
            return np.concatenate(getattr(estimator, method)(X), axis=None)
    return estimator.score_samples(X)


@pytest.mark.parametrize("cls", CLASSES)
def test_all_numeric_parameters_are_named_here(cls):
    """No parameter that takes a number or a boolean is left out below."""
    numeric = {
        name
        for name, constraints in cls._parameter_constraints.items()
        if any(
            isinstance(one, Interval) or one in ("boolean", "verbose", "random_state")
            for one in constraints
        )
    }
    named = [numbers for kind, numbers, *_ in KINDS.values() if kind is cls]
    assert {name for numbers in named for name in numbers} == numeric


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer: nothing here is about layers."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def answers_of_python_s(embedder_settings):
    """The answers of a fit with numbers of Python, made once for each kind."""

    @functools.cache
    def of(kind):
        cls, numbers, others, data = KINDS[kind]
        plain = cls(**embedder_settings | others | numbers).fit(*data)
        return answers(plain, data[0])

    return of


# One kind that learns in every type, the others in two that are no float of Python's.
TYPES_OF = [
    (kind, *types)
    for kind in KINDS
    for types in (TYPES if kind == "classifier" else TYPES[1::2])
]


@pytest.mark.parametrize(("kind", "real", "integral"), TYPES_OF)
@pytest.mark.filterwarnings("ignore:.*were cut:UserWarning")
def test_scalars_of_numpy_are_numbers(
    kind, real, integral, embedder_settings, answers_of_python_s, tmp_path
):
    """Parameters from NumPy, all at once, give the fit of Python's, saved as well."""
    cls, numbers, others, data = KINDS[kind]
    given = {n: from_numpy(value, real, integral) for n, value in numbers.items()}
    estimator = cls(**embedder_settings | others | given).fit(*data)
    expected = answers_of_python_s(kind)
    np.testing.assert_array_equal(answers(estimator, data[0]), expected)
    save(estimator, tmp_path / "model")
    loaded = load(tmp_path / "model")
    np.testing.assert_array_equal(answers(loaded, data[0]), expected)
    read_back = loaded.get_params(deep=False)
    assert {n: type(read_back[n]) for n in given} == {
        name: type(value) for name, value in given.items()
    }


REALS = [
    (cls, name)
    for cls in CLASSES
    for name, constraints in cls._parameter_constraints.items()
    if any(isinstance(one, Interval) and one.type is Real for one in constraints)
]


TOO_LARGE = 10**400  # for a float
WRONG = [np.inf, -np.inf, np.nan, np.float32("inf"), np.longdouble("inf"), TOO_LARGE]


@pytest.mark.parametrize("cls", CLASSES)
def test_whole_numbers_beyond_all_floats_are_refused_at_once(cls):
    """So is a whole number that no library could take."""
    estimator = cls("/no/such/folder", max_length=TOO_LARGE)
    message = rf"'max_length' parameter of {cls.__name__} .* Got 10+\.\.\. instead"
    with pytest.raises(ValueError, match=message):
        estimator.fit(TEXTS, TWO)


@pytest.mark.parametrize("value", WRONG, ids=lambda value: str(value)[:9])
@pytest.mark.parametrize(("cls", "name"), REALS)
def test_what_is_not_finite_is_refused_at_once(cls, name, value):
    """Infinity and NaN are no value of any parameter; no checkpoint is read."""
    estimator = cls("/no/such/folder", **{name: value})
    with pytest.raises(ValueError, match=f"The '{name}' parameter of {cls.__name__}"):
        estimator.fit(TEXTS, TWO)
