"""Many rows, batch by batch: in order, in one file, and on from where it stopped."""

import gzip
import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pyarrow import parquet
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertTokenClassifier,
    cache_info,
    stream,
)
from sklearn_bert._process._techniques import without


@pytest.fixture(scope="module")
def classifier(quick, reviews):
    return BertClassifier(**quick).fit(*reviews)


@pytest.fixture(scope="module")
def embedder(embedder_settings, reviews):
    return BertEmbedder(**embedder_settings).fit(reviews[0])


@pytest.fixture(scope="module")
def texts(reviews):
    return [f"{text} {i}" for i, text in enumerate(reviews[0])]


def in_batches(rows, size):
    return (rows[i : i + size] for i in range(0, len(rows), size))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "transform"])
def test_stream_is_the_method_of_each_batch(classifier, texts, method):
    """Each batch has the answers of one call, in order; the last may be shorter."""
    found = list(stream(classifier, in_batches(texts, 7), method))
    compute = getattr(classifier, method)
    for answers, batch in zip(found, in_batches(texts, 7), strict=True):
        assert_array_equal(answers, compute(batch))


def test_no_batch_is_read_before_it_is_needed(classifier, texts):
    """Beside the batch that is computed one is read ahead, and no more."""
    drawn = []

    def batches():
        for batch in in_batches(texts, 5):
            drawn.append(len(drawn))
            yield batch

    answers = stream(classifier, batches())
    assert not drawn
    for i, _ in enumerate(itertools.islice(answers, 3)):
        assert len(drawn) <= i + 2
    answers.close()


def test_tokens_are_there_when_a_batch_is_computed(embedder, texts):
    """The thread that reads ahead tokenises; the method finds each text's tokens."""
    cache_info(clear=True)
    list(stream(embedder, in_batches(texts, 8), "transform"))
    tokens = cache_info()["tokens"]
    assert tokens["misses"] == len(texts)
    assert tokens["hits"] == len(texts)


def test_without_the_cache_texts_are_not_tokenised_twice(embedder, texts, monkeypatch):
    """What the cache would not keep is left to the method."""
    read = []
    call = type(embedder.tokenizer_).__call__
    monkeypatch.setattr(
        type(embedder.tokenizer_),
        "__call__",
        lambda self, texts, **kwargs: read.append(len(texts)) or call(self, texts),
    )
    with without("token_cache"):
        list(stream(embedder, in_batches(texts, 8), "transform"))
    assert sum(read) == len(texts)


FILES = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    ".jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    ".csv.gz": lambda frame, path: frame.to_csv(path, index=False),
    ".parquet": lambda frame, path: frame.to_parquet(path),
}


@pytest.mark.parametrize("suffix", FILES)
def test_files_are_read_in_batches(classifier, texts, tmp_path, suffix):
    """A column of a file of any kind gives the answers of its texts."""
    frame = pd.DataFrame({"id": range(len(texts)), "text": texts})
    frame.loc[0, "text"] = "NA"  # which is a text, not a missing one
    path = tmp_path / f"rows{suffix}"
    FILES[suffix](frame, path)
    batches = list(stream(classifier, path, columns="text", batch_rows=16))
    assert [len(batch) for batch in batches] == [16, 16, 8]
    found = np.concatenate(batches)
    assert_allclose(found, classifier.predict_proba(frame["text"]), atol=1e-6)


def test_columns_of_pairs_are_those_of_the_fit(quick, texts, reviews, tmp_path):
    """An estimator of two columns finds them in a file by their names."""
    frame = pd.DataFrame({"a": texts, "b": texts[::-1]})
    clf = BertClassifier(**quick).fit(frame, reviews[1])
    frame[["b", "a"]].to_parquet(tmp_path / "pairs.parquet")
    (found,) = stream(clf, tmp_path / "pairs.parquet")
    assert_allclose(found, clf.predict_proba(frame), atol=1e-6)


def test_the_only_column_is_read(embedder, texts, tmp_path):
    """A file of one column needs no columns=."""
    pd.DataFrame({"whatever": texts}).to_csv(tmp_path / "a.csv", index=False)
    (found,) = stream(embedder, tmp_path / "a.csv", "transform")
    assert_allclose(found, embedder.transform(texts), atol=1e-6)


