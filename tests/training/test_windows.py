"""Training and inference on windows, held against plain PyTorch on slices of ids."""

import copy
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch.nn import functional

from sklearn_bert._process._random import seeded
from sklearn_bert.compute._inference import Feed
from sklearn_bert.compute._memory import BertOutOfMemoryError
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.text._input import check_texts
from sklearn_bert.text._long import Windows
from sklearn_bert.text._table import TokenTable
from sklearn_bert.training import _update
from sklearn_bert.training._callbacks import BestWeights
from sklearn_bert.training._examples import Examples, ShuffledBatches
from sklearn_bert.training._losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    RegressionLoss,
)
from sklearn_bert.training._net import BertNet
from sklearn_bert.training._optimizer import MasterWeights
from sklearn_bert.training._update import Updates

CPU = torch.device("cpu")
MAX_LENGTH, ROOM, STRIDE = 10, 8, 5
SHORTAGE = "CUDA out of memory. Tried to allocate 2.00 GiB.\nmore words"


def long_texts():
    """Twenty texts of 1 to 12 windows, whose labels one word decides."""
    rng = np.random.default_rng(0)
    words = ["the", "film", "was", "plot", "cat", "dog", "i", "you", "it", ",", "."]
    texts, codes = [], []
    for i, n in enumerate(rng.permutation(np.geomspace(3, 60, 20).astype(int))):
        text = rng.choice(words, n).tolist()
        text[rng.integers(n)] = ["bad", "good"][i % 2]
        texts.append(" ".join(text))
        codes.append(i % 2)
    return texts, np.array(codes)


def slices(ids, stride):
    """Pieces of a list of ids, and the share of each that no earlier piece has."""
    pieces, begin, covered = [], 0, 0
    while not pieces or covered < len(ids):
        end = min(begin + ROOM, len(ids))
        pieces.append((ids[begin:end], (end - covered) / len(ids)))
        begin, covered = begin + stride, end
    return pieces


@pytest.fixture(scope="module")
def windowed(checkpoint):
    """Examples of long texts, and their windows in plain Python; not to be changed."""
    texts, codes = long_texts()
    loaded = load_checkpoint(checkpoint)
    tokenizer = loaded.text_tokenizer(
        MAX_LENGTH, long_text="window", window_stride=STRIDE
    )
    whole = load_checkpoint(checkpoint).text_tokenizer(64)(check_texts(texts))
    ids = [
        whole.ids[start : start + length].tolist()
        for start, length in zip(whole.starts, whole.lengths, strict=True)
    ]
    cls, sep = ids[0][0], ids[0][-1]
    windows = [
        [([cls, *piece, sep], share) for piece, share in slices(text[1:-1], STRIDE)]
        for text in ids
    ]
    weights = np.linspace(0.5, 1.5, len(texts), dtype=np.float32)
    data = Examples(
        tokenizer(check_texts(texts)), np.arange(len(texts)), codes, weights
    )
    assert max(map(len, windows)) > 10
    return SimpleNamespace(data=data, windows=windows)


def by_window(data):
    """Examples whose windows are laid open, as an update takes them."""
    table, windows = data.table.by_window()
    return Examples(table, data.rows, data.targets, data.weights, windows)


def plain_copy(model):
    """Encoder and head in transformers' own attention."""
    encoder = copy.deepcopy(model.encoder)
    encoder.set_attn_implementation("eager")
    return encoder, copy.deepcopy(model.head)


def plain_scores(encoder, head, texts):
    """Scores of all windows of some texts, in one padded batch; of mean pooling."""
    rows = [torch.tensor(ids) for text in texts for ids, _ in text]
    ids = torch.nn.utils.rnn.pad_sequence(rows, True, 0)
    lengths = torch.tensor([len(row) for row in rows])
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    vectors = (states * mask[..., None]).sum(1) / lengths[:, None]
    return head(functional.layer_norm(vectors, vectors.shape[1:]))


def plain_chances(scores, texts):
    """The probabilities of texts: those of their windows, averaged by their shares."""
    chances = scores.softmax(1)
    found, row = [], 0
    for text in texts:
        shares = torch.tensor([share for _, share in text])
        mine = chances[row : row + len(text)]
        found.append((mine * shares[:, None]).sum(0))
        row += len(text)
    return torch.stack(found)


def plain_loss(encoder, head, texts, targets, weights):
    """The mean of the weighted negative logarithms of the right probabilities."""
    chances = plain_chances(plain_scores(encoder, head, texts), texts)
    right = chances[torch.arange(len(texts)), torch.tensor(targets)]
    return (-right.log() * torch.tensor(weights)).mean()


