"""What a launcher such as torchrun tells each of the processes that it starts.

It runs one script in several processes, and says to each by environment variables
which one it is.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager

NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_n_blocks = 0  # of `alone` that are open


@contextmanager
def alone() -> Iterator[None]:
    """Fit in this process alone inside the block, whatever has started the process.

    Under `torchrun`, or where the caller has initialised `torch.distributed`, all
    processes make each fit together. A fit inside this block is one process's own, as
    without a launcher: it may have other data or parameters than those of the others,
    or be called in one process only.

    It holds for all threads of the process.

    Examples
    --------
    >>> import os
    >>> from sklearn_bert import BertClassifier
    >>> from sklearn_bert.distributed import alone
    >>> rank = int(os.environ.get("RANK", 0))  # a learning rate for each process
    >>> clf = BertClassifier(learning_rate=[5e-5, 1e-4][rank], max_epochs=1)
    >>> with alone():
    ...     clf = clf.fit(["very good", "quite bad"], ["pos", "neg"])
    """
    global _n_blocks
    _n_blocks += 1
    try:
        yield
    finally:
        _n_blocks -= 1


def is_alone() -> bool:
    """Return whether fits are those of one process: in a block of `alone`."""
    return _n_blocks > 0


def rank_and_size() -> tuple[int, int]:
    """Return which of the launched processes this is, and how many there are: 0 of 1.

    A process that another Python process has started, such as a worker of joblib,
    inherits the variables; it is none of those that were launched.
    """
    values = [os.environ.get(name, "") for name in NEEDED]
    is_launched = all(values) and values[0].isdecimal() and values[1].isdecimal()
    if not is_launched or multiprocessing.parent_process() is not None:
        return 0, 1
    return int(values[0]), int(values[1])


def local_rank() -> int | None:
    """Return which of the processes on this machine this is; None: nobody says."""
    value = os.environ.get("LOCAL_RANK", "")
    return int(value) if value.isdecimal() else None
