"""A progress bar on a terminal, on stderr: stdout is for the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from sklearn_bert._process._progress import listening


@contextmanager
def bar() -> Iterator[None]:
    """Show how many texts are computed in here; elsewhere than on a terminal nothing.

    Equal texts count once: they are computed once.
    """
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield
        return
    columns = BarColumn(), MofNCompleteColumn(), "texts", TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("texts", total=None)

        def move(n_done: int, n_all: int) -> None:
            progress.update(task, completed=n_done, total=n_all)

        with listening(move):
            yield
