"""What the documentation draws and groups is whole."""

import importlib.util
import inspect
import json
from pathlib import Path

import pytest

import sklearn_bert

ROOT = Path(__file__).parents[1]
ESTIMATORS = [
    sklearn_bert.BertClassifier,
    sklearn_bert.BertRegressor,
    sklearn_bert.BertTokenClassifier,
    sklearn_bert.BertEmbedder,
    sklearn_bert.BertPretrainer,
    sklearn_bert.BertGenerator,
    sklearn_bert.WordPieceVocabulary,
]


def load(path):
    """A module that is no part of the package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


groups = load("docs/parameter_groups.py")
size_report = load("benchmarks/_size_report.py")


@pytest.fixture
def runs():
    """Runs on file of the benchmark of sizes."""
    path = ROOT / "benchmarks" / "results" / "data_sizes.jsonl"
    lines = path.read_text("utf-8").splitlines()
    return size_report.frame_of([json.loads(line) for line in lines])


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_every_parameter_has_one_purpose(cls):
    """Each parameter of an estimator is in its table by purpose, once."""
    parameters = inspect.signature(cls).parameters
    listed = [name for own in groups.grouped(parameters).values() for name in own]
    assert sorted(listed) == sorted(parameters)


def test_every_purpose_is_of_parameters():
    """The groups name nothing that no estimator has."""
    named = {name for own in groups.GROUPS.values() for name in own}
    assert named == {
        name for cls in ESTIMATORS for name in inspect.signature(cls).parameters
    }


def test_curves_compare_equal_draws(runs):
    """At each size all methods have the same draws of the same sets."""
    for _, sets, own in size_report.panels(runs):
        for _, of_size in own.groupby("size", observed=True):
            draws = of_size.groupby("method", observed=True)[["set", "draw"]]
            first, *others = [set(rows.itertuples(index=False)) for _, rows in draws]
            assert all(other == first for other in others)
            assert {name for name, _ in first} == set(sets)


def test_curves_leave_out_a_draw_that_a_method_lacks(runs):
    """Without one run the other methods' runs of that draw count no more."""
    _, _, own = next(iter(size_report.panels(runs)))
    missing = own[own["method"] == "tfidf"].iloc[0]
    _, _, left = next(iter(size_report.panels(runs.drop(missing.name))))
    same = (left["set"] == missing["set"]) & (left["draw"] == missing["draw"])
    assert not (same & (left["size"] == missing["size"])).any()


@pytest.mark.parametrize("dark", [False, True])
def test_curves_are_drawn_in_a_small_file(runs, tmp_path, dark):
    """The picture is an SVG with the methods' names, of less than 60 kB.

    Pairs have too few sets for a curve of what is for them alone.
    """
    path = tmp_path / "sizes.svg"
    size_report.plot(runs, path, dark=dark)
    text = path.read_text("utf-8")
    drawn = {method for method, name in size_report.NAMES.items() if name in text}
    assert drawn == size_report.NAMES.keys() - {"cosine"}
    assert len(text) < 60_000
