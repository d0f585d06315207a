"""`error_report`: what its page holds, and what is found."""

import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, precision_recall_fscore_support
from sklearn.pipeline import make_pipeline

from sklearn_bert import BertClassifier, BertRegressor, BertTokenClassifier, onnx
from sklearn_bert._process import _atomic_file
from sklearn_bert.inspection import _likeness, error_report
from sklearn_bert.inspection._mistakes import Mistakes, wilson

EVIL = "</script><script>alert(1)</script><img src=x> & \u2028 '\""


class Reader(HTMLParser):
    """Collects the elements of a page, their attributes, and what scripts hold."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.scripts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "script":
            self.scripts.append(data)

    @property
    def data(self):
        return json.loads(self.scripts[0])


def read(report):
    return Reader(report.path.read_text("utf-8"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.html"


@pytest.fixture(scope="module")
def swapped(decided):
    """Labels of which six are wrong, and their rows."""
    rows = [3, 20, 41, 64, 77, 110]
    labels = [*decided[1]]
    for row in rows:
        labels[row] = "neg" if labels[row] == "pos" else "pos"
    return labels, rows


@pytest.fixture(scope="module")
def report(clf, decided, swapped, tmp_path_factory):
    """Of texts with six wrong labels, beside the texts that were learnt."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    texts, labels, _ = decided
    with pytest.warns(UserWarning, match="120 of 120 texts in X are among X_train"):
        return error_report(clf, texts, swapped[0], path, X_train=texts, y_train=labels)


def test_wrong_labels_are_the_suspects(report, clf, decided, swapped):
    """Only labels that were swapped are doubted, and most of these."""
    found = report.suspects
    assert {*found["row"]} <= {*swapped[1]}
    assert len(found) >= 4
    assert found["label"].tolist() == [swapped[0][row] for row in found["row"]]
    assert found["predicted"].tolist() == [decided[1][row] for row in found["row"]]
    assert found["label_proba"].is_monotonic_increasing
    proba = clf.predict_proba([decided[0][row] for row in found["row"]])
    np.testing.assert_allclose(found["predicted_proba"], proba.max(axis=1), atol=1e-5)


def test_scores_are_those_of_scikit_learn(report, clf, decided, swapped):
    """Precision, recall, F1 and support are scikit-learn's, within their intervals."""
    predicted = clf.predict(decided[0])
    expected = precision_recall_fscore_support(swapped[0], predicted)
    scores = report.scores
    for name, values in zip(["precision", "recall", "f1"], expected[:3], strict=True):
        np.testing.assert_allclose(scores[name], values)
        assert (scores[f"{name}_low"] < values).all()
        assert (scores[f"{name}_high"] > values).all()
    assert scores["support"].tolist() == expected[3].tolist()
    assert scores.index.tolist() == clf.classes_.tolist()


def test_confusion_counts_labels_by_predictions(report, decided, swapped):
    """The confusion matrix has labels as rows and predictions as columns."""
    expected = pd.crosstab(np.array(swapped[0]), np.array(decided[1]))
    np.testing.assert_array_equal(report.confusion, expected)
    assert report.confusion.index.name == "label"
    assert report.confusion.columns.name == "predicted"


def test_page_holds_the_texts(report, clf, decided, swapped):
    """Each text is in the page once, with its label, probabilities, loss and margin."""
    data = read(report).data
    rows = {entry["row"]: entry for entry in data["rows"]}
    assert len(data["rows"]) == len(rows) == 120
    proba = clf.predict_proba(decided[0])
    for row, entry in rows.items():
        assert "".join(entry["text"][::2]) == decided[0][row]
        assert data["classes"][entry["label"]] == swapped[0][row]
        own = proba[row, entry["label"]]
        assert entry["p_label"] == pytest.approx(own, abs=1e-3)
        assert entry["loss"] == pytest.approx(-np.log(own), abs=0.02)
        assert entry["margin"] == pytest.approx(2 * own - 1, abs=2e-3)
    ranks = [rows[row].get("rank") for row in report.suspects["row"]]
    assert ranks == [*range(1, len(ranks) + 1)]
    losses = [entry["loss"] for entry in data["rows"]]
    assert losses == sorted(losses, reverse=True)


