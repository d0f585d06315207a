"""Many rows in constant memory, and one model for several processes.

stream   Short rows from a generator, through a tiny BERT with random weights: growth of
         memory in bytes a row (second half of the batches), and rows a second, beside
         one call of predict_proba for a tenth of the rows. Into a Parquet file, too.
corpus   BertPretrainer on short texts from a generator and on a list of them: the most
         memory in fit that is in no file, and its growth in bytes a text.
pickle   all-MiniLM-L6-v2: bytes in the pickle and beside it, seconds of CPU time to
         write and to read it the first and the second time.
workers  Four processes of loky that answer with one fitted model, in float32: memory
         that is their own (USS), beyond that of workers which hold a tiny model, in
         multiples of the weights.
fit      One fit of all-MiniLM-L6-v2 on short texts, in float32, in one process and in
         two: texts a second of the second epoch.
"""

from __future__ import annotations

import pickle
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import torch
from _common import CHECKPOINT, PLAIN, checkpoint, command_line, finish, table
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from memory import MEBIBYTE, PeakMemory, alone, fitted, memory, short_texts
from torch import distributed, multiprocessing

from sklearn_bert import BertClassifier, BertPretrainer, cache_info, stream
from sklearn_bert.compute._memory import give_back

N_WORKERS = 4
BATCH_ROWS = 8192


