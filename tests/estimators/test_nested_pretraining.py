"""A pretrainer inside another estimator: what it sees, and what comes of it."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from transformers import AutoModel, AutoTokenizer

from sklearn_bert import (
    BertClassifier,
    BertPretrainer,
    BertRegressor,
    WordPieceVocabulary,
    load,
    save,
)
from sklearn_bert.estimators import _base, _language_model

ESTIMATORS = [BertClassifier, BertRegressor]
UNLABELED = ["a dull plot , a dull film", "the dog runs"]


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer, but where layers are told apart."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def data(reviews):
    """24 texts that can be told apart, and labels."""
    texts, labels = reviews
    distinct = [f"{text} {'cat ' * (i // 10)}" for i, text in enumerate(texts[:24])]
    assert len(set(distinct)) == 24
    return distinct, np.array(labels[:24])


@pytest.fixture(scope="module")
def targets(data):
    """What each kind of estimator learns."""
    return {BertClassifier: data[1], BertRegressor: np.arange(24.0)}


@pytest.fixture(scope="module")
def make(settings):
    """Make an estimator that adapts for an epoch and learns its head for one."""

    def make(cls=BertClassifier, *, nested=None, **params):
        pretraining = BertPretrainer(max_epochs=1, learning_rate=1e-3, batch_size=8)
        pretraining.set_params(**(nested or {}))
        fast = {"max_epochs": 1, "trainable": "head", "pretraining": pretraining}
        return cls(**(settings | fast | params))

    return make


@pytest.fixture
def calls(monkeypatch):
    """The pretrainers that were fitted, and on which texts."""
    found = []
    fit = BertPretrainer.fit

    def spy(self, X, y=None, **more):
        assert y is None
        assert not more
        found.append((self, list(X)))
        return fit(self, X)

    monkeypatch.setattr(BertPretrainer, "fit", spy)
    return found


def rows_of(texts, rows):
    return [texts[i] for i in rows]


@pytest.fixture(scope="module")
def encoder_of():
    """The weights of an estimator's encoder."""

    def weights(estimator):
        return estimator.net_.module.encoder.state_dict()

    return weights


def assert_same(one, other, *, atol=0.0):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=atol)


# -- what it sees ----------------------------------------------------------------------


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_pretrainer_sees_the_texts_and_the_unlabeled_ones(
    make, data, targets, cls, calls
):
    """The nested fit gets all texts of X once, and those without labels."""
    make(cls).fit(data[0], targets[cls], unlabeled=UNLABELED)
    ((_, seen),) = calls
    assert sorted(seen) == sorted(data[0] + UNLABELED)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_no_leak_in_cross_validation(make, data, targets, cls, calls):
    """In each fold it sees the training texts, and no text of the test fold."""
    X, y = data[0], targets[cls]
    folds = [(np.arange(8, 24), np.arange(8)), (np.arange(16), np.arange(16, 24))]
    cross_val_score(make(cls), X, y, cv=folds)
    assert len(calls) == 2
    for (train, test), (_, seen) in zip(folds, calls, strict=True):
        assert sorted(seen) == sorted(rows_of(X, train))
        assert not set(seen) & set(rows_of(X, test))


