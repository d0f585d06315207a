"""Every command does what its help says, and prints nothing but the result."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sklearn_bert import BertClassifier, BertEmbedder, load, onnx, save
from sklearn_bert.cli import _export, _report
from sklearn_bert.cli._main import main
from sklearn_bert.inspection import explain

FIT = ["--text", "text", "--target", "label"]
FAST = ["--epochs", "3", "--learning-rate", "5e-3"]


@pytest.fixture
def fit(csv, tmp_path, checkpoint, prints):
    """Fit on the reviews, with some options; what is printed."""

    def fit(*options):
        named = ["fit", csv, "--out", tmp_path / "model", "--checkpoint", checkpoint]
        return prints(*named, *FAST, *options)

    return fit


# -- fit -------------------------------------------------------------------------------


def test_fit_saves_a_classifier_that_was_fitted_on_the_file(fit, tmp_path, csv):
    """The model is that of the same call in Python, and knows its column."""
    printed = fit(*FIT, "--random-state", "1")
    assert printed.startswith("2 classes, 40 texts, 3 epochs, ")
    assert printed.endswith(f"\nmodel saved in {tmp_path / 'model'}\n")
    clf = load(tmp_path / "model")
    frame = pd.read_csv(csv)
    own = BertClassifier(**clf.get_params()).fit(frame[["text"]], frame["label"])
    np.testing.assert_array_equal(
        clf.predict_proba(frame[["text"]]), own.predict_proba(frame[["text"]])
    )
    assert clf.feature_names_in_.tolist() == ["text"]
    assert (clf.random_state, clf.max_epochs, clf.learning_rate) == (1, 3, 5e-3)


def test_fit_holds_rows_out_and_scores_the_model_on_them(fit, tmp_path):
    """--test-size holds rows out, by class, and their scores are in the result."""
    result = json.loads(fit(*FIT, "--test-size", "0.25", "--json"))
    assert result["rows"] == 30
    assert result["test"]["rows"] == 10
    assert [row["support"] for row in result["test"]["classes"].values()] == [5, 5]
    assert result["epochs"] == 3
    assert result["model"] == str(tmp_path / "model")
    assert "macro avg" in fit(*FIT, "--test-size", "0.25", "--force")


def test_a_label_of_one_row_may_be_held_out(fit, csv):
    """A label that the model lacks is an error of the model, and has no log loss."""
    frame = pd.read_csv(csv)
    frame.loc[0, "label"] = "rare"
    frame.to_csv(csv, index=False)
    held_out = ["--test-size", "0.9", "--random-state", "1"]
    test = json.loads(fit(*FIT, *held_out, "--json"))["test"]
    assert test["confusion"]["labels"] == ["neg", "pos"]
    assert test["rows"] == 36
    assert test["log_loss"] is None


def test_fit_learns_numbers(fit, tmp_path, csv):
    """--task regress learns a column of numbers."""
    result = json.loads(
        fit("--text", "text", "--target", "stars", "--task", "regress", "--json") + ""
    )
    assert result["class"] == "BertRegressor"
    predicted = load(tmp_path / "model").predict(pd.read_csv(csv)[["text"]])
    assert np.corrcoef(predicted, [5.0, 1.5] * 20)[0, 1] > 0.9


def test_fit_learns_pairs(fit, tmp_path, csv):
    """--text twice makes pairs."""
    frame = pd.read_csv(csv)
    frame.assign(other=frame["text"][::-1].to_numpy()).to_csv(csv, index=False)
    fit(*FIT, "--text", "other", "--max-length", "20")
    clf = load(tmp_path / "model")
    assert clf.feature_names_in_.tolist() == ["text", "other"]
    assert clf.max_length_ == 20


def test_fit_shows_progress_on_stderr_or_none(csv, tmp_path, checkpoint, capsys):
    """Progress and notes are no result, and --quiet leaves progress out."""
    with csv.open("a") as file:
        file.write("no label,,\n")
    named = ["fit", str(csv), *FIT, *FAST, "--checkpoint", checkpoint, "--force"]
    for options, n_lines in [([], 5), (["--quiet"], 1)]:
        assert main([*named, "--out", str(tmp_path / "model"), *options]) == 0
        printed, errors = capsys.readouterr()
        assert len(printed.splitlines()) == 2
        assert len(errors.splitlines()) == n_lines
        assert errors.startswith("Left out: 1 rows without text or label.\n")


def test_fit_replaces_a_model_by_force_alone(fit, csv, tmp_path, fails):
    """A model in --out is replaced only by --force, and other things never."""
    fit(*FIT)
    before = (tmp_path / "model" / "estimator.json").read_bytes()
    message = fails("fit", csv, *FIT, "--out", tmp_path / "model")
    assert "exists; name another folder, or replace a model by --force" in message
    assert (tmp_path / "model" / "estimator.json").read_bytes() == before
    fit(*FIT, "--force", "--random-state", "7")
    assert load(tmp_path / "model").random_state == 7
    message = fails("fit", csv, *FIT, "--out", tmp_path, "--force")
    assert "exists and was not saved by sklearn_bert" in message


# -- predict ---------------------------------------------------------------------------


def test_predict_adds_columns(saved, csv, tmp_path, prints):
    """A prediction, and with --proba probabilities, stand beside the rows as read."""
    frame = pd.read_csv(csv).assign(id=[f"{i:03}" for i in range(40)])
    frame.to_csv(csv, index=False)
    out = tmp_path / "answers.csv"
    assert prints("predict", saved["classifier"], csv, "--proba", "--out", out) == ""
    written = pd.read_csv(out, dtype={"id": str})
    pd.testing.assert_frame_equal(written[list(frame)], frame, check_dtype=False)
    clf = load(saved["classifier"])
    assert written["prediction"].tolist() == clf.predict(frame[["text"]]).tolist()
    np.testing.assert_array_equal(
        written[["proba_neg", "proba_pos"]], clf.predict_proba(frame[["text"]])
    )


def test_predict_reads_stdin_and_writes_stdout(saved, csv, monkeypatch, prints):
    """ "-" is stdin, and stdout has the table alone."""
    data = b"\n".join(csv.read_bytes().splitlines()[:3])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    printed = prints("predict", saved["regressor"], "-")
    frame = pd.read_csv(io.StringIO(printed))
    assert list(frame) == ["text", "label", "stars", "prediction"]
    assert len(frame) == 2


def test_predict_takes_a_column_of_another_name(saved, csv, tmp_path, prints, fails):
    """--text names the columns of the file, where they have other names than in fit."""
    frame = pd.read_csv(csv).rename(columns={"text": "body"})
    frame.to_csv(csv, index=False)
    assert "has no column 'text'; it has" in fails("predict", saved["classifier"], csv)
    named = prints("predict", saved["classifier"], csv, "--text", "body")
    assert named.startswith("body,label,stars,prediction\n")
    two = ["--text", "body", "--text", "label"]
    message = fails("predict", saved["classifier"], csv, *two)
    assert (
        "reads 1 column(s) of texts, but --text names 2: ['body', 'label']" in message
    )


def test_predict_needs_names_for_a_model_without(saved, csv, tmp_path, prints, fails):
    """A model of a list knows no columns; one of several has to be named."""
    save(
        BertClassifier(load(saved["classifier"]).checkpoint, max_epochs=1).fit(
            ["a good film", "a bad film"] * 4, [1, 0] * 4
        ),
        tmp_path / "nameless",
    )
    message = fails("predict", tmp_path / "nameless", csv)
    assert "does not know the names of its columns; name them by --text" in message
    assert prints("predict", tmp_path / "nameless", csv, "--text", "text")
    pd.read_csv(csv)[["text"]].to_csv(csv, index=False)
    assert prints("predict", tmp_path / "nameless", csv)


def test_predict_writes_a_column_for_each_label(saved, csv, tmp_path, prints):
    """Of several labels per text each has its columns."""
    checkpoint = load(saved["classifier"]).checkpoint
    y = np.tile([[1, 0, 1], [0, 1, 1]], (4, 1))
    clf = BertClassifier(checkpoint, max_epochs=1, random_state=0)
    save(clf.fit(["a good film", "a bad film"] * 4, y), tmp_path / "several")
    named = ["--text", "text", "--proba"]
    frame = pd.read_csv(
        io.StringIO(prints("predict", tmp_path / "several", csv, *named))
    )
    names = [f"{what}_{i}" for what in ("prediction", "proba") for i in range(3)]
    assert list(frame)[-6:] == names
    assert ((frame["proba_1"] > 0.5) == frame["prediction_1"]).all()
    assert frame["prediction_2"].eq(1).all()


# -- evaluate --------------------------------------------------------------------------


def test_evaluate_scores_a_classifier(saved, csv, prints, answers):
    """The scores are scikit-learn's."""
    frame = pd.read_csv(csv)
    frame.loc[:9, "label"] = "pos"
    frame.to_csv(csv, index=False)
    clf = load(saved["classifier"])
    scores = answers("evaluate", saved["classifier"], csv, "--target", "label")
    assert scores["accuracy"] == clf.score(frame[["text"]], frame["label"])
    assert scores["rows"] == 40
    assert scores["confusion"]["labels"] == ["neg", "pos"]
    assert np.sum(scores["confusion"]["counts"], axis=1).tolist() == [15, 25]
    printed = prints("evaluate", saved["classifier"], csv, "--target", "label")
    assert "macro avg" in printed
    assert printed.splitlines()[-1] == f"log loss {scores['log_loss']:.4f}"


