"""Seconds that imports take, each in a process of its own, in turns.

The libraries alone are those that every fit needs. CPU time: a busy machine does not
change it much.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

from _common import command_line, finish, table

LIBRARIES = (
    "import torch, transformers, skorch, sklearn.linear_model, sklearn.metrics, "
    "sklearn.model_selection"
)
CASES = {
    "sklearn_bert": "import sklearn_bert",
    "torch, transformers, scikit-learn, skorch alone": LIBRARIES,
    "BertClassifier": "from sklearn_bert import BertClassifier",
    "all names": "from sklearn_bert import *",
    "BertClassifier, and what a model needs": (
        "import transformers; from sklearn_bert import BertClassifier; "
        "transformers.PreTrainedModel"
    ),
}


def main() -> None:
    """Run the cases, print the table, write the results."""
    options = command_line(__doc__).parse_args()
    empty = [cpu_seconds("pass") for _ in range(options.rounds)]
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(options.rounds + 1):  # the first brings the files into memory
        for name, code in CASES.items():
            seconds[name].append(cpu_seconds(code))
    rows = [
        {
            "import": name,
            "cpu_seconds": statistics.median(times[1:]) - statistics.median(empty),
            "resident_mebibytes": resident_mebibytes(CASES[name]),
            "all_seconds": times[1:],
        }
        for name, times in seconds.items()
    ]
    finish("import_time", options, [table("Imports", rows)])


def cpu_seconds(code: str) -> float:
    """CPU time of a Python that runs some code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def resident_mebibytes(code: str) -> float:
    """Memory of a Python that has run some code."""
    look = "import psutil; print(psutil.Process().memory_info().rss)"
    command = [sys.executable, "-c", f"{code}\n{look}"]
    return int(subprocess.run(command, check=True, capture_output=True).stdout) / 2**20


if __name__ == "__main__":
    main()