@pytest.mark.parametrize("routed", [False, True])
def test_no_leak_in_a_search(make, data, calls, routed):
    """A grid over pretraining__max_epochs: each fit sees its fold, and the epochs."""
    X, y = data
    cv = StratifiedKFold(2)
    folds = [sorted(rows_of(X, train)) for train, _ in cv.split(X, y)]
    grid = {"pretraining__max_epochs": [1, 2]}
    more = {"unlabeled": UNLABELED} if routed else {}
    with config_context(enable_metadata_routing=True):
        estimator = make().set_fit_request(unlabeled=True)
        search = GridSearchCV(estimator, grid, cv=cv).fit(X, y, **more)
    extra = UNLABELED if routed else []
    expected = [sorted(fold + extra) for fold in folds] * 2 + [sorted(X + extra)]
    assert [sorted(seen) for _, seen in calls] == expected
    epochs = [nested.max_epochs for nested, _ in calls]
    assert epochs == [1, 1, 2, 2, search.best_params_["pretraining__max_epochs"]]
    best = search.best_estimator_
    assert len(best.pretraining_history_) == epochs[-1]
    assert search.estimator.pretraining.max_epochs == 1  # the caller's


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_what_is_held_out_is_not_seen(make, data, targets, cls, calls):
    """early_stopping's part is none of its texts."""
    X, y = data[0], targets[cls]
    estimator = make(cls, early_stopping=True, validation_fraction=0.25)
    estimator.fit(X, y, unlabeled=UNLABELED)
    ((_, seen),) = calls
    assert seen[-2:] == UNLABELED
    assert len(seen) == 18 + 2
    assert len(set(seen)) == 20
    # The same estimator without pretraining, whose seed draws the same part, is told
    # by the texts of one group, which are all held out or all seen.
    groups = np.arange(24) // 4
    calls.clear()
    estimator.fit(X, y, groups=groups)
    ((_, seen),) = calls
    for group in range(6):
        members = rows_of(X, np.flatnonzero(groups == group))
        assert len(set(members) & set(seen)) in (0, 4)
    assert 0 < len(seen) < 24


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_validation_texts_are_not_seen(make, data, targets, cls, calls):
    """Nor are the caller's own."""
    X, y = data[0], targets[cls]
    make(cls).fit(X[:16], y[:16], X_val=X[16:], y_val=y[16:])
    ((_, seen),) = calls
    assert sorted(seen) == sorted(X[:16])


def test_texts_without_weight_are_not_seen(make, data, calls):
    """A weight of 0 leaves a text out of both trainings."""
    X, y = data
    weight = np.ones(24)
    weight[:5] = 0
    make().fit(X, y, sample_weight=weight)
    ((_, seen),) = calls
    assert sorted(seen) == sorted(X[5:])


def test_pretrainer_sees_both_texts_of_a_pair(make, calls):
    """Both texts of each pair are seen, each as a text of its own."""
    pairs = [("the cat", "a dog"), ("one film", "two plot")] * 4
    unlabeled = [("three", "dull")]
    make().fit(pairs, ["a", "b"] * 4, unlabeled=unlabeled)
    ((_, seen),) = calls
    expected = [text for pair in pairs + unlabeled for text in pair]
    assert sorted(seen) == sorted(expected)


def test_pretrainer_sees_joined_columns(make, calls):
    """Columns are joined before, those of the unlabeled frame too."""
    frame = pd.DataFrame({"a": ["the cat", "a dog"] * 4, "b": ["one", "two"] * 4})
    more = pd.DataFrame({"b": ["three"], "a": ["film"], "c": ["plot"]})
    make(template="{a}: {b}").fit(frame, ["x", "y"] * 4, unlabeled=more)
    ((_, seen),) = calls
    expected = ["the cat: one", "a dog: two"] * 4 + ["film: three"]
    assert sorted(seen) == sorted(expected)


@pytest.mark.parametrize(
    "kind", [tuple, np.array, pd.Series, lambda X: pd.DataFrame({"x": X})]
)
def test_any_column_of_unlabeled_texts(make, data, calls, kind):
    """Unlabeled texts come in any container."""
    make().fit(*data, unlabeled=kind(UNLABELED))
    assert calls[0][1][-2:] == UNLABELED


def test_missing_texts(make, data, calls):
    """With missing='empty' they are read as empty texts, the unlabeled ones too."""
    X = [None, *data[0][1:]]
    make(missing="empty").fit(X, data[1], unlabeled=["a cat", None])
    ((_, seen),) = calls
    assert sorted(seen) == sorted(["", *X[1:], "a cat", ""])