def test_wrong_texts_are_explained(report, decided, swapped):
    """In texts that are predicted wrong the deciding word has the strongest colour."""
    n_explained = 0
    for entry in read(report).data["rows"]:
        pieces, colors = entry["text"][::2], entry["text"][1::2]
        if any(colors):
            n_explained += 1
            assert pieces[int(np.argmax(colors))] == decided[2][entry["row"]]
    assert n_explained == len(swapped[1])


def test_nearest_training_text_is_the_text_itself(report, decided):
    """A text that was learnt is nearest to itself, and its label stands beside it."""
    data = read(report).data
    for entry in data["rows"]:
        if "near" in entry:
            near = [data["train"][place] for place, _ in entry["near"]]
            text = decided[0][entry["row"]]
            assert [text, decided[1][entry["row"]]] in near
            assert entry["near"][0][1] == pytest.approx(1, abs=1e-3)


def test_page_asks_for_nothing(report):
    """The page names no address, and its policy lets a browser load nothing."""
    page = read(report)
    assert not re.search("https?:", report.path.read_text("utf-8"))
    assert not any(
        {"src", "href"} & attributes.keys()
        for tag, attributes in page.elements
        if tag != "a"
    )
    policy = next(
        attributes["content"]
        for tag, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


def test_texts_and_labels_are_escaped(path):
    """Neither a text, nor a label or the title, becomes an element of the page."""

    def tags(evil):
        texts, labels = ["a good film", evil, "bad"], ["other", evil, evil]
        model = make_pipeline(TfidfVectorizer(), LogisticRegression())
        model.fit(["a good film", "bad", "film"], ["pos", evil, "other"])
        options = {"X_train": [evil], "y_train": [evil], "title": evil}
        options["proba"] = [[0.1, 0.2, 0.7], [0.6, 0.2, 0.2], [0.3, 0.4, 0.3]]
        page = read(error_report(model, texts, labels, path, **options))
        assert {"".join(entry["text"]) for entry in page.data["rows"]} == {*texts}
        assert page.data["classes"][0] == evil
        return [tag for tag, _ in page.elements]

    assert tags(EVIL) == tags("</b>" * 20)
    assert not {"img", "b"} & {*tags(EVIL)}
    assert tags(EVIL).count("script") == 2


def test_any_classifier_of_texts(decided, path):
    """A scikit-learn classifier has a report, without words and nearest texts."""
    texts, labels, _ = decided
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, labels)
    report = error_report(model, texts[:40], labels[:40], path, X_train=texts[40:])
    data = read(report).data
    assert len(data["rows"]) == 40
    assert all(len(entry["text"]) == 1 for entry in data["rows"])
    assert 'id="lengths"' not in path.read_text("utf-8")


@pytest.mark.slow
def test_exported_model(clf, decided, path, tmp_path):
    """A model in ONNX Runtime has the report of the estimator, without the words."""
    onnx.export(clf, tmp_path / "model")
    texts, labels = decided[0][:20], decided[1][:20]
    model = onnx.load(tmp_path / "model")
    report = error_report(model, texts, labels, path, X_train=decided[0][20:])
    assert 'id="lengths"' in path.read_text("utf-8")
    expected = error_report(clf, texts, labels, path)
    pd.testing.assert_frame_equal(report.scores, expected.scores)


