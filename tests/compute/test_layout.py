import numpy as np
import pytest
import torch

from sklearn_bert.compute._features import FeatureTable
from sklearn_bert.compute._layout import Feed
from sklearn_bert.text._words import WordTable

CPU = torch.device("cpu")
ROWS = np.array([2, 0, 3])


@pytest.mark.parametrize("with_types", [False, True])
def test_padded_tokens(make_table, with_types):
    """A row per text, the padding's id and no attention behind its end."""
    table = make_table([3, 9, 1, 5], with_types=with_types)
    batch = Feed(CPU, 77)(table, ROWS)
    assert batch["input_ids"].shape == (3, 5)
    assert batch["attention_mask"].sum(1).tolist() == [1, 3, 5]
    assert (batch["input_ids"][~batch["attention_mask"]] == 77).all()
    assert batch["input_ids"][1, :3].tolist() == table.ids[:3].tolist()
    assert ("token_type_ids" in batch) == with_types


def test_equal_lengths_need_no_mask(make_table):
    """Without padding there is no mask."""
    assert set(Feed(CPU, 0)(make_table([4, 4]), np.arange(2))) == {"input_ids"}


@pytest.mark.parametrize(("multiple", "longest"), [(None, 5), (4, 9), (16, 16)])
def test_packed_tokens(make_table, multiple, longest):
    """One line; what a graph would keep, the longest length, holds for every batch."""
    table = make_table([3, 9, 1, 5])
    batch = Feed(CPU, 0, packed=True)(table, ROWS, multiple)
    assert batch["longest"] == longest
    assert batch["input_ids"].shape[1] % (multiple or 1) == 0
    assert batch["cu_seq_lens"][:4].tolist() == [0, 1, 4, 9]
    assert "attention_mask" not in batch
    if multiple:
        assert batch["cu_seq_lens"].diff().max() <= batch["longest"]
        assert len(batch["cu_seq_lens"]) == 5


@pytest.mark.parametrize("packed", [False, True])
def test_vectors_in_a_batch_of_a_head(packed):
    """Of a head alone the batch is the texts' vectors, however texts are laid out."""
    values = torch.arange(8.0).view(4, 2)
    ones = np.ones(4, dtype=np.int64)
    table = FeatureTable(values, np.array([2, 0, 2, 3]), ones, True)
    batch = Feed(CPU, 0, packed=packed)(table, ROWS)
    assert batch.keys() == {"vectors"}
    assert torch.equal(batch["vectors"], values[[2, 2, 3]])


@pytest.fixture
def states():
    """A table of three texts' states, the first of which occurs twice."""
    values = torch.arange(20.0).view(10, 2)
    starts, lengths = np.array([0, 4, 9, 0]), np.array([4, 5, 1, 4])
    return FeatureTable(values, starts, lengths, False)


def test_padded_states(states):
    """A row of states per text; behind its end a mask hides what is there."""
    batch = Feed(CPU, 0)(states, ROWS)
    assert batch["attention_mask"].sum(1).tolist() == [1, 4, 4]
    found = batch["lower_states"][batch["attention_mask"]]
    assert torch.equal(found, states.values[[9, 0, 1, 2, 3, 0, 1, 2, 3]])
    assert Feed(CPU, 0)(states, np.array([0, 3])).keys() == {"lower_states"}


def test_packed_states(states):
    """The states of the texts in one line, and where each of them begins."""
    batch = Feed(CPU, 0, packed=True)(states, np.array([1, 2, 0]))
    assert batch["cu_seq_lens"].tolist() == [0, 5, 6, 10]
    assert batch["cu_seq_lens"].dtype == torch.int32
    assert batch["longest"] == 5
    expected = states.values[[4, 5, 6, 7, 8, 9, 0, 1, 2, 3]]
    assert torch.equal(batch["lower_states"], expected[None])


def test_a_table_of_features_is_taken_from(states):
    """Rows of it share its values, and equal texts are found."""
    part = states.take(np.array([3, 1, 0]))
    assert part.values is states.values
    chosen, place = part.distinct()
    assert part.starts[chosen][place].tolist() == [0, 4, 0]
    assert len(chosen) == 2


@pytest.fixture
def word_table():
    """Four rows of 4, 7, 3 and 5 tokens, whose id is 10 * row + place; one wordless."""
    lengths = np.array([4, 7, 3, 5])
    ids = [10 * row + place for row, n in enumerate(lengths) for place in range(n)]
    return WordTable(
        ids=np.array(ids, dtype=np.int32),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        whole_lengths=lengths,
        type_ids=None,
        word_starts=np.array([0, 2, 5, 5]),
        word_counts=np.array([2, 3, 0, 1]),
        word_positions=np.array([1, 2, 1, 3, 5, 2]),
        row_starts=np.array([0, 1, 2, 3]),
        row_counts=np.ones(4, dtype=np.int64),
    )


@pytest.mark.parametrize(
    ("rows", "firsts"),
    [
        ([0, 1, 2, 3], [1, 2, 11, 13, 15, 32]),
        ([3, 1], [32, 11, 13, 15]),
        ([2, 0, 2], [1, 2]),
        ([1], [11, 13, 15]),
        ([2], []),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("multiple", [None, 16])
def test_places_of_words(word_table, rows, firsts, packed, multiple):
    """In rows or in a line, `word_positions` leads to the first token of each word."""
    if not packed and multiple:
        multiple = None  # only a line is lengthened
    batch = Feed(CPU, 99, packed=packed)(word_table, np.array(rows), multiple)
    laid_out = batch["input_ids"].flatten()
    assert laid_out[batch["word_positions"]].tolist() == firsts
    assert batch["word_positions"].dtype == torch.int64


def test_places_of_words_of_a_part(word_table):
    """Rows taken from a table keep their words."""
    part = word_table.take(np.array([3, 0]))
    for packed in (False, True):
        batch = Feed(CPU, 99, packed=packed)(part, np.array([1, 0]))
        laid_out = batch["input_ids"].flatten()
        assert laid_out[batch["word_positions"]].tolist() == [1, 2, 32]


def test_texts_have_no_places(make_table):
    """Only tables of words have them."""
    for packed in (False, True):
        batch = Feed(CPU, 0, packed=packed)(make_table([3, 9]), np.arange(2))
        assert "word_positions" not in batch