def test_routing_through_a_pipeline(make, data, calls):
    """A pipeline passes unlabeled on where it is asked for, and refuses it else."""
    with config_context(enable_metadata_routing=True):
        asked = make().set_fit_request(unlabeled=True)
        make_pipeline(FunctionTransformer(), asked).fit(*data, unlabeled=UNLABELED)
        assert calls[0][1][-2:] == UNLABELED
        assert clone(asked).get_metadata_routing().fit.requests["unlabeled"] is True
        search = GridSearchCV(make(), {"max_epochs": [1]}, cv=2)
        with pytest.raises(UnsetMetadataPassedError, match="unlabeled"):
            search.fit(*data, unlabeled=UNLABELED)


# -- what comes of it ------------------------------------------------------------------


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_nested_pretraining_is_that_by_hand(
    make, data, targets, settings, encoder_of, cls, tmp_path
):
    """The encoder is that of a pretrainer that is fitted alone and saved."""
    X, y = data[0], targets[cls]
    nested = {"random_state": 3, "max_epochs": 2}
    found = make(cls, nested=nested).fit(X, y, unlabeled=UNLABELED)
    alone = BertPretrainer(
        **(settings | {"learning_rate": 1e-3, "batch_size": 8} | nested)
    )
    alone.fit(X + UNLABELED).save(tmp_path / "alone")
    by_hand = cls(
        **settings | {"checkpoint": str(tmp_path / "alone"), "max_epochs": 1},
        trainable="head",
    ).fit(X, y)
    assert_same(encoder_of(found), encoder_of(by_hand))
    losses = [row["train_loss"] for row in found.pretraining_history_]
    assert losses == [row["train_loss"] for row in alone.history_]
    assert found.net_.module.pooling == by_hand.net_.module.pooling
    assert found.max_length_ == by_hand.max_length_


@pytest.mark.parametrize("trainable", ["all", "head", 1])
def test_nested_pretraining_changes_what_is_learnt(make, data, encoder_of, trainable):
    """The encoder is another than without, whatever learns later on."""
    adapted = make(trainable=trainable, learning_rate=1e-12).fit(*data)
    plain = make(trainable=trainable, learning_rate=1e-12, pretraining=None).fit(*data)
    one, other = encoder_of(adapted), encoder_of(plain)
    name = "embeddings.word_embeddings.weight"
    assert not torch.allclose(one[name], other[name], atol=1e-4)
    assert not hasattr(plain, "pretraining_history_")
    # Frozen or not, each has the vectors of its own weights.
    assert not np.allclose(
        adapted.transform(data[0]), plain.transform(data[0]), atol=1e-4
    )


def test_frozen_vectors_are_not_those_of_the_checkpoint(
    make, data, settings, checkpoint
):
    """Vectors that are remembered for the checkpoint do not serve what is adapted."""
    X, y = data
    plain = make(pretraining=None).fit(X, y)
    before = plain.transform(X)
    adapted = make().fit(X, y)
    fresh = pickle.loads(pickle.dumps(adapted))
    np.testing.assert_array_equal(adapted.transform(X), fresh.transform(X))
    np.testing.assert_array_equal(plain.transform(X), before)


@pytest.mark.parametrize("family", ["roberta", "distilbert", "modernbert"])
def test_other_families(make, data, family_checkpoint, encoder_of, family):
    """Other encoders are adapted as well."""
    params = {"checkpoint": family_checkpoint(family), "learning_rate": 1e-12}
    adapted = make(**params, nested={"max_length": 40}).fit(*data)
    plain = make(**params, pretraining=None).fit(*data)
    one, other = encoder_of(adapted), encoder_of(plain)
    assert one.keys() == other.keys()
    changed = [n for n in one if not torch.equal(one[n], other[n])]
    assert len(changed) > len(one) / 2
    assert np.isfinite(adapted.predict_proba(data[0])).all()


def test_next_sentences_too(make, calls):
    """Texts of several sentences can teach both objectives."""
    texts = ["the cat sleeps. a dog runs.", "i hate it! a dull film."] * 4
    found = make(nested={"next_sentence": True}).fit(texts, ["a", "b"] * 4)
    assert {"mlm_loss", "nsp_loss"} < set(found.pretraining_history_[0])
    assert len(calls) == 1