def test_pairs(checkpoint, path):
    """The halves of a pair are shown apart, and words of both are coloured."""
    X = pd.DataFrame({"one": ["a film", "we hate it"] * 4, "two": ["good", "bad"] * 4})
    clf = BertClassifier(checkpoint, max_epochs=1, device="cpu", random_state=0)
    clf.fit(X, ["pos", "neg"] * 4)
    y = np.where(clf.predict(X) == "pos", "neg", "pos")  # all are wrong
    data = read(error_report(clf, X, y, path, X_train=X.assign(one="plot"))).data
    texts = ["".join(entry["text"][::2]) for entry in data["rows"]]
    assert {*texts} == {"a film\n\ngood", "we hate it\n\nbad"}
    colored = {
        word
        for entry in data["rows"]
        for word, color in zip(entry["text"][::2], entry["text"][1::2], strict=False)
        if color
    }
    assert colored & {"good", "bad"}
    assert colored <= {"a", "film", "good", "we", "hate", "it", "bad"}


@pytest.mark.parametrize("container", [np.array, pd.Series, pa.array, pl.Series])
def test_any_container(clf, decided, path, container):
    """Texts come in the containers that `predict` takes."""
    texts, labels = decided[0][:8], [*decided[1][1:8], "pos"]
    expected = error_report(clf, texts, labels, path, X_train=decided[0][8:])
    page = path.read_text("utf-8")
    X, X_train = container(texts), container(decided[0][8:])
    found = error_report(clf, X, labels, path, X_train=X_train)
    pd.testing.assert_frame_equal(found.suspects, expected.suspects)
    assert path.read_text("utf-8") == page


def test_given_probabilities_are_used(clf, decided, path):
    """`proba` takes the place of what the estimator predicts."""
    texts, labels = decided[0][:4], ["pos", "neg", "pos", "neg"]
    proba = [[0.7, 0.3], [0.6, 0.4], [0.2, 0.8], [0.9, 0.1]]
    report = error_report(clf, texts, labels, path, proba=proba)
    assert report.confusion.to_numpy().tolist() == [[2, 0], [1, 1]]
    entry = next(e for e in read(report).data["rows"] if e["row"] == 0)
    assert entry["loss"] == pytest.approx(-np.log(0.3), abs=1e-3)
    # Its words are those of the class that the estimator predicts.
    assert read(report).data["classes"][entry["target"]] == decided[1][0]


def test_numbers_of_texts_are_bounded(clf, decided, swapped, path):
    """`n_texts` are in the page, doubtful ones first, `n_explained` with colours."""
    report = error_report(clf, decided[0], swapped[0], path, n_texts=8, n_explained=2)
    rows = read(report).data["rows"]
    assert {*swapped[1]} <= {entry["row"] for entry in rows}
    assert len(rows) == 8
    assert sum(len(entry["text"]) > 1 for entry in rows) == 2
    assert "8 of 120 texts are in this file" in path.read_text("utf-8")


def test_long_texts_are_cut_and_the_file_stays_small(clf, path):
    """Texts of ten thousand letters make a file that is not much over their share."""
    texts = ["a good film " * 900 + str(i) for i in range(100)]
    with pytest.warns(UserWarning, match="were cut"):
        report = error_report(clf, texts, ["pos", "neg"] * 50, path, n_explained=0)
    assert report.path.stat().st_size < 300_000
    assert "Of a text the first 1,000 characters are shown" in path.read_text("utf-8")
    assert "100 texts are longer, and cut" in path.read_text("utf-8")


def test_one_warning_of_texts_that_are_cut(clf, path, recwarn):
    """What is computed for the page alone warns of nothing a second time."""
    texts = ["a good film " * 60, "a bad film"]
    error_report(clf, texts, ["neg", "pos"], path)
    assert [str(w.message)[:6] for w in recwarn] == ["1 of 2"]


def test_labels_of_one_class(clf, path):
    """Where all labels are one class, no label is doubted."""
    report = error_report(clf, ["a good film", "a bad film"], ["pos", "pos"], path)
    assert len(report.suspects) == 0
    assert report.scores["support"].tolist() == [0, 2]
    assert np.isnan(report.scores.loc["neg", "recall"])


# -- near-duplicates ---------------------------------------------------------------


