import copy
import gc
import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from sklearn_bert.model import TextModel, load_checkpoint
from sklearn_bert.text import ShuffledBatches, check_texts
from sklearn_bert.training import (
    BertNet,
    BestWeights,
    Examples,
    FitProgress,
    _device,
    _net,
)


@pytest.fixture
def data(checkpoint, reviews):
    """A token table, codes and weights."""
    texts, labels = reviews
    table = load_checkpoint(checkpoint).text_tokenizer(None)(check_texts(texts))
    codes = (np.array(labels) == "pos").astype(np.int64)
    return Examples(
        table, np.arange(len(texts)), codes, np.ones(len(texts), dtype=np.float32)
    )


@pytest.fixture
def make_net(checkpoint, monkeypatch):
    # bfloat16 is tested on every CPU, even where it has to be emulated.
    monkeypatch.setattr(_device, "_has_native_bfloat16", lambda device: True)

    def make(**settings):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            encoder = load_checkpoint(checkpoint, dropout=0.0).encoder
            model = TextModel(encoder, pooling="mean", n_outputs=2)
        defaults = {
            "placement": "cpu",
            "precision": "float32",
            "pad_id": 0,
            "lr": 1e-3,
            "batch_size": 8,
            "max_epochs": 2,
        }
        return BertNet(model, **(defaults | settings))

    return make


def test_training_is_the_hand_written_loop(make_net, data, checkpoint, reviews):
    """Losses and weights are those of a plain PyTorch loop on the same batches."""
    net = make_net(weight_decay=0.1, warmup=0.2)
    start = copy.deepcopy(net.module.head.state_dict())
    net.fit(data)

    encoder = AutoModel.from_pretrained(
        checkpoint, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    ).train()
    head = torch.nn.Linear(32, 2)
    head.load_state_dict(start)
    named = [(n, p) for n, p in encoder.named_parameters() if "pooler" not in n]
    named += list(head.named_parameters())
    optimizer = torch.optim.AdamW(
        [{"params": [p], "weight_decay": 0.1 * (p.ndim > 1)} for _, p in named]
    )
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    batches = ShuffledBatches(data.table.lengths, 8, np.random.default_rng(0))
    assert len(batches) == 5  # ten updates, the first two of them warm-up
    update, losses = 0, []
    for _ in range(2):
        epoch = []
        for rows in batches:
            texts = [reviews[0][row] for row in rows]
            batch = tokenizer(texts, padding=True, return_tensors="pt")
            states = encoder(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None]
            vectors = (states * mask).sum(1) / mask.sum(1)
            scores = head(functional.layer_norm(vectors, (32,)))
            loss = functional.cross_entropy(scores, torch.tensor(data.targets[rows]))
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
            share = (update + 1) / 3 if update < 2 else (10 - update) / 8
            for group, (name, _) in zip(optimizer.param_groups, named, strict=True):
                group["lr"] = 1e-3 * share * (10 if name in ("weight", "bias") else 1)
            optimizer.step()
            optimizer.zero_grad()
            update += 1
            epoch.append(loss.item())
        losses.append(np.mean(epoch))

    ours = [row["train_loss"] for row in net.history]
    np.testing.assert_allclose(ours, losses, rtol=1e-5)
    trained = net.module.encoder.state_dict()
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(trained[name], value, rtol=1e-3, atol=1e-5)


def test_bfloat16_learns_as_float32_does(make_net, data):
    """Masters keep training in bfloat16 close to float32."""
    exact, rounded = [make_net(precision=p) for p in ("float32", "bfloat16")]
    exact.fit(data)
    rounded.fit(data)
    difference = exact.history[-1]["train_loss"] - rounded.history[-1]["train_loss"]
    assert abs(difference) < 0.02


def test_history_has_every_figure(make_net, data):
    """Each epoch records losses, score, rate and speed; the rate ends near 0."""
    net = make_net(valid_examples=data, max_epochs=3).fit(data)
    assert [row["epoch"] for row in net.history] == [1, 2, 3]
    for row in net.history:
        assert row["texts_per_second"] == pytest.approx(40 / row["seconds"])
        assert 0 <= row["valid_score"] <= 1
        assert row["valid_loss"] > 0
    assert net.history[-1]["learning_rate"] == pytest.approx(1e-3 / 15 / 0.9, rel=0.1)


def test_validation_is_the_loss_of_the_weights(make_net, data):
    """Validation loss and score are computed without dropout, weighted."""
    weights = np.linspace(0.1, 2, 40, dtype=np.float32)
    valid = Examples(data.table, data.rows, data.targets, weights)
    net = make_net(valid_examples=valid, max_epochs=1).fit(data)
    scores = torch.from_numpy(net.scores(data.table))
    losses = functional.cross_entropy(
        scores, torch.from_numpy(data.targets), reduction="none"
    )
    right = scores.argmax(1).numpy() == data.targets
    row = net.history[-1]
    assert row["valid_loss"] == pytest.approx(np.average(losses, weights=weights))
    assert row["valid_score"] == pytest.approx(np.average(right, weights=weights))


class At(Callback):
    """Do something at the n-th batch."""

    def __init__(self, n, action):
        self.n = n
        self.action = action

    def on_batch_end(self, net, **kwargs):
        self.n -= 1
        if self.n == 0:
            self.action(net)


def spoil(net):
    with torch.no_grad():
        net.module_.head.bias.fill_(torch.nan)


@pytest.mark.parametrize("check_every", [1, 3, 25])
def test_infinite_loss_names_the_update(make_net, data, monkeypatch, check_every):
    """A loss that is not finite ends the training, naming the first such update."""
    monkeypatch.setitem(_net.UPDATES_PER_LOSS_CHECK, "cpu", check_every)
    net = make_net(callbacks=[At(7, spoil)])
    with pytest.raises(FloatingPointError, match="loss of update 8 is nan"):
        net.fit(data)


