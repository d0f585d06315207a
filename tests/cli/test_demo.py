"""`sklearn-bert demo`: what it prints, saves and complains about."""

import functools
import io
import runpy
import sys

import pandas as pd
import pytest

from sklearn_bert import BertClassifier, load
from sklearn_bert.cli._main import main
from sklearn_bert.datasets import load_support_tickets


@pytest.fixture
def tiny(checkpoint, monkeypatch):
    """The demo with a tiny checkpoint; it has no option for that."""
    monkeypatch.setattr(
        "sklearn_bert.cli._demo.BertClassifier",
        functools.partial(
            BertClassifier, checkpoint=checkpoint, device="cpu", precision="float32"
        ),
    )


@pytest.fixture
def untrained(monkeypatch):
    """The demo without a classifier: an attempt to train fails the test."""

    def train(*args, **kwargs):
        pytest.fail("the demo began to train")

    monkeypatch.setattr("sklearn_bert.cli._demo.BertClassifier", train)


@pytest.fixture
def csv(reviews, tmp_path):
    """Forty reviews in a CSV file."""
    path = tmp_path / "reviews.csv"
    pd.DataFrame({"text": reviews[0], "label": reviews[1]}).to_csv(path, index=False)
    return path


@pytest.fixture
def run(tmp_path):
    """Run the demo on a file; its exit status."""

    def run(path, *options, text="text", target="label"):
        arguments = ["demo", "--data", str(path), "--out", str(tmp_path / "model")]
        named = ["--text", text, "--target", target]
        return main([*arguments, *named, *options])

    return run


def predictions_in(printed):
    """The most probable label of each prediction, as printed."""
    lines = [line for line in printed.splitlines() if line.startswith("  -> ")]
    return [line.removeprefix("  -> ").split()[0] for line in lines]


@pytest.mark.usefixtures("tiny")
def test_the_demo_trains_reports_and_saves(csv, run, tmp_path, capsys, checkpoint):
    """A CSV file becomes a report, three predictions and a folder that loads."""
    status = run(csv, "--epochs", "2", "--learning-rate", "5e-3")

    printed, errors = capsys.readouterr()
    assert status == 0
    assert "error" not in errors
    assert f"Fine-tuning {checkpoint} on 32 texts with 2 labels" in printed
    assert "2 epochs in" in printed
    assert f"model saved in {tmp_path / 'model'}" in printed
    assert "replaced" not in printed
    assert printed.index("precision    recall") < printed.index("accuracy")
    assert printed.rstrip().endswith(f"sklearn_bert.load('{tmp_path / 'model'}')")

    clf = load(tmp_path / "model")
    assert clf.get_params()["learning_rate"] == 5e-3
    assert len(clf.history_) == 2
    shown = [line.strip("'") for line in printed.splitlines() if line.startswith("'")]
    assert len(shown) == 3
    assert set(shown) <= set(pd.read_csv(csv)["text"])
    assert predictions_in(printed) == clf.predict(shown).tolist()


@pytest.mark.filterwarnings("ignore::sklearn_bert.TruncationWarning")
@pytest.mark.usefixtures("tiny")
def test_the_demo_takes_the_tickets_by_default(tmp_path, monkeypatch, capsys):
    """Without a file it trains on the bundled tickets, and tests on their test part."""
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--epochs", "1"]) == 0

    printed = capsys.readouterr().out
    tickets = load_support_tickets()
    assert "on 340 texts" in printed
    for category in tickets.target_names:
        assert any(
            line.split()[:1] == [category] and line.split()[-1] == "24"
            for line in printed.splitlines()
        )
    test = tickets.frame.loc[tickets.split == "test", "message"]
    for message in test[:3]:
        assert " ".join(message.split())[:80] in printed
    assert len(predictions_in(printed)) == 3
    clf = load("support-ticket-model")
    assert clf.classes_.tolist() == tickets.target_names
    assert clf.truncation_report_["n_texts"] == 340


@pytest.mark.usefixtures("tiny")
def test_rows_with_gaps_are_left_out(csv, run, capsys):
    """Rows without text or without label are not trained on."""
    with csv.open("a") as file:
        file.write(",pos\n,\nno label,\n")
    assert run(csv, "--epochs", "1") == 0
    assert "on 32 texts" in capsys.readouterr().out


@pytest.mark.usefixtures("tiny")
def test_labels_may_be_numbers_and_rare(csv, run, tmp_path, capsys):
    """Labels may be integers, and a class may have a single row."""
    frame = pd.read_csv(csv)
    frame["label"] = [7, *[1, 2] * 19, 1]
    frame.to_csv(csv, index=False)
    assert run(csv, "--epochs", "1") == 0
    assert set(predictions_in(capsys.readouterr().out)) <= {"1", "2", "7"}
    assert set(load(tmp_path / "model").classes_.tolist()) <= {1, 2, 7}


