import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sklearn_bert._process._techniques import OFF, uses, using, without
from sklearn_bert.compute import _self_check
from sklearn_bert.compute._inference import Feed
from sklearn_bert.compute._runner import Runner
from sklearn_bert.compute._self_check import is_proven
from sklearn_bert.training import _update
from sklearn_bert.training._callbacks import BestWeights
from sklearn_bert.training.acceleration import _cuda_graphs as _graphs
from sklearn_bert.training.acceleration._cuda_graphs import (
    N_WARM_UP,
    CaptureError,
    StepGraphs,
    check_graphs,
)

CPU = torch.device("cpu")


class FakeGraph:
    """Remembers what was captured, and does it when it is replayed."""

    capturing = None
    captured = 0
    replayed = 0

    def replay(self):
        FakeGraph.replayed += 1
        self.again()

    def reset(self):
        FakeGraph.capturing = None


def captured_not_done(step):
    """The step as a graph sees it: while one is captured, nothing is done."""

    def step_or_capture(*args, **inputs):
        graph = FakeGraph.capturing
        if graph is None:
            return step(*args, **inputs)
        loss = torch.full((), torch.nan)
        graph.again = lambda: loss.copy_(step(*args, **inputs))
        return loss

    return step_or_capture


@pytest.fixture
def fake_cuda(monkeypatch):
    """Stand-ins for streams and graphs, that work on the CPU."""
    FakeGraph.captured = FakeGraph.replayed = 0

    def stream(device=None):
        return SimpleNamespace(device=device, wait_stream=lambda other: None)

    @contextlib.contextmanager
    def capture(graph, *, pool, stream, capture_error_mode):
        assert capture_error_mode == "thread_local"
        FakeGraph.captured += 1
        FakeGraph.capturing = graph
        try:
            yield
        finally:
            FakeGraph.capturing = None

    monkeypatch.setattr(torch.cuda, "Stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda s: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", capture)


class FakeFeed(Feed):
    """Packs, and moves nothing."""

    def move(self, tensor):
        return tensor


def batch_of(n_tokens, value):
    ids = torch.full((1, n_tokens), value)
    return {"input_ids": ids, "longest": 7}


def test_the_second_of_a_size_is_captured(fake_cuda):
    """After the warm-up each size is captured at its second coming, then replayed."""
    done = []

    @captured_not_done
    def step(input_ids, longest):
        done.append((input_ids.shape[1], int(input_ids[0, 0])))
        assert longest == 7
        return input_ids.sum().float()

    graphs = StepGraphs(step, CPU)
    sizes = [4, 4, 4, 4, 4, 6, 6, 6, 8, 4]
    counts = []
    for value, size in enumerate(sizes):
        loss = graphs(batch_of(size, value))
        assert loss.item() == size * value
        counts.append((FakeGraph.captured, FakeGraph.replayed))
    assert N_WARM_UP == 3
    # Each update is done once and with its own batch, captured or not.
    assert done == [(size, value) for value, size in enumerate(sizes)]
    assert counts[2] == (0, 0)
    assert counts[3:] == [(1, 1), (1, 2), (1, 2), (2, 3), (2, 4), (2, 4), (2, 5)]


def test_inputs_are_copied(fake_cuda):
    """A graph reads its own tensors: the caller's batches stay as they are."""
    seen = []

    @captured_not_done
    def step(input_ids, longest):
        seen.append(input_ids)
        return input_ids.sum().float()

    graphs = StepGraphs(step, CPU)
    batches = [batch_of(4, value) for value in range(6)]
    for batch in batches:
        graphs(batch)
    assert seen[4] is seen[5]
    assert all(seen[5] is not batch["input_ids"] for batch in batches)
    assert [int(batch["input_ids"][0, 0]) for batch in batches] == [*range(6)]


def test_losses_are_read_before_they_are_overwritten(make_net, data, packed_by_graph):
    """The history has each update's own loss, not the last of its size."""
    net = make_net(max_epochs=5).fit(data)
    assert FakeGraph.replayed > 10
    losses = [row["train_loss"] for row in net.history[-1]["batches"]]
    assert len(set(losses)) == 5


@pytest.fixture(autouse=True)
def switched_on():
    """Let graphs be used: they are off by default."""
    with using("cuda_graphs"):
        yield


