import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_bert.compute import _inference
from sklearn_bert.compute._features import FeatureTable
from sklearn_bert.compute._inference import Feed, compute, token_budget_batches
from sklearn_bert.compute._memory import BertOutOfMemoryError
from sklearn_bert.text._table import parts_of_similar_length
from sklearn_bert.text._words import WordTable

CPU = torch.device("cpu")
LENGTHS = [3, 9, 1, 30, 4, 9, 12, 7]
SHORTAGE = "CUDA out of memory. Tried to allocate 2.00 GiB.\nmore words"


class Function:
    """Says of every token, or text, what its ids are; counts what it is given."""

    def __init__(self, *, per_token=False, most=None):
        self.per_token = per_token
        self.most = most
        self.sizes = []

    def __call__(
        self,
        input_ids,
        attention_mask=None,
        cu_seq_lens=None,
        position_ids=None,
        **rest,
    ):
        n_texts = len(input_ids) if cu_seq_lens is None else len(cu_seq_lens) - 1
        self.sizes.append(n_texts)
        if self.most is not None and n_texts > self.most:
            raise torch.OutOfMemoryError(SHORTAGE)
        states = torch.stack([input_ids, input_ids**2], -1).float()
        if self.per_token:
            return states.bfloat16()
        if cu_seq_lens is not None:
            texts = states[0].split(cu_seq_lens.diff().tolist())
            return torch.stack([text.sum(0) for text in texts])
        if attention_mask is not None:
            states = states * attention_mask[..., None]
        return states.sum(1)


def ids_of(table, row):
    ids = table.ids[table.starts[row] : table.starts[row] + table.lengths[row]]
    return torch.from_numpy(ids).long()


def expected_of(table):
    """One text at a time, and nothing left out."""
    sums = [
        [ids_of(table, r).sum(), (ids_of(table, r) ** 2).sum()] for r in rows(table)
    ]
    return torch.tensor(sums).float()


def rows(table):
    return range(len(table))


@pytest.fixture(params=["rows", "line"])
def feed(request):
    return Feed(CPU, 0, packed=request.param == "line")


@pytest.mark.parametrize("budget", [1, 20, 10**6])
def test_rows_keep_their_order(make_table, feed, monkeypatch, budget):
    """Whatever the batches, each text's answer is in its place."""
    monkeypatch.setitem(_inference.INFERENCE_TOKENS, "cpu", budget)
    table = make_table(LENGTHS)
    output = compute(Function(), table, feed)
    assert output.dtype == torch.float32
    assert torch.equal(output, expected_of(table))


def test_answers_that_are_not_finite_end_inference_at_once(make_table, monkeypatch):
    """Every batch is looked at as it comes, not all of them at the end."""
    monkeypatch.setitem(_inference.INFERENCE_TOKENS, "cpu", 1)
    function = Function()

    def spoilt(**inputs):
        return function(**inputs) * torch.nan

    with pytest.raises(FloatingPointError, match=r"of 1 texts is not finite"):
        compute(spoilt, make_table(LENGTHS), Feed(CPU, 0))
    assert len(function.sizes) == 2  # one is under way


def test_equal_texts_are_computed_once(make_table):
    """Rows of one text share one answer."""
    table = make_table(LENGTHS).take(np.array([3, 0, 3, 3, 7, 0]))
    function = Function()
    output = compute(function, table, Feed(CPU, 0))
    assert sum(function.sizes) == 3
    assert torch.equal(output, expected_of(table))


@pytest.mark.parametrize("budget", [1, 20, 10**6])
def test_per_token(make_table, feed, monkeypatch, budget):
    """The states of the texts, one after the other, without padding, as they are."""
    monkeypatch.setitem(_inference.INFERENCE_TOKENS, "cpu", budget)
    table = make_table(LENGTHS)
    output = compute(Function(per_token=True), table, feed, per_token=True)
    ids = torch.cat([ids_of(table, row) for row in rows(table)])
    assert torch.equal(output, torch.stack([ids, ids**2], -1).bfloat16())


@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("most", [1, 2, 5])
def test_batches_are_halved_until_they_fit(make_table, most, per_token):
    """Where memory runs out above some texts, the answers are those of enough."""
    table = make_table(LENGTHS)
    feed = Feed(CPU, 0)
    function = Function(per_token=per_token, most=most)
    output = compute(function, table, feed, per_token=per_token)
    enough = compute(Function(per_token=per_token), table, feed, per_token=per_token)
    assert torch.equal(output, enough)
    assert max(function.sizes) > most
    assert sum(size for size in function.sizes if size <= most) == 8


