import re

import numpy as np
import pytest
import torch

from sklearn_bert.model._attention import FAMILIES
from sklearn_bert.model._layers import layer_depths, split
from sklearn_bert.model._lora import add_lora
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._table import pack, pad

LENGTHS = [5, 17, 1, 30, 12]
ALL = np.arange(len(LENGTHS))
TRAINABLE = ["head", 1, 3]  # of three layers
WITH_POOLER = ("bert", "roberta", "xlm-roberta")


def make_model(encoder, trainable, pooling="mean"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TextModel(encoder, pooling=pooling, n_outputs=3, trainable=trainable)
        torch.nn.init.normal_(model.head.weight)
    return model.eval()


@pytest.fixture(params=[False, True], ids=["padded", "packed"])
def batch_of(request, make_table):
    """The same texts in one of the layouts, for an encoder."""

    def batch(encoder):
        pad_id = encoder.config.pad_token_id
        table = make_table(LENGTHS)
        if not request.param:
            arrays = pad(table, ALL, pad_id)
            return {n: torch.from_numpy(a) for n, a in arrays.items()}
        arrays = pack(table, ALL, pad_id)
        tensors = {n: torch.from_numpy(a) for n, a in arrays.items()}
        return tensors | {"longest": max(LENGTHS)}

    return batch


def upper_inputs(features, batch):
    """What the upper part takes beside the lower part's answer."""
    if features.ndim == 2:
        return {"vectors": features}
    names = ("attention_mask", "cu_seq_lens", "longest")
    return {"lower_states": features} | {n: batch[n] for n in names if n in batch}


@pytest.mark.parametrize("trainable", TRAINABLE)
@pytest.mark.parametrize(
    ("family", "pooling"),
    [*((f, "mean") for f in FAMILIES), *((f, "pooler") for f in WITH_POOLER)],
)
def test_the_parts_are_the_whole(make_encoder, batch_of, family, trainable, pooling):
    """Lower and upper part one after the other: scores and gradients of the whole."""
    model = make_model(make_encoder(family), trainable, pooling)
    batch = batch_of(model.encoder)
    expected = model(**batch)
    expected.square().sum().backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)

    lower, upper = split(model)
    with torch.no_grad():
        features = lower(**batch)
    assert features.shape[-1] == 32
    scores = upper(**upper_inputs(features, batch))
    scores.square().sum().backward()
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == gradients.keys() == learning(model, trainable, pooling)
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4)


def learning(model, trainable, pooling):
    """The names of the weights that learn, read from the names alone."""
    names = {"head.weight", "head.bias"}
    for name, _ in model.named_parameters():
        number = re.search(r"\blayer\.(\d+)\.", name)
        if trainable == "all" and (pooling == "pooler" or ".pooler." not in name):
            names.add(name)
        elif isinstance(trainable, int):
            is_top = number is not None and int(number[1]) >= 3 - trainable
            is_pooler = pooling == "pooler" and ".pooler." in name
            names |= {name} if is_top or is_pooler else set()
    return names


@pytest.mark.parametrize("pooling", ["mean", "pooler"])
@pytest.mark.parametrize("trainable", ["all", "head", 1, 2, 3])
def test_trainable_parts_take_gradients(make_encoder, trainable, pooling):
    """Weights that take a gradient: the head, the top layers, a pooler in use."""
    model = make_model(make_encoder("bert"), trainable, pooling)
    taking = {n for n, p in model.named_parameters() if p.requires_grad}
    assert taking == learning(model, trainable, pooling)


def test_model_without_frozen_layers_is_not_split(make_encoder):
    """A model that learns as a whole has no lower part."""
    model = make_model(make_encoder("bert"), "all")
    assert split(model) == (None, model)


