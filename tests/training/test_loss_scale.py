import copy

import numpy as np
import pytest
import torch

from sklearn_bert.compute._inference import Feed
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.training import _loss_scale
from sklearn_bert.training._loss_scale import LossScale
from sklearn_bert.training._losses import CrossEntropy
from sklearn_bert.training._optimizer import MasterWeights
from sklearn_bert.training._update import Updates

CPU = torch.device("cpu")
BAD = (torch.inf, -torch.inf, torch.nan)


def weights_and_adam(device):
    weights = [
        torch.linspace(-1, 1, n, requires_grad=True, device=device) for n in (5, 3)
    ]
    return weights, torch.optim.AdamW(weights, lr=0.1, fused=True)


def step_alike(pattern, rng, device):
    """Step weights by our scale, and others by torch's, where some updates overflow."""
    ours, adam = weights_and_adam(device)
    theirs, other = weights_and_adam(device)
    scale, scaler = LossScale(), torch.amp.GradScaler(device, growth_interval=2)
    for overflows in pattern:
        gradients = [torch.from_numpy(rng.normal(0, 2, n)).float() for n in (5, 3)]
        if overflows:
            gradients[rng.integers(2)][rng.integers(3)] = BAD[rng.integers(3)]
        for weights, factor in (
            (ours, scale.scale),
            (theirs, scaler.scale(torch.ones((), device=device))),
        ):
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient.to(device) * factor
        if scale.unscale(ours):
            torch.nn.utils.clip_grad_norm_(ours, 1.0)
            adam.step()
        scaler.unscale_(other)
        torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        scaler.step(other)
        scaler.update()
        assert scale.scale == scaler.get_scale()
        assert all(map(torch.equal, ours, theirs))
    for weight, twin in zip(ours, theirs, strict=True):
        for name, value in adam.state[weight].items():
            assert torch.equal(value, other.state[twin][name]), name


@pytest.mark.parametrize(
    "seeds", [range(50), pytest.param(range(50, 500), marks=pytest.mark.slow)], ids=len
)
def test_it_is_torch_s_grad_scaler(monkeypatch, seeds):
    """Scale, clipped steps and weights: bit for bit, whichever updates overflow."""
    monkeypatch.setattr(_loss_scale, "GROW_AFTER", 2)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        step_alike(rng.random(8) < rng.random(), rng, "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_it_is_torch_s_grad_scaler_on_a_gpu(monkeypatch):
    """The same, where the kernels of a GPU unscale and step."""
    monkeypatch.setattr(_loss_scale, "GROW_AFTER", 2)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        step_alike(rng.random(8) < rng.random(), rng, "cuda")


def gradient(weight, value):
    weight.grad = torch.full_like(weight, value)
    return [weight]


def test_it_starts_and_grows_as_grad_scaler(monkeypatch):
    """From 65536 it doubles after 2000 good updates in a row, as torch's does."""
    scaler = torch.amp.GradScaler("cpu")
    scale, weight = LossScale(), torch.zeros(2)
    assert scale.scale == scaler.get_scale() == 2**16
    assert scaler.get_growth_interval() == _loss_scale.GROW_AFTER == 2000
    for _ in range(1999):
        assert scale.unscale(gradient(weight, 0.0))
    assert not scale.unscale(gradient(weight, torch.nan))
    for _ in range(1999):
        assert scale.unscale(gradient(weight, 0.0))
    assert scale.scale == 2**15
    assert scale.unscale(gradient(weight, 0.0))
    assert scale.scale == 2**16
    scale.scale = 2.0**127  # the largest that float32 has of these
    for _ in range(2000):
        scale.unscale(gradient(weight, 0.0))
    assert scale.scale == 2.0**127


def test_a_scale_that_is_not_the_cause():
    """Twenty updates in a row that overflow are an error; nineteen are not."""
    scale, weight = LossScale(), torch.zeros(2)
    for _ in range(3):
        for _ in range(19):
            assert not scale.unscale(gradient(weight, torch.inf))
        assert scale.unscale(gradient(weight, 1.0))
    for _ in range(19):
        scale.unscale(gradient(weight, torch.inf))
    message = "20 updates in a row have overflowed in float16.*'float32'"
    with pytest.raises(FloatingPointError, match=message):
        scale.unscale(gradient(weight, torch.nan))


def test_a_state_can_be_put_back():
    """A scale goes on where another was; what is none is refused."""
    scale, other, weight = LossScale(), LossScale(), torch.zeros(2)
    for value in (1.0, torch.inf, torch.inf, 1.0):
        scale.unscale(gradient(weight, value))
    other.put_back(scale.state())
    assert other.state() == scale.state()
    assert scale.state() == {"scale": 2**14, "n_good": 1, "n_bad": 0}
    for bad in ({"scale": 0.0}, {"scale": torch.nan}, {"n_good": -1}):
        with pytest.raises(ValueError, match="the scale of its losses is none"):
            other.put_back(scale.state() | bad)
    assert other.state() == scale.state()


# -- updates -----------------------------------------------------------------------


@pytest.fixture
def low_scale(monkeypatch):
    """Start at a scale at which nothing overflows of itself."""
    monkeypatch.setattr(_loss_scale, "FIRST_SCALE", 2.0**9)


def make_updates(model):
    masters = MasterWeights(model, torch.float16)
    return Updates(
        model,
        masters,
        CrossEntropy(),
        Feed(CPU, 0),
        lr=1e-2,
        weight_decay=0.1,
        rate_factors=None,
        schedule=lambda n_done: 1 / (n_done + 1),
        n_updates=9,
        batch_size=8,
    )


def overflow_in(model, updates_to_spoil):
    """Let a gradient of the encoder be infinite in some updates."""
    count = iter(range(100))

    def spoil(gradient):
        return gradient + torch.inf if next(count) in updates_to_spoil else gradient

    name, weight = next(
        (n, p) for n, p in model.named_parameters() if n.endswith("query.weight")
    )
    assert weight.dtype == torch.float16, name
    weight.register_hook(spoil)


def train_by_hand(model, data, batches, spoilt):
    """Train with torch's GradScaler on float32 masters, as its documentation does."""
    masters = {}
    for p in model.encoder.parameters():
        masters[p] = p.detach().clone().requires_grad_()
        p.data = p.data.half()
    overflow_in(model, spoilt)
    named = [
        (n, masters.get(p, p)) for n, p in model.named_parameters() if p.requires_grad
    ]
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [p],
                "weight_decay": 0.1 * (p.ndim > 1),
                "factor": 10 if n.startswith("head.") else 1,
            }
            for n, p in named
        ],
        fused=True,
    )
    scaler, n_done = torch.amp.GradScaler("cpu", init_scale=2.0**9), 0
    for rows in batches:
        rows = rows[np.argsort(data.table.lengths[rows], kind="stable")]
        scores = model(**Feed(CPU, 0)(data.table, rows))
        loss = torch.nn.functional.cross_entropy(
            scores, torch.tensor(data.targets[rows])
        )
        scaler.scale(loss).backward()
        for p, master in masters.items():
            if p.grad is not None:
                master.grad, p.grad = p.grad.float(), None
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 / (n_done + 1) * group["factor"]
        before = scaler.get_scale()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
        scaler.step(optimizer)
        scaler.update()
        n_done += scaler.get_scale() >= before
        optimizer.zero_grad()
        with torch.no_grad():
            for p, master in masters.items():
                p.copy_(master)
    return dict(named), scaler.get_scale()


