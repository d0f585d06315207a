"""A fitted classifier in a service, on one thread of a CPU, by seven ways to serve it.

One classifier of short phrases: the estimator, its ONNX graph in float32 and in int8,
each also in ONNX Runtime by hand, and transformers.pipeline on the folder that
`save(layout="transformers")` writes (which has one layer more, for the mean of the
tokens). sentence-transformers computes the vectors alone. TF-IDF and a logistic
regression are there for scale.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # of the threads of clients, too

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
from _common import add_model, checkpoint, command_line, finish, installed, table
from _data import sst2_phrases
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_bert import BertClassifier, cache_info, onnx, save

N_FIT = 128  # the models need not be good
CLIENTS = 1, 2, 8
OURS_AS, BARE_AS = "sklearn_bert.onnx, ", "onnxruntime by hand, "
BARE = "from _bare_onnx import bare; answer = bare(folder)"
OURS = "from sklearn_bert.onnx import load; answer = load(folder, n_threads=1)"
OURS += ".predict_proba"
# Folder -> code that leaves `answer`, which takes texts: here, and in a new process.
CONTENDERS = {
    BARE_AS + "float32": ("float32", BARE),
    BARE_AS + "int8": ("int8", BARE),
    "transformers.pipeline": (
        "transformers",
        "from transformers import pipeline\n"
        "served = pipeline('text-classification', folder, device='cpu', top_k=None)\n"
        "answer = lambda texts: served(list(texts), batch_size=32)",
    ),
    "sentence-transformers, vectors": (
        "checkpoint",
        "from sentence_transformers import SentenceTransformer\n"
        "served = SentenceTransformer(folder, device='cpu')\n"
        "answer = lambda texts: served.encode(list(texts), show_progress_bar=False)",
    ),
    "TF-IDF, LogisticRegression": (
        "tfidf",
        "import joblib; answer = joblib.load(folder + '/model.joblib').predict_proba",
    ),
    "sklearn_bert": (
        "estimator",
        "from sklearn_bert import load; answer = load(folder).predict_proba",
    ),
    OURS_AS + "float32": ("float32", OURS),
    OURS_AS + "int8": ("int8", OURS),
}
# What a new process prints: seconds, CPU seconds and bytes of memory.
START = """
import time
clocks = time.perf_counter(), time.process_time()
folder = {folder!r}
{code}
answer(["a short text"])
seconds = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
import json, psutil
print(json.dumps([*seconds, psutil.Process().memory_info().rss]))
"""


def main() -> None:
    """Fit and write the folders, compare, print the tables, write the results."""
    parser = command_line(__doc__)
    add_model(parser)
    parser.add_argument("--n-single", type=int, default=100, help="texts one by one")
    parser.add_argument("--n-batch", type=int, default=250, help="texts of a batch")
    options = parser.parse_args()
    n_texts = N_FIT + max(options.n_single, options.n_batch)
    texts, labels = sst2_phrases(n_texts)
    with tempfile.TemporaryDirectory() as root, checkpoint(options.model) as folder:
        folders = {"checkpoint": folder} | write_folders(
            folder, Path(root), texts[:N_FIT], labels[:N_FIT]
        )
        answers = {
            name: built(code, folders[place])
            for name, (place, code) in CONTENDERS.items()
        }
        check_alike(answers, texts[:32])
        tables = [
            one_by_one(answers, texts[N_FIT:], options),
            in_batches(answers, texts[N_FIT:], options),
            for_clients(answers, texts[N_FIT:], options),
            starts(folders, options),
        ]
    packages = installed(["onnxruntime", "tokenizers", "numpy"])
    finish("serve", options, tables, serving=packages)


def write_folders(
    checkpoint: str, root: Path, texts: list[str], labels: np.ndarray
) -> dict[str, str]:
    """Fit the two classifiers; write the one of BERT in each form."""
    clf = BertClassifier(checkpoint, max_epochs=1, max_length=256, random_state=0)
    clf.fit(texts, labels)
    save(clf, root / "estimator")
    save(clf, root / "transformers", layout="transformers")
    onnx.export(clf, root / "float32", texts=texts)
    # So few steps leave many labels undecided: here it is the speed that counts.
    onnx.export(clf, root / "int8", texts=texts, quantize="int8", max_label_changes=1.0)
    plain = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, labels)
    (root / "tfidf").mkdir()
    joblib.dump(plain, root / "tfidf" / "model.joblib")
    return {path.name: str(path) for path in root.iterdir()}


def built(code: str, folder: str) -> Callable:
    """Run the code of a contender, and return its `answer`."""
    names: dict = {"folder": folder}
    exec(code, names)
    return names["answer"]


def check_alike(answers: dict[str, Callable], texts: list[str]) -> None:
    """Leave where one graph gives other labels by hand than by sklearn_bert."""
    for precision in ("float32", "int8"):
        ours, by_hand = answers[OURS_AS + precision], answers[BARE_AS + precision]
        for text in texts:
            if ours([text]).argmax() != by_hand([text]).argmax():
                raise SystemExit(f"{precision}: by hand another label for {text!r}")


# -- in this process ---------------------------------------------------------------


def seconds_of(run: Callable, texts: Sequence[str]) -> tuple[float, float]:
    """Wall and CPU time of a call; nothing is remembered of earlier ones."""
    cache_info(clear=True)
    start, cpu = time.perf_counter(), time.process_time()
    run(texts)
    return time.perf_counter() - start, time.process_time() - cpu


def in_turns(answers: dict[str, Callable], number: int) -> list[tuple[str, Callable]]:
    """The contenders, first to last and last to first."""
    items = list(answers.items())
    return items if number % 2 == 0 else items[::-1]


def one_by_one(
    answers: dict[str, Callable], texts: list[str], options: argparse.Namespace
) -> dict:
    """Time calls with one text, the contenders in turns for each text."""
    seconds: dict[str, list] = {name: [] for name in answers}
    for number in range(options.rounds * options.n_single):
        text = texts[number % options.n_single]
        for name, answer in in_turns(answers, number):
            seconds[name].append(seconds_of(answer, [text]))
    rows = []
    for name, times in seconds.items():
        wall, cpu = 1000 * np.array(times).T
        rows.append(
            {
                "contender": name,
                "p50_ms": float(np.median(wall)),
                "p99_ms": float(np.quantile(wall, 0.99)),
                "cpu_p50_ms": float(np.median(cpu)),
            }
        )
    return table("One text in a call", rows, n_calls=options.rounds * options.n_single)


def in_batches(
    answers: dict[str, Callable], texts: list[str], options: argparse.Namespace
) -> dict:
    """Time calls with many texts."""
    batch = texts[: options.n_batch]
    seconds: dict[str, list] = {name: [] for name in answers}
    for number in range(options.rounds):
        for name, answer in in_turns(answers, number):
            seconds[name].append(seconds_of(answer, batch))
    rows = [
        {
            "contender": name,
            "wall_seconds": statistics.median(wall for wall, _ in times),
            "cpu_seconds": statistics.median(cpu for _, cpu in times),
            "seconds": times,
        }
        for name, times in seconds.items()
    ]
    return table(f"{len(batch)} short texts in a call", rows)


def for_clients(
    answers: dict[str, Callable], texts: list[str], options: argparse.Namespace
) -> dict:
    """Time threads that share a model, and each ask for one text at a time."""
    texts = texts[: options.n_single]
    speeds: dict = {name: {n: [] for n in CLIENTS} for name in answers}
    for number in range(options.rounds):
        for name, answer in in_turns(answers, number):
            for n_clients in CLIENTS:
                with ThreadPoolExecutor(n_clients) as clients:
                    wall, _ = seconds_of(
                        lambda texts, to=answer, by=clients: list(
                            by.map(lambda text: to([text]), texts)
                        ),
                        texts,
                    )
                speeds[name][n_clients].append(len(texts) / wall)
    rows = [
        {"contender": name}
        | {f"{n} clients": statistics.median(by_clients[n]) for n in CLIENTS}
        for name, by_clients in speeds.items()
    ]
    return table("Texts a second, by the number of clients", rows)


# -- in new processes --------------------------------------------------------------


def starts(folders: dict[str, str], options: argparse.Namespace) -> dict:
    """Time import, load and the first text, each in a process of its own."""
    found: dict[str, list] = {name: [] for name in CONTENDERS}
    for _ in range(options.rounds + 1):  # the first brings the files into memory
        for name, (place, code) in CONTENDERS.items():
            found[name].append(
                new_process(START.format(folder=folders[place], code=code))
            )
    rows = []
    for name, (place, _) in CONTENDERS.items():
        wall, cpu, memory = np.median(found[name][1:], axis=0)
        rows.append(
            {
                "contender": name,
                "wall_seconds": float(wall),
                "cpu_seconds": float(cpu),
                "resident_mebibytes": float(memory / 2**20),
                "disk_mebibytes": size_on_disk(folders[place]) / 2**20,
            }
        )
    return table("From a new process to the first answer", rows)


def new_process(code: str) -> list[float]:
    """Run code in a new process, in this folder, and read the figures it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def size_on_disk(folder: str) -> int:
    """Bytes of the files in a folder."""
    return sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())


if __name__ == "__main__":
    main()
