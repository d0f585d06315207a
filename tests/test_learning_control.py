"""Steps, epochs and what is validated on: the same for every kind of target."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.class_weight import compute_class_weight
from skorch.callbacks import Callback
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from sklearn_bert import BertClassifier, BertRegressor, BertTokenClassifier

KINDS = ["labels", "indicator", "numbers", "tags"]
CLASSES = {
    "labels": BertClassifier,
    "indicator": BertClassifier,
    "numbers": BertRegressor,
    "tags": BertTokenClassifier,
}
# One update of all texts, without chance.
ONE_UPDATE = {
    "max_epochs": 1,
    "batch_size": 1000,
    "warmup": 0.0,
    "weight_decay": 0.0,
    "dropout": 0.0,
    "learning_rate": 1e-3,
}


class Split(Callback):
    """Notes which texts are trained on, and which are validated on."""

    def on_train_begin(self, net, **kwargs):
        self.train = np.sort(net.examples_.rows)
        self.valid = np.sort(net.valid_examples_.rows)

    def __deepcopy__(self, memo):
        return self


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer, but where layers are told apart."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def tasks(reviews):
    """Texts and targets by kind of target; one word decides."""
    texts = reviews[0][:24]
    is_good = np.array(reviews[1][:24]) == "pos"
    is_animal = np.array([("cat" in text) or ("dog" in text) for text in texts])
    sentences = [text.split() for text in texts]
    tag = {"cat": "B-X", "dog": "B-X", "film": "B-Y", "movie": "B-Y"}
    return {
        "labels": (texts, np.where(is_good, "pos", "neg")),
        "indicator": (texts, np.column_stack([is_good, is_animal]).astype(int)),
        "numbers": (texts, np.where(is_good, 3.0, -1.0)),
        "tags": (sentences, [[tag.get(w, "O") for w in s] for s in sentences]),
    }


@pytest.fixture(scope="module")
def make(settings):
    """Make an estimator for a kind of target."""
    # The plain loops below know no probe and no temperature.
    plain = {"tags": {}, "numbers": {"head_init": "random"}}
    of_labels = {"head_init": "random", "calibrate": False}

    def make(kind, **params):
        return CLASSES[kind](**(settings | plain.get(kind, of_labels) | params))

    return make


@pytest.fixture(scope="module")
def fit(make, tasks):
    """Fit an estimator to a kind of target; `given` goes to its fit."""

    def fit(kind, given=None, **params):
        return make(kind, **params).fit(*tasks[kind], **(given or {}))

    return fit


@pytest.fixture
def no_reading(monkeypatch):
    """Fail if a checkpoint is read."""

    def refuse(*args, **kwargs):
        raise AssertionError("the checkpoint was read before the input was checked")

    monkeypatch.setattr("sklearn_bert.estimators._base.load_checkpoint", refuse)


def some(values, rows):
    """Some rows of a list or an array."""
    return [values[i] for i in rows] if isinstance(values, list) else values[rows]


def answers(estimator, X):
    """All that an estimator says of some texts, as one array."""
    if isinstance(estimator, BertRegressor):
        return estimator.predict(X)
    proba = estimator.predict_proba(X)
    return np.concatenate(proba) if isinstance(proba, list) else proba


def state_of(estimator):
    return {name: id(value) for name, value in vars(estimator).items()}


# -- one update is the textbook's ------------------------------------------------------


def pooled(encoder, tokenizer, texts):
    """The scaled mean of the states of each text."""
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    mask = batch["attention_mask"][..., None]
    states = encoder(**batch).last_hidden_state
    return functional.layer_norm((states * mask).sum(1) / mask.sum(1), (32,))


def of_words(encoder, tokenizer, sentences):
    """The scaled state of the first piece of each word."""
    batch = tokenizer(
        sentences, is_split_into_words=True, padding=True, return_tensors="pt"
    )
    states = encoder(**batch).last_hidden_state
    found = []
    for i in range(len(sentences)):
        words = batch.word_ids(i)
        found += [
            states[i, place]
            for place, word in enumerate(words)
            if word is not None and words[place - 1] != word
        ]
    return functional.layer_norm(torch.stack(found), (32,))


def update_plainly(start, texts, vectors_of, loss_of, lr):
    """One AdamW step from the weights of `start`: the loss, and the scores after it."""
    tokenizer = AutoTokenizer.from_pretrained(start.checkpoint)
    encoder = AutoModel.from_pretrained(start.checkpoint, attn_implementation="eager")
    encoder.load_state_dict(start.net_.module.encoder.state_dict())
    encoder.eval()  # no dropout
    head = copy.deepcopy(start.net_.module.head)
    optimizer = torch.optim.AdamW(
        [
            {"params": encoder.parameters(), "lr": lr},
            {"params": head.parameters(), "lr": 10 * lr},
        ],
        weight_decay=0.0,
    )
    loss = loss_of(head(vectors_of(encoder, tokenizer, texts)))
    loss.backward()
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_([p for p in weights if p.grad is not None], 1.0)
    optimizer.step()
    with torch.inference_mode():
        scores = head(vectors_of(encoder, tokenizer, texts)).double().numpy()
    return loss.item(), scores


def codes_of(y):
    flat = np.concatenate([np.asarray(row) for row in y]) if isinstance(y, list) else y
    return torch.tensor(np.unique(flat, return_inverse=True)[1])


def standardised(y):
    return torch.tensor((y - y.mean(0)) / y.std(0)).float().reshape(len(y), -1)


LOSSES = {
    "labels": (
        "labels",
        {},
        lambda scores, y: functional.cross_entropy(scores, codes_of(y)),
    ),
    "smoothed labels": (
        "labels",
        {"label_smoothing": 0.3},
        lambda scores, y: functional.cross_entropy(
            scores, codes_of(y), label_smoothing=0.3
        ),
    ),
    "indicator": (
        "indicator",
        {},
        lambda scores, y: functional.binary_cross_entropy_with_logits(
            scores, torch.tensor(y).float()
        ),
    ),
    "smoothed indicator": (
        "indicator",
        {"label_smoothing": 0.3},
        lambda scores, y: functional.binary_cross_entropy_with_logits(
            scores, torch.tensor(np.where(y, 0.85, 0.15)).float()
        ),
    ),
    "numbers": (
        "numbers",
        {},
        lambda scores, y: functional.mse_loss(scores, standardised(y)),
    ),
    "huber": (
        "numbers",
        {"loss": "huber"},
        lambda scores, y: functional.huber_loss(scores, standardised(y)),
    ),
    "tags": (
        "tags",
        {},
        lambda scores, y: functional.cross_entropy(scores, codes_of(y)),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_one_update_is_that_of_a_plain_loop(fit, tasks, name):
    """Loss and scores after one update are those of ten lines of PyTorch."""
    kind, params, loss_of = LOSSES[name]
    texts, y = tasks[kind]
    if kind == "numbers":  # an outlier, for Huber to differ
        y = np.where(np.arange(len(y)) == 3, 40.0, y)
    given = {"X": texts, "y": y}
    estimator = CLASSES[kind]
    common = {**fit(kind, **ONE_UPDATE).get_params(), **params}
    start = estimator(**(common | {"learning_rate": 1e-30})).fit(**given)
    ours = estimator(**common).fit(**given)
    loss, scores = update_plainly(
        start,
        texts,
        of_words if kind == "tags" else pooled,
        lambda scores: loss_of(scores, y),
        lr=1e-3,
    )
    np.testing.assert_allclose(ours.history_[0]["train_loss"], loss, rtol=1e-5)
    expected = {
        "labels": lambda: torch.tensor(scores).softmax(1),
        "indicator": lambda: torch.tensor(scores).sigmoid(),
        "numbers": lambda: scores[:, 0] * y.std() + y.mean(),
        "tags": lambda: torch.tensor(scores).softmax(1),
    }[kind]()
    np.testing.assert_allclose(answers(ours, texts), expected, rtol=1e-3, atol=1e-4)
    assert not np.allclose(answers(start, texts), expected, rtol=1e-2, atol=1e-3)


# -- partial_fit ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_first_partial_fit_begins_with_the_checkpoint(make, tasks, kind):
    """Its first update is that of a fit at a tenth of the rate, which rises in ten."""
    X, y = tasks[kind]
    first = make(kind, **ONE_UPDATE).partial_fit(X, y)
    slow = make(kind, **ONE_UPDATE | {"learning_rate": 1e-4}).fit(X, y)
    np.testing.assert_array_equal(answers(first, X), answers(slow, X))
    assert first.history_[0]["learning_rate"] == pytest.approx(1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_partial_fit_goes_on(make, tasks, kind):
    """Each call is an epoch of one history, and they learn together."""
    X, y = tasks[kind]
    estimator = make(kind, learning_rate=2e-3)
    for n_calls in range(1, 5):
        assert estimator.partial_fit(X, y) is estimator
        assert estimator.n_iter_ == len(estimator.history_) == n_calls
    assert [row["epoch"] for row in estimator.history_] == [1, 2, 3, 4]
    losses = [row["train_loss"] for row in estimator.history_]
    assert min(losses[2:]) < min(losses[:2])


@pytest.mark.parametrize("kind", KINDS)
def test_partial_fit_ignores_max_epochs(make, tasks, kind):
    """A call is one epoch, at a rate that does not decay, whatever `max_epochs` is."""
    X, y = tasks[kind]
    one, many = [
        make(kind, max_epochs=n, batch_size=2).partial_fit(X, y) for n in (1, 9)
    ]
    np.testing.assert_array_equal(answers(one, X), answers(many, X))
    assert one.history_[0]["learning_rate"] == one.learning_rate


@pytest.mark.parametrize("kind", KINDS)
def test_partial_fit_after_fit_and_back(fit, make, tasks, kind):
    """partial_fit goes on with the weights of fit; fit begins anew after it."""
    X, y = tasks[kind]
    estimator = fit(kind, max_epochs=1)
    fitted = answers(estimator, X)
    still = copy.deepcopy(estimator).set_params(learning_rate=1e-30, weight_decay=0.0)
    np.testing.assert_allclose(answers(still.partial_fit(X, y), X), fitted, atol=1e-6)
    assert not np.allclose(answers(estimator.partial_fit(X, y), X), fitted, atol=1e-4)
    assert estimator.n_iter_ == 2
    np.testing.assert_array_equal(answers(estimator.fit(X, y), X), fitted)
    assert estimator.n_iter_ == 1


@pytest.mark.parametrize("kind", KINDS)
def test_partial_fit_after_pickling(make, tasks, kind):
    """A pickle goes on as the estimator does."""
    X, y = tasks[kind]
    estimator = make(kind).partial_fit(X, y)
    other = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(
        answers(other.partial_fit(X, y), X), answers(estimator.partial_fit(X, y), X)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("no_reading")
def test_partial_fit_cannot_stop_early(make, tasks, kind):
    """`early_stopping` is refused: nobody knows how many calls are to come."""
    with pytest.raises(ValueError, match="early_stopping is True, which partial_fit"):
        make(kind, early_stopping=True).partial_fit(*tasks[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_failed_partial_fit_changes_nothing(fit, tasks, kind, monkeypatch):
    """After a partial_fit that fails in the middle everything is as it was."""
    X, y = tasks[kind]
    estimator = fit(kind, max_epochs=1, batch_size=4)
    state, before = state_of(estimator), answers(estimator, X)
    step = estimator.net_.train_step.__func__

    def fail_later(self, batch):
        if self.updates_.n_done == 2:
            raise FloatingPointError
        return step(self, batch)

    monkeypatch.setattr("sklearn_bert.training._net.BertNet.train_step", fail_later)
    for again in (estimator.partial_fit, estimator.fit):
        with pytest.raises(FloatingPointError):
            again(X, y)
        assert state_of(estimator) == state
        np.testing.assert_array_equal(answers(estimator, X), before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_refused_data_change_nothing(fit, tasks, kind, method):
    """After wrong data everything is as it was."""
    X, y = tasks[kind]
    estimator = fit(kind, max_epochs=1)
    state = state_of(estimator)
    for wrong in ((X, y[:-1]), ([None, *X[1:]], y), (X, None)):
        with pytest.raises(ValueError, match=r"inconsistent|X\[0\] is None|requires y"):
            getattr(estimator, method)(*wrong)
        assert state_of(estimator) == state


def test_partial_fit_is_told_all_classes(make, tasks):
    """`classes` of the first call may hold more than its y."""
    X, y = tasks["labels"]
    clf = make("labels").partial_fit(X, y, classes=["pos", "odd", "neg"])
    assert clf.classes_.tolist() == ["neg", "odd", "pos"]
    assert clf.partial_fit(X[:2], ["odd", "odd"]).predict_proba(X).shape == (24, 3)
    sentences, tags = tasks["tags"]
    tagger = make("tags").partial_fit(sentences, tags, classes=["O", "B-X", "B-Y"])
    assert tagger.partial_fit([["cat"]], [["B-X"]]).classes_.tolist() == [
        "B-X",
        "B-Y",
        "O",
    ]


def test_partial_fit_of_one_class(make, tasks):
    """A call whose y holds one class is no error where all classes are known."""
    X, _ = tasks["labels"]
    clf = make("labels").partial_fit(X, ["a"] * 24, classes=["a", "b"])
    assert (clf.partial_fit(X, ["b"] * 24).predict_proba(X) > 0).all()


@pytest.mark.parametrize(
    ("kind", "classes", "message"),
    [
        ("labels", ["neg", "odd"], "classes are .*'odd'.* of the earlier call"),
        ("tags", ["B-X", "B-Z", "O"], "tags are .*'B-Z'.* of the earlier call"),
    ],
)
def test_partial_fit_keeps_its_classes(fit, tasks, kind, classes, message):
    """Classes without one of the first call's are refused, with a remedy."""
    estimator = fit(kind, max_epochs=1)
    with pytest.raises(ValueError, match=message):
        estimator.partial_fit(*tasks[kind], classes=classes)
    estimator.partial_fit(*tasks[kind], classes=estimator.classes_)


