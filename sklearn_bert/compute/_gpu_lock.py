"""Worker processes share the GPUs: each fits on one of its own, or waits for one.

Off by default. Proof: no two processes hold one GPU at a time
(`tests/compute/test_gpu_lock.py`). Not yet measured on a GPU.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sklearn_bert._process._techniques import uses
from sklearn_bert.compute._device import available_device, n_devices

WAIT = 0.2  # seconds between two looks whether a GPU has become free
# What hides GPUs from a process: those that it sees are numbered anew.
HIDING = (
    *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    *("ZE_AFFINITY_MASK", "ONEAPI_DEVICE_SELECTOR"),
)


@contextmanager
def reserve_gpu(device: str) -> Iterator[str]:
    """Yield the device to fit on; among worker processes one that no other fits on.

    A search with `n_jobs=4` on one GPU would train four models there at a time, and
    run out of its memory. Its workers (processes that another Python process started)
    take turns instead, and spread over the GPUs where there are several. The locks are
    empty files in the folder for temporary files; the system frees them when a process
    ends, however it ends.

    Parameters
    ----------
    device : str
        "auto" may become any GPU; "cuda" is the first, "cuda:1" the second.
    """
    gpus = _candidates(device) if uses("gpu_reservation") else []
    if not gpus or multiprocessing.parent_process() is None:
        yield device
        return
    with first_free(gpus, _lock_folder()) as gpu:
        yield gpu


@contextmanager
def first_free(names: Sequence[str], folder: Path) -> Iterator[str]:
    """Hold the first of some names that no other process holds; wait for one."""
    locks = {
        name: FileLock(folder / f"{name.replace(':', '-')}.lock") for name in names
    }
    while True:
        for name, lock in locks.items():
            try:
                # Not waiting for this one: another may become free before it.
                lock.acquire(blocking=False)
            except Timeout:
                continue
            try:
                yield name
            finally:
                lock.release()
            return
        time.sleep(WAIT)


def _candidates(device: str) -> list[str]:
    resolved = available_device(device)
    kind = resolved.type
    if kind == "cpu":
        return []
    if device == "auto":
        return [f"{kind}:{i}" for i in range(n_devices(kind))]
    return [f"{kind}:{resolved.index or 0}"]


def _lock_folder() -> Path:
    """Return the folder of the locks: of a user, and of a choice of visible GPUs."""
    # With other GPUs visible, "cuda:0" is another one.
    chosen = [os.environ[name] for name in HIDING if name in os.environ]
    visible = "-".join(chosen or ["all"]).replace(os.sep, "-")
    folder = Path(tempfile.gettempdir()) / f"sklearn_bert-{_user()}-{visible}"
    folder.mkdir(exist_ok=True)
    return folder


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0
