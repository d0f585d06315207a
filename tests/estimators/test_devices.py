"""Estimators on devices that this machine lacks: refused, or pretended."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch.overrides import TorchFunctionMode

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
)

ESTIMATORS = (
    BertClassifier,
    BertRegressor,
    BertTokenClassifier,
    BertEmbedder,
    BertPretrainer,
    BertGenerator,
)


@pytest.fixture(scope="module")
def checkpoint(shallow_checkpoint):
    """One layer is enough here."""
    return shallow_checkpoint


class Pretended(TorchFunctionMode):
    """Keep on the CPU what is sent to a GPU, and refuse what that cannot hold."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.n_sent = kind, 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert func is not torch.Tensor.pin_memory
        here = [self.on_cpu(value) for value in args]
        named = {name: self.on_cpu(value) for name, value in kwargs.items()}
        result = func(*here, **named)
        if (*here, *named.values()) != (*args, *kwargs.values()):
            self.n_sent += 1
            if getattr(result, "dtype", None) == torch.float64:
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return result

    def on_cpu(self, value):
        is_there = isinstance(value, torch.device) and value.type == self.kind
        return torch.device("cpu") if is_there else value


@pytest.fixture
def gpu(pretend, monkeypatch):
    """Pretend to have a GPU of a kind; it has a generator, and pins no memory."""

    def of(kind):
        pretend(kind)
        module, generator = torch.get_device_module(kind), torch.Generator()
        get = lambda: generator  # noqa: E731
        monkeypatch.setattr(torch.mps, "_get_default_mps_generator", get)
        for name, value in (
            ("default_generators", [generator]),
            ("init", lambda: None),
            ("current_device", lambda: 0),
            ("empty_cache", lambda: None),
        ):
            monkeypatch.setattr(module, name, value, raising=False)
        # AdamW asks whether a graph is being captured.
        stream = SimpleNamespace(is_capturing=lambda: False)
        monkeypatch.setattr(torch.accelerator, "current_stream", lambda: stream)
        return Pretended(kind), generator

    return of


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("mps", "'mps', which this machine does not have"),
        ("cuda:9", "'cuda:9', which this machine does not have .it has 2"),
        ("gpu", "'gpu'; expected 'auto', 'cpu', 'cuda', 'mps'"),
    ],
)
def test_a_device_is_refused_before_the_checkpoint_is_read(
    pretend, cls, device, message
):
    """Where there is no such device, the checkpoint need not even exist."""
    pretend("mps", 0)
    pretend("cuda", 2)
    y = [["O"], ["O"]] if cls is BertTokenClassifier else [0.0, 1.0]
    X = [["a"], ["b"]] if cls is BertTokenClassifier else ["a", "b"]
    with pytest.raises(ValueError, match=f"device is {message}"):
        cls(checkpoint="no-such-checkpoint", device=device).fit(X, y)


def test_float16_on_a_cpu_is_float32_and_said(settings, reviews, monkeypatch):
    """The same model as in float32, and a warning that says why."""
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    exact = BertClassifier(**settings, max_epochs=1).fit(*reviews)
    other = clone(exact).set_params(precision="float16")
    with pytest.warns(UserWarning, match="this cpu has no native float16; float32 is"):
        other.fit(*reviews)
    with pytest.warns(UserWarning, match="float32 is used"):
        proba = other.predict_proba(reviews[0])
    np.testing.assert_array_equal(proba, exact.predict_proba(reviews[0]))
    assert "skipped_updates" not in other.history_[0]
    with pytest.raises(ValueError, match=r"'precision'.*'float16'"):
        clone(exact).set_params(precision="float8").fit(*reviews)


@pytest.mark.parametrize("cls", [BertClassifier, BertRegressor])
def test_float16_learns_as_float32_does(cls, settings, reviews, emulated_bfloat16):
    """The score in float16 is that of float32, and what is answered is float32."""
    texts, labels = reviews
    y = labels if cls is BertClassifier else [float(x == "pos") for x in labels]
    exact = cls(**settings, max_epochs=4).fit(texts, y)
    half = clone(exact).set_params(precision="float16").fit(texts, y)
    assert half.net_.runner_.dtype() == torch.float16
    assert half.score(texts, y) == pytest.approx(exact.score(texts, y), abs=0.1)
    assert half.score(texts, y) > 0.9
    assert [type(row["skipped_updates"]) for row in half.history_] == [int] * 4
    assert half.transform(texts).dtype == np.float32


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (BertPretrainer, {"next_sentence": False}),
        (BertGenerator, {}),
        (BertEmbedder, {"objective": "simcse"}),
    ],
)
def test_every_objective_learns_in_float16(
    cls, params, settings, reviews, emulated_bfloat16
):
    """Losses near those of float32, also of words and of pairs of views."""
    exact = cls(**settings, max_epochs=1, **params).fit(reviews[0])
    half = clone(exact).set_params(precision="float16").fit(reviews[0])
    losses = [model.history_[0]["train_loss"] for model in (exact, half)]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


@pytest.mark.parametrize(
    ("kind", "cls"), [("mps", BertRegressor), ("xpu", BertClassifier)]
)
def test_other_gpus_take_the_plain_path(gpu, kind, cls, settings, reviews):
    """Padded, in float32, from a generator that is given back, as on the CPU."""
    texts, labels = reviews
    y = labels if cls is BertClassifier else np.arange(40.0)
    settings = {**settings, "max_epochs": 1, "precision": "auto", "dropout": 0.0}
    on_cpu = cls(**{**settings, "precision": "float32"}).fit(texts, y)
    mode, generator = gpu(kind)
    before = generator.get_state()
    with mode, pytest.MonkeyPatch.context() as patch:
        properties = SimpleNamespace(has_bfloat16_conversions=False)
        patch.setattr(torch.xpu, "get_device_properties", lambda device: properties)
        there = cls(**{**settings, "device": "auto"}).fit(texts, y)
        assert torch.device(there.net_.device) == torch.device(kind)
        assert not there.net_.runner_.feed().packed
        vectors = there.transform(texts)
    assert mode.n_sent > 10
    assert torch.equal(generator.get_state(), before)
    np.testing.assert_allclose(vectors, on_cpu.transform(texts), atol=1e-3)


def test_a_missing_operator_is_told(gpu, settings, reviews, monkeypatch):
    """An error of MPS reaches the caller, with the way around it."""
    words = "The operator 'aten::x' is not currently implemented for the MPS device"
    mode, _ = gpu("mps")

    def fail(*args, **kwargs):
        raise NotImplementedError(words)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", fail)
    with mode, pytest.raises(NotImplementedError, match=re.escape(words)) as caught:
        BertClassifier(**{**settings, "device": "mps"}).fit(*reviews)
    assert any("PYTORCH_ENABLE_MPS_FALLBACK" in note for note in caught.value.__notes__)
