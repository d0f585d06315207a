"""What the benchmarks share: checkpoints, timing, the cost of a model, results."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from _data import DATA, WHERE_DATA, need_data
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizer,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from sklearn_bert import TruncationWarning, cache_info
from sklearn_bert._process._errors import CheckpointError
from sklearn_bert.compute._device import resolve_device
from sklearn_bert.compute._precision import resolve_precision
from sklearn_bert.model._find import find_checkpoint

logging.disable_progress_bar()
logging.set_verbosity_error()
warnings.simplefilter("ignore", TruncationWarning)  # long texts are meant to be cut

RESULTS = Path(__file__).parent / "results"
CHECKPOINT = "sentence-transformers/all-MiniLM-L6-v2"
# A classifier that does the work of a plain loop and no more.
PLAIN = {
    "head_init": "random",
    "calibrate": False,
    "learning_rate": 5e-5,
    "batch_size": 32,
}
# Layers and width of the checkpoints that are made up: speed asks for no training.
SHAPES = {"tiny": (1, 32), "base": (12, 768), "large": (24, 1024)}
PACKAGES = ["torch", "transformers", "scikit-learn", "skorch", "sklearn-bert"]
PEERS = ["accelerate", "sentence-transformers", "setfit", "skrub"]
WARM_UP = 64  # texts before the clock starts, on a CPU
H200_BFLOAT16 = 790e12  # operations per second, dense, measured with large matrices
DEVICE = resolve_device("auto")
ON_GPU = DEVICE.type == "cuda"


# -- command line ------------------------------------------------------------------


def command_line(description: str, *, rounds: int = 5) -> argparse.ArgumentParser:
    """Parser that says where the data come from, and asks for rounds."""
    parser = argparse.ArgumentParser(
        description=description,
        epilog=WHERE_DATA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser


def add_size(
    parser: argparse.ArgumentParser, name: str, *, cpu: int, gpu: int, of: str
) -> None:
    """Offer a number of texts or steps, smaller by default where there is no GPU."""
    text = f"{of} (default: {cpu}, on a GPU {gpu})"
    parser.add_argument(name, type=int, default=gpu if ON_GPU else cpu, help=text)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Offer the checkpoints: the real small one, or larger ones with random weights."""
    parser.add_argument(
        "--model",
        choices=["minilm", "base", "large", "tiny"],
        default="minilm",
        help="all-MiniLM-L6-v2, or a BERT of this shape with random weights",
    )


# -- checkpoints -------------------------------------------------------------------


@contextmanager
def checkpoint(model: str) -> Iterator[str]:
    """Folder of all-MiniLM-L6-v2, or of a BERT of a shape with random weights."""
    if model == "minilm":
        yield str(find_checkpoint(CHECKPOINT, None))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_random_bert(folder, *SHAPES[model])
        yield folder


