import pytest
import torch

from sklearn_bert.model._pooling import pool, pool_packed


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
def test_no_mask_means_no_padding(states, how):
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
