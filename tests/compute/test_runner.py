"""One model over a table, whatever the batches, copies and kinds of answers."""

import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sklearn_bert.compute import _inference
from sklearn_bert.compute._runner import LastUsed, Runner, copy_in_place
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._language_model import LanguageModel, new_language_model
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._input import check_texts
from sklearn_bert.text._masking import masked_table

CPU = torch.device("cpu")


@pytest.mark.parametrize("budget", [1, 16, 50, 10**6])
def test_scores_do_not_depend_on_neighbours(make_net, data, monkeypatch, budget):
    """In float32 the size of a batch changes no score by more than rounding."""
    net = make_net().fit(data)
    expected = net.scores(data.table)
    monkeypatch.setitem(_inference.INFERENCE_TOKENS, "cpu", budget)
    np.testing.assert_allclose(net.scores(data.table), expected, rtol=0, atol=2e-6)


def test_duplicates_are_computed_once(make_net, checkpoint, monkeypatch):
    """A text that occurs a hundred times passes through the model once."""
    net = make_net()
    seen = []
    vectors = net.module.vectors
    monkeypatch.setattr(
        net.module,
        "vectors",
        lambda **b: seen.append(len(b["input_ids"])) or vectors(**b),
    )
    tokenizer = load_checkpoint(checkpoint).text_tokenizer(None)
    out = net.vectors(tokenizer(check_texts(["a cat", "the dog"] * 100)))
    assert sum(seen) == 2
    assert (out[::2] == out[0]).all()
    assert (out[1::2] == out[1]).all()


def test_float16_answers_as_float32_does(make_net, data):
    """Answers near those of float32; numbers that float16 cannot hold are an error."""
    exact, net = make_net(), make_net(precision="float16")
    for name in ("scores", "vectors"):
        found, expected = (getattr(n, name)(data.table) for n in (net, exact))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=5e-3)
    net = make_net(precision="float16")
    states = net.module.encoder.encoder.layer[-1].output.LayerNorm
    torch.nn.init.constant_(states.bias, 1e5)
    with pytest.raises(FloatingPointError, match="too large for float16.*'float32'"):
        net.vectors(data.table)


def test_only_the_last_used_copy_is_kept(make_net, data):
    """One working copy in bfloat16 is kept between calls, and goes with its net."""
    made = []
    first, second = [make_net(precision="bfloat16") for _ in range(2)]

    def copies_of(net):
        made.append(weakref.ref(net.runner_.model_in_place()))
        return made[-1]()

    assert copies_of(first) is copies_of(first)
    assert copies_of(second) is not None
    gc.collect()
    assert [made[0]() is None, made[2]() is None] == [True, False]
    del second
    gc.collect()
    assert made[2]() is None


@pytest.fixture(scope="module")
def language_model():
    """A random language model, and what computes with it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = new_language_model(
            n_words=80,
            hidden_size=16,
            n_layers=1,
            n_heads=2,
            max_length=32,
            pad_id=0,
            dropout=None,
            position_encoding="learned",
        )
    model = LanguageModel(whole, pooling="mean").eval()
    runner = Runner(model, CPU, precision="float32", pad_id=0)
    return SimpleNamespace(model=model, runner=runner)


@pytest.fixture
def asked(make_table):
    """Three rows of tokens, two of which have tokens to predict: table and logits."""
    table = make_table([5, 9, 4])
    rows, positions = np.array([0, 1, 1]), np.array([2, 1, 8])
    labels = table.ids[table.starts[rows] + positions]
    return masked_table(table, rows, positions, labels)


def logits_of(model, table):
    """Scores of the tokens to predict, a row of the table at a time."""
    rows = np.repeat(np.arange(len(table)), table.word_counts)
    found = []
    for row, position in zip(rows, table.word_positions, strict=True):
        ids = table.ids[table.starts[row] :][: table.lengths[row]]
        batch = torch.from_numpy(ids)[None].long()
        with torch.no_grad():
            found.append(
                model.next_token_logits(batch, word_positions=torch.tensor([position]))
            )
    return torch.cat(found)


def test_tokens_have_logits_and_likelihoods(language_model, asked):
    """Every token to predict has an answer of its own, in the table's order."""
    runner = language_model.runner
    logits = logits_of(language_model.model, asked)
    np.testing.assert_allclose(runner.next_token_logits(asked), logits, atol=1e-5)
    logs = logits.log_softmax(1)
    labels = torch.from_numpy(asked.labels)
    found = runner.token_log_likelihood(asked)
    np.testing.assert_allclose(found[:, 0], logs[range(3), labels], atol=1e-5)
    np.testing.assert_array_equal(found[:, 1], logits.argmax(1) == labels)


def test_the_likeliest_tokens_come_first(language_model, asked):
    """Ids and probabilities of the likeliest tokens, in falling order."""
    best = logits_of(language_model.model, asked).softmax(1).topk(4)
    ids, shares = np.split(language_model.runner.top_tokens(asked, 4), 2, axis=1)
    np.testing.assert_array_equal(ids, best.indices)
    np.testing.assert_allclose(shares, best.values, atol=1e-6)


def test_pairs_have_two_scores(language_model, make_table):
    """A pair has the same scores alone and among others."""
    table = make_table([5, 9, 4], with_types=True)
    found = language_model.runner.next_sentence_logits(table)
    assert found.shape == (3, 2)
    for row in range(3):
        alone = language_model.runner.next_sentence_logits(table.take(np.array([row])))
        np.testing.assert_allclose(alone[0], found[row], atol=1e-6)


# -- the copy that computes --------------------------------------------------------


class Thing:
    pass


def test_the_last_owner_s_is_kept():
    """What was made for the last owner is given again; for others it is made anew."""
    kept, first, second, made = LastUsed(), Thing(), Thing(), []

    def make():
        made.append(Thing())
        return made[-1]

    assert kept.of(first, make) is kept.of(first, make)
    assert kept.of(second, make) is made[1]
    assert kept.of(first, make) is made[2]
    kept.forget(second)
    assert kept.of(first, make) is made[2]
    kept.forget(first)
    assert kept.of(first, make) is made[3]


def test_working_copy_goes_with_its_owner():
    """The copy goes with its owner, and before another one is made."""
    kept, first, second = LastUsed(), Thing(), Thing()
    copy = weakref.ref(kept.of(first, Thing))

    def make():
        gc.collect()
        assert copy() is None
        return Thing()

    copy_of_second = weakref.ref(kept.of(second, make))
    assert copy_of_second() is not None
    del second
    gc.collect()
    assert copy_of_second() is None


def test_a_copy_computes_and_the_original_rests(make_encoder):
    """The copy is in another number format, but for the head; the original is not."""
    model = TextModel(make_encoder("bert"), pooling="mean", n_outputs=2).eval()
    before = {n: p.clone() for n, p in model.named_parameters()}
    copy = copy_in_place(model, torch.device("cpu"), torch.bfloat16)
    assert {p.dtype for p in copy.encoder.parameters()} == {torch.bfloat16}
    assert copy.head.weight.dtype == torch.float32
    assert not any(p.requires_grad for p in copy.encoder.parameters())
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.dtype == torch.float32
    ids = torch.tensor([[3, 4, 5]])
    torch.testing.assert_close(copy(ids), model(ids), rtol=0.05, atol=0.05)
