"""From tokens to scores and weights on a GPU that is not there.

torch's FakeTensorMode computes shapes, number formats and devices, and no numbers. A
tensor on the wrong device or in a wrong format is an error in it, as on a GPU; so is
whatever would make the CPU wait for a number, such as `.item()` or `if tensor:`.
"""

import ctypes
import dataclasses
import functools
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from sklearn_bert._process._techniques import uses, without
from sklearn_bert.compute import _copies, _inference, _runner
from sklearn_bert.compute._inference import Feed
from sklearn_bert.compute._runner import Runner
from sklearn_bert.model import _attention
from sklearn_bert.model._attention import FAMILIES as OWN_ATTENTION
from sklearn_bert.model._language_model import LanguageModel, new_language_model
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._long import Windows
from sklearn_bert.text._masking import masked_table
from sklearn_bert.text._words import WordTable
from sklearn_bert.training import _epoch_losses, _optimizer
from sklearn_bert.training._contrastive import (
    ContrastiveCrossEntropy,
    CoSENT,
    MultipleNegativesRanking,
    SupervisedContrastive,
)
from sklearn_bert.training._epoch_losses import EpochLosses
from sklearn_bert.training._examples import Examples, Views
from sklearn_bert.training._losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    LanguageModelingLoss,
    RegressionLoss,
    TokenCrossEntropy,
)
from sklearn_bert.training._optimizer import MasterWeights
from sklearn_bert.training._update import Updates

# `copy.deepcopy` looks at the address of a fake.
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer")
GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
LENGTHS = [3, 9, 1, 30, 12]
OTHERS = ["modernbert", "deberta-v2", "mpnet"]  # which keep their attention


def slow(value):
    """A parameter that `make test` leaves out: what it adds is little."""
    return pytest.param(value, marks=pytest.mark.slow)


class Event:
    """An event that has happened."""

    def record(self, stream):
        pass

    def synchronize(self):
        pass

    def query(self):
        return True


def replace_tensors(module, function):
    """Replace parameters and buffers, tied ones by one, as a fake cannot be moved."""
    made = {}
    for part in module.modules():
        for named in (part._parameters, part._buffers):
            for name, old in named.items():
                if old is not None and id(old) not in made:
                    new = function(old.detach())
                    if named is part._parameters:
                        new = nn.Parameter(new, old.requires_grad)
                    made[id(old)] = new
                named[name] = None if old is None else made[id(old)]
    return module


META, CUDA = 14, 1  # places of c10::DeviceType


@pytest.fixture(scope="module")
def guard():
    """A device guard that does nothing, for a torch that was built without CUDA.

    Indexing asks for one, even in FakeTensorMode.
    """
    if torch.backends.cuda.is_built():
        yield
        return
    if sys.platform != "linux":
        pytest.skip("takes a torch built with CUDA, or Linux")
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    name = "_ZN3c104impl26device_guard_impl_registryE"
    guards = (ctypes.c_void_p * (META + 1)).in_dll(library, name)
    guards[CUDA] = guards[META]
    yield
    guards[CUDA] = None


