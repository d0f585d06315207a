"""Files of tables: what is read comes as it stands, and what is written whole."""

import gzip
import io
import sys

import numpy as np
import pandas as pd
import pytest

from sklearn_bert.cli import _tables
from sklearn_bert.cli._tables import check_out, read_table, write_table

FRAME = pd.DataFrame(
    {"text": ["a, b", 'say "hi"\nthere', "größe 电影 😀"], "code": ["007", "1e5", "NA"]}
)


class Stdin:
    """A stdin of some bytes."""

    closed = False

    def __init__(self, data):
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize(
    "name",
    ["a.csv", "a.TSV", "a.tab", "a.jsonl", "a.ndjson", "a.parquet", "a.xlsx"]
    + ["a.csv.gz", "a.b.tsv.bz2", "a.jsonl.xz", "a.csv.zip"],
)
def test_every_format_is_written_and_read(tmp_path, name):
    """What a suffix stands for is written and read, to the letter."""
    path = str(tmp_path / name)
    write_table(FRAME, path)
    pd.testing.assert_frame_equal(
        read_table(path).frame.astype(object), FRAME.astype(object)
    )
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_the_suffix_says_what_is_written(tmp_path):
    """A packed file is packed, and pandas opens it."""
    write_table(FRAME, str(tmp_path / "a.tsv.gz"))
    with gzip.open(tmp_path / "a.tsv.gz", "rt", encoding="utf-8") as file:
        assert file.readline() == "text\tcode\n"
    assert len(pd.read_csv(tmp_path / "a.tsv.gz", sep="\t")) == 3


def test_only_an_empty_cell_is_missing(tmp_path):
    """ "NA" and "None" may be labels; numbers and gaps stay as they are written."""
    path = tmp_path / "a.csv"
    path.write_text("text,label\nNA,None\n,nan\n00,1.50\nlast\n")
    frame = read_table(str(path)).frame
    assert frame["text"].tolist()[::2] == ["NA", "00"]
    assert frame["text"].isna().tolist() == [False, True, False, False]
    assert frame["label"].tolist()[:3] == ["None", "nan", "1.50"]
    assert frame["label"].isna().tolist() == [False, False, False, True]


def test_a_byte_order_mark_is_no_letter(tmp_path):
    """The mark that Excel writes is not part of the first name."""
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\na,b\n".encode("utf-8-sig"))
    assert read_table(str(path)).columns == ["text", "label"]


def test_json_lines_keep_their_types(tmp_path):
    """Strings of digits stay strings, and integers beside gaps stay integers."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"at": "01", "n": 5}\n\n{"at": "2020-01-01"}\n')
    frame = read_table(str(path)).frame
    assert frame["at"].tolist() == ["01", "2020-01-01"]
    assert frame["n"][0] == 5
    assert type(frame["n"][0]) is int
    assert pd.isna(frame["n"][1])
    write_table(frame, str(tmp_path / "b.jsonl"))
    assert (tmp_path / "b.jsonl").read_text() == (
        '{"at": "01", "n": 5}\n{"at": "2020-01-01", "n": null}\n'
    )


def test_another_encoding_is_named(tmp_path):
    """A file in another encoding is read as what it is said to be."""
    path = tmp_path / "a.csv"
    path.write_bytes("text\ngröße\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"is not utf-8; name .* by --encoding"):
        read_table(str(path))
    assert read_table(str(path), encoding="cp1252").frame["text"][0] == "größe"
    with pytest.raises(ValueError, match="a.csv cannot be read as CSV: unknown enc"):
        read_table(str(path), encoding="klingon")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "a.csv cannot be read as CSV: No columns"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "Expected 2 fields in line 3, saw 3"),
        ("a.csv", b"a,b\n1,2,3\n1,2,3\n", "a row has more fields than the header"),
        ("a.csv.gz", b"a,b\n1,2\n", "cannot be read as CSV: Not a gzipped file"),
        ("a.csv.xz", b"a,b\n1,2\n", "cannot be read as CSV: Input format not supp"),
        ("a.csv.zip", b"a,b\n1,2\n", "cannot be read as CSV: File is not a zip file"),
        ("a.csv", b"a,b\n", "a.csv has 0 rows, only a header"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "Lines: line 2 is no JSON"),
        ("a.jsonl", b"[1, 2]\n", "line 1 is a list; expected an object"),
        ("a.jsonl", b"\n", "cannot be read as JSON Lines: it has no line"),
        ("a.jsonl", b'{"a": "\xe3"}\n', "is not utf-8"),
        ("a.parquet", b"PAR1", "a.parquet cannot be read as Parquet"),
        ("a.xlsx", b"PK", "a.xlsx cannot be read as Excel: File is not a zip file"),
        ("a.txt", b"a", "has no suffix of a table; expected .csv, .tsv"),
        ("a", b"a", "has no suffix of a table"),
        ("a.gz", b"a", "has no suffix of a table"),
    ],
)
def test_what_is_no_table_is_said(tmp_path, name, content, message):
    """A file that is not what its suffix says is named, with its error."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_table(str(tmp_path / name))


