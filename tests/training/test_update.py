import copy
import re

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from sklearn_bert.compute._inference import Feed
from sklearn_bert.compute._memory import BertOutOfMemoryError
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.training._callbacks import BestWeights
from sklearn_bert.training._examples import Examples, ShuffledBatches
from sklearn_bert.training._losses import CrossEntropy
from sklearn_bert.training._optimizer import MasterWeights
from sklearn_bert.training._update import Updates

CPU = torch.device("cpu")
SHORTAGE = "CUDA out of memory. Tried to allocate 2.00 GiB.\nmore words"


@pytest.fixture
def let_run_out(monkeypatch):
    """Let the model run out of memory where a rule says so; list what it was given."""

    def patch(rule):
        seen, forward = [], TextModel.forward

        def forward_or_fail(self, input_ids=None, *args, **inputs):
            if self.training:
                seen.append(len(input_ids))
                if rule(self, len(seen), len(input_ids)):
                    raise torch.OutOfMemoryError(SHORTAGE)
            return forward(self, input_ids, *args, **inputs)

        monkeypatch.setattr(TextModel, "forward", forward_or_fail)
        return seen

    return patch


def assert_alike(net, other, atol=1e-5):
    for name, value in other.module.state_dict().items():
        ours = net.module.state_dict()[name]
        torch.testing.assert_close(ours, value, rtol=1e-4, atol=atol)
    ours, theirs = [[r["train_loss"] for r in n.history] for n in (net, other)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def rows_of(net):
    """The rows of each update, as a fit goes on."""
    rows, step = [], net.train_step
    net.train_step = lambda batch: rows.append(batch.tolist()) or step(batch)
    return rows


RULES = {
    "from the first update": (lambda model, call, size: size > 2, 8, 2),
    "in the third update": (lambda model, call, size: call >= 3 and size > 2, 8, 2),
    "once": (lambda model, call, size: call == 4, 8, 4),
    "in the second half": (lambda model, call, size: call in (2, 4), 8, 2),
    "odd sizes": (lambda model, call, size: size > 5, 7, 3),
    "only where it is small": (lambda model, call, size: size == 5, 7, 2),
}


@pytest.mark.parametrize(("rule", "batch_size", "size_used"), RULES.values(), ids=RULES)
def test_short_memory_changes_no_update(
    make_net, data, let_run_out, rule, batch_size, size_used
):
    """Batches in parts: the same rows in the same order, and the same weights."""
    settings = {"batch_size": batch_size, "weight_decay": 0.1}
    plain, net = make_net(**settings), make_net(**settings)
    plain_rows, rows = rows_of(plain), rows_of(net)
    plain.fit(data)
    let_run_out(rule)
    net.fit(data)
    assert rows == plain_rows
    assert_alike(net, plain)
    assert (plain.batch_size_used_, net.batch_size_used_) == (batch_size, size_used)


STEPS = {
    "loss": (CrossEntropy, "losses"),
    "backward": (torch.Tensor, "backward"),
    "gradients": (MasterWeights, "collect_gradients"),
}


@pytest.mark.parametrize(("owner", "name"), STEPS.values(), ids=STEPS)
def test_short_memory_at_every_step(make_net, data, monkeypatch, owner, name):
    """Wherever behind the forward pass memory runs out, the update is the same."""
    plain = make_net(weight_decay=0.1).fit(data)
    calls, function = [], getattr(owner, name)

    def run_out(*args, **kwargs):
        calls.append(args)
        if len(calls) in (3, 5):  # of eight texts, and of the second four
            raise torch.OutOfMemoryError(SHORTAGE)
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, run_out)
    net = make_net(weight_decay=0.1).fit(data)
    assert net.batch_size_used_ == 2
    assert_alike(net, plain)


def test_short_memory_in_bfloat16(make_net, data, let_run_out):
    """The parts' gradients are added in float32, and learning goes on as before."""
    plain = make_net(precision="bfloat16").fit(data)
    let_run_out(RULES["in the second half"][0])
    net = make_net(precision="bfloat16").fit(data)
    assert net.batch_size_used_ == 2
    ours, theirs = [[r["train_loss"] for r in n.history] for n in (net, plain)]
    np.testing.assert_allclose(ours, theirs, atol=5e-3)


