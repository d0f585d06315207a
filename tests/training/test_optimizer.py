import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_linear_schedule_with_warmup

from sklearn_bert.training._optimizer import (
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
def test_every_update_counts(n_updates, warmup):
    """The share is never 0, never above 1, rises and then falls."""
    share = warmup_then_decay(n_updates, warmup)
    shares = [share(update) for update in range(n_updates)]
    assert all(0 < s <= 1 for s in shares)
    peak = shares.index(max(shares))
    assert shares[: peak + 1] == sorted(shares[: peak + 1])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)


def test_follows_transformers():
    """The line is transformers' own, but for the first update, which is not lost."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = get_linear_schedule_with_warmup(optimizer, 10, 100)
    ours = warmup_then_decay(100, 0.1)
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
