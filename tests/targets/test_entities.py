"""The F1 of entities, held against seqeval's."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score

from sklearn_bert.targets._entities import entity_f1

BIOES = ["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("a", "b-c"))]
TO_BILOU = str.maketrans("ES", "LU")


@st.composite
def pairs(draw, tags):
    """True and predicted tags of some sentences, which may be empty."""
    counts = draw(st.lists(st.integers(0, 8), min_size=1, max_size=4))
    rows = [st.lists(st.sampled_from(tags), min_size=n, max_size=n) for n in counts]
    return [[draw(row) for row in rows] for _ in range(2)]


@settings(max_examples=200, deadline=None)
@given(pairs(BIOES))
def test_equals_seqeval(rows):
    """Of any tags in BIO or BIOES, well formed or not, it is seqeval's to the bit."""
    true, predicted = rows
    assert entity_f1(true, predicted) == f1_score(true, predicted, zero_division=0)


@settings(deadline=None)
@given(pairs(BIOES))
def test_bilou_is_read_as_bioes(rows):
    """L is E by another name, and U is S."""
    renamed = [
        [[tag[0].translate(TO_BILOU) + tag[1:] for tag in tags] for tags in sentences]
        for sentences in rows
    ]
    assert entity_f1(*renamed) == entity_f1(*rows)


def test_neighbours_of_one_word():
    """U after U of one kind are two entities, of which seqeval makes one."""
    true, predicted = [["U-a", "U-a"]], [["U-a", "O"]]
    assert entity_f1(true, predicted) == pytest.approx(2 / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that U is no prefix
        assert f1_score(true, predicted) == 0


@pytest.mark.parametrize("unknown", ["PLACE", 7, True, ""])
def test_tags_without_prefix_are_wrong(unknown):
    """A true tag that has no prefix is an entity that was not found."""
    assert entity_f1([["B-a", unknown]], [["B-a", "O"]]) == pytest.approx(2 / 3)


def test_score_without_entities():
    """Where there are no entities, the F1 is 0."""
    assert entity_f1([["O", "O"], []], [["O", "O"], []]) == 0