def write_random_bert(folder: str, n_layers: int, width: int) -> None:
    """Write a BERT with random weights and BERT's English vocabulary."""
    tokenizer = english_tokenizer()
    tokenizer.model_max_length = 512
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=n_layers,
        num_attention_heads=max(width // 64, 1),
        intermediate_size=4 * width,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def english_tokenizer() -> PreTrainedTokenizerBase:
    """MiniLM's; where that is not here, one of BERT's vocabulary among the data."""
    try:
        return AutoTokenizer.from_pretrained(str(find_checkpoint(CHECKPOINT, None)))
    except CheckpointError:
        need_data("bert_vocab")
        path = DATA / "bert_vocab" / "bert-base-uncased-vocab.txt"
        return BertTokenizer(vocab=str(path))


# -- what a model must compute -----------------------------------------------------


@dataclass(frozen=True)
class Work:
    """What a comparison computes: texts, real tokens (no padding) and operations."""

    n_texts: int
    n_tokens: int
    flops: float


def work(
    folder: str,
    texts: Sequence[str],
    *,
    training: bool,
    max_length: int,
    epochs: int = 1,
) -> Work:
    """Cost of some texts: multiplications and additions in the encoder's matrices.

    Forward, a token costs 2 operations for each weight of a matrix, and 4 * layers *
    width for each token of its text (attention); training costs three times as much.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
    config = AutoConfig.from_pretrained(folder)
    width, layers = config.hidden_size, config.num_hidden_layers
    matrices = layers * (4 * width**2 + 2 * width * config.intermediate_size)
    forward = sum(2 * matrices * len(t) + 4 * layers * width * len(t) ** 2 for t in ids)
    passes = 3 * epochs if training else 1
    n_tokens = sum(map(len, ids)) * epochs
    return Work(len(texts) * epochs, n_tokens, float(passes * forward))


def machine_peak() -> dict[str, object]:
    """Operations per second that this machine can do at best, and how that is known."""
    if ON_GPU and "H200" in torch.cuda.get_device_name():
        return {"flops_per_second": H200_BFLOAT16, "source": "H200 in bfloat16"}
    dtypes = {torch.float32, resolve_precision("auto", DEVICE)}
    speeds = {str(dtype): matrix_product_speed(dtype) for dtype in dtypes}
    fastest = max(speeds, key=speeds.__getitem__)
    source = f"product of two matrices in {fastest.removeprefix('torch.')}, here"
    return {"flops_per_second": speeds[fastest], "source": source, "measured": speeds}


def matrix_product_speed(dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product, the best of twenty."""
    rows, inner, columns = (8192, 8192, 8192) if ON_GPU else (1024, 768, 3072)
    left = torch.randn(rows, inner, device=DEVICE).to(dtype)
    right = torch.randn(inner, columns, device=DEVICE).to(dtype)
    seconds = min(timed(torch.mm, left, right) for _ in range(20))
    return 2 * rows * inner * columns / seconds


# -- timing ------------------------------------------------------------------------


def timed(run: Callable, *arguments: object) -> float:
    """Wall time of a call, whatever a GPU still has in its queue included."""
    wait_for_gpu()
    start = time.perf_counter()
    run(*arguments)
    wait_for_gpu()
    return time.perf_counter() - start


def wait_for_gpu() -> None:
    """Return when the GPU has done all it was given."""
    if ON_GPU:
        torch.cuda.synchronize()


def alternate(
    contenders: dict[str, Callable],
    *columns: Sequence,
    rounds: int,
    budget: float | None = None,
) -> dict[str, list[float]]:
    """Seconds of each contender in each round, first to last and last to first.

    Our caches are emptied before every call: a second round must not profit from the
    first. With a budget of seconds there is one round at least, and as many more as it
    has time for; an eighth of the texts goes before them.
    """
    start = time.perf_counter()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    n_before = len(columns[0]) if budget is None else len(columns[0]) // 8
    n_before = max(n_before, WARM_UP) if ON_GPU else WARM_UP
    for run in contenders.values():
        run(*(column[:n_before] for column in columns))
    for number in range(rounds):
        spent = time.perf_counter() - start
        if number and budget is not None and spent * (number + 1) / number > budget:
            break
        names = list(contenders)
        for name in names if number % 2 == 0 else reversed(names):
            cache_info(clear=True)
            seconds[name].append(timed(contenders[name], *columns))
    return seconds


def compare(
    title: str,
    contenders: dict[str, Callable],
    *columns: Sequence,
    cost: Work,
    peak: dict[str, object],
    rounds: int,
    budget: float | None = None,
) -> dict:
    """Time peers and, as the last of the contenders, ours, on the same columns."""
    seconds = alternate(contenders, *columns, rounds=rounds, budget=budget)
    rounds = min(map(len, seconds.values()))
    *_, ours = contenders
    rows = []
    for name, times in seconds.items():
        median = statistics.median(times)
        row = {
            "contender": name,
            "texts_per_second": cost.n_texts / median,
            "tokens_per_second": cost.n_tokens / median,
            "utilisation": cost.flops / median / float(str(peak["flops_per_second"])),
        }
        if name != ours:
            row |= ratios(times, seconds[ours])
        rows.append({**row, "seconds": times})
    size = {"n_texts": cost.n_texts, "n_tokens": cost.n_tokens, "rounds": rounds}
    return table(f"{title}: {cost.n_texts:,} texts", rows, **size)


def ratios(peer: list[float], ours: list[float]) -> dict[str, float]:
    """How many times as fast ours is: the median round, the worst and the best."""
    by_round = [theirs / own for theirs, own in zip(peer, ours, strict=True)]
    return {
        "ratio": statistics.median(by_round),
        "ratio_min": min(by_round),
        "ratio_max": max(by_round),
    }


# -- tables and files --------------------------------------------------------------


def table(title: str, rows: list[dict], **more: object) -> dict:
    """Print rows as a table, and return it for the results file."""
    names = dict.fromkeys(
        name for row in rows for name, value in row.items() if is_cell(value)
    )
    head = [name.replace("_per_second", "/s").replace("_", " ") for name in names]
    cells = [head] + [[shown(row.get(name)) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(f"\n{title}")
    for first, *rest in cells:
        numbers = (c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))
        print("  ".join([first.ljust(widths[0]), *numbers]), flush=True)
    return {"title": title, "rows": rows, **more}


def is_cell(value: object) -> bool:
    """Whether a value has its place in a table, or only in the file."""
    return not isinstance(value, (list, dict))


def shown(value: object) -> str:
    """A number with three digits that matter, or a word."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def finish(
    name: str, options: argparse.Namespace, tables: list[dict], **more: object
) -> None:
    """Write the tables of a script with its settings and its machine."""
    settings = vars(options)
    write(variant(name, settings), {"settings": settings, "tables": tables, **more})


def variant(name: str, settings: dict) -> str:
    """Keep results of another model or of a GPU beside those of MiniLM on a CPU."""
    model = settings.get("model", "minilm")
    parts = [name, *([] if model == "minilm" else [model]), *(["gpu"] * ON_GPU)]
    return "-".join(parts)


def write(name: str, content: dict) -> None:
    """Keep the figures of a run, with its environment."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**content, **environment()}, indent=2) + "\n")
    print(f"\nwritten: {path}")


def environment() -> dict[str, object]:
    """Versions and hardware of a run."""
    return {
        "python": platform.python_version(),
        "versions": installed(PACKAGES + PEERS),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_bfloat16": {
            "amx": torch.cpu._is_amx_tile_supported(),
            "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        },
        "gpu": torch.cuda.get_device_name() if ON_GPU else None,
    }


def installed(packages: Sequence[str]) -> dict[str, str]:
    """Versions of those packages that are here."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def cpu_name() -> str:
    """What the processor calls itself."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor()
    names = [line for line in info.read_text().splitlines() if "model name" in line]
    return names[0].partition(":")[2].strip() if names else platform.processor()