@pytest.fixture
def let_run_out(monkeypatch):
    """Let memory run out where more than so many windows are computed at a time."""

    def patch(most):
        seen, forward = [], TextModel.forward

        def forward_or_fail(self, input_ids=None, *args, **inputs):
            seen.append(len(input_ids))
            if self.training and len(input_ids) > most:
                raise torch.OutOfMemoryError(SHORTAGE)
            return forward(self, input_ids, *args, **inputs)

        monkeypatch.setattr(TextModel, "forward", forward_or_fail)
        return seen

    return patch


def make_updates(model, dtype=torch.float32, **settings):
    defaults = {
        "lr": 1e-2,
        "weight_decay": 0.1,
        "rate_factors": None,
        "schedule": lambda n_done: 1.0,
        "n_updates": 9,
        "batch_size": 100,
    }
    masters = MasterWeights(model, dtype)
    feed = Feed(CPU, 0)
    return Updates(model, masters, CrossEntropy(), feed, **(defaults | settings))


def gradients_of_an_update(updates, examples, rows):
    """The loss, and what the optimizer sees: the clipped gradients."""
    seen = {}
    updates.optimizer.register_step_pre_hook(
        lambda *_: seen.update(
            {n: p.grad.clone() for n, p in updates.masters.trained.items()}
        )
    )
    return updates(examples, rows).item(), seen


# -- one update --------------------------------------------------------------------

ROWS = np.array([3, 0, 11, 7, 19, 4])


def assert_gradients_of_the_plain_loss(model, windowed, loss, seen, tolerance=1e-5):
    encoder, head = plain_copy(model)
    texts = [windowed.windows[row] for row in ROWS]
    targets, weights = windowed.data.targets[ROWS], windowed.data.weights[ROWS]
    expected = plain_loss(encoder, head, texts, targets, weights)
    expected.backward()
    named = {f"encoder.{n}": p for n, p in encoder.named_parameters()}
    named |= {f"head.{n}": p for n, p in head.named_parameters()}
    # A pooler that is not in use has no gradient.
    named = {n: p for n, p in named.items() if p.grad is not None}
    torch.nn.utils.clip_grad_norm_(named.values(), 1.0)
    assert loss == pytest.approx(expected.item(), rel=tolerance)
    assert seen.keys() == named.keys()
    for name, parameter in named.items():
        assert (seen[name] - parameter.grad).norm() < 2 * tolerance, name


@pytest.mark.parametrize("batch_size", [100, 16, 8, 3, 1])
def test_gradients_are_those_of_the_averaged_probabilities(
    make_net, windowed, batch_size
):
    """However many windows go at a time: the gradients of all in one padded batch."""
    model = make_net().module
    before = copy.deepcopy(model)
    updates = make_updates(model.train(), batch_size=batch_size)
    found = gradients_of_an_update(updates, by_window(windowed.data), ROWS)
    assert_gradients_of_the_plain_loss(before, windowed, *found)


def test_gradients_in_bfloat16(make_net, windowed):
    """In bfloat16 the gradients are close to those in float32."""
    model = make_net().module
    before = copy.deepcopy(model)
    updates = make_updates(model.train(), torch.bfloat16, batch_size=4)
    found = gradients_of_an_update(updates, by_window(windowed.data), ROWS)
    assert_gradients_of_the_plain_loss(before, windowed, *found, tolerance=2e-2)


@pytest.mark.parametrize("most", [10, 5, 2, 1])
@pytest.mark.parametrize("checkpointing", [False, "auto"])
def test_short_memory_changes_no_gradient(
    make_net, windowed, let_run_out, most, checkpointing
):
    """Where memory runs out, fewer windows go at a time, and the update is the same."""
    model = make_net().module
    before = copy.deepcopy(model)
    updates = make_updates(model.train(), checkpointing=checkpointing)
    seen = let_run_out(most)
    found = gradients_of_an_update(updates, by_window(windowed.data), ROWS)
    updates.finish()
    assert 1 <= updates.micro_batches.size <= most
    assert max(seen[-3:]) <= most
    assert_gradients_of_the_plain_loss(before, windowed, *found)


def test_where_no_window_fits_the_error_has_the_figures(
    make_net, windowed, let_run_out
):
    """One window that does not fit ends the fit, and its tokens are named."""
    let_run_out(0)
    net = make_net()
    message = f"while training: .* one text of {MAX_LENGTH} tokens.*Lower max_length"
    with pytest.raises(BertOutOfMemoryError, match=message):
        net.fit(windowed.data)
    assert not net.module.training


