"""Whatever the caller has set in torch: the same results, and it stays set."""

import functools
import pickle
from contextlib import ExitStack, contextmanager, nullcontext

import numpy as np
import pytest
import torch

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    cache_info,
    load,
    save,
)


@contextmanager
def _default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        assert torch.get_default_dtype() == dtype
        torch.set_default_dtype(before)


@contextmanager
def _default_device(device):
    torch.set_default_device(device)
    try:
        yield
        assert torch.get_default_device().type == device
    finally:
        torch.set_default_device(None)


@contextmanager
def _deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def _far_reaching():
    """The three states that change most of what torch does, at once."""
    with ExitStack() as states:
        for name in ("bfloat16", "inference_mode", "device"):
            states.enter_context(STATES[name]())
        yield


STATES = {
    "float64": lambda: _default_dtype(torch.float64),
    "bfloat16": lambda: _default_dtype(torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default device": lambda: _default_device("meta"),
    "device": lambda: torch.device("meta"),
    "deterministic": _deterministic,
    "several": _far_reaching,
}
ROADS = {
    "classifier": (BertClassifier, {}, "predict_proba"),
    "windows": (
        BertClassifier,
        {"long_text": "window", "max_length": 8},
        "predict_proba",
    ),
    "attention": (BertClassifier, {"pooling": "attention"}, "transform"),
    "stopping": (BertClassifier, {"early_stopping": True}, "predict_proba"),
    "head": (BertClassifier, {"trainable": "head"}, "predict_proba"),
    "regressor": (BertRegressor, {}, "predict"),
    "words": (BertTokenClassifier, {}, "predict_proba"),
    "embedder": (BertEmbedder, {"whiten": True, "n_components": 8}, "transform"),
    "simcse": (BertEmbedder, {"objective": "simcse"}, "transform"),
    "pretrainer": (BertPretrainer, {}, "score_samples"),
    "new": (
        BertPretrainer,
        {
            "checkpoint": None,
            "hidden_size": 16,
            "n_layers": 1,
            "n_heads": 2,
            "position_encoding": "sinusoidal",
        },
        "transform",
    ),
    "generator": (BertGenerator, {}, "score_samples"),
}


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer: nothing here is about layers."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def answers(settings, reviews, tmp_path_factory):
    """Fit, copy by pickle and folder, and ask all three, in a state of torch."""
    texts, labels = (part[:16] for part in reviews)
    words = [text.split() for text in texts]
    targets = {
        BertRegressor: np.arange(len(texts)),
        BertTokenClassifier: [["B-X", *["O"] * (len(w) - 1)] for w in words],
    }

    def answers(road, state):
        cls, params, method = ROADS[road]
        X = words if cls is BertTokenClassifier else texts
        params = {**settings, "max_epochs": 1, "batch_size": 8, **params}
        if road == "new":
            params["vocabulary"] = settings["checkpoint"]
        folder = tmp_path_factory.mktemp("model") / "saved"
        cache_info(clear=True)
        with state():
            model = cls(**params).fit(X, targets.get(cls, labels))
            save(model, folder)
            found = []
            for each in (model, pickle.loads(pickle.dumps(model)), load(folder)):
                answer = getattr(each, method)(X)
                found.append(np.concatenate(answer) if X is words else answer)
        return found

    return answers


@pytest.fixture(scope="module")
def plain(answers):
    """The answers of a road in torch as it comes."""
    return functools.cache(lambda road: answers(road, nullcontext))


# Every road in the states that reach farthest, and one road in each state alone.
PAIRS = [(road, "several") for road in ROADS] + [
    ("attention", state) for state in STATES if state != "several"
]


@pytest.mark.parametrize(("road", "state"), PAIRS)
def test_the_caller_s_torch_state_changes_nothing(road, state, answers, plain):
    """Bit for bit, for a fit, its copies and what they answer."""
    found = answers(road, STATES[state])
    for ours, expected in zip(found, plain(road), strict=True):
        assert np.array_equal(ours, expected)


def test_training_goes_on_in_another_state(settings, reviews):
    """A model made under inference_mode can learn on outside."""
    texts, labels = reviews
    model = BertClassifier(**{**settings, "max_epochs": 1, "pooling": "attention"})
    with torch.inference_mode():
        model.partial_fit(texts, labels, classes=["neg", "pos"])
        model = pickle.loads(pickle.dumps(model))
    assert len(model.partial_fit(texts, labels).history_) == 2
