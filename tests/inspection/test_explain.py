"""`explain`: scores of words, for every estimator, text and method."""

import numpy as np
import pandas as pd
import pytest
import torch
from captum.attr import LayerIntegratedGradients
from sklearn.exceptions import NotFittedError
from sklearn.metrics.pairwise import paired_cosine_distances
from sklearn.pipeline import make_pipeline

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    TruncationWarning,
)
from sklearn_bert.compute import _memory
from sklearn_bert.inspection import _word_shares, explain

METHODS = ["integrated_gradients", "gradient", "occlusion"]
DECIDING = {*["good", "great", "fine", "nice", "bad", "awful", "poor", "dull", "hate"]}
COLUMNS = ["text", "part", "word", "start", "end", "target", "score"]


def completeness(explanation):
    """The numbers that the scores should add up to, and their sums."""
    frame = pd.DataFrame(explanation.attrs["completeness"])
    return frame["value"] - frame["baseline"], frame["sum"]


def f_of(explanation):
    return np.array([entry["value"] for entry in explanation.attrs["completeness"]])


@pytest.mark.parametrize("method", METHODS)
def test_the_word_that_decides_has_the_highest_score(clf, decided, method):
    """In 95 of 100 texts that one word decides, it comes first."""
    texts, _, words = decided
    found = explain(clf, texts, method=method)
    first = found.loc[found.groupby("text")["score"].idxmax(), "word"]
    assert (first.to_numpy() == words).mean() >= 0.95


def test_explanation_has_a_row_per_word(clf):
    """Words, their characters and the predicted class stand in reading order."""
    texts = ["the Film was good !", "a  bad cat"]
    found = explain(clf, texts)
    assert list(found) == COLUMNS
    assert found["word"].tolist() == [
        "the",
        "Film",
        "was",
        "good",
        "!",
        "a",
        "bad",
        "cat",
    ]
    assert found["text"].tolist() == [0] * 5 + [1] * 3
    assert (found["part"] == 0).all()
    for row in found.itertuples():
        assert texts[row.text][row.start : row.end] == row.word
    assert found.groupby("text")["target"].first().tolist() == [*clf.predict(texts)]


def test_scores_add_up(clf, decided):
    """The scores of integrated gradients add up to f(x) - f(baseline), within 5 %."""
    expected, sums = completeness(explain(clf, decided[0][:40]))
    assert (abs(sums - expected) <= 0.05 * abs(expected)).all()
    assert abs(expected).median() > 1


def test_scores_equal_those_of_captum(clf, reviews):
    """The scores of 20 texts are captum's for the layer of word embeddings."""
    texts = reviews[0][:20]
    found = explain(
        clf, texts, target="pos", n_steps=300, method="integrated_gradients"
    )
    model, tokenizer = clf.net_.module, clf.tokenizer_
    layer = LayerIntegratedGradients(
        lambda ids: (model(ids) @ torch.tensor([-1.0, 1.0])) / clf.temperature_,
        model.encoder.get_input_embeddings(),
    )
    for row, text in enumerate(texts):
        ids = torch.tensor([tokenizer.backend.encode(text).ids])
        baseline = torch.where(ids > 4, tokenizer.special_id("mask"), ids)
        scores = layer.attribute(ids, baseline, n_steps=300, method="gausslegendre")
        expected = scores.sum(-1)[0, 1:-1].detach().numpy()
        # In float32 the two lie as far apart as their quadratures do.
        mine = found.loc[found["text"] == row, "score"].to_numpy()
        np.testing.assert_allclose(mine, expected, atol=1e-4 * abs(expected).max())


def test_occlusion_is_the_fall_of_f(clf):
    """The score of a word is f less f of the text with the mask token in its place."""
    found = explain(clf, ["the film was good"], target="pos", method="occlusion")
    hidden = ["[MASK] film was good", "the [MASK] was good", "the film [MASK] good"]
    hidden.append("the film was [MASK]")
    whole, *without = clf.decision_function(["the film was good", *hidden])
    np.testing.assert_allclose(found["score"], whole - np.array(without), atol=1e-5)


# -- what f is ---------------------------------------------------------------------