def main() -> None:
    """Run the cases, print the tables, write the results."""
    parser = command_line(__doc__)
    parser.add_argument("--n-rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with checkpoint("tiny") as folder:
        streams = [
            {"to": "an iterator", **alone(streamed, folder, options.n_rows, False)},
            {"to": "a Parquet file", **alone(streamed, folder, options.n_rows, True)},
        ]
        streams.append(
            {"to": "one call", **alone(in_one_call, folder, options.n_rows // 10)}
        )
        sizes = options.n_rows // 50, options.n_rows // 10
        corpora = [of_corpus(folder, kind, sizes) for kind in ("stream", "list")]
        pickles = alone(sizes_and_times)
        own = memory_of_workers(CHECKPOINT)
        without = memory_of_workers(folder)
    fits = [together(*of) for of in ((1, 1), (1, 2), (2, 1))]
    workers = {
        "workers": N_WORKERS,
        "weights_mebibytes": own["weights"] / MEBIBYTE,
        "own_mebibytes": (own["own"] - without["own"]) / MEBIBYTE,
        "in_weights": (own["own"] - without["own"]) / own["weights"],
    }
    tables = [
        table("Short rows through a tiny model", streams),
        table("Pretraining on short texts", corpora),
        table("A pickle of all-MiniLM-L6-v2", [pickles]),
        table("Memory that workers have for themselves", [workers]),
        table("One fit in several processes", fits),
    ]
    finish("scale", options, tables)


def batches(n_rows: int) -> Iterator[list[str]]:
    """Short texts, no two the same, made as they are asked for."""
    for begin in range(0, n_rows, BATCH_ROWS):
        words = short_texts(min(BATCH_ROWS, n_rows - begin))
        yield [f"{begin} {text}" for text in words]


def streamed(folder: str, n_rows: int, to_file: bool) -> dict:
    """Memory and time of a stream."""
    clf = fitted(folder)
    resident: list[int] = []

    def watched() -> Iterator[list[str]]:
        for batch in batches(n_rows):
            give_back(torch.device("cpu"))  # what is free already is not in use
            resident.append(memory()["resident"])
            yield batch

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as output:
        if to_file:
            stream(clf, watched(), output=Path(output) / "answers.parquet")
        else:
            for _ in stream(clf, watched()):
                pass
    seconds = time.perf_counter() - start
    half = len(resident) // 2
    rows = BATCH_ROWS * np.arange(len(resident))
    return {
        "rows": n_rows,
        "rows_per_second": n_rows / seconds,
        "bytes_a_row": float(np.polyfit(rows[half:], resident[half:], 1)[0]),
        "most_mebibytes": max(resident) / MEBIBYTE,
    }


def in_one_call(folder: str, n_rows: int) -> dict:
    """Time of one call."""
    clf = fitted(folder)
    texts = [text for batch in batches(n_rows) for text in batch]
    start = time.perf_counter()
    clf.predict_proba(texts)
    return {"rows": n_rows, "rows_per_second": n_rows / (time.perf_counter() - start)}


def of_corpus(folder: str, kind: str, sizes: tuple[int, int]) -> dict:
    """Memory of a fit on a small and on a large corpus, each in its own process."""
    small, large = (alone(peak_of_pretraining, folder, kind, size) for size in sizes)
    return {
        "from": f"a {kind}",
        "texts": sizes[1],
        "most_mebibytes": large / MEBIBYTE,
        "bytes_a_text": (large - small) / (sizes[1] - sizes[0]),
    }


def peak_of_pretraining(folder: str, kind: str, n_texts: int) -> int:
    """Bytes that are in no file while a pretrainer reads texts and learns an epoch."""
    texts = (text for batch in batches(n_texts) for text in batch)
    with PeakMemory() as peak:
        X = list(texts) if kind == "list" else texts
        BertPretrainer(folder, max_length=64, max_epochs=1, device="cpu").fit(X)
    return peak.own


def sizes_and_times() -> dict:
    """What a pickle holds, and what it costs."""
    clf = fitted(CHECKPOINT)
    buffers: list[pickle.PickleBuffer] = []
    start = time.process_time()
    data = pickle.dumps(clf, 5, buffer_callback=buffers.append)
    written = time.process_time()
    cache_info(clear=True)
    seconds = []
    for _ in range(2):
        begin = time.process_time()
        pickle.loads(data, buffers=buffers)
        seconds.append(time.process_time() - begin)
    return {
        "bytes_in_band": len(data),
        "mebibytes_beside": sum(b.raw().nbytes for b in buffers) / MEBIBYTE,
        "write_seconds": written - start,
        "first_read_seconds": seconds[0],
        "second_read_seconds": seconds[1],
    }


def memory_of_workers(model: str) -> dict:
    """Bytes of their own that all workers have, and of the weights."""
    clf = BertClassifier(model, max_epochs=1, random_state=0, precision="float32")
    clf.fit(short_texts(32), np.arange(32) % 2)
    get_reusable_executor().shutdown()  # with what its workers have for themselves
    with Parallel(n_jobs=N_WORKERS) as parallel:
        own: dict[int, int] = {}
        # Until each of them has answered.
        while len(own) < N_WORKERS:
            jobs = (delayed(answer)(clf) for _ in range(4 * N_WORKERS))
            own |= dict(parallel(jobs))
    weights = sum(p.nbytes for p in clf.net_.module.parameters())
    return {"own": sum(own.values()), "weights": weights}


def answer(clf: BertClassifier) -> tuple[int, int]:
    """Answer a few texts; return the process, and the memory that it alone has."""
    clf.predict_proba(short_texts(16))
    process = psutil.Process()
    return process.pid, process.memory_full_info().uss


def together(n_processes: int, n_threads: int, n_texts: int = 512) -> dict:
    """Texts a second that some processes of some threads each learn from."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = n_processes, n_threads, n_texts, folder
        multiprocessing.spawn(learn, arguments, nprocs=n_processes)
        speed = float((Path(folder) / "speed").read_text())
    return {
        "processes": n_processes,
        "threads_of_each": n_threads,
        "texts_per_second": speed,
    }


def learn(
    rank: int, n_processes: int, n_threads: int, n_texts: int, folder: str
) -> None:
    """Fit for two epochs with the other processes, and note the speed of the second."""
    torch.set_num_threads(n_threads)
    if n_processes > 1:
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder}/meeting",
            rank=rank,
            world_size=n_processes,
        )
    clf = BertClassifier(
        CHECKPOINT, **PLAIN, max_epochs=2, random_state=0, precision="float32"
    )
    clf.fit(short_texts(n_texts), np.arange(n_texts) % 2)
    if rank == 0:
        speed = clf.history_[-1]["texts_per_second"]
        (Path(folder) / "speed").write_text(str(speed))


if __name__ == "__main__":
    main()
