import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_linear_schedule_with_warmup

from sklearn_bert.training._schedule import steady, warmup_then_decay


@given(n_updates=st.integers(1, 500), warmup=st.floats(0, 1))
def test_schedule_gives_every_update_a_rate(n_updates, warmup):
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
