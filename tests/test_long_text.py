"""Texts that are longer than the model: cut, head and tail, or read in windows."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, logit, softmax
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertRegressor,
    TruncationWarning,
    load,
    save,
)

MAX_LENGTH = 12
ROOM = MAX_LENGTH - 2  # tokens of a text, between the special ones


@pytest.fixture(scope="module")
def long_texts():
    """Texts of 1 to 47 words, each of one token; the last few words decide."""
    rng = np.random.default_rng(0)
    words = ["the", "film", "cat", "dog", "plot", "i", "you", "was", "it", "and"]
    texts = []
    for i, length in enumerate([1, 8, 10, 11, 19, 20, 21, 30, 33, 47] * 2):
        ends = ["good", "great"] if i % 2 else ["bad", "awful"]
        texts.append(" ".join([*rng.choice(words, length), *ends][-max(length, 1) :]))
    return texts


@pytest.fixture(scope="module")
def targets():
    """Targets of the long texts, by kind."""
    is_good = np.arange(20) % 2
    return {
        "labels": np.where(is_good, "good", "bad"),
        "indicator": np.column_stack([is_good, np.arange(20) % 3 == 0]).astype(int),
        "numbers": is_good * 3.0,
    }


@pytest.fixture(scope="module")
def fit(settings, long_texts, targets):
    """Fit an estimator of a kind of target to the long texts."""

    def fit(kind="labels", X=None, **params):
        cls = BertRegressor if kind == "numbers" else BertClassifier
        defaults = {"max_length": MAX_LENGTH, "max_epochs": 1, "long_text": "window"}
        # The references below know no probe and no temperature.
        defaults["head_init"] = "random"
        if cls is BertClassifier:
            defaults["calibrate"] = False
        estimator = cls(**(settings | defaults | params))
        return estimator.fit(long_texts if X is None else X, targets[kind])

    return fit


@pytest.fixture(scope="module")
def embed(embedder_settings, long_texts):
    """The vectors of the long texts."""

    def embed(X=None, **params):
        defaults = {"max_length": MAX_LENGTH}
        embedder = BertEmbedder(**(embedder_settings | defaults | params))
        return embedder.fit_transform(long_texts if X is None else X)

    return embed


def windows(text, stride=None):
    """The windows of a text as texts of their own, and how many words are new."""
    words, stride = text.split(), stride or ROOM
    found, n_read = [], 0
    for begin in range(0, len(words), stride):
        end = min(begin + ROOM, len(words))
        found.append((" ".join(words[begin:end]), end - n_read))
        n_read = end
        if end == len(words):
            break
    return found


def average(values_of, text, stride=None):
    """What is said of the windows, averaged by their new words."""
    parts, n_new = zip(*windows(text, stride), strict=True)
    return np.average(values_of(list(parts)), axis=0, weights=n_new)


# -- windows ---------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [None, 1, 4, 10])
@pytest.mark.parametrize("kind", ["labels", "indicator", "numbers"])
def test_windows_are_averaged(fit, long_texts, kind, stride):
    """Probabilities, or numbers, are those of the windows, by their new tokens."""
    estimator = fit(kind, window_stride=stride, trainable="head")
    answer = estimator.predict if kind == "numbers" else estimator.predict_proba
    expected = [average(answer, text, stride) for text in long_texts]
    np.testing.assert_allclose(answer(long_texts), expected, rtol=1e-4, atol=1e-5)


def test_logits_of_windows_agree_with_probabilities(fit, long_texts, targets):
    """decision_function is the logits of the averaged probabilities."""
    two = fit("labels")
    proba = two.predict_proba(long_texts)
    np.testing.assert_allclose(
        two.decision_function(long_texts), logit(proba[:, 1]), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    several = fit("indicator")
    np.testing.assert_allclose(
        expit(several.decision_function(long_texts).astype(float)),
        several.predict_proba(long_texts),
        rtol=1e-5,
    )


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
@pytest.mark.parametrize("stride", [None, 3])
def test_vectors_of_windows_are_averaged(embed, long_texts, pooling, stride):
    """A long text's vector is the mean of its windows' by their new tokens."""
    ours = embed(long_text="window", window_stride=stride, pooling=pooling)
    expected = [
        average(lambda parts: embed(parts, pooling=pooling), text, stride)
        for text in long_texts[:10]
    ]
    np.testing.assert_allclose(ours[:10], expected, rtol=1e-4, atol=1e-5)


def test_greatest_of_windows(embed, long_texts):
    """With `pooling="max"` it is the maximum over all windows."""
    ours = embed(long_text="window", pooling="max")
    for text, vector in zip(long_texts[:10], ours, strict=False):
        parts = [part for part, _ in windows(text)]
        expected = embed(parts, pooling="max").max(axis=0)
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_vectors_of_windows_are_normalised_at_the_end(embed):
    """With `normalize` the average has length 1, not the windows' vectors."""
    plain = embed(long_text="window")
    unit = embed(long_text="window", normalize=True)
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, plain / lengths, atol=1e-6)


