import io
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
from rich.console import Console

from sklearn_bert.training import _callbacks
from sklearn_bert.training._callbacks import BestWeights, FitProgress


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


# -- signs of life -----------------------------------------------------------------


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


def run_bar(**more):
    net = SimpleNamespace(max_epochs=9, device="cpu", batches_=range(3), history=[])
    net.updates_ = SimpleNamespace(n_done=0)
    bar = FitProgress("Some")
    bar.on_train_begin(net, X=range(20))
    for number in (1, 2):
        for _ in range(3):
            net.updates_.n_done += 1
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
    monkeypatch.setattr(_callbacks.time, "perf_counter", lambda: next(now))
    output = screen(terminal=False)
    run_bar()
    lines = output.getvalue().splitlines()[1:]
    assert [line.split(", ")[-1] for line in lines] == ["0:08:00 left", "0:05:50 left"]


def test_validation_is_shown(screen):
    """The score of the validation is in the line of its epoch."""
    output = screen(terminal=False)
    run_bar(valid_score=0.75)
    assert "123 texts/s, validation score 0.7500, " in output.getvalue()


@pytest.fixture
def notebook(monkeypatch):
    """What a notebook with ipywidgets displays, as text."""
    displayed = []

    class Output:
        __enter__ = __exit__ = lambda self, *args: None

        def clear_output(self, wait):
            displayed.clear()

    def display(item):
        if not isinstance(item, Output):
            displayed.append(item.text)

    for name, attributes in {
        "IPython": {},
        "IPython.display": {"display": display},
        "ipywidgets": {"Output": Output},
    }.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(
        _callbacks, "Console", lambda stderr: Console(force_jupyter=True, width=120)
    )
    return displayed


def test_progress_in_a_notebook(notebook):
    """A notebook shows the same bar, and its last state stays."""
    run_bar()
    shown = "".join(notebook)
    assert "epoch 3/9" in shown
    assert " 22 % " in shown
    assert "loss 0.5000, 123 texts/s" in shown


def test_lines_in_a_notebook_without_widgets(notebook, monkeypatch):
    """Without ipywidgets a notebook has a line per epoch, as a log has."""
    output = io.StringIO()
    monkeypatch.setattr(
        _callbacks, "Console", lambda stderr: Console(file=output, force_jupyter=True)
    )
    monkeypatch.setattr(_callbacks, "find_spec", lambda name: None)
    run_bar()
    assert len(output.getvalue().splitlines()) == 3
    assert not notebook
