"""`BertEmbedder(objective=...)`: what is learnt, kept, saved, and refused."""

import copy
import json
import pickle
import random

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import silhouette_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

from sklearn_bert import (
    BertEmbedder,
    BertPretrainer,
    CheckpointError,
    TruncationWarning,
    load,
    save,
)
from sklearn_bert.model._checkpoint import load_checkpoint

NOWHERE = "/no/such/folder"
TEXTS = ["the film was good", "a cat", "", "the dog runs , it was very dull !", "a cat"]
OBJECTIVES = ["simcse", "mlm", "supervised", "pairs"]


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer, but where layers are told apart."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def pairs(reviews):
    """Twenty pairs of different texts."""
    texts = reviews[0]
    return list(zip(texts[::2], texts[1::2], strict=True))


@pytest.fixture(scope="module")
def fit(settings, reviews, pairs):
    """Fit a tiny embedder on what its objective asks for."""

    def fit(objective, X=None, y=None, **params):
        if X is None:
            X, y = reviews if objective != "pairs" else (pairs, y)
        defaults = {"objective": objective, "max_epochs": 1, "batch_size": 20}
        return BertEmbedder(**(settings | defaults | params)).fit(X, y)

    return fit


@pytest.fixture(scope="module", params=OBJECTIVES)
def embedder(request, fit):
    return fit(request.param)


@pytest.fixture(scope="module")
def untrained(fit):
    return fit(None)


# -- nothing is learnt unless asked for -----------------------------------------------


def test_without_an_objective_no_weight_moves(untrained, checkpoint):
    """objective=None: the checkpoint's bits, and nothing of a training is left."""
    expected = load_checkpoint(checkpoint).encoder.state_dict()
    for name, value in untrained.net_.module.encoder.state_dict().items():
        assert torch.equal(value, expected[name])
    for name in ("history_", "n_iter_", "batch_size_used_"):
        assert not hasattr(untrained, name)


def test_without_an_objective_parameters_of_learning_do_not_count(untrained, fit):
    """Vectors are bit-identical whatever the training would have been."""
    other = fit(
        None,
        temperature=1.0,
        trainable=1,
        max_epochs=7,
        learning_rate=1.0,
        batch_size=1,
        random_state=3,
        warmup=1.0,
    )
    assert_array_equal(other.transform(TEXTS), untrained.transform(TEXTS))
    no_y = BertEmbedder(**other.get_params()).fit(TEXTS)
    assert_array_equal(no_y.transform(TEXTS), untrained.transform(TEXTS))


def test_a_second_fit_forgets_the_first(fit, reviews, pairs):
    """Without an objective a learnt embedder is again what the checkpoint is."""
    embedder = fit("simcse")
    embedder.set_params(objective=None).fit(reviews[0])
    assert not hasattr(embedder, "history_")
    assert not hasattr(embedder, "n_iter_")
    assert_array_equal(embedder.transform(TEXTS), fit(None).transform(TEXTS))


# -- what is learnt -------------------------------------------------------------------


def test_each_objective_learns(embedder, untrained, checkpoint):
    """Weights and vectors change; the checkpoint that others read does not."""
    assert embedder.n_iter_ == len(embedder.history_) == 1
    row = embedder.history_[0]
    assert {"epoch", "train_loss", "learning_rate", "seconds"} <= row.keys()
    assert "valid_score" not in row
    moved = np.abs(embedder.transform(TEXTS) - untrained.transform(TEXTS)).max(1)
    assert (moved > 1e-3).all()
    again = BertEmbedder(checkpoint, device="cpu", precision="float32").fit(TEXTS)
    assert_array_equal(again.transform(TEXTS), untrained.transform(TEXTS))


@pytest.mark.parametrize("objective", ["simcse", "supervised", "pairs", "scored"])
def test_the_loss_falls(fit, pairs, objective):
    """Over a few epochs each objective is met better."""
    params = {"max_epochs": 4, "batch_size": 40}  # each epoch the same comparisons
    if objective == "scored":
        params["batch_size"] = 8  # which takes some steps to learn
        embedder = fit("pairs", pairs, np.arange(20.0) % 3, **params)
    else:
        embedder = fit(objective, **params)
    losses = [row["train_loss"] for row in embedder.history_]
    assert losses[-1] < losses[0]