@pytest.mark.parametrize("spoilt", [(), (1,), (1, 2), (1, 4)])
def test_updates_are_a_plain_loop_with_grad_scaler(low_scale, make_net, data, spoilt):
    """Weights and scale are those of torch's own; a skipped update moves no rate."""
    model = make_net().module.train()
    other = copy.deepcopy(model)
    updates = make_updates(model)
    overflow_in(model, spoilt)
    batches = np.arange(40).reshape(5, 8)
    rates = []
    for rows in batches:
        rates.append(updates.rate)
        updates(data, rows)
    expected, scale = train_by_hand(other, data, batches, spoilt)
    assert updates.loss_scale.scale == scale == 2.0 ** (9 - len(spoilt))
    assert updates.n_done == 5 - len(spoilt)
    n_done = np.cumsum([0, *(i not in spoilt for i in range(4))])
    assert rates == pytest.approx(1e-2 / (n_done + 1))
    assert expected.keys() == updates.masters.trained.keys()
    for name, weight in updates.masters.trained.items():
        assert torch.equal(weight, expected[name]), name


def test_other_formats_have_no_scale(make_net, data):
    """Nothing is scaled in float32 or bfloat16, nor where float16 does not learn."""
    for precision in ("float32", "bfloat16"):
        net = make_net(precision=precision, max_epochs=1).fit(data)
        assert "skipped_updates" not in net.history[-1]
    net = make_net(precision="float16", trainable="head", max_epochs=1).fit(data)
    assert "skipped_updates" not in net.history[-1]


# -- fits --------------------------------------------------------------------------


def spoil_updates(monkeypatch, spoilt):
    """Let the loss of some updates be infinite; list the rates of all that step."""
    collect, count = Updates._collect, iter(range(1000))

    def collect_or_spoil(self, scores, targets, weights, n_targets, n_rows):
        if next(count) in spoilt:
            weights = weights * torch.inf
        return collect(self, scores, targets, weights, n_targets, n_rows)

    monkeypatch.setattr(Updates, "_collect", collect_or_spoil)


