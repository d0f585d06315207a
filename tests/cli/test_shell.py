"""The whole job from a shell, as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

SCRIPT = """
set -eu
bert() { "$PYTHON" -m sklearn_bert "$@"; }
bert fit reviews.csv --text text --target label --out model --test-size 0.2 --json \\
    --checkpoint "$CHECKPOINT" --epochs 3 --learning-rate 5e-3 > fit.json
bert info model
bert predict model reviews.csv --proba --out answers.parquet
bert evaluate model reviews.csv --target label --json > scores.json
bert report model reviews.csv --target label --out report.html
bert export model served
# Without torch, through pipes.
cut -d, -f1 reviews.csv | bert predict served - --format csv | cut -d, -f2 > labels.txt
"""


# Some 40 seconds: five of the commands import torch, and one exports.
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the script is one of a POSIX shell")
def test_the_whole_job_from_a_shell(csv, tmp_path, checkpoint):
    """fit, info, predict, evaluate, report and export work one after the other."""
    done = subprocess.run(
        ["sh", "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable, "CHECKPOINT": checkpoint},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("model ")
    read = {path.name: path for path in Path(tmp_path).iterdir()}
    assert read.keys() == {
        *("reviews.csv", "model", "fit.json", "answers.parquet", "scores.json"),
        *("report.html", "served", "labels.txt"),
    }
    assert json.loads(read["fit.json"].read_text())["test"]["rows"] == 8
    answers = pd.read_parquet(read["answers.parquet"])["prediction"].tolist()
    labels = read["labels.txt"].read_text().split()
    assert labels == ["prediction", *answers]
    scores = json.loads(read["scores.json"].read_text())
    assert scores["accuracy"] == (pd.read_csv(csv)["label"] == answers).mean()
    assert read["report.html"].read_text("utf-8").startswith("<!")