def test_a_seed_repeats_a_fit(make, data):
    """Both trainings follow random_state; the caller's pretrainer stays unfitted."""
    estimator = make(trainable="all")
    one = clone(estimator).fit(*data).predict_proba(data[0])
    other = estimator.fit(*data).predict_proba(data[0])
    np.testing.assert_array_equal(one, other)
    assert not hasattr(estimator.pretraining, "net_")
    assert estimator.pretraining.get_params() == make().pretraining.get_params()
    changed = make(trainable="all", random_state=1).fit(*data).predict_proba(data[0])
    assert not np.allclose(changed, one)


def test_seeds_of_folds_differ_where_none_is_given(make, data, calls):
    """Without a random_state of its own it gets one from the estimator."""
    make(random_state=5).fit(*data)
    make(random_state=5).fit(*data)
    make(random_state=6).fit(*data)
    make(nested={"random_state": 9}).fit(*data)
    seeds = [nested.random_state for nested, _ in calls]
    assert seeds[0] == seeds[1] != seeds[2]
    assert seeds[3] == 9


def test_generators_of_the_caller_stay(make, data):
    """Neither training draws from the generators of the process."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    make(random_state=None).fit(*data)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("way", ["folder", "pickle"])
def test_nested_pretrainer_comes_back(make, data, tmp_path, way):
    """Saved or pickled, it has its pretrainer's parameters and history."""
    estimator = make(nested={"mask_fraction": 0.2}).fit(*data)
    if way == "pickle":
        again = pickle.loads(pickle.dumps(estimator))
    else:
        save(estimator, tmp_path / "saved")
        again = load(tmp_path / "saved")
    np.testing.assert_array_equal(
        again.predict_proba(data[0]), estimator.predict_proba(data[0])
    )
    assert type(again.pretraining) is BertPretrainer
    assert again.pretraining.get_params() == estimator.pretraining.get_params()
    assert again.pretraining_history_ == estimator.pretraining_history_
    refitted = clone(again).fit(*data)
    np.testing.assert_array_equal(
        refitted.predict_proba(data[0]), estimator.predict_proba(data[0])
    )


def test_parameters_of_a_nested_pretrainer(make):
    """get_params reaches into it, clone copies it, repr tells it."""
    estimator = make(nested={"max_epochs": 4})
    params = estimator.get_params(deep=True)
    assert params["pretraining__max_epochs"] == 4
    assert params["pretraining"] is estimator.pretraining
    copied = clone(estimator)
    assert copied.pretraining is not estimator.pretraining
    copied.set_params(pretraining__max_epochs=5)
    assert estimator.pretraining.max_epochs == 4
    assert "pretraining=BertPretrainer(" in repr(estimator)
    assert clone(estimator.set_params(pretraining=None)).pretraining is None


# -- once, and then again --------------------------------------------------------------


@pytest.mark.parametrize("how", ["warm_start", "partial_fit"])
def test_nested_pretrainer_adapts_once(make, data, calls, how):
    """Where training goes on with what has learnt nothing is adapted again."""
    estimator = make(warm_start=how == "warm_start")
    method = estimator.fit if how == "warm_start" else estimator.partial_fit
    method(*data)
    method(*data)
    assert len(calls) == 1


@pytest.mark.parametrize("how", ["warm_start", "partial_fit"])
def test_history_of_a_nested_pretrainer_stays(make, data, how):
    """What was adapted once has its history after later calls."""
    estimator = make(warm_start=how == "warm_start")
    method = estimator.fit if how == "warm_start" else estimator.partial_fit
    before = method(*data).pretraining_history_
    assert method(*data).pretraining_history_ == before


def test_unlabeled_texts_of_a_second_fit(make, data):
    """Texts that nothing is learnt from are an error, not ignored."""
    estimator = make(warm_start=True).fit(*data)
    with pytest.raises(ValueError, match="unlabeled"):
        estimator.fit(*data, unlabeled=UNLABELED)


# -- what does not go together ---------------------------------------------------------


