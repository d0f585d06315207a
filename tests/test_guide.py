"""The guide, page by page, as a reader runs it."""

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
# The others fine-tune, some of them on all of the bundled tickets.
QUICK = {"many_rows", "security", "several_processes", "text_checks", "vocabulary"}


def pages():
    """Every page with examples, slow ones marked."""
    for path in sorted(DOCS.glob("*.rst")):
        if ">>>" in path.read_text(encoding="utf-8"):
            marks = [] if path.stem in QUICK else [pytest.mark.slow]
            yield pytest.param(path, id=path.stem, marks=marks)


# For speed some examples cut texts, of which a reader is warned on stderr.
@pytest.mark.filterwarnings("default::sklearn_bert.TruncationWarning")
@pytest.mark.parametrize("page", list(pages()))
def test_examples_of_a_page(page, tmp_path, monkeypatch):
    """The examples of a page run in order, and print what the page shows."""
    monkeypatch.chdir(tmp_path)
    failed, run = doctest.testfile(
        str(page),
        module_relative=False,
        encoding="utf-8",
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert run
    assert not failed
