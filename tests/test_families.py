"""Any language, any encoder: every family gives what plain transformers gives."""

import itertools
import pickle

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch.nn.functional import layer_norm
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    TruncationWarning,
    cache_info,
    load,
    save,
)

FAMILIES = [
    "bert",
    "roberta",
    "distilbert",
    "electra",
    "modernbert",
    "deberta",
    "deberta-v2",
    "mpnet",
    "xlm-roberta",
    "e5",
]
# The last two are a RoBERTa and a BERT with another tokenizer. They come last, because
# pytest brings together the tests of a family by its place in the list.
of_each_network = pytest.mark.parametrize(
    "family", FAMILIES[:-2], indirect=True, scope="module"
)
WITH_POOLER = ["bert", "roberta", "xlm-roberta", "mpnet", "e5"]
FAMILIES_THAT_WRITE = ["bert", "roberta", "distilbert", "electra", "xlm-roberta", "e5"]
BYTE_LEVEL = ["roberta", "modernbert", "deberta"]
AFTER_PADDING = ["roberta", "xlm-roberta", "mpnet"]  # where positions begin


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, family_checkpoint):
    """The folder of a tiny checkpoint of the family."""
    return family_checkpoint(family)


@pytest.fixture(scope="module")
def plain(folder):
    """Plain transformers on the same folder."""
    return Plain(folder)


@pytest.fixture(scope="module")
def fit(folder):
    """Fit an estimator on the family's checkpoint; one epoch, if it learns."""

    def fit(cls, X, y=None, **params):
        defaults = {"checkpoint": folder, "device": "cpu", "precision": "float32"}
        if cls is not BertEmbedder:
            learning = {"max_epochs": 1, "batch_size": 7, "learning_rate": 1e-3}
            defaults |= {**learning, "random_state": 0}
        return cls(**(defaults | params)).fit(X, y)

    return fit


@pytest.fixture(scope="module")
def texts(texts_of):
    """Texts of all languages, an empty one, and one of letters never seen."""
    return [*itertools.chain(*texts_of.values()), "", "ᚠᛇᚻ"]


@pytest.fixture(scope="module")
def labels(texts):
    return [["good", "bad", "neither"][i % 3] for i in range(len(texts))]


@pytest.fixture(scope="module")
def pairs(texts):
    """Each text with the one of another language."""
    return list(zip(texts, texts[::-1], strict=True))


@pytest.fixture(scope="module")
def sentences(texts_of):
    """Words: between spaces, of one Chinese letter each, and symbols."""
    return [
        list(text) if language == "Chinese" else text.split()
        for language, of_language in texts_of.items()
        for text in of_language
    ]


@pytest.fixture(scope="module")
def classifier(fit, texts, labels):
    """A fitted classifier; not to be changed."""
    return fit(BertClassifier, texts, labels)


@pytest.fixture(scope="module")
def tagger(fit, sentences):
    """A fitted tagger, which looks for words of one letter; not to be changed."""
    return fit(BertTokenClassifier, sentences, tags_of(sentences))


@pytest.fixture(scope="module")
def embedder(fit, texts):
    """A fitted embedder; not to be changed."""
    return fit(BertEmbedder, texts, pooling="mean")


@pytest.fixture(scope="module")
def regressor(fit, texts):
    """A regressor that has learnt the lengths of the texts; not to be changed."""
    return fit(BertRegressor, texts, lengths_of(texts), max_epochs=4)


def lengths_of(texts):
    return np.array([len(text) for text in texts], dtype=float)


def tags_of(sentences):
    return [["one" if len(word) == 1 else "more" for word in s] for s in sentences]


class Plain:
    """transformers as its own documentation uses it, padded and in float32."""

    def __init__(self, folder):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def batch(self, *columns, **options):
        return self.tokenizer(*columns, padding=True, return_tensors="pt", **options)

    def output(self, batch):
        with torch.inference_mode():
            return self.model(**batch)

    def means(self, batch):
        """The mean of each text's states, leaving out the padding."""
        mask = batch["attention_mask"][..., None]
        states = self.output(batch).last_hidden_state
        return ((states * mask).sum(1) / mask.sum(1)).numpy()

    def ids(self, text):
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def mean_of_ids(self, ids):
        """The mean of the states of these ids between the special tokens."""
        ends = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        row = torch.tensor([[ends[0], *ids, ends[1]]])
        return self.means({"input_ids": row, "attention_mask": torch.ones_like(row)})


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