def test_f_of_two_classes(clf, reviews):
    """f is the decision function, with the sign of the class."""
    texts = reviews[0][:6]
    decision = clf.decision_function(texts)
    np.testing.assert_allclose(f_of(explain(clf, texts, target="pos")), decision, 1e-4)
    np.testing.assert_allclose(f_of(explain(clf, texts, target="neg")), -decision, 1e-4)


def test_f_of_several_classes(settings, reviews):
    """f is the log-odds of the probability, for every class and text in windows."""
    texts = reviews[0]
    labels = [text.split()[1 + text.startswith("i")] for text in texts]
    clf = BertClassifier(**settings, max_length=8, long_text="window", max_epochs=1)
    clf.fit(texts, labels)
    found = explain(clf, texts[:5], target="all", n_steps=30)
    p = clf.predict_proba(texts[:5])
    np.testing.assert_allclose(f_of(found), np.log(p / (1 - p)).ravel(), rtol=1e-4)
    assert found["target"].unique().tolist() == clf.classes_.tolist()
    expected, sums = completeness(found)
    np.testing.assert_allclose(sums, expected, atol=0.05 * abs(expected).max())


def test_f_of_several_labels(settings, reviews):
    """f is the logit of a label; a text without a predicted one has the likeliest."""
    texts = reviews[0]
    y = np.array([["good" in text, "film" in text] for text in texts], dtype=int)
    clf = BertClassifier(**settings, max_epochs=4).fit(texts, y)
    found = explain(clf, texts[:8], method="gradient")
    entries = pd.DataFrame(found.attrs["completeness"])
    logits = clf.decision_function(texts[:8])
    expected = logits[entries["text"], entries["target"].to_numpy(dtype=int)]
    np.testing.assert_allclose(entries["value"], expected, rtol=1e-4, atol=1e-5)
    proba = clf.predict_proba(texts[:8])
    n_targets = np.maximum((proba > 0.5).sum(axis=1), 1)
    assert entries.groupby("text").size().tolist() == n_targets.tolist()


def test_f_of_numbers(settings, reviews):
    """f of a regressor is its prediction, in the units of y."""
    texts = reviews[0]
    y = np.array([[100 + len(text), -len(text)] for text in texts])
    reg = BertRegressor(**settings, max_epochs=1).fit(texts, y)
    found = explain(reg, texts[:3], method="gradient")
    np.testing.assert_allclose(f_of(found), reg.predict(texts[:3]).ravel(), rtol=1e-5)
    one = explain(reg, texts[:3], target=1, method="gradient")
    pd.testing.assert_frame_equal(
        one, found[found["target"] == 1].reset_index(drop=True), check_exact=False
    )


@pytest.fixture(scope="module")
def tagger(settings, reviews):
    """A tagger that knows adjectives, in windows of 10 tokens."""
    words = [text.split() for text in reviews[0]]
    tags = [["ADJ" if word in DECIDING else "O" for word in row] for row in words]
    return BertTokenClassifier(**settings, max_length=10, max_epochs=4).fit(words, tags)


def test_f_of_tags(tagger):
    """f is the mean log-odds of a tag at its words, also where windows read them."""
    sentence = "the film was very good and the cat was very bad but i like the dog"
    words = sentence.split()
    is_tagged = np.array(tagger.predict([words])[0]) == "ADJ"
    found = explain(tagger, [words], n_steps=60)
    proba = tagger.predict_proba([words])[0][:, 0]
    odds = np.log(proba / (1 - proba))
    np.testing.assert_allclose(f_of(found), odds[is_tagged].mean(), rtol=1e-4)
    assert found["word"].tolist() == words
    assert found["target"].unique().tolist() == ["ADJ"]
    assert "good" in found.nlargest(2, "score")["word"].tolist()
    assert is_tagged.sum() > 1
    for row in found.itertuples():
        assert sentence[row.start : row.end] == row.word
    expected, sums = completeness(found)
    np.testing.assert_allclose(sums, expected, rtol=0.05)


