"""The whole job from a shell, as a user types it."""

import json
import os
import re
import shutil
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
bert export model served
# Without torch, which takes seconds to import.
bert predict served reviews.csv --proba --out answers.parquet
bert predict served - < reviews.csv > answers.csv
bert evaluate served reviews.csv --target label --json > scores.json
bert report model reviews.csv --target label --out report.html
"""


# Some 30 seconds: three of the commands import torch, and one exports.
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
    assert {path.name for path in tmp_path.iterdir()} == {
        *("reviews.csv", "model", "fit.json", "served", "answers.parquet"),
        *("answers.csv", "scores.json", "report.html"),
    }
    result = json.loads((tmp_path / "fit.json").read_text())
    assert result["test"]["rows"] == 8
    answers = pd.read_parquet(tmp_path / "answers.parquet")["prediction"].tolist()
    assert pd.read_csv(tmp_path / "answers.csv")["prediction"].tolist() == answers
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["accuracy"] == (pd.read_csv(csv)["label"] == answers).mean()
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!")


GUIDE = Path(__file__).parents[2] / "docs" / "command_line.rst"
DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"


def shell_blocks(page):
    """The shell code of a page, block by block."""
    blocks = re.findall(
        r"^\.\. code-block:: shell\n\n((?:   .*\n|\n)+)", page, flags=re.MULTILINE
    )
    return [re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in blocks]


# A minute: some ten commands import torch.
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the page is for a POSIX shell")
def test_the_guide_runs_as_it_stands(tmp_path, checkpoint):
    """Every block of the page runs in order, with a tiny default checkpoint."""
    # A folder of the name of a checkpoint comes before the checkpoint.
    shutil.copytree(checkpoint, tmp_path / "here" / DEFAULT)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, arguments in [("python", ""), ("sklearn-bert", "-m sklearn_bert")]:
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        program.chmod(0o755)
    blocks = shell_blocks(GUIDE.read_text(encoding="utf-8"))
    assert len(blocks) == GUIDE.read_text(encoding="utf-8").count("code-block::")
    done = subprocess.run(
        ["sh", "-euc", "\n".join(blocks)],
        cwd=tmp_path / "here",
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    written = {path.name for path in (tmp_path / "here").iterdir()}
    assert written >= {"why.html", "report.html", "vectors.npy", "vectors.parquet"}
    answers = pd.read_csv(tmp_path / "here" / "answers-2.csv")["prediction"]
    assert answers.equals(
        pd.read_json(tmp_path / "here" / "served.jsonl", lines=True)["prediction"]
    )
    assert json.loads((tmp_path / "here" / "scores.json").read_text())["rows"] == 120