def test_ctrl_c_propagates(make_net, data, monkeypatch):
    """A KeyboardInterrupt in the loop leaves the training as itself."""
    net = make_net()
    monkeypatch.setattr(
        net, "train_step", lambda batch: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        net.fit(data)


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin"])
def test_the_caller_s_error_is_shown(make_net, data, hook):
    """An error of a callback is not hidden by the clean-up after it."""

    class Failing(Callback):
        pass

    def fail(self, net, dataset_valid=None, **kwargs):
        raise ValueError("of the caller")

    setattr(Failing, hook, fail)
    net = make_net(callbacks=[Failing(), BestWeights(2), FitProgress()])
    with pytest.raises(ValueError, match="of the caller"):
        net.fit(data)


def test_callbacks_see_the_gradients(make_net, data):
    """skorch's hook after the backward pass is called with the gradients."""

    class Norms(Callback):
        norms: ClassVar[list[float]] = []

        def on_grad_computed(self, net, named_parameters, **kwargs):
            self.norms.append(sum(p.grad.norm().item() for _, p in named_parameters))

    make_net(max_epochs=1, callbacks=[Norms()]).fit(data)
    assert len(Norms.norms) == 5
    assert all(norm > 0 for norm in Norms.norms)


def test_skorch_s_early_stopping_stops(make_net, data):
    """A skorch callback that stops by KeyboardInterrupt ends the training well."""
    stopping = EarlyStopping(monitor="train_loss", patience=1, threshold=1e9, sink=str)
    net = make_net(max_epochs=9, callbacks=[stopping]).fit(data)
    assert len(net.history) == 2
    assert np.isfinite(net.scores(data.table)).all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_training(make_net, data, precision, error):
    """However it ends: float32 on the CPU, no gradient, no optimizer, no data."""

    def fail(net):
        if error is not None:
            net.train_step = lambda batch: (_ for _ in ()).throw(error("on purpose"))

    net = make_net(precision=precision, callbacks=[At(2, fail)], valid_examples=data)
    if error is None:
        net.fit(data)
    else:
        with pytest.raises(error, match="on purpose"):
            net.fit(data)
    assert not net.module.training
    for parameter in net.module.parameters():
        assert (parameter.dtype, parameter.device.type) == (torch.float32, "cpu")
        assert parameter.grad is None
    gc.collect()
    optimizers = [
        o for o in gc.get_objects() if issubclass(type(o), torch.optim.Optimizer)
    ]
    assert not optimizers
    assert net.valid_examples is None


@pytest.mark.parametrize("budget", [1, 16, 50, 10**6])
def test_scores_do_not_depend_on_neighbours(make_net, data, monkeypatch, budget):
    """In float32 the size of a batch changes no score by more than rounding."""
    net = make_net().fit(data)
    expected = net.scores(data.table)
    monkeypatch.setitem(_net.INFERENCE_TOKENS, "cpu", budget)
    np.testing.assert_allclose(net.scores(data.table), expected, rtol=0, atol=2e-6)


def test_duplicates_are_computed_once(make_net, checkpoint, monkeypatch):
    """A text that occurs a hundred times passes through the model once."""
    net = make_net()
    seen = []
    vectors = net.module.vectors
    monkeypatch.setattr(
        net.module,
        "vectors",
        lambda **b: seen.append(len(b["input_ids"])) or vectors(**b),
    )
    tokenizer = load_checkpoint(checkpoint).text_tokenizer(None)
    out = net.vectors(tokenizer(check_texts(["a cat", "the dog"] * 100)))
    assert sum(seen) == 2
    assert (out[::2] == out[0]).all()
    assert (out[1::2] == out[1]).all()


def test_only_the_last_used_copy_is_kept(make_net, data):
    """One working copy in bfloat16 is kept between calls, and goes with its net."""
    first, second = [make_net(precision="bfloat16") for _ in range(2)]
    first.scores(data.table)
    kept = _net._kept_copy(first)
    first.scores(data.table)
    assert _net._kept_copy(first) is kept
    second.scores(data.table)
    assert _net._kept_copy(first) is None
    assert _net._kept_copy(second) is not None
    del second
    gc.collect()
    assert _net._last_used is None


def test_refitting_renews_the_working_copy(make_net, data):
    """Scores after a second training are those of the new weights."""
    net = make_net(precision="bfloat16").fit(data)
    net.scores(data.table)
    net.fit(data)
    after = net.scores(data.table)
    reread = pickle.loads(pickle.dumps(net)).scores(data.table)
    np.testing.assert_array_equal(after, reread)


def test_repr_is_short(make_net):
    """The net is named in a line, without its tensors."""
    text = repr(make_net())
    assert text.startswith("BertNet(")
    assert len(text) < 80


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_a_gpu_leaves_no_tensor_there(make_net, data):
    """After a fit as after the one before it, no tensor of a net is on the GPU."""
    make_net(placement="cuda", precision="auto").fit(data)  # CUDA's own workspaces
    gc.collect()
    before = torch.cuda.memory_allocated()
    net = make_net(placement="cuda", precision="auto").fit(data)
    assert {p.device.type for p in net.module.parameters()} == {"cpu"}
    assert torch.cuda.memory_allocated() == before
    scores = net.scores(data.table)
    on_cpu = make_net()
    on_cpu.module.load_state_dict(net.module.state_dict())
    np.testing.assert_allclose(scores, on_cpu.scores(data.table), rtol=0, atol=5e-2)
    del net
    gc.collect()
    assert torch.cuda.memory_allocated() == before
