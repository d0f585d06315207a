"""The versions that are declared, and those that the tests are run with."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
EXTRAS = PROJECT["optional-dependencies"]


def pinned(file):
    """Name -> version, of a file of constraints."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name.lower().replace("_", "-"): version for name, version in pins}


def bounds(requirements):
    """Name -> lowest version, of requirements other than this package's own extras."""
    found = [
        re.match(r"([\w.-]+)(?:\[[\w,]+\])?[>=]=([\w.]+)", requirement)
        for requirement in requirements
        if not requirement.startswith("sklearn-bert[")
    ]
    return {match[1].lower().replace("_", "-"): match[2] for match in found}


def test_lowest_versions_are_the_declared_ones():
    """`make test-lowest` runs the lower bounds of the package and of its tests."""
    extras = ("minilm", "lora", "onnx", "parquet", "plot", "report", "test")
    tested = [EXTRAS[extra] for extra in extras]
    assert pinned("constraints-lowest.txt") == bounds(
        sum(tested, PROJECT["dependencies"])
    )


def test_every_requirement_is_pinned():
    """What any extra asks for has its version in `constraints.txt`."""
    asked = bounds(sum(EXTRAS.values(), PROJECT["dependencies"]))
    assert asked.keys() <= pinned("constraints.txt").keys()


def test_python_versions():
    """The classifiers name every Python from the lowest on that CI runs."""
    assert PROJECT["requires-python"] == ">=3.11"
    named = [c.rpartition(" :: ")[2] for c in PROJECT["classifiers"] if "3." in c]
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8")
    run = sorted(set(re.findall(r'python: "(3\.\d+)"', workflow)))
    assert [named[0], named[-1]] == [run[0], run[-1]]