def test_near_duplicates_are_found(clf, path):
    """Texts that differ in case, punctuation, or in little, are those of training."""
    train = [
        "Where is the card that you have sent to me last week?",
        "a film",
        "How can I change the address of my account?",
    ]
    texts = [
        "how can i change the ADDRESS of my account",
        "a plot",
        "???",
        train[0][:-6],
    ]
    report = error_report(clf, texts, ["pos", "neg"] * 2, path, X_train=train)
    found = report.duplicates
    assert found[["row", "train_row"]].to_numpy().tolist() == [[0, 2], [3, 0]]
    assert found["similarity"][0] == 1
    assert 0.9 <= found["similarity"][1] < 1


def test_equal_texts_are_found_among_any_number(monkeypatch):
    """Only texts that are not equal are compared with some of the others alone."""
    monkeypatch.setattr(_likeness, "N_COMPARED", 2)
    train = ["the first of the texts", "the second of the texts", "Equal.", "the last"]
    texts = ["something else", "EQUAL", "the second of the text", "unlike the others"]
    found = _likeness.near_duplicates(texts, train)
    assert found["row"].tolist() == [1]


def test_texts_without_letters_are_no_duplicates_of_each_other():
    """Empty texts are like none; symbols are like the same symbols."""
    found = _likeness.near_duplicates(["", "?!", " "], ["", "?!", "a"])
    assert found[["row", "train_row"]].to_numpy().tolist() == [[1, 1]]


# -- numbers -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def mistakes():
    """Labels of 400 texts drawn by their probabilities."""
    generator = np.random.default_rng(0)
    proba = generator.dirichlet([1, 1, 1], size=400)
    labels = np.array([generator.choice(3, p=p) for p in proba])
    return Mistakes(np.array(["a", "b", "c"]), labels, proba)


def test_losses(mistakes):
    """Their mean is scikit-learn's log loss."""
    labels = mistakes.classes[mistakes.labels]
    assert mistakes.losses.mean() == pytest.approx(log_loss(labels, mistakes.proba))


def test_calibration_of_true_probabilities(mistakes):
    """Where labels follow the probabilities, accuracy is near confidence."""
    found = mistakes.calibration()
    assert found["n"].sum() == 400
    inside = found["confidence"].between(found["low"], found["high"])
    assert inside.mean() >= 0.8
    assert mistakes.calibration_error() < 0.08
    too_sure = np.eye(3)[mistakes.predicted]
    sure = Mistakes(mistakes.classes, mistakes.labels, too_sure)
    expected = mistakes.is_wrong.mean()
    assert sure.calibration_error() == pytest.approx(expected)


def test_accuracy_by_length(mistakes):
    """Groups of length hold all texts, in order, whatever lengths are equal."""
    for lengths in [np.arange(400), np.full(400, 7), np.repeat([3, 50], 200)]:
        found = mistakes.by_length(lengths, lengths > 100)
        assert found["n"].sum() == 400
        assert found["n_cut"].sum() == (lengths > 100).sum()
        assert (found["longest"][:-1].to_numpy() < found["shortest"][1:]).all()
        right = (found["accuracy"] * found["n"]).sum()
        assert right == pytest.approx((~mistakes.is_wrong).sum())


def test_interval_of_wilson():
    """It is that of a table; of no text there is none."""
    low, high = wilson(np.array([0, 5, 10, 0]), np.array([10, 10, 10, 0]))
    np.testing.assert_allclose(low[:3], [0, 0.2366, 0.7225], atol=1e-4)
    np.testing.assert_allclose(high[:3], [0.2775, 0.7634, 1], atol=1e-4)
    assert np.isnan([low[3], high[3]]).all()


# -- the file ----------------------------------------------------------------------