@pytest.mark.parametrize("long_text", ["window", "head_tail"])
def test_short_texts_are_read_as_ever(embed, long_texts, long_text):
    """Texts that fit in are not touched by `long_text`."""
    short = [text for text in long_texts if len(text.split()) <= ROOM]
    assert len(short) >= 6
    np.testing.assert_array_equal(embed(short, long_text=long_text), embed(short))


@pytest.mark.parametrize("trainable", ["all", "head", 1])
@pytest.mark.parametrize("kind", ["labels", "indicator", "numbers"])
def test_windows_are_trained_on_as_they_are_predicted(
    fit, long_texts, targets, kind, trainable
):
    """The loss is that of the whole text's answer, not of each window's."""
    common = {"batch_size": 1000, "dropout": 0.0, "trainable": trainable}
    first = fit(kind, **common, warmup=0.0, learning_rate=1e-30, weight_decay=0.0)
    y = targets[kind]
    if kind == "numbers":
        scaled = (first.predict(long_texts) - y.mean()) / y.std()
        loss = np.mean((scaled - (y - y.mean()) / y.std()) ** 2)
    else:
        proba = first.predict_proba(long_texts)
        true = y if kind == "indicator" else np.column_stack([y == "bad", y == "good"])
        losses = -np.log(np.where(true, proba, 1 - proba))
        loss = losses.mean() if kind == "indicator" else losses[:, 0].mean()
    np.testing.assert_allclose(first.history_[0]["train_loss"], loss, rtol=1e-5)


def test_gradients_go_through_all_windows(fit, long_texts, targets):
    """One update on windows is that of a plain loop over the windows."""
    common = {
        "batch_size": 1000,
        "dropout": 0.0,
        "warmup": 0.0,
        "weight_decay": 0.0,
        "learning_rate": 1e-3,
    }
    start = fit("labels", **common | {"learning_rate": 1e-30})
    ours = fit("labels", **common)
    tokenizer = AutoTokenizer.from_pretrained(start.checkpoint)
    encoder = AutoModel.from_pretrained(start.checkpoint).eval()
    encoder.load_state_dict(start.net_.module.encoder.state_dict())
    head = torch.nn.Linear(32, 2)
    head.load_state_dict(start.net_.module.head.state_dict())
    optimizer = torch.optim.AdamW(
        [
            {"params": encoder.parameters(), "lr": 1e-3},
            {"params": head.parameters(), "lr": 1e-2},
        ],
        weight_decay=0.0,
    )

    def proba(text):
        parts, n_new = zip(*windows(text), strict=True)
        batch = tokenizer(list(parts), padding=True, return_tensors="pt")
        mask = batch["attention_mask"][..., None]
        states = encoder(**batch).last_hidden_state
        vectors = (states * mask).sum(1) / mask.sum(1)
        scores = head(functional.layer_norm(vectors, (32,)))
        shares = torch.tensor(n_new) / sum(n_new)
        return (scores.softmax(1) * shares[:, None]).sum(0)

    codes = torch.tensor((targets["labels"] == "good").astype(int))
    loss = functional.nll_loss(
        torch.stack([proba(text) for text in long_texts]).log(), codes
    )
    loss.backward()
    weights = [*encoder.parameters(), *head.parameters()]
    torch.nn.utils.clip_grad_norm_([p for p in weights if p.grad is not None], 1.0)
    optimizer.step()
    with torch.inference_mode():
        expected = torch.stack([proba(text) for text in long_texts])
    np.testing.assert_allclose(ours.predict_proba(long_texts), expected, atol=1e-3)
    assert not np.allclose(start.predict_proba(long_texts), expected, atol=1e-2)


