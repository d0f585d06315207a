import copy
import json

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoModel

from sklearn_bert.model import _attention
from sklearn_bert.model._attention import (
    FAMILIES,
    NAME,
    attend,
    attend_plainly,
    can_pack,
    fits_kernel,
    position_offset,
)
from sklearn_bert.model._files import pack_model
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._table import pack, pad

# Together more tokens than the models have positions.
LENGTHS = [5, 17, 1, 30, 12, 9, 40]
ALL = np.arange(len(LENGTHS))
WITH_POOLER = ["bert", "roberta", "xlm-roberta"]
CASES = [(family, how) for family in FAMILIES for how in ("cls", "mean", "max")]
CASES += [(family, "pooler") for family in WITH_POOLER]


def tensors(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def padded(table, pad_id):
    return tensors(pad(table, ALL, pad_id))


def packed(table, pad_id, multiple=None):
    longest = max(int(table.lengths.max()), multiple or 0)
    return tensors(pack(table, ALL, pad_id, multiple)) | {"longest": longest}


def make_model(encoder, pooling):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TextModel(encoder, pooling=pooling, n_outputs=3)
        torch.nn.init.normal_(model.head.weight)
    return model.eval()


def answers(model, batch):
    """Scores of the texts, and the gradients of a sum of them."""
    model.zero_grad()
    scores = model(**batch)[: len(LENGTHS)]
    weights = torch.linspace(-1, 1, scores.numel()).view_as(scores)
    (scores * weights).sum().backward()
    named = model.named_parameters()
    return scores.detach(), {n: p.grad.clone() for n, p in named if p.grad is not None}


@pytest.mark.parametrize(
    ("family", "with_types"),
    [(f, t) for f in FAMILIES for t in (False, True) if (f, t) != ("distilbert", True)],
)
@torch.inference_mode()
def test_states_are_plain_transformers_(make_encoder, make_table, family, with_types):
    """Padded or packed, the states of every token are those of plain transformers."""
    encoder = make_encoder(family)
    plain = copy.deepcopy(encoder)
    plain.set_attn_implementation("eager")
    table = make_table(LENGTHS, with_types=with_types)
    pad_id = encoder.config.pad_token_id
    model = make_model(encoder, "mean")
    assert encoder.config._attn_implementation == NAME
    batch = padded(table, pad_id)
    is_text = batch["attention_mask"]
    expected = plain(**batch).last_hidden_state[is_text]
    ours = model.states(**batch).last_hidden_state[is_text]
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    in_line = model.states(**packed(table, pad_id)).last_hidden_state[0]
    torch.testing.assert_close(in_line, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("multiple", [None, 8])
@pytest.mark.parametrize(("family", "pooling"), CASES)
def test_packed_is_padded(make_encoder, make_table, family, pooling, multiple):
    """Scores and gradients do not depend on how the texts are laid out."""
    model = make_model(make_encoder(family), pooling)
    pad_id = model.encoder.config.pad_token_id
    table = make_table(LENGTHS, with_types=family in ("bert", "electra", "roberta"))
    scores, gradients = answers(model, packed(table, pad_id, multiple))
    expected_scores, expected = answers(model, padded(table, pad_id))
    torch.testing.assert_close(scores, expected_scores, rtol=1e-5, atol=1e-5)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        atol = 1e-5 * max(gradient.abs().max().item(), 1)
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=atol)


@pytest.mark.parametrize("left_to_right", [False, True])
@pytest.mark.parametrize("rectangle_tokens", [0, 10, 1_000_000])
def test_rectangles_are_the_texts_one_by_one(
    monkeypatch, rectangle_tokens, left_to_right
):
    """However a CPU groups packed texts, each attends to itself alone."""
    monkeypatch.setattr(_attention, "RECTANGLE_TOKENS", rectangle_tokens)
    draws = torch.Generator().manual_seed(0)
    states = torch.randn(3, 1, 2, sum(LENGTHS), 8, generator=draws, dtype=torch.float64)
    weights = torch.randn(1, sum(LENGTHS), 2, 8, generator=draws, dtype=torch.float64)
    ends = torch.tensor([0, *LENGTHS]).cumsum(0).int()
    ours, theirs = states.clone().requires_grad_(), states.clone().requires_grad_()
    kind = {"scaling": 0.3, "left_to_right": left_to_right}
    found, _ = attend(None, *ours, None, cu_seq_lens=ends, longest=40, **kind)
    texts = zip(*(x.split(LENGTHS, dim=2) for x in theirs), strict=True)
    expected = torch.cat([attend(None, *qkv, None, **kind)[0] for qkv in texts], dim=1)
    torch.testing.assert_close(found, expected)
    gradients = [
        torch.autograd.grad((out * weights).sum(), x)[0]
        for out, x in ((found, ours), (expected, theirs))
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("family", "pooling"), CASES)
def test_packed_is_padded_in_bfloat16(make_encoder, make_table, family, pooling):
    """In bfloat16 the two layouts differ by no more than rounding."""
    model = make_model(make_encoder(family), pooling)
    pad_id = model.encoder.config.pad_token_id
    table = make_table(LENGTHS)
    exact, exact_gradients = answers(model, padded(table, pad_id))
    model.encoder.to(torch.bfloat16)
    scores, gradients = answers(model, packed(table, pad_id))
    others, other_gradients = answers(model, padded(table, pad_id))
    assert (scores - others).norm() < 2e-2 * others.norm()
    assert (scores - exact).norm() < 2e-2 * exact.norm()
    # Two entries that round alike may change places as the largest.
    tolerance = 0.15 if pooling == "max" else 4e-2
    for name in ("head.weight", next(n for n in gradients if "word_emb" in n)):
        difference = gradients[name].float() - other_gradients[name].float()
        assert difference.norm() < tolerance * exact_gradients[name].norm()


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "pooler"])
@torch.inference_mode()
def test_texts_in_a_pack_do_not_see_each_other(make_encoder, make_table, pooling):
    """Another text in one place changes no other text's vector, by no bit."""
    model = make_model(make_encoder("bert"), pooling)
    table = make_table(LENGTHS)
    before = model.vectors(**packed(table, 0, 8))
    table.ids[table.starts[3] : table.starts[3] + table.lengths[3]] = 7
    after = model.vectors(**packed(table, 0, 8))
    same = (before == after).all(1)
    assert same[: len(LENGTHS)].tolist() == [True] * 3 + [False] + [True] * 3


