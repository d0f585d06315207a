"""The device to compute on: one of torch's accelerators, or the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sklearn_bert._process._launch import local_rank
from sklearn_bert.text._columns import excerpt

# ROCm's GPUs are "cuda", too.
ACCELERATORS = ("cuda", "mps", "xpu")


def resolve_device(device: str) -> torch.device:
    """Return the device of that name; `"auto"` is the accelerator, or else the CPU.

    Of the processes that a launcher has started on a machine each has a GPU of its own
    for the first, as far as there are so many.

    Raises
    ------
    ValueError
        Where the name is no device, or this machine has none of that kind.
    """
    if device == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        if found is None or found.type not in ACCELERATORS:
            return torch.device("cpu")
        device = found.type
    # torch accepts names of devices that the machine lacks, and fails much later.
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device is {excerpt(device)}; expected 'auto', 'cpu', 'cuda', 'mps', "
            "'xpu', or one of several, such as 'cuda:1'."
        ) from error
    if resolved.type != "cpu" and (resolved.index or 0) >= n_devices(resolved.type):
        raise ValueError(
            f"device is {device!r}, which this machine does not have "
            f"({_why_absent(resolved.type)}); use device='auto' to take a GPU only "
            "where there is one."
        )
    rank = local_rank()
    if device in ("cuda", "xpu") and rank is not None:
        return torch.device(device, rank % n_devices(device))
    return resolved


def available_device(device: str) -> torch.device:
    """Return the device of that name, or the CPU where this machine lacks it."""
    try:
        return resolve_device(device)
    except ValueError:
        return torch.device("cpu")


def n_devices(kind: str) -> int:
    """Return how many devices of a kind can be used; asking starts none of them."""
    if kind not in ACCELERATORS:
        return 0
    # A GPU whose driver is too old is counted, and not available.
    module = torch.get_device_module(kind)
    return module.device_count() if module.is_available() else 0


@contextmanager
def on_device(device: torch.device) -> Iterator[None]:
    """Compute on a device in here, and say what can be done about its errors.

    Raises
    ------
    RuntimeError
        Where a forked process would use its parent's GPU.
    """
    if device.type != "cpu" and torch.get_device_module(device.type)._is_in_bad_fork():
        raise RuntimeError(
            f"this process was forked from one that had used {device}, which it cannot "
            "use as well. Load the model in the forked process, start processes with "
            "'spawn' instead of 'fork', or use device='cpu'."
        )
    try:
        yield
    except NotImplementedError as error:
        if device.type == "mps":
            error.add_note(
                "To compute such operators on the CPU, set the environment variable "
                "PYTORCH_ENABLE_MPS_FALLBACK=1 before Python starts; or use "
                "device='cpu'."
            )
        raise


def _why_absent(kind: str) -> str:
    """Return why this machine lacks a device of a kind, in torch's words."""
    if kind not in ACCELERATORS:
        return f"{kind!r} is none of 'cpu', {', '.join(map(repr, ACCELERATORS))}"
    if n := n_devices(kind):
        return f"it has {n}, and counts from '{kind}:0'"
    if kind == "mps":
        if not torch.backends.mps.is_built():
            return "this torch was built without MPS"
        return "MPS needs an Apple GPU and a macOS that torch supports"
    # A driver that is too old is told by this alone.
    try:
        torch.get_device_module(kind).init()
    except (AssertionError, RuntimeError) as error:
        return str(error).partition("\n")[0].rstrip(".")
    return f"torch finds no {kind}"