def test_a_text_that_never_fits_is_named(make_table):
    """Not even one text: the error has the device, its tokens and torch's figures."""
    message = (
        r"cpu ran out of memory while predicting: a batch of 8 texts .* one text of 30 "
        r"tokens, .*Lower max_length.*CUDA out of memory. Tried to allocate 2.00 GiB."
    )
    function = Function(most=0)
    with pytest.raises(BertOutOfMemoryError, match=message):
        compute(function, make_table(LENGTHS), Feed(CPU, 0))
    assert function.sizes == [8, 4, 2, 1]


def test_a_shortage_without_words(make_table):
    """An empty message of torch's makes no other error."""

    def fail(**inputs):
        raise torch.OutOfMemoryError

    with pytest.raises(BertOutOfMemoryError, match="one text of 30 tokens"):
        compute(fail, make_table(LENGTHS), Feed(CPU, 0))


def test_other_errors_are_the_function_s(make_table):
    """Only a shortage is handled here."""

    def fail(**inputs):
        raise RuntimeError("of the model")

    with pytest.raises(RuntimeError, match="of the model"):
        compute(fail, make_table(LENGTHS), Feed(CPU, 0))


def test_inference_keeps_no_graph(make_table):
    """Answers have no history, though the weights take gradients."""
    weight = torch.ones(2, requires_grad=True)
    output = compute(
        lambda **b: Function()(**b) * weight, make_table([3, 4]), Feed(CPU, 0)
    )
    assert not output.requires_grad
    output += 1  # and they are ordinary tensors


def test_features_are_computed_upon(make_table):
    """A table of vectors is a table like another: once each, in order."""
    values = torch.arange(8.0).view(4, 2)
    ones = np.ones(4, dtype=np.int64)
    table = FeatureTable(values, np.array([2, 0, 2, 3]), ones, True)
    sizes = []
    output = compute(
        lambda vectors: sizes.append(len(vectors)) or vectors * 10, table, Feed(CPU, 0)
    )
    assert sizes == [3]
    assert torch.equal(output, values[[2, 0, 2, 3]] * 10)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("budget", [1, 20, 10**6])
def test_answers_arrive_from_a_gpu(make_table, monkeypatch, packed, budget):
    """What is fetched while the next batch is computed is complete."""
    monkeypatch.setitem(_inference.INFERENCE_TOKENS, "cuda", budget)
    table = make_table(LENGTHS * 50)
    feed = Feed(torch.device("cuda"), 0, packed=packed)
    assert torch.equal(compute(Function(), table, feed), expected_of(table))


# -- batches by budget -------------------------------------------------------------

lengths_of_texts = st.lists(st.integers(1, 40), min_size=1, max_size=40).map(np.array)


@settings(max_examples=100, deadline=None)
@given(lengths_of_texts, st.integers(1, 200))
def test_budget_is_held_and_every_text_met(lengths, max_tokens):
    """Each row occurs once, longest first; none but a lone text passes the budget."""
    untouched = lengths.copy()
    batches = token_budget_batches(lengths, max_tokens)
    rows = np.concatenate(batches)
    assert sorted(rows) == list(range(len(lengths)))
    assert (np.diff(lengths[rows]) <= 0).all()
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= max_tokens
    np.testing.assert_array_equal(lengths, untouched)


@settings(max_examples=100, deadline=None)
@given(lengths_of_texts, st.integers(1, 200))
def test_budget_batches_are_those_of_a_plain_loop(lengths, max_tokens):
    """Text by text, longest first: a batch is closed when one more would not fit."""
    expected = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        batch = expected[-1] if expected else None
        if batch and (len(batch) + 1) * lengths[batch[0]] <= max_tokens:
            batch.append(row)
        else:
            expected.append([row])
    assert [b.tolist() for b in token_budget_batches(lengths, max_tokens)] == expected


def test_budget_counts_padding():
    """The budget is filled with the longest text's length for each of its batch."""
    lengths = np.array([1, 10, 5, 4, 3, 30])
    found = [rows.tolist() for rows in token_budget_batches(lengths, 20)]
    assert found == [[5], [1, 2], [3, 4, 0]]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=8).map(np.array),
    st.integers(0, 60),
)
def test_parts_of_similar_length_have_the_least_cost(lengths, pass_tokens):
    """Each row occurs once, and no way to cut the sorted rows costs less.

    The cost is the tokens, padding included, and so many more for each part.
    """

    def cost(parts):
        return sum(max(part) * len(part) + pass_tokens for part in parts)

    found = parts_of_similar_length(lengths, pass_tokens)
    assert sorted(np.concatenate(found)) == list(range(len(lengths)))
    ordered, places = np.sort(lengths), range(1, len(lengths))
    cuts = itertools.chain.from_iterable(
        itertools.combinations(places, n) for n in range(len(lengths))
    )
    least = min(cost(np.split(ordered, cut)) for cut in cuts)
    assert cost([lengths[part] for part in found]) == least


# -- laying out --------------------------------------------------------------------

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
