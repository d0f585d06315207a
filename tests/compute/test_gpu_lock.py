import contextlib
import multiprocessing
import select
import subprocess
import sys
import tempfile
import threading

import pytest
import torch
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

from sklearn_bert._process._techniques import OFF, using, without
from sklearn_bert.compute import _gpu_lock as _turn
from sklearn_bert.compute._gpu_lock import first_free, reserve_gpu

# The module alone: what it imports of the package, and of torch, takes long to import.
HOLDER = f"""
import importlib.util, pathlib, sys, types
for name in ("sklearn_bert", "sklearn_bert._process", "sklearn_bert.compute"):
    sys.modules[name] = types.ModuleType(name)
device = sys.modules["sklearn_bert.compute._device"] = types.ModuleType("d")
device.available_device = device.n_devices = None
techniques = sys.modules["sklearn_bert._process._techniques"] = types.ModuleType("t")
techniques.uses = None
spec = importlib.util.spec_from_file_location("turn", {_turn.__file__!r})
turn = importlib.util.module_from_spec(spec)
spec.loader.exec_module(turn)
print("waits", flush=True)
with turn.first_free(sys.argv[2:], pathlib.Path(sys.argv[1])) as name:
    print(name, flush=True)
    sys.stdin.readline()
print("done", flush=True)
"""


class Process:
    """Another process that holds the first free name until it is told to let go."""

    def __init__(self, folder, *names):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, folder, *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self.read() == "waits"

    def read(self):
        return self.process.stdout.readline().strip()

    def is_silent(self, seconds):
        return not select.select([self.process.stdout], [], [], seconds)[0]

    def let_go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.read() == "done"

    def close(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start(tmp_path):
    """Start a process that takes the first free of some names."""
    with contextlib.ExitStack() as stack:

        def run(*names):
            process = Process(tmp_path, *names)
            stack.callback(process.close)
            return process

        yield run


def test_processes_take_turns(start):
    """Two processes hold a name each; a third waits until one is let go, and has it."""
    names = ["cuda:0", "cuda:1"]
    first, second = start(*names), start(*names)
    assert {first.read(), second.read()} == set(names)
    third = start(*names)
    assert third.is_silent(4 * _turn.WAIT)
    second.let_go()
    assert third.read() in names
    assert start("cuda:2").read() == "cuda:2"


def test_a_killed_process_holds_nothing(start, tmp_path):
    """When a process is killed, the one that waits for its name gets it."""
    holder = start("cuda:0")
    assert holder.read() == "cuda:0"
    taken = []

    def take():
        with first_free(["cuda:0"], tmp_path) as name:
            taken.append(name)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(3 * _turn.WAIT)
    assert taken == []
    holder.process.kill()
    thread.join(60)
    assert taken == ["cuda:0"]


def test_the_first_free_name_is_held(tmp_path):
    """Names are tried in order; one is free again after the block, errors or not."""
    names = ["a", "b", "c"]
    with first_free(names, tmp_path) as first, first_free(names, tmp_path) as second:
        assert (first, second) == ("a", "b")
    with pytest.raises(KeyError, match="in between"), first_free(names, tmp_path):
        raise KeyError("in between")
    with first_free(names, tmp_path) as name:
        assert name == "a"


# -- devices -----------------------------------------------------------------------


@pytest.fixture
def worker(monkeypatch, pretend, tmp_path):
    """Make of this process one that another has started, on a machine of two GPUs."""
    pretend("cuda", 2)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with using("gpu_reservation"):
        yield tmp_path


def test_by_default_no_gpu_is_reserved(worker):
    """Workers share a GPU, and write no file, unless the technique is switched on."""
    off = without("gpu_reservation")
    with off, reserve_gpu("auto") as one, reserve_gpu("auto") as other:
        assert one == other == "auto"
    assert list(worker.iterdir()) == []
    assert "gpu_reservation" in OFF


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "mps"])
@pytest.mark.parametrize("is_worker", [False, True])
def test_without_gpus_nothing_changes(worker, monkeypatch, pretend, device, is_worker):
    """Where there is no GPU the device is the caller's, and no file is written."""
    pretend("cuda", 0)
    if not is_worker:
        monkeypatch.setattr(multiprocessing, "parent_process", lambda: None)
    with reserve_gpu(device) as found:
        assert found == device
    assert list(worker.iterdir()) == []


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_a_process_of_its_own_takes_no_turn(worker, monkeypatch, device):
    """The caller's own process fits where it was told to, and no file is written."""
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: None)
    with reserve_gpu(device) as one, reserve_gpu(device) as other:
        assert one == other == device
    assert list(worker.iterdir()) == []


def test_workers_spread_over_gpus(worker):
    """ "auto" becomes one GPU after the other, and the first that is free again."""
    with reserve_gpu("auto") as first:
        with reserve_gpu("auto") as second:
            assert (first, second) == ("cuda:0", "cuda:1")
        with reserve_gpu("auto") as second:
            assert second == "cuda:1"
    with reserve_gpu("auto") as first:
        assert first == "cuda:0"


def test_a_named_gpu_is_taken(worker):
    """A number is meant, and so is "cuda", which is the first; others go around it."""
    with reserve_gpu("cuda:1") as named, reserve_gpu("auto") as other:
        assert torch.device(named) == torch.device("cuda:1")
        assert other == "cuda:0"
    with reserve_gpu("cuda") as named, reserve_gpu("auto") as other:
        assert torch.device(named).index in (None, 0)
        assert other == "cuda:1"


@pytest.mark.parametrize(
    ("device", "expected"), [("auto", "0"), ("xpu", "0"), ("xpu:1", "1"), ("mps", "0")]
)
def test_other_gpus_have_turns(worker, pretend, device, expected):
    """Those of Apple and Intel are shared out alike."""
    kind = "xpu" if device == "auto" else device.partition(":")[0]
    pretend(kind, 2)
    with reserve_gpu(device) as found:
        assert found == f"{kind}:{expected}"
    assert len(list(worker.rglob("*.lock"))) == 1


def test_the_cpu_has_no_turns(worker):
    """Workers on a CPU do not wait for each other."""
    with reserve_gpu("cpu") as one, reserve_gpu("cpu") as other:
        assert one == other == "cpu"
    assert list(worker.iterdir()) == []


def test_other_gpus_have_other_locks(worker, monkeypatch):
    """Where other GPUs are visible, the same numbers are other devices."""
    with reserve_gpu("cuda:0"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-1/2")
        with reserve_gpu("auto") as found:
            assert found == "cuda:0"


def test_joblib_s_workers_are_workers():
    """A process that joblib starts knows that another has started it."""
    ask = delayed(lambda: multiprocessing.parent_process() is not None)
    try:
        assert all(Parallel(2)([ask(), ask()]))
    finally:
        get_reusable_executor().shutdown(wait=True)
