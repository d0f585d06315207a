"""What the benchmarks share: data, environment, results."""

from __future__ import annotations

import csv
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch

DATA = Path(os.environ.get("SKLEARN_BERT_DATA", "../shared/data"))
RESULTS = Path(__file__).parent / "results"
CHECKPOINT = "sentence-transformers/all-MiniLM-L6-v2"

WHERE_DATA = """\
data: the folder named by SKLEARN_BERT_DATA (default ../shared/data) with
  sst2/           GLUE SST-2 (gluebenchmark.com): train.tsv with header
  sst2_sentence/  SST-2, whole sentences: train.tsv, dev.tsv, no header (text, label)
  trec/           TREC question types (cogcomp.org/Data/QA/QC): TREC.train, TREC.test
  cola/           CoLA (nyu-mll.github.io/CoLA): train.tsv, dev.tsv
  mrpc/           Microsoft Research Paraphrase Corpus: train.tsv, dev.tsv
  reference_scores.csv  columns data, metric, acc, mcc of a transformers.Trainer run
"""


def need_data(*names: str) -> None:
    """Leave with a clear message where the data are not there."""
    absent = [name for name in names if not (DATA / name).exists()]
    if absent:
        raise SystemExit(f"skipped: {DATA} has no {', '.join(absent)}.\n{WHERE_DATA}")


def read_tsv(path: str, **options) -> pd.DataFrame:
    """Read a table with quoting off, as all of these need."""
    return pd.read_csv(DATA / path, sep="\t", quoting=csv.QUOTE_NONE, **options)


def sst2_phrases(n: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Some phrases of SST-2 with their labels."""
    frame = read_tsv("sst2/train.tsv").sample(n, random_state=seed)
    return frame["sentence"].tolist(), frame["label"].to_numpy()


def environment() -> dict[str, object]:
    """Versions and hardware of a run."""
    packages = ["torch", "transformers", "scikit-learn", "skorch", "sklearn-bert"]
    peers = ["sentence-transformers", "accelerate"]
    found = {}
    for package in packages + peers:
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            continue
    capabilities = {
        "amx": torch.cpu._is_amx_tile_supported(),
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
    }
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "versions": found,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "cpu_bfloat16": capabilities,
        "gpu": gpu,
    }


def write(name: str, content: dict) -> None:
    """Keep the figures of a run, with its environment."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**content, **environment()}, indent=2) + "\n")
    print(f"\nwritten: {path}")


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor()
    names = [line for line in info.read_text().splitlines() if "model name" in line]
    return names[0].partition(":")[2].strip() if names else platform.processor()