# -- vectors ---------------------------------------------------------------------------


def test_hardly_a_token_of_a_family_is_unknown(plain, texts_of):
    """Hardly a token of the tests is unknown, so that the tests compare something."""
    for language, texts in texts_of.items():
        ids = list(itertools.chain(*(plain.ids(text) for text in texts)))
        unknown = ids.count(plain.tokenizer.unk_token_id)
        assert unknown < len(ids) / 2, language


def test_vectors_are_plain_transformers_(embedder, plain, texts):
    """In every language a vector is the mean of plain transformers' states."""
    assert_close(embedder.transform(texts), plain.means(plain.batch(texts)))


@of_each_network
@pytest.mark.parametrize("pooling", ["cls", "max"])
def test_other_poolings(fit, plain, texts, pooling):
    """The first state and the maximum are plain transformers', too."""
    batch = plain.batch(texts)
    states = plain.output(batch).last_hidden_state
    is_padding = batch["attention_mask"][..., None] == 0
    largest = states.masked_fill(is_padding, -torch.inf).amax(1)
    expected = states[:, 0] if pooling == "cls" else largest
    assert_close(fit(BertEmbedder, texts, pooling=pooling).transform(texts), expected)


def test_what_auto_means(fit, plain, family, texts):
    """Auto is the trained pooler, ModernBERT's first token, and else the mean."""
    vectors = fit(BertEmbedder, texts).transform(texts)
    batch = plain.batch(texts)
    output = plain.output(batch)
    if family in WITH_POOLER:
        assert_close(vectors, output.pooler_output)
    elif family == "modernbert":
        assert_close(vectors, output.last_hidden_state[:, 0])
    else:
        assert_close(vectors, plain.means(batch))


def test_published_checkpoints(fit, plain, folder, family, texts, tmp_path):
    """Weights with a head for masked words, and no pooler, give the same vectors."""
    AutoModelForMaskedLM.from_pretrained(folder).save_pretrained(tmp_path)
    plain.tokenizer.save_pretrained(tmp_path)
    vectors = fit(BertEmbedder, texts, checkpoint=tmp_path).transform(texts)
    batch = plain.batch(texts)
    first = plain.output(batch).last_hidden_state[:, 0]
    assert_close(vectors, first if family == "modernbert" else plain.means(batch))


def test_pairs_are_laid_out_as_the_family_does(fit, plain, pairs):
    """A pair is laid out as by the family's own tokenizer, token types included."""
    vectors = fit(BertEmbedder, pairs, pooling="mean").transform(pairs)
    assert_close(vectors, plain.means(plain.batch(*zip(*pairs, strict=True))))


def test_order_and_company_do_not_matter(embedder, texts):
    """A text alone has the vector that it has among the others."""
    expected = embedder.transform(texts)
    cache_info(clear=True)
    alone = [embedder.transform([text])[0] for text in reversed(texts)]
    assert_close(alone[::-1], expected)


# -- long texts ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_text(texts):
    """A text in all languages of several hundred tokens."""
    return " ".join(texts * 3)


@pytest.fixture(scope="module")
def n_positions(family):
    """Tokens that the tiny checkpoint reads."""
    return 64 if family in AFTER_PADDING else 66


def test_all_positions_can_be_read(fit, plain, long_text, n_positions):
    """A text is cut where the positions end, and read up to the last."""
    warning = f"longer than {n_positions} tokens"
    with pytest.warns(TruncationWarning, match=warning):
        embedder = fit(BertEmbedder, [long_text], pooling="mean")
    assert embedder.max_length_ == n_positions
    with pytest.warns(TruncationWarning, match=warning):
        vectors = embedder.transform([long_text])
    batch = plain.batch([long_text], truncation=True, max_length=n_positions)
    assert batch["input_ids"].shape == (1, n_positions)
    assert_close(vectors, plain.means(batch))


