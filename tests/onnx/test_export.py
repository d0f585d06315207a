"""What `export` writes and refuses, and how `load` behaves in a service."""

import json
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.exceptions import NotFittedError

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from onnx import TensorProto
from onnx import load as load_graph

from sklearn_bert import (
    BertClassifier,
    BertPretrainer,
    BertRegressor,
    TruncationWarning,
    UnknownWordsWarning,
    onnx,
)
from sklearn_bert._process._errors import DamagedCheckpointError
from sklearn_bert.distributed import make_predict_fn
from sklearn_bert.onnx import _check, _export, _model

FRAME = pd.DataFrame({"title": ["good", "bad", "fine", "poor"] * 10})
FRAME["n"] = np.arange(40)


@pytest.fixture(scope="module")
def clf(shallow_checkpoint):
    """A classifier of two columns in a template."""
    clf = BertClassifier(
        shallow_checkpoint,
        template="{title} film {n}",
        random_state=0,
        device="cpu",
        precision="float32",
        learning_rate=5e-3,
    )
    return clf.fit(FRAME, ["pos", "neg"] * 20)


@pytest.fixture(scope="module")
def exported(clf, tmp_path_factory):
    """The folder of the classifier in int8, and the report."""
    folder = tmp_path_factory.mktemp("onnx") / "model"
    return folder, onnx.export(clf, folder, quantize="int8")


@pytest.fixture(scope="module")
def model(exported):
    return onnx.load(exported[0], n_threads=1)


@pytest.fixture
def copied(exported, tmp_path):
    """A copy of the folder, to be damaged."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in exported[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def no_graph(monkeypatch):
    """Let `export` stop, as if killed, when it is to make the graph."""

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_export, "write_graphs", stop)


# -- export ------------------------------------------------------------------------


def test_int8_answers_like_the_estimator(clf, exported, model):
    """In int8 the labels are the same, and probabilities close."""
    _, report = exported
    assert model.predict(FRAME).tolist() == clf.predict(FRAME).tolist()
    difference = np.abs(model.predict_proba(FRAME) - clf.predict_proba(FRAME)).max()
    assert 1e-6 < difference < 0.05
    assert report["max_difference"] > 1e-6


def test_report_stands_in_the_folder(exported):
    """`report.json` is what `export` returned, and says that texts were built in."""
    folder, report = exported
    assert json.loads((folder / "report.json").read_text("utf-8")) == report
    assert (report["texts"], report["n_texts"]) == ("built-in", 204)
    assert report["quantize"] == "int8"
    assert report["bytes"] == (folder / "model.onnx").stat().st_size


def test_products_and_embeddings_are_in_int8(exported):
    """No matrix of weights but the head's is in float32; no path of files is told."""
    path = exported[0] / "model.onnx"
    weights = load_graph(path).graph.initializer
    in_float = [w.dims for w in weights if w.data_type == TensorProto.FLOAT]
    assert [dims for dims in in_float if len(dims) > 1 and min(dims) > 2] == []
    assert b".py" not in path.read_bytes()


def test_int8_that_changes_too_many_labels_is_refused(exported):
    """The error says how many labels change, and what to do."""
    report = dict(exported[1]) | {"labels_changed": 30}
    words = r"int8 changes 30 of 204 labels \(14\.7%\) .* built-in .* pass texts of"
    with pytest.raises(ValueError, match=words):
        _check._refuse(report, "int8", 0.1)
    _check._refuse(report, "int8", 0.2)


@pytest.mark.parametrize("difference", [1.01e-4, np.nan])
def test_float32_that_differs_is_refused(difference):
    """More than 1e-4, or no number at all, is no rounding."""
    report = {"texts": "given", "n_texts": 8, "max_difference": difference}
    with pytest.raises(ValueError, match="differs from the estimator by .* 8 given"):
        _check._refuse(report, None, 0.02)


