"""The floors of the package, its windows to libraries, and the shape of its code."""

import ast
import functools
from importlib.metadata import version
from pathlib import Path

import pytest

import sklearn_bert

PACKAGE = Path(sklearn_bert.__file__).parent
# From the ground up; the roof is what lies beside them in the package.
FLOORS = ["_process", "text", "model", "compute", "training", "targets", "estimators"]
# Libraries that an extra installs, or that are loaded with the first frame or sparse
# indicator: `sklearn_bert.onnx` does without them.
EXTRAS = {"peft", "matplotlib", "cleanlab.filter", "narwhals", "scipy.sparse"}
EXTRAS |= {"onnx", "onnxruntime", "onnxruntime.quantization"}
EXTRAS |= {"pyarrow", "pyarrow.parquet"}
VERSION = "sklearn_bert._version"
FILES = sorted(PACKAGE.rglob("*.py"))


def floor_of(module):
    """The floor a module of the package lives on: the number of its folder."""
    folder = [*module.split("."), ""][1]
    return FLOORS.index(folder) if folder in FLOORS else len(FLOORS)


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@functools.cache
def imports_of(path):
    """Every imported module of a file, with the node that imports it."""
    return list(_imports_of(path))


def _imports_of(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module, node


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down_only(path):
    """A file imports from its own floor and from those below, never from above."""
    floor = floor_of(name_of(path))
    for module, _ in imports_of(path):
        if not module.startswith("sklearn_bert.") or module == VERSION:
            continue
        assert floor_of(module) <= floor, f"{path} imports {module} from above"


def test_no_circle():
    """No module imports itself, by whatever way round."""
    graph = {
        name_of(path): {
            module
            for module, _ in imports_of(path)
            if module.startswith("sklearn_bert.")
        }
        for path in FILES
        if path.name != "__init__.py"
    }
    done, open_ = set(), []

    def visit(module):
        assert module not in open_, f"circle: {[*open_, module]}"
        if module in done:
            return
        open_.append(module)
        for other in graph.get(module, ()):
            visit(other)
        open_.pop()
        done.add(module)

    for module in graph:
        visit(module)


@pytest.mark.parametrize(
    ("library", "windows"),
    [
        ("skorch", ["training/"]),
        ("huggingface_hub", ["model/_find.py"]),
        ("safetensors", ["model/", "persistence.py"]),
        ("transformers", ["model/"]),
        ("peft", ["model/_lora.py"]),
        ("onnx", ["onnx/_quantize.py"]),
        ("onnxruntime", ["onnx/"]),
        ("narwhals", ["text/_columns.py"]),
        (
            "pandas",
            ["text/_columns.py", "datasets/", "distributed/", "inspection/", "cli/"],
        ),
        ("matplotlib", ["inspection/_plotting.py"]),
        ("cleanlab", ["inspection/_mistakes.py"]),
        ("rich", ["cli/_bar.py", "training/_callbacks.py"]),
        ("polars", []),
        ("pyarrow", ["distributed/_parts.py", "distributed/_source.py"]),
    ],
)
def test_each_library_has_one_window(library, windows):
    """An outside library is imported in one place."""
    for path in FILES:
        place = path.relative_to(PACKAGE).as_posix()
        if any(place.startswith(window) for window in windows):
            continue
        used = {module.split(".")[0] for module, _ in imports_of(path)}
        assert library not in used, f"{place} imports {library}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_import_inside_a_function(path):
    """What a file needs stands at its top, but for libraries that it can do without."""
    tree = ast.parse(path.read_text("utf-8"))
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {node.module}
        else:
            continue
        assert id(node) in top or names <= EXTRAS, (
            f"{path}:{node.lineno} imports inside a block"
        )


def body_lines(node):
    """How many lines a function has, without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_functions_are_short():
    """No function is over 60 lines, and 99 of 100 are not over 40."""
    lengths = [
        (body_lines(node), f"{name_of(path)}.{node.name}")
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    assert max(lengths)[0] <= 60, max(lengths)
    assert sum(n > 40 for n, _ in lengths) <= len(lengths) / 100


def test_the_root_is_small():
    """Beside the floors the root holds what a user imports or runs."""
    entries = {path.name for path in PACKAGE.iterdir()}
    entries -= {"__pycache__", "py.typed", "__init__.pyi"}
    roof = {"__init__", "__main__", "_version", "persistence"}
    folders = {
        *FLOORS,
        "cli",
        "datasets",
        "distributed",
        "inspection",
        "onnx",
        "testing",
    }
    assert entries == {*folders, *(f"{m}.py" for m in roof)}


def test_version_is_the_distribution_s():
    """`__version__` is what pip installed."""
    assert sklearn_bert.__version__ == version("sklearn-bert")


def test_public_names_have_docstrings():
    """Every public name says what it is."""
    for name in sklearn_bert.__all__:
        if name != "__version__":
            assert getattr(sklearn_bert, name).__doc__
