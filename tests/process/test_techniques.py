"""Techniques are switched in blocks, and change no more than the work they save."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_bert._process._cache import BoundedCache
from sklearn_bert._process._techniques import OFF, TECHNIQUES, uses, using, without
from sklearn_bert.model._attention import NAME, use_own_attention
from sklearn_bert.model._dropout import Dropout, use_own_dropout
from sklearn_bert.training._examples import ShuffledBatches


def in_use():
    return {name for name in TECHNIQUES if uses(name)}


def test_measured_techniques_are_on():
    """All are on, except for the two that nobody has measured."""
    assert in_use() == set(TECHNIQUES) - OFF
    assert {"cuda_graphs", "gpu_reservation"} == OFF


def test_blocks_may_lie_in_each_other():
    """A block adds to the one around it, and gives back what it changed."""
    before = in_use()
    with without("packing"):
        with using("cuda_graphs"), without("token_cache", "own_dropout"):
            changed = before - {"packing", "token_cache", "own_dropout"}
            assert in_use() == changed | {"cuda_graphs"}
        assert in_use() == before - {"packing"}
    assert in_use() == before


def test_an_error_gives_back():
    """After an error in a block all is as before."""
    before = in_use()
    with pytest.raises(KeyError, match="inside"), without("packing"):
        raise KeyError("inside")
    assert in_use() == before


@pytest.mark.parametrize("switch", [using, without])
def test_a_name_that_is_none_is_refused(switch):
    """A misspelt technique is an error, and changes nothing."""
    before = in_use()
    with pytest.raises(ValueError, match="no technique 'pakcing'; expected some of"):
        switch("pakcing")
    assert in_use() == before


def test_a_cache_that_is_off_computes_all():
    """Without its technique a cache keeps nothing, and uses nothing it has kept."""
    cache = BoundedCache(2**20, "token_cache")
    calls = []

    def compute(places):
        calls.append(places)
        return [place * 10 for place in places]

    for _ in range(2):
        with without("token_cache"):
            assert cache.get(["a", "a", "b"], compute, len) == [0, 10, 20]
    assert calls == [[0, 1, 2]] * 2
    assert cache.info()["entries"] == 0


def test_own_parts_stay_away(make_encoder):
    """Without them an encoder keeps its dropout and its attention."""
    encoder = make_encoder("bert", dropout=0.1)
    with without("own_attention", "own_dropout"):
        use_own_attention(encoder)
        use_own_dropout(encoder)
    assert encoder.config._attn_implementation != NAME
    kinds = {type(m) for m in encoder.modules() if isinstance(m, nn.Dropout)}
    assert kinds == {nn.Dropout}
    use_own_dropout(encoder)
    kinds = {type(m) for m in encoder.modules() if isinstance(m, nn.Dropout)}
    assert kinds == {Dropout}


def test_batches_in_random_order():
    """Without similar lengths a batch is cut from a plain shuffle."""
    lengths = np.arange(64)
    plain = np.random.default_rng(0).permutation(64)
    with without("batches_of_similar_length"):
        batches = list(ShuffledBatches(lengths, 8, np.random.default_rng(0)))
    np.testing.assert_array_equal(np.concatenate(batches), plain)


@pytest.mark.parametrize("technique", ["compact_embedding", "feature_cache"])
def test_a_technique_changes_no_result(make_net, data, technique):
    """Weights, losses and scores are the same with a technique and without."""
    settings = {"trainable": "all" if technique == "compact_embedding" else "head"}
    settings |= {"weight_decay": 1.0, "fingerprint": "of test_techniques"}
    ours = make_net(**settings).fit(data)
    with without(technique):
        plain = make_net(**settings).fit(data)
        scores = plain.scores(data.table)
    np.testing.assert_allclose(ours.scores(data.table), scores, rtol=0, atol=1e-5)
    for name, weight in plain.module.state_dict().items():
        found = ours.module.state_dict()[name]
        torch.testing.assert_close(found, weight, rtol=1e-4, atol=1e-5)