def test_partial_fit_names_an_unknown_label(fit, tasks):
    """A label that is not among the classes is named with its row."""
    X, y = tasks["labels"]
    clf = fit("labels", max_epochs=1)
    message = r"y\[23\] is 'odd', which is not .* all of them as classes to partial_fit"
    with pytest.raises(ValueError, match=message):
        clf.partial_fit(X, [*y[:-1], "odd"])


def test_validation_names_an_unknown_label(fit, tasks):
    """What is only validated on is to be left out, or learnt as well."""
    X, y = tasks["labels"]
    message = r"y_val\[1\] is 'odd', .* Leave such rows out of y_val"
    with pytest.raises(ValueError, match=message):
        fit("labels", given={"X_val": X[:2], "y_val": [y[0], "odd"]})


@pytest.mark.parametrize("name", ["pooling", "max_length"])
def test_partial_fit_takes_what_auto_came_to(fit, tasks, name):
    """It is the same network, and learns as with "auto"; another value is refused."""
    X, y = tasks["labels"]
    model, expected = (fit("labels", max_epochs=1) for _ in range(2))
    chosen = getattr(model, f"{name}_")
    assert chosen != getattr(model, name)
    model.set_params(**{name: chosen}).partial_fit(X, y)
    np.testing.assert_array_equal(
        model.predict_proba(X), expected.partial_fit(X, y).predict_proba(X)
    )
    other = "max" if name == "pooling" else 5
    with pytest.raises(ValueError, match=f"{name} is .*, but it was .* same network"):
        model.set_params(**{name: other}).partial_fit(X, y)