def test_failed_write_leaves_the_old_file(clf, path, monkeypatch):
    """A report that cannot be written leaves what was there, and nothing else."""
    path.write_text("old")

    def fail(place):
        raise OSError("the disk is full")

    monkeypatch.setattr(_atomic_file, "sync", fail)
    with pytest.raises(OSError, match="the disk is full"):
        error_report(clf, ["a good film", "bad"], ["pos", "neg"], path)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_same_report_twice(clf, decided, path):
    """The same call writes the same bytes, over the old file."""
    call = (clf, decided[0][:10], decided[1][:10], path)
    first = error_report(*call).path.read_bytes()
    assert error_report(*call).path.read_bytes() == first
    assert list(path.parent.iterdir()) == [path]


# -- what is refused ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"y": ["pos"]}, ValueError, "X has 2 texts and y has 1 labels"),
        (
            {"y": ["pos", "odd"]},
            ValueError,
            r"y\[1\] is 'odd', which is not among the 2",
        ),
        ({"y": ["pos", None]}, ValueError, r"y\[1\] is None"),
        ({"y": [[1, 0], [0, 1]]}, ValueError, "y has several columns"),
        ({"X": ["a", 3]}, TypeError, r"X\[1\]"),
        ({"X_train": [3]}, TypeError, r"in X_train: X\[0\]"),
        ({"X_train": ["a"], "y_train": ["a", "b"]}, ValueError, "y_train has 2 labels"),
        ({"y_train": ["a"]}, ValueError, "y_train is given without X_train"),
        (
            {"proba": [[0.5, 0.5]]},
            ValueError,
            r"shape \(1, 2\); expected shape \(2, 2\)",
        ),
        ({"proba": [[1, 1], [0, 1]]}, ValueError, r"of X\[0\] have the sum 2"),
        ({"proba": [[1], [0, 1]]}, ValueError, "the probabilities are no array"),
        ({"path": 3}, TypeError, "path is 3 of type int"),
        ({"path": "."}, ValueError, "path is '.', which is a folder"),
        ({"path": "no/where.html"}, FileNotFoundError, r"no folder .*no"),
        ({"title": 3}, TypeError, "title is 3"),
        ({"n_texts": 0}, ValueError, "n_texts is 0; expected an integer from 1"),
        ({"n_explained": -1}, ValueError, "n_explained is -1"),
    ],
)
def test_wrong_input_is_refused(clf, tmp_path, monkeypatch, options, error, match):
    """Before anything is computed, an error names what is wrong; no file is written."""
    monkeypatch.chdir(tmp_path)
    if "proba" not in options:
        monkeypatch.setattr(type(clf), "predict_proba", None)
    call = {"X": ["a good film", "a bad film"], "y": ["pos", "neg"], "path": "x.html"}
    call |= options
    with pytest.raises(error, match=match):
        error_report(clf, call.pop("X"), call.pop("y"), call.pop("path"), **call)
    assert not any(tmp_path.iterdir())


def test_other_estimators_are_refused(checkpoint, path):
    """Estimators of numbers, tags or several labels, or unfitted ones, are refused."""
    X, y = ["a good film", "a bad film"], ["pos", "neg"]
    with pytest.raises(TypeError, match="BertRegressor; expected a fitted classifier"):
        error_report(BertRegressor(checkpoint), X, y, path)
    with pytest.raises(TypeError, match="BertTokenClassifier; expected a fitted class"):
        error_report(BertTokenClassifier(checkpoint), X, y, path)
    with pytest.raises(NotFittedError, match="not fitted"):
        error_report(BertClassifier(checkpoint), X, y, path)
    several = BertClassifier(checkpoint, trainable="head", max_epochs=1)
    several.fit(X, [[1, 0], [0, 1]])
    with pytest.raises(ValueError, match="a text several labels"):
        error_report(several, X, y, path)


def test_missing_cleanlab(clf, path, monkeypatch):
    """Without cleanlab the error names the extra, before anything is computed."""
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    with pytest.raises(ModuleNotFoundError, match=r"sklearn-bert\[report\]"):
        error_report(clf, ["a", "b"], ["pos", "neg"], path)
