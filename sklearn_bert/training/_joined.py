"""`joined`: how the processes of a fit find each other, and part."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from torch import distributed as dist

from sklearn_bert._process._fork import process_lock
from sklearn_bert._process._launch import is_alone, rank_and_size
from sklearn_bert._process._warn import quiet
from sklearn_bert.training._ranks import EACH_ALONE, ONE, TIMEOUT, Ranks

_in_a_fit = process_lock()
_open: list[Ranks] = []  # of the fit that is under way
_numbers = itertools.count()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Make what is inside together with the other processes, if there are any.

    There are where the caller has initialised `torch.distributed`, or a launcher such
    as torchrun has started this process. A fit inside of another goes on with its
    processes. Afterwards torch is as it was.
    """
    is_callers = dist.is_available() and dist.is_initialized()
    size = dist.get_world_size() if is_callers else rank_and_size()[1]
    if is_alone() or size == 1:
        yield ONE
        return
    if not _in_a_fit.acquire(blocking=False):
        raise RuntimeError(
            f"another thread of this process is in a fit that {size} processes make "
            "together; they make one at a time. Set n_jobs=1 where there are several. "
            f"{EACH_ALONE}"
        )
    try:
        if _open:
            yield _open[-1]
            return
        with _together(is_callers) as ranks:
            yield ranks
    finally:
        _in_a_fit.release()


@contextmanager
def _together(is_callers: bool) -> Iterator[Ranks]:
    has_failed = True
    with ExitStack() as stack:
        if is_callers:
            ranks = _of_caller()
            stack.callback(dist.destroy_process_group, ranks.group)
        else:
            stack.callback(setattr, sys, "excepthook", sys.excepthook)
            ranks = _launched()
            stack.callback(dist.destroy_process_group)
        if not ranks.is_first:
            stack.enter_context(quiet())
        _open.append(ranks)
        try:
            yield ranks
            ranks.meet()  # all come to the end, or none
            has_failed = False
        finally:
            # Whoever waits for this process is told by that: its connections close.
            _open.pop()
            with suppress(RuntimeError):
                ranks.leave(has_failed=has_failed)


def _of_caller() -> Ranks:
    """Return the processes that the caller has brought together."""
    # A group of its own: what the caller sends meanwhile does not get between.
    group = dist.new_group(backend="gloo", timeout=TIMEOUT)
    return Ranks(dist.get_rank(), dist.get_world_size(), group)


def _launched() -> Ranks:
    """Bring together the processes that a launcher has started."""
    rank, size = rank_and_size()
    try:
        # What an earlier fit has left in the store is not looked at.
        store = dist.PrefixStore(f"sklearn_bert/{next(_numbers)}", _store())
        dist.init_process_group(
            "gloo", store=store, rank=rank, world_size=size, timeout=TIMEOUT
        )
    except (RuntimeError, ValueError) as error:
        raise RuntimeError(
            f"process {rank} of {size} has called fit, and could not meet the others "
            f"within {TIMEOUT}, as RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT say: "
            f"all have to call it. {EACH_ALONE} {error}"
        ) from error
    return Ranks(rank, size, dist.group.WORLD)


@functools.cache
def _store() -> dist.Store:
    """Return where the processes find each other; it is kept until they end.

    The first process may hold it: it must not go away between two fits.
    """
    store, _, _ = next(dist.rendezvous("env://", timeout=TIMEOUT))
    return store