@pytest.mark.parametrize("trainable", TRAINABLE)
@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_parts_drop_nothing(make_encoder, batch_of, family, trainable):
    """In training the lower part answers as at rest; the upper one has dropout."""
    model = make_model(make_encoder(family, dropout=0.5), trainable)
    batch = batch_of(model.encoder)
    expected = split(model)[0](**batch).detach()
    model.train()
    lower, upper = split(model)
    features = lower(**batch).detach()
    assert torch.equal(features, expected)
    upper.train()
    assert torch.equal(lower(**batch), expected)
    inputs = upper_inputs(features, batch)
    is_random = not torch.equal(upper(**inputs), upper(**inputs))
    assert is_random == (trainable != "head")  # the head's own dropout is 0 here


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_training_the_upper_part_changes_the_whole(make_encoder, batch_of, trainable):
    """The parts share their weights with the whole; what is frozen stays bit by bit."""
    model = make_model(make_encoder("electra"), trainable)
    batch = batch_of(model.encoder)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    scores = model(**batch).detach()
    lower, upper = split(model)
    optimizer = torch.optim.AdamW(
        [p for p in upper.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1
    )
    upper(**upper_inputs(lower(**batch), batch)).sum().backward()
    optimizer.step()
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == learning(model, trainable, "mean")
    assert (model(**batch) - scores).abs().max() > 0.1
    again = upper(**upper_inputs(lower(**batch), batch))
    torch.testing.assert_close(again, model(**batch), rtol=1e-5, atol=1e-5)


def test_splitting_leaves_the_whole_as_it_is(make_encoder):
    """The whole keeps its parts, and its names."""
    model = make_model(make_encoder("bert"), 1)
    names = list(model.state_dict())
    modules = list(model.modules())
    split(model)
    assert list(model.state_dict()) == names
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))


def test_a_head_alone_has_no_encoder(make_encoder):
    """What learns of trainable="head" is the head: nothing else is moved or cast."""
    _, upper = split(make_model(make_encoder("bert"), "head"))
    assert [n for n, _ in upper.named_parameters()] == ["head.weight", "head.bias"]
    assert upper.encoder is None


def test_too_many_layers_are_named(make_encoder):
    """A number of layers that the checkpoint does not have says what it has."""
    with pytest.raises(ValueError, match="trainable is 4, but .* has 3 layers"):
        make_model(make_encoder("roberta"), 4)


def test_unknown_families_are_named(make_encoder):
    """Where layers cannot be told apart, a number is refused and "head" works."""
    encoder = make_encoder("albert", embedding_size=16)
    message = "family 'albert' cannot be told apart; expected 'all' or 'head'"
    with pytest.raises(ValueError, match=message):
        make_model(encoder, 1)
    assert not any(
        p.requires_grad for p in make_model(encoder, "head").encoder.parameters()
    )


DEBERTA = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
# Families that run as a whole only: where their layers are, what else lies below them,
# and what above.
WHOLE = {
    "bert-generation": ("encoder.layer", ["embeddings"], []),
    "big_bird": ("encoder.layer", ["embeddings"], ["pooler"]),
    "camembert": ("encoder.layer", ["embeddings"], ["pooler"]),
    "data2vec-text": ("encoder.layer", ["embeddings"], ["pooler"]),
    "deberta": ("encoder.layer", ["embeddings", "encoder.rel_embeddings"], []),
    "deberta-v2": (
        "encoder.layer",
        ["embeddings", "encoder.rel_embeddings", "encoder.LayerNorm", "encoder.conv"],
        [],
    ),
    "ernie": ("encoder.layer", ["embeddings"], ["pooler"]),
    "esm": (
        "encoder.layer",
        ["embeddings", "contact_head"],
        ["encoder.emb_layer_norm_after", "pooler"],
    ),
    "eurobert": ("layers", ["embed_tokens"], ["norm"]),
    "gpt_neox": ("layers", ["embed_in"], ["final_layer_norm"]),
    "ibert": ("encoder.layer", ["embeddings"], ["pooler"]),
    "megatron-bert": ("encoder.layer", ["embeddings"], ["encoder.ln", "pooler"]),
    "modernbert": ("layers", ["embeddings"], ["final_norm"]),
    "mpnet": (
        "encoder.layer",
        ["embeddings", "encoder.relative_attention_bias"],
        ["pooler"],
    ),
    "nomic_bert": ("layers", ["embeddings"], []),
    "persimmon": ("layers", ["embed_tokens"], ["final_layernorm"]),
    "phi": ("layers", ["embed_tokens"], ["final_layernorm"]),
    "roberta-prelayernorm": ("encoder.layer", ["embeddings"], ["LayerNorm", "pooler"]),
    "roformer": ("encoder.layer", ["embeddings", "encoder.embed_positions"], []),
    "squeezebert": ("encoder.layers", ["embeddings"], ["pooler"]),
    "xlm-roberta-xl": (
        "encoder.layer",
        ["embeddings"],
        ["encoder.LayerNorm", "pooler"],
    ),
}
SETTINGS = {
    "deberta": DEBERTA,
    "deberta-v2": {**DEBERTA, "norm_rel_ebd": "layer_norm", "conv_kernel_size": 3},
    "modernbert": dict.fromkeys(["bos_token_id", "cls_token_id"], 1)
    | dict.fromkeys(["eos_token_id", "sep_token_id"], 2),
    "squeezebert": {"embedding_size": 32},
}