@pytest.mark.filterwarnings("ignore::sklearn_bert.TruncationWarning")
def test_the_end_of_a_text_is_read(fit, long_texts):
    """Windows, and head and tail, see the end of a text, which a cut leaves out."""
    long = [text for text in long_texts if len(text.split()) > 2 * ROOM]
    for long_text in ("window", "head_tail"):
        clf = fit(long_text=long_text, trainable="head", batch_size=8)
        changed = [text.rsplit(" ", 2)[0] + " runs sleeps" for text in long]
        before, after = clf.decision_function(long), clf.decision_function(changed)
        assert (np.abs(after - before) > 1e-4).all()


def test_windows_with_weights_validation_and_stopping(settings, long_texts, targets):
    """Weights, X_val and early stopping count texts, not windows."""
    y = targets["labels"]
    params = {"max_length": MAX_LENGTH, "long_text": "window", "max_epochs": 2}
    clf = BertClassifier(**(settings | params))
    weight = np.array([1, 0, 1, 1] * 5)
    keep = np.flatnonzero(weight)
    zeroed = clf.fit(long_texts, y, weight).predict_proba(long_texts)
    removed = clf.fit([long_texts[i] for i in keep], y[keep])
    np.testing.assert_array_equal(removed.predict_proba(long_texts), zeroed)
    clf.fit(long_texts, y, X_val=long_texts, y_val=y)
    assert clf.history_[-1]["valid_score"] == clf.score(long_texts, y)
    clf.set_params(early_stopping=True, validation_fraction=0.25).fit(long_texts, y)
    assert all(0 <= row["valid_score"] <= 1 for row in clf.history_)


def test_neighbours_do_not_matter(fit, long_texts):
    """In float32, order and company of a long text change no probability."""
    clf = fit(trainable="head")
    expected = clf.predict_proba(long_texts)
    rows = np.random.default_rng(0).permutation(20)[:13]
    found = clf.predict_proba([long_texts[i] for i in rows])
    np.testing.assert_allclose(found, expected[rows], atol=1e-5)
    for i in (0, 9, 13):
        alone = clf.predict_proba([long_texts[i]])
        np.testing.assert_allclose(alone[0], expected[i], atol=1e-5)


# -- head and tail, and cutting --------------------------------------------------------


@pytest.mark.parametrize("max_length", [8, 12, 23])
def test_head_and_tail(embed, long_texts, max_length):
    """A quarter of the tokens is of the beginning, the rest of the end."""
    room = max_length - 2
    n_head = round(room / 4)

    def cut(text):
        words = text.split()
        if len(words) <= room:
            return text
        return " ".join(words[:n_head] + words[len(words) - (room - n_head) :])

    by_hand = embed([cut(text) for text in long_texts], max_length=max_length)
    with pytest.warns(TruncationWarning):
        ours = embed(long_text="head_tail", max_length=max_length)
    np.testing.assert_allclose(ours, by_hand, atol=1e-6)


def test_the_beginning(embed, long_texts):
    """ "truncate" reads the beginning."""
    by_hand = embed([" ".join(text.split()[:ROOM]) for text in long_texts])
    with pytest.warns(TruncationWarning):
        ours = embed(long_text="truncate")
    np.testing.assert_allclose(ours, by_hand, atol=1e-6)


@pytest.mark.parametrize("long_text", ["truncate", "head_tail"])
def test_what_is_left_out_is_told(embedder_settings, long_texts, long_text):
    """What is cut is counted, once per call."""
    embedder = BertEmbedder(
        **embedder_settings, max_length=MAX_LENGTH, long_text=long_text
    )
    n_long = sum(len(text.split()) > ROOM for text in long_texts)
    with pytest.warns(TruncationWarning, match=f"{n_long} of 20 texts") as caught:
        embedder.fit(long_texts)
    assert len(caught) == 1
    assert embedder.truncation_report_["n_truncated"] == n_long
    assert embedder.truncation_report_["longest"] == max(
        len(text.split()) + 2 for text in long_texts
    )


def test_windows_cut_nothing(fit, long_texts):
    """In windows nothing is left out, so that there is nothing to warn about."""
    clf = fit(trainable="head")
    clf.predict(long_texts)
    report = clf.truncation_report_
    assert report["n_truncated"] == 0
    assert report["longest"] == max(len(text.split()) + 2 for text in long_texts)
    assert report["max_length"] == clf.max_length_ == MAX_LENGTH