@pytest.mark.parametrize(
    ("method", "columns"),
    [
        ("predict", ["prediction"]),
        ("predict_proba", ["neg", "pos"]),
        ("transform", ["vector"]),
        ("decision_function", ["prediction"]),
    ],
)
def test_output_is_one_file_in_order(classifier, texts, tmp_path, method, columns):
    """The file has a row for each text, and its parts are gone."""
    output = tmp_path / "answers.parquet"
    assert stream(classifier, in_batches(texts, 9), method, output=output) == output
    table = parquet.read_table(output)
    assert table.column_names == columns
    assert parquet.ParquetFile(output).num_row_groups == 5
    expected = getattr(classifier, method)(texts)
    if method == "predict_proba":
        found = np.stack([table[name].to_numpy() for name in columns], axis=1)
    else:
        found = np.array(table[columns[0]].to_pylist())
    if method == "predict":
        assert_array_equal(found, expected)
    else:
        assert_allclose(found, expected, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["answers.parquet"]


class TwoNumbers:
    """A model of two classes whose vectors have two numbers."""

    classes_ = ("neg", "pos")

    def transform(self, X):
        return np.zeros((len(X), 2))


def test_vectors_as_wide_as_there_are_classes_are_vectors(tmp_path):
    """They are no probabilities of these classes."""
    output = tmp_path / "a.parquet"
    stream(TwoNumbers(), [["a"]], "transform", output=output)
    assert parquet.read_table(output)["vector"].to_pylist() == [[0, 0]]


def test_output_of_tags_is_lists(settings, texts, tmp_path):
    """Rows of other lengths are lists."""
    words = [text.split() for text in texts]
    tags = [["x", *["y"] * (len(one) - 1)] for one in words]
    tagger = BertTokenClassifier(**(settings | {"max_epochs": 1})).fit(words, tags)
    output = tmp_path / "tags.parquet"
    stream(tagger, in_batches(words, 16), "predict", output=output)
    found = parquet.read_table(output)["prediction"].to_pylist()
    assert found == [list(row) for row in tagger.predict(words)]


class Killed(BaseException):
    """As if the process ended."""


def dying(batches, after):
    for place, batch in enumerate(batches):
        if place == after:
            raise Killed
        yield batch


@pytest.mark.parametrize("after", [1, 3, 4])
def test_a_run_that_was_killed_goes_on(classifier, texts, tmp_path, monkeypatch, after):
    """What was computed is not computed again; no row is lost, none is there twice."""
    output = tmp_path / "answers.parquet"
    with pytest.raises(Killed):
        stream(classifier, dying(in_batches(texts, 9), after), output=output)
    parts = tmp_path / "answers.parquet.parts"
    n_done = len(list(parts.iterdir()))
    assert after - 1 <= n_done <= after
    (parts / "00000004.writing").write_bytes(b"half")
    computed = []
    compute = BertClassifier.predict_proba
    monkeypatch.setattr(
        BertClassifier,
        "predict_proba",
        lambda self, X: computed.append(len(X)) or compute(self, X),
    )
    stream(classifier, in_batches(texts, 9), output=output)
    # The first part, if there is one, is computed again, to compare.
    assert len(computed) == 5 - n_done + bool(n_done)
    table = parquet.read_table(output)
    found = np.stack([table[name].to_numpy() for name in ("neg", "pos")], axis=1)
    assert_allclose(found, compute(classifier, texts), atol=1e-6)
    assert not parts.exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("method", "batch 0 has other answers now"),
        ("texts", "batch 0 has other answers now"),
        ("size", "batch 0 has 5 rows, and its part 9"),
        ("short", "source ended after 1 batches"),
    ],
)
def test_parts_of_another_run_are_refused(classifier, texts, tmp_path, change, match):
    """Another method, source or size of batches is named, and nothing is lost."""
    output = tmp_path / "answers.parquet"
    with pytest.raises(Killed):
        stream(classifier, dying(in_batches(texts, 9), 3), output=output)
    parts = tmp_path / "answers.parquet.parts"
    before = {path.name: path.read_bytes() for path in parts.iterdir()}
    batches = {
        "texts": in_batches(["a bad plot"] * len(texts), 9),
        "size": in_batches(texts, 5),
        "short": in_batches(texts[:9], 9),
    }.get(change, in_batches(texts, 9))
    method = "predict" if change == "method" else "predict_proba"
    with pytest.raises(ValueError, match=match):
        stream(classifier, batches, method, output=output)
    assert {path.name: path.read_bytes() for path in parts.iterdir()} == before
    assert not output.exists()