def test_evaluate_scores_a_regressor(saved, csv, prints, answers):
    """A regressor has R2 and errors in the units of the target."""
    frame = pd.read_csv(csv)
    scores = answers("evaluate", saved["regressor"], csv, "--target", "stars")
    expected = load(saved["regressor"]).score(frame[["text"]], frame["stars"])
    assert scores["r2"] == pytest.approx(expected, abs=1e-6)
    printed = prints("evaluate", saved["regressor"], csv, "--target", "stars")
    assert printed.startswith("rows                    40\nr2 ")


# -- explain ---------------------------------------------------------------------------


def test_explain_prints_words_with_scores(saved, prints, answers):
    """The words come in order, each with the score that `explain` gives."""
    text = "the film was very good"
    found = explain(load(saved["classifier"]), [text], method="gradient")
    printed = prints("explain", saved["classifier"], text, "--method", "gradient")
    heading, *lines = printed.splitlines()
    assert heading == f"for {found['target'][0]}:"
    assert [line.split()[-1] for line in lines] == text.split()
    assert [line.split()[0] for line in lines] == [f"{s:+.3f}" for s in found["score"]]
    result = answers("explain", saved["classifier"], text, "--method", "gradient")
    words = result["targets"][0]["words"]
    assert [word["score"] for word in words] == found["score"].tolist()
    assert [text[word["start"] : word["end"]] for word in words] == text.split()