def test_f_of_a_tag_that_no_word_has(tagger):
    """It is that of the word where the tag is likeliest, also beside an empty row."""
    words = ["the", "film"]
    found = explain(tagger, [[], words], target="ADJ", method="gradient")
    proba = tagger.predict_proba([words])[0][:, 0]
    assert proba.max() < 0.5
    np.testing.assert_allclose(
        f_of(found), np.log(proba / (1 - proba)).max(), rtol=1e-4
    )
    assert found["text"].tolist() == [1, 1]


def test_f_of_pairs_of_an_embedder(embedder_settings):
    """f is the cosine similarity, of each side while the other stays."""
    pairs = [("the film was good", "a good plot"), ("cat", "the dog sleeps !")]
    embedder = BertEmbedder(**embedder_settings).fit([text for text, _ in pairs])
    found = explain(embedder, pairs, n_steps=60)
    one, other = (embedder.transform(list(side)) for side in zip(*pairs, strict=True))
    cosines = 1 - paired_cosine_distances(one, other)
    entries = pd.DataFrame(found.attrs["completeness"])
    np.testing.assert_allclose(
        entries.sort_values(["text", "part"])["value"], np.repeat(cosines, 2), rtol=1e-5
    )
    for row in found.itertuples():
        assert pairs[row.text][row.part][row.start : row.end] == row.word
    expected, sums = completeness(found)
    np.testing.assert_allclose(sums, expected, atol=0.05 * abs(expected).max())


# -- what is read ------------------------------------------------------------------


def test_pairs_have_two_parts(settings, reviews):
    """The words of both halves are scored together."""
    pairs = list(zip(reviews[0], reviews[0][::-1], strict=True))
    clf = BertClassifier(**settings, max_epochs=1).fit(pairs, reviews[1])
    found = explain(clf, pairs[:3])
    for row in found.itertuples():
        assert pairs[row.text][row.part][row.start : row.end] == row.word
    assert found["part"].nunique() == 2
    assert (f_of(found) > 0).all()


def test_words_behind_the_cut_have_score_0(clf):
    """They are listed, with a warning that the text is cut."""
    text = "a good film " * 30
    with pytest.warns(TruncationWarning, match="1 of 1 texts are longer"):
        found = explain(clf, [text], method="gradient")
    assert len(found) == 90
    assert (found["score"][:62] != 0).all()
    assert (found["score"][62:] == 0).all()


def test_template_texts_are_explained_as_the_model_reads_them(settings, reviews):
    """Characters are those of the text that the template makes."""
    frame = pd.DataFrame({"title": "film", "body": reviews[0]})
    clf = BertClassifier(**settings, template="{title}. {body}", max_epochs=1)
    clf.fit(frame, reviews[1])
    found = explain(clf, frame[:2], method="occlusion")
    for row in found.itertuples():
        text = f"film. {reviews[0][row.text]}"
        assert text[row.start : row.end] == row.word


