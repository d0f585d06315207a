"""The bar on a terminal, and the count that it shows."""

import re
from itertools import product

import pandas as pd
import pytest

from sklearn_bert import load
from sklearn_bert._process._progress import listening
from sklearn_bert.cli._main import main


@pytest.mark.parametrize("command", ["predict", "evaluate", "embed"])
def test_a_terminal_sees_a_bar(command, saved, csv, tmp_path, monkeypatch, capsys):
    """The bar counts to the end on stderr, and the result is as without it."""
    arguments = [command, saved["classifier"], str(csv)]
    if command == "evaluate":
        arguments += ["--target", "label"]
    if command == "embed":
        arguments += ["--out", "-"]
    assert main(arguments) == 0
    expected, quiet = capsys.readouterr()
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal
    monkeypatch.setenv("TERM", "xterm")
    assert main(arguments) == 0
    printed, shown = capsys.readouterr()
    assert printed == expected
    assert quiet == ""
    n_distinct = pd.read_csv(csv)["text"].nunique()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert f"{n_distinct}/{n_distinct} texts" in plain


def test_a_listener_hears_each_batch(saved):
    """The counts rise to the number of distinct texts, batch by batch."""
    model = load(saved["embedder"])
    words = product(["good", "bad", "great", "dull"], repeat=4)
    texts = pd.DataFrame({"text": [" ".join(four) * 3 for four in words] * 2})
    heard = []
    with listening(lambda n_done, n_all: heard.append((n_done, n_all))):
        model.transform(texts)
    model.transform(texts)  # and nobody listens any more
    done = [n_done for n_done, _ in heard]
    assert len(done) > 2
    assert done == sorted(set(done))
    assert {n_all for _, n_all in heard} == {256}
    assert done[-1] == 256
