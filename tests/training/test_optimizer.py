import copy
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_linear_schedule_with_warmup

from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.training._optimizer import (
    MasterWeights,
    layer_factors,
    parameter_groups,
    steady,
    warmup_then_decay,
)


def test_biases_and_norms_do_not_decay():
    """Only matrices are in the group with weight decay."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    decayed, kept = parameter_groups(module.named_parameters(), 0.3)
    assert [p.ndim for p in decayed["params"]] == [2]
    assert [p.ndim for p in kept["params"]] == [1, 1, 1]
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.3, 0.0)
    assert decayed["rate_factor"] == kept["rate_factor"] == 1


def test_the_head_takes_longer_steps():
    """The head's weights are in groups of their own."""
    weights = torch.zeros(2, 2)
    encoder, head = parameter_groups([("encoder.x", weights), ("head.x", weights)], 0.1)
    assert encoder["rate_factor"] == 1
    assert head["rate_factor"] > 1


def test_a_head_alone_takes_the_longest_steps():
    """Where nothing else learns, the head's steps are longer still."""
    weights, bias = torch.zeros(2, 2), torch.zeros(2)
    _, beside = parameter_groups([("encoder.x", weights), ("head.x", weights)], 0.1)
    alone = parameter_groups([("head.x", weights), ("head.b", bias)], 0.1)
    assert len({group["rate_factor"] for group in alone}) == 1
    assert alone[0]["rate_factor"] > beside["rate_factor"]


@given(
    st.dictionaries(st.text(max_size=3), st.integers(0, 24), max_size=9),
    st.floats(0.1, 0.99),
)
def test_a_factor_per_layer(depths, layer_decay):
    """The rate is multiplied once for every layer down, and all of it at the head."""
    factors = layer_factors(depths, layer_decay)
    assert factors.keys() == depths.keys()
    for name, depth in depths.items():
        expected = 1.0
        for _ in range(depth):
            expected *= layer_decay
        assert factors[name] == pytest.approx(expected)


@pytest.mark.parametrize("one", [1, 1.0])
def test_without_layer_decay_there_are_no_factors(one):
    """All layers step alike: nothing needs to be known of them."""
    assert layer_factors({"a": 3}, one) is None


def test_groups_by_factor():
    """Weights of a factor are in one group, those of vectors apart; none is lost."""
    named = {
        "encoder.top.w": torch.zeros(2, 2),
        "encoder.top.b": torch.zeros(2),
        "encoder.other.w": torch.zeros(3, 2),
        "encoder.low.w": torch.zeros(2, 2),
        "head.weight": torch.zeros(2, 2),
        "head.bias": torch.zeros(2),
    }
    factors = dict(zip(named, [0.5, 0.5, 0.5, 0.25, 1.0, 1.0], strict=True))
    groups = parameter_groups(named.items(), 0.1, factors)
    found = {
        name: (group["rate_factor"], group["weight_decay"])
        for group in groups
        for name, parameter in named.items()
        if any(parameter is p for p in group["params"])
    }
    assert found == {
        "encoder.top.w": (0.5, 0.1),
        "encoder.top.b": (0.5, 0.0),
        "encoder.other.w": (0.5, 0.1),
        "encoder.low.w": (0.25, 0.1),
        "head.weight": (10.0, 0.1),
        "head.bias": (10.0, 0.0),
    }
    assert sum(len(group["params"]) for group in groups) == len(named)
    assert len(groups) == 5


def test_a_head_alone_ignores_factors():
    """Where the head learns alone, layers below it change nothing of its rate."""
    named = [("head.weight", torch.zeros(2, 2))]
    plain = parameter_groups(named, 0.1)
    assert parameter_groups(named, 0.1, {"head.weight": 1.0}) == plain


# -- the rate over time ------------------------------------------------------------


@given(n_updates=st.integers(1, 500), warmup=st.floats(0, 1))
def test_schedule_gives_every_update_a_rate(n_updates, warmup):
    """The share is never 0, never above 1, rises and then falls."""
    shares = [warmup_then_decay(u, n_updates, warmup) for u in range(n_updates)]
    assert all(0 < s <= 1 for s in shares)
    peak = shares.index(max(shares))
    assert shares[: peak + 1] == sorted(shares[: peak + 1])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)


