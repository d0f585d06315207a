import gc
import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping
from torch.nn import functional

from sklearn_bert._process._techniques import using
from sklearn_bert.compute._precision import fast_formats
from sklearn_bert.training._callbacks import BestWeights, FitProgress
from sklearn_bert.training._examples import Examples


@pytest.mark.parametrize("settings", [{}, {"batch_size": 7}, {"pooling": "pooler"}])
def test_training_is_the_hand_written_loop(
    make_net, data, train_plainly, assert_trained_alike, settings
):
    """Losses and weights are those of a plain PyTorch loop on the same batches."""
    data.weights[:] = np.linspace(0.5, 1.5, 40)
    net = make_net(weight_decay=0.1, warmup=0.2, **settings)
    plain = train_plainly(net, data)
    net.fit(data)
    assert_trained_alike(net, plain)


def test_only_the_examples_rows_are_trained_on(
    make_net, data, train_plainly, assert_trained_alike
):
    """Rows that the examples leave out take no part."""
    rows = np.array([1, 30, 5, 8, 22, 13, 2, 39, 17, 9])
    some = Examples(data.table, rows, data.targets, data.weights)
    net = make_net(batch_size=4)
    plain = train_plainly(net, some)
    net.fit(some)
    assert_trained_alike(net, plain)


def test_bfloat16_learns_as_float32_does(make_net, data):
    """Masters keep training in bfloat16 close to float32."""
    exact, rounded = [make_net(precision=p) for p in ("float32", "bfloat16")]
    exact.fit(data)
    rounded.fit(data)
    difference = exact.history[-1]["train_loss"] - rounded.history[-1]["train_loss"]
    assert abs(difference) < 0.02


def test_history_has_every_figure(make_net, data):
    """Each epoch records losses, score, rate and speed; the rate ends near 0."""
    net = make_net(max_epochs=3).fit(data, data)
    assert [row["epoch"] for row in net.history] == [1, 2, 3]
    for row in net.history:
        assert row["texts_per_second"] == pytest.approx(40 / row["seconds"])
        assert 0 <= row["valid_score"] <= 1
        assert row["valid_loss"] > 0
    assert net.history[-1]["learning_rate"] == pytest.approx(1e-3 / 15 / 0.9, rel=0.1)


def test_validation_is_the_loss_of_the_weights(make_net, data):
    """Validation loss and score are computed without dropout, weighted."""
    weights = np.linspace(0.1, 2, 40, dtype=np.float32)
    valid = Examples(data.table, data.rows, data.targets, weights)
    net = make_net(max_epochs=1).fit(data, valid)
    scores = torch.from_numpy(net.scores(data.table))
    losses = functional.cross_entropy(
        scores, torch.from_numpy(data.targets), reduction="none"
    )
    right = scores.argmax(1).numpy() == data.targets
    row = net.history[-1]
    assert row["valid_loss"] == pytest.approx(np.average(losses, weights=weights))
    assert row["valid_score"] == pytest.approx(np.average(right, weights=weights))


class At(Callback):
    """Do something at the n-th batch."""

    def __init__(self, n, action):
        self.n = n
        self.action = action

    def on_batch_end(self, net, **kwargs):
        self.n -= 1
        if self.n == 0:
            self.action(net)


def spoil(net):
    with torch.no_grad():
        net.module_.head.bias.fill_(torch.nan)


@pytest.mark.parametrize("n", [1, 5, 7])
def test_infinite_loss_names_the_update(make_net, data, n):
    """A loss that is not finite ends the training at once, naming the update."""
    net = make_net(callbacks=[At(n, spoil)])
    with pytest.raises(FloatingPointError, match=f"loss of update {n + 1} is nan"):
        net.fit(data)