def test_windows_are_pieces_of_the_ids(fit, plain, long_text, n_positions):
    """Windows are pieces of the text's ids; their means count by their tokens."""
    embedder = fit(BertEmbedder, [long_text], pooling="mean", long_text="window")
    ids, size = plain.ids(long_text), n_positions - 2
    windows = [ids[begin : begin + size] for begin in range(0, len(ids), size)]
    assert len(windows) > 2
    means = np.concatenate([plain.mean_of_ids(window) for window in windows])
    expected = np.average(means, axis=0, weights=[len(w) for w in windows])
    assert_close(embedder.transform([long_text])[0], expected)


@of_each_network
def test_a_classifier_of_windows(fit, texts, labels, long_text):
    """A classifier learns from windows and predicts texts of any length."""
    classifier = fit(BertClassifier, texts, labels, max_length=16, long_text="window")
    proba = classifier.predict_proba([long_text, *texts])
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
    assert len(np.unique(proba, axis=0)) == len(proba)


# -- estimators that learn -------------------------------------------------------------


@of_each_network
def test_every_layer_of_a_family_learns(classifier, plain):
    """One epoch changes each weight of the encoder, but for a pooler without use."""
    before = plain.model.state_dict()
    after = classifier.net_.module.encoder.state_dict()
    unchanged = [name for name in before if torch.equal(before[name], after[name])]
    assert before.keys() == after.keys()
    assert unchanged == []