def test_windows_computed_again_drop_the_same(make_encoder, make_net, monkeypatch):
    """With dropout, the backward pass computes again what the forward pass did."""
    rng = np.random.default_rng(0)
    encoder = make_encoder("bert", dropout=0.3)
    net = make_net(encoder)
    net.module.dropout.p = 0.5
    lengths = np.array([9, 10, 4, 10, 10, 7])
    ids = rng.integers(2, 80, lengths.sum()).astype(np.int32)
    table = TokenTable(ids, np.cumsum(lengths) - lengths, lengths, lengths, None)
    shares = np.array([0.5, 0.25, 0.25, 1, 0.5, 0.5], dtype=np.float32)
    windows = Windows(np.array([0, 3, 4]), np.array([3, 1, 2]), shares)
    ones = np.ones(3, dtype=np.float32)
    examples = Examples(table, np.arange(3), np.array([0, 1, 1]), ones, windows)

    def gradients():
        model = copy.deepcopy(net.module).train()
        updates = make_updates(model, batch_size=2)
        with seeded(3, torch.device("cpu")):
            return gradients_of_an_update(updates, examples, np.arange(3))

    loss, found = gradients()
    monkeypatch.setattr(_update, "recompute", lambda f, g: f(g))
    expected_loss, expected = gradients()
    assert loss == expected_loss
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7)


# -- a whole training --------------------------------------------------------------


def train_plainly(net, data, texts):
    """Train a copy of a net's model on windows by a plain PyTorch loop."""
    encoder, head = plain_copy(net.module)
    named = [
        ("head" if module is head else name, p)
        for module in (encoder, head)
        for name, p in module.named_parameters()
        if p.requires_grad
    ]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p], "weight_decay": net.weight_decay * (p.ndim > 1)}
            for _, p in named
        ]
    )
    head_rate = 10 if len(named) > 2 else 100
    # As it orders them: by the tokens of all windows, or their number for a head.
    lengths = np.array([sum(len(ids) for ids, _ in text) for text in texts])
    if net.module.trainable == "head":
        lengths = np.array([len(text) for text in texts])
    rng = np.random.default_rng(net.shuffle_seed)
    batches = ShuffledBatches(lengths[data.rows], net.batch_size, rng)
    n_updates = net.max_epochs * len(batches)
    n_warmup = int(net.warmup * n_updates)
    update, losses = 0, []
    for _ in range(net.max_epochs):
        epoch, sizes = [], []
        for places in batches:
            rows = data.rows[places]
            loss = plain_loss(
                encoder,
                head,
                [texts[row] for row in rows],
                data.targets[rows],
                data.weights[rows],
            )
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for _, p in named], 1.0)
            share = (n_updates - update) / (n_updates - n_warmup)
            if update < n_warmup:
                share = (update + 1) / (n_warmup + 1)
            for group, (name, _) in zip(optimizer.param_groups, named, strict=True):
                group["lr"] = net.lr * share * (head_rate if name == "head" else 1)
            optimizer.step()
            optimizer.zero_grad()
            update += 1
            epoch.append(loss.item())
            sizes.append(len(rows))
        losses.append(np.average(epoch, weights=sizes))
    return SimpleNamespace(encoder=encoder, head=head, losses=losses)


@pytest.mark.parametrize("trainable", ["all", 1, "head"])
@pytest.mark.parametrize("batch_size", [4, 20])
def test_training_is_the_hand_written_loop(
    make_net, windowed, assert_trained_alike, trainable, batch_size
):
    """Losses and weights are those of a plain loop over texts in windows."""
    settings = {"trainable": trainable, "batch_size": batch_size, "weight_decay": 0.1}
    net = make_net(**settings)
    plain = train_plainly(net, windowed.data, windowed.windows)
    net.fit(windowed.data)
    assert_trained_alike(net, plain)


def test_only_the_examples_rows_are_trained_on(
    make_net, windowed, assert_trained_alike
):
    """Texts that the examples leave out take no part, nor do their windows."""
    data = windowed.data
    rows = np.array([12, 3, 9, 17, 0, 5])
    some = Examples(data.table, rows, data.targets, data.weights)
    net = make_net(batch_size=4, weight_decay=0.1)
    plain = train_plainly(net, some, windowed.windows)
    net.fit(some)
    assert_trained_alike(net, plain)