@pytest.mark.parametrize("family", ["modernbert", "deberta-v2"])
@torch.inference_mode()
def test_other_families_keep_their_attention(make_encoder, make_table, family):
    """A family whose attention is not the plain one gives its own states."""
    encoder = make_encoder(family, pad_token_id=0)
    plain = copy.deepcopy(encoder)
    model = make_model(encoder, "cls")
    assert encoder.config._attn_implementation == plain.config._attn_implementation
    assert not can_pack(encoder)
    batch = padded(make_table(LENGTHS), 0)
    expected = plain(**batch).last_hidden_state[:, 0]
    torch.testing.assert_close(model.vectors(**batch), expected, rtol=0, atol=1e-6)


def test_a_decoder_keeps_its_attention(make_encoder):
    """A BERT that only looks back is not made to look ahead."""
    encoder = make_encoder("bert", is_decoder=True)
    make_model(encoder, "mean")
    assert encoder.config._attn_implementation != NAME


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("entry", [attend_plainly, attend])
def test_plain_products_are_torch_s(dtype, with_mask, entry):
    """Written out or fused, attention is torch's, with a mask and without."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 7, 8, generator=generator).to(dtype)
    mask = torch.ones(2, 1, 1, 7, dtype=torch.bool)
    mask[1, ..., 3:] = False
    mask = mask if with_mask else None
    expected = functional.scaled_dot_product_attention(q, k, v, mask, scale=0.3)
    if entry is attend_plainly:
        ours = attend_plainly(q, k, v, mask, 0.3, 0.0)
    else:
        ours = attend(None, q, k, v, mask, scaling=0.3)[0].transpose(1, 2)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("is_packed", [False, True])
def test_attention_drops_shares(is_packed):
    """With dropout attention varies around what it is without."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 6, 8, generator=generator)
    ends = torch.tensor([0, 2, 6], dtype=torch.int32) if is_packed else None
    inputs = {"scaling": 0.3, "cu_seq_lens": ends, "longest": 4}
    exact, _ = attend(None, q, k, v, None, **inputs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = torch.stack(
            [attend(None, q, k, v, None, dropout=0.2, **inputs)[0] for _ in range(2000)]
        )
    assert (drawn.std(0) > 0.01).all()
    torch.testing.assert_close(drawn.mean(0), exact, rtol=0, atol=0.05)


def test_our_name_stays_at_home(make_encoder, make_table, tmp_path):
    """What is saved does not name our attention, which others do not have."""
    model = make_model(make_encoder("bert"), "mean")
    model.encoder.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text()
    assert NAME not in json.dumps(json.loads(pack_model(model)["config"]))
    reread = AutoModel.from_pretrained(tmp_path).eval()
    batch = padded(make_table(LENGTHS), 0)
    is_text = batch["attention_mask"]
    ours = model.states(**batch).last_hidden_state[is_text]
    theirs = reread(**batch).last_hidden_state[is_text]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", [*FAMILIES, "modernbert"])
def test_can_pack(make_encoder, family):
    """Packing takes our attention, whatever the size of a head."""
    changes = {"pad_token_id": 0} if family == "modernbert" else {}
    encoder = make_encoder(family, **changes)
    make_model(encoder, "mean")
    assert can_pack(encoder) is (family in FAMILIES)


@pytest.mark.parametrize(
    ("size", "expected"), [(8, True), (12, False), (256, True), (264, False)]
)
def test_kernel_takes_heads_of_some_sizes(size, expected):
    """The kernel of a GPU reads heads of eights, and none of more than 256."""
    assert fits_kernel(size) is expected


def test_heads_of_any_size_are_packed_on_a_cpu(make_encoder, make_table):
    """Heads of 12, which no kernel takes, have the answers of padded texts."""
    model = make_model(make_encoder("bert", hidden_size=48), "mean")
    table = make_table(LENGTHS)
    scores, gradients = answers(model, packed(table, 0))
    expected_scores, expected = answers(model, padded(table, 0))
    torch.testing.assert_close(scores, expected_scores, rtol=1e-5, atol=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "offset"),
    [("bert", 0), ("distilbert", 0), ("roberta", 2), ("xlm-roberta", 2), ("mpnet", 2)],
)
def test_position_offset(make_encoder, family, offset):
    """RoBERTa and its kin count positions from behind the padding's."""
    assert position_offset(make_encoder(family, pad_token_id=1)) == offset


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("multiple", [None, 64])
@pytest.mark.parametrize(("family", "pooling"), CASES)
def test_kernel_is_the_padded_reference(
    make_encoder, make_table, family, pooling, multiple
):
    """Packed on a GPU in bfloat16: the scores and gradients of padded float32."""
    model = make_model(make_encoder(family), pooling)
    pad_id = model.encoder.config.pad_token_id
    table = make_table(LENGTHS)
    exact, exact_gradients = answers(model, padded(table, pad_id))
    model.cuda().encoder.to(torch.bfloat16)
    batch = packed(table, pad_id, multiple)
    batch = {n: v.cuda() if torch.is_tensor(v) else v for n, v in batch.items()}
    scores, gradients = answers(model, batch)
    assert (scores.cpu() - exact).norm() < 2e-2 * exact.norm()
    assert gradients.keys() == exact_gradients.keys()
    tolerance = 0.15 if pooling == "max" else 4e-2
    for name in ("head.weight", next(n for n in gradients if "word_emb" in n)):
        difference = gradients[name].float().cpu() - exact_gradients[name]
        assert difference.norm() < tolerance * exact_gradients[name].norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_kernel_drops_shares(make_encoder, make_table):
    """The kernel's dropout varies the scores, and not without being asked to."""
    encoder = make_encoder("bert", attention_probs_dropout_prob=0.3)
    model = make_model(encoder, "mean").cuda()
    model.encoder.to(torch.bfloat16)
    batch = packed(make_table(LENGTHS), 0)
    batch = {n: v.cuda() if torch.is_tensor(v) else v for n, v in batch.items()}
    assert torch.equal(model(**batch), model(**batch))
    for module in model.modules():
        is_attention = type(module).__name__ == "BertSelfAttention"
        module.training = is_attention
    assert not torch.equal(model(**batch), model(**batch))