def test_classifier_predicts_the_greatest_probability(classifier, texts, labels):
    """`predict` is the most probable of the labels; probabilities add up to 1."""
    proba = classifier.predict_proba(texts)
    assert classifier.classes_.tolist() == sorted(set(labels))
    assert proba.shape == (len(texts), 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(
        classifier.predict(texts), classifier.classes_[proba.argmax(axis=1)]
    )


def test_classifier_is_a_plain_head(classifier, plain, texts):
    """Probabilities are those of the head on what plain transformers pools."""
    model = AutoModel.from_pretrained(classifier.checkpoint, dtype=torch.float32).eval()
    model.load_state_dict(classifier.net_.module.encoder.state_dict())
    pooling = classifier.net_.module.pooling
    batch = plain.batch(texts)
    with torch.inference_mode():
        output = model(**batch)
        mask = batch["attention_mask"][..., None]
        vectors = {
            "pooler": lambda: output.pooler_output,
            "cls": lambda: output.last_hidden_state[:, 0],
            "mean": lambda: (output.last_hidden_state * mask).sum(1) / mask.sum(1),
        }[pooling]()
        if pooling != "pooler":
            vectors = layer_norm(vectors, vectors.shape[1:])
        scores = classifier.net_.module.head(vectors).double().numpy()
    scores /= classifier.temperature_
    assert_close(classifier.predict_proba(texts), softmax(scores, axis=1))


@of_each_network
def test_a_frozen_encoder(fit, plain, texts, labels):
    """With trainable="head" the encoder stays as it was, and the head learns."""
    classifier = fit(
        BertClassifier, texts, labels, trainable="head", max_epochs=3, dropout=0.0
    )
    losses = [epoch["train_loss"] for epoch in classifier.history_]
    assert losses[-1] < losses[0]
    before = plain.model.state_dict()
    after = classifier.net_.module.encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_classifier_of_pairs(fit, pairs, labels):
    """A classifier learns from pairs, and tells their halves apart."""
    classifier = fit(BertClassifier, pairs, labels)
    proba = classifier.predict_proba(pairs)
    swapped = classifier.predict_proba([pair[::-1] for pair in pairs])
    assert np.abs(proba - swapped).max() > 1e-4


@of_each_network
def test_regressor_of_a_family_learns(regressor, texts):
    """A regressor comes nearer to the numbers that it learns."""
    numbers = lengths_of(texts)
    first, *_, last = (epoch["train_loss"] for epoch in regressor.history_)
    assert last < first
    predicted = regressor.predict(texts)
    assert predicted.shape == numbers.shape
    assert np.corrcoef(predicted, numbers)[0, 1] > 0


def test_tagger_is_plain_transformers_(tagger, plain, family, sentences):
    """A word's probabilities are those of the head on the state of its first piece.

    Where a space is a part of the next word, every word is read with one before it.
    """
    space = " " if family in BYTE_LEVEL else ""
    model = AutoModel.from_pretrained(tagger.checkpoint, dtype=torch.float32).eval()
    model.load_state_dict(tagger.net_.module.encoder.state_dict())
    for sentence, proba in zip(sentences, tagger.predict_proba(sentences), strict=True):
        spaced = [space + word for word in sentence]
        batch = plain.tokenizer(spaced, is_split_into_words=True, return_tensors="pt")
        words = batch.word_ids()
        first = [words.index(word) for word in range(len(sentence))]
        with torch.inference_mode():
            states = model(**batch).last_hidden_state[0, first]
            scaled = layer_norm(states, states.shape[1:])
            scores = tagger.net_.module.head(scaled).double().numpy()
        assert_close(proba, softmax(scores, axis=1))


def test_one_tag_per_word(tagger, sentences):
    """There is a tag for every word, one of joined emoji and marks included."""
    odd = [["👩‍👩‍👧", "كِتَابٌ", "\u200f", "電", "é"]]
    for words, tags in zip(
        [*sentences, *odd], tagger.predict([*sentences, *odd]), strict=True
    ):
        assert len(tags) == len(words)
        assert set(tags) <= {"one", "more"}


# -- files and pickles -----------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(classifier, tmp_path_factory):
    """The folder of the fitted classifier."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    save(classifier, folder)
    return folder


def test_saved_classifier_comes_back(saved, classifier, texts):
    """What is loaded predicts the same, to the last bit."""
    np.testing.assert_array_equal(
        load(saved).predict_proba(texts), classifier.predict_proba(texts)
    )


@of_each_network
@pytest.mark.usefixtures("family")
@pytest.mark.parametrize("kind", ["embedder", "tagger", "regressor"])
def test_other_estimators_come_back(request, texts, sentences, tmp_path, kind):
    """So do the other estimators."""
    estimator = request.getfixturevalue(kind)
    save(estimator, tmp_path / "model")
    again = load(tmp_path / "model")
    X = sentences if kind == "tagger" else texts
    method = {"embedder": "transform", "tagger": "predict_proba"}.get(kind, "predict")
    found, expected = getattr(again, method)(X), getattr(estimator, method)(X)
    np.testing.assert_array_equal(
        np.concatenate(found, axis=None), np.concatenate(expected, axis=None)
    )


def test_transformers_opens_the_folder(saved, classifier, plain, texts):
    """AutoModel and AutoTokenizer read from it what the classifier has learnt."""
    opened = Plain(saved)
    assert type(opened.model) is type(plain.model)
    batch = opened.batch(texts)
    assert batch["input_ids"].tolist() == plain.batch(texts)["input_ids"].tolist()
    encoder = AutoModel.from_pretrained(classifier.checkpoint, dtype=torch.float32)
    encoder.load_state_dict(classifier.net_.module.encoder.state_dict())
    with torch.inference_mode():
        expected = encoder.eval()(**batch).last_hidden_state
    assert torch.equal(opened.output(batch).last_hidden_state, expected)


def test_the_folder_is_a_checkpoint(saved, fit, classifier, texts):
    """Another estimator starts from it: its vectors are the classifier's."""
    embedder = fit(BertEmbedder, texts, checkpoint=saved)
    np.testing.assert_array_equal(
        embedder.transform(texts), classifier.transform(texts)
    )


@of_each_network
def test_pickled_families_predict_the_same(
    classifier, tagger, embedder, texts, sentences
):
    """What comes out of a pickle predicts the same, to the last bit."""
    again = [pickle.loads(pickle.dumps(e)) for e in (classifier, tagger, embedder)]
    np.testing.assert_array_equal(
        again[0].predict_proba(texts), classifier.predict_proba(texts)
    )
    assert again[1].predict(sentences) == tagger.predict(sentences)
    np.testing.assert_array_equal(again[2].transform(texts), embedder.transform(texts))


# -- learning without labels -------------------------------------------------------


@pytest.fixture(scope="module")
def pretrainer(fit, texts):
    """A fitted pretrainer; not to be changed."""
    return fit(BertPretrainer, texts)


def test_pretrainer_guesses_as_plain_transformers_does(
    pretrainer, folder, texts, tmp_path
):
    """transformers opens what was learnt, and its masked-LM head says the same."""
    pretrainer.save(tmp_path / "learnt")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "learnt")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "learnt").eval()
    text = f"the {tokenizer.mask_token} film"
    inputs = tokenizer([text], return_tensors="pt")
    place = inputs["input_ids"][0].tolist().index(tokenizer.mask_token_id)
    with torch.inference_mode():
        scores = model(**inputs).logits[0, place].softmax(0)
    ((guesses,),) = pretrainer.fill_mask([text], top_k=3)
    expected = scores.topk(3).values.numpy()
    np.testing.assert_allclose([p for _, p in guesses], expected, atol=1e-5)


