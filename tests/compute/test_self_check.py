import time

import numpy as np
import pytest
import torch

from sklearn_bert._process._techniques import without
from sklearn_bert.compute import _copies, _self_check
from sklearn_bert.compute._copies import Fetch, check_copies, to_device
from sklearn_bert.compute._inference import Feed, compute
from sklearn_bert.compute._runner import Runner
from sklearn_bert.compute._self_check import FAST_PATHS, check_packing, is_proven
from sklearn_bert.model import _attention
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.training import _optimizer
from sklearn_bert.training._optimizer import adamw, check_fused

CPU = torch.device("cpu")
SHORT = torch.bfloat16, 8  # a number format, and the width of a head
kernel = _attention._in_rectangles  # what a CPU has in the place of the kernel


def scaled_wrongly(*args):
    *before, scaling, dropout, left_to_right = args
    return kernel(*before, 1.1 * scaling, dropout, left_to_right)


def one_text_of_all(query, key, value, ends, *rest):
    return kernel(query, key, value, ends[[0, -1]], *rest)


def other_gradient(*args):
    out = kernel(*args)
    return out.detach() + 0.5 * (out - out.detach())


def other_mask_in_the_gradient(*args):
    kept, other = kernel(*args), kernel(*args)
    return kept.detach() + other - other.detach()


def seeing_what_follows(*args):
    return kernel(*args[:-1], False)


def not_a_number(*args):
    return kernel(*args) * torch.nan


def refused(*args):
    raise NotImplementedError("only Ampere GPUs or newer.\nmore words")


WRONG = {
    scaled_wrongly: "ArithmeticError: scores differ",
    one_text_of_all: "ArithmeticError: scores differ",
    other_gradient: "ArithmeticError: gradients differ",
    other_mask_in_the_gradient: "ArithmeticError: gradients of dropout differ",
    seeing_what_follows: "ArithmeticError: scores differ",
    not_a_number: "ArithmeticError: scores differ .* by nan",
    refused: "NotImplementedError: only Ampere GPUs or newer. This",
}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("head_size", [8, 64, 256])
def test_a_sound_kernel_is_proven(fake_gpu, dtype, head_size):
    """Without padding, short formats stay within the bounds by far, and say nothing."""
    assert is_proven("packing", fake_gpu, check_packing, dtype, head_size)


@pytest.mark.parametrize(("wrong", "reason"), WRONG.items())
def test_a_wrong_kernel_is_not_used(fake_gpu, monkeypatch, wrong, reason):
    """One warning names path, device, versions and reason; then it is quiet."""
    monkeypatch.setattr(_attention, "_in_rectangles", wrong)
    message = (
        rf"attention without padding does not work on cpu \(Fake GPU, torch "
        rf"{torch.__version__[:4]}.*\): {reason}"
    )
    with pytest.warns(RuntimeWarning, match=message) as caught:
        assert not is_proven("packing", fake_gpu, check_packing, *SHORT)
    assert len(caught) == 1
    assert "more words" not in str(caught[0].message)
    # Neither for another number format is it tried again.
    assert not is_proven("packing", fake_gpu, check_packing, torch.float16, 64)


@pytest.fixture
def runner(make_encoder, fake_gpu, short_formats_anywhere, monkeypatch):
    """A runner of a tiny model in bfloat16, on what it takes for a GPU."""
    available = lambda: True  # noqa: E731
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", available)
    monkeypatch.setattr(_copies, "is_proven", lambda *args: False)
    model = TextModel(make_encoder("bert"), pooling="mean", n_outputs=2).eval()
    return Runner(model, fake_gpu, precision="bfloat16", pad_id=0)


def test_texts_are_packed_where_that_is_proven(runner, make_table, monkeypatch):
    """Else they are padded, with the same answers; also where it is switched off."""
    table = make_table([3, 9, 1, 5])
    feed = runner.feed()
    assert feed.packed
    packed = compute(runner.model, table, feed)
    with without("packing"):
        assert not runner.feed().packed
    monkeypatch.setattr(_self_check, "_passed", set())
    monkeypatch.setattr(_attention, "_in_rectangles", refused)
    with pytest.warns(RuntimeWarning, match="only Ampere"):
        feed = runner.feed()
    assert not feed.packed
    padded = compute(runner.model, table, feed)
    torch.testing.assert_close(packed, padded, rtol=0, atol=1e-5)


@pytest.mark.parametrize("technique", FAST_PATHS)
def test_what_is_switched_off_is_not_checked(fake_gpu, technique):
    """A switch turns each path off, and a CPU has nothing to prove."""

    def fail(*args):
        raise AssertionError("it was checked")

    with without(technique):
        assert not is_proven(technique, fake_gpu, fail)
        assert not is_proven(technique, CPU, fail)
    if technique != "cuda_graphs":  # which are off
        assert is_proven(technique, CPU, fail)


def test_each_kind_is_checked_once_on_each_device(fake_gpu):
    """A second use costs a look; "cuda" is "cuda:0"."""
    seen = []
    first, second = torch.device("cuda:0"), torch.device("cuda:1")
    for device in (fake_gpu, first, second):
        for kind in (8, 64, 8):
            is_proven("packing", device, lambda *args: seen.append(args), kind)
    assert seen == [(fake_gpu, 8), (fake_gpu, 64), (second, 8), (second, 64)]


