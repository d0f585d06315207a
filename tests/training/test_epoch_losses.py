import numpy as np
import pytest
import torch

from sklearn_bert.training import _epoch_losses as _losses
from sklearn_bert.training._epoch_losses import EpochLosses, average

CPU = torch.device("cpu")


def test_losses_are_read_in_order():
    """What was appended is read, and later changes of a loss's tensor are not."""
    losses, loss = EpochLosses(5, 0, CPU), torch.tensor(0.0)
    for value in (0.5, 0.25, 2.0):
        losses.append(loss.fill_(value))
    assert losses.read().tolist() == [[0.5], [0.25], [2.0]]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_cpu_says_it_at_once(value):
    """The update is named in which the loss is no longer finite."""
    losses = EpochLosses(5, 100, CPU)
    losses.append(torch.tensor(0.5))
    message = f"loss of update 102 is {value}; .*Lower learning_rate"
    with pytest.raises(FloatingPointError, match=message):
        losses.append(torch.tensor(value))


class OnMps(torch.Tensor):
    """A tensor that says of itself that it lies on an Apple GPU."""

    device = property(lambda self: torch.device("mps"))


def test_other_gpus_are_asked_now_and_then():
    """A GPU that has no CUDA is waited for once in so many updates."""
    losses = EpochLosses(60, 0, CPU)
    losses._losses = losses._losses.as_subclass(OnMps)
    for update in range(1, _losses.CHECK_EVERY):
        losses.append(torch.tensor(torch.nan if update >= 7 else 0.5))
    with pytest.raises(FloatingPointError, match="loss of update 7 is nan"):
        losses.append(torch.tensor(0.5))


def test_losses_that_may_overflow_are_left_to_the_scale():
    """In float16 some may be infinite, and not all of an epoch."""
    losses = EpochLosses(2, 10, CPU, may_overflow=True)
    losses.append(torch.tensor(torch.inf))
    with pytest.raises(FloatingPointError, match="loss of update 11 is inf"):
        losses.read()
    losses.append(torch.tensor(0.5))
    found = losses.read()[:, 0]
    assert found.tolist() == [np.inf, 0.5]
    assert average(found, [3, 2]) == 0.5
    assert average(np.array([1.0, 2.0]), [3, 1]) == 1.25


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("bad", [3, 49])
def test_a_gpu_says_it_in_time(bad):
    """The first such update is named, some updates later or at the epoch's end."""
    losses = EpochLosses(500, 0, torch.device("cuda"))

    def run():
        for update in range(1, 501):
            value = torch.nan if update >= bad else 0.5
            losses.append(torch.tensor(value, device="cuda"))
            if update % _losses.CHECK_EVERY == 0:
                torch.cuda.synchronize()
                if update > bad + 2 * _losses.CHECK_EVERY:
                    raise AssertionError("nobody has looked")

    with pytest.raises(FloatingPointError, match=f"loss of update {bad} is nan"):
        run()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_asked_at_the_end():
    """The last updates' losses are checked when they are read."""
    losses = EpochLosses(2, 0, torch.device("cuda"))
    losses.append(torch.tensor(0.5, device="cuda"))
    losses.append(torch.tensor(torch.nan, device="cuda"))
    with pytest.raises(FloatingPointError, match="loss of update 2 is nan"):
        losses.read()