def test_where_nothing_fits_the_error_has_the_figures(make_net, data, let_run_out):
    """A batch of one that does not fit ends the fit, and names device and sizes."""
    seen = let_run_out(lambda model, call, size: True)
    net = make_net()
    n_tokens = max(data.table.lengths)
    message = (
        f"cpu ran out of memory while training: a batch of 8 texts .* one text of "
        f"{n_tokens} tokens.*Lower max_length.*Tried to allocate 2.00 GiB"
    )
    with pytest.raises(BertOutOfMemoryError, match=message):
        net.fit(data)
    assert seen == [8, 4, 2, 1]
    assert net.module.encoder.get_input_embeddings().num_embeddings > 60
    assert not net.module.training


def is_checkpointing(model):
    flags = {getattr(m, "gradient_checkpointing", False) for m in model.modules()}
    return True in flags


@pytest.mark.parametrize("trainable", ["all", 1])
def test_checkpointing_changes_no_weight(make_net, data, trainable, monkeypatch):
    """Activations computed twice give the same weights, and it ends with the fit."""
    plain = make_net(trainable=trainable).fit(data)
    seen, forward = [], TextModel.forward
    monkeypatch.setattr(
        TextModel,
        "forward",
        lambda self, *args, **inputs: (
            seen.append(is_checkpointing(self)) or forward(self, *args, **inputs)
        ),
    )
    net = make_net(checkpointing=True, trainable=trainable).fit(data)
    assert len(seen) > 0
    assert all(seen)
    assert_alike(net, plain)
    assert not is_checkpointing(net.module)
    assert not any(m._forward_hooks for m in net.module.modules())


def test_checkpointing_starts_at_the_first_shortage(make_net, data, let_run_out):
    """ "auto" keeps less before it halves batches, and only when it has to."""
    plain = make_net(checkpointing="auto")
    plain.fit(data)

    def rule(model, call, size):
        return call > 3 and size > 2 and not is_checkpointing(model)

    seen = let_run_out(rule)
    net = make_net(checkpointing="auto").fit(data)
    assert_alike(net, plain)
    assert net.batch_size_used_ == 8
    assert seen == [8] * 11  # ten updates, one of them twice
    assert not is_checkpointing(net.module)


def test_auto_halves_where_checkpointing_is_not_enough(make_net, data, let_run_out):
    """ "auto" goes on to halve batches."""
    plain = make_net().fit(data)
    seen = let_run_out(lambda model, call, size: size > 4)
    net = make_net(checkpointing="auto").fit(data)
    assert_alike(net, plain)
    assert net.batch_size_used_ == 4
    assert seen[:4] == [8, 8, 4, 4]


