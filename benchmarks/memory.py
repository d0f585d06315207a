"""Growth of memory with fits, texts and calls, and what a fit and a load leave.

Growth is that of a tiny BERT with random weights; what stays is that of
all-MiniLM-L6-v2, in multiples of its weights. Each case has a process of its own.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import psutil
import torch
from _common import CHECKPOINT, ON_GPU, checkpoint, command_line, finish, table

from sklearn_bert import BertClassifier, cache_info, load, save

MEBIBYTE = 2**20
WORDS = ["film", "plot", "cat", "dog", "was", "very", "not", "good", "bad", "dull"]
N_SAMPLES = 50  # looks at the memory in a long run of calls
N_AT_REST = 5  # fits whose memory is looked at, and loads


def main() -> None:
    """Run the cases, print the table, write the results."""
    parser = command_line(__doc__)
    parser.add_argument("--n-fits", type=int, default=20)
    parser.add_argument("--n-texts", type=int, default=100_000, help="in one call")
    parser.add_argument("--n-calls", type=int, default=10_000)
    options = parser.parse_args()
    with checkpoint("tiny") as folder:
        fits = alone(memory_of_fits, folder, options.n_fits)
        few = alone(peak_of_predict, folder, 1000)
        many = alone(peak_of_predict, folder, options.n_texts)
        calls = alone(memory_of_calls, folder, options.n_calls)
        at_rest = []
        for is_new, kind in ((False, "one estimator"), (True, "a new one each time")):
            for precision in ("auto", "float32"):
                found = alone(at_rest_of_fits, folder, is_new, precision)
                at_rest.append({"case": f"{kind}, {precision}", **found})
        loads = alone(times_of_loads)
    rows = [
        {"case": f"{options.n_fits} fits", "per": "fit", **fits},
        {"case": f"{options.n_calls:,} calls of predict", "per": "call", **calls},
        {
            "case": f"predict 1,000, then {options.n_texts:,} texts",
            "per": "text",
            "bytes_each": round((many - few) / (options.n_texts - 1000)),
            "peak_mebibytes_few": few / MEBIBYTE,
            "peak_mebibytes_many": many / MEBIBYTE,
        },
    ]
    tables = [
        table("Growth of the process's memory", rows),
        table("Memory at rest after a fit, less that before, by weights", at_rest),
        table("Loads of one saved folder", loads),
    ]
    finish("memory", options, tables)


def alone(case: Callable, *arguments):
    """Run a case in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(case, *arguments).result()


def memory_of_fits(folder: str, n_fits: int) -> dict:
    """Memory after each of many fits on the same texts."""
    texts, labels = short_texts(256), np.arange(256) % 2
    samples = []
    for _ in range(n_fits):
        BertClassifier(folder, max_epochs=1, random_state=0).fit(texts, labels)
        samples.append(memory())
    return growth(samples, np.arange(n_fits))


