import gc
import weakref

import torch

from sklearn_bert.compute._working_copy import LastUsed, copy_in_place
from sklearn_bert.model._text_model import TextModel


class Thing:
    pass


def test_the_last_owner_s_is_kept():
    """What was made for the last owner is given again; for others it is made anew."""
    kept, first, second, made = LastUsed(), Thing(), Thing(), []

    def make():
        made.append(Thing())
        return made[-1]

    assert kept.of(first, make) is kept.of(first, make)
    assert kept.of(second, make) is made[1]
    assert kept.of(first, make) is made[2]
    kept.forget(second)
    assert kept.of(first, make) is made[2]
    kept.forget(first)
    assert kept.of(first, make) is made[3]


def test_working_copy_goes_with_its_owner():
    """The copy goes with its owner, and before another one is made."""
    kept, first, second = LastUsed(), Thing(), Thing()
    copy = weakref.ref(kept.of(first, Thing))

    def make():
        gc.collect()
        assert copy() is None
        return Thing()

    copy_of_second = weakref.ref(kept.of(second, make))
    assert copy_of_second() is not None
    del second
    gc.collect()
    assert copy_of_second() is None


def test_a_copy_computes_and_the_original_rests(make_encoder):
    """The copy is in another number format, but for the head; the original is not."""
    model = TextModel(make_encoder("bert"), pooling="mean", n_outputs=2).eval()
    before = {n: p.clone() for n, p in model.named_parameters()}
    copy = copy_in_place(model, torch.device("cpu"), torch.bfloat16)
    assert {p.dtype for p in copy.encoder.parameters()} == {torch.bfloat16}
    assert copy.head.weight.dtype == torch.float32
    assert not any(p.requires_grad for p in copy.encoder.parameters())
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.dtype == torch.float32
    ids = torch.tensor([[3, 4, 5]])
    torch.testing.assert_close(copy(ids), model(ids), rtol=0.05, atol=0.05)
