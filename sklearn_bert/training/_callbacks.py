"""Callbacks of our own: the best weights, signs of life, scikit-learn's callbacks."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackContext
from skorch.callbacks import Callback

from sklearn_bert.training._trainable_view import Snapshot


class FitTasks(Callback):
    """Tells scikit-learn's callbacks of every epoch and update, as tasks of a fit.

    One that returns True ends the fit: its epoch is recorded, and what it learnt kept.

    Parameters
    ----------
    estimator : estimator
        That is fitted.
    context : sklearn.callback.CallbackContext
        Of its fit.
    data : dict
        `X`, `y` and `metadata` of the fit.
    fitted_attributes : callable
        From the net to what makes a fitted estimator of the weights as they are.
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        context: CallbackContext,
        data: dict[str, Any],
        fitted_attributes: Callable[[Any], dict[str, Any]],
    ) -> None:
        self.context = context
        self.given = {"estimator": estimator, **data}
        self.fitted_attributes = fitted_attributes

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a task of the fit."""
        epoch = self.context.subcontext("epoch", max_subtasks=len(net.batches_))
        self.epoch_ = epoch.call_on_fit_task_begin(**self.given)

    def on_batch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a task of the epoch."""
        update = self.epoch_.subcontext("update")
        self.update_ = update.call_on_fit_task_begin(**self.given)

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        """End the task of an update.

        Without a fitted estimator: to make one takes longer than the update.
        """
        if self.update_.call_on_fit_task_end(**self.given):
            net.stop()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End the task of an epoch."""
        # A function: a fitted estimator is made only for callbacks that ask for it.
        wants_to_stop = self.epoch_.call_on_fit_task_end(
            **self.given,
            reconstruction_attributes=lambda: self.fitted_attributes(net),
        )
        if wants_to_stop:
            net.stop()


class BestWeights(Callback):
    """Remember the weights of the best epoch; stop when no better one comes.

    Better is a higher validation score, or an equal score at a lower validation loss.

    Parameters
    ----------
    n_iter_no_change : int
        Epochs without a better one after which training stops.
    """

    def __init__(self, n_iter_no_change: int) -> None:
        self.n_iter_no_change = n_iter_no_change
        self.snapshot_: Snapshot | None = None

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget what an earlier run found."""
        self.best_: tuple[float, float] = (-float("inf"), -float("inf"))
        self.best_epoch_ = 0
        self.snapshot_ = None

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Compare the epoch that has just ended."""
        epoch = net.history[-1]
        # Tuples compare by score first, then by loss; a tie of both is no better.
        reached = (epoch["valid_score"], -epoch["valid_loss"])
        if reached > self.best_:
            self.best_, self.best_epoch_ = reached, epoch["epoch"]
            self.snapshot_ = net.snapshot()
        elif epoch["epoch"] - self.best_epoch_ >= self.n_iter_no_change:
            net.stop()


class FitProgress(Callback):
    """Signs of life on stderr: epoch, loss, texts per second and time left.

    One progress bar on a terminal and, with ipywidgets, in a notebook; elsewhere one
    line per epoch.

    Parameters
    ----------
    name : str
        Of the estimator, which the lines begin with.
    """

    def __init__(self, name: str = "fit") -> None:
        self.name = name
        self.progress_: Progress | None = None

    def on_train_begin(self, net: Any, X: Any = None, **kwargs: Any) -> None:
        """Open the bar, empty, or say what begins."""
        self.start_ = time.perf_counter()
        self.n_past_ = len(net.history)  # epochs of a call that was killed
        self.console_ = Console(stderr=True)
        if not _can_draw(self.console_):
            past = f", of which {self.n_past_} are done" if self.n_past_ else ""
            self._say(
                f"{len(X)} examples, {len(net.batches_)} updates per epoch, up to "
                f"{net.max_epochs} epochs{past} on {net.device}"
            )
            return
        self.progress_ = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[n_epochs]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[news]}"),
            console=self.console_,
        )
        self.task_ = self.progress_.add_task(
            "fit",
            total=net.max_epochs * len(net.batches_),
            epoch=1,
            n_epochs=net.max_epochs,
            news="",
        )
        self.progress_.start()

    def say_untrained(self, n_examples: int) -> None:
        """Say that no epoch follows."""
        self.console_ = Console(stderr=True)
        self._say(f"{n_examples} examples, to which the head alone is fitted")

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Move on by one update."""
        if self.progress_ is not None:
            self.progress_.update(self.task_, completed=net.updates_.n_done)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Show the epoch's figures."""
        epoch = net.history[-1]
        news = (
            f"loss {epoch['train_loss']:.4f}, {epoch['texts_per_second']:.0f} texts/s"
        )
        if "valid_score" in epoch:
            news += f", validation score {epoch['valid_score']:.4f}"
        if self.progress_ is not None:
            n_next = min(epoch["epoch"] + 1, net.max_epochs)
            self.progress_.update(self.task_, epoch=n_next, news=news)
            return
        passed = time.perf_counter() - self.start_
        per_epoch = passed / (epoch["epoch"] - self.n_past_)
        left = per_epoch * (net.max_epochs - epoch["epoch"])
        self._say(
            f"epoch {epoch['epoch']}/{net.max_epochs}, {news}, "
            f"{timedelta(seconds=round(left))} left"
        )

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Close the bar, however the training ended."""
        if self.progress_ is not None:
            self.progress_.refresh()  # in a notebook `stop` shows the state before
            self.progress_.stop()
            self.progress_ = None

    def _say(self, line: str) -> None:
        file = self.console_.file  # plainly: rich would break the line, or colour it
        file.write(f"{self.name}: {line}\n")
        file.flush()


def _can_draw(console: Console) -> bool:
    """Tell whether a bar can move: it would fill a log with control characters."""
    if console.is_jupyter:  # without ipywidgets rich shows nothing there, and warns
        return find_spec("ipywidgets") is not None
    return console.is_terminal and not console.is_dumb_terminal
