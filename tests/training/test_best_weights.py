import pytest

from sklearn_bert.training._best_weights import BestWeights


class Net:
    """A net whose epochs are dictated."""

    max_epochs = 9

    def __init__(self, epochs):
        self.epochs = epochs
        self.history = []
        self.stops_ = False

    def stop(self):
        self.stops_ = True

    def run(self, callback):
        callback.on_train_begin(self)
        for number, (score, loss) in enumerate(self.epochs, start=1):
            self.history.append(
                {"epoch": number, "valid_score": score, "valid_loss": loss}
            )
            callback.on_epoch_end(self)
            if self.stops_:
                break

    def snapshot(self):
        return len(self.history)


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([(0.5, 1), (0.9, 1), (0.8, 1)], 2),
        ([(0.9, 2), (0.9, 1), (0.9, 3)], 2),  # an equal score at a lower loss
        ([(0.9, 1), (0.9, 1)], 1),  # the first of equals
    ],
)
def test_best_epoch_is_remembered(epochs, best):
    """Score decides, then loss, then who came first."""
    callback = BestWeights(n_iter_no_change=5)
    Net(epochs).run(callback)
    assert callback.snapshot_ == best


def test_training_stops_when_nothing_gets_better():
    """After n_iter_no_change epochs without a better one, training stops."""
    net = Net([(0.5, 1), (0.7, 1), (0.6, 1), (0.6, 1), (0.9, 1)])
    callback = BestWeights(n_iter_no_change=2)
    net.run(callback)
    assert len(net.history) == 4
    assert callback.snapshot_ == 2