@pytest.fixture
def nothing_is_read(monkeypatch):
    """Reading a checkpoint is an error."""

    def fail(*args, **kwargs):
        raise AssertionError("the checkpoint was read")

    for module in (_base, _language_model):
        monkeypatch.setattr(module, "load_checkpoint", fail)


def test_nested_pretrainer_takes_over_parameters(make, data, calls, checkpoint):
    """Checkpoint, precision and device are the estimator's; all else is its own."""
    make(max_length=20, nested={"dropout": 0.2}).fit(*data)
    ((nested, _),) = calls
    assert nested.checkpoint == checkpoint
    assert nested.device == "cpu"
    assert nested.precision == "float32"
    assert nested.max_length is None
    assert nested.dropout == 0.2
    assert nested.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("checkpoint", "other"),
        ("revision", "v2"),
        ("device", "cuda"),
        ("precision", "bfloat16"),
    ],
)
def test_two_pretrainers_that_do_not_agree(make, data, nothing_is_read, name, value):
    """Where the two say different things, both are named, before anything is read."""
    with pytest.raises(ValueError, match=f"pretraining__{name} is '{value}'"):
        make(nested={name: value}).fit(*data)


@pytest.mark.parametrize("name", ["checkpoint", "device", "precision"])
def test_two_pretrainers_that_say_the_same(make, data, settings, calls, name):
    """The same value said twice is no contradiction."""
    make(nested={name: settings[name]}).fit(*data)
    assert getattr(calls[0][0], name) == settings[name]


def test_a_pretrainer_from_nothing(make, data, nothing_is_read):
    """A new BERT is fitted and saved first."""
    nested = {"checkpoint": None, "vocabulary": WordPieceVocabulary()}
    with pytest.raises(
        ValueError, match="pretraining has checkpoint=None.*save it first"
    ):
        make(nested=nested).fit(*data)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_unlabeled_texts_alone(make, data, targets, cls, nothing_is_read):
    """Without pretraining nothing is learnt from them, which is an error."""
    estimator = make(cls, pretraining=None)
    if cls is BertClassifier:
        estimator.set_params(self_training=False)
    with pytest.raises(ValueError, match="unlabeled is given.* pretraining is None"):
        estimator.fit(data[0], targets[cls], unlabeled=UNLABELED)


@pytest.mark.parametrize(
    ("unlabeled", "error", "message"),
    [
        (["a", None], ValueError, r"in unlabeled: X\[1\] is None"),
        (["a", 3], TypeError, r"in unlabeled: X\[1\] is 3"),
        ("text", TypeError, "in unlabeled: X is a single str"),
        ((t for t in ["a"]), TypeError, "in unlabeled: X is a generator"),
    ],
    ids=["missing", "number", "one text", "generator"],
)
def test_wrong_unlabeled_texts(make, data, nothing_is_read, unlabeled, error, message):
    """What is wrong with them is said as of X, before anything is read."""
    with pytest.raises(error, match=message):
        make().fit(*data, unlabeled=unlabeled)


@pytest.mark.parametrize("wrong", ["yes", BertPretrainer, WordPieceVocabulary(), 3])
def test_what_is_no_pretrainer(make, data, nothing_is_read, wrong):
    """Anything but a pretrainer is refused."""
    with pytest.raises((TypeError, ValueError), match="'pretraining' parameter"):
        make(pretraining=wrong).fit(*data)


def test_wrong_parameters_of_it(make, data, nothing_is_read):
    """A wrong parameter of the pretrainer is named."""
    with pytest.raises(ValueError, match="'mask_fraction' parameter of BertPretrainer"):
        make(nested={"mask_fraction": 2.0}).fit(*data)


def test_nested_pretrainer_needs_a_mask_token(make, data, checkpoint, tmp_path):
    """A checkpoint that cannot hide words is refused before any training."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.mask_token = None
    tokenizer.save_pretrained(tmp_path)
    AutoModel.from_pretrained(checkpoint).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has no mask token"):
        make(checkpoint=str(tmp_path)).fit(*data)