def test_pipelines_stream(embedder, texts, reviews):
    """Any estimator of scikit-learn answers batches, a pipeline too."""
    model = make_pipeline(embedder, LogisticRegression()).fit(texts, reviews[1])
    found = np.concatenate(list(stream(model, in_batches(texts, 11))))
    assert_allclose(found, model.predict_proba(texts), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"source": 3}, TypeError, "source is a int; expected a path, or an iterable"),
        ({"source": pd.DataFrame()}, TypeError, "source is a DataFrame"),
        ({"source": "texts.xls"}, ValueError, "has the suffix '.xls'; expected one of"),
        ({"source": "no.csv"}, FileNotFoundError, "'no.csv' is no file"),
        ({"batch_rows": 0}, ValueError, "batch_rows is 0; expected 1 or more"),
        ({"columns": ["a"]}, ValueError, "source is no file; expected None"),
        ({"method": "predict_log"}, AttributeError, "predict_log"),
        ({"output": "a.csv"}, ValueError, "expected a name in .parquet"),
        ({"output": "no/a.parquet"}, FileNotFoundError, "no"),
    ],
)
def test_wrong_arguments_are_said_at_once(classifier, arguments, error, match):
    """A wrong argument is an error of the call, not of the first batch."""
    with pytest.raises(error, match=match):
        stream(classifier, **({"source": [["a"]]} | arguments))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("a,b\nx,y\n", r"has the columns \['a', 'b'\]; expected columns="),
        ("", "No columns to parse"),
        ('a\n"x\n', "EOF inside string"),
    ],
)
def test_a_broken_file_is_named(classifier, tmp_path, content, match):
    """A file that is no table, or of many columns, is named with what is wrong."""
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"rows.csv.*{match}"):
        stream(classifier, path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_column_that_is_not_there_is_named(classifier, texts, tmp_path, suffix):
    """The columns that there are are listed."""
    path = tmp_path / f"rows{suffix}"
    FILES[suffix](pd.DataFrame({"text": texts, "id": 1}), path)
    match = r"it has no column 'body', but \['text', 'id'\]"
    with pytest.raises(ValueError, match=match):
        stream(classifier, path, columns="body")


@pytest.mark.parametrize(
    ("batch", "error", "match"),
    [
        (["a", 3], TypeError, "in batch 1: "),
        (
            pd.DataFrame({"a": ["x"], "b": ["y"]}),
            ValueError,
            "in batch 1: X has 2",
        ),
        ("a text", TypeError, r"batch 1 is a str; expected a list"),
        (None, TypeError, r"batch 1 is a NoneType; expected a list"),
    ],
)
def test_an_error_names_its_batch(classifier, texts, tmp_path, batch, error, match):
    """A batch that is no X is named; what was computed before it stays."""
    answers = stream(classifier, iter([texts, batch]))
    assert len(next(answers)) == len(texts)
    with pytest.raises(error, match=match):
        next(answers)
    output = tmp_path / "a.parquet"
    with pytest.raises(error, match=match):
        stream(classifier, iter([texts, batch]), output=output)
    parts = list((tmp_path / "a.parquet.parts").iterdir())
    assert [path.name for path in parts] == ["00000000.parquet"]


def test_nothing_is_left_of_a_stream_that_could_not_begin(classifier, tmp_path):
    """No empty folder is left where the first batch is wrong, or there is none."""
    output = tmp_path / "a.parquet"
    with pytest.raises(TypeError, match="in batch 0"):
        stream(classifier, iter([[3]]), output=output)
    with pytest.raises(ValueError, match="source has no batch"):
        stream(classifier, iter([]), output=output)
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_there_is_kept(classifier, texts, tmp_path):
    """A file of that name is not overwritten."""
    output = tmp_path / "a.parquet"
    output.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="exists already"):
        stream(classifier, [texts], output=output)
    assert output.read_bytes() == b"mine"


def test_unfitted_is_said(quick, texts):
    """An estimator that is not fitted says so."""
    with pytest.raises(NotFittedError):
        next(stream(BertClassifier(**quick), [texts]))


def test_pyarrow_is_named_where_it_is_missing(classifier, texts, tmp_path, monkeypatch):
    """Without pyarrow, the error names the extra."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for module in ("_parts", "_source"):
        monkeypatch.setattr(
            f"sklearn_bert.distributed.{module}.find_spec", lambda name: None
        )
    pd.DataFrame({"text": texts}).to_parquet(tmp_path / "a.parquet")
    for arguments in (
        {"source": tmp_path / "a.parquet"},
        {"source": [texts], "output": tmp_path / "b.parquet"},
    ):
        with pytest.raises(ModuleNotFoundError, match=r"sklearn-bert\[parquet\]"):
            stream(classifier, **arguments)


def test_a_disk_that_is_full_loses_nothing(classifier, texts, tmp_path, monkeypatch):
    """A part that cannot be written is not there; the next run writes it."""
    write_table = parquet.write_table
    written = []

    def full(table, path):
        if len(written) == 2:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        written.append(path)
        write_table(table, path)

    output = tmp_path / "a.parquet"
    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(OSError, match="No space left"):
        stream(classifier, in_batches(texts, 9), output=output)
    monkeypatch.undo()
    stream(classifier, in_batches(texts, 9), output=output)
    assert parquet.read_table(output).num_rows == len(texts)


def test_compressed_lines_are_read(embedder, texts, tmp_path):
    """JSON Lines may be compressed."""
    path = tmp_path / "rows.jsonl.gz"
    lines = pd.DataFrame({"text": texts}).to_json(orient="records", lines=True)
    path.write_bytes(gzip.compress(lines.encode()))
    (found,) = stream(embedder, path, "transform", columns=["text"])
    assert_allclose(found, embedder.transform(texts), atol=1e-6)


def test_arrow_strings_are_texts(embedder, texts):
    """A batch may be a column of Arrow."""
    (found,) = stream(embedder, [pa.chunked_array([texts])], "transform")
    assert_allclose(found, embedder.transform(texts), atol=1e-6)