def test_follows_transformers():
    """The line is transformers' own, but for the first update, which is not lost."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = get_linear_schedule_with_warmup(optimizer, 10, 100)
    ours = partial(warmup_then_decay, n_updates=100, warmup=0.1)
    for update in range(100):
        assert ours(update) == pytest.approx(theirs.get_last_lr()[0], abs=0.1)
        if update >= 10:
            assert ours(update) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_a_steady_rate_is_reached_after_ten_updates():
    """It rises in a line over ten updates and then stays at the peak, for ever."""
    shares = [steady(update) for update in range(12)]
    assert shares == pytest.approx([i / 10 for i in range(1, 10)] + [1, 1, 1])
    assert steady(10**9) == 1


# -- float32 weights ---------------------------------------------------------------

IDS = torch.tensor([[2, 5, 6, 7, 3]])


@pytest.fixture
def model(checkpoint):
    with torch.random.fork_rng(devices=[]):
        encoder = load_checkpoint(checkpoint, dropout=0.0).encoder
        return TextModel(encoder, pooling="mean", n_outputs=2)


def of_encoder(weights):
    """The masters of the encoder: what bfloat16 rounds. There are many."""
    found = {n: w for n, w in weights.trained.items() if n.startswith("encoder.")}
    assert len(found) > 20
    return found


def step(model, weights, optimizer):
    model(IDS)[0, 0].backward()
    weights.collect_gradients()
    optimizer.step()
    weights.update_working()


def test_small_steps_are_not_lost(model):
    """A thousand steps too small for bfloat16 move the masters as float32 does."""
    weights = MasterWeights(model, torch.bfloat16)
    name, master = next(iter(weights.trained.items()))
    start = master.clone()
    for _ in range(1000):
        master += start.abs() * 1e-5
        weights.update_working()
    working = dict(model.named_parameters())[name]
    assert working.dtype == torch.bfloat16
    expected = (start + start.abs() * 1e-2).bfloat16()
    torch.testing.assert_close(working, expected, rtol=8e-3, atol=0)


def test_float32_needs_no_copies(model):
    """In float32 the masters are the model's own parameters."""
    own = {n: p for n, p in model.named_parameters() if p.requires_grad}
    named = MasterWeights(model, torch.float32).trained
    assert named.keys() == own.keys()
    assert all(named[name] is own[name] for name in own)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_restore_gives_the_masters_back(model, dtype):
    """Afterwards the model is float32 with the masters' values and no gradient."""
    weights = MasterWeights(model, dtype)
    optimizer = torch.optim.AdamW(
        [w for _, w in weights.trained.items()], lr=1e-2, fused=True
    )
    step(model, weights, optimizer)
    expected = {n: p.detach().clone() for n, p in weights.trained.items()}
    weights.restore(model, None)
    for parameter in model.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is None
    restored = dict(model.named_parameters())
    assert expected.keys() >= of_encoder(weights).keys()
    for name, value in expected.items():
        assert torch.equal(restored[name], value)


def test_frozen_weights_are_not_rounded(model):
    """A weight that is not trained comes back bit by bit, after bfloat16 too."""
    before = copy.deepcopy(model.encoder.pooler.state_dict())
    weights = MasterWeights(model, torch.bfloat16)
    weights.restore(model, None)
    after = model.encoder.pooler.state_dict()
    assert set(before) == {"dense.weight", "dense.bias"}
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_snapshot_is_a_copy(model):
    """A snapshot does not follow later steps, and can be restored."""
    weights = MasterWeights(model, torch.bfloat16)
    optimizer = torch.optim.AdamW(
        [w for _, w in weights.trained.items()], lr=1e-2, fused=True
    )
    snapshot = weights.snapshot()
    expected = {n: p.clone() for n, p in snapshot.items()}
    assert expected.keys() >= of_encoder(weights).keys()
    step(model, weights, optimizer)
    weights.restore(model, snapshot)
    for name, value in expected.items():
        assert torch.equal(dict(model.named_parameters())[name], value)


def test_gradients_reach_the_masters(model):
    """The masters' gradients are the working weights', in float32."""
    weights = MasterWeights(model, torch.bfloat16)
    model(IDS)[0, 0].backward()
    working = {n: p.grad for n, p in model.named_parameters()}
    weights.collect_gradients()
    for _, master in weights.trained.items():
        assert master.grad.dtype == torch.float32
    for name, master in of_encoder(weights).items():
        assert working[name].dtype == torch.bfloat16
        assert torch.equal(master.grad, working[name].float())


def test_gradients_of_parts_are_added_in_float32(model):
    """What is collected before a step adds up, without rounding to bfloat16."""
    weights = MasterWeights(model, torch.bfloat16)
    n_parts = 50
    expected = {n: torch.zeros_like(p) for n, p in of_encoder(weights).items()}
    for part in range(n_parts):
        model(IDS + part % 3)[0, part % 2].backward()
        working = dict(model.named_parameters())
        for name, gradient in expected.items():
            gradient += working[name].grad.float()
        weights.collect_gradients()
    for name, master in of_encoder(weights).items():
        assert torch.equal(master.grad, expected[name])
    weights.drop_gradients()
    assert all(
        p.grad is None
        for p in [*[w for _, w in weights.trained.items()], *model.parameters()]
    )