@pytest.fixture
def mode(monkeypatch, short_formats_anywhere, guard):
    """Let the package find a GPU, on which it computes with fake tensors."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)

    def faked(function):
        @functools.wraps(function)
        def run(*args, **kwargs):
            with mode:
                return function(*args, **kwargs)

        return run

    class Fetch(_copies.Fetch):
        """Has nothing to bring but zeros, which are no fakes."""

        __init__ = faked(_copies.Fetch.__init__)

        def result(self):
            host = super().result()
            assert host.device.type == "cpu"
            return torch.zeros(host.shape, dtype=host.dtype)

    for module in (_inference, _epoch_losses):
        monkeypatch.setattr(module, "Fetch", Fetch)
    monkeypatch.setattr(_inference, "_try", faked(_inference._try))
    monkeypatch.setattr(_runner, "copy_in_place", faked(_runner.copy_in_place))
    monkeypatch.setattr(
        nn.Module,
        "to",
        lambda self, device: replace_tensors(self, lambda tensor: tensor.to(device)),
    )
    for module in (_copies, _optimizer, _runner):
        monkeypatch.setattr(module, "is_proven", lambda name, *args: uses(name))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    available = lambda: True  # noqa: E731
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", available)
    return mode


@pytest.fixture
def make_runner(make_encoder, mode):
    """Make a runner on the GPU, of a model of one layer or of another model."""

    def make(family="bert", *, precision="bfloat16", model=None, **settings):
        if model is None:
            n_layers = "n_layers" if family == "distilbert" else "num_hidden_layers"
            encoder = make_encoder(family, **{n_layers: 1, "pad_token_id": 0})
            settings = {"pooling": "mean", "n_outputs": 2} | settings
            model = TextModel(encoder, **settings)
        replace_tensors(model.eval(), mode.from_tensor)
        return Runner(model, GPU, precision=precision, pad_id=0)

    return make


@pytest.fixture
def language_model():
    """A BERT of one layer with both heads, and weights that are no fakes."""
    full_model = new_language_model(
        n_words=80,
        hidden_size=32,
        n_layers=1,
        n_heads=4,
        max_length=64,
        pad_id=0,
        dropout=None,
        position_encoding="learned",
    )
    return LanguageModel(full_model, pooling="mean")


@pytest.fixture
def hidden_words(make_table):
    """Texts with seven words to predict, half of which follow another."""
    rows, places = np.array([0, 1, 1, 3, 3, 3, 4]), np.array([1, 2, 5, 1, 9, 20, 3])
    follows = np.array([0, 1, 0, 1, 1])
    table = make_table(LENGTHS)
    return masked_table(table, rows, places, np.arange(3, 10), follows)


@pytest.fixture
def words(hidden_words):
    """The same words, to be tagged."""
    names = [field.name for field in dataclasses.fields(WordTable)]
    return WordTable(**{name: getattr(hidden_words, name) for name in names})


# -- prediction --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "precision"),
    [("bert", "bfloat16"), ("bert", "float32"), ("modernbert", "bfloat16")],
)
def test_families_predict(make_runner, make_table, family, precision):
    """Texts become scores, packed where family and format allow it, else padded."""
    runner = make_runner(family, precision=precision)
    assert runner.feed().packed == (precision == "bfloat16" and family in OWN_ATTENTION)
    table = make_table(LENGTHS, with_types=family == "bert")
    assert runner.scores(table).shape == (5, 2)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("family", [*OWN_ATTENTION, *OTHERS])
def test_all_families_predict(make_runner, make_table, family, precision):
    """The others do as well."""
    test_families_predict(make_runner, make_table, family, precision)


@pytest.mark.parametrize("is_packed", [True, slow(False)])
@pytest.mark.parametrize("pooling", ["attention", *map(slow, ["cls", "pooler", "max"])])
def test_every_pooling(make_runner, make_table, pooling, is_packed):
    """One vector per text, whichever way the states of its tokens are pooled."""
    runner = make_runner(pooling=pooling)
    with nullcontext() if is_packed else without("packing"):
        assert runner.vectors(make_table(LENGTHS)).shape == (5, 32)


@pytest.mark.slow
@pytest.mark.parametrize("is_packed", [True, False])
def test_readers_from_left_to_right(make_runner, make_table, train, is_packed):
    """Tokens that see only those before them."""
    runner = make_runner(left_to_right=True)
    with nullcontext() if is_packed else without("packing"):
        assert runner.scores(make_table(LENGTHS)).shape == (5, 2)
    examples = examples_of(make_table(LENGTHS), CODES)
    train(runner, examples, CrossEntropy(), CPU, is_packed=is_packed)


@pytest.mark.parametrize("is_packed", [True, slow(False)])
@pytest.mark.parametrize("trainable", [slow("head"), 1])
def test_what_is_frozen_computes_features(
    make_runner, make_table, trainable, is_packed
):
    """Features of the frozen part, and scores of what is above it."""
    runner = make_runner(trainable=trainable)
    with nullcontext() if is_packed else without("packing"):
        assert runner.scores(make_table(LENGTHS)).shape == (5, 2)


@pytest.mark.parametrize("is_packed", [True, slow(False)])
def test_language_models_predict(
    make_runner, make_table, language_model, hidden_words, is_packed
):
    """Likelihoods and likeliest tokens of words, and whether sentences follow."""
    runner = make_runner(model=language_model)
    with nullcontext() if is_packed else without("packing"):
        assert runner.token_log_likelihood(hidden_words).shape == (7, 2)
        assert runner.top_tokens(hidden_words, 3).shape == (7, 6)
        assert runner.next_token_logits(hidden_words).shape == (7, 80)
        assert runner.next_sentence_logits(make_table(LENGTHS)).shape == (5, 2)


# -- training ----------------------------------------------------------------------

CODES = np.array([0, 1, 1, 0, 1])
LABELS = np.eye(5, 2, dtype=np.float32)
NUMBERS = np.linspace(-1, 1, 10, dtype=np.float32).reshape(5, 2)
PAIRS = Views.of(np.array([[0, 1], [2, 3], [4, 0], [1, 1], [3, 2]]), 5)
OBJECTIVES = {
    "classes": (CrossEntropy(0.1), CODES, None),
    "labels": (BinaryCrossEntropy(), LABELS, None),
    "numbers": (RegressionLoss("huber"), NUMBERS, None),
    "contrast and classes": (ContrastiveCrossEntropy(2, 0.0, 9.0), CODES, None),
    "pairs": (MultipleNegativesRanking(0.05), np.arange(10).reshape(5, 2), PAIRS),
    "likeness": (SupervisedContrastive(0.1), CODES, PAIRS),
    "scores of pairs": (CoSENT(0.05), NUMBERS[:, 0], PAIRS),
}


@pytest.fixture
def train(mode, monkeypatch):
    """Update a model once with fakes of a device, in bfloat16.

    The backward pass asks torch for its accelerator, which is not there. So on the GPU
    gradients are handed out instead, and where they are computed, kernels of the GPU
    are applied to fakes of the CPU.
    """

    def train(runner, examples, objective, device, *, is_packed=True, **settings):
        def hand_out(loss):
            assert loss.device == GPU
            for weight in runner.model.parameters():
                weight.grad = torch.empty_like(weight) if weight.requires_grad else None

        if device == GPU:
            monkeypatch.setattr(torch.Tensor, "backward", hand_out)
        kernel = _attention._by_kernel
        monkeypatch.setattr(_attention, "_in_rectangles", kernel)
        monkeypatch.setattr(_epoch_losses, "CHECK_EVERY", 1)
        with mode:
            model = runner.model.to(device).train()
            model.gives_vectors = objective.takes_vectors
            masters = MasterWeights(model, torch.bfloat16)
            updates = Updates(
                *(model, masters, objective, Feed(device, 0, packed=is_packed)),
                lr=1e-3,
                weight_decay=0.1,
                rate_factors=None,
                schedule=lambda n_done: 1.0,
                n_updates=2,
                batch_size=5,
                **settings,
            )
            n_parts = max(1, len(objective.parts))
            losses = EpochLosses(2, 0, device, n_parts)
            loss = updates(examples, examples.rows)
        assert (loss.dtype, loss.device) == (torch.float32, device)
        for _ in range(2 if device == GPU else 0):  # a CPU looks at once
            losses.append(loss)
        stepped = updates.optimizer.state
        assert stepped
        for weight, state in stepped.items():
            tensors = [weight, *state.values()]
            assert {(t.dtype, t.device) for t in tensors} == {(torch.float32, device)}

    return train


def examples_of(table, targets, windows=None):
    weights = np.ones(len(targets), dtype=np.float32)
    if targets is LABELS:
        weights = weights[:, None]  # of each label
    n_texts = len(table) if windows is None else len(windows.counts)
    return Examples(table, np.arange(n_texts), targets, weights, windows)


@pytest.mark.parametrize("device", [GPU, CPU], ids=str)
@pytest.mark.parametrize("objective", ["classes", *map(slow, [*OBJECTIVES][1:])])
def test_every_objective_trains(make_runner, make_table, train, objective, device):
    """No update waits for a number, and masters and moments are in float32."""
    objective, targets, windows = OBJECTIVES[objective]
    n_outputs = None if windows is not None else 2
    runner = make_runner(n_outputs=n_outputs)
    examples = examples_of(make_table(LENGTHS), targets, windows)
    train(runner, examples, objective, device)


@pytest.mark.parametrize("pooling", ["attention", *map(slow, ["cls", "pooler", "max"])])
def test_every_pooling_trains(make_runner, make_table, train, pooling):
    """Gradients flow back through every pooling of packed texts."""
    examples = examples_of(make_table(LENGTHS), CODES)
    train(make_runner(pooling=pooling), examples, CrossEntropy(), CPU)


@pytest.mark.slow
@pytest.mark.parametrize("device", [GPU, CPU], ids=str)
@pytest.mark.parametrize("settings", [{}, {"checkpointing": True}], ids=str)
def test_padded_texts_train(make_runner, make_table, train, settings, device):
    """Without packing too; also where activations are computed twice."""
    examples = examples_of(make_table(LENGTHS), CODES)
    train(
        *(make_runner(), examples, CrossEntropy(), device), is_packed=False, **settings
    )


@pytest.mark.slow
@pytest.mark.parametrize("device", [GPU, CPU], ids=str)
def test_windows_train(make_runner, make_table, train, device):
    """Texts in more windows than pass at a time."""
    windows = Windows(np.array([0, 1, 8]), np.array([1, 7, 2]), np.ones(10, "f4"))
    examples = examples_of(make_table(LENGTHS * 2), np.array([0, 1, 1]), windows)
    train(make_runner(), examples, CrossEntropy(), device)


@pytest.mark.parametrize("device", [slow(GPU), CPU], ids=str)
def test_tags_train(make_runner, words, train, device):
    """A loss for each word."""
    examples = examples_of(words, np.array([0, 1, 0, 0, 1, 1, 0]))
    train(make_runner(), examples, TokenCrossEntropy(None), device)


@pytest.mark.parametrize("device", [GPU, slow(CPU)], ids=str)
def test_language_models_train(
    make_runner, language_model, hidden_words, train, device
):
    """The losses of hidden words and of next sentences."""
    examples = examples_of(hidden_words, np.zeros(7, dtype=np.float32))
    objective = LanguageModelingLoss(("words", "sentences"))
    train(make_runner(model=language_model), examples, objective, device)


class Waiting(CrossEntropy):
    """Asks how large the loss is."""

    def forward(self, scores, targets):
        losses = super().forward(scores, targets)
        return losses / max(losses.sum().item(), 1.0)


class Elsewhere(CrossEntropy):
    """Adds a tensor that nobody has moved."""

    def forward(self, scores, targets):
        return super().forward(scores, targets) + torch.zeros(len(targets))


@pytest.mark.parametrize(
    ("objective", "error"),
    [
        (Waiting(), fake_tensor.DataDependentOutputException),
        (Elsewhere(), fake_tensor.FakeTensorDeviceMismatchError),
    ],
)
def test_mistakes_are_found(make_runner, make_table, train, objective, error):
    """A wait for the GPU, and a tensor on the wrong device, end these tests."""
    examples = examples_of(make_table(LENGTHS), CODES)
    with pytest.raises(error):
        train(make_runner(), examples, objective, GPU)
