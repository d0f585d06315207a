"""Change one thing in a module at random, and look whether its tests notice.

Run by hand: `python tools/mutate.py --n 24 --seed 0`. A mutant is a comparison, an
operator, a number or a condition of a module that is changed. It is written into a copy
of the package, against which the test file of the module's name is run. A mutant that
survives shows a line that no test holds, or a change that says nothing.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OPPOSITE: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def mutate(node: ast.AST) -> ast.AST | None:
    """Return a changed copy of a node; None where there is nothing to change."""
    other = copy.deepcopy(node)
    if isinstance(other, ast.Compare) and type(other.ops[0]) in OPPOSITE:
        other.ops[0] = OPPOSITE[type(other.ops[0])]()
        return other
    if isinstance(other, (ast.BinOp, ast.BoolOp)) and type(other.op) in OPPOSITE:
        other.op = OPPOSITE[type(other.op)]()
        return other
    if isinstance(other, ast.Constant) and type(other.value) in (int, float):
        other.value += 1
        return other
    if isinstance(other, (ast.If, ast.IfExp)):
        other.test = ast.UnaryOp(ast.Not(), other.test)
        return other
    return None


def tested_modules() -> Iterator[tuple[Path, Path]]:
    """Yield every module that has a test file of its name, with that file."""
    for module in sorted((ROOT / "sklearn_bert").rglob("_*.py")):
        folder = module.parent.relative_to(ROOT / "sklearn_bert")
        name = f"test{module.stem}.py"
        test = ROOT / "tests" / str(folder).removeprefix("_") / name
        if test.exists():
            yield module, test


def run(module: Path, test: Path, rng: random.Random) -> tuple[str, bool]:
    """Change one thing in the module; return what, and whether the tests noticed."""
    tree = ast.parse(module.read_text("utf-8"))
    places = [
        (parent, field, index, child)
        for parent in ast.walk(tree)
        for field, value in ast.iter_fields(parent)
        for index, child in enumerate(value if isinstance(value, list) else [value])
        if isinstance(child, ast.AST) and mutate(child) is not None
    ]
    parent, field, index, child = rng.choice(places)
    before, changed = ast.unparse(child).split("\n")[0], mutate(child)
    assert changed is not None
    after = ast.unparse(ast.fix_missing_locations(changed)).split("\n")[0]
    value = getattr(parent, field)
    if isinstance(value, list):
        value[index] = changed
    else:
        setattr(parent, field, changed)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("sklearn_bert", "tests", "pyproject.toml"):
            source, target = ROOT / name, Path(folder) / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
        source = ast.unparse(ast.fix_missing_locations(tree))
        (Path(folder) / module.relative_to(ROOT)).write_text(source, "utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow"]
            + ["-p", "no:cacheprovider", str(test.relative_to(ROOT))],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            timeout=600,
        )
    name = module.relative_to(ROOT / "sklearn_bert")
    return f"{name}:{child.lineno}: {before} -> {after}", done.returncode != 0


def main() -> None:
    """Run some mutants, and list those that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=24, help="how many mutants to run")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    modules = list(tested_modules())
    n_caught = 0
    for _ in range(options.n):
        what, is_caught = run(*rng.choice(modules), rng)
        n_caught += is_caught
        print("caught  " if is_caught else "SURVIVED", what, flush=True)
    print(f"{n_caught} of {options.n} caught")


if __name__ == "__main__":
    main()
