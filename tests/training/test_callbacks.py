import io

import pytest
from rich.console import Console

from sklearn_bert.training import BestWeights, _callbacks
from sklearn_bert.training._callbacks import FitProgress, StopTraining


class Net:
    """A net whose epochs are dictated."""

    max_epochs = 9
    batch_size = 8

    def __init__(self, epochs):
        self.epochs = epochs
        self.history = []

    def run(self, callback):
        callback.on_train_begin(self)
        for number, (score, loss) in enumerate(self.epochs, start=1):
            self.history.append(
                {"epoch": number, "valid_score": score, "valid_loss": loss}
            )
            callback.on_epoch_end(self)

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
    with pytest.raises(StopTraining):
        net.run(callback)
    assert len(net.history) == 4
    assert callback.snapshot_ == 2


@pytest.fixture
def screen(monkeypatch):
    """What a progress bar writes, on a terminal or not."""
    output = io.StringIO()

    def console(terminal):
        monkeypatch.setattr(
            _callbacks,
            "Console",
            lambda stderr: Console(file=output, force_terminal=terminal, width=120),
        )
        return output

    return console


def run_bar():
    net = Net([])
    bar = FitProgress()
    bar.on_train_begin(net, X=range(20))
    for number in (1, 2):
        for _ in range(3):
            bar.on_batch_end(net, training=True)
        net.history.append(
            {"epoch": number, "train_loss": 0.5, "texts_per_second": 123.0}
        )
        bar.on_epoch_end(net)
    bar.on_train_end(net)


def test_progress_on_a_terminal(screen):
    """The bar shows epoch, loss and texts per second."""
    output = screen(terminal=True)
    run_bar()
    assert "epoch 3/9" in output.getvalue()
    assert "loss 0.5000, 123 texts/s" in output.getvalue()


def test_no_terminal_no_bar(screen):
    """Where the output is no terminal, nothing is written."""
    output = screen(terminal=False)
    run_bar()
    assert output.getvalue() == ""