def test_texts_in_one_window_are_trained_on_as_ever(make_net, checkpoint, reviews):
    """Where every text fits, windows learn what plain texts do."""
    texts, labels = reviews
    codes = (np.array(labels) == "pos").astype(np.int64)
    ones = np.ones(len(texts), dtype=np.float32)
    loaded = load_checkpoint(checkpoint)
    nets, tables = [], []
    for long_text in ("truncate", "window"):
        table = loaded.text_tokenizer(64, long_text=long_text)(check_texts(texts))
        data = Examples(table, np.arange(len(texts)), codes, ones)
        nets.append(make_net().fit(data))
        tables.append(table)
    losses = [[row["train_loss"] for row in net.history] for net in nets]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    plain, in_windows = (
        functional.softmax(
            torch.from_numpy(net.scores(table, CrossEntropy.merge_windows)), 1
        )
        for net, table in zip(nets, tables, strict=True)
    )
    torch.testing.assert_close(in_windows, plain, rtol=0, atol=1e-4)


def test_validation_is_of_whole_texts(make_net, windowed):
    """Held-out texts in windows are scored by their averaged probabilities."""
    data = windowed.data
    train, valid = np.arange(0, 14), np.arange(14, 20)
    examples = [
        Examples(data.table, rows, data.targets, data.weights)
        for rows in (train, valid)
    ]
    net = make_net(max_epochs=1).fit(examples[0], examples[1])
    encoder, head = plain_copy(net.module)
    texts = [windowed.windows[row] for row in valid]
    with torch.no_grad():
        chances = plain_chances(plain_scores(encoder, head, texts), texts).numpy()
    targets, weights = data.targets[valid], data.weights[valid]
    right = chances[np.arange(len(valid)), targets]
    row = net.history[-1]
    loss = np.average(-np.log(right), weights=weights)
    assert row["valid_loss"] == pytest.approx(loss, rel=1e-4)
    accuracy = np.average(chances.argmax(axis=1) == targets, weights=weights)
    assert row["valid_score"] == pytest.approx(accuracy)


def test_the_best_weights_of_windows_are_kept(make_net, windowed):
    """Early stopping works on texts in windows, also with frozen layers."""
    for trainable in ("all", 1, "head"):
        net = make_net(
            trainable=trainable,
            max_epochs=3,
            lr=0.02,
            callbacks=[BestWeights(3)],
        )
        net.fit(windowed.data, windowed.data)
        best = max(r["valid_score"] for r in net.history)
        scores = net.scores(windowed.data.table, CrossEntropy.merge_windows)
        found = CrossEntropy().score(
            scores, windowed.data.targets, windowed.data.weights, np.ones(20)
        )
        assert found == pytest.approx(best)


# -- inference ---------------------------------------------------------------------


def each_window(net, windowed, function):
    """What a function of the model says of each window, read on its own, by text."""
    model = net.module.eval()
    with torch.no_grad():
        return [
            (
                np.concatenate(
                    [
                        getattr(model, function)(torch.tensor([ids])).double().numpy()
                        for ids, _ in text
                    ]
                ),
                np.array([share for _, share in text]),
            )
            for text in windowed.windows
        ]


def softmax(scores):
    return functional.softmax(torch.as_tensor(scores).double(), 1).numpy()