@pytest.mark.parametrize("family", ["roberta", "distilbert", "deberta-v2"])
def test_families_are_explained(family, family_checkpoint, texts_of, settings):
    """Scores add up for encoders and tokenizers of other families."""
    texts = [text for texts in texts_of.values() for text in texts]
    clf = BertClassifier(
        **{**settings, "checkpoint": family_checkpoint(family)},
        trainable="head",
        max_epochs=1,
    ).fit(texts, [0, 1] * (len(texts) // 2))
    found = explain(clf, texts, n_steps=60)
    for row in found.itertuples():
        assert texts[row.text][row.start : row.end] == row.word
    np.testing.assert_allclose(
        f_of(found), abs(clf.decision_function(texts)), rtol=1e-3, atol=1e-5
    )
    expected, sums = completeness(found)
    np.testing.assert_allclose(sums, expected, atol=0.05 * abs(expected).max())


@pytest.mark.parametrize("method", METHODS)
def test_text_without_words_has_no_row(clf, method):
    """An empty text is left out; of nothing else there is an empty frame."""
    found = explain(clf, ["", "good", " \n"], method=method)
    assert found["text"].tolist() == [1]
    empty = explain(clf, ["", "  "], method=method)
    assert list(empty) == COLUMNS
    assert len(empty) == 0


@pytest.mark.parametrize("method", METHODS)
def test_unknown_words_have_finite_scores(clf, method):
    """A text of words that the checkpoint does not know is explained as it is read."""
    found = explain(clf, ["好 123 ☃"], method=method)
    assert found["word"].tolist() == ["好", "123", "☃"]
    assert np.isfinite(found["score"]).all()


# -- how it is computed ------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_shortage_makes_batches_smaller(clf, reviews, method, monkeypatch):
    """Where memory runs out, smaller batches give the same scores."""
    texts = reviews[0][:12]
    expected = explain(clf, texts, method=method)
    f, sizes = _word_shares.WordShares._f, []

    def short_of_memory(self, goals, shares):
        sizes.append(len(goals))
        if len(goals) > 4:
            raise torch.OutOfMemoryError("none left")
        return f(self, goals, shares)

    monkeypatch.setattr(_word_shares.WordShares, "_f", short_of_memory)
    monkeypatch.setattr(_word_shares, "make_room", _memory.give_back)
    found = explain(clf, texts, method=method)
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-5)
    assert max(sizes) > 4 >= min(sizes)


def test_one_text_that_does_not_fit_is_an_error(clf, monkeypatch):
    """The error says how long the text is that memory is too short for."""

    def short_of_memory(self, goals, shares):
        raise torch.OutOfMemoryError("none left")

    monkeypatch.setattr(_word_shares.WordShares, "_f", short_of_memory)
    with pytest.raises(_memory.BertOutOfMemoryError, match="one text of 3 tokens"):
        explain(clf, ["good"])


def test_caller_s_torch_modes_change_nothing(clf, reviews):
    """Gradients are there under the caller's inference mode, and weights have none."""
    expected = explain(clf, reviews[0][:2])
    with torch.inference_mode():
        pd.testing.assert_frame_equal(explain(clf, reviews[0][:2]), expected)
    assert all(p.grad is None for p in clf.net_.module.parameters())


# -- bad input ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "other"}, "target is 'other'; expected 'predicted', 'all' or one"),
        ({"target": ["pos"]}, r"target is \['pos'\]; expected"),
        ({"method": "shap"}, "method is 'shap'; expected one of integrated_gradients"),
        ({"n_steps": 0}, "n_steps is 0; expected an integer from 1"),
        ({"n_steps": 2.5}, "n_steps is 2.5; expected"),
    ],
)
def test_wrong_parameters_are_refused(clf, options, message, monkeypatch):
    """The message says what was expected, before anything is computed."""
    monkeypatch.setattr(_word_shares.WordShares, "_f", None)
    with pytest.raises(ValueError, match=message):
        explain(clf, ["good"], **options)


def test_wrong_tag_is_refused_before_anything_is_computed(tagger, monkeypatch):
    """The tags that there are stand in the message."""
    monkeypatch.setattr(tagger.net_, "scores", None)
    with pytest.raises(ValueError, match=r"target is 'B-PER'; expected 'predicted'"):
        explain(tagger, [["good"]], target="B-PER")


def test_unfitted_estimator_is_refused(settings):
    """It has no model to explain."""
    with pytest.raises(NotFittedError, match="not fitted yet"):
        explain(BertClassifier(**settings), ["good"])


def test_other_estimators_are_refused(clf, settings):
    """The message names those that are explained, and the way from others to them."""
    for other in [make_pipeline(clf), BertPretrainer(settings["checkpoint"]), None]:
        with pytest.raises(TypeError, match=r"expected a fitted BertClassifier.*Pipel"):
            explain(other, ["good"])


def test_single_texts_of_an_embedder_are_refused(embedder_settings):
    """Its f is the similarity of two texts."""
    embedder = BertEmbedder(**embedder_settings).fit(["good"])
    with pytest.raises(ValueError, match="X holds single texts; a BertEmbedder is"):
        explain(embedder, ["good", "bad"])


def test_embedder_of_joined_columns_is_refused(embedder_settings):
    """It reads several columns as one text, so no two texts have a similarity."""
    embedder = BertEmbedder(**embedder_settings).fit([("good", "bad")])
    with pytest.raises(ValueError, match="reads 2 columns as one text"):
        explain(embedder, [("good", "bad")])


def test_wrong_texts_are_refused(clf):
    """X is checked as by predict."""
    with pytest.raises(TypeError, match=r"X\[1\] is 3 of type int"):
        explain(clf, ["good", 3])