def memory_of_calls(folder: str, n_calls: int) -> dict:
    """Memory over many calls of `predict`, each with a long text never seen before."""
    clf = fitted(folder)
    rng = np.random.default_rng(0)
    samples, numbers = [], []
    for number in range(n_calls):
        clf.predict([random_long_text(rng)])
        if number % max(n_calls // N_SAMPLES, 1) == 0:
            samples.append(memory())
            numbers.append(number)
    return growth(samples, np.array(numbers))


def at_rest_of_fits(tiny: str, is_new: bool, precision: str) -> dict:
    """Memory after each of several fits, above that after a fit of a tiny model.

    That one has loaded the libraries, once for the process.
    """
    fitted(tiny)
    cache_info(clear=True)
    texts, labels = short_texts(32), np.arange(32) % 2
    clf = BertClassifier(max_epochs=2, random_state=0, precision=precision)
    before, after = memory()["resident"], []
    for _ in range(N_AT_REST):
        if is_new:
            clf = BertClassifier(**clf.get_params())
        clf.fit(texts, labels)
        after.append(memory()["resident"])
    weights = sum(p.nbytes for p in clf.net_.module.parameters())
    return {
        "first": (after[0] - before) / weights,
        "most": (max(after) - before) / weights,
        "weights_mebibytes": weights / MEBIBYTE,
    }


def times_of_loads() -> list[dict]:
    """Seconds, and memory that is added, by each load of the same folder."""
    rows, loaded = [], []
    with tempfile.TemporaryDirectory() as folder:
        save(fitted(CHECKPOINT), f"{folder}/saved")
        cache_info(clear=True)
        time.sleep(3)  # a file just written is hashed each time
        for number in range(N_AT_REST):
            before, start = memory()["resident"], time.perf_counter()
            cpu = time.process_time()
            loaded.append(load(f"{folder}/saved"))
            rows.append(
                {
                    "load": number + 1,
                    "seconds": time.perf_counter() - start,
                    "cpu_seconds": time.process_time() - cpu,
                    "mebibytes": (memory()["resident"] - before) / MEBIBYTE,
                }
            )
    return rows


def peak_of_predict(folder: str, n_texts: int) -> int:
    """Bytes by which one call of `predict_proba` exceeds what was there before."""
    clf = fitted(folder)
    texts = short_texts(n_texts)
    clf.predict(texts[:1])
    before = memory()["resident"]
    with PeakMemory() as peak:
        clf.predict_proba(texts)
    return peak.resident - before


class PeakMemory:
    """The most memory while a block runs, looked at every 2 ms.

    `own` is the part of `resident` that is in no file, which the system cannot take
    back.
    """

    def __enter__(self) -> PeakMemory:
        self.resident = self.own = 0
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def _look(self) -> None:
        process = psutil.Process()
        while not self._done.is_set():
            now = process.memory_info()
            self.resident = max(self.resident, now.rss)
            self.own = max(self.own, now.rss - now.shared)
            time.sleep(0.002)

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._watch.join()


def memory() -> dict[str, int]:
    """Bytes of the process, of our caches, and of tensors on the GPU."""
    return {
        "resident": psutil.Process().memory_info().rss,
        "caches": sum(cache["bytes"] for cache in cache_info().values()),
        "gpu": torch.cuda.memory_allocated() if ON_GPU else 0,
    }


def growth(samples: list[dict[str, int]], numbers: np.ndarray) -> dict:
    """Slopes over the second half; the first fills caches and pools."""
    half = len(samples) // 2
    resident, caches, gpu = (
        np.array([sample[name] for sample in samples], dtype=float)
        for name in ("resident", "caches", "gpu")
    )
    return {
        "bytes_each": slope(numbers[half:], resident[half:]),
        "bytes_each_beyond_caches": slope(numbers[half:], (resident - caches)[half:]),
        "gpu_bytes_each": slope(numbers[half:], gpu[half:]),
        "samples": samples,
    }


def slope(x: np.ndarray, y: np.ndarray) -> int:
    """Rise per step of the line through the points, rounded."""
    return round(np.polyfit(x, y, 1)[0]) if len(x) > 1 else 0


def fitted(folder: str) -> BertClassifier:
    """A classifier that has learned next to nothing."""
    clf = BertClassifier(folder, max_epochs=1, random_state=0)
    return clf.fit(short_texts(32), np.arange(32) % 2)


def short_texts(n: int) -> list[str]:
    """Distinct texts of eight words."""
    words = np.random.default_rng(0).choice(WORDS, (n, 7))
    return [f"{number} {' '.join(row)}" for number, row in enumerate(words)]


def random_long_text(rng: np.random.Generator) -> str:
    """Sixty words of random letters."""
    letters = rng.integers(97, 123, (60, 6), dtype=np.uint8)
    return " ".join(word.tobytes().decode() for word in letters)


if __name__ == "__main__":
    main()