def test_by_default_nothing_is_captured(make_net, data, packed_by_graph):
    """Without the switch a long fit has no graph."""
    with without("cuda_graphs"):
        make_net(max_epochs=3).fit(data)
    assert FakeGraph.captured == FakeGraph.replayed == 0
    assert "cuda_graphs" in OFF


@pytest.fixture
def packed_by_graph(fake_cuda, fake_gpu, monkeypatch):
    """Let a net on the CPU train as on a GPU: packed, and by graphs."""
    monkeypatch.setattr(
        _graphs,
        "is_proven",
        lambda technique, *args: uses(technique) and not _self_check._failed,
    )
    monkeypatch.setattr(_graphs, "GRAPH_UPDATES", 1)
    monkeypatch.setattr(_graphs, "GRAPH_MULTIPLE", 32)
    step = captured_not_done(_update.Updates._whole_update)
    monkeypatch.setattr(
        _update.Updates, "_whole_update", lambda self, **inputs: step(self, **inputs)
    )
    monkeypatch.setattr(
        Runner,
        "feed",
        lambda self: FakeFeed(fake_gpu, self.pad_id, packed=True),
    )


@pytest.mark.parametrize("batch_size", [8, 7])
def test_training_by_graphs_is_the_plain_loop(
    make_net, data, packed_by_graph, train_plainly, assert_trained_alike, batch_size
):
    """Packed batches, replayed, train as padded ones in a hand-written loop."""
    net = make_net(max_epochs=4, batch_size=batch_size, weight_decay=0.1)
    plain = train_plainly(net, data, by_length=False)
    net.fit(data)
    assert FakeGraph.captured > 0
    assert FakeGraph.replayed >= 12
    assert_trained_alike(net, plain)


def test_validation_between_graphs(make_net, data, packed_by_graph):
    """Validation and later scores are of the texts alone, without the padding's."""
    net = make_net(max_epochs=4, callbacks=[BestWeights(9)])
    net.fit(data, data)
    assert FakeGraph.replayed > 0
    best = max(net.history, key=lambda r: (r["valid_score"], -r["valid_loss"]))
    right = net.scores(data.table).argmax(1) == data.targets
    assert right.mean() == pytest.approx(best["valid_score"])


@pytest.mark.parametrize("trainable", ["head", 1, 2])
def test_frozen_parts_train_packed(
    make_net, data, packed_by_graph, train_plainly, assert_trained_alike, trainable
):
    """What learns from features trains the same where batches are packed."""
    net = make_net(trainable=trainable, max_epochs=4)
    plain = train_plainly(net, data, by_length=False)
    net.fit(data)
    assert_trained_alike(net, plain)


def test_long_fits_only(make_net, data, packed_by_graph, monkeypatch):
    """A short fit, a huge batch and a hook on gradients are not captured."""
    monkeypatch.setattr(_graphs, "GRAPH_UPDATES", 11)
    make_net(max_epochs=2).fit(data)
    assert FakeGraph.captured == 0
    make_net(max_epochs=3).fit(data)
    assert FakeGraph.captured > 0
    FakeGraph.captured = 0
    monkeypatch.setattr(_graphs, "GRAPH_TOKENS", 8)
    make_net(max_epochs=3).fit(data)
    assert FakeGraph.captured == 0


def test_without_memory_for_graphs(
    make_net, data, packed_by_graph, train_plainly, assert_trained_alike, monkeypatch
):
    """Where a graph does not fit, training goes on without, from the same update."""
    call, n_calls = StepGraphs.__call__, iter(range(99))

    def run_out(self, batch):
        if next(n_calls) == 6:
            raise torch.OutOfMemoryError("no room for a graph")
        return call(self, batch)

    monkeypatch.setattr(_graphs.StepGraphs, "__call__", run_out)
    net = make_net(max_epochs=4)
    plain = train_plainly(net, data, by_length=False)
    net.fit(data)
    assert next(n_calls) == 7  # and it is not tried again
    assert net.batch_size_used_ == 8
    assert_trained_alike(net, plain)


# -- proof of the device -----------------------------------------------------------


@pytest.fixture
def graphs_of_steps(fake_cuda, monkeypatch):
    """Let every step be captured by stand-ins, also that of the check."""
    make = StepGraphs.__init__
    monkeypatch.setattr(
        StepGraphs,
        "__init__",
        lambda self, step, device: make(self, captured_not_done(step), CPU),
    )