def test_a_full_device_proves_nothing(fake_gpu):
    """Where there is no memory for a check, it is made the next time."""

    def full(device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert not is_proven("packing", fake_gpu, full)
    assert is_proven("packing", fake_gpu, lambda device: None)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_check_leaves_the_generator_as_it_was(monkeypatch, fake_gpu, error):
    """Whatever a kernel does to the GPU's generator before it fails, it goes on."""
    generator = torch.Generator().manual_seed(7)
    monkeypatch.undo()
    monkeypatch.setattr(_self_check, "_failed", set())
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "default_generators", [generator])
    before = generator.get_state()

    def hang_up(device):
        torch.rand(3, generator=generator.manual_seed(1))
        raise error("in capture mode")

    caught = pytest.warns(RuntimeWarning, match="in capture mode")
    if error is KeyboardInterrupt:
        caught = pytest.raises(KeyboardInterrupt)
    with caught:
        is_proven("packing", torch.device("cuda:0"), hang_up)
    assert torch.equal(generator.get_state(), before)


# -- copies ------------------------------------------------------------------------


class Arrived:
    """An event that has happened."""

    def synchronize(self):
        pass

    def query(self):
        return True


@pytest.fixture
def pinned(monkeypatch):
    """Stand-ins for copies by pinned memory; how often they were asked for one."""
    asked = []
    monkeypatch.setattr(
        _copies, "_sent", lambda tensor, device: asked.append(tensor) or tensor.clone()
    )
    monkeypatch.setattr(_copies, "_fetched", lambda values: (values.clone(), Arrived()))
    return asked


def test_pinned_copies_are_checked_and_used(fake_gpu, pinned):
    """Tensors go by way of pinned memory, after two that tell whether they may."""
    numbers = torch.arange(5)
    for _ in range(2):
        assert torch.equal(to_device(numbers, fake_gpu), numbers)
    assert [len(tensor) for tensor in pinned] == [65536, 65536, 5, 5]


@pytest.mark.parametrize("how", ["too early", "refused"])
def test_wrong_copies_are_not_used(fake_gpu, pinned, monkeypatch, how):
    """Where other numbers come back, or none, tensors are copied plainly."""

    def fetched(values):
        if how == "refused":
            raise RuntimeError("Cannot pin")
        return torch.zeros_like(values), Arrived()

    monkeypatch.setattr(_copies, "_fetched", fetched)
    with pytest.warns(RuntimeWarning, match="other numbers come back|Cannot pin"):
        found = to_device(torch.arange(5), fake_gpu)
    assert found.tolist() == [0, 1, 2, 3, 4]
    assert len(pinned) <= 2


def test_values_of_a_cpu_are_there_at_once():
    """What is fetched from no GPU needs no event."""
    fetch = Fetch(torch.arange(3))
    assert fetch.has_arrived()
    assert fetch.result().tolist() == [0, 1, 2]


def test_a_feed_copies_by_either_way(fake_gpu, pinned, make_table):
    """Batches are the same by pinned memory and without it."""
    table, rows = make_table([3, 9, 1]), np.arange(3)
    by_pinned = Feed(fake_gpu, 0)(table, rows)
    assert len(pinned) == 4  # two of the check, ids and mask
    plain = Feed(CPU, 0)(table, rows)
    assert by_pinned.keys() == plain.keys()
    assert all(torch.equal(by_pinned[name], plain[name]) for name in plain)


# -- fused optimizer ---------------------------------------------------------------


class Refusing(torch.optim.AdamW):
    def __init__(self, params, *, fused=None, **settings):
        if fused:
            raise RuntimeError("`fused=True` requires other devices")
        super().__init__(params, fused=fused, **settings)


class Hasty(torch.optim.AdamW):
    def __init__(self, params, *, lr, fused=None, **settings):
        super().__init__(params, lr=1.01 * lr if fused else lr, fused=fused, **settings)


@pytest.mark.parametrize("optimizer", [None, Refusing, Hasty])
def test_an_optimizer_is_fused_where_that_is_proven(fake_gpu, monkeypatch, optimizer):
    """Else it steps plainly."""
    weights = [torch.ones(2)]
    if optimizer is None:
        assert adamw(weights, 0.1, fake_gpu).defaults["fused"]
        return
    monkeypatch.setattr(_optimizer.torch.optim, "AdamW", optimizer)
    message = "the fused optimizer does not work.*(requires other devices|weights diff)"
    with pytest.warns(RuntimeWarning, match=message):
        assert not adamw(weights, 0.1, fake_gpu).defaults["fused"]
    assert adamw(weights, 0.1, CPU) if optimizer is Hasty else True


# -- on a GPU ----------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fast_paths_of_this_gpu_are_proven():
    """Every check passes on this device, soon, and what it draws is not missed."""
    device = torch.device("cuda")
    check_packing(device, torch.bfloat16, 64)  # which loads the libraries
    before, start = torch.cuda.get_rng_state(), time.perf_counter()
    check_copies(device)
    check_fused(device)
    for head_size in (8, 32, 64, 128, 256):
        assert is_proven("packing", device, check_packing, torch.bfloat16, head_size)
    assert time.perf_counter() - start < 2
    assert torch.equal(torch.cuda.get_rng_state(), before)