def test_partial_fit_takes_no_other_kind_of_target(fit, tasks):
    """An indicator after labels, or one column more, is refused."""
    X, indicator = tasks["indicator"]
    with pytest.raises(ValueError, match="can only go on with the same"):
        fit("labels", max_epochs=1).partial_fit(X, indicator)
    with pytest.raises(ValueError, match="can only go on with the same|columns"):
        fit("indicator", max_epochs=1).partial_fit(X, np.column_stack([indicator] * 2))
    with pytest.raises(ValueError, match="y has 2 targets per text; expected 1"):
        fit("numbers", max_epochs=1).partial_fit(X, indicator)


@pytest.mark.usefixtures("no_reading")
@pytest.mark.parametrize("classes", [["a", "b"], [0, 1, 2, 3], [], 2, "01", {0, 1}])
def test_classes_of_an_indicator_are_its_columns(make, tasks, classes):
    """`classes` that are not the columns of the indicator are refused, not ignored."""
    with pytest.raises(ValueError, match="classes"):
        make("indicator").partial_fit(*tasks["indicator"], classes=classes)


@pytest.mark.parametrize("kind", ["labels", "indicator"])
@pytest.mark.usefixtures("no_reading")
def test_partial_fit_cannot_balance(make, tasks, kind):
    """ "balanced" is refused: nobody knows the shares of what is to come."""
    clf = make(kind, class_weight="balanced")
    with pytest.raises(ValueError, match="class_weight is 'balanced', which partial_"):
        clf.partial_fit(*tasks[kind])


