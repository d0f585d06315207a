import sys

import pytest
import torch
from torch import nn

from sklearn_bert.model._attention import FAMILIES
from sklearn_bert.model._lora import add_lora
from sklearn_bert.model._text_model import TextModel

IDS = torch.tensor([[3, 5, 6, 7, 4], [3, 8, 9, 10, 11]])


@pytest.mark.parametrize("family", FAMILIES)
def test_merging_keeps_the_answers(make_encoder, family):
    """A trained adapter, merged: plain linear layers that give the same vectors."""
    encoder = make_encoder(family)
    names = list(encoder.state_dict())
    n_linear = sum(type(m) is nn.Linear for m in encoder.modules())
    model = TextModel(encoder, pooling="mean").eval()
    before = model(IDS).detach()
    lora = add_lora(encoder)
    torch.testing.assert_close(model(IDS), before)  # it starts from nothing
    learning = [n for n, p in model.named_parameters() if p.requires_grad]
    assert len(learning) == 2 * n_linear
    assert all("lora_" in name for name in learning)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    adapted = model(IDS).detach()
    assert (adapted - before).abs().max() > 0.1
    model.encoder = lora.merge_and_unload()
    assert type(model.encoder) is type(encoder)
    assert list(model.encoder.state_dict()) == names
    assert sum(type(m) is nn.Linear for m in model.encoder.modules()) == n_linear
    torch.testing.assert_close(model(IDS), adapted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 8, 100])
def test_rank_and_scale(make_encoder, rank):
    """The additions are products of the rank that is asked for, scaled by 2."""
    encoder = make_encoder("bert")
    add_lora(encoder, rank)
    layer = encoder.encoder.layer[0].attention.self.query
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert (down.shape, up.shape) == ((rank, 32), (32, rank))
    with torch.no_grad():
        up.fill_(0.1)
    x = torch.randn(3, 32)
    expected = layer.base_layer(x) + 2 * x @ down.T @ up.T
    torch.testing.assert_close(layer(x), expected)


def test_missing_peft_names_the_extra(make_encoder, monkeypatch):
    """Without peft the error says which extra brings it."""
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"needs peft.*sklearn-bert\[lora\]"):
        add_lora(make_encoder("bert"))