@of_each_network
def test_what_was_pretrained_comes_back(pretrainer, texts, tmp_path):
    """A saved pretrainer is loaded with the same scores and vectors."""
    save(pretrainer, tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.score(texts) == pretrainer.score(texts)
    np.testing.assert_array_equal(again.transform(texts), pretrainer.transform(texts))


@of_each_network
def test_pretrained_folder_is_a_checkpoint(pretrainer, fit, texts, labels, tmp_path):
    """Estimators begin with what a pretrainer has learnt."""
    pretrainer.save(tmp_path / "learnt")
    vectors = fit(BertEmbedder, texts, checkpoint=tmp_path / "learnt").transform(texts)
    np.testing.assert_allclose(vectors, pretrainer.transform(texts), atol=1e-6)
    fit(BertClassifier, texts, labels, checkpoint=tmp_path / "learnt").predict(texts)


@of_each_network
def test_adapting_inside_a_classifier(fit, texts, labels):
    """A nested pretrainer adapts the encoder of every family."""
    nested = BertPretrainer(max_epochs=1, learning_rate=1e-3, pack=False)
    clf = fit(BertClassifier, texts, labels, pretraining=nested)
    assert np.isfinite(clf.pretraining_history_[0]["train_loss"])
    assert clf.predict_proba(texts).shape == (len(texts), 3)


@of_each_network
@pytest.mark.parametrize("objective", ["supervised", "mlm"])
def test_vectors_that_learn(fit, texts, labels, objective):
    """An objective changes the vectors of every family."""
    learning = {"max_epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    plain = fit(BertEmbedder, texts).transform(texts)
    learnt = fit(
        BertEmbedder, texts, labels, objective=objective, random_state=0, **learning
    ).transform(texts)
    assert np.isfinite(learnt).all()
    assert np.abs(learnt - plain).max() > 1e-3


def test_generator_or_a_clear_refusal(fit, texts, family):
    """Families with the plain attention write; the others say that they cannot."""
    if family not in FAMILIES_THAT_WRITE:
        with pytest.raises(ValueError, match="cannot read from left to right"):
            fit(BertGenerator, texts)
        return
    generator = fit(BertGenerator, texts, max_length=24)
    (text,) = generator.generate(["the film"], 4, temperature=0)
    assert text.startswith("the film")
    assert generator.score_samples(["the film"])[0] < 0


@of_each_network
def test_layers_are_computed_twice_or_a_clear_refusal(fit, texts, labels, family):
    """gradient_checkpointing works, or says for which family it cannot."""
    settings = {"gradient_checkpointing": True}
    if family == "mpnet":
        with pytest.raises(ValueError, match="transformers cannot do that for.*mpnet"):
            fit(BertClassifier, texts, labels, **settings)
        settings = {"gradient_checkpointing": "auto"}
    fit(BertClassifier, texts, labels, **settings).predict(texts)