@pytest.fixture(params=WHOLE)
def encoder_and_parts(request, make_encoder):
    """An encoder of a family that runs as a whole, and the names of its parts."""
    family = request.param
    settings = SETTINGS.get(family, {})
    return make_encoder(family, pad_token_id=0, **settings), WHOLE[family]


def is_in(name, *parts):
    """Whether the name of a weight of the model lies in one of the encoder's parts."""
    return name.startswith(tuple(f"encoder.{part}." for part in parts))


def test_depths_of_many_families(encoder_and_parts):
    """Layers are told apart in every family that keeps them as a list."""
    encoder, (path, below, above) = encoder_and_parts
    found = layer_depths(make_model(encoder, "all"))
    for name, depth in found.items():
        layer = re.match(rf"encoder\.{re.escape(path)}\.(\d+)\.", name)
        if layer:
            assert depth == 3 - int(layer[1])
        else:
            assert is_in(name, *below) == (depth == 4), name
            at_top = is_in(name, *above) or not name.startswith("encoder.")
            assert at_top == (depth == 0), name
    assert set(found.values()) == {0, 1, 2, 3, 4}


def test_top_layers_of_many_families_learn(encoder_and_parts):
    """A number lets so many top layers learn and what is above them, and no more."""
    encoder, (path, _, above) = encoder_and_parts
    model = make_model(encoder, 1)
    assert split(model) == (None, model)
    model.train()
    ids = torch.arange(5, 15)[None]
    model(ids).square().sum().backward()
    learnt = {n for n, p in model.named_parameters() if p.grad is not None}
    top = [f"{path}.2", *(part for part in above if part != "pooler")]
    expected = {n for n, _ in model.named_parameters() if is_in(n, *top)}
    assert learnt <= expected | {"head.weight", "head.bias"}
    assert all(any(is_in(name, part) for name in learnt) for part in top)


def depth_of(name):
    """How far below the head a weight of three layers lies, read from its name."""
    if number := re.search(r"\blayer\.(\d+)\.", name):
        return 3 - int(number[1])
    return 4 if re.search(r"\bembeddings(_project)?\.", name) else 0


@pytest.mark.parametrize("pooling", ["mean", "pooler"])
@pytest.mark.parametrize("family", FAMILIES)
def test_depths_of_layers_head_and_embeddings(make_encoder, family, pooling):
    """The head and the pooler at 0, the top layer at 1, embeddings at the bottom."""
    if pooling == "pooler" and family not in WITH_POOLER:
        pooling = "cls"
    model = make_model(make_encoder(family), "all", pooling)
    found = layer_depths(model)
    assert found == {name: depth_of(name) for name, _ in model.named_parameters()}
    assert set(found.values()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("trainable", [1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_depths_of_an_upper_part(make_encoder, family, trainable):
    """A layer is as far below the head in the upper part as it is in the whole."""
    model = make_model(make_encoder(family), trainable)
    whole = layer_depths(model)
    depth_of_weight = {id(p): whole[name] for name, p in model.named_parameters()}
    _, upper = split(model)
    found = layer_depths(upper)
    for name, weight in upper.named_parameters():
        assert found[name] == depth_of_weight[id(weight)]
    assert max(found.values()) == trainable


def test_depths_of_a_head_alone(make_encoder):
    """Where there is no encoder, everything is at the head."""
    _, head = split(make_model(make_encoder("bert"), "head"))
    assert layer_depths(head) == {"head.weight": 0, "head.bias": 0}


@pytest.mark.parametrize("family", FAMILIES)
def test_depths_with_an_adapter(make_encoder, family):
    """The matrices of an adapter are as far below as the layer that they add to."""
    model = make_model(make_encoder(family), "all")
    add_lora(model.encoder)
    found = layer_depths(model)
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert {found[name] for name in learning} >= {0, 1, 2, 3}
    for name in learning:
        assert found[name] == depth_of(name)


def test_depths_of_unknown_families_are_refused(make_encoder):
    """Where layers cannot be told apart, a decay by layer is refused in its words."""
    model = make_model(make_encoder("albert", embedding_size=16), "all")
    message = "layer_decay .* 'albert' cannot be told apart; expected layer_decay=1"
    with pytest.raises(ValueError, match=message):
        layer_depths(model)
