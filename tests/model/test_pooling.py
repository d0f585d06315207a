import numpy as np
import pytest
import torch

from sklearn_bert.model._pooling import AttentionPooling, pool, pool_packed


@pytest.fixture
def states():
    return torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))


LENGTHS = [5, 2, 1]
MASK = torch.arange(5) < torch.tensor(LENGTHS)[:, None]

REFERENCE = {
    "cls": lambda tokens: tokens[0],
    "mean": lambda tokens: tokens.mean(0),
    "max": lambda tokens: tokens.max(0).values,
}


@pytest.mark.parametrize("how", REFERENCE)
def test_padding_takes_no_part(states, how):
    """Each text is pooled over its own tokens only."""
    expected = [REFERENCE[how](row[:n]) for row, n in zip(states, LENGTHS, strict=True)]
    torch.testing.assert_close(pool(states, MASK, how), torch.stack(expected))


@pytest.mark.parametrize("how", REFERENCE)
def test_pooling_without_mask_reads_all_tokens(states, how):
    """None pools over all tokens, as a full mask does."""
    full = torch.ones(3, 5, dtype=torch.bool)
    torch.testing.assert_close(pool(states, None, how), pool(states, full, how))


@pytest.mark.parametrize("how", REFERENCE)
def test_vectors_are_float32(states, how):
    """States in bfloat16 are pooled in float32."""
    assert pool(states.bfloat16(), MASK, how).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("how", REFERENCE)
def test_packed_texts_are_pooled_alone(how, dtype):
    """Each text of a pack is pooled over its own tokens, in float32; gradients too."""
    lengths = [5, 1, 8, 2, 1]
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(17, 4, generator=generator).to(dtype).requires_grad_(True)
    ends = torch.tensor([0, 5, 6, 14, 16, 17], dtype=torch.int32)
    expected = torch.stack(
        [REFERENCE[how](text) for text in states.float().split(lengths)]
    )
    vectors = pool_packed(states, ends, how)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors, expected)
    weights = torch.randn(5, 4, generator=generator)
    (ours,) = torch.autograd.grad((vectors * weights).sum(), states)
    (theirs,) = torch.autograd.grad((expected * weights).sum(), states)
    torch.testing.assert_close(ours, theirs)


# -- attention ---------------------------------------------------------------------


@pytest.fixture
def attention():
    """Additive attention of width 4 in which nothing is 0."""
    generator = torch.Generator().manual_seed(1)
    attention = AttentionPooling(4)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return attention


def pool_by_hand(attention, states, upstream):
    """One text's vector, and by the chain rule the gradients of vector . upstream.

    states and upstream are arrays, (n_tokens, width) and (width,).
    """
    W, b, q = [
        p.detach().double().numpy()
        for p in (attention.hidden.weight, attention.hidden.bias, attention.query)
    ]
    u = np.tanh(states @ W.T + b)
    exponentials = np.exp(u @ q)
    a = exponentials / exponentials.sum()
    d_a = states @ upstream
    d_scores = a * (d_a - a @ d_a)
    d_sums = d_scores[:, None] * q * (1 - u**2)
    gradients = {
        "hidden.weight": d_sums.T @ states,
        "hidden.bias": d_sums.sum(0),
        "query": d_scores @ u,
    }
    return a @ states, gradients, a[:, None] * upstream + d_sums @ W


@pytest.fixture(params=["padded", "packed"])
def pool_attentively(request, attention):
    """Pool rows of states by attention, from one of the two layouts."""

    def attend(states, attention=attention):
        if request.param == "padded":
            return attention(states, MASK)
        ends = torch.tensor([0, 5, 7, 8], dtype=torch.int32)
        return attention.packed(states[MASK], ends)

    return attend


def test_attention_is_the_formula(attention, states, pool_attentively):
    """Vectors and all gradients are those of the formulas, written out in NumPy."""
    upstream = torch.randn(3, 4, generator=torch.Generator().manual_seed(2))
    texts = [
        pool_by_hand(attention, row[:n].double().numpy(), up.double().numpy())
        for row, n, up in zip(states, LENGTHS, upstream, strict=True)
    ]
    states.requires_grad_(True)
    vectors = pool_attentively(states)
    (vectors * upstream).sum().backward()
    np.testing.assert_allclose(vectors.detach(), [t[0] for t in texts], atol=1e-5)
    for name, parameter in attention.named_parameters():
        expected = sum(gradients[name] for _, gradients, _ in texts)
        np.testing.assert_allclose(parameter.grad, expected, atol=1e-5)
    of_states = np.concatenate([t[2] for t in texts])
    np.testing.assert_allclose(states.grad[MASK], of_states, atol=1e-5)
    assert not states.grad[~MASK].any()


def test_attention_has_the_gradients_of_finite_differences(
    attention, states, pool_attentively
):
    """In float64 the gradients are those that small steps show."""
    whole = torch.nn.Module()
    whole.attention, whole.forward = attention.double(), pool_attentively
    weights = {n: p.detach().clone() for n, p in whole.named_parameters()}

    def vectors(states, *values):
        named = dict(zip(weights, values, strict=True))
        return torch.func.functional_call(whole, named, (states,))

    inputs = [x.requires_grad_(True) for x in (states.double(), *weights.values())]
    assert torch.autograd.gradcheck(vectors, inputs)


@pytest.mark.parametrize("padding", [0.0, 7.0, 1e30])
def test_attention_sees_no_padding(attention, states, padding):
    """Whatever stands in the padding: the vector is that of the text alone."""
    alone = [attention(row[None, :n]) for row, n in zip(states, LENGTHS, strict=True)]
    states[~MASK] = padding
    torch.testing.assert_close(attention(states, MASK), torch.cat(alone))


def test_attention_begins_as_the_mean(states, pool_attentively):
    """New attention gives means, and its query learns from the first gradient on."""
    attention = AttentionPooling(4)
    vectors = pool_attentively(states, attention)
    torch.testing.assert_close(vectors, pool(states, MASK, "mean"))
    vectors.square().sum().backward()
    assert attention.query.grad.all()


@pytest.mark.parametrize("sign", [1, -1])
def test_attention_of_large_scores_is_finite(attention, states, pool_attentively, sign):
    """A query so large that exponentials overflow picks the best token."""
    with torch.no_grad():
        attention.query.mul_(sign * 1e6)
    scores = torch.tanh(attention.hidden(states)) @ attention.query
    best = scores.masked_fill(~MASK, -torch.inf).argmax(1)
    vectors = pool_attentively(states)
    torch.testing.assert_close(vectors, states[torch.arange(3), best])


def test_attention_works_in_float32(attention, states, pool_attentively):
    """States in bfloat16 are pooled as the same states in float32."""
    rounded = states.bfloat16()
    vectors = pool_attentively(rounded)
    assert vectors.dtype == torch.float32
    assert torch.equal(vectors, pool_attentively(rounded.float()))
