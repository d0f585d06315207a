"""Exit statuses: what is wrong is said in one line, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import tomllib
import warnings
from importlib.metadata import EntryPoint
from pathlib import Path

import pandas as pd
import pytest

from sklearn_bert import BertOutOfMemoryError, __version__
from sklearn_bert.cli import _info
from sklearn_bert.cli._main import main

PROGRAM = [sys.executable, "-m", "sklearn_bert"]
EVALUATE = ("evaluate", "{classifier}", "{data}", "--target", "label")
FIT = ("fit", "{data}", "--text", "text", "--target", "label", "--out", "{out}")
PREDICT = ("predict", "{classifier}", "{data}", "--out", "{out}.csv")
REPORT = ("report", "{classifier}", "{data}", "--target", "label", "--out", "{out}")
EMBED = ("embed", "{embedder}", "{data}", "--out", "{out}.npy")
GOOD = b"text,label\na good film,pos\na bad film,neg\n"
# What is wrong with a file, with the command where it is seen first: name, content,
# command, and the error.
WRONG_FILES = {
    "no such column": ("a.csv", GOOD.replace(b"text", b"body"), "no column 'text'"),
    "empty": ("a.csv", b"", "cannot be read as CSV: No columns to parse from file"),
    "no row": ("a.csv", b"text,label\n", "has 0 rows, only a header"),
    "bad encoding": ("a.csv", GOOD.replace(b"bad", b"b\xe3d"), "It is not utf-8"),
    "ragged": ("a.csv", GOOD + b"a,b,c\n", "Expected 2 fields in line 4, saw 3"),
    "malformed": ("a.jsonl", b'{"text": "a", "label": "pos"}\n{"te', "line 2 is no JS"),
    "unknown suffix": ("a.doc", GOOD, "has no suffix of a table"),
    "no Parquet": ("a.parquet", GOOD, "cannot be read as Parquet"),
}


@pytest.fixture
def run(saved, tmp_path, fails):
    """Run a command that fails, with paths put in; its error, and what it leaves."""

    def run(command, data):
        paths = {**saved, "data": data, "out": tmp_path / "out"}
        before = sorted(tmp_path.iterdir())
        error = fails(*(part.format(**paths) for part in command))
        assert sorted(tmp_path.iterdir()) == before
        return error

    return run


@pytest.mark.parametrize("command", [EVALUATE, PREDICT, REPORT, EMBED], ids=" ".join)
@pytest.mark.parametrize("wrong", WRONG_FILES)
def test_a_wrong_file_is_told(run, tmp_path, wrong, command):
    """A file that cannot be read is named in one line, and nothing is written."""
    name, content, message = WRONG_FILES[wrong]
    (tmp_path / name).write_bytes(content)
    error = run(command, tmp_path / name)
    assert message in error
    assert str(tmp_path / name) in error


@pytest.mark.parametrize("wrong", sorted(WRONG_FILES.keys() - {"no row"}))
def test_a_wrong_file_is_told_before_a_fit(run, tmp_path, wrong):
    """`fit` says the same of a file."""
    name, content, message = WRONG_FILES[wrong]
    (tmp_path / name).write_bytes(content)
    assert message in run(FIT, tmp_path / name)


@pytest.mark.parametrize("command", [FIT, EVALUATE, PREDICT, REPORT, EMBED])
def test_a_missing_file_and_a_folder_are_told(run, tmp_path, command):
    """A file that is not there is named, and so is a folder in its place."""
    assert "no.csv cannot be opened (No such file" in run(command, tmp_path / "no.csv")
    (tmp_path / "folder.csv").mkdir()
    error = run(command, tmp_path / "folder.csv")
    assert "folder.csv cannot be opened (Is a directory)" in error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,label\n" + b"a film,pos\n" * 20, "y holds one class only ('pos')"),
        (b"text,label\n,pos\n", "has no rows with text and label"),
        (GOOD.replace(b"neg", b""), "y holds one class only"),
        (
            b"text,label\n" + b"".join(b"a film,%d\n" % i for i in range(20)),
            "holds 20 different values in 20 rows; expected labels",
        ),
    ],
)
def test_labels_that_cannot_be_learnt_are_told(run, tmp_path, content, message):
    """One class, no rows, or a column of no labels, and nothing is saved."""
    (tmp_path / "a.csv").write_bytes(content)
    assert message in run(FIT, tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ("evaluate", "{regressor}", "{data}", "--target", "label"),
            "holds 'pos' in row 0, counted from 0; expected a number",
        ),
        (
            ("evaluate", "{classifier}", "{data}", "--target", "stars"),
            "holds '5.0' in row 0, counted from 0; the classes of the model are 'neg'",
        ),
        (("predict", "{embedder}", "{data}"), "holds a BertEmbedder; this command"),
        (("predict", "{regressor}", "{data}", "--proba"), "has no probabilities"),
        (("predict", "{data}", "{data}"), "is no folder; expected a folder that"),
        (("predict", "{here}", "{data}"), "holds no model; expected a folder that"),
        (("info", "{here}"), "holds no model; expected a folder that"),
        (("info", "{here}/no"), "is no folder"),
        (("embed", "{here}/no", "{data}", "--text", "text"), "/no"),
        (("export", "{here}", "{here}/out"), "holds no model"),
        ((*EVALUATE[:-1], "text2"), "no column 'text2'"),
        (
            (*FIT, "--task", "regress"),
            "holds 'pos' in row 0, counted from 0; expected a",
        ),
        ((*FIT, "--epochs", "0"), "The 'max_epochs' parameter of BertClassifier"),
        ((*FIT, "--text", "label", "--text", "stars"), "X has 3 columns"),
        ((*FIT, "--checkpoint", "{here}"), "{here}"),
    ],
)
def test_a_wrong_model_is_told(saved, csv, tmp_path, fails, command, message):
    """A model of another kind, a folder without one, or a wrong parameter is told."""
    paths = {**saved, "data": csv, "here": tmp_path, "out": tmp_path / "out"}
    error = fails(*(part.format(**paths) for part in command))
    assert message.format(**paths) in error
    assert os.listdir(tmp_path) == [csv.name]


@pytest.mark.parametrize("command", [PREDICT, REPORT, EMBED], ids=" ".join)
def test_a_file_that_exists_is_not_written(run, csv, tmp_path, command):
    """What --out names is left as it is, and found before anything is read."""
    out = tmp_path / Path(command[-1].format(out="out")).name
    out.write_text("mine")
    assert f"{out} exists; name another file" in run(command, "no.csv")
    assert out.read_text() == "mine"


def test_columns_are_not_overwritten(saved, csv, fails):
    """A table that has the column of the answer is refused."""
    pd.read_csv(csv).assign(prediction=1).to_csv(csv, index=False)
    assert "has a column 'prediction' already" in fails(
        "predict", saved["classifier"], csv
    )


def test_gaps_in_targets_are_told(saved, csv, fails):
    """A row without target cannot be scored."""
    with csv.open("a") as file:
        file.write("a film,,\n")
    error = fails("evaluate", saved["classifier"], csv, "--target", "label")
    assert "column 'label'" in error
    assert "is empty in row 40, counted from 0" in error


def test_a_damaged_model_is_told(saved, tmp_path, fails):
    """A manifest that was changed is no model."""
    content = Path(saved["classifier"], "estimator.json").read_text()
    (tmp_path / "estimator.json").write_text(content.replace("neg", "NEG"))
    assert "is damaged: its content is not what was saved" in fails("info", tmp_path)


# -- what else ends a command ----------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (BertOutOfMemoryError("not one text\nfits"), 2, "error: not one text fits"),
        (MemoryError("no room"), 2, "error: no room"),
    ],
)
def test_an_interrupt_and_no_memory(saved, monkeypatch, capsys, error, status, line):
    """Ctrl-C and a lack of memory have a status and one line."""

    def fail(*args):
        raise error

    monkeypatch.setattr(_info, "read_folder", fail)
    assert main(["info", saved["classifier"]]) == status
    assert capsys.readouterr().err == f"{line}\n"


@pytest.mark.parametrize("error", [RuntimeError("a bug"), AttributeError("a bug")])
def test_a_bug_keeps_its_traceback(saved, monkeypatch, error):
    """What no input explains is not hidden."""

    def fail(*args):
        raise error

    monkeypatch.setattr(_info, "read_folder", fail)
    with pytest.raises(type(error), match="a bug"):
        main(["info", saved["classifier"]])


@pytest.mark.filterwarnings("always")
def test_a_warning_is_one_line(saved, monkeypatch, capsys):
    """A warning is shown without a path and a line of code, and others as before."""
    before = warnings.showwarning
    monkeypatch.setattr(
        _info, "read_folder", lambda path: warnings.warn("odd\nthing", stacklevel=1)
    )
    with pytest.raises(AttributeError, match="content"):
        main(["info", saved["classifier"]])
    assert capsys.readouterr().err == "warning: odd thing\n"
    assert warnings.showwarning is before


def test_version_and_help(capsys):
    """--version is that of the package, and --help of a command has examples."""
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"sklearn-bert {__version__}\n"
    for command in (
        *("fit", "predict", "evaluate", "explain", "report", "embed", "export", "info"),
        "demo",
    ):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        assert f"  sklearn-bert {command} " in capsys.readouterr().out


@pytest.mark.parametrize("share", ["0", "1", "many"])
def test_a_wrong_share_is_told(capsys, share):
    """--test-size lies between 0 and 1."""
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "a.csv", "--text", "a", "--target", "b", "--test-size", share])
    assert "argument --test-size" in capsys.readouterr().err


def test_the_console_script_is_the_main_function():
    """pip installs `sklearn-bert` as a call of `main`."""
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    scripts = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["scripts"]
    assert EntryPoint("", scripts["sklearn-bert"], "").load() is main


# -- as a process of its own -----------------------------------------------------------


def test_info_and_help_need_no_library(saved):
    """--help and info import neither torch nor pandas, to answer at once."""
    code = (
        "import sys; from sklearn_bert.cli._main import main; "
        f"main(['info', {saved['classifier']!r}, '--json']); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert json.loads(done.stdout)["class"] == "BertClassifier"
    assert not {"torch", "pandas", "sklearn", "scipy"} & set(done.stderr.split())


def test_a_closed_pipe_is_no_error(saved):
    """A reader that has seen enough, such as `head`, ends a command quietly."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*PROGRAM, "info", saved["classifier"]],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert done.returncode == 128 + signal.SIGPIPE
    assert done.stderr == ""


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="the system has no /dev/full"
)
def test_a_full_disk_is_told(saved):
    """A result that cannot be written is an error of one line."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PROGRAM, "info", saved["classifier"]],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == "error: [Errno 28] No space left on device\n"


def test_closed_streams_are_told(saved):
    """A table cannot come from a closed stdin; a closed stderr is no error."""
    command = f"{' '.join(PROGRAM)} predict {saved['classifier']} - <&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: stdin cannot be read as CSV: stdin is closed")
    command = f"{' '.join(PROGRAM)} info {saved['classifier']}-no 2>&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")
