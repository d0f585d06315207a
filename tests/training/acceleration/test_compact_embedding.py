import numpy as np
import pytest
import torch
from torch import nn

from sklearn_bert.training._callbacks import BestWeights
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._net import BertNet
from sklearn_bert.training.acceleration._compact_embedding import CompactEmbedding


def words(net):
    return net.module.encoder.get_input_embeddings().weight.detach()


def test_training_a_part_is_training_the_table(
    make_net, data, train_plainly, assert_trained_alike
):
    """Each row of the table ends as plain AdamW over the whole table leaves it."""
    net = make_net(weight_decay=3.0)
    words(net)[0] = 1.0  # the padding's row, which pretraining leaves at 0
    start = words(net).clone()
    plain = train_plainly(net, data)
    net.fit(data)
    assert_trained_alike(net, plain)
    expected = plain.encoder.get_input_embeddings().weight.detach()
    unused = np.setdiff1d(np.arange(len(start)), data.table.vocabulary())
    assert 0 in unused
    assert len(unused) > 40
    torch.testing.assert_close(words(net)[unused], expected[unused], rtol=3e-6, atol=0)
    assert 0.9 < words(net)[0, 0] < 0.99


def test_the_best_epoch_s_decay_is_restored(make_net, data, train_plainly, monkeypatch):
    """Early stopping leaves the whole table as it was at the best epoch's end."""
    scores = iter([0.5, 0.9, 0.7, 0.6])

    def dictate(self, examples):
        self.history.record("valid_score", next(scores))
        self.history.record("valid_loss", 1.0)

    monkeypatch.setattr(BertNet, "validate", dictate)
    best = BestWeights(n_iter_no_change=9)
    net = make_net(weight_decay=3.0, max_epochs=4, callbacks=[best])
    plain = train_plainly(net, data)
    net.fit(data, data)
    table = "embeddings.word_embeddings.weight"
    torch.testing.assert_close(words(net), plain.states[1][table], rtol=1e-3, atol=1e-5)
    unused = np.setdiff1d(np.arange(len(words(net))), data.table.vocabulary())
    torch.testing.assert_close(
        words(net)[unused], plain.states[1][table][unused], rtol=3e-6, atol=0
    )
    assert not torch.allclose(words(net), plain.states[3][table], rtol=1e-2, atol=1e-3)


def test_words_of_the_validation_are_there(make_net, data):
    """A word that only the held-out texts have can be looked up, and decays too."""
    train = Examples(data.table, data.rows[:2], data.targets, data.weights)
    valid = Examples(data.table, data.rows[2:], data.targets, data.weights)
    net = make_net(max_epochs=1, weight_decay=3.0)
    start = words(net).clone()
    net.fit(train, valid)
    scores = net.scores(data.table)[2:].argmax(1)
    assert net.history[-1]["valid_score"] == pytest.approx(
        (scores == data.targets[2:]).mean()
    )
    others = np.setdiff1d(valid.table.take(valid.rows).vocabulary(), [*range(5)])
    others = np.setdiff1d(others, train.table.take(train.rows).vocabulary())
    unused = np.setdiff1d(np.arange(len(start)), data.table.vocabulary())
    factor = words(net)[unused[-1], 0] / start[unused[-1], 0]
    torch.testing.assert_close(words(net)[others], start[others] * factor)


@pytest.mark.parametrize("first_id", [0, 3])
@pytest.mark.parametrize(
    "family",
    [
        "camembert",
        "deberta-v2",
        "distilbert",
        "electra",
        "modernbert",
        "mpnet",
        "roberta",
        "xlm-roberta",
    ],
)
def test_every_family_trains_alike(
    make_net,
    make_encoder,
    make_table,
    train_plainly,
    assert_trained_alike,
    family,
    first_id,
):
    """Other families, too: those that count positions by the padding's id as well."""
    pad_id = 1 if family in ("camembert", "mpnet", "roberta", "xlm-roberta") else 0
    encoder = make_encoder(
        family, dropout=0.0, initializer_range=0.05, pad_token_id=pad_id
    )
    table = make_table([3, 9, 5, 12, 4, 7, 8, 6], first_id=first_id)
    table.ids[table.ids == pad_id] = 5
    is_first = np.arange(8) % 2
    data = Examples(table, np.arange(8), is_first, np.ones(8, dtype=np.float32))
    net = make_net(encoder, pad_id=pad_id, batch_size=4, weight_decay=1.0)
    plain = train_plainly(net, data)
    net.fit(data)
    assert_trained_alike(net, plain)


@pytest.mark.parametrize("padding_idx", [None, 0, 3])
def test_restoring_brings_every_row_back(padding_idx):
    """Rows in use come back as trained, the others decayed; the rest as it was."""
    embedding = nn.Embedding(6, 2, padding_idx=padding_idx)
    start = embedding.weight.detach().clone()
    ids = np.array([5, 1, 3, 1])
    vocabulary = CompactEmbedding(embedding, ids, weight_decay=0.5)
    assert vocabulary.renumber(np.array([1, 3, 5])).tolist() == [0, 1, 2]
    assert embedding.padding_idx == {None: None, 0: None, 3: 1}[padding_idx]
    assert embedding.num_embeddings == 3
    torch.testing.assert_close(embedding.weight.detach(), start[[1, 3, 5]])
    with torch.no_grad():
        embedding.weight += 1
    vocabulary.after_update(1.0)
    vocabulary.restore()
    assert (embedding.num_embeddings, embedding.padding_idx) == (6, padding_idx)
    assert embedding.weight.requires_grad
    torch.testing.assert_close(
        embedding.weight.detach()[[1, 3, 5]], start[[1, 3, 5]] + 1
    )
    torch.testing.assert_close(
        embedding.weight.detach()[[0, 2, 4]], start[[0, 2, 4]] / 2
    )


def test_an_error_leaves_the_whole_table(make_net, data, monkeypatch):
    """The table is whole again, rows decayed so far included, after an error."""
    net = make_net(weight_decay=3.0, warmup=0.0)
    start, step, n_steps = words(net).clone(), BertNet.train_step, iter(range(9))

    def fail_at_the_third(self, batch):
        if next(n_steps) == 2:
            raise RuntimeError("on purpose")
        return step(self, batch)

    monkeypatch.setattr(BertNet, "train_step", fail_at_the_third)
    with pytest.raises(RuntimeError, match="on purpose"):
        net.fit(data)
    unused = np.setdiff1d(np.arange(len(start)), data.table.vocabulary())
    decay = (1 - 3e-3) * (1 - 3e-3 * 0.9)
    torch.testing.assert_close(words(net)[unused], start[unused] * decay)


def test_the_decay_is_that_of_the_embedding_s_rate():
    """Rows outside decay at the embedding's share of the rate, as a snapshot tells."""
    embedding = nn.Embedding(4, 2)
    start = embedding.weight.detach().clone()
    compact = CompactEmbedding(
        embedding, np.array([0]), rate_factor=0.125, weight_decay=0.1
    )
    compact.after_update(1e-2)
    early = compact.snapshot()
    compact.after_update(1e-2 / 2)
    expected = (1 - 1e-3 / 8) * (1 - 1e-3 / 16)
    assert compact.snapshot() == pytest.approx(expected, rel=1e-12)
    compact.restore(early)
    found = embedding.weight.detach()
    torch.testing.assert_close(found[1:], start[1:] * (1 - 1e-3 / 8))
