import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModel, BertForSequenceClassification

from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._post_processing import First
from sklearn_bert.model._text_model import TextModel

IDS = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]])
MASK = IDS != 0


def make_model(checkpoint, **settings):
    model = TextModel(load_checkpoint(checkpoint).encoder, **settings)
    return model.eval()


@torch.inference_mode()
def test_scores_are_plain_transformers_(make_checkpoint):
    """Pooler and head give the scores of BertForSequenceClassification."""
    folder = make_checkpoint(pooling=None)
    theirs = BertForSequenceClassification.from_pretrained(folder, num_labels=3).eval()
    ours = make_model(folder, pooling="pooler", n_outputs=3)
    ours.head.load_state_dict(theirs.classifier.state_dict())
    expected = theirs(input_ids=IDS, attention_mask=MASK).logits
    torch.testing.assert_close(ours(IDS, MASK), expected, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_token_types_reach_the_encoder(checkpoint):
    """The second half of a pair is told apart."""
    types = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]])
    plain = AutoModel.from_pretrained(checkpoint).eval()
    states = plain(input_ids=IDS, attention_mask=MASK, token_type_ids=types)
    ours = make_model(checkpoint, pooling="cls")
    expected = states.last_hidden_state[:, 0]
    torch.testing.assert_close(ours.vectors(IDS, MASK, types), expected)
    assert not torch.equal(ours.vectors(IDS, MASK), ours.vectors(IDS, MASK, types))


@torch.inference_mode()
def test_normalized_vectors_have_length_one(checkpoint):
    """Normalised vectors have length 1 and keep their direction."""
    plain = make_model(checkpoint, pooling="mean").vectors(IDS, MASK)
    model = make_model(checkpoint, pooling="mean", normalize=True)
    unit = model.finish(model.vectors(IDS, MASK))
    torch.testing.assert_close(unit, functional.normalize(plain))


def test_model_without_head_gives_vectors(checkpoint):
    """Without outputs the scores are the vectors."""
    model = make_model(checkpoint, pooling="mean")
    assert torch.equal(model(IDS, MASK), model.vectors(IDS, MASK))


def test_head_works_in_float32(checkpoint):
    """An encoder in bfloat16 gives float32 scores, so that close scores do not tie."""
    model = make_model(checkpoint, pooling="mean", n_outputs=2)
    model.encoder.to(torch.bfloat16)
    scores = model(IDS, MASK)
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, scores.bfloat16().float())


@pytest.mark.parametrize(("pooling", "trained"), [("mean", False), ("pooler", True)])
def test_unused_pooler_is_frozen(checkpoint, pooling, trained):
    """A pooler that takes no part is not trained, and not decayed either."""
    model = make_model(checkpoint, pooling=pooling, n_outputs=2)
    assert {p.requires_grad for p in model.encoder.pooler.parameters()} == {trained}
    assert all(p.requires_grad for p in model.head.parameters())


def test_head_starts_small(checkpoint):
    """The head starts as BERT's: deviation 0.02 and no bias."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = make_model(checkpoint, pooling="mean", n_outputs=100).head
    assert head.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not head.bias.any()


@torch.inference_mode()
def test_steps_come_before_the_scaling(checkpoint):
    """Shortened vectors have length 1 too, and as many entries as are told."""
    plain = make_model(checkpoint, pooling="mean").vectors(IDS, MASK)
    model = make_model(checkpoint, pooling="mean", steps=[First(5)], normalize=True)
    finished = model.finish(model.vectors(IDS, MASK))
    torch.testing.assert_close(finished, functional.normalize(plain[:, :5]))
    assert model.n_features == 5


@pytest.mark.parametrize("trainable", ["all", "head", 1])
def test_attention_learns_with_the_head(checkpoint, trainable):
    """Whatever else learns, attention does, and a linear step does not."""
    model = make_model(
        checkpoint,
        pooling="attention",
        n_outputs=2,
        trainable=trainable,
        steps=[nn.Linear(32, 32)],
    )
    assert {p.requires_grad for p in model.attention.parameters()} == {True}
    assert {p.requires_grad for p in model.steps.parameters()} == {False}
    model(IDS, MASK).square().sum().backward()
    assert model.attention.query.grad.any()
