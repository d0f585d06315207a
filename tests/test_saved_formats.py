"""Folders that earlier versions have written: they load, answer as then, and learn on.

`tests/data/formats` has, by format, what the last version of it wrote: each kind of
estimator that it knew, around a BERT of one layer and 8 dimensions with random weights,
and the answers that it gave to `TEXTS`.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import InconsistentVersionWarning

from sklearn_bert import BertEmbedder, load, save
from sklearn_bert.estimators._save import FORMAT

FORMATS = Path(__file__).with_name("data") / "formats"
FOLDERS = sorted(path.parent for path in FORMATS.glob("*/*/estimator.json"))
TEXTS = ["you love a great plot", "not good , not bad", "the film"]
OF_0_1 = r"was saved with (.*, )?sklearn_bert 0\.1\.0.*save it again"


def name_of(folder):
    """The format and the kind of estimator."""
    return f"{folder.parent.name}-{folder.name}"


@pytest.fixture(params=FOLDERS, ids=name_of)
def folder(request, tmp_path):
    """A copy of one of the folders."""
    return Path(shutil.copytree(request.param, tmp_path / name_of(request.param)))


def check_answers(estimator, folder):
    """The estimator answers as it did when it was saved."""
    number, kind = folder.name.split("-")
    answers = json.loads((FORMATS / number / "answers.json").read_text("utf-8"))[kind]
    X = [text.split() for text in TEXTS] if kind == "tagger" else TEXTS
    assert answers
    for method, expected in answers.items():
        found = getattr(estimator, method)(X)
        for row, expected_row in zip(found, expected, strict=True):
            if np.asarray(expected_row).dtype.kind == "f":
                # Other versions and processors round otherwise.
                assert_allclose(row, expected_row, rtol=1e-4, atol=1e-6)
            else:
                assert np.array_equal(row, expected_row)


def test_there_are_folders_of_every_earlier_format():
    """A classifier and an embedder of each."""
    expected = [
        f"{number}-{kind}"
        for number in range(1, FORMAT)
        for kind in ("classifier", "embedder")
    ]
    assert {*map(name_of, FOLDERS)} >= {*expected}


def test_a_folder_of_an_earlier_format_is_read(folder):
    """`load` warns of the version; it answers as then, and so after the next save."""
    with pytest.warns(InconsistentVersionWarning, match=OF_0_1):
        estimator = load(folder)
    check_answers(estimator, folder)
    save(estimator, folder)
    content = json.loads((folder / "estimator.json").read_text("utf-8"))["content"]
    assert content["format"] == FORMAT
    check_answers(load(folder), folder)  # without a warning, which would be an error


def test_a_folder_of_an_earlier_format_is_a_checkpoint(folder):
    """Another estimator begins from it, without a warning."""
    embedder = BertEmbedder(folder, pooling="mean", device="cpu").fit(TEXTS)
    assert embedder.transform(TEXTS).shape == (3, 8)


@pytest.mark.parametrize("number", range(1, FORMAT))
def test_a_classifier_of_an_earlier_format_learns_on(number):
    """`partial_fit` goes on from what was loaded."""
    with pytest.warns(InconsistentVersionWarning, match=OF_0_1):
        clf = load(FORMATS / str(number) / "classifier")
    before = clf.predict_proba(TEXTS)
    clf.partial_fit(TEXTS, ["pos", "neg", "neg"])
    assert clf.n_iter_ == 7
    assert not np.allclose(clf.predict_proba(TEXTS), before)