def test_supervised_brings_classes_together(fit, untrained, reviews):
    """Of texts that it has not read, silhouette and a linear model's score rise."""
    texts, labels = reviews
    embedder = fit("supervised", texts[:24], labels[:24], max_epochs=4, batch_size=8)
    train, held_out = slice(24), slice(24, None)

    def quality(of):
        vectors = of.transform(texts)
        linear = LogisticRegression().fit(vectors[train], labels[train])
        silhouette = silhouette_score(vectors[held_out], labels[held_out])
        return silhouette, linear.score(vectors[held_out], labels[held_out])

    before, after = quality(untrained), quality(embedder)
    assert after[0] > before[0] + 0.1
    assert after[1] >= before[1]
    assert after[1] > 0.9


def test_classes_may_be_anything(fit, reviews):
    """Numbers, booleans, pandas' categories: the same classes teach the same."""
    texts, labels = reviews
    expected = fit("supervised").transform(TEXTS)
    is_pos = np.array([label == "pos" for label in labels])
    for y in (is_pos, is_pos.astype(int), pd.Series(labels, dtype="category")):
        ours = fit("supervised", texts, y).transform(TEXTS)
        assert_array_equal(ours, expected)


def cosines(embedder, pairs):
    first, second = (
        embedder.transform(list(half)) for half in zip(*pairs, strict=True)
    )
    dots = (first * second).sum(1)
    return dots / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


THINGS = ["film", "movie", "plot", "cat", "dog", "one", "two", "three"]
PAIRS = [(f"the {thing}", f"it was {thing} , and {thing}") for thing in THINGS]


def test_pairs_find_each_other(fit, untrained):
    """After learning from pairs the right second text is the nearest more often."""

    def n_found(embedder):
        first, second = (
            embedder.transform(list(half)) for half in zip(*PAIRS, strict=True)
        )
        unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (first, second)]
        return ((unit[0] @ unit[1].T).argmax(1) == np.arange(len(PAIRS))).sum()

    embedder = fit("pairs", PAIRS * 4, max_epochs=6, batch_size=8)
    assert n_found(embedder) > n_found(untrained)
    assert n_found(embedder) >= 7


def test_scores_order_the_cosines(fit, untrained, reviews):
    """After learning from scores, pairs of higher scores have the higher cosine."""
    mixed = PAIRS + [(a, PAIRS[i - 3][1]) for i, (a, _) in enumerate(PAIRS)]
    scores = np.repeat([5.0, -1.0], len(PAIRS))
    params = {"max_epochs": 6, "batch_size": 8}
    embedder = fit("pairs", mixed * 2, np.tile(scores, 2), **params)
    learnt, before = (cosines(e, mixed) for e in (embedder, untrained))
    gap = learnt[:8].mean() - learnt[8:].mean()
    assert gap > before[:8].mean() - before[8:].mean() + 0.2


def test_only_the_order_of_scores_counts(fit, pairs):
    """Another scale of the scores teaches the same, by no bit differently."""
    scores = np.arange(20.0) % 5
    expected = fit("pairs", pairs, scores).transform(TEXTS)
    for other in (scores * 10 - 3, np.exp(scores), (scores - 9).astype(int).tolist()):
        assert_array_equal(fit("pairs", pairs, other).transform(TEXTS), expected)
    backwards = fit("pairs", pairs, -scores).transform(TEXTS)
    assert np.abs(backwards - expected).max() > 1e-3