@pytest.mark.usefixtures("tiny")
def test_the_model_of_the_last_run_is_replaced(csv, run, tmp_path, capsys):
    """A second run puts its model in the place of the first, and says so before."""
    assert run(csv, "--epochs", "1") == 0
    (tmp_path / "model" / "notes.txt").write_text("mine")
    capsys.readouterr()
    assert run(csv, "--epochs", "2") == 0
    printed = capsys.readouterr().out
    said = f"The model in {tmp_path / 'model'} will be replaced; another --out keeps it"
    assert printed.index(said) < printed.index("Fine-tuning")
    assert load(tmp_path / "model").n_iter_ == 2
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("tiny")
def test_a_file_has_a_folder_of_its_own(csv, tmp_path, monkeypatch, capsys):
    """Without --out the folder is named after the file, and not after the tickets."""
    monkeypatch.chdir(tmp_path)
    named = ["--data", "reviews.csv", "--text", "text", "--target", "label"]
    assert main(["demo", *named, "--epochs", "1"]) == 0
    assert "sklearn_bert.load('reviews-model')" in capsys.readouterr().out
    assert load("reviews-model").n_iter_ == 1
    assert not (tmp_path / "support-ticket-model").exists()


class Console(io.TextIOWrapper):
    """A console of an encoding, which remembers what it shows."""

    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding)

    def text(self):
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp932", "utf-8"])
def test_any_console_will_do(csv, run, tmp_path, monkeypatch, encoding):
    """What the console's encoding lacks is shown as codes, and the model is there."""
    frame = pd.read_csv(csv)
    frame["text"] += " 😀 电影 \udc80é".encode("utf-8", "replace").decode()
    frame["label"] += "é"
    frame.to_csv(csv, index=False)
    console = Console(encoding)
    monkeypatch.setattr(sys, "stdout", console)
    assert run(csv, "--epochs", "1") == 0
    monkeypatch.undo()
    shown = console.text()
    for character, code in [("😀", "\\U0001f600"), ("é", "\\xe9"), ("电", "\\u7535")]:
        try:
            character.encode(encoding)
        except UnicodeEncodeError:
            assert code in shown
        else:
            assert character in shown
    assert set(load(tmp_path / "model").classes_) == {"posé", "negé"}
    assert (console.encoding, console.errors) == (encoding, "strict")


@pytest.mark.usefixtures("untrained")
def test_any_console_will_do_for_errors(csv, run, monkeypatch):
    """An error, too, is shown by a console that lacks its letters."""
    console = Console("ascii")
    monkeypatch.setattr(sys, "stderr", console)
    assert run(csv, text="Größe 😀") == 2
    monkeypatch.undo()
    assert "no column 'Gr\\xf6\\xdfe \\U0001f600'; it has" in console.text()


@pytest.mark.usefixtures("tiny")
def test_the_model_is_saved_before_it_is_shown(csv, run, tmp_path, monkeypatch, capsys):
    """Whatever goes wrong with the report, the trained model is there."""

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sklearn_bert.cli._demo.classification_report", fail)
    assert run(csv, "--epochs", "1") == 2
    printed, errors = capsys.readouterr()
    assert f"model saved in {tmp_path / 'model'}" in printed
    assert "No space left on device" in errors
    assert load(tmp_path / "model").n_iter_ == 1


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("values", [range(40), [i // 1.9 for i in range(40)], "ids"])
def test_a_column_of_no_labels_is_refused(csv, run, capsys, values):
    """A target that hardly ever repeats is named, with its counts."""
    frame = pd.read_csv(csv)
    frame["label"] = [f"T-{i}" for i in range(40)] if values == "ids" else values
    frame.to_csv(csv, index=False)
    n_values = frame["label"].nunique()
    message = f"column 'label' of {csv} holds {n_values} different values in 40 rows"
    assert fails_with(message, run(csv), capsys)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("values", "is_said"),
    [
        # Less than three rows for each, and for one of them one.
        ([99, *(i % 14 for i in range(39))], True),
        (["T-99", *(f"T-{i % 14}" for i in range(39))], True),
        ([i % 8 for i in range(40)], False),
    ],
)
def test_many_labels_are_said(csv, run, capsys, values, is_said):
    """Labels of few rows each are learnt, and that is said before."""
    frame = pd.read_csv(csv)
    frame["label"] = values
    frame.to_csv(csv, index=False)
    assert run(csv, "--epochs", "1") == 0
    printed = capsys.readouterr().out
    said = f"Note: column 'label' of {csv} holds 15 different values in 40 rows"
    assert (said in printed) == is_said
    assert f"with {len(set(values))} labels" in printed


@pytest.mark.usefixtures("tiny")
def test_numbers_as_labels_are_said(csv, run, capsys):
    """More than twenty different numbers may be no labels, and that is said."""
    frame = pd.concat([pd.read_csv(csv)] * 3)
    frame["label"] = [*range(24)] * 5
    frame.to_csv(csv, index=False)
    assert run(csv, "--epochs", "1") == 0
    assert "holds 24 different values in 120 rows" in capsys.readouterr().out


@pytest.mark.usefixtures("tiny")
def test_long_texts_are_shortened_in_print(csv, run, capsys):
    """A printed text takes one line of 90 characters at most."""
    frame = pd.read_csv(csv)
    frame["text"] = "good\n" * 30
    frame.to_csv(csv, index=False)
    assert run(csv, "--epochs", "1") == 0
    shown = [s for s in capsys.readouterr().out.splitlines() if s.startswith("'")]
    assert shown == [repr(("good " * 30)[:87] + "...")] * 3


def fails_with(message, status, capsys):
    """Whether the demo ended with one line on stderr that holds the message."""
    printed, errors = capsys.readouterr()
    assert status == 2
    assert message in errors
    assert errors.startswith("error: ")
    assert "Traceback" not in printed + errors
    return True


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": "body"}, "has no column 'body'; it has ['text', 'label']"),
        ({"target": "class"}, "has no column 'class'; it has ['text', 'label']"),
        ({"text": ""}, "--data needs --text COLUMN and --target COLUMN"),
        ({"target": ""}, "--data needs --text COLUMN and --target COLUMN"),
    ],
)
def test_wrong_columns_are_named(csv, run, capsys, columns, message):
    """A column that is not there is named, with those that are."""
    assert fails_with(message, run(csv, **columns), capsys)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("given", [[], ["--text", "text"], ["--target", "label"]])
