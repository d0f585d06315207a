"""A tiny net, and the textbook's way of training it to compare with."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from sklearn_bert.training._examples import ShuffledBatches


@pytest.fixture(scope="session")
def train_plainly():
    """Train a copy of a net's model by a plain PyTorch loop.

    Padded texts, transformers' own attention, the whole word table, one AdamW; frozen
    parts run along. Returns the encoder, the head, and of each epoch the mean loss and
    the weights.
    """

    def train(net, data, *, by_length=True):
        encoder = copy.deepcopy(net.module.encoder)
        encoder.set_attn_implementation("eager")
        head = copy.deepcopy(net.module.head)
        named = [
            ("head" if module is head else name, p)
            for module in (encoder, head)
            for name, p in module.named_parameters()
            if p.requires_grad
        ]
        optimizer = torch.optim.AdamW(
            [
                {"params": [p], "weight_decay": net.weight_decay * (p.ndim > 1)}
                for _, p in named
            ]
        )
        head_rate = 10 if len(named) > 2 else 100  # a head alone takes longer steps
        lengths = data.table.lengths[data.rows]
        if net.module.trainable == "head":
            lengths = np.ones_like(lengths)  # it learns from one vector per text
        rng = np.random.default_rng(net.shuffle_seed)
        batches = ShuffledBatches(lengths, net.batch_size, rng, by_length=by_length)
        n_updates = net.max_epochs * len(batches)
        n_warmup = int(net.warmup * n_updates)
        update, losses, states = 0, [], []
        for _ in range(net.max_epochs):
            epoch, sizes = [], []
            for places in batches:
                rows = data.rows[places]
                scores = head(_vectors(encoder, net, data.table, rows))
                each = functional.cross_entropy(
                    scores, torch.tensor(data.targets[rows]), reduction="none"
                )
                loss = (each * torch.tensor(data.weights[rows])).mean()
                loss.backward()
                torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
                share = (n_updates - update) / (n_updates - n_warmup)
                if update < n_warmup:
                    share = (update + 1) / (n_warmup + 1)
                for group, (name, _) in zip(optimizer.param_groups, named, strict=True):
                    group["lr"] = net.lr * share * (head_rate if name == "head" else 1)
                optimizer.step()
                optimizer.zero_grad()
                update += 1
                epoch.append(loss.item())
                sizes.append(len(rows))
            losses.append(np.average(epoch, weights=sizes))
            states.append(copy.deepcopy(encoder.state_dict()))
        return SimpleNamespace(encoder=encoder, head=head, losses=losses, states=states)

    return train


def _vectors(encoder, net, table, rows):
    texts = [
        torch.tensor(table.ids[table.starts[row] :][: table.lengths[row]]).long()
        for row in rows
    ]
    ids = torch.nn.utils.rnn.pad_sequence(texts, True, net.pad_id)
    lengths = torch.tensor(table.lengths[rows])
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    output = encoder(input_ids=ids, attention_mask=mask)
    if net.module.pooling == "pooler":
        return output.pooler_output
    vectors = (output.last_hidden_state * mask[..., None]).sum(1) / lengths[:, None]
    return functional.layer_norm(vectors, vectors.shape[1:])


@pytest.fixture(scope="session")
def assert_trained_alike():
    """Compare a trained net with what `train_plainly` returned."""

    def compare(net, plain):
        ours = net.module.encoder.state_dict()
        for name, value in plain.encoder.state_dict().items():
            torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-5)
        for name, value in plain.head.state_dict().items():
            ours = net.module.head.state_dict()[name]
            torch.testing.assert_close(ours, value, rtol=1e-3, atol=1e-5)
        losses = [row["train_loss"] for row in net.history]
        np.testing.assert_allclose(losses, plain.losses, rtol=1e-5)

    return compare


@pytest.fixture(autouse=True)
def without_collections(quick_room):
    """Make room without a collection in every test here."""