def test_mlm_is_a_pretrainer_and_an_embedder(settings, reviews, tmp_path):
    """The vectors are those of BertPretrainer(pack=False), saved and embedded with."""
    params = settings | {"max_epochs": 2}
    ours = BertEmbedder(objective="mlm", **params).fit(reviews[0])
    pretrainer = BertPretrainer(pack=False, **params).fit(reviews[0])
    save(pretrainer, tmp_path / "model")
    plain = settings | {"checkpoint": tmp_path / "model"}
    expected = BertEmbedder(**plain).fit(reviews[0]).transform(TEXTS)
    assert_array_equal(ours.transform(TEXTS), expected)
    losses = [[r["train_loss"] for r in e.history_] for e in (ours, pretrainer)]
    assert losses[0] == losses[1]
    assert ours.n_iter_ == 2


@pytest.mark.parametrize("family", ["roberta", "distilbert", "mpnet"])
@pytest.mark.parametrize("objective", ["simcse", "mlm"])
def test_other_families_learn(fit, family_checkpoint, texts_of, family, objective):
    """Families with other words and other layers learn as well."""
    texts = texts_of["English"] + texts_of["German"]
    before = fit(None, texts, checkpoint=family_checkpoint(family))
    after = fit(objective, texts, checkpoint=family_checkpoint(family))
    moved = np.abs(after.transform(texts) - before.transform(texts)).max(1)
    assert (moved > 1e-3).all()


