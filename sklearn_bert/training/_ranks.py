"""`Ranks`: the processes that make one fit together.

Each of them has all texts and all weights. Of every batch each computes its share;
gradients are added up, and each steps the same weights by the same sum. What one
process decides for all (a score, the state of a killed fit) the first one says.

Gradients are added up by one plain `all_reduce` after the backward pass, and not by
torch's `DistributedDataParallel`: it would wrap the module that everything here has by
name, it counts on one backward pass for each forward pass, where a batch may pass in
parts, and again in smaller ones, and the sum is one of float32 masters, not of bfloat16
gradients. It would overlap sums and backward pass, which a sum alone does not.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from sklearn_bert._process._random import OWN

# How long one process waits for another; torch's default for GPUs.
TIMEOUT = timedelta(minutes=10)
PIECE = 2**23  # numbers that are sent at a time
EACH_ALONE = (
    "For a fit of each process's own, call it in a block of "
    "`with sklearn_bert.distributed.alone():`."
)
T = TypeVar("T")


class ShortageElsewhere(MemoryError):
    """Memory has run out in another process of the fit."""


class Ranks:
    """The processes of a fit, as one of them sees them; by default it is the only one.

    All of them call the same methods in the same order; only what a shortage of memory
    ends is cut short.

    Parameters
    ----------
    rank : int
        The number of this process.
    size : int
        How many there are.
    group : torch.distributed.ProcessGroup or None
        Of the backend "gloo"; None: there is one process.
    """

    def __init__(
        self, rank: int = 0, size: int = 1, group: dist.ProcessGroup | None = None
    ) -> None:
        self.rank = rank
        self.size = size
        self.group = group
        self._nccl: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Tell whether this is the process that prints and writes."""
        return self.rank == 0

    def share(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows that are this process's; the first has as many as any."""
        # Not one piece: rows of a batch may be sorted, and long ones take longer.
        return rows[self.rank :: self.size]

    # -- what all of them say --------------------------------------------------------

    def any(self, is_so: bool) -> bool:
        """Return whether something is so in one of the processes."""
        return bool(self._maximum([is_so])[0])

    def check_same(self, facts: dict[str, str], but: tuple[str, ...] = ()) -> None:
        """Raise ValueError where what is known of the fit differs between processes."""
        told = {name: facts[name] for name in sorted(facts) if name not in but}
        everyone: list[dict[str, str]] = [{}] * self.size
        with self._answered():
            dist.all_gather_object(everyone, told, group=self.group)
        different = [
            name
            for name in sorted(set().union(*everyone))
            if len({facts.get(name) for facts in everyone}) > 1
        ]
        if different:
            raise ValueError(
                f"the {self.size} processes of one fit differ in: "
                f"{', '.join(different)}. Expected the same call in all of them, with "
                "all of the data: each takes its share of each batch by itself. "
                f"{EACH_ALONE}"
            )

    def from_first(self, make: Callable[[], T]) -> T:
        """Return what a function returns in the first process; the others wait."""
        if self.size == 1:
            return make()
        content = [make() if self.is_first else None]
        with self._answered():
            dist.broadcast_object_list(content, src=0, group=self.group)
        return content[0]  # type: ignore[return-value]

    def take_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors by those of the first process."""
        if self.size == 1:
            return
        for flat in _in_pieces(tensors):
            with self._answered():
                dist.broadcast(flat, src=0, group=self._group_of(flat))

    def meet(self) -> None:
        """Wait for the others: from here all go on, or none."""
        self.any(False)

    # -- an update -------------------------------------------------------------------

    def seed_update(self, seed: int, n_done: int) -> None:
        """Let this process draw other numbers than the others in the next update.

        They depend on nothing that was drawn before, so that a fit which was killed
        goes on without the generators of all processes.
        """
        if self.size == 1:
            return
        drawn = np.random.SeedSequence((seed, n_done, self.rank)).generate_state(1)
        for generator in (OWN.cpu, OWN.gpu):
            if generator is not None:
                generator.manual_seed(int(drawn[0]))

    def put_together(self, own: Tensor, places: np.ndarray, n_rows: int) -> Tensor:
        """Return the rows of all processes, each of which has those at some places.

        A gradient flows back to the rows that this process has: every process has the
        same loss of them all, and the sum of what flows back is the whole gradient.
        """
        if self.size == 1:
            return own
        self.check_room()
        where = torch.from_numpy(places).to(own.device)
        whole = own.new_zeros(n_rows, *own.shape[1:])
        whole[where] = own.detach()
        self._sum(whole)
        whole[where] = own
        return whole

    def add_up_gradients(
        self, weights: Sequence[Tensor], shares: Sequence[Tensor]
    ) -> None:
        """Give each weight the sum of its gradients in all processes, and shares too.

        What has no gradient anywhere stays without: the optimizer leaves it alone.
        """
        if self.size == 1:
            return
        has_one = self._maximum([weight.grad is not None for weight in weights])
        learning = [w for w, is_so in zip(weights, has_one, strict=True) if is_so]
        for weight in learning:
            if weight.grad is None:  # this process had no row of the batch
                weight.grad = torch.zeros_like(weight)
        gradients: list[Tensor] = [weight.grad for weight in learning]  # type: ignore[misc]
        # In float32, and to the bit the same in each process.
        for flat in _in_pieces([*gradients, *shares]):
            self._sum(flat)

    def tell_shortage(self, error: BaseException) -> None:
        """Tell the others that an update does not fit into memory here."""
        if not isinstance(error, ShortageElsewhere):
            self.any(True)

    def check_room(self) -> None:
        """Raise MemoryError where another process has told of a shortage.

        So all of them try an update again, in parts of the same size.
        """
        if self.any(False):
            raise ShortageElsewhere("memory has run out in another process of the fit")

    # -- the messages ----------------------------------------------------------------

    def work_on(self, device: torch.device) -> None:
        """Send by NCCL where each process has a GPU of its own."""
        if self.size == 1:
            return
        here = None
        if device.type == "cuda":
            gpu = torch.cuda.get_device_properties(device)
            here = (socket.gethostname(), str(gpu.uuid))
        places: list[tuple[str, str] | None] = [None] * self.size
        with self._answered():
            dist.all_gather_object(places, here, group=self.group)
            is_apart = None not in places and len(set(places)) == self.size
            if is_apart and self._nccl is None and dist.is_nccl_available():
                self._nccl = dist.new_group(backend="nccl", timeout=TIMEOUT)

    def leave(self, *, has_failed: bool) -> None:
        """End the messages by NCCL, if there are any."""
        if self._nccl is None:
            return
        if has_failed:  # what is under way would be waited for
            self._nccl.abort()
        dist.destroy_process_group(self._nccl)

    def _group_of(self, tensor: Tensor) -> dist.ProcessGroup | None:
        return self._nccl if tensor.is_cuda and self._nccl is not None else self.group

    def _sum(self, tensor: Tensor) -> None:
        with self._answered():
            dist.all_reduce(tensor, group=self._group_of(tensor))

    def _maximum(self, flags: list[bool]) -> list[bool]:
        if self.size == 1:
            return flags
        # Not on a default device of the caller's.
        found = torch.tensor(flags, dtype=torch.uint8, device="cpu")
        with self._answered():
            dist.all_reduce(found, dist.ReduceOp.MAX, group=self.group)
        return [bool(flag) for flag in found.tolist()]

    @contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(
                f"process {self.rank} of the {self.size} that make this fit had no "
                "answer from another: it has ended, its fit has failed, or it has not "
                f"called fit as this one did within {TIMEOUT}. Look for the first "
                f"error in what the processes print. {EACH_ALONE} {error}"
            ) from error


ONE = Ranks()


@torch.no_grad()
def _in_pieces(tensors: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield tensors put together to pieces, and write back what becomes of these."""
    begin = 0
    while begin < len(tensors):
        sizes = [tensor.numel() for tensor in tensors[begin:]]
        n = max(1, int((np.cumsum(sizes) <= PIECE).sum()))
        some = tensors[begin : begin + n]
        flat = torch.cat([tensor.reshape(-1) for tensor in some])
        yield flat
        for tensor, part in zip(some, flat.split(sizes[:n]), strict=True):
            tensor.copy_(part.view_as(tensor))
        begin += n
