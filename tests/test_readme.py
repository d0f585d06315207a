"""The README, block by block, as a new user runs it."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from sklearn_bert import datasets

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def at_a_new_users(tmp_path, monkeypatch, checkpoint):
    """An empty folder, but that the default checkpoint is tiny and tickets are few."""
    # A folder of the name of a checkpoint comes before the checkpoint.
    shutil.copytree(checkpoint, tmp_path / DEFAULT)
    monkeypatch.chdir(tmp_path)
    whole = datasets.load_support_tickets()
    few = whole.frame.groupby(["category", "split"]).head(12)
    monkeypatch.setattr(
        datasets, "load_support_tickets", lambda: whole.__class__(frame=few)
    )


# A tiny checkpoint says more about these texts than the default one does.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.usefixtures("at_a_new_users")
def test_blocks_of_python_run_in_order():
    """Each block runs as it stands, with what the blocks before it have defined."""
    names = {"__name__": "__main__"}
    for number, block in enumerate(blocks("python"), start=1):
        exec(compile(block, f"README.md, block {number}", "exec"), names)
    assert names["clf"].transform(["a good film"]).shape == (1, 32)  # the tiny one
    assert Path("our-bert").is_dir()


def test_every_block_is_tested():
    """Blocks are Python or shell, so that none escapes these tests."""
    fences = re.findall(r"^ *```(.*)$", README, re.MULTILINE)
    assert set(fences[::2]) == {"python", "shell"}
    assert set(fences[1::2]) == {""}


def test_commands_exist():
    """`make` is given targets of the Makefile, and `pip` extras of the package."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = set(re.findall(r"\bmake ([a-z-]+)", "\n".join(blocks("shell"))))
    asked |= set(re.findall(r"`make ([a-z-]+)`", README))
    assert {"demo", "test"} <= asked
    assert asked <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    extras = set(re.findall(r"\[([a-z,]+)\]\"", "\n".join(blocks("shell"))))
    assert extras
    assert extras <= set(project["project"]["optional-dependencies"])