@pytest.mark.parametrize("objective", ["simcse", "supervised", "pairs"])
def test_attention_learns_with_an_objective(fit, objective, tmp_path):
    """pooling="attention" learns what to look at, and takes it along when saved."""
    embedder = fit(objective, pooling="attention", max_epochs=2)
    assert embedder.net_.module.attention.query.abs().max() > 0
    save(embedder, tmp_path / "model")
    expected = embedder.transform(TEXTS)
    assert_array_equal(load(tmp_path / "model").transform(TEXTS), expected)
    again = fit(None, checkpoint=tmp_path / "model", pooling="attention")
    assert_allclose(again.transform(TEXTS), expected, atol=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_whitening_after_learning(fit, objective):
    """Vectors of the texts of fit have mean 0 and covariance 1 after learning."""
    texts = [f"{a} {b}" for a in THINGS for b in ("good", "bad", "dull", "a", "!")]
    X, y = texts, np.arange(40) % 2
    if objective == "pairs":
        X, y = list(zip(texts[:20], texts[20:], strict=True)), None
    embedder = fit(objective, X, y, n_components=4, whiten=True)
    vectors = embedder.transform(texts)
    assert vectors.shape == (40, 4)
    assert_allclose(vectors.mean(0), 0, atol=1e-4)
    assert_allclose(np.cov(vectors.T, bias=False), np.eye(4), atol=1e-3)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_components_after_learning(fit, objective):
    """n_components keeps the first entries of what was learnt."""
    whole, part = fit(objective), fit(objective, n_components=5)
    assert_array_equal(part.transform(TEXTS), whole.transform(TEXTS)[:, :5])
    assert len(part.get_feature_names_out()) == 5


# -- reproducible, and a good guest ---------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_random_state_reproduces(fit, emulated_bfloat16, objective, precision):
    """The same seed gives the same bits, another one others."""
    first, second, other = (
        fit(objective, random_state=seed, precision=precision).transform(TEXTS)
        for seed in (1, 1, 2)
    )
    assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-4


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", [None, 0])
def test_the_caller_s_generators_stay(fit, objective, seed):
    """Learning takes no numbers from the process's generators."""
    before = (
        random.getstate(),
        copy.deepcopy(np.random.get_state()),
        torch.get_rng_state(),
    )
    fit(objective, random_state=seed)
    assert random.getstate() == before[0]
    assert_array_equal(np.random.get_state()[1], before[1][1])
    assert np.random.get_state()[2] == before[1][2]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_what_is_handed_in_stays(fit, reviews, pairs):
    """Lists of texts, labels and scores are as they were."""
    texts, labels, couples = list(reviews[0]), list(reviews[1]), list(pairs)
    scores = np.arange(20.0)
    fit("supervised", texts, labels)
    fit("pairs", couples, scores)
    assert (texts, labels, couples) == (reviews[0], reviews[1], pairs)
    assert_array_equal(scores, np.arange(20.0))


# -- it is an estimator ---------------------------------------------------------------


@pytest.mark.parametrize("objective", ["simcse", "mlm", "supervised"])
def test_fit_transform_is_fit_then_transform(settings, reviews, objective):
    """Both ways give the same vectors of the same texts."""
    embedder = BertEmbedder(objective=objective, **settings).set_params(max_epochs=1)
    together = embedder.fit_transform(*reviews)
    one_by_one = clone(embedder).fit(*reviews).transform(reviews[0])
    assert_allclose(together, one_by_one, atol=1e-6)


def test_fit_transform_of_pairs_is_refused_before_training(pairs):
    """Pairs are learnt from and single texts embedded: not in one call."""
    embedder = BertEmbedder(NOWHERE, objective="pairs")
    with pytest.raises(ValueError, match="Call fit on the pairs and transform on"):
        embedder.fit_transform(pairs)


@pytest.mark.parametrize("y", [None, np.arange(20.0)])
def test_after_pairs_texts_are_embedded_one_by_one(fit, pairs, y):
    """A column has one vector per text; two columns are no longer asked for."""
    frame = pd.DataFrame(pairs, columns=["question", "answer"])
    embedder = fit("pairs", frame, y)
    assert embedder.n_features_in_ == 1
    assert not hasattr(embedder, "feature_names_in_")
    assert embedder.transform(frame["answer"]).shape == (20, 32)
    assert embedder.transform(frame[["question"]]).shape == (20, 32)
    assert embedder.truncation_report_["n_texts"] == 40
    with pytest.raises(ValueError, match="2 features"):
        embedder.transform(frame)
    expected = fit("pairs", pairs, y).transform(TEXTS)
    assert_array_equal(embedder.transform(TEXTS), expected)


def test_long_pairs_are_cut_and_counted(fit):
    """One warning says how many texts of all pairs were longer than is read."""
    with pytest.warns(TruncationWarning, match="1 of 4 texts") as caught:
        embedder = fit("pairs", [("the " * 30, "a"), ("b", "c")], max_length=8)
    assert len(caught) == 1
    assert embedder.truncation_report_["n_truncated"] == 1


@pytest.mark.parametrize("objective", ["simcse", "supervised", "mlm"])
def test_long_texts_are_told_of_once(fit, objective):
    """With each objective one warning counts the texts that were cut."""
    X = ["the " * 30, "a cat", "b", "c"]
    with pytest.warns(TruncationWarning, match="1 of 4 texts") as caught:
        fit(objective, X, list("xxyy"), max_length=8)
    assert len(caught) == 1


def test_save_and_load(embedder, tmp_path):
    """Loaded and pickled embedders give the same bits, and know their history."""
    expected = embedder.transform(TEXTS)
    save(embedder, tmp_path / "model")
    for again in (load(tmp_path / "model"), pickle.loads(pickle.dumps(embedder))):
        assert_array_equal(again.transform(TEXTS), expected)
        assert again.get_params() == embedder.get_params()
        assert again.history_ == embedder.history_
        assert again.n_features_in_ == 1


def test_a_saved_one_is_a_checkpoint(embedder, fit, tmp_path):
    """Its folder gives an embedder that learns nothing the same vectors."""
    save(embedder, tmp_path / "model")
    again = fit(None, checkpoint=tmp_path / "model")
    assert_allclose(again.transform(TEXTS), embedder.transform(TEXTS), atol=1e-6)


@pytest.mark.parametrize("rank", [1, 3])
def test_adapter_rank_is_that_of_the_change(fit, checkpoint, rank):
    """What the adapter has added to a matrix is of the rank that was asked for."""
    embedder = fit("supervised", adapter="lora", adapter_rank=rank)
    name = "encoder.layer.0.attention.self.query.weight"
    after = embedder.net_.module.encoder.state_dict()[name]
    change = after - load_checkpoint(checkpoint).encoder.state_dict()[name]
    assert torch.linalg.matrix_rank(change, rtol=1e-3) == rank


@pytest.mark.filterwarnings("ignore")  # its own, which are none of ours
@pytest.mark.parametrize(
    ("objective", "extra"),
    [
        *((objective, {}) for objective in OBJECTIVES),
        ("mlm", {"normalize": True, "n_components": 6}),
        ("simcse", {"trainable": 1, "pooling": "cls"}),
        ("supervised", {"adapter": "lora", "pooling": "max"}),
        ("simcse", {"whiten": True, "n_components": 3}),
        (
            "pairs",
            {"trainable": 2, "normalize": True, "whiten": True, "n_components": 3},
        ),
    ],
)
def test_sentence_transformers_opens_the_folder(
    fit, two_layer_checkpoint, tmp_path, objective, extra
):
    """SentenceTransformer(folder).encode gives the vectors that were learnt."""
    package = pytest.importorskip("sentence_transformers")
    if "trainable" in extra:
        extra = {"checkpoint": two_layer_checkpoint, **extra}
    embedder = fit(objective, **extra)
    save(embedder, tmp_path / "model")
    model = package.SentenceTransformer(str(tmp_path / "model"), device="cpu")
    theirs = model.encode(TEXTS, show_progress_bar=False)
    assert_allclose(embedder.transform(TEXTS), theirs, atol=1e-5)


def test_a_search_over_objectives(settings, reviews):
    """In a pipeline, with and without labels to learn from; the best learns again."""
    params = settings | {"max_epochs": 1}
    pipeline = Pipeline(
        [("embed", BertEmbedder(**params)), ("lr", LogisticRegression())]
    )
    grid = [
        {"embed__objective": [None, "simcse"]},
        {"embed__objective": ["supervised"], "embed__temperature": [0.05, 0.5]},
    ]
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(*reviews)
    assert len(search.cv_results_["params"]) == 4
    assert (search.cv_results_["mean_test_score"] >= 0).all()
    assert search.predict(reviews[0]).shape == (40,)


def test_in_a_column_transformer(settings, reviews):
    """A column of a frame is learnt from, with the frame's labels."""
    texts, labels = reviews
    frame = pd.DataFrame({"text": texts, "n": np.arange(40)})
    columns = ColumnTransformer(
        [("text", BertEmbedder(objective="supervised", **settings), "text")],
        remainder="passthrough",
    )
    columns.set_params(text__max_epochs=1)
    together = columns.fit_transform(frame, labels)
    assert together.shape == (40, 33)
    assert columns.named_transformers_["text"].n_iter_ == 1


def test_set_output(settings, reviews):
    """Vectors as a frame, with names, after learning."""
    embedder = BertEmbedder(objective="simcse", **settings).set_params(max_epochs=1)
    frame = embedder.set_output(transform="pandas").fit_transform(reviews[0])
    assert frame.columns.tolist() == [f"bertembedder{i}" for i in range(32)]


def test_clone_and_repr(embedder):
    """A clone has the parameters and nothing learnt; repr names the objective."""
    copied = clone(embedder)
    assert copied.get_params() == embedder.get_params()
    assert not hasattr(copied, "net_")
    assert f"objective='{embedder.objective}'" in repr(embedder)


def test_a_template_joins_before_learning(fit, reviews):
    """Columns that a template joins are learnt from as one text."""
    texts, labels = reviews
    frame = pd.DataFrame({"a": texts, "b": ["!"] * 40})
    embedder = fit("supervised", frame, labels, template="{a} {b}")
    expected = fit("supervised", [f"{t} !" for t in texts], labels)
    assert_array_equal(
        embedder.transform(frame[:3]), expected.transform([f"{t} !" for t in texts[:3]])
    )


# -- bad input ------------------------------------------------------------------------

COUPLES = [("a", "b"), ("c", "d"), ("e", "f")]
THREE = ["a cat", "the dog", "good"]
BAD = {
    "supervised without y": ("supervised", THREE, None, {}, "y is None"),
    "supervised with an indicator": (
        "supervised", THREE, np.eye(3, dtype=int), {}, "one class per text"),
    "supervised with too few labels": (
        "supervised", THREE, ["x", "y"], {}, "inconsistent numbers"),
    "supervised with NaN": (
        "supervised", THREE, ["x", None, "y"], {}, r"y\[1\] is None"),
    "supervised with a float NaN": (
        "supervised", THREE, [1.0, np.nan, 2.0], {}, r"y\[1\] is .*nan"),
    "supervised with one class": ("supervised", THREE, list("xxx"), {}, "one class"),
    "supervised with numbers": (
        "supervised", THREE, [0.5, 1.5, 2.25], {}, "continuous|Unknown label type"),
    "supervised with pairs": ("supervised", COUPLES, list("xyx"), {}, "column|pair"),
    "pairs of one column": ("pairs", THREE, None, {}, "X has one column"),
    "pairs with constant scores": ("pairs", COUPLES, [2, 2, 2], {}, "no order"),
    "pairs with NaN": ("pairs", COUPLES, [1.0, np.nan, 2.0], {}, r"y\[1\]"),
    "pairs with infinity": ("pairs", COUPLES, [1.0, np.inf, 2.0], {}, r"y\[1\]"),
    "pairs with words": ("pairs", COUPLES, list("xyz"), {}, r"y\[0\]"),
    "pairs with too many scores": ("pairs", COUPLES, [1, 2, 3, 4], {}, "inconsistent"),
    "pairs with two scores each": ("pairs", COUPLES, np.eye(3)[:, :2], {}, "2 columns"),
    "simcse with one text": ("simcse", ["a", "a"], None, {}, r"only one \(2 times\)"),
    "simcse with pairs": ("simcse", COUPLES, None, {}, "column|pair"),
    "mlm with pairs": ("mlm", COUPLES, None, {}, "column|pair"),
    "mlm of top layers": ("mlm", THREE, None, {"trainable": 1}, "trainable='all'"),
    "mlm with an adapter": ("mlm", THREE, None, {"adapter": "lora"}, "adapter=None"),
    "windows": ("simcse", THREE, None, {"long_text": "window"}, "head_tail"),
    "windows with mlm": ("mlm", THREE, None, {"long_text": "window"}, "head_tail"),
    "only a head": ("simcse", THREE, None, {"trainable": "head"}, "trainable"),
    "an adapter of top layers": (
        "simcse", THREE, None, {"trainable": 1, "adapter": "lora"}, "trainable='all'"),
    "no such objective": ("triplets", THREE, None, {}, "objective"),
    "no temperature": ("simcse", THREE, None, {"temperature": 0}, "temperature"),
    "no epoch": ("simcse", THREE, None, {"max_epochs": 0}, "max_epochs"),
    "no text": ("simcse", [], None, {}, "empty"),
    "mlm with too few texts to whiten": (
        "mlm", THREE, None, {"whiten": True, "n_components": 4}, "at least as many"),
    "simcse with too few texts to whiten": (
        "simcse", THREE, None, {"whiten": True, "n_components": 4}, "at least as many"),
    "simcse without dropout": ("simcse", THREE, None, {"dropout": 0.0}, "dropout=0.1"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("objective", "X", "y", "params", "message"), BAD.values(), ids=BAD
)
def test_bad_input_is_refused_before_the_checkpoint_is_read(
    objective, X, y, params, message
):
    """What is wrong is said with the remedy, though there is no checkpoint at all."""
    embedder = BertEmbedder(NOWHERE, objective=objective, device="cpu", **params)
    with pytest.raises((TypeError, ValueError), match=message):
        embedder.fit(X, y)
    assert not hasattr(embedder, "net_")


def test_texts_without_words_are_refused_before_the_checkpoint_is_read():
    """With "mlm" there has to be a word to guess."""
    with pytest.raises(ValueError, match="not one word"):
        BertEmbedder(NOWHERE, objective="mlm", device="cpu").fit(["", " "])


def test_a_checkpoint_that_is_not_there():
    """With good input the missing folder is what is complained about."""
    with pytest.raises(CheckpointError):
        BertEmbedder(NOWHERE, objective="simcse", device="cpu").fit(THREE)


def test_a_checkpoint_without_dropout_cannot_blur(fit, make_checkpoint):
    """Where neither parameter nor checkpoint gives dropout, simcse says what to set."""
    folder = make_checkpoint()
    config = json.loads((folder / "config.json").read_text())
    config |= dict.fromkeys(
        ["hidden_dropout_prob", "attention_probs_dropout_prob"], 0.0
    )
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="Set dropout=0.1"):
        fit("simcse", checkpoint=folder)
    assert fit("simcse", checkpoint=folder, dropout=0.1).n_iter_ == 1


def test_too_many_layers_or_components(fit):
    """What only the checkpoint tells is refused as soon as it is read."""
    with pytest.raises(ValueError, match="trainable"):
        fit("simcse", trainable=3)
    with pytest.raises(ValueError, match="n_components is 33.*have 32"):
        fit("simcse", n_components=33)


class Epochs(Callback):
    """Counts the epochs of all fits."""

    n = 0

    def on_epoch_end(self, net, **kwargs):
        Epochs.n += 1


def test_callbacks_are_called(fit):
    """skorch's callbacks see each epoch of each objective."""
    for objective in OBJECTIVES:
        Epochs.n = 0
        fit(objective, callbacks=[Epochs()], max_epochs=2)
        assert Epochs.n == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pooling": "attention"}, "attention"),
        ({"n_components": 33}, "n_components is 33"),
        ({"whiten": True, "n_components": 32}, "at least as many"),
    ],
    ids=str,
)
def test_mlm_is_refused_before_it_trains(fit, wrong, message):
    """What cannot become vectors afterwards is said before an epoch is spent on it."""
    Epochs.n = 0
    with pytest.raises((ValueError, CheckpointError), match=message):
        fit("mlm", THREE, callbacks=[Epochs()], **wrong)
    assert Epochs.n == 0