def test_interrupted_export_leaves_nothing(clf, tmp_path, no_graph):
    """There is no folder, and no part of one."""
    with pytest.raises(KeyboardInterrupt):
        onnx.export(clf, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_interrupted_export_leaves_the_old_folder(clf, copied, model, no_graph):
    """What was exported before still answers."""
    with pytest.raises(KeyboardInterrupt):
        onnx.export(clf, copied)
    found = onnx.load(copied, n_threads=1).predict(FRAME)
    assert found.tolist() == model.predict(FRAME).tolist()


def test_family_that_torch_cannot_export_is_named(clf, tmp_path, monkeypatch):
    """The error names the family, and torch's own words."""

    def fail(*args, **kwargs):
        raise RuntimeError("no such operation")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(ValueError, match="family 'bert' cannot .*no such operation"):
        onnx.export(clf, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ({"quantize": "int4"}, r"quantize is 'int4'; expected None \(float32\) or"),
        ({"max_label_changes": 2}, "max_label_changes is 2; expected a share"),
        ({"max_label_changes": None}, "max_label_changes is None; expected a share"),
        ({"texts": FRAME[["n"]]}, "template names the column 'title'"),
    ],
)
def test_wrong_parameter_is_named_first(clf, tmp_path, no_graph, parameter, words):
    """Before any graph is made."""
    with pytest.raises(ValueError, match=words):
        onnx.export(clf, tmp_path / "model", **parameter)


def test_only_four_estimators_are_exported(clf, tmp_path):
    """A pretrainer, a subclass and another library's estimator are refused."""

    class Other(BertClassifier):
        pass

    for estimator in (BertPretrainer(), Other(), 3):
        name = type(estimator).__name__
        with pytest.raises(TypeError, match=f"takes a fitted .*; got {name}"):
            onnx.export(estimator, tmp_path / "model")


def test_unfitted_estimator_is_refused(tmp_path):
    """As everywhere in scikit-learn."""
    with pytest.raises(NotFittedError, match="not fitted yet"):
        onnx.export(BertRegressor(), tmp_path / "model")


