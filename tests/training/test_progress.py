import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from sklearn_bert.training import _progress
from sklearn_bert.training._progress import FitProgress


@pytest.fixture
def screen(monkeypatch):
    """What a progress bar writes, on a terminal or not."""
    output = io.StringIO()

    def console(terminal):
        monkeypatch.setattr(
            _progress,
            "Console",
            lambda stderr: Console(file=output, force_terminal=terminal, width=120),
        )
        return output

    return console


def run_bar(**more):
    net = SimpleNamespace(max_epochs=9, device="cpu", batches_=range(3), history=[])
    bar = FitProgress("Some")
    bar.on_train_begin(net, X=range(20))
    for number in (1, 2):
        for _ in range(3):
            bar.on_batch_end(net, training=True)
        net.history.append(
            {"epoch": number, "train_loss": 0.5, "texts_per_second": 123.0, **more}
        )
        bar.on_epoch_end(net)
    bar.on_train_end(net)


def test_progress_on_a_terminal(screen):
    """The bar shows epoch, loss and texts per second."""
    output = screen(terminal=True)
    run_bar()
    assert "epoch 3/9" in output.getvalue()
    assert "loss 0.5000, 123 texts/s" in output.getvalue()


def test_a_line_per_epoch_off_a_terminal(screen):
    """Elsewhere there is a line for the start and one for each epoch, and no bar."""
    output = screen(terminal=False)
    run_bar()
    begin, first, second = output.getvalue().splitlines()
    assert begin == "Some: 20 examples, 3 updates per epoch, up to 9 epochs on cpu"
    assert first == "Some: epoch 1/9, loss 0.5000, 123 texts/s, 0:00:00 left"
    assert second.startswith("Some: epoch 2/9, loss 0.5000")


def test_time_left(screen, monkeypatch):
    """The time left is that of the epochs left, each as long as those before."""
    now = iter([100.0, 160.0, 200.0])
    monkeypatch.setattr(_progress.time, "perf_counter", lambda: next(now))
    output = screen(terminal=False)
    run_bar()
    lines = output.getvalue().splitlines()[1:]
    assert [line.split(", ")[-1] for line in lines] == ["0:08:00 left", "0:05:50 left"]


def test_validation_is_shown(screen):
    """The score of the validation is in the line of its epoch."""
    output = screen(terminal=False)
    run_bar(valid_score=0.75)
    assert "123 texts/s, validation score 0.7500, " in output.getvalue()