@pytest.mark.parametrize("trainable", ["all", 1, "head"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_scores_of_texts_in_windows(make_net, windowed, trainable, precision):
    """Each window on its own, and averages by shares: probabilities or numbers."""
    net = make_net(trainable=trainable, precision=precision)
    atol = 1e-6 if precision == "float32" else 2e-2
    windows = each_window(net, windowed, "forward")
    table = windowed.data.table
    expected = [shares @ softmax(scores) for scores, shares in windows]
    found = softmax(net.scores(table, CrossEntropy.merge_windows))
    np.testing.assert_allclose(found, expected, atol=atol)
    expected = [shares @ (1 / (1 + np.exp(-scores))) for scores, shares in windows]
    found = 1 / (1 + np.exp(-net.scores(table, BinaryCrossEntropy.merge_windows)))
    np.testing.assert_allclose(found, expected, atol=atol)
    expected = [shares @ scores for scores, shares in windows]
    np.testing.assert_allclose(
        net.scores(table, RegressionLoss.merge_windows), expected, atol=atol
    )


@pytest.mark.parametrize(
    ("pooling", "trainable"),
    [*itertools.product(["mean"], ["all", 1, "head"]), ("max", "all"), ("cls", "head")]
    + [("pooler", 1)],
)
def test_vectors_of_texts_in_windows(make_net, windowed, pooling, trainable):
    """Means of the windows' vectors by their shares, or maxima; then of length 1."""
    net = make_net(pooling=pooling, trainable=trainable)
    expected = [
        vectors.max(axis=0) if pooling == "max" else shares @ vectors
        for vectors, shares in each_window(net, windowed, "vectors")
    ]
    scaled = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    found = net.vectors(windowed.data.table)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    net.module.normalize = True
    found = net.vectors(windowed.data.table)
    np.testing.assert_allclose(found, scaled, atol=1e-5)


@pytest.mark.parametrize("stride", [None, 2])
def test_texts_that_fit_are_read_as_ever(make_net, checkpoint, reviews, stride):
    """Where every text is one window, scores and vectors are those of plain texts."""
    texts = check_texts(reviews[0])
    net, loaded = make_net(), load_checkpoint(checkpoint)
    plain = loaded.text_tokenizer(64)(texts)
    tokenizer = loaded.text_tokenizer(64, long_text="window", window_stride=stride)
    table = tokenizer(texts)
    found = softmax(net.scores(table, CrossEntropy.merge_windows))
    np.testing.assert_allclose(found, softmax(net.scores(plain)), atol=1e-6)
    np.testing.assert_allclose(net.vectors(table), net.vectors(plain), atol=1e-6)


def test_scores_do_not_depend_on_neighbours(make_net, windowed):
    """A text alone, in another order, or twice has the same scores."""
    net, table = make_net(), windowed.data.table
    whole = net.scores(table, CrossEntropy.merge_windows)
    rows = np.array([7, 7, 2, 19, 0, 2])
    some = net.scores(table.take(rows), CrossEntropy.merge_windows)
    np.testing.assert_allclose(some, whole[rows], atol=1e-5)
    for row in (3, 12):
        alone = net.scores(table.take(np.array([row])), CrossEntropy.merge_windows)
        np.testing.assert_allclose(alone, whole[[row]], atol=1e-5)


def test_features_of_windows_are_remembered(make_net, windowed):
    """Remembered features are those of the windows, whichever texts they are of."""
    net = make_net(trainable="head", fingerprint="tiny")
    table = windowed.data.table
    fresh = net.scores(table, CrossEntropy.merge_windows, remember=False)
    net.scores(table.take(np.array([3, 1])), CrossEntropy.merge_windows)
    for _ in range(2):
        np.testing.assert_allclose(
            net.scores(table, CrossEntropy.merge_windows), fresh, rtol=1e-5, atol=1e-6
        )


# -- a model in the middle of a fit ------------------------------------------------


class Take(Callback):
    """Ask for the trained module after each epoch."""

    def __init__(self):
        self.taken = []
        self.states = []

    def on_epoch_end(self, net, **kwargs):
        module = net.trained_module()
        self.taken.append(module)
        self.states.append({n: v.clone() for n, v in module.state_dict().items()})


def fit(net, data):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return net.fit(data)


def assert_equal_states(state, other):
    assert state.keys() == other.keys()
    different = [name for name in state if not torch.equal(state[name], other[name])]
    assert different == []


WAYS = {
    "all": {},
    "one layer": {"trainable": 1},
    "head": {"trainable": "head"},
    "lora": {"adapter": "lora"},
}
SETTINGS = {"decays": False, "weight_decay": 0.1, "lr": 5e-3, "batch_size": 20}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_model_in_the_middle_is_what_the_fit_would_leave(
    make_net, data, way, precision
):
    """After each epoch it is what a fit of so many epochs leaves, bit by bit."""
    settings = {**SETTINGS, **way, "precision": precision}
    take = Take()
    net = fit(make_net(max_epochs=2, callbacks=[take], **settings), data)
    for n_epochs, state in enumerate(take.states, start=1):
        shorter = fit(make_net(max_epochs=n_epochs, **settings), data)
        assert_equal_states(state, shorter.module.state_dict())
    assert_equal_states(take.states[-1], net.module.state_dict())
    start = make_net(**way).module.state_dict()
    changed = [n for n, v in start.items() if not torch.equal(v, take.states[0][n])]
    assert "head.weight" in changed


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_model_in_the_middle_does_not_disturb_the_fit(make_net, data, way, precision):
    """With and without one, a fit ends in the same weights and losses, bit by bit."""
    settings = {**SETTINGS, **way, "precision": precision}
    take = Take()
    net = fit(make_net(callbacks=[take], **settings), data)
    plain = fit(make_net(**settings), data)
    assert_equal_states(net.module.state_dict(), plain.module.state_dict())
    losses = [[row["train_loss"] for row in n.history] for n in (net, plain)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_model_in_the_middle_is_at_rest(make_net, data, way):
    """It is whole, in float32, answers, and stays as it is while the fit goes on."""
    take = Take()
    net = fit(make_net(callbacks=[take], **SETTINGS, **way, precision="bfloat16"), data)
    first = take.taken[0]
    assert {p.dtype for p in first.parameters()} == {torch.float32}
    assert not any(module.training for module in first.modules())
    assert [n for n, _ in first.named_parameters()] == [
        n for n, _ in net.module.named_parameters()
    ]
    assert_equal_states(first.state_dict(), take.states[0])
    again = BertNet(first, placement="cpu", precision="float32", pad_id=0)
    expected = copy.deepcopy(net)
    expected.runner_.precision = "float32"
    expected.module.load_state_dict(take.states[0])
    np.testing.assert_array_equal(again.scores(data.table), expected.scores(data.table))


def test_a_model_in_the_middle_of_windows(make_net, windowed):
    """Also where texts are read in windows, and only some words are in use."""
    take = Take()
    settings = {**SETTINGS, "max_epochs": 2, "batch_size": 8}
    net = fit(make_net(callbacks=[take], **settings), windowed.data)
    assert_equal_states(take.states[1], net.module.state_dict())
    plain = fit(make_net(**settings), windowed.data)
    assert_equal_states(plain.module.state_dict(), net.module.state_dict())


# -- stopping, and moving ----------------------------------------------------------


class StopAt(Callback):
    """Ask the net to stop at a moment's nth time; count updates and ends."""

    def __init__(self, hook, n):
        self.n_updates = self.n_ends = self.n_seen = 0
        self.hook, self.n = hook, n

    def _see(self, net, hook):
        if hook == self.hook:
            self.n_seen += 1
            if self.n_seen == self.n:
                net.stop()

    def on_batch_begin(self, net, **kwargs):
        self._see(net, "on_batch_begin")

    def on_batch_end(self, net, **kwargs):
        self.n_updates += 1
        self._see(net, "on_batch_end")

    def on_epoch_end(self, net, **kwargs):
        self._see(net, "on_epoch_end")

    def on_train_end(self, net, **kwargs):
        self.n_ends += 1


@pytest.mark.parametrize(
    ("hook", "n", "n_updates", "n_epochs"),
    [
        ("on_batch_begin", 3, 3, 1),
        ("on_batch_end", 3, 3, 1),
        ("on_batch_end", 7, 7, 2),
        ("on_epoch_end", 2, 10, 2),
        ("on_epoch_end", 9, 15, 3),
    ],
)
def test_stop_ends_after_the_update_under_way(
    make_net, data, hook, n, n_updates, n_epochs
):
    """The update under way is the last; the epoch is recorded, and validated."""
    stop = StopAt(hook, n)
    net = make_net(max_epochs=3, callbacks=[stop]).fit(data, data)
    assert stop.n_updates == n_updates
    assert stop.n_ends == 1
    assert len(net.history) == n_epochs
    assert len(net.history[-1]["batches"]) == n_updates - 5 * (n_epochs - 1)
    assert "valid_score" in net.history[-1]
    assert not net.module.training


def test_a_stopped_fit_leaves_what_was_learnt(make_net, data):
    """The weights are those of the updates that were done."""
    stopped = make_net(
        decays=False, callbacks=[StopAt("on_epoch_end", 1)], max_epochs=5
    )
    plain = make_net(decays=False, max_epochs=1)
    states = [net.fit(data).module.state_dict() for net in (stopped, plain)]
    assert_equal_states(*states)


def test_a_stop_is_of_one_fit(make_net, data):
    """The next fit goes all the way."""
    net = make_net(callbacks=[StopAt("on_batch_end", 1)]).fit(data)
    net.fit(data)
    assert len(net.history[-1]["batches"]) == 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_net_is_placed_elsewhere(make_net, data):
    """What it was asked to work on is kept; it works on what is there."""
    net = make_net().fit(data)
    scores = net.scores(data.table)
    net.place("cuda")
    assert (net.placement, net.device) == ("cuda", "cpu")
    assert net.settings()["placement"] == "cuda"
    np.testing.assert_array_equal(net.scores(data.table), scores)