def make_updates(model, **settings):
    defaults = {
        "lr": 1e-2,
        "weight_decay": 0.1,
        "rate_factors": None,
        "schedule": lambda n_done: 1 / (n_done + 1),
        "n_updates": 9,
        "batch_size": 8,
    }
    masters = MasterWeights(model, settings.pop("dtype", torch.float32))
    return Updates(
        model, masters, CrossEntropy(), Feed(CPU, 0), **(defaults | settings)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_of_parts_add_up(make_net, data, dtype):
    """What the optimizer sees of parts is the whole batch's mean gradient, clipped."""
    model = make_net().module
    rows = np.array([0, 5, 9, 12, 20, 21, 33])
    model.train()
    batch = Feed(CPU, 0)(data.table, rows)
    reference = copy.deepcopy(model)
    loss = torch.nn.functional.cross_entropy(
        reference(**batch), torch.tensor(data.targets[rows])
    )
    loss.backward()
    torch.nn.utils.clip_grad_norm_(reference.parameters(), 1.0)
    seen = {}
    updates = make_updates(model, dtype=dtype)
    updates.micro_batches.size = 3
    updates.optimizer.register_step_pre_hook(
        lambda *_: seen.update(
            {n: p.grad.clone() for n, p in updates.masters.trained.items()}
        )
    )
    ours = updates(data, rows)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(ours, loss.detach(), rtol=tolerance, atol=0)
    expected = {
        n: p.grad for n, p in reference.named_parameters() if p.grad is not None
    }
    assert seen.keys() == expected.keys()
    for name, gradient in seen.items():
        assert gradient.dtype == torch.float32
        assert (gradient - expected[name]).norm() < tolerance * 2


def test_the_rate_follows_the_schedule(make_net, data):
    """Each update is at the rate that the schedule has for it."""
    updates = make_updates(make_net().module)
    for update in range(3):
        assert updates.rate == pytest.approx(1e-2 / (update + 1))
        updates(data, np.arange(8))
        rates = sorted({group["lr"] for group in updates.optimizer.param_groups})
        assert rates == pytest.approx([1e-2 / (update + 1), 1e-1 / (update + 1)])


def test_a_snapshot_can_be_put_back(make_net, data):
    """A snapshot is a copy of the weights, which later updates do not change."""
    model = make_net().module
    updates = make_updates(model)
    updates(data, np.arange(8))
    snapshot = updates.masters.snapshot()
    expected = {n: p.detach().clone() for n, p in model.named_parameters()}
    updates(data, np.arange(8, 16))
    changed = dict(model.named_parameters())["head.weight"]
    assert not torch.equal(changed, expected["head.weight"])
    updates.masters.restore(model, snapshot)
    for name, value in model.named_parameters():
        assert torch.equal(value, expected[name])


def test_the_net_remembers_a_snapshot(make_net, data):
    """Early stopping keeps a snapshot of the trained weights on the CPU."""
    kept = []

    class Keep(Callback):
        def on_train_end(self, net, **kwargs):
            best = [c for _, c in net.callbacks_ if isinstance(c, BestWeights)]
            kept.append(best[0].snapshot_)

    net = make_net(callbacks=[BestWeights(2), Keep()]).fit(data, data)
    trained = {n for n, p in net.module.named_parameters() if p.requires_grad}
    assert kept[0].weights.keys() == trained
    assert 0.99 < kept[0].embedding < 1


def test_a_hook_that_nobody_needs_is_not_called(make_net, data, monkeypatch):
    """skorch's empty hooks are not called; one that a callback overrides is."""

    def fail(self, net, **kwargs):
        raise AssertionError("nobody asked for it")

    for hook in ("on_batch_begin", "on_batch_end", "on_epoch_end", "on_grad_computed"):
        monkeypatch.setattr(Callback, hook, fail)

    class Epochs(Callback):
        n = 0

        def on_epoch_begin(self, net, **kwargs):
            Epochs.n += 1

    make_net(callbacks=[Epochs()]).fit(data)
    assert Epochs.n == 2


def test_weights_of_texts_weigh(make_net, data):
    """A text of weight 3 is three texts in the gradient, as the hand-written sum is."""
    weights = np.linspace(0, 3, 40, dtype=np.float32)
    data.weights[:] = weights
    model = make_net().module
    rows = np.arange(8)
    scores = model(**Feed(CPU, 0)(data.table, rows))
    losses = torch.nn.functional.cross_entropy(
        scores, torch.tensor(data.targets[rows]), reduction="none"
    )
    expected = (losses * torch.tensor(weights[rows])).mean()
    torch.testing.assert_close(make_updates(model)(data, rows), expected.detach())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_that_is_full(make_net, make_encoder, make_table):
    """Where little of a GPU is left, batches are halved and the loss is the same."""
    rows, targets = np.tile(np.arange(64), 64), np.arange(64) % 2
    data = Examples(make_table([60] * 64), rows, targets, np.ones(64, dtype=np.float32))
    settings = {"placement": "cuda", "precision": "float32", "batch_size": 4096}
    nets = [make_net(make_encoder("bert", dropout=0.0), **settings) for _ in range(2)]
    nets[0].fit(data)
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    limit = torch.cuda.memory_reserved() + 256 * 2**20
    torch.cuda.set_per_process_memory_fraction(limit / total)
    try:
        nets[1].fit(data)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert nets[1].batch_size_used_ < nets[0].batch_size_used_ == 4096
    losses = [[row["train_loss"] for row in net.history] for net in nets]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def depth_of(name):
    """How far below the head a weight of the two layers lies, read from its name."""
    if number := re.search(r"\blayer\.(\d+)\.", name):
        return 2 - int(number[1])
    return 3 if "embeddings." in name else 0


def train_with_rates(net, data, factor_of):
    """Train a copy with a rate for each weight; AdamW sees the full table of words."""
    model = copy.deepcopy(net.module).train()
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p], "weight_decay": net.weight_decay * (p.ndim > 1)}
            for _, p in named
        ]
    )
    rng = np.random.default_rng(net.shuffle_seed)
    batches = ShuffledBatches(data.table.lengths[data.rows], net.batch_size, rng)
    n_updates = net.max_epochs * len(batches)
    n_warmup = int(net.warmup * n_updates)
    update = 0
    for _ in range(net.max_epochs):
        for places in batches:
            rows = data.rows[places]
            scores = model(**Feed(CPU, 0)(data.table, rows))
            targets = torch.tensor(data.targets[rows])
            torch.nn.functional.cross_entropy(scores, targets).backward()
            torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
            share = (n_updates - update) / (n_updates - n_warmup)
            if update < n_warmup:
                share = (update + 1) / (n_warmup + 1)
            if not net.decays:
                share = min(1.0, (update + 1) / 10)
            for group, (name, _) in zip(optimizer.param_groups, named, strict=True):
                group["lr"] = net.lr * share * factor_of(name)
            optimizer.step()
            optimizer.zero_grad()
            update += 1
    return model


