"""What importing the package, and its parts that need no torch, imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_bert

# What reads texts and answers in a service by `sklearn_bert.onnx`.
READS_AND_ANSWERS = (
    "sklearn_bert._process._atomic_folder, sklearn_bert.text._reports, "
    "sklearn_bert.targets._answers"
)
# What comes with transformers' models, in two seconds, and what nobody asks for.
NEEDED_LATER = {
    "IPython",
    "accelerate",
    "kernels",
    "matplotlib",
    "peft",
    "polars",
    "sentence_transformers",
    "sympy",
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.tensor",
    "transformers.generation.continuous_batching",
    "transformers.integrations.hub_kernels",
    "transformers.modeling_utils",
    "transformers.models",
}
WITHOUT_TORCH = """
import importlib, sys

ABSENT = {"torch", "transformers", "sklearn", "scipy", "skorch", "pandas", "narwhals"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


def run(code):
    """Run code in a Python of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules_after(code):
    """The modules that some code has imported, in a Python of its own."""
    return set(run(f"{code}; import sys; print(*sys.modules)").split())


def libraries_after(code):
    """The outside libraries among them."""
    found = {name.partition(".")[0] for name in modules_after(code)}
    return found - set(sys.stdlib_module_names) - {"sklearn_bert"}


def test_import_of_the_package_imports_no_library():
    """`import sklearn_bert` takes Python's own modules alone."""
    assert not libraries_after("import sklearn_bert") - libraries_after("import os")


def test_reading_and_answering_import_no_torch():
    """Texts are read, and scores become labels, by NumPy and tokenizers alone."""
    found = libraries_after(f"import {READS_AND_ANSWERS}")
    assert found - libraries_after("import numpy") <= {"numpy", "tokenizers"}


def test_names_import_no_model_of_transformers():
    """All names together import torch, but nothing that only a model needs."""
    found = modules_after("from sklearn_bert import *")
    assert {"torch", "transformers", "skorch"} <= found
    assert not found & NEEDED_LATER


def test_texts_are_read_and_scores_answered_without_torch():
    """Where torch, SciPy and pandas are missing, lists are read and labels decided."""
    code = f"""{WITHOUT_TORCH}
import numpy as np
from sklearn_bert.targets._answers import AnyLabels, OneLabel
from sklearn_bert.text._input import check_texts

texts = check_texts(np.array(["a good film", "a bad one"]), missing="empty")
assert texts.first == ["a good film", "a bad one"]
assert check_texts([None, float("nan")], missing="empty").first == ["", ""]
scores = np.array([[1.0, 3.0], [900.0, -900.0]], dtype=np.float32)
one = OneLabel(np.array(["bad", "good"]))
print(one.decide(one.proba(scores)).tolist())
some = AnyLabels(np.arange(2), "<i8", None)
print(some.decide(some.proba(scores)).tolist())
class Frame: pass
try:
    check_texts(Frame())
except ModuleNotFoundError as error:
    print(error)
"""
    assert run(code).splitlines() == [
        "['good', 'bad']",
        "[[1, 1], [1, 0]]",
        "to read X of type Frame takes narwhals, which is not installed. Install it "
        "(pip install narwhals), or hand in a list of texts.",
    ]


def test_dir_lists_what_is_not_imported_yet():
    """`dir(sklearn_bert)` has every public name, and imports none."""
    code = "import sklearn_bert, sys; print(*dir(sklearn_bert), 'torch' in sys.modules)"
    *names, torch_is_there = run(code).split()
    assert {*sklearn_bert.__all__, "datasets", "testing"} <= set(names)
    assert torch_is_there == "False"


def test_star_import_brings_every_public_name():
    """`from sklearn_bert import *` imports what `__all__` lists."""
    names = {}
    exec("from sklearn_bert import *", names)
    assert set(sklearn_bert.__all__) <= set(names)


def test_subpackages_are_attributes():
    """A subpackage need not be imported by name."""
    code = "import sklearn_bert; print(sklearn_bert.testing, sklearn_bert.datasets)"
    assert run(code).count("<module 'sklearn_bert.") == 2


def test_unknown_name_is_an_attribute_error():
    """A name that there is not is refused as that of any module."""
    with pytest.raises(AttributeError, match="'sklearn_bert' has no attribute 'Bert'"):
        _ = sklearn_bert.Bert


def test_stub_says_where_the_names_are():
    """Type checkers are told the same modules that the names are imported from."""
    stub = Path(sklearn_bert.__file__).with_suffix(".pyi")
    tree = ast.parse(stub.read_text("utf-8"))
    told = {
        alias.name: node.module.removeprefix("sklearn_bert.")
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "sklearn_bert"
        for alias in node.names
    }
    assert told == {"__version__": "_version", **sklearn_bert._MODULES}
    listed = next(node for node in tree.body if isinstance(node, ast.Assign))
    assert ast.literal_eval(listed.value) == sklearn_bert.__all__
