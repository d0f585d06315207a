"""How far a training is: a bar on a terminal, or lines in a log."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from skorch.callbacks import Callback


class FitProgress(Callback):
    """Signs of life on stderr: epoch, loss, texts per second and time left.

    One progress bar on a terminal; elsewhere (a notebook, a log) one line per epoch.

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
        # Off a terminal a bar would fill a log with control characters.
        self.start_ = time.perf_counter()
        self.console_ = Console(stderr=True)
        if not self.console_.is_terminal or self.console_.is_dumb_terminal:
            self._say(
                f"{len(X)} examples, {len(net.batches_)} updates per epoch, up to "
                f"{net.max_epochs} epochs on {net.device}"
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

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Move on by one update."""
        if self.progress_ is not None:
            self.progress_.advance(self.task_)

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
        left = passed / epoch["epoch"] * (net.max_epochs - epoch["epoch"])
        self._say(
            f"epoch {epoch['epoch']}/{net.max_epochs}, {news}, "
            f"{timedelta(seconds=round(left))} left"
        )

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Close the bar, however the training ended."""
        if self.progress_ is not None:
            self.progress_.stop()
            self.progress_ = None

    def _say(self, line: str) -> None:
        file = self.console_.file  # plainly: rich would break the line, or colour it
        file.write(f"{self.name}: {line}\n")
        file.flush()