def test_a_fit_in_float16_is_one_in_float32(low_scale, make_net, data):
    """Losses and scores are near those of float32, with and without overflows."""
    exact = make_net(max_epochs=4).fit(data, data)
    net = make_net(max_epochs=4, precision="float16").fit(data, data)
    losses, scores = (
        [[row[name] for row in n.history] for n in (exact, net)]
        for name in ("train_loss", "valid_score")
    )
    np.testing.assert_allclose(*losses, atol=5e-3)
    np.testing.assert_allclose(*scores, atol=0.051)  # one text of forty
    assert [row["skipped_updates"] for row in net.history] == [0, 0, 0, 0]
    for name, weight in net.module.state_dict().items():
        assert weight.dtype == torch.float32
        reference = exact.module.state_dict()[name]
        torch.testing.assert_close(weight, reference, rtol=0, atol=2e-2)
    answers = net.scores(data.table)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, exact.scores(data.table), atol=0.05)


def test_skipped_updates_are_counted(low_scale, make_net, data, monkeypatch):
    """`history` has how many of each epoch; a loss that overflowed is left out."""
    spoil_updates(monkeypatch, {1, 3, 7})
    net = make_net(precision="float16", max_epochs=3, weight_decay=0.5).fit(data)
    assert [row["skipped_updates"] for row in net.history] == [2, 1, 0]
    assert all(np.isfinite(row["train_loss"]) for row in net.history)
    losses = [row["train_loss"] for row in net.history[0]["batches"]]
    assert np.isfinite(losses).tolist() == [True, False, True, False, True]
    mean = np.mean([loss for loss in losses if np.isfinite(loss)])
    assert net.history[0]["train_loss"] == pytest.approx(mean)


def test_words_outside_decay_as_often_as_others(low_scale, make_net, data, monkeypatch):
    """A word that no text has does not decay in an update that is skipped."""
    start = make_net().module.encoder.get_input_embeddings().weight.detach().clone()
    spoil_updates(monkeypatch, {0, 4})
    rates, step = [], Updates._step

    def note(self):
        rate = self.rate
        is_done = step(self)
        rates.extend([rate] * is_done)
        return is_done

    monkeypatch.setattr(Updates, "_step", note)
    net = make_net(precision="float16", weight_decay=0.5, lr=1e-2, max_epochs=1)
    net.fit(data)
    assert len(rates) == 4
    unused = np.setdiff1d(np.arange(1, len(start)), data.table.ids)
    weight = net.module.encoder.get_input_embeddings().weight[unused]
    decay = np.prod([1 - 0.5 * rate for rate in rates])
    torch.testing.assert_close(weight, start[unused] * decay, rtol=1e-6, atol=0)


def test_no_text_is_lost_to_the_first_scale(make_net, data, monkeypatch):
    """The first update is tried until it fits: a fit of one is as in float32."""
    monkeypatch.setattr(_loss_scale, "FIRST_SCALE", 2.0**24)
    exact, net = (
        make_net(precision=precision, batch_size=40, max_epochs=1).fit(data)
        for precision in ("float32", "float16")
    )
    assert net.history[0]["skipped_updates"] == 0
    head, expected = (n.module.head.weight for n in (net, exact))
    torch.testing.assert_close(head, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("first", [0, 3])
def test_losses_that_stay_infinite_are_an_error(make_net, data, monkeypatch, first):
    """Where nothing is learnt, or not any more, the fit says so."""
    spoil_updates(monkeypatch, range(first, 1000))
    message = "training has diverged.*precision='float32'"
    with pytest.raises(FloatingPointError, match=message):
        make_net(precision="float16", max_epochs=9).fit(data)


def test_gradients_that_stay_infinite_are_an_error(make_net, data, monkeypatch):
    """Finite losses do not hide that nothing is learnt any more."""
    unscale, count = LossScale.unscale, iter(range(1000))

    def overflow(self, weights):
        if next(count) >= 9:
            weights = gradient(torch.zeros(1), torch.inf)
        return unscale(self, weights)

    monkeypatch.setattr(LossScale, "unscale", overflow)
    with pytest.raises(FloatingPointError, match="20 updates in a row have overflowed"):
        make_net(precision="float16", max_epochs=9).fit(data)
    assert next(count) == 29


def test_parts_of_a_batch_are_scaled_alike(low_scale, make_net, data, monkeypatch):
    """The gradients of parts add up, of as many texts as there is memory for."""
    whole = make_net(precision="float16").fit(data)
    forward = TextModel.forward

    def forward_or_fail(self, input_ids, *args, **inputs):
        if self.training and len(input_ids) > 2:
            raise torch.OutOfMemoryError("no more")
        return forward(self, input_ids, *args, **inputs)

    monkeypatch.setattr(TextModel, "forward", forward_or_fail)
    net = make_net(precision="float16").fit(data)
    assert net.batch_size_used_ == 2
    losses = [[row["train_loss"] for row in n.history] for n in (whole, net)]
    np.testing.assert_allclose(*losses, atol=5e-3)
    assert [row["skipped_updates"] for row in net.history] == [0, 0]
