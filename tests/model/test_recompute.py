import re

import pytest
import torch

from sklearn_bert.model._attention import FAMILIES
from sklearn_bert.model._layers import split
from sklearn_bert.model._recompute import Checkpointing
from sklearn_bert.model._text_model import TextModel

IDS = torch.tensor([[3, 5, 6, 7, 4], [3, 8, 9, 10, 11]])
STATES = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))


def gradients(model, inputs):
    model.zero_grad(set_to_none=True)
    model(**inputs).square().sum().backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("trainable", ["all", 2])
@pytest.mark.parametrize("family", [*FAMILIES, "modernbert", "deberta-v2"])
def test_layers_are_computed_twice(make_encoder, family, trainable):
    """The same gradients, by a second pass; of a whole model or of an upper part."""
    if family not in FAMILIES:
        trainable = "all"
    encoder = make_encoder(family, pad_token_id=1, dropout=0.0)
    whole = TextModel(encoder, pooling="mean", n_outputs=2, trainable=trainable)
    model = split(whole)[1].train()
    inputs = {"input_ids": IDS} if trainable == "all" else {"lower_states": STATES}
    expected = gradients(model, inputs)
    layer = re.compile(r"layers?\.(2|1)\.")  # the top one is the last in order
    named = [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    top = [module for name, module in named if layer.search(name)][-1]
    counts = []
    top.register_forward_pre_hook(lambda *_: counts.append(1))
    checkpointing = Checkpointing(model.encoder)
    found = gradients(model, inputs)
    assert len(counts) == 2
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5)
    checkpointing.stop()
    gradients(model, inputs)
    assert len(counts) == 3


def test_recomputation_leaves_nothing_behind(make_encoder):
    """After the end neither hooks nor settings of it are in the encoder."""
    encoder = make_encoder("bert")
    before = encoder.config.to_dict()
    Checkpointing(encoder).stop()
    assert encoder.config.to_dict() == before
    assert not any(module._forward_hooks for module in encoder.modules())
    flags = [getattr(m, "gradient_checkpointing", False) for m in encoder.modules()]
    assert not any(flags)
    output = encoder.embeddings.word_embeddings.requires_grad_(False)(IDS)
    assert not output.requires_grad
