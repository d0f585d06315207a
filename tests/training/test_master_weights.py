import copy

import pytest
import torch

from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.training._master_weights import MasterWeights

IDS = torch.tensor([[2, 5, 6, 7, 3]])


@pytest.fixture
def model(checkpoint):
    with torch.random.fork_rng(devices=[]):
        encoder = load_checkpoint(checkpoint, dropout=0.0).encoder
        return TextModel(encoder, pooling="mean", n_outputs=2)


def of_encoder(weights):
    """The masters of the encoder: what bfloat16 rounds. There are many."""
    found = {n: w for n, w in weights.named_parameters() if n.startswith("encoder.")}
    assert len(found) > 20
    return found


def step(model, weights, optimizer):
    model(IDS)[0, 0].backward()
    weights.collect_gradients()
    optimizer.step()
    weights.update_working()


def test_small_steps_are_not_lost(model):
    """A thousand steps too small for bfloat16 move the masters as float32 does."""
    weights = MasterWeights(model, torch.bfloat16)
    name, master = weights.named_parameters()[0]
    start = master.clone()
    for _ in range(1000):
        master += start.abs() * 1e-5
        weights.update_working()
    working = dict(model.named_parameters())[name]
    assert working.dtype == torch.bfloat16
    expected = (start + start.abs() * 1e-2).bfloat16()
    torch.testing.assert_close(working, expected, rtol=8e-3, atol=0)


def test_float32_needs_no_copies(model):
    """In float32 the masters are the model's own parameters."""
    own = {n: p for n, p in model.named_parameters() if p.requires_grad}
    named = dict(MasterWeights(model, torch.float32).named_parameters())
    assert named.keys() == own.keys()
    assert all(named[name] is own[name] for name in own)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_restore_gives_the_masters_back(model, dtype):
    """Afterwards the model is float32 with the masters' values and no gradient."""
    weights = MasterWeights(model, dtype)
    optimizer = torch.optim.AdamW(
        [w for _, w in weights.named_parameters()], lr=1e-2, fused=True
    )
    step(model, weights, optimizer)
    expected = {n: p.detach().clone() for n, p in weights.named_parameters()}
    weights.restore(model, None)
    for parameter in model.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is None
    restored = dict(model.named_parameters())
    assert expected.keys() >= of_encoder(weights).keys()
    for name, value in expected.items():
        assert torch.equal(restored[name], value)


def test_frozen_weights_are_not_rounded(model):
    """A weight that is not trained comes back bit by bit, after bfloat16 too."""
    before = copy.deepcopy(model.encoder.pooler.state_dict())
    weights = MasterWeights(model, torch.bfloat16)
    weights.restore(model, None)
    after = model.encoder.pooler.state_dict()
    assert set(before) == {"dense.weight", "dense.bias"}
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_snapshot_is_a_copy(model):
    """A snapshot does not follow later steps, and can be restored."""
    weights = MasterWeights(model, torch.bfloat16)
    optimizer = torch.optim.AdamW(
        [w for _, w in weights.named_parameters()], lr=1e-2, fused=True
    )
    snapshot = weights.snapshot()
    expected = {n: p.clone() for n, p in snapshot.items()}
    assert expected.keys() >= of_encoder(weights).keys()
    step(model, weights, optimizer)
    weights.restore(model, snapshot)
    for name, value in expected.items():
        assert torch.equal(dict(model.named_parameters())[name], value)


def test_gradients_reach_the_masters(model):
    """The masters' gradients are the working weights', in float32."""
    weights = MasterWeights(model, torch.bfloat16)
    model(IDS)[0, 0].backward()
    working = {n: p.grad for n, p in model.named_parameters()}
    weights.collect_gradients()
    for _, master in weights.named_parameters():
        assert master.grad.dtype == torch.float32
    for name, master in of_encoder(weights).items():
        assert working[name].dtype == torch.bfloat16
        assert torch.equal(master.grad, working[name].float())


def test_gradients_of_parts_are_added_in_float32(model):
    """What is collected before a step adds up, without rounding to bfloat16."""
    weights = MasterWeights(model, torch.bfloat16)
    n_parts = 50
    expected = {n: torch.zeros_like(p) for n, p in of_encoder(weights).items()}
    for part in range(n_parts):
        model(IDS + part % 3)[0, part % 2].backward()
        working = dict(model.named_parameters())
        for name, gradient in expected.items():
            gradient += working[name].grad.float()
        weights.collect_gradients()
    for name, master in of_encoder(weights).items():
        assert torch.equal(master.grad, expected[name])
    weights.drop_gradients()
    assert all(
        p.grad is None
        for p in [*[w for _, w in weights.named_parameters()], *model.parameters()]
    )
