"""Pairs of texts by their similarity: where it is chosen, and what it costs."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import paired_cosine_distances
from sklearn.model_selection import GridSearchCV

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertRegressor,
    CheckpointError,
    load,
    model_card,
    save,
)
from sklearn_bert.estimators._summary import summary
from sklearn_bert.inspection import explain
from sklearn_bert.model._text_model import SIMILARITY_SCALE
from sklearn_bert.targets._probe import STRENGTH
from sklearn_bert.targets._temperature import temperature_of_held_out


@pytest.fixture(scope="module")
def checkpoint(shallow_checkpoint):
    return shallow_checkpoint


@pytest.fixture(scope="module")
def common(checkpoint):
    return {"checkpoint": checkpoint, "random_state": 0, "device": "cpu"} | {
        "precision": "float32"
    }


@pytest.fixture(scope="module")
def alike(reviews):
    """Pairs of which half are a text and the same text, and which half that is."""
    texts = reviews[0]
    same = np.arange(len(texts)) % 4 < 2
    others = np.where(same, texts, np.roll(texts, 7))
    frame = pd.DataFrame({"one": texts, "two": others})
    return frame, np.where(same, "same", "other")


@pytest.fixture(scope="module")
def unlike(alike):
    """The same pairs, and labels that they say nothing of."""
    frame, labels = alike
    return frame, np.random.default_rng(1).permutation(labels)


@pytest.fixture(scope="module")
def similarity(checkpoint, alike):
    """The cosine of the two texts of each pair, by two calls of an embedder."""
    settings = {"pooling": "mean", "device": "cpu", "precision": "float32"}
    embedder = BertEmbedder(checkpoint, **settings).fit(alike[0]["one"])
    halves = [embedder.transform(alike[0][name]) for name in alike[0]]
    return 1 - paired_cosine_distances(*halves)[:, None]


def test_few_pairs_are_classified_by_their_similarity(common, alike, similarity):
    """It is the logistic regression of the cosines, and nothing is trained."""
    X, y = alike
    clf = BertClassifier(**common).fit(X, y)
    assert clf.pooling_ == "similarity"
    assert (clf.max_epochs_, clf.learning_rate_, clf.history_) == (0, 0.0, [])
    assert clf.temperature_ == 1.0
    assert_allclose(clf.transform(X), similarity, atol=1e-5)
    plain = LogisticRegression(C=STRENGTH).fit(SIMILARITY_SCALE * similarity, y)
    expected = plain.predict_proba(SIMILARITY_SCALE * similarity)
    assert_allclose(clf.predict_proba(X), expected, atol=2e-3)
    assert clf.score(X, y) == 1.0
    assert clf.get_feature_names_out().tolist() == ["bertclassifier0"]


def test_few_pairs_have_numbers_by_their_similarity(common, alike, similarity):
    """It is the ridge regression of the cosines, in the units of the targets."""
    X, _ = alike
    rng = np.random.default_rng(0)
    y = 50 * similarity[:, 0] + rng.normal(scale=0.1, size=len(X))
    reg = BertRegressor(**common).fit(X, y)
    assert reg.pooling_ == "similarity"
    assert (reg.max_epochs_, reg.learning_rate_, reg.history_) == (0, 0.0, [])
    scaled = SIMILARITY_SCALE * similarity
    plain = Ridge().fit(scaled, (y - y.mean()) / y.std())
    expected = y.mean() + y.std() * plain.predict(scaled)
    assert_allclose(reg.predict(X), expected, atol=1e-3)
    both = BertRegressor(**common).fit(X, np.column_stack([y, -2 * y]))
    assert both.pooling_ == "similarity"
    assert_allclose(both.predict(X)[:, 1], -2 * reg.predict(X), atol=1e-3)


@pytest.mark.parametrize("estimator", [BertClassifier, BertRegressor])
def test_more_pairs_train_the_encoder_to_compare(common, alike, monkeypatch, estimator):
    """Above some hundreds the similarity is learned, as exactly as all else."""
    X, y = alike
    y = (y == "same").astype(int)
    monkeypatch.setattr("sklearn_bert.estimators._pairs.UNTRAINED_PAIRS", len(X))
    untrained = estimator(**common).fit(X, y)
    assert (untrained.pooling_, untrained.max_epochs_) == ("similarity", 0)
    monkeypatch.setattr("sklearn_bert.estimators._pairs.UNTRAINED_PAIRS", len(X) - 1)
    trained = estimator(**common).fit(X, y)
    assert trained.pooling_ == "similarity"
    assert len(trained.history_) == trained.max_epochs_ > 0
    assert trained.learning_rate_ == 1e-4
    assert np.abs(trained.transform(X) - untrained.transform(X)).max() > 0
    again = clone(trained).fit(X, y)
    assert_array_equal(again.transform(X), trained.transform(X))


def test_pairs_that_similarity_does_not_tell_apart_are_learned(common, unlike):
    """The model reads both texts together, and is trained, as it always was."""
    X, y = unlike
    clf = BertClassifier(**common).fit(X, y)
    assert clf.pooling_ == "cls"
    assert clf.max_epochs_ == len(clf.history_) > 0


@pytest.mark.parametrize(
    ("of_vectors", "of_similarity", "pooling"),
    [
        (0.3, 0.2, "cls"),
        (0.1, 0.2, "similarity"),
        (-0.1, 0.009, "cls"),  # as good as nothing
        (-0.1, 0.011, "similarity"),
        (None, None, "cls"),
    ],
)
@pytest.mark.parametrize("estimator", [BertClassifier, BertRegressor])
def test_the_better_of_both_is_chosen(
    common, unlike, monkeypatch, estimator, of_vectors, of_similarity, pooling
):
    """Where the vectors of both texts together tell more, these are fine-tuned."""
    X, y = unlike

    def skill(vectors, targets, seed):
        return of_similarity if vectors.shape[1] == 1 else of_vectors

    for name in ("_classifier.information_of", "_regressor.variance_explained"):
        monkeypatch.setattr(f"sklearn_bert.estimators.{name}", skill)
    model = estimator(**common).fit(X, np.unique(y, return_inverse=True)[1])
    assert model.pooling_ == pooling


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_epochs": 1},
        {"learning_rate": 1e-4},
        {"pooling": "cls"},
        {"head_init": "random"},
    ],
)
def test_what_the_caller_sets_is_done(common, alike, parameters):
    """Both texts are read together where epochs, rate, pooling or start are set."""
    X, y = alike
    clf = BertClassifier(**common, **parameters).fit(X, y)
    assert clf.pooling_ == "cls"
    assert clf.history_


@pytest.mark.parametrize(
    "parameters",
    [
        {"early_stopping": True, "validation_fraction": 0.25},
        {"weight_decay": 0.1},
        {"layer_decay": 0.9},
        {"warmup": 0.0},
        {"label_smoothing": 0.1},
        {"batch_size": 8},
        {"trainable": 1},
        {"adapter": "lora"},
    ],
)
def test_a_parameter_of_the_training_trains(common, alike, parameters):
    """Few pairs are compared as before, and the encoder learns as it is told."""
    X, y = alike
    clf = BertClassifier(**common, **parameters).fit(X, y)
    assert clf.pooling_ == "similarity"
    assert len(clf.history_) > 0
    assert clf.learning_rate_ == 1e-4


def test_a_loss_of_numbers_trains(common, alike):
    """The regression that the head starts from has squared errors alone."""
    X, y = alike
    reg = BertRegressor(**common, loss="huber").fit(X, y == "same")
    assert reg.pooling_ == "similarity"
    assert len(reg.history_) > 0


def test_validation_changes_no_few_pairs(common, alike):
    """With `X_val` the same is predicted, and the temperature is fitted to these."""
    X, y = alike
    plain = BertClassifier(**common).fit(X, y)
    noisy = np.where(np.arange(len(y)) % 3 == 0, np.roll(y, 1), y)
    clf = BertClassifier(**common).fit(X, y, X_val=X, y_val=noisy)
    assert (clf.pooling_, clf.history_) == ("similarity", [])
    assert_array_equal(clf.transform(X), plain.transform(X))
    logits = plain.decision_function(X)
    assert_allclose(clf.decision_function(X), logits / clf.temperature_, rtol=1e-5)
    both = np.stack([np.zeros_like(logits), logits], axis=1)
    expected = temperature_of_held_out(both, (noisy == "same").astype(int))
    assert clf.temperature_ == pytest.approx(expected, rel=1e-3)


def test_a_fit_of_the_head_alone_says_so(common, alike, capfd):
    """`verbose=1`, the summary and the card tell that no epoch was trained."""
    X, y = alike
    clf = BertClassifier(**common, verbose=1).fit(X, y)
    line = f"BertClassifier: {len(X)} examples, to which the head alone is fitted\n"
    assert capfd.readouterr().err == line
    assert "the head alone, similarity of pairs" in summary(clf)
    card = model_card(clf)
    assert "The encoder is as it was; the head alone is fitted." in card
    assert "It compares the vectors of the two texts of a pair." in card


def test_texts_are_pooled_as_the_checkpoint_pools(checkpoint, alike, tmp_path):
    """Of a sentence encoder of first tokens, the states of these are compared."""
    X, y = alike
    settings = {"device": "cpu", "precision": "float32"}
    embedder = BertEmbedder(checkpoint, pooling="cls", **settings).fit(X["one"])
    save(embedder, tmp_path / "cls")
    one, two = (embedder.transform(X[name]) for name in X)
    clf = BertClassifier(tmp_path / "cls", pooling="similarity", trainable="head")
    clf.set_params(random_state=0, **settings).fit(X, y)
    expected = 1 - paired_cosine_distances(one, two)[:, None]
    assert_allclose(clf.transform(X), expected, atol=1e-5)
    save(clf, tmp_path / "similarity")
    again = BertEmbedder(tmp_path / "similarity", **settings).fit(X["one"])
    assert_allclose(again.transform(X["one"]), one, atol=1e-6)
    assert_array_equal(load(tmp_path / "similarity").transform(X), clf.transform(X))


def test_pooling_is_known_after_a_fit():
    """Before it there is none, as of every fitted attribute."""
    with pytest.raises(NotFittedError, match="not fitted yet"):
        BertClassifier().pooling_  # noqa: B018
    assert not hasattr(BertRegressor(), "pooling_")


def test_a_first_portion_of_pairs_is_read_together(common, alike):
    """`partial_fit` trains from its first call, not knowing what is to come."""
    clf = BertClassifier(**common).partial_fit(*alike)
    assert clf.pooling_ == "cls"
    assert len(clf.history_) == 1


def test_what_the_training_draws_is_as_without_the_question(
    common, unlike, monkeypatch
):
    """A fit that asks for the similarity and does not take it, is the same fit."""
    X, y = unlike
    asked = BertClassifier(**common).fit(X, y).predict_proba(X)
    monkeypatch.setattr("sklearn_bert.estimators._pairs.MOST_PAIRS", 0)
    not_asked = BertClassifier(**common).fit(X, y)
    assert_array_equal(not_asked.predict_proba(X), asked)


@pytest.mark.parametrize("trainable", ["all", "head", 1])
def test_similarity_can_be_trained(common, alike, trainable):
    """With `pooling="similarity"` the encoder learns to compare texts."""
    X, y = alike
    clf = BertClassifier(
        **common, pooling="similarity", trainable=trainable, max_epochs=2
    )
    proba = clf.fit(X, y).predict_proba(X)
    assert len(clf.history_) == 2
    assert_array_equal(clone(clf).fit(X, y).predict_proba(X), proba)
    before = BertClassifier(**common).fit(X, y)
    moved = np.abs(clf.transform(X) - before.transform(X)).max()
    assert (moved == 0) if trainable == "head" else (moved > 1e-6)


def test_a_fit_goes_on_with_the_similarity(common, alike):
    """`partial_fit` trains what a fit has chosen; another pooling is refused."""
    X, y = alike
    clf = BertClassifier(**common).fit(X, y)
    before = clf.transform(X)
    clf.partial_fit(X, y)
    assert clf.pooling_ == "similarity"
    assert len(clf.history_) == 1
    assert np.abs(clf.transform(X) - before).max() > 0
    with pytest.raises(ValueError, match="pooling is 'cls', but it was 'auto'"):
        clf.set_params(pooling="cls").partial_fit(X, y)


def test_it_is_saved_as_it_is(common, alike, tmp_path):
    """A folder gives the same answers; it is a sentence encoder that pools by mean."""
    X, y = alike
    clf = BertClassifier(**common).fit(X, y)
    save(clf, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    assert loaded.pooling_ == "similarity"
    embedder = BertEmbedder(str(tmp_path / "model"), device="cpu").fit(["good"])
    assert embedder.net_.module.pooling == "mean"
    with pytest.raises(ValueError, match="no head of transformers has pooling='sim"):
        save(clf, tmp_path / "other", layout="transformers")
    assert not (tmp_path / "other").exists()


def test_words_of_either_text_are_explained(common, alike):
    """Scores of the words add up to how far hiding all of them moves the answer."""
    X, y = alike
    clf = BertClassifier(**common).fit(X, y)
    table = explain(clf, X[2:4], method="occlusion")
    assert set(table["part"]) == {0, 1}
    assert np.isfinite(table["score"]).all()
    assert table["score"].abs().max() > 0


def test_windows_of_pairs_are_compared(common, alike):
    """Each window of the longer text is compared with the other text."""
    X, y = alike
    X = X.assign(two=X["two"] + " and the cat sleeps" * 20)
    clf = BertClassifier(
        **common, pooling="similarity", long_text="window", max_epochs=1
    )
    clf.fit(X, y)
    assert np.isfinite(clf.predict_proba(X)).all()


def test_a_search_tries_it(common, alike):
    """`pooling` is a parameter as any other."""
    X, y = alike
    search = GridSearchCV(
        BertClassifier(**common, trainable="head"),
        {"pooling": ["cls", "similarity"]},
        cv=2,
    )
    assert search.fit(X, y).best_params_ == {"pooling": "similarity"}


@pytest.mark.parametrize("estimator", [BertClassifier, BertRegressor])
def test_single_texts_are_not_compared(reviews, estimator):
    """What is missing is said before a checkpoint is read."""
    model = estimator("no-such-checkpoint", pooling="similarity")
    with pytest.raises(ValueError, match=r"pooling is 'similarity'.* single texts"):
        model.fit(reviews[0], np.arange(len(reviews[0])) % 2)


def test_descriptions_are_not_compared():
    """A classifier of descriptions alone reads single texts."""
    clf = BertClassifier(
        "no-such-checkpoint", pooling="similarity", class_descriptions="auto"
    )
    with pytest.raises(ValueError, match=r"pooling is 'similarity'.* single texts"):
        clf.fit(None, ["sport", "politics"])


def test_an_embedder_has_no_similarity(reviews):
    """It makes vectors of texts, whatever they are compared with later."""
    with pytest.raises(ValueError, match="'pooling' parameter of BertEmbedder"):
        BertEmbedder("no-such-checkpoint", pooling="similarity").fit(reviews[0])


def test_a_checkpoint_without_token_types_is_refused(family_checkpoint, alike):
    """Its pairs cannot be taken apart; left to "auto" they are learned."""
    X, y = alike
    folder = family_checkpoint("distilbert")
    with pytest.raises(CheckpointError, match="does not tell the two texts"):
        BertClassifier(folder, pooling="similarity", device="cpu").fit(X, y)
    clf = BertClassifier(folder, device="cpu", random_state=0).fit(X, y)
    assert clf.pooling_ == "cls"