def test_explain_writes_a_page(saved, tmp_path, prints, fails):
    """--html writes a page of its own, where a text stays a text."""
    text, out = "<script>alert(1)</script> good", tmp_path / "why.html"
    prints("explain", saved["classifier"], text, "--html", out)
    page = out.read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert "alert" in page
    message = fails("explain", saved["classifier"], text, "--html", out)
    assert "why.html exists" in message


def test_explain_reads_stdin_and_pairs(saved, monkeypatch, prints, fails):
    """ "-" is the text of stdin; an embedder compares two texts."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("a bad film\n"))
    printed = prints("explain", saved["embedder"], "a good film", "-")
    words = [line.split()[-1] for line in printed.splitlines()[1:]]
    assert words == ["a", "good", "film", "a", "bad", "film"]
    assert "got 1 text(s); the BertEmbedder is explained on 2" in fails(
        "explain", saved["embedder"], "a good film"
    )
    assert "the text has no word" in fails("explain", saved["classifier"], " ")


# -- report ----------------------------------------------------------------------------


def test_report_hands_texts_and_targets_on(saved, csv, tmp_path, monkeypatch, prints):
    """The page is written by `error_report`, of the model and the rows of the file."""
    handed = []

    def error_report(estimator, X, y, path, **train):
        handed.append((type(estimator).__name__, X["text"].tolist(), y.tolist()))
        assert not train or train["X_train"].equals(X)
        assert not train or train["y_train"].tolist() == y.tolist()
        Path(path).write_text("<!doctype html>")

    monkeypatch.setattr(_report, "error_report", error_report)
    out, frame = tmp_path / "report.html", pd.read_csv(csv)
    named = ["--target", "label", "--out", out]
    printed = prints("report", saved["classifier"], csv, *named)
    assert printed == f"report on 40 texts written to {out}\n"
    texts, labels = frame["text"].tolist(), frame["label"].tolist()
    assert handed == [("BertClassifier", texts, labels)]
    assert out.read_text() == "<!doctype html>"
    prints("report", saved["classifier"], csv, *named, "--train", csv, "--force")
    assert len(handed) == 2


def test_report_is_one_page(saved, csv, tmp_path, prints):
    """The page has the texts of the file."""
    out = tmp_path / "report.html"
    prints("report", saved["classifier"], csv, "--target", "label", "--out", out)
    assert "the film was very good" in out.read_text("utf-8")


# -- embed -----------------------------------------------------------------------------


def test_embed_writes_vectors_of_a_model(saved, csv, tmp_path, prints):
    """The vectors are those of `transform`, as an array or a table."""
    vectors = load(saved["embedder"]).transform(pd.read_csv(csv)[["text"]])
    prints("embed", saved["embedder"], csv, "--out", tmp_path / "v.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), vectors)
    prints("embed", saved["embedder"], csv, "--out", tmp_path / "v.parquet")
    frame = pd.read_parquet(tmp_path / "v.parquet")
    np.testing.assert_array_equal(frame.to_numpy(), vectors)
    assert list(frame)[:2] == ["vector_0", "vector_1"]
    assert prints("embed", saved["classifier"], csv).startswith("vector_0,vector_1,")


def test_embed_takes_a_checkpoint(csv, checkpoint, tmp_path, prints, fails):
    """A checkpoint embeds a column, which has to be named among several."""
    texts = pd.read_csv(csv)["text"]
    named = ["--text", "text", "--out", tmp_path / "v.npy"]
    prints("embed", checkpoint, csv, *named)
    vectors = BertEmbedder(checkpoint).fit_transform(texts)
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), vectors, atol=1e-6)
    assert "expected one column of texts, named by --text" in fails(
        "embed", checkpoint, csv
    )


# -- export and info -------------------------------------------------------------------


@pytest.mark.slow  # the export alone takes some 10 seconds
def test_export_writes_what_onnx_loads(saved, csv, tmp_path, prints, answers):
    """An exported model answers as the saved one, in every command that answers."""
    out, frame = tmp_path / "onnx", pd.read_csv(csv)
    printed = prints("export", saved["classifier"], out, "--data", csv)
    assert "labels that differ: 0 of 40" in printed
    target = ["--target", "label"]
    ours = answers("evaluate", saved["classifier"], csv, *target)
    served = answers("evaluate", out, csv, *target)
    assert served["confusion"] == ours["confusion"]
    answered = pd.read_csv(io.StringIO(prints("predict", out, csv)))
    expected = onnx.load(out).predict(frame["text"])
    assert answered["prediction"].tolist() == expected.tolist()
    info = answers("info", out)
    assert (info["layout"], info["classes"]) == ("onnx", ["neg", "pos"])
    assert (info["export_texts"], info["export_labels_changed"]) == ("given", 0)
    assert info["columns"] == ["text"]


def test_export_hands_its_options_on(saved, csv, tmp_path, monkeypatch, answers):
    """--quantize and --data are those of `onnx.export`, and its report the result."""
    handed, report = [], {"bytes": 7, "texts": "given", "n_texts": 1}
    report |= {"max_difference": 0.0, "milliseconds_per_text": 0.5}
    report["milliseconds_per_text_of_the_estimator"] = 1.0

    def export(estimator, folder, *, quantize, texts):
        handed.append((type(estimator).__name__, folder, quantize, list(texts)))
        return report

    monkeypatch.setattr(_export.onnx, "export", export)
    named = ["--quantize", "int8", "--data", csv]
    result = answers("export", saved["regressor"], tmp_path / "int8", *named)
    assert handed == [("BertRegressor", tmp_path / "int8", "int8", ["text"])]
    assert result == {"model": str(tmp_path / "int8"), "layout": "onnx", **report}


def test_export_for_transformers(saved, csv, tmp_path, prints, answers, fails):
    """The layout of transformers is a checkpoint, and not one that is loaded."""
    out = tmp_path / "hub"
    prints("export", saved["classifier"], out, "--layout", "transformers")
    assert answers("info", out)["layout"] == "transformers"
    message = fails("predict", out, csv)
    assert "is of the layout transformers; expected sklearn_bert or onnx" in message
    both = ["--layout", "transformers", "--quantize", "int8"]
    message = fails("export", saved["classifier"], tmp_path / "x", *both)
    assert "--quantize and --data are for --layout onnx alone" in message


def test_info_says_what_the_manifest_says(saved, prints, answers):
    """Class, classes, texts, epochs and checkpoint are in the lines and in JSON."""
    info = answers("info", saved["classifier"])
    clf = load(saved["classifier"])
    assert info["class"] == "BertClassifier"
    assert info["checkpoint"] == clf.checkpoint
    assert (info["classes"], info["columns"]) == (["neg", "pos"], ["text"])
    assert (info["texts"], info["epochs"], info["learning_rate"]) == (40, 3, 5e-3)
    lines = prints("info", saved["classifier"]).splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines if "classes" in line] == [
        "neg, pos"
    ]
    assert answers("info", saved["embedder"]).keys() & {"classes", "best"} == set()


def test_status_of_a_command_is_returned(saved):
    """A command that succeeds has the status 0."""
    assert main(["info", saved["regressor"]]) == 0
