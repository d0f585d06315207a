import numpy as np
import pytest
import torch

from sklearn_bert.compute import _inference
from sklearn_bert.compute._features import FeatureTable
from sklearn_bert.compute._inference import compute
from sklearn_bert.compute._layout import Feed
from sklearn_bert.compute._memory import BertOutOfMemoryError

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