@pytest.mark.parametrize(
    ("objective", "X", "params", "message"),
    [
        ("simcse", THREE, {"batch_size": 1}, "batch_size"),
        ("pairs", COUPLES, {"batch_size": 1}, "batch_size"),
        ("pairs", COUPLES[:1], {}, "one|1 pair"),
    ],
)
def test_nothing_to_compare_with(objective, X, params, message):
    """Where no example has another to be told from, nothing would be learnt."""
    embedder = BertEmbedder(NOWHERE, objective=objective, device="cpu", **params)
    with pytest.raises(ValueError, match=message):
        embedder.fit(X)


def test_two_texts_of_a_batch_are_enough_to_compare(fit):
    """batch_size=2 is the least that an objective of comparisons takes."""
    assert fit("simcse", THREE, batch_size=2).batch_size_used_ == 2


def test_scores_in_a_frame_of_one_column(fit, pairs):
    """A frame of one column of scores is a column, as one of labels is."""
    scores = np.arange(20.0)
    frame = pd.DataFrame({"score": scores})
    expected = fit("pairs", pairs, scores).transform(TEXTS)
    assert_array_equal(fit("pairs", pairs, frame).transform(TEXTS), expected)


def test_mlm_has_one_rate_for_all_layers():
    """layer_decay, which guessing words would pass over in silence, is refused."""
    embedder = BertEmbedder(NOWHERE, objective="mlm", layer_decay=0.5, device="cpu")
    with pytest.raises(ValueError, match="layer_decay"):
        embedder.fit(THREE)


def test_a_failed_fit_leaves_what_was_there(fit, reviews):
    """Bad input in a second fit leaves the first one's vectors and history."""
    embedder = fit("supervised")
    expected, history = embedder.transform(TEXTS), embedder.history_
    with pytest.raises(ValueError, match="y is None"):
        embedder.fit(reviews[0])
    assert_array_equal(embedder.transform(TEXTS), expected)
    assert embedder.history_ == history
