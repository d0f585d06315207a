"""Parts of a model that learn while the rest stays: frozen layers, and adapters."""

import copy
import sys

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from sklearn_bert._process import _cache
from sklearn_bert.compute import _features
from sklearn_bert.training import _update
from sklearn_bert.training._callbacks import BestWeights


@pytest.fixture(scope="session")
def shallow_checkpoint(two_layer_checkpoint):
    """Two layers: each part is compared with the whole."""
    return two_layer_checkpoint


@pytest.fixture
def features(monkeypatch):
    """A cache of features of this test's own."""
    cache = _cache.BoundedCache(2**20)
    monkeypatch.setattr(_features, "FEATURES", cache)
    return cache


def snapshots_of(net):
    return {n: p.detach().clone() for n, p in net.module.named_parameters()}


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "pooler"])
@pytest.mark.parametrize("trainable", ["head", 1, 2])
def test_training_a_part_is_the_plain_loop(
    make_net,
    data,
    features,
    train_plainly,
    assert_trained_alike,
    trainable,
    pooling,
    is_kept,
):
    """What learns from kept features, or without, learns as in a hand-written loop."""
    if not is_kept:
        features.max_bytes = 0
    net = make_net(trainable=trainable, pooling=pooling, weight_decay=0.1)
    before = snapshots_of(net)
    frozen = {n for n, p in net.module.named_parameters() if not p.requires_grad}
    plain = train_plainly(net, data)
    seen = []

    class Look(Callback):
        def on_train_begin(self, net, X, **kwargs):
            seen.append(type(X.table).__name__)

    net.callbacks = [Look()]
    net.fit(data)
    is_a_table = is_kept or trainable == "head"  # vectors are small in any case
    assert seen == ["FeatureTable" if is_a_table else "TokenTable"]
    assert_trained_alike(net, plain)
    for name, parameter in net.module.named_parameters():
        assert torch.equal(parameter, before[name]) == (name in frozen)


@pytest.mark.parametrize("trainable", ["head", 1])
def test_validation_of_a_part(make_net, data, trainable):
    """Validation between epochs is that of the whole model, scored afterwards."""
    callbacks = [BestWeights(9)]
    net = make_net(trainable=trainable, callbacks=callbacks)
    net.fit(data, data)
    best = max(net.history, key=lambda row: (row["valid_score"], -row["valid_loss"]))
    right = net.scores(data.table).argmax(1) == data.targets
    assert right.mean() == pytest.approx(best["valid_score"])


@pytest.mark.parametrize("trainable", ["head", 1, 2])
def test_bfloat16_trains_a_part_as_float32(make_net, data, trainable):
    """A part learns in bfloat16 as in float32, and what is frozen is not rounded."""
    exact = make_net(trainable=trainable).fit(data)
    net = make_net(trainable=trainable, precision="bfloat16")
    before = snapshots_of(net)
    net.fit(data)
    losses = [[row["train_loss"] for row in n.history] for n in (exact, net)]
    np.testing.assert_allclose(*losses, atol=0.02)
    after = dict(net.module.named_parameters())
    assert all(parameter.dtype == torch.float32 for parameter in after.values())
    frozen = {n for n, parameter in after.items() if not parameter.requires_grad}
    assert "encoder.pooler.dense.weight" in frozen
    for name in frozen:
        assert torch.equal(after[name], before[name])


@pytest.fixture
def count_embedded():
    """Count the texts that pass through a net's embeddings."""
    handles = []

    def count(net):
        n_texts = []
        handle = net.module.encoder.embeddings.register_forward_pre_hook(
            lambda module, args, inputs: n_texts.append(len(inputs["input_ids"])),
            with_kwargs=True,
        )
        handles.append(handle)
        return n_texts

    yield count
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("trainable", ["head", 1])
def test_features_are_computed_once(
    make_net, data, features, count_embedded, trainable
):
    """Epochs, later calls and other nets of the checkpoint come back to them."""
    n_distinct = len(data.table.distinct()[0])
    net = make_net(trainable=trainable, fingerprint="a", max_epochs=3)
    embedded = count_embedded(net)
    net.fit(data)
    scores = net.scores(data.table)
    assert sum(embedded) == n_distinct
    other = make_net(trainable=trainable, fingerprint="a")
    embedded = count_embedded(other)
    other.module.load_state_dict(net.module.state_dict())
    np.testing.assert_allclose(other.scores(data.table), scores, rtol=0, atol=1e-6)
    assert sum(embedded) == 0
    features.clear()
    np.testing.assert_allclose(other.scores(data.table), scores, rtol=0, atol=1e-6)
    assert sum(embedded) == n_distinct