@pytest.mark.parametrize("kind", ["labels", "numbers"])
@pytest.mark.parametrize("again", ["partial_fit", "warm fit"])
def test_pairs_after_texts_are_refused(fit, tasks, kind, again):
    """What goes on reads as many columns as it did before, as in scikit-learn."""
    X, y = tasks[kind]
    estimator = fit(kind, max_epochs=1, warm_start=again == "warm fit")
    go_on = estimator.fit if again == "warm fit" else estimator.partial_fit
    with pytest.raises(ValueError, match="X has 2 features, but .* expecting 1"):
        go_on([(text, "a film") for text in X], y)


@pytest.mark.parametrize("again", ["partial_fit", "warm fit"])
def test_column_names_are_those_of_the_first_call(make, tasks, again):
    """What goes on refuses columns of another name, and keeps the names it has."""
    X, y = tasks["labels"]
    clf = make("labels", max_epochs=1, warm_start=again == "warm fit")
    clf.fit(pd.DataFrame({"text": X}), y)
    go_on = clf.fit if again == "warm fit" else clf.partial_fit
    with pytest.raises(ValueError, match="feature names should match"):
        go_on(pd.DataFrame({"other": X}), y)
    go_on(X, y)  # a list has no names to compare
    assert clf.feature_names_in_.tolist() == ["text"]


# -- warm_start ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_warm_start_goes_on(fit, tasks, kind):
    """The first fit is as any; the next goes on with its weights and its history."""
    X, y = tasks[kind]
    cold = fit(kind, max_epochs=2, batch_size=12)
    warm = fit(kind, max_epochs=2, batch_size=12, warm_start=True)
    np.testing.assert_array_equal(answers(warm, X), answers(cold, X))
    warm.set_params(learning_rate=1e-30, weight_decay=0.0).fit(X, y)
    np.testing.assert_allclose(answers(warm, X), answers(cold, X), atol=1e-6)
    assert warm.n_iter_ == len(warm.history_) == 4
    assert [row["epoch"] for row in warm.history_] == [1, 2, 3, 4]
    before = answers(cold, X)
    np.testing.assert_array_equal(answers(cold.fit(X, y), X), before)  # begins anew


@pytest.mark.parametrize(
    ("kind", "y", "message"),
    [
        ("labels", ["a", "b"] * 12, "training can only go on with the same"),
        ("indicator", ["a", "b"] * 12, "training can only go on with the same"),
        ("numbers", [[1.0, 2.0]] * 24, "y has 2 targets per text; expected 1"),
    ],
)
def test_warm_start_keeps_the_classes(fit, tasks, kind, y, message):
    """Other classes, or another number of targets, are refused."""
    estimator = fit(kind, max_epochs=1, warm_start=True)
    with pytest.raises(ValueError, match=message):
        estimator.fit(tasks[kind][0], y)


@pytest.mark.parametrize(
    ("before", "after"), [("all", "head"), ("head", "all"), (1, "head"), ("head", 1)]
)
def test_warm_start_with_other_parts_that_learn(
    fit, tasks, two_layer_checkpoint, before, after
):
    """`trainable` may change in between: what no longer learns keeps what it learnt."""
    X, y = tasks["labels"]
    params = {"checkpoint": two_layer_checkpoint, "max_epochs": 1}
    clf = fit("labels", warm_start=True, trainable=before, **params)
    old = clf.net_.module.encoder.state_dict()
    old = {name: value.clone() for name, value in old.items()}
    clf.set_params(trainable=after).fit(X, y)
    new = clf.net_.module.encoder.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    parts = {"head": (), 1: ("encoder.layer.1.",), "all": ("embeddings", "encoder")}
    assert bool(changed) == (after != "head")
    assert all(name.startswith(parts[after]) for name in changed)


@pytest.mark.parametrize(
    ("parameter", "value"), [("dropout", 0.0), ("max_length", 40), ("pooling", "cls")]
)
def test_warm_start_ignores_no_parameter(fit, tasks, parameter, value):
    """What the network is made of cannot change between two fits, and that is said."""
    clf = fit("labels", max_epochs=1, warm_start=True)
    with pytest.raises(
        ValueError, match=f"{parameter} is {value!r}, but it was (None|'auto')"
    ):
        clf.set_params(**{parameter: value}).fit(*tasks["labels"])
    clf.set_params(warm_start=False).fit(*tasks["labels"])
    with pytest.raises(ValueError, match="revision is 'x', but it was None"):
        clf.set_params(revision="x").partial_fit(*tasks["labels"])