def test_sound_graphs_are_proven(graphs_of_steps, fake_gpu):
    """Graphs that do what they have captured pass the check, once in a process."""
    assert is_proven("cuda_graphs", fake_gpu, check_graphs)
    assert (FakeGraph.captured, FakeGraph.replayed) == (2, 5)
    assert is_proven("cuda_graphs", fake_gpu, check_graphs)
    assert FakeGraph.captured == 2


def test_graphs_that_do_nothing_are_not_proven(graphs_of_steps, fake_gpu, monkeypatch):
    """Where a replay leaves the weights as they were, no graph is used."""
    monkeypatch.setattr(FakeGraph, "replay", lambda self: None)
    with pytest.warns(RuntimeWarning, match="the update as a CUDA graph does not work"):
        assert not is_proven("cuda_graphs", fake_gpu, check_graphs)


def test_a_spoilt_capture_leaves_nothing_in_capture_mode(
    make_net, data, packed_by_graph, train_plainly, assert_trained_alike, monkeypatch
):
    """Training goes on from the same update, and no later fit tries it again."""
    ended = []
    for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
        end = lambda index, pool, name=name: ended.append((name, index, pool))  # noqa: E731
        monkeypatch.setattr(torch._C, name, end)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)

    @contextlib.contextmanager
    def spoilt(graph, **settings):
        FakeGraph.capturing = graph
        yield
        raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(torch.cuda, "graph", spoilt)
    net = make_net(max_epochs=4)
    plain = train_plainly(net, data, by_length=False)
    with pytest.warns(RuntimeWarning, match="CaptureError: operation failed") as caught:
        net.fit(data)
    assert len(caught) == 1
    assert FakeGraph.capturing is None
    assert [(name, index) for name, index, _ in ended] == [
        ("_cuda_endAllocateToPool", 3),
        ("_cuda_releasePool", 3),
    ]
    assert_trained_alike(net, plain)
    make_net(max_epochs=4).fit(data)  # with no warning, and so no capture
    assert len(ended) == 2


needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device"
)


@pytest.fixture
def captures(monkeypatch):
    """The numbers of tokens that were captured."""
    sizes, capture = [], StepGraphs._capture

    def count(self, batch):
        sizes.append(batch["input_ids"].shape[1])
        return capture(self, batch)

    monkeypatch.setattr(StepGraphs, "_capture", count)
    return sizes


@pytest.mark.gpu
@needs_gpu
def test_graphs_train_as_without(make_net, data, captures):
    """On a GPU the loss curves with graphs and without differ by bfloat16's noise."""
    settings = {"placement": "cuda", "precision": "bfloat16", "max_epochs": 25}
    net = make_net(**settings).fit(data)
    assert captures
    captures.clear()
    with without("cuda_graphs"):
        plain = make_net(**settings).fit(data)
    assert not captures
    ours, theirs = [
        np.array([row["train_loss"] for row in n.history]) for n in (net, plain)
    ]
    assert ours[-1] < ours[0] / 2
    assert np.abs(ours - theirs).mean() < 2e-2


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_graphs_draw_new_dropout(make_net, make_encoder, data, captures, dropout):
    """A replayed update drops other entries each time."""
    net = make_net(
        make_encoder("bert", dropout=dropout, vocab_size=200),
        placement="cuda",
        precision="bfloat16",
        batch_size=40,
        max_epochs=120,
        lr=1e-12,  # too small for the losses to differ by it
    )
    net.fit(data)
    assert captures
    losses = [row["train_loss"] for row in net.history]
    assert (np.std(losses[-50:]) > 3e-3) == (dropout > 0)


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_goes_on_after_a_spoilt_capture():
    """Random numbers, memory and another graph are there as before."""
    device = torch.device("cuda", torch.cuda.current_device())

    def waits(input_ids, longest):
        torch.rand(longest, device=device)
        return input_ids.float().sum() + input_ids.sum().item()

    batch = {"input_ids": torch.ones(1, 4, device=device), "longest": 7}
    graphs = StepGraphs(waits, device)
    for _ in range(N_WARM_UP):
        graphs(batch)
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        with pytest.raises(CaptureError):
            graphs(batch)
    assert torch.rand(10**6, device=device).mean().item() == pytest.approx(0.5, abs=0.1)
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == before
    check_graphs(device)