@pytest.mark.parametrize(
    "other",
    [
        {"fingerprint": "b"},
        {"fingerprint": None},
        {"pooling": "pooler"},
        {"precision": "bfloat16"},
        {"trainable": 1},
    ],
)
def test_features_are_not_mixed_up(make_net, data, features, other):
    """Another checkpoint, pooling, precision or cut has features of its own."""
    settings = {"trainable": "head", "fingerprint": "a"}
    make_net(**settings).vectors(data.table)
    n_before = features.info()["hits"]
    net = make_net(**(settings | other))
    scores = net.scores(data.table)
    assert features.info()["hits"] == n_before
    features.clear()
    np.testing.assert_array_equal(net.scores(data.table), scores)


def test_streams_are_not_remembered(make_net, data, features):
    """With remember=False nothing is kept, and the scores are the same."""
    net = make_net(trainable="head", fingerprint="a")
    scores = net.scores(data.table, remember=False)
    assert features.info()["entries"] == 0
    np.testing.assert_array_equal(net.scores(data.table), scores)
    assert features.info()["entries"] > 0


@pytest.mark.parametrize("method", ["scores", "vectors"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("trainable", ["head", 1, 2])
def test_answers_of_a_part_are_the_whole_s(
    make_net, data, features, trainable, precision, method
):
    """By features or by the whole model, scores and vectors are the same."""
    net = make_net(trainable=trainable, fingerprint="a", precision=precision)
    whole = make_net(precision=precision)
    whole.module.load_state_dict(net.module.state_dict())
    expected = getattr(whole, method)(data.table)
    tolerance = 1e-5 if precision == "float32" else 3e-2
    for max_bytes in (2**20, 0):
        features.max_bytes = max_bytes
        ours = getattr(net, method)(data.table)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance)


def test_an_adapter_trains_only_its_matrices(make_net, data):
    """LoRA: low-rank matrices and head learn; what is left is a plain encoder."""
    net = make_net(adapter="lora", weight_decay=0.5, lr=1e-2)
    before = copy.deepcopy(net.module.state_dict())
    kinds = [type(m) for m in net.module.modules()]
    kept = {}

    class Look(Callback):
        def on_train_begin(self, net, **kwargs):
            named = net.module_.named_parameters()
            self.learning = {n for n, p in named if p.requires_grad}
            kept["learning"] = self.learning

        def on_train_end(self, net, X, **kwargs):
            module = net.module_.eval()
            inputs = net.feed_(X.table, X.rows)
            kept["scores"] = module(**inputs).detach().numpy()

    net.callbacks = [Look()]
    net.fit(data)
    heads = {name for name in kept["learning"] if "lora_" not in name}
    assert heads == {"head.weight", "head.bias"}
    assert net.history[-1]["train_loss"] < net.history[0]["train_loss"]
    after = net.module.state_dict()
    assert after.keys() == before.keys()
    assert [type(m) for m in net.module.modules()] == kinds
    np.testing.assert_allclose(net.scores(data.table), kept["scores"], atol=1e-5)
    untouched = {
        name
        for name, value in after.items()
        if name.startswith("encoder.") and (value.ndim < 2 or "embedding" in name)
    }
    assert len(untouched) > 10
    for name in untouched:
        assert torch.equal(after[name], before[name])
    query = "encoder.encoder.layer.0.attention.self.query.weight"
    change = after[query] - before[query]
    assert 1 <= torch.linalg.matrix_rank(change, rtol=1e-3) <= 8


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_adapter_is_merged(make_net, data, error):
    """However the training ends, no adapter stays in the model."""
    net = make_net(adapter="lora")
    names = list(net.module.state_dict())

    def fail(batch):
        raise error("on purpose")

    net.train_step = fail
    with pytest.raises(error, match="on purpose"):
        net.fit(data)
    assert list(net.module.state_dict()) == names
    assert sum(type(m) is nn.Linear for m in net.module.modules()) == 14
    assert np.isfinite(net.scores(data.table)).all()


def test_without_peft_nothing_is_changed(make_net, data, monkeypatch):
    """A fit that cannot begin leaves the model as it was."""
    monkeypatch.setitem(sys.modules, "peft", None)
    net = make_net(adapter="lora")
    before = snapshots_of(net)
    with pytest.raises(ImportError, match=r"sklearn-bert\[lora\]"):
        net.fit(data)
    for name, parameter in net.module.named_parameters():
        assert torch.equal(parameter, before[name])


def test_a_fit_that_fails_to_begin_leaves_the_weights(make_net, data, monkeypatch):
    """Memory that runs out while the optimizer is made rounds and cuts no weight."""

    def fail(*args, **settings):
        raise torch.OutOfMemoryError("no room for moments")

    monkeypatch.setattr(_update, "parameter_groups", fail)
    net = make_net(precision="bfloat16")
    before = snapshots_of(net)
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        net.fit(data)
    for name, parameter in net.module.named_parameters():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, before[name])