@pytest.mark.parametrize("kind", KINDS)
def test_warm_start_knows_a_path_by_its_name(fit, tasks, checkpoint, kind):
    """A folder as a path and as a str is the same checkpoint; another is not."""
    X, y = tasks[kind]
    estimator = fit(kind, max_epochs=1, warm_start=True, checkpoint=Path(checkpoint))
    assert estimator.set_params(checkpoint=checkpoint).fit(X, y).n_iter_ == 2
    assert estimator.set_params(checkpoint=Path(checkpoint)).fit(X, y).n_iter_ == 3
    estimator.set_params(checkpoint=Path(checkpoint).parent)
    with pytest.raises(ValueError, match="checkpoint is .*, but it was"):
        estimator.fit(X, y)


# -- sample_weight ---------------------------------------------------------------------


def weights_with(value):
    return [*np.ones(23), value]


DATES = pd.Series(pd.date_range("2020-01-01", periods=24))
WRONG_WEIGHTS = {
    "infinity": (weights_with(np.inf), r"sample_weight\[23\] is inf \(infinity\)"),
    "minus infinity": (weights_with(-np.inf), r"sample_weight\[23\] is -inf \(neg"),
    "NaN": (weights_with(np.nan), r"sample_weight\[23\] is nan"),
    "None": (weights_with(None), r"sample_weight\[23\] is None \(NaN or missing\)"),
    "NA": (
        pd.Series(weights_with(pd.NA), dtype=object),
        r"sample_weight\[23\] is <NA> \(NaN or missing\)",
    ),
    "negative": (weights_with(-2), r"sample_weight\[23\] is -2 \(negative\)"),
    "word": (weights_with("2"), r"sample_weight\[23\] is '2' \(of type str\)"),
    "words": (np.array(["1"] * 24), r"sample_weight\[0\] is '1' \(of type str\)"),
    "complex": (np.ones(24) + 1j, r"sample_weight\[0\] is \(1\+1j\) \(of type c"),
    "dates": (DATES, r"sample_weight\[0\] is .*2020.* \(of type Timestamp\)"),
    "dates in an array": (DATES.to_numpy(), r"sample_weight\[0\] is .*2020"),
    "dates in polars": (pl.Series(DATES), r"sample_weight\[0\] is .*2020"),
    "dates in Arrow": (pa.array(DATES), r"sample_weight\[0\] is .*2020"),
    "too large": (weights_with(10**400), r"sample_weight\[23\] is 10+\.\.\. \(inf"),
    "two columns": (np.ones((24, 2)), r"sample_weight has the shape \(24, 2\)"),
    "infinity for all": (np.inf, r"sample_weight is inf \(infinity\)"),
    "masked": (
        np.ma.array(np.ones(24), mask=np.arange(24) == 5),
        r"sample_weight\[5\] is masked",
    ),
    "Series": (pd.Series(weights_with(np.inf)), r"sample_weight\[23\] is inf"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WRONG_WEIGHTS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.usefixtures("no_reading")
def test_wrong_weights_are_named(make, tasks, kind, name, method):
    """A weight that is no finite number of 0 or more is named before any reading."""
    weights, message = WRONG_WEIGHTS[name]
    with pytest.raises(ValueError, match=message):
        getattr(make(kind), method)(*tasks[kind], sample_weight=weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_may_be_a_tensor(dtype, kind, make, tasks, no_reading):
    """Of any precision, and part of a graph: nothing is wrong before the reading."""
    weights = torch.ones(24, dtype=dtype, requires_grad=True)
    with pytest.raises(AssertionError, match="the checkpoint was read"):
        make(kind).fit(*tasks[kind], sample_weight=weights)


@pytest.mark.parametrize("kind", KINDS)
def test_one_weight_for_all_is_none(fit, tasks, kind):
    """A single number as `sample_weight` weighs every row alike."""
    X, _ = tasks[kind]
    plain = fit(kind, max_epochs=1)
    weighted = fit(kind, given={"sample_weight": np.float32(0.5)}, max_epochs=1)
    np.testing.assert_array_equal(answers(weighted, X), answers(plain, X))


# -- X_val and y_val -------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_validation_is_recorded(fit, tasks, kind):
    """`valid_score` is what `score` says of X_val, and training does not see it."""
    X, y = tasks[kind]
    rows = [0, 3, 4, 9, 10, 12]
    given = {"X_val": some(X, rows), "y_val": some(y, rows)}
    estimator = fit(kind, given=given, max_epochs=2)
    np.testing.assert_allclose(
        estimator.history_[-1]["valid_score"],
        estimator.score(given["X_val"], given["y_val"]),
        rtol=1e-4,
    )
    assert all(np.isfinite(row["valid_loss"]) for row in estimator.history_)
    np.testing.assert_array_equal(
        answers(estimator, X), answers(fit(kind, max_epochs=2), X)
    )


@pytest.mark.parametrize("kind", ["labels", "indicator", "numbers", "tags"])
def test_validation_loss_is_plain(fit, tasks, kind):
    """`valid_loss` is the mean loss of X_val, without any weights of X."""
    X, y = tasks[kind]
    given = {"X_val": X, "y_val": y, "sample_weight": np.arange(1.0, 25.0)}
    estimator = fit(kind, given=given, max_epochs=1)
    output = answers(estimator, X)
    if kind == "numbers":
        mean = np.average(y, weights=given["sample_weight"])
        scale = np.sqrt(np.average((y - mean) ** 2, weights=given["sample_weight"]))
        loss = np.mean(((output - y) / scale) ** 2)
    elif kind == "indicator":
        loss = -np.mean(np.log(np.where(y, output, 1 - output)))
    else:
        loss = -np.mean(np.log(output[np.arange(len(output)), codes_of(y)]))
    np.testing.assert_allclose(estimator.history_[0]["valid_loss"], loss, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_validation_texts_of_one_s_own_hold_nothing_out(fit, tasks, kind):
    """With X_val early stopping trains on all of X."""
    X, y = tasks[kind]
    split = Split()
    given = {"X_val": X[:5], "y_val": y[:5]}
    fit(kind, given=given, early_stopping=True, max_epochs=1, callbacks=[split])
    np.testing.assert_array_equal(split.train, np.arange(24))
    np.testing.assert_array_equal(split.valid, np.arange(24, 29))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", ["X_val", "y_val"])
@pytest.mark.usefixtures("no_reading")
def test_validation_needs_both(fit, tasks, kind, given):
    """X_val without y_val, and the other way round, is refused."""
    value = tasks[kind][given == "y_val"]
    with pytest.raises(ValueError, match=f"{given} is given and .* is not"):
        fit(kind, given={given: value})


WRONG_VALIDATION = {
    "no text": ("labels", ["a", None], ["pos", "neg"], r"X_val.*\[1\] is None"),
    "none": ("labels", [], [], "X_val.* is empty"),
    "lengths": ("labels", ["a"], ["pos", "neg"], "_val"),
    "pairs": ("labels", [("a", "b")], ["pos"], "X_val has 2 features and X has 1"),
    "class": ("labels", ["a", "b"], ["pos", "odd"], r"y_val\[1\] is 'odd'"),
    "missing": ("labels", ["a", "b"], ["pos", None], r"y_val\[1\] is None"),
    "indicator": ("labels", ["a", "b"], [[1, 0], [0, 1]], "y_val"),
    "columns": ("indicator", ["a"], [[1, 0, 1]], "y_val has 3 columns"),
    "value": ("indicator", ["a"], [[1, 2]], r"y_val\[0, 1\] is 2"),
    "labels": ("indicator", ["a"], ["pos"], "y_val has 1 dimensions"),
    "infinite": ("numbers", ["a", "b"], [1, np.inf], r"y_val\[1\] is inf"),
    "targets": ("numbers", ["a"], [[1, 2]], "y_val has 2 targets per text"),
    "word": ("tags", [["a", None]], [["O", "O"]], r"X_val\[0\]\[1\] is None"),
    "count": ("tags", [["a", "b"]], [["O"]], r"y_val\[0\] has 1 tags"),
    "tag": ("tags", [["a", "b"]], [["O", "B-Z"]], r"y_val\[0\]\[1\] is 'B-Z'"),
    "no words": ("tags", [[], []], [[], []], "X_val"),
}


@pytest.mark.parametrize("name", WRONG_VALIDATION)
@pytest.mark.usefixtures("no_reading")
def test_wrong_validation_texts_are_named(fit, name):
    """What is wrong in X_val or y_val is named as theirs, before anything is read."""
    kind, X_val, y_val, message = WRONG_VALIDATION[name]
    with pytest.raises((TypeError, ValueError), match=message):
        fit(kind, given={"X_val": X_val, "y_val": y_val})


# -- early stopping and groups ---------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_early_stopping_keeps_the_best_epoch(fit, tasks, kind):
    """The weights are those of the epoch with the best score on the held-out part."""
    X, y = tasks[kind]
    split = Split()
    estimator = fit(
        kind,
        early_stopping=True,
        validation_fraction=0.25,
        learning_rate=2e-2,
        max_epochs=6,
        n_iter_no_change=2,
        callbacks=[split],
    )
    rows = estimator.history_
    best = max(rows, key=lambda row: (row["valid_score"], -row["valid_loss"]))
    assert estimator.n_iter_ == min(6, best["epoch"] + 2)
    assert len(split.valid) == 6
    assert sorted([*split.train, *split.valid]) == list(range(24))
    np.testing.assert_allclose(
        estimator.score(some(X, split.valid), some(y, split.valid)),
        best["valid_score"],
        rtol=1e-4,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_groups_are_not_divided(fit, kind, seed):
    """All texts of a group are held out, or all are trained on."""
    split = Split()
    groups = np.array(list("abcdefgh") * 3)
    params = {"validation_fraction": 0.25, "callbacks": [split], "random_state": seed}
    fit(
        kind,
        given={"groups": groups},
        early_stopping=True,
        max_epochs=1,
        trainable="head",
        **params,
    )
    assert not set(groups[split.train]) & set(groups[split.valid])
    assert len(set(groups[split.valid])) == 2


def test_groups_of_any_kind(fit):
    """Groups may be strings, numbers or a column of a frame; only equality counts."""
    found = []
    numbers = np.repeat(np.arange(12), 2)
    names = np.array(list("abcdefghijkl"))[numbers]
    for groups in (numbers, names.tolist(), pd.Series(names, index=range(24, 0, -1))):
        split = Split()
        params = {"early_stopping": True, "max_epochs": 1, "callbacks": [split]}
        fit("labels", given={"groups": groups}, trainable="head", **params)
        found.append(split.valid.tolist())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("kind", KINDS)
def test_groups_without_early_stopping_change_nothing(fit, tasks, kind):
    """Nothing is held out, so groups make no difference."""
    X, _ = tasks[kind]
    grouped = fit(kind, given={"groups": np.arange(24) // 2}, max_epochs=1)
    np.testing.assert_array_equal(
        answers(grouped, X), answers(fit(kind, max_epochs=1), X)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([1, 2], "inconsistent"),
        ([1] * 24, "early_stopping cannot hold out"),
        ([None, *"ab" * 11, "a"], "groups"),
        (np.arange(48).reshape(24, 2), "groups"),
    ],
    ids=["too few", "one", "missing", "two columns"],
)
@pytest.mark.usefixtures("no_reading")
def test_wrong_groups_are_refused(fit, kind, groups, message):
    """Groups that cannot be held out are named before anything is read."""
    with pytest.raises(ValueError, match=message):
        fit(kind, given={"groups": groups}, early_stopping=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["y", "y_val", "groups"])
@pytest.mark.parametrize("value", ["topic", b"topic"])
@pytest.mark.usefixtures("no_reading")
def test_a_name_is_no_column(make, tasks, kind, name, value):
    """The name of a column is not read letter by letter; the remedy is told."""
    X, y = tasks[kind]
    given = {"y": y, name: value} | ({"X_val": X} if name == "y_val" else {})
    message = rf"^{name} is the (str|bytes) b?'topic'; .* hand in the column: frame\["
    with pytest.raises(TypeError, match=message):
        make(kind, early_stopping=True).fit(X, **given)


# -- class weights ---------------------------------------------------------------------


def test_balanced_ignores_validation_texts(make, tasks):
    """The caller's own validation texts do not count for "balanced"."""
    X, _ = tasks["labels"]
    y = ["a"] * 18 + ["b"] * 6
    balanced = make("labels", class_weight="balanced", max_epochs=1)
    balanced.fit(X, y, X_val=X, y_val=["b"] * 24)
    by_hand = make("labels", class_weight={"a": 24 / 36, "b": 24 / 12}, max_epochs=1)
    np.testing.assert_array_equal(answers(balanced, X), answers(by_hand.fit(X, y), X))


def test_balanced_ignores_held_out_texts(make, tasks):
    """What early stopping holds out does not count for "balanced"."""
    X, _ = tasks["labels"]
    y = np.array(["a"] * 10 + ["b"] * 14)
    params = {"early_stopping": True, "max_epochs": 1, "validation_fraction": 0.34}
    split = Split()
    groups = np.arange(24) // 4  # too few to be stratified
    balanced = make("labels", class_weight="balanced", callbacks=[split], **params)
    balanced.fit(X, y, groups=groups)
    kept = y[split.train]
    weights = compute_class_weight("balanced", classes=np.array(["a", "b"]), y=kept)
    whole = compute_class_weight("balanced", classes=np.array(["a", "b"]), y=y)
    assert not np.allclose(weights, whole)
    by_hand = make(
        "labels", class_weight=dict(zip("ab", weights, strict=True)), **params
    ).fit(X, y, groups=groups)
    np.testing.assert_array_equal(answers(balanced, X), answers(by_hand, X))


def test_balanced_counts_sample_weights(make, tasks):
    """ "balanced" balances what is left after the sample weights."""
    X, y = tasks["labels"]
    weight = np.where(y == "pos", 3.0, 1.0)
    balanced = make("labels", class_weight="balanced", max_epochs=1)
    plain = make("labels", max_epochs=1).fit(X, y)
    np.testing.assert_allclose(
        answers(balanced.fit(X, y, weight), X), answers(plain, X), atol=1e-6
    )


def test_a_class_of_weight_zero_is_left_out(make, tasks):
    """Texts of a class that weighs nothing are not trained on."""
    X, _ = tasks["labels"]
    y = np.array(["a", "b", "c"] * 8)
    one = make("labels", class_weight={"a": 1, "b": 2, "c": 0}, max_epochs=1).fit(X, y)
    keep = np.flatnonzero(y != "c")
    weight = np.where(y == "b", 2, np.where(y == "a", 1, 0))
    other = make("labels", max_epochs=1).fit(X, y, weight)
    np.testing.assert_array_equal(answers(one, X), answers(other, X))
    assert len(keep) == 16


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        ("labels", "balanced"),
        ("labels", {"neg": 3.0, "pos": 2.0}),
        ("indicator", "balanced"),
        ("indicator", [{0: 3.0, 1: 2.0}] * 2),
    ],
)
def test_class_weights_of_great_sample_weights(make, tasks, kind, weights):
    """Sample weights near the greatest number are as all others, bit by bit."""
    X, y = tasks[kind]
    clf = make(kind, class_weight=weights, max_epochs=1)
    expected = answers(clone(clf).fit(X, y, np.full(24, 2.0**-4)), X)
    found = answers(clone(clf).fit(X, y, np.full(24, 2.0**1023)), X)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("no_reading")
def test_balanced_needs_a_weight_in_each_class(make, tasks):
    """A class whose texts all weigh 0 cannot be balanced: the error says so."""
    X, _ = tasks["labels"]
    y, weight = ["a", "b", "c"] * 8, [1, 1, 0] * 8
    with pytest.raises(ValueError, match="class_weight"):
        make("labels", class_weight="balanced").fit(X, y, weight)


def test_validation_on_a_class_of_weight_zero(make, tasks):
    """Validation texts of a class that is not trained on still get a score."""
    X, y = tasks["labels"]
    clf = make("labels", class_weight={"pos": 1, "neg": 0}, max_epochs=1)
    clf.fit(X, y, X_val=X[1::2], y_val=y[1::2])
    assert clf.history_[0]["valid_score"] == clf.score(X[1::2], y[1::2])


# -- layer_decay and label_smoothing ---------------------------------------------------


def moved(estimator):
    """How far the weights of each part are from the checkpoint's, at most."""
    before = AutoModel.from_pretrained(estimator.checkpoint).state_dict()
    after = estimator.net_.module.encoder.state_dict()
    parts = ["embeddings", "layer.0", "layer.1"]
    return [
        max(
            (after[name] - before[name]).abs().max().item()
            for name in before
            if part in name
        )
        for part in parts
    ]


@pytest.fixture
def decaying(two_layer_checkpoint):
    """Parameters of one update, of an encoder with a layer below another."""
    return {**ONE_UPDATE, "checkpoint": two_layer_checkpoint}


@pytest.mark.parametrize("kind", KINDS)
def test_layer_decay_shortens_the_steps_below(fit, decaying, kind):
    """Top layer, layer below and embeddings step at powers of `layer_decay`.

    AdamW's first step is as long as the rate, whatever the gradient.
    """
    estimator = fit(kind, **decaying, layer_decay=0.5)
    expected = [1e-3 / 8, 1e-3 / 4, 1e-3 / 2]
    np.testing.assert_allclose(moved(estimator), expected, rtol=2e-2)


@pytest.mark.parametrize(
    ("trainable", "expected"),
    [("head", [0, 0, 0]), (1, [0, 0, 5e-4]), (2, [0, 2.5e-4, 5e-4])],
)
def test_layer_decay_of_what_learns(fit, decaying, trainable, expected):
    """Where less learns, each layer that does steps as far as where all do."""
    clf = fit("labels", **decaying, layer_decay=0.5, trainable=trainable)
    np.testing.assert_allclose(moved(clf), expected, rtol=2e-2)


def test_layer_decay_is_not_for_the_head(fit):
    """The head's first step is ten times the rate in any case."""
    plain, decayed = [
        fit("labels", **ONE_UPDATE, layer_decay=decay).net_.module.head.weight
        for decay in (1.0, 0.1)
    ]
    start = fit("labels", **ONE_UPDATE | {"learning_rate": 1e-30}).net_.module.head
    torch.testing.assert_close(plain, decayed, rtol=0, atol=1e-6)
    steps = (plain - start.weight).abs()
    np.testing.assert_allclose(steps.max().item(), 1e-2, rtol=1e-2)


def test_layer_decay_of_adapters(fit, decaying):
    """Low-rank additions of the layer below step at less as well."""
    params = decaying | {"adapter": "lora"}
    plain, decayed = [moved(fit("labels", **params, layer_decay=d)) for d in (1, 0.1)]
    shares = np.array(decayed[1:]) / plain[1:]
    np.testing.assert_allclose(shares, [0.01, 0.1], rtol=0.05)


# -- adapters --------------------------------------------------------------------------


QUERY = "encoder.layer.0.attention.self.query.weight"


@pytest.mark.parametrize("kind", KINDS)
def test_adapter_rank_is_that_of_the_change(fit, checkpoint, kind):
    """What the adapter has added to a matrix is of the rank that was asked for."""
    before = AutoModel.from_pretrained(checkpoint).state_dict()[QUERY]
    for rank in (1, 3):
        estimator = fit(kind, adapter="lora", adapter_rank=rank, max_epochs=1)
        change = estimator.net_.module.encoder.state_dict()[QUERY] - before
        assert torch.linalg.matrix_rank(change, rtol=1e-3) == rank


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [0, -1, 2.5, "8", None])
@pytest.mark.usefixtures("no_reading")
def test_impossible_adapter_rank_is_refused(fit, kind, rank):
    """A rank that is no whole number over 0 is named at once."""
    with pytest.raises(ValueError, match="'adapter_rank' parameter of Bert"):
        fit(kind, adapter="lora", adapter_rank=rank)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0, 1.1, -0.5, "slow"])
@pytest.mark.usefixtures("no_reading")
def test_impossible_layer_decay_is_refused(fit, kind, value):
    """`layer_decay` is over 0 and at most 1."""
    with pytest.raises(ValueError, match="'layer_decay' parameter of Bert"):
        fit(kind, layer_decay=value)


@pytest.mark.parametrize("value", [1.0, -0.1, "some"])
@pytest.mark.usefixtures("no_reading")
def test_impossible_label_smoothing_is_refused(fit, value):
    """`label_smoothing` is from 0 to less than 1."""
    with pytest.raises(ValueError, match="'label_smoothing' parameter of Bert"):
        fit("labels", label_smoothing=value)


@pytest.mark.parametrize("kind", ["labels", "indicator"])
def test_label_smoothing_makes_modest(fit, tasks, kind):
    """Smoothed targets are learnt, with probabilities farther from 0 and 1."""
    X, _ = tasks[kind]
    plain, smooth = [
        fit(kind, label_smoothing=s, max_epochs=4, learning_rate=1e-2, batch_size=8)
        for s in (0, 0.4)
    ]
    assert answers(smooth, X).max() < answers(plain, X).max()
    assert answers(smooth, X).min() > answers(plain, X).min()