def test_a_folder_is_no_table(tmp_path):
    """A folder that is named like a table is told."""
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OSError, match=r"a.csv cannot be opened \(Is a directory\)"):
        read_table(str(tmp_path / "a.csv"))


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet", "xlsx"])
def test_stdin_and_stdout_have_any_format(form, monkeypatch, capfdbinary):
    """ "-" is stdin and stdout, of the format that is asked for."""
    write_table(FRAME, "-", form)
    written = capfdbinary.readouterr().out
    monkeypatch.setattr(sys, "stdin", Stdin(written))
    read = read_table("-", form)
    assert read.name == "stdin"
    pd.testing.assert_frame_equal(read.frame.astype(object), FRAME.astype(object))


def test_stdin_is_csv_by_default(monkeypatch):
    """Without --format stdin is CSV."""
    monkeypatch.setattr(sys, "stdin", Stdin(b"a,b\n1,2\n"))
    assert read_table("-").frame.to_dict("list") == {"a": ["1"], "b": ["2"]}


def test_a_closed_stdin_is_said(monkeypatch):
    """Where there is no stdin a file is asked for."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="stdin is closed; name a file"):
        read_table("-")


def test_a_closed_stdout_is_said(monkeypatch):
    """Where there is no stdout a file is asked for."""
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(ValueError, match="stdout is closed; write to a file by --out"):
        write_table(FRAME, "-")


def test_a_format_without_suffix_is_asked_for(tmp_path):
    """--format says what a file without a known suffix is; a known one stays."""
    (tmp_path / "data").write_text("a\tb\n1\t2\n")
    assert read_table(str(tmp_path / "data"), "tsv").columns == ["a", "b"]
    (tmp_path / "data.csv").write_text("a\tb\n1\t2\n")
    assert read_table(str(tmp_path / "data.csv"), "tsv").columns == ["a\tb"]


@pytest.mark.parametrize(
    ("name", "library"), [("a.parquet", "pyarrow"), ("a.xlsx", "openpyxl")]
)
def test_a_missing_library_is_named(tmp_path, monkeypatch, name, library):
    """A format whose library is missing names it, to read and to write."""
    write_table(FRAME, str(tmp_path / name))
    monkeypatch.setattr(_tables, "find_spec", lambda library: None)
    message = f"a.*needs {library}, which is not installed. .* pip install {library}"
    with pytest.raises(ModuleNotFoundError, match=message):
        read_table(str(tmp_path / name))
    with pytest.raises(ModuleNotFoundError, match=message):
        write_table(FRAME, str(tmp_path / f"b{name}"))
    with pytest.raises(ModuleNotFoundError, match=message):
        check_out(str(tmp_path / f"b{name}"), None, force=False)


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    """An error while a table is written leaves the old file and no draft."""
    path = tmp_path / "a.csv"
    path.write_text("old")

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setitem(_tables.OPENERS, ".csv", lambda path, mode: Full())
    with pytest.raises(OSError, match="No space left"):
        write_table(FRAME, str(path))
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]
    assert path.read_text() == "old"


def test_a_text_is_no_formula_in_excel(tmp_path):
    """What begins with = is written to Excel as a text, and control codes are told."""
    frame = pd.DataFrame({"text": ["=1+1", "a"]})
    write_table(frame, str(tmp_path / "a.xlsx"))
    assert read_table(str(tmp_path / "a.xlsx")).frame["text"].tolist() == ["=1+1", "a"]
    with pytest.raises(ValueError, match="Excel has no such characters"):
        write_table(pd.DataFrame({"text": ["a\x0bb"]}), str(tmp_path / "b.xlsx"))


def test_numbers_are_written_as_json_knows_them(tmp_path):
    """NaN and infinity, which JSON lacks, become null."""
    frame = pd.DataFrame({"x": [0.5, np.nan, np.inf], "n": np.arange(3)})
    write_table(frame, str(tmp_path / "a.jsonl"))
    assert (tmp_path / "a.jsonl").read_text().splitlines() == [
        '{"x": 0.5, "n": 0}',
        '{"x": null, "n": 1}',
        '{"x": null, "n": 2}',
    ]