def test_a_very_long_text(fit):
    """A text of 20,000 words is read whole."""
    clf = fit(trainable="head")
    text = " ".join(["the film was good"] * 5000)
    np.testing.assert_allclose(
        clf.predict_proba([text])[0],
        average(clf.predict_proba, text),
        atol=1e-5,
    )


# -- pairs and containers --------------------------------------------------------------


def test_the_longer_half_of_a_pair_is_divided(embed):
    """Each window of the longer half is read with the whole other half."""
    short = "a good film"
    long = " ".join(["the", "cat", "runs", "and", "dog"] * 6)
    room = 20 - 3 - 3  # three special tokens, and the short half
    words = long.split()
    for swap in (False, True):
        order = (lambda a, b: (b, a)) if swap else (lambda a, b: (a, b))
        parts = [
            order(" ".join(words[begin : begin + room]), short)
            for begin in range(0, len(words), room)
        ]
        n_new = [len(part[int(swap)].split()) for part in parts]
        vectors = embed(parts, max_length=20)
        ours = embed([order(long, short)], max_length=20, long_text="window")
        expected = np.average(vectors, axis=0, weights=n_new)
        np.testing.assert_allclose(ours[0], expected, atol=1e-5)


def test_windows_of_a_template(fit, long_texts, settings, targets):
    """Columns that a template joins are divided as the text that they make."""
    frame = pd.DataFrame({"title": "film", "body": long_texts})
    params = {"trainable": "head", "template": "{title} {body}"}
    by_frame = fit(X=frame, **params)
    joined = [f"film {text}" for text in long_texts]
    by_hand = fit(X=joined, trainable="head")
    np.testing.assert_array_equal(
        by_frame.predict_proba(frame), by_hand.predict_proba(joined)
    )


@pytest.mark.parametrize("stride", [None, 4])
def test_saving_keeps_how_long_texts_are_read(fit, long_texts, tmp_path, stride):
    """A loaded estimator reads long texts as the saved one does."""
    clf = fit(trainable="head", window_stride=stride)
    save(clf, tmp_path / "model")
    loaded = load(tmp_path / "model")
    np.testing.assert_array_equal(
        loaded.predict_proba(long_texts), clf.predict_proba(long_texts)
    )
    assert loaded.get_params()["window_stride"] == stride


def test_set_params_waits_for_fit(fit, long_texts):
    """How long texts are read is that of the fit."""
    clf = fit(trainable="head")
    before = clf.predict_proba(long_texts)
    clf.set_params(long_text="truncate", window_stride=1)
    np.testing.assert_array_equal(clf.predict_proba(long_texts), before)


# -- bad parameters --------------------------------------------------------------------


@pytest.mark.parametrize("cls", [BertClassifier, BertRegressor, BertEmbedder])
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("long_text", "drop"),
        ("long_text", None),
        ("window_stride", 0),
        ("window_stride", -3),
        ("window_stride", 2.5),
    ],
)
def test_bad_parameters_are_refused_at_once(monkeypatch, cls, parameter, value):
    """A parameter out of range is named before the checkpoint is read."""

    def refuse(*args, **kwargs):
        raise AssertionError("the checkpoint was read before the input was checked")

    monkeypatch.setattr("sklearn_bert.estimators._base.load_checkpoint", refuse)
    with pytest.raises(ValueError, match=f"'{parameter}' parameter of {cls.__name__}"):
        cls(**{parameter: value}).fit(["a", "b"], [0, 1])


def test_a_stride_longer_than_a_window_is_refused(embed):
    """A stride that would leave tokens out is refused, and the most is told."""
    with pytest.raises(ValueError, match="window_stride is 11, .*expected at most 10"):
        embed(long_text="window", window_stride=11)
    embed(long_text="window", window_stride=10)


def test_softmax_is_not_of_averaged_scores(fit, long_texts):
    """Probabilities are averaged, not logits: the two differ."""
    clf = fit()
    text = max(long_texts, key=len)
    parts, n_new = zip(*windows(text), strict=True)
    scores = np.log(clf.predict_proba(list(parts)))
    wrong = softmax(np.average(scores, axis=0, weights=n_new))
    assert not np.allclose(clf.predict_proba([text])[0], wrong, rtol=0, atol=1e-9)
