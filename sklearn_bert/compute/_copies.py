"""Tensors on their way between the CPU and a device.

From pinned memory CUDA copies while the CPU and the kernels go on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_bert.compute._self_check import is_proven


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on the device; CUDA fetches it while the CPU goes on."""
    if device.type == "cuda" and is_proven("pinned_copies", device, check_copies):
        return _sent(tensor, device)
    return tensor.to(device)


class Fetch:
    """Values that are brought to the CPU; from CUDA without making anyone wait."""

    def __init__(self, values: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        device = values.device
        if values.is_cuda and is_proven("pinned_copies", device, check_copies):
            self._host, self._arrived = _fetched(values)
        else:
            self._host = values.cpu()

    def has_arrived(self) -> bool:
        """Return whether the values are there already."""
        return self._arrived is None or self._arrived.query()

    def result(self) -> Tensor:
        """Return the values as soon as they are there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host


def check_copies(device: torch.device) -> None:
    """Send numbers to the device and fetch them; raise where others come back."""
    numbers = [torch.arange(n, n + 65536) for n in range(2)]
    under_way = [_fetched(_sent(some, device) + 1) for some in numbers]
    for some, (host, arrived) in zip(numbers, under_way, strict=True):
        arrived.synchronize()
        if not torch.equal(host, some + 1):
            raise ArithmeticError("other numbers come back than were sent")


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True)


def _fetched(values: Tensor) -> tuple[Tensor, torch.cuda.Event]:
    host = torch.empty_like(values, device="cpu", pin_memory=True)
    host.copy_(values, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record(torch.cuda.current_stream(values.device))
    return host, arrived