def test_ctrl_c_propagates(make_net, data, monkeypatch):
    """A KeyboardInterrupt in the loop leaves the training as itself."""
    net = make_net()
    monkeypatch.setattr(
        net, "train_step", lambda batch: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        net.fit(data)


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin"])
def test_the_caller_s_error_is_shown(make_net, data, hook):
    """An error of a callback is not hidden by the clean-up after it."""

    class Failing(Callback):
        pass

    def fail(self, net, dataset_valid=None, **kwargs):
        raise ValueError("of the caller")

    setattr(Failing, hook, fail)
    net = make_net(callbacks=[Failing(), BestWeights(2), FitProgress()])
    with pytest.raises(ValueError, match="of the caller"):
        net.fit(data)


def test_callbacks_see_the_gradients(make_net, data):
    """skorch's hook after the backward pass is called with the gradients."""

    class Norms(Callback):
        norms: ClassVar[list[float]] = []

        def on_grad_computed(self, net, named_parameters, **kwargs):
            self.norms.append(sum(p.grad.norm().item() for _, p in named_parameters))

    make_net(max_epochs=1, callbacks=[Norms()]).fit(data)
    assert len(Norms.norms) == 5
    assert all(norm > 0 for norm in Norms.norms)


def test_skorch_s_early_stopping_stops(make_net, data):
    """A skorch callback that stops by KeyboardInterrupt ends the training well."""
    stopping = EarlyStopping(monitor="train_loss", patience=1, threshold=1e9, sink=str)
    net = make_net(max_epochs=9, callbacks=[stopping]).fit(data)
    assert len(net.history) == 2
    assert np.isfinite(net.scores(data.table)).all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_net_keeps_nothing_of_training(make_net, data, precision, error):
    """However it ends: float32 on the CPU, no gradient, no optimizer, no data."""

    def fail(net):
        if error is not None:
            net.train_step = lambda batch: (_ for _ in ()).throw(error("on purpose"))

    net = make_net(precision=precision, callbacks=[At(2, fail)])
    gc.freeze()  # only what the fit makes is looked through
    if error is None:
        net.fit(data, data)
    else:
        with pytest.raises(error, match="on purpose"):
            net.fit(data, data)
    assert not net.module.training
    for parameter in net.module.parameters():
        assert (parameter.dtype, parameter.device.type) == (torch.float32, "cpu")
        assert parameter.grad is None
    gc.collect()
    optimizers = [
        o for o in gc.get_objects() if issubclass(type(o), torch.optim.Optimizer)
    ]
    assert not optimizers
    assert not {"examples_", "valid_examples_"} & vars(net).keys()


def test_refitting_renews_the_working_copy(make_net, data):
    """Scores after a second training are those of the new weights."""
    net = make_net(precision="bfloat16").fit(data)
    net.scores(data.table)
    net.fit(data)
    after = net.scores(data.table)
    reread = pickle.loads(pickle.dumps(net)).scores(data.table)
    np.testing.assert_array_equal(after, reread)


def test_repr_is_short(make_net):
    """The net is named in a line, without its tensors."""
    text = repr(make_net())
    assert text.startswith("BertNet(")
    assert len(text) < 80


needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device"
)
ON_GPU = {"placement": "cuda", "precision": "auto"}


@pytest.fixture
def allocated():
    """Bytes on the GPU that something still holds."""

    def count():
        gc.collect()
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()

    return count


@pytest.mark.gpu
@needs_gpu
def test_training_on_a_gpu_leaves_no_tensor_there(make_net, data, allocated):
    """After a fit as after the one before it, no tensor of a net is on the GPU."""
    make_net(**ON_GPU).fit(data)  # CUDA's own workspaces
    before = allocated()
    net = make_net(**ON_GPU).fit(data)
    assert {p.device.type for p in net.module.parameters()} == {"cpu"}
    assert allocated() == before
    scores = net.scores(data.table)
    on_cpu = make_net()
    on_cpu.module.load_state_dict(net.module.state_dict())
    np.testing.assert_allclose(scores, on_cpu.scores(data.table), rtol=0, atol=5e-2)
    del net
    assert allocated() == before


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"trainable": "head", "fingerprint": "a"},
        {"trainable": 1, "fingerprint": "a"},
        {"adapter": "lora"},
        {"checkpointing": True},
        {"max_epochs": 25},  # enough for graphs
    ],
    ids=str,
)
@using("cuda_graphs")
def test_twenty_fits_leave_as_much_as_one(make_net, data, allocated, settings):
    """Fits in a row, as in a search, do not fill the GPU."""
    left = []
    for number in range(20 if "max_epochs" not in settings else 5):
        net = make_net(**ON_GPU, shuffle_seed=number, **settings)
        net.fit(data)
        left.append(allocated())
    assert len(set(left)) == 1


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("at", [2, 110])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@using("cuda_graphs")
def test_failed_fits_leave_nothing(make_net, data, allocated, error, at):
    """After an error, or a Ctrl-C, even between graphs, the GPU is as before."""
    make_net(**ON_GPU, max_epochs=25).fit(data)
    before = allocated()

    def fail(net):
        net.train_step = lambda batch: (_ for _ in ()).throw(error("on purpose"))

    for _ in range(3):
        net = make_net(**ON_GPU, max_epochs=25, callbacks=[At(at, fail)])
        with pytest.raises(error, match="on purpose"):
            net.fit(data)
        assert allocated() == before


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
@pytest.mark.parametrize("trainable", ["all", "head", 1])
def test_a_gpu_trains_as_the_plain_loop(
    make_net, data, train_plainly, trainable, precision
):
    """On a GPU, packed or padded, the losses are the CPU's within the precision."""
    if precision not in ("float32", *fast_formats(torch.device("cuda"))):
        pytest.skip(f"this GPU has no {precision}")
    settings = {"placement": "cuda", "precision": precision}
    net = make_net(trainable=trainable, **settings)
    is_packed = precision == "bfloat16"
    plain = train_plainly(net, data, by_length=not is_packed)
    net.fit(data)
    losses = [row["train_loss"] for row in net.history]
    atol = {"float32": 1e-4, "tf32": 1e-2}.get(precision, 2e-2)
    np.testing.assert_allclose(losses, plain.losses, rtol=0, atol=atol)