def test_a_file_needs_column_names(csv, capsys, given):
    """--data without --text or without --target says what is needed."""
    status = main(["demo", "--data", str(csv), *given])
    assert fails_with("--data needs --text COLUMN and --target", status, capsys)


@pytest.mark.usefixtures("untrained")
def test_a_missing_file_is_named(run, tmp_path, capsys):
    """A CSV file that is not there is named."""
    path = tmp_path / "nowhere.csv"
    assert fails_with(str(path), run(path), capsys)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    "content",
    [b"", b'text,label\n"open', b"text,label\nS\xe3o,a\n", b"a,b\n1,2,3,4\n5"],
)
def test_an_unreadable_file_is_named(csv, run, capsys, content):
    """A file that is empty or no CSV in UTF-8 is named."""
    csv.write_bytes(content)
    assert fails_with(f"{csv} cannot be read as CSV", run(csv), capsys)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("n_rows", [0, 1, 4])
def test_too_few_rows_are_counted(csv, run, capsys, n_rows):
    """A file that cannot be split is named, with the number of its rows."""
    lines = csv.read_text().splitlines()[: n_rows + 1]
    csv.write_text("\n".join([*lines, ",pos"]))
    message = f"{csv} has {n_rows} rows with text and label, too few"
    assert fails_with(message, run(csv), capsys)


@pytest.mark.usefixtures("untrained")
def test_an_occupied_folder_is_found_before_training(csv, run, tmp_path, capsys):
    """--out that holds something else is refused at once, and not touched."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    assert fails_with("exists and was not saved by", run(csv), capsys)
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "0"], "The 'max_epochs' parameter of BertClassifier"),
        (["--learning-rate", "-1"], "The 'learning_rate' parameter of BertClassifier"),
    ],
)
def test_wrong_parameters_are_explained(csv, run, tmp_path, capsys, options, message):
    """A number out of range is an error of one line, and nothing is saved."""
    assert fails_with(message, run(csv, *options), capsys)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "the following arguments are required: COMMAND"),
        (["train"], 2, "invalid choice: 'train'"),
        (["demo", "--epochs", "many"], 2, "argument --epochs: invalid int value"),
        (["demo", "--help"], 0, "--learning-rate"),
    ],
)
def test_wrong_usage_is_told(capsys, arguments, status, message):
    """Wrong usage is status 2 and says what is wrong; --help lists the options."""
    with pytest.raises(SystemExit, match=str(status)):
        main(arguments)
    assert message in "".join(capsys.readouterr())


def test_the_package_runs_as_a_program(tmp_path, monkeypatch, capsys):
    """`python -m sklearn_bert` ends with the status of main."""
    path = str(tmp_path / "nowhere.csv")
    options = ["--data", path, "--text", "a", "--target", "b"]
    monkeypatch.setattr(sys, "argv", ["sklearn_bert", "demo", *options])
    monkeypatch.delitem(sys.modules, "sklearn_bert.__main__", raising=False)
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module("sklearn_bert", run_name="__main__")
    assert fails_with(path, 2, capsys)


@pytest.mark.usefixtures("tiny")
def test_numbers_are_read_as_texts(tmp_path, capsys):
    """A column of numbers is read as texts, and that is said."""
    path, out = tmp_path / "numbers.csv", str(tmp_path / "model")
    pd.DataFrame({"body": range(20), "kind": ["a", "b"] * 10}).to_csv(path, index=False)
    named = ["--data", str(path), "--text", "body", "--target", "kind", "--out", out]
    assert main(["demo", *named, "--epochs", "1"]) == 0
    said = f"Note: 20 of 20 values in column 'body' of {path} are numbers"
    assert said in capsys.readouterr().out