def test_other_folder_is_not_replaced(clf, tmp_path, no_graph):
    """A folder with something else in it stays as it is."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="was not saved by sklearn_bert"):
        onnx.export(clf, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_missing_extra_is_named(clf, tmp_path, monkeypatch):
    """The error says what to install."""
    monkeypatch.setattr(_export, "find_spec", lambda name: None)
    monkeypatch.setattr(_model, "find_spec", lambda name: None)
    words = r'pip install "sklearn-bert\[onnx\]"'
    with pytest.raises(ModuleNotFoundError, match=words):
        onnx.export(clf, tmp_path / "model")
    with pytest.raises(ModuleNotFoundError, match=words):
        onnx.load(tmp_path)


# -- load --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "onnx.json"])
def test_damaged_file_is_named(copied, name):
    """One byte more, and the error names the file."""
    path = copied / name
    path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)
    with pytest.raises(DamagedCheckpointError, match=f"{name} is damaged"):
        onnx.load(copied)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        onnx.load(copied)


def test_manifest_of_a_newer_version_is_refused(copied):
    """The error says that the package is to be upgraded."""
    manifest = json.loads((copied / "onnx.json").read_text("utf-8"))
    content = manifest["content"] | {"format": 99}
    sha256 = _model_sha256(content)
    text = json.dumps({"sha256": sha256, "content": content})
    (copied / "onnx.json").write_text(text, "utf-8")
    with pytest.raises(ValueError, match="format 99; .* Upgrade sklearn_bert"):
        onnx.load(copied)


def _model_sha256(content):
    from sklearn_bert.onnx import _manifest

    return _manifest._sha256(_manifest._canonical(content))


@pytest.mark.parametrize("n_threads", [0, -1, 1.5, True, "2"])
def test_n_threads_is_a_positive_number(exported, n_threads):
    """Or None."""
    with pytest.raises(ValueError, match="n_threads is .*; expected a number"):
        onnx.load(exported[0], n_threads=n_threads)


def test_folder_is_a_path():
    """A file object is refused."""
    with pytest.raises(TypeError, match="folder is 3 of type int; expected the path"):
        onnx.load(3)


def test_containers_and_errors_are_those_of_the_estimator(clf, model):
    """Frames of any library are read; what is wrong is said in the same words."""
    expected = model.predict_proba(FRAME)
    assert np.array_equal(model.predict_proba(pl.from_pandas(FRAME)), expected)
    assert np.array_equal(model.predict_proba(FRAME[["n", "title"]]), expected)
    for wrong in (
        FRAME[["n"]],
        ["a", "b"],
        "text",
        FRAME[:0],
        FRAME.assign(title=None),
    ):
        with pytest.raises((TypeError, ValueError), match=".") as said:
            clf.predict(wrong)
        with pytest.raises(said.type) as found:
            model.predict(wrong)
        assert str(found.value) == str(said.value)


def test_cut_and_unknown_texts_are_warned_of(model):
    """As the estimator does."""
    cut = pd.DataFrame({"title": ["good " * 99], "n": [1]})
    with pytest.warns(TruncationWarning, match="1 of 1 texts are longer than 64"):
        model.predict(cut)
    with pytest.warns(UnknownWordsWarning, match="tokens .* stand for unknown words"):
        model.predict(FRAME.assign(title="9 8 7 6 5"))


def test_an_engine_takes_the_folder(exported, model):
    """What `make_predict_fn` makes reads an export as it reads a saved estimator."""
    predict = make_predict_fn(exported[0])()
    columns = [FRAME[name].astype(str).to_numpy(object) for name in ("title", "n")]
    expected = model.predict_proba(FRAME)
    np.testing.assert_allclose(predict(*columns), expected, atol=1e-6)


def test_equal_texts_are_computed_once(model, monkeypatch):
    """Each distinct text reaches the graph once, in batches of similar length."""
    shapes, run = [], model._graph.run

    def spy(output, inputs):
        shapes.append(inputs["input_ids"].shape)
        return run(output, inputs)

    monkeypatch.setattr(model._graph, "run", spy)
    model.predict(pd.concat([FRAME[:3]] * 50))
    assert sum(n for n, _ in shapes) == 3


def test_threads_share_a_model(model):
    """Answers of four threads are those of one."""
    expected = model.predict_proba(FRAME)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(model.predict_proba, [FRAME] * 16))
    assert all(np.allclose(one, expected, atol=1e-6) for one in found)


def test_pickle_holds_the_path(model):
    """A pickle is small, and reads the folder again."""
    pickled = pickle.dumps(model)
    assert len(pickled) < 1_000
    found = pickle.loads(pickled)
    assert np.array_equal(found.predict_proba(FRAME), model.predict_proba(FRAME))
    assert found._n_threads == 1


@pytest.mark.skipif(sys.platform == "win32", reason="has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("n_threads", [1, 2])
def test_forked_process_answers(exported, n_threads):
    """In one thread or, as those of its parent do not live on in it, in new ones."""
    model = onnx.load(exported[0], n_threads=n_threads)
    expected = model.predict(FRAME).tolist()
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()  # the model is not pickled: the child inherits it
    child = fork.Process(target=lambda: answers.put(model.predict(FRAME).tolist()))
    child.start()
    child.join(timeout=60)
    assert child.exitcode == 0
    assert answers.get() == expected


WITHOUT_TORCH = """
import sys

ABSENT = {"torch", "transformers", "sklearn", "scipy", "skorch", "pandas", "narwhals"}
ABSENT |= {"joblib", "safetensors", "huggingface_hub", "onnx", "onnxscript"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from sklearn_bert.onnx import load
model = load(sys.argv[1], n_threads=1)
model._template, model.n_features_in_ = None, 1
print(*model.predict(["good film 1", "bad film 2"]))
print(*sorted({name.partition(".")[0] for name in sys.modules} & ABSENT))
"""


def test_it_serves_where_torch_is_not_installed(clf, exported):
    """`load` and `predict` need numpy, tokenizers and onnxruntime alone."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(exported[0])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    texts = pd.DataFrame({"title": ["good", "bad"], "n": [1, 2]})
    assert done.stdout.splitlines() == [" ".join(clf.predict(texts)), ""]
