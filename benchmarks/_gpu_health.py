"""Sections of `gpu.py`: the tests, memory over many fits and at its peak, Ctrl-C."""

from __future__ import annotations

import gc
import itertools
import signal
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from _common import ON_GPU, PLAIN, table
from _gpu_bench import Bench

from sklearn_bert import BertClassifier, cache_info

ROOT = Path(__file__).parents[1]
N_FITS = 20
GIBIBYTE = 2**30
# What is interrupted: it says when it trains, and afterwards what is left on the GPU.
INTERRUPTED = """
import sys, time
import torch
from sklearn_bert import BertClassifier

texts, labels = ["a good film", "a bad film"] * 512, [0, 1] * 512
settings = dict(random_state=0, head_init="random", calibrate=False, device=sys.argv[2])
clf = BertClassifier(sys.argv[1], max_epochs=1, **settings).fit(texts[:64], labels[:64])
left = lambda: torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
before = left()
long = BertClassifier(sys.argv[1], max_epochs=10_000, **settings)
print("training", flush=True)
try:
    long.fit(texts, labels)
except KeyboardInterrupt:
    stopped = time.time()
    long = None
    print(stopped, left() - before, flush=True)
    clf.fit(texts[:64], labels[:64])
    print("fits again", flush=True)
"""


def gpu_tests(bench: Bench) -> Iterator[dict]:
    """The tests marked `gpu`; in a look those of attention alone."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    files = [path for path in files if "mark.gpu" in path.read_text("utf-8")]
    if bench.quick:
        files = [path for path in files if path.name == "test_attention.py"]
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-m", "gpu", *files]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    last = run.stdout.strip().splitlines()[-1:] or [run.stderr.strip()[-200:]]
    failed = [line for line in run.stdout.splitlines() if line.startswith("FAILED")]
    yield table("Tests marked gpu", [{"outcome": last[0], "failed": failed}])


def fits_in_a_row(bench: Bench) -> Iterator[dict]:
    """Bytes on the GPU after each of many fits, above those after the first."""
    texts, labels = bench.short(bench.size(256))
    left = []
    for seed in range(bench.size(N_FITS, few=3)):
        clf = BertClassifier(bench.folder, max_epochs=1, random_state=seed, **PLAIN)
        clf.fit(texts, labels)
        del clf
        left.append(allocated())
    row = {"fits": len(left), "bytes_more": left[-1] - left[0], "bytes": left}
    yield table("Bytes left on the GPU by fits in a row", [row])


def ctrl_c(bench: Bench) -> Iterator[dict]:
    """How soon a training stops at Ctrl-C, and what it leaves on the GPU."""
    device = "cuda" if ON_GPU else "cpu"
    command = [sys.executable, "-c", INTERRUPTED, bench.folder, device]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            child.stdout.readline()
            time.sleep(1)
            sent = time.time()
            child.send_signal(signal.SIGINT)
            answer = child.stdout.read().splitlines()
        except BaseException:
            child.kill()
            raise
    stopped, left = answer[0].split()
    row = {
        "seconds_to_stop": float(stopped) - sent,
        "bytes_left": int(left),
        "then": answer[-1],
        "status": child.returncode,
    }
    yield table("Ctrl-C in the middle of a fit", [row])


def peak_memory(bench: Bench) -> Iterator[dict]:
    """The most memory that fits and predictions take, by the length of the texts."""
    rows = []
    for length in (64, 128, 256, 512) if not bench.quick else (64,):
        # Each letter is a token, and two special ones are added.
        pairs = itertools.product(string.ascii_lowercase, repeat=2)
        texts = [f"{first} {second}{' a' * (length - 4)}" for first, second in pairs]
        few = texts[:32], np.arange(32) % 2
        clf = BertClassifier(
            bench.folder, max_epochs=1, max_length=length, random_state=0, **PLAIN
        )
        fit = peak_of(clf.fit, *few)
        predict = peak_of(clf.predict_proba, texts[: bench.size(len(texts))])
        row = {"tokens": length, "fit_gibibytes": fit, "predict_gibibytes": predict}
        rows.append(row)
    yield table("Peak memory of a fit in batches of 32, and of a prediction", rows)


def peak_of(run: Callable, *arguments: object) -> float:
    """GiB on the GPU at most while a call runs."""
    cache_info(clear=True)
    if ON_GPU:
        torch.cuda.reset_peak_memory_stats()
    run(*arguments)
    return torch.cuda.max_memory_allocated() / GIBIBYTE if ON_GPU else 0.0


def allocated() -> int:
    """Bytes of tensors on the GPU."""
    gc.collect()
    if not ON_GPU:
        return 0
    torch.cuda.synchronize()
    return torch.cuda.memory_allocated()
