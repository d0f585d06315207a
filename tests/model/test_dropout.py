import pytest
import torch
from torch import nn

from sklearn_bert.model._dropout import Dropout, drop, use_own_dropout

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_so_many_are_dropped(rate, dtype):
    """The share of zeros is the rate, the others are scaled up, the mean is kept."""
    n = 1_000_000
    dropped = drop(torch.ones(n, dtype=dtype), rate)
    share = (dropped == 0).float().mean().item()
    assert abs(share - rate) < 5 * (rate * (1 - rate) / n) ** 0.5 + 2**-17
    kept = dropped[dropped != 0]
    assert kept.unique().numel() == 1
    tolerance = 1e-6 if dtype == torch.float32 else 4e-3
    assert kept[0].item() == pytest.approx(1 / (1 - rate), rel=tolerance)
    assert dropped.float().mean().item() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9999])
def test_kept_entries_are_scaled_as_a_product(rate, dtype):
    """To the bit, what is kept and its gradient are times the rounded scale."""
    x = torch.randn(7, 33, dtype=dtype, requires_grad=True)
    given = torch.randn(7, 33, dtype=dtype)
    found = drop(x, rate)
    scale = torch.ones((), dtype=dtype) * (1 / (1 - rate))
    mask = (found != 0) * scale
    assert torch.equal(found, x * mask)
    assert torch.equal(torch.autograd.grad(found, x, given)[0], given * mask)


def test_entries_are_dropped_independently():
    """Neighbours do not fall together, though four of them share a draw."""
    dropped = (drop(torch.ones(400_000), 0.5) == 0).view(-1, 4).float()
    correlation = torch.corrcoef(dropped.T)
    assert (correlation - torch.eye(4)).abs().max() < 0.02
    by_value = dropped @ torch.tensor([1.0, 2, 4, 8])
    counts = by_value.long().bincount(minlength=16) / len(dropped)
    torch.testing.assert_close(counts, torch.full((16,), 1 / 16), rtol=0, atol=0.005)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (5, 7), (2, 3, 5), (0, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_shape(shape, dtype):
    """Sizes that are no multiples of four keep shape and number format."""
    x = torch.full(shape, 3.0, dtype=dtype)
    dropped = drop(x, 0.5)
    assert (dropped.shape, dropped.dtype) == (x.shape, x.dtype)
    assert set(dropped.flatten().tolist()) <= {0.0, 6.0}


def test_views_are_dropped_entry_by_entry():
    """A transposed tensor loses single entries, too, and is not changed itself."""
    x = torch.ones(300, 200)
    dropped = drop(x.T, 0.3)
    assert dropped.shape == (200, 300)
    assert (x == 1).all()
    assert 0.25 < (dropped == 0).float().mean() < 0.35


def test_gradients_flow_through_what_is_kept():
    """The gradient is 0 at a dropped entry and the scale elsewhere."""
    x = torch.ones(1001, requires_grad=True)
    dropped = drop(x, 0.25)
    dropped.sum().backward()
    torch.testing.assert_close(x.grad, dropped.detach())
    torch.testing.assert_close(x.grad.unique(), torch.tensor([0.0, 4 / 3]))


def test_draws_follow_the_seed():
    """The same seed drops the same entries, another draw others."""
    x = torch.ones(1000)
    torch.manual_seed(3)
    first, second = drop(x, 0.5), drop(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(drop(x, 0.5), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("rate", [0.0, 1e-7])
def test_tiny_rates_drop_nothing(rate):
    """A rate below a level's half keeps every entry."""
    x = torch.randn(10_001)
    torch.testing.assert_close(drop(x, rate), x)


@pytest.mark.parametrize("rate", [0.999, 0.99999, 0.9999999])
def test_rates_near_one_drop_nearly_all(rate):
    """The largest rates drop what they say."""
    kept = (drop(torch.ones(100_000), rate) != 0).float().mean().item()
    assert kept <= 2 * (1 - rate) + 1e-3


def test_at_rest_nothing_happens():
    """In evaluation mode, and at rate 0, the tensor itself comes out."""
    x = torch.randn(10)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0).train()(x) is x
    assert not torch.equal(Dropout(0.5).train()(x), x)


@pytest.mark.parametrize("training", [False, True])
def test_every_dropout_is_replaced(training):
    """Nested ones too; rate and mode stay, other modules are the same objects."""
    linear, other = nn.Linear(2, 2), nn.Dropout1d(0.3)
    model = nn.Sequential(
        nn.Dropout(0.1), nn.Sequential(linear, nn.Dropout(0.2)), other
    )
    model.train(training)
    use_own_dropout(model)
    assert [type(model[0]), type(model[1][1])] == [Dropout, Dropout]
    assert [model[0].p, model[1][1].p] == [0.1, 0.2]
    assert model[0].training is model[1][1].training is training
    assert model[1][0] is linear
    assert model[2] is other
    replaced = model[0]
    use_own_dropout(model)
    assert model[0] is replaced
