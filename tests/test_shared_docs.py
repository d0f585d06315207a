"""The estimators say the same of what they share."""

import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import sklearn_bert

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location(
    "shared_docs", ROOT / "tools" / "shared_docs.py"
)
shared_docs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(shared_docs)
CLASSES = {
    "classifier": sklearn_bert.BertClassifier,
    "regressor": sklearn_bert.BertRegressor,
    "token_classifier": sklearn_bert.BertTokenClassifier,
    "embedder": sklearn_bert.BertEmbedder,
    "pretrainer": sklearn_bert.BertPretrainer,
    "generator": sklearn_bert.BertGenerator,
}


def entries_of(cls):
    """Name -> entry of the docstring's Parameters and Attributes."""
    doc = inspect.getdoc(cls)
    doc = doc[doc.index("Parameters\n---") :] + "\n"
    return {match[1]: match[0].rstrip() for match in shared_docs.ENTRY.finditer(doc)}


def test_docstrings_are_written():
    """Every shared entry stands in its classes as it does in `shared_docs.txt`."""
    assert not list(shared_docs.stale()), "run python tools/shared_docs.py"


@pytest.mark.parametrize("name", CLASSES)
def test_shared_entries_exist(name):
    """A class has all that is said to be shared by it, word for word."""
    entries = shared_docs.shared()[name]
    assert len(entries) >= 20
    documented = entries_of(CLASSES[name])
    for entry, text in entries.items():
        assert documented[entry] == text.rstrip()
        assert "<" not in text.replace("<U", "")


def test_what_is_shared_is_written_once():
    """An entry that two classes word alike is in `shared_docs.txt`."""
    shared = shared_docs.shared()
    seen = {}
    for name, cls in CLASSES.items():
        for entry, text in entries_of(cls).items():
            if entry in shared[name]:
                continue
            words = re.sub(r"\s+", " ", text)
            assert words not in seen, f"{entry} of {name} and {seen[words]}"
            seen[words] = name


def test_a_stale_docstring_is_found_and_repaired(tmp_path, monkeypatch, capsys):
    """`--check` names a file that says something else; else the file is written."""
    for name in CLASSES:
        source = (shared_docs.ESTIMATORS / f"_{name}.py").read_text(encoding="utf-8")
        (tmp_path / f"_{name}.py").write_text(source, encoding="utf-8")
    stale = tmp_path / "_classifier.py"
    whole = stale.read_text(encoding="utf-8")
    stale.write_text(whole.replace("Share of the updates", "Part"), encoding="utf-8")
    monkeypatch.setattr(shared_docs, "ESTIMATORS", tmp_path)
    assert shared_docs.main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [str(stale)]
    shared_docs.main([])
    assert stale.read_text(encoding="utf-8") == whole
    assert shared_docs.main(["--check"]) == 0