def assert_weights_alike(net, plain):
    ours = dict(net.module.named_parameters())
    for name, weight in plain.named_parameters():
        torch.testing.assert_close(
            ours[name], weight, rtol=1e-4, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("layer_decay", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("decays", [True, False])
def test_layers_step_at_rates_of_their_own(make_net, data, layer_decay, decays):
    """Weights, also of words that no text has, as plain AdamW on the full table."""
    net = make_net(layer_decay=layer_decay, weight_decay=0.5, lr=5e-3, decays=decays)
    start = net.module.encoder.get_input_embeddings().weight.detach().clone()

    def factor_of(name):
        return 10 if name.startswith("head.") else layer_decay ** depth_of(name)

    plain = train_with_rates(net, data, factor_of)
    net.fit(data)
    assert_weights_alike(net, plain)
    unused = np.setdiff1d(np.arange(1, len(start)), data.table.ids)
    assert len(unused) > 20
    ours, theirs = (
        model.encoder.get_input_embeddings().weight[unused].norm().item()
        for model in (net.module, plain)
    )
    assert theirs < start[unused].norm()
    assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("trainable", [1, 2])
def test_top_layers_step_at_rates_of_their_own(make_net, data, trainable):
    """The top layer takes the first share of the rate, however many learn."""
    net = make_net(trainable=trainable, layer_decay=0.5, weight_decay=0.1)

    def factor_of(name):
        return 10 if name.startswith("head.") else 0.5 ** depth_of(name)

    plain = train_with_rates(net, data, factor_of)
    net.fit(data)
    assert_weights_alike(net, plain)


def test_adapters_step_at_rates_of_their_own(make_net, data):
    """The matrices of an adapter step as slowly as the layer that they add to."""
    rates = {}

    class Note(Callback):
        def on_epoch_end(self, net, **kwargs):
            named = net.masters_.trained
            for group in net.optimizer_.param_groups:
                for name, weight in named.items():
                    if any(weight is p for p in group["params"]):
                        rates[name] = group["rate_factor"]

    make_net(adapter="lora", layer_decay=0.5, callbacks=[Note()]).fit(data)
    assert {"head.weight", "head.bias"} < rates.keys()
    for name, rate in rates.items():
        head = name.startswith("head.")
        assert rate == (10 if head else 0.5 ** depth_of(name)), name
