"""Pickles and saved folders: what comes back, what is refused, what a crash leaves."""

import copy
import hashlib
import io
import itertools
import json
import multiprocessing
import os
import pickle
import pickletools
import pkgutil
import random
import re
import shutil
import signal
import stat
import sys
import time
import warnings
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from safetensors import safe_open
from scipy.sparse import csr_array, csr_matrix, issparse
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
)

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertRegressor,
    BertTokenClassifier,
    WordPieceVocabulary,
    cache_info,
    load,
    save,
)
from sklearn_bert._process._cache import BoundedCache
from sklearn_bert._process._versions import OtherVersionsWarning
from sklearn_bert.compute import _features
from sklearn_bert.model import (
    _checkpoint,
    _checkpoint_encoder,
    _checkpoint_tokenizer,
)
from sklearn_bert.text._input import check_texts

FILES = [
    "1_Pooling/config.json",
    "config.json",
    "estimator.json",
    "head.safetensors",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
]
AND_CARD = sorted([*FILES, "README.md"])  # which the user may change
TEXTS = [
    "the film was very good",
    "i hate it , a bad plot !",
    "a great cat",
    "awful dog",
    "nice movie",
    "poor dull movie",
]
ODD_TEXTS = [
    "",
    " ",
    "ÄÖÜ ß naïve",
    "\u0000\u200b\ufeff",
    "🙂 日本語 العربية",
    "[CLS] [SEP] [PAD] [UNK] [MASK]",
    "good\tGOOD\r\nGood",
    "a" * 300,
    "good b " * 50,
    "unaffable!!!???",
]
LABELS = {
    "str": np.array(["no", "yes"]),
    "int": np.array([3, 7]),
    "bool": np.array([False, True]),
    "object": np.array(["no", "yes é\n"], dtype=object),
    "negative": np.array([-1, 1], dtype=np.int8),
    "float": np.array([1.0, 2.0]),
}


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer: nothing here is about layers."""
    return shallow_checkpoint


@pytest.fixture(autouse=True)
def own_features(monkeypatch):
    """Compute what is compared here: from another batch it may differ by 1e-8."""
    monkeypatch.setattr(_features, "FEATURES", BoundedCache(2**24))


@pytest.fixture(scope="module")
def fit_classifier(checkpoint):
    """Fit a tiny classifier in a moment."""

    def fit(X=TEXTS, y=("pos", "neg") * 3, **params):
        defaults = {
            "checkpoint": checkpoint,
            "max_epochs": 1,
            "random_state": 0,
            "device": "cpu",
            "precision": "float32",
        }
        return BertClassifier(**(defaults | params)).fit(X, y)

    return fit


@pytest.fixture(scope="module")
def fit_embedder(checkpoint):
    """Fit a tiny embedder."""

    def fit(X=TEXTS, **params):
        defaults = {"checkpoint": checkpoint, "device": "cpu", "precision": "float32"}
        return BertEmbedder(**(defaults | params)).fit(X)

    return fit


@pytest.fixture(scope="module")
def classifier(fit_classifier):
    """A fitted classifier; not to be changed."""
    return fit_classifier()


@pytest.fixture(scope="module")
def embedder(fit_embedder):
    """A fitted embedder; not to be changed."""
    return fit_embedder()


@pytest.fixture(scope="module")
def saved(classifier, tmp_path_factory):
    """The folder of the saved classifier; not to be changed."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    save(classifier, folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    """A copy of the saved folder, to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "copied"))


@pytest.fixture(scope="module")
def large_checkpoint(checkpoint, tmp_path_factory):
    """A checkpoint of about 10 MB, so that the weights outweigh all else."""
    folder = tmp_path_factory.mktemp("large-bert")
    shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
    config = BertConfig.from_pretrained(
        checkpoint, hidden_size=256, num_hidden_layers=3, intermediate_size=1024
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


def test_a_second_load_parses_no_tokenizer(saved, monkeypatch):
    """A process keeps a tokenizer of one content, and knows that it was checked."""
    first = load(saved)

    def fail(*args):
        raise AssertionError("the tokenizer was read again")

    monkeypatch.setattr(_checkpoint_tokenizer, "check_tokenizer_parts", fail)
    second = load(saved)
    assert second.tokenizer_.backend is first.tokenizer_.backend
    assert second.tokenizer_.settings() == first.tokenizer_.settings()
    cache_info(clear=True)
    with pytest.raises(ValueError, match="was read again"):
        load(saved)


@pytest.fixture(scope="module")
def large_classifier(fit_classifier, large_checkpoint):
    """A fitted classifier of about 10 MB; not to be changed."""
    return fit_classifier(checkpoint=large_checkpoint)


def files_of(folder):
    """The names of all files below a folder."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in Path(folder).rglob("*")
        if path.is_file()
    )


def snapshot_of(folder):
    """The content of all files below a folder."""
    return {name: (Path(folder) / name).read_bytes() for name in files_of(folder)}


def random_states():
    """Where the global generators of torch and NumPy stand."""
    numpy_state = np.random.get_state()
    return torch.get_rng_state().tolist(), numpy_state[1].tolist(), numpy_state[2]


def save_and_load(estimator, folder):
    """What comes back of an estimator."""
    save(estimator, folder)
    return load(folder)


def edit_manifest(folder, **content):
    """Change the manifest and make its checksum right again."""
    path = folder / "estimator.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["content"] |= content
    canonical = json.dumps(manifest["content"], sort_keys=True).encode()
    manifest["sha256"] = hashlib.sha256(canonical).hexdigest()
    path.write_text(json.dumps(manifest), "utf-8")


# -- the round trip ----------------------------------------------------------------


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_classifier_comes_back_with_its_labels(fit_classifier, tmp_path, labels):
    """Labels of any kind come back with their type; predictions are bit-equal."""
    clf = fit_classifier(y=np.tile(labels, 3))
    loaded = save_and_load(clf, tmp_path / "model")

    assert type(loaded) is BertClassifier
    assert loaded.classes_.dtype == clf.classes_.dtype
    assert_array_equal(loaded.classes_, labels)
    assert [type(label) for label in loaded.classes_] == [
        type(label) for label in clf.classes_
    ]
    for method in ("predict", "predict_proba", "decision_function", "transform"):
        expected = getattr(clf, method)(TEXTS)
        actual = getattr(loaded, method)(TEXTS)
        assert actual.dtype == expected.dtype
        assert_array_equal(actual, expected)


@pytest.mark.parametrize("pooling", ["auto", "mean", "max", "cls", "pooler"])
@pytest.mark.parametrize("normalize", [False, True])
def test_embedder_comes_back(fit_embedder, tmp_path, pooling, normalize):
    """Vectors are bit-equal after save and load, however they are pooled."""
    embedder = fit_embedder(pooling=pooling, normalize=normalize)
    loaded = save_and_load(embedder, tmp_path / "model")
    assert type(loaded) is BertEmbedder
    assert_array_equal(
        loaded.transform(ODD_TEXTS[:4]), embedder.transform(ODD_TEXTS[:4])
    )
    assert not (tmp_path / "model" / "head.safetensors").exists()


def test_parameters_come_back(fit_classifier, checkpoint, tmp_path):
    """get_params is equal after load, with the types of the values."""
    params = {
        "checkpoint": Path(checkpoint),
        "class_weight": {0: 1.0, 1: 2.5, 7: np.float32(0.1)},
        "learning_rate": np.float64(1e-3),
        "batch_size": np.int64(4),
        "dropout": 0.25,
        "warmup": 1 / 3,
        "early_stopping": False,
        "max_length": 12,
        "pooling": "cls",
        "callbacks": [],
        "verbose": False,
    }
    clf = fit_classifier(y=[0, 1, 7] * 2, **params)
    loaded = save_and_load(clf, tmp_path / "model")

    assert loaded.get_params() == clf.get_params()
    for name, value in clf.get_params().items():
        assert type(loaded.get_params()[name]) is type(value), name
    assert list(loaded.class_weight) == [0, 1, 7]
    assert all(type(label) is int for label in loaded.class_weight)
    assert loaded.class_weight[7].dtype == np.float32


def test_random_state_comes_back_where_it_stood(fit_classifier, tmp_path):
    """A RandomState draws after load what it would have drawn after save."""
    random_state = np.random.RandomState(3)
    random_state.normal()  # fills the cache of the second normal number
    clf = fit_classifier(random_state=random_state)
    loaded = save_and_load(clf, tmp_path / "model")
    assert loaded.random_state is not clf.random_state
    assert_array_equal(
        loaded.random_state.normal(size=700), clf.random_state.normal(size=700)
    )


def test_refitting_what_was_loaded_gives_the_same_model(fit_classifier, tmp_path):
    """`fit` after load goes as fit would have gone before save."""
    clf = fit_classifier(random_state=np.random.RandomState(3), max_epochs=2)
    loaded = save_and_load(clf, tmp_path / "model")
    y = ["pos", "neg"] * 3
    assert_array_equal(
        loaded.fit(TEXTS, y).predict_proba(TEXTS),
        clf.fit(TEXTS, y).predict_proba(TEXTS),
    )


def test_fitted_attributes_come_back(fit_classifier, tmp_path):
    """history_, truncation_report_ and the others are equal, and none is lost."""
    frame = pd.DataFrame({"title": TEXTS * 2, "year": range(12)})
    clf = fit_classifier(
        frame,
        ["pos", "neg"] * 6,
        template="{title} , {year}",
        early_stopping=True,
        validation_fraction=0.25,
        max_epochs=2,
        max_length=20,
    )
    loaded = save_and_load(clf, tmp_path / "model")

    assert sorted(vars(loaded)) == sorted(vars(clf))
    assert loaded.history_ == clf.history_
    assert set(loaded.history_[0]) > {"epoch", "train_loss", "valid_score"}
    assert loaded.truncation_report_ == clf.truncation_report_
    assert loaded.max_length_ == clf.max_length_ == 20
    assert loaded.n_iter_ == clf.n_iter_
    assert loaded.n_features_in_ == 2
    assert_array_equal(loaded.feature_names_in_, ["title", "year"])
    assert loaded.feature_names_in_.dtype == object
    assert_array_equal(loaded.predict_proba(frame), clf.predict_proba(frame))
    assert_array_equal(loaded.predict(frame[["year", "title"]]), clf.predict(frame))
    with pytest.raises(ValueError, match="column 'year', which X does not have"):
        loaded.predict(frame[["title"]])


def test_pairs_come_back(fit_classifier, tmp_path):
    """A model of sentence pairs is bit-equal and still wants pairs."""
    pairs = list(zip(TEXTS, reversed(TEXTS), strict=True))
    clf = fit_classifier(pairs)
    loaded = save_and_load(clf, tmp_path / "model")
    assert_array_equal(loaded.predict_proba(pairs), clf.predict_proba(pairs))
    with pytest.raises(ValueError, match="is expecting 2 features"):
        loaded.predict(TEXTS)


def test_set_output_comes_back(embedder, tmp_path):
    """An estimator that was told to give data frames gives them after load."""
    embedder = copy.deepcopy(embedder).set_output(transform="pandas")
    loaded = save_and_load(embedder, tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.transform(TEXTS), embedder.transform(TEXTS))


def test_save_leaves_the_estimator_alone(fit_classifier, tmp_path):
    """`save` changes neither the estimator nor the caller's random numbers."""
    clf = fit_classifier(random_state=np.random.RandomState(3))
    before = pickle.dumps(clf)
    states = random_states()
    save(clf, tmp_path / "model")
    assert pickle.dumps(clf) == before
    assert random_states() == states


def test_load_draws_no_random_numbers(saved):
    """The caller's generators of torch and NumPy are where they were before load."""
    states = random_states()
    load(saved)
    assert random_states() == states


def test_loaded_models_do_not_depend_on_the_folder(classifier, copied):
    """A loaded model predicts the same when the files are gone."""
    loaded = load(copied)
    for name in files_of(copied):
        (copied / name).write_bytes(b"\0")
    assert_array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


def test_a_model_of_a_missing_device_works_on_the_cpu(copied, classifier):
    """A model whose device is not there is loaded to the CPU."""
    content = json.loads((copied / "estimator.json").read_text())["content"]
    edit_manifest(copied, net=content["net"] | {"placement": "cuda:99"})
    assert_array_equal(
        load(copied).predict_proba(TEXTS), classifier.predict_proba(TEXTS)
    )


@pytest.mark.parametrize("cls", [BertClassifier, BertEmbedder])
def test_the_device_may_be_chosen(classifier, embedder, tmp_path, cls):
    """`load(folder, device=)` sets the parameter and the place; None: as saved."""
    estimator = classifier if cls is BertClassifier else embedder
    save(estimator, tmp_path / "model")
    chosen = load(tmp_path / "model", device="cpu:0")
    assert chosen.device == chosen.net_.placement == "cpu:0"
    assert chosen.net_.device == "cpu:0"
    assert chosen.get_params() == estimator.get_params() | {"device": "cpu:0"}
    assert_array_equal(chosen.transform(TEXTS), estimator.transform(TEXTS))
    kept = load(tmp_path / "model", device=None)
    assert kept.device == kept.net_.placement == estimator.device == "cpu"


@pytest.mark.parametrize(
    ("device", "error", "message"),
    [
        ("cuda:99", ValueError, "device is 'cuda:99', which this machine does not"),
        ("gpu", ValueError, "device is 'gpu'; expected 'auto', 'cpu'"),
        ("", ValueError, "device is ''"),
        (0, TypeError, "device is 0 of type int; expected a str"),
        (torch.device("cpu"), TypeError, "of type device; expected a str"),
    ],
)
def test_a_wrong_device_is_refused_first(tmp_path, device, error, message):
    """`load` complains of the device before it reads anything."""
    with pytest.raises(error, match=message):
        load(tmp_path / "nothing", device=device)


# -- versions ----------------------------------------------------------------------


def noted_versions(folder):
    """The versions that a saved folder notes."""
    return json.loads((folder / "estimator.json").read_text())["content"]["versions"]


def other_minor(version):
    """A version of which the second number is another."""
    major, minor = version.split(".")[:2]
    return f"{major}.{int(minor) + 1}.0"


NOTED = ["sklearn_bert", "scikit-learn", "skorch", "tokenizers", "torch"]
NOTED = [*NOTED, "transformers"]


@pytest.mark.parametrize("name", NOTED)
def test_another_minor_version_is_said(copied, classifier, name):
    """Where a library that matters is another, `load` warns, and loads all the same."""
    here = noted_versions(copied)
    assert set(here) == {"python", *NOTED}
    other = other_minor(here[name])
    edit_manifest(copied, versions=here | {name: other})
    match = (
        f"copied was saved with {name} {re.escape(other)}, and is read with {name} "
        f"{re.escape(here[name])}: its BertClassifier may .* save it again"
    )
    with pytest.warns(InconsistentVersionWarning, match=match) as caught:
        loaded = load(copied)
    assert [Path(warning.filename).name for warning in caught] == [Path(__file__).name]
    assert caught[0].message.estimator_name == "BertClassifier"
    assert_array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    save(loaded, copied)
    load(copied)  # without a warning, which would be an error


@pytest.mark.parametrize("use", [copy.copy, lambda x: pickle.loads(pickle.dumps(x))])
def test_the_warning_of_other_versions_can_be_pickled(use):
    """It reaches another process whole, as from joblib's workers."""
    warning = OtherVersionsWarning("read anew", estimator="X", then="1.0", now="2.0")
    again = use(warning)
    assert type(again) is OtherVersionsWarning
    assert str(again) == "read anew"
    assert vars(again) == vars(warning)


def test_other_versions_are_one_warning(copied):
    """All that differ are named in one warning, the others not."""
    others = {"torch": "1.13.1+cu117", "transformers": "4.57.0", "skorch": "0.15.0"}
    edit_manifest(copied, versions=noted_versions(copied) | others)
    with pytest.warns(InconsistentVersionWarning) as caught:
        load(copied)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "skorch 0.15.0, torch 1.13.1+cu117, transformers 4.57.0, and" in message
    assert "scikit-learn" not in message


def test_a_patch_is_not_said(copied):
    """Another patch, build or Python, and what was not noted, are no warning."""
    here = noted_versions(copied)
    patched = {
        name: ".".join([*version.split(".")[:2], "999+cpu"])
        for name, version in here.items()
    }
    edit_manifest(copied, versions=patched | {"python": "3.99.0"})
    load(copied)
    edit_manifest(copied, versions={"sklearn_bert": here["sklearn_bert"]})
    load(copied)


@pytest.fixture(scope="module")
def vocabulary():
    """A fitted vocabulary; not to be changed."""
    return WordPieceVocabulary(vocab_size=60).fit(TEXTS)


@pytest.mark.parametrize("kind", ["classifier", "embedder", "vocabulary", "unfitted"])
@pytest.mark.parametrize("then", ["0.0.9", "9.9.9", None])
def test_a_pickle_of_another_version_warns(request, monkeypatch, kind, then):
    """Unpickling what another version has pickled, or one that noted none, warns."""
    name = "classifier" if kind == "unfitted" else kind
    estimator = request.getfixturevalue(name)
    estimator = clone(estimator) if kind == "unfitted" else estimator
    cls = type(estimator).__name__
    with monkeypatch.context() as patch:
        if then is None:
            patch.setattr(type(estimator), "__getstate__", BaseEstimator.__getstate__)
        else:
            patch.setattr("sklearn_bert._process._versions.__version__", then)
        data = pickle.dumps(estimator)
    match = f"this {cls} was pickled with sklearn_bert {then or '0.1 or older'}; this"
    with pytest.warns(InconsistentVersionWarning, match=match) as caught:
        loaded = pickle.loads(data)
    assert len(caught) == 1
    assert vars(loaded).keys() == vars(estimator).keys()
    assert loaded.get_params() == estimator.get_params()


@pytest.mark.parametrize("kind", ["classifier", "embedder", "vocabulary"])
def test_copies_of_this_version_do_not_warn(request, kind):
    """A clone, a copy and a pickle of this version are quiet, and do not show it."""
    estimator = request.getfixturevalue(kind)
    copies = [
        clone(estimator),
        copy.copy(estimator),
        copy.deepcopy(estimator),
        pickle.loads(pickle.dumps(estimator)),
    ]
    for made in copies:
        assert not [name for name in vars(made) if "version" in name]


# -- the folder --------------------------------------------------------------------


def test_the_folder_holds_no_pickle(saved):
    """Every file is JSON, safetensors or the card; none is a pickle or an archive."""
    assert files_of(saved) == AND_CARD
    for path in (saved / name for name in AND_CARD):
        data = path.read_bytes()
        assert not zipfile.is_zipfile(path)
        assert data[:2] not in [bytes([0x80, protocol]) for protocol in range(6)]
        if path.suffix == ".json":
            json.loads(data)
        elif path.suffix == ".md":
            assert data.decode().startswith("---\n")
        else:
            with safe_open(path, framework="np") as weights:
                assert list(weights.keys())


def test_transformers_opens_the_folder(saved, classifier):
    """AutoModel.from_pretrained finds exactly the weights of the encoder."""
    model, report = AutoModel.from_pretrained(saved, output_loading_info=True)
    expected = classifier.net_.module.encoder.state_dict()
    assert type(model) is BertModel
    assert not any(report.values())
    assert list(model.state_dict()) == list(expected)
    for name, value in model.state_dict().items():
        assert value.dtype == expected[name].dtype
        assert torch.equal(value, expected[name]), name


OF_A_HEAD = {"id2label", "label2id", "num_labels", "problem_type"}


@pytest.mark.filterwarnings("ignore")  # transformers' own
@pytest.mark.parametrize("given", [{}, {"id2label": {0: "A", 1: "B", 2: "C"}}])
def test_the_configuration_names_no_head(fit_classifier, checkpoint, tmp_path, given):
    """transformers finds no names of outputs, neither ours nor the checkpoint's.

    The head is not where transformers looks, so it makes up one, and says so.
    """
    config = BertConfig.from_pretrained(checkpoint, **given)
    shutil.copytree(checkpoint, tmp_path / "checkpoint")
    config.save_pretrained(tmp_path / "checkpoint")
    clf = fit_classifier(checkpoint=str(tmp_path / "checkpoint"))
    save(clf, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text("utf-8"))
    assert not OF_A_HEAD & set(config)
    assert config["architectures"] == ["BertModel"]
    model, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert set(report["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}  # of nothing


def test_a_folder_that_names_its_labels_is_read(copied, classifier):
    """A folder of an earlier version, with label names in its configuration, loads."""
    path = copied / "config.json"
    config = json.loads(path.read_text("utf-8"))
    names = {"id2label": {"0": "neg", "1": "pos"}, "label2id": {"neg": 0, "pos": 1}}
    path.write_text(json.dumps(config | names), "utf-8")
    content = json.loads((copied / "estimator.json").read_text("utf-8"))["content"]
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_manifest(copied, files=content["files"] | {"config.json": sha256})
    loaded = load(copied)
    assert_array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    save(loaded, copied)
    config = json.loads(path.read_text("utf-8"))
    assert not OF_A_HEAD & set(config)


@pytest.mark.parametrize(
    "rows",
    [
        [(text,) for text in ODD_TEXTS],
        list(zip(ODD_TEXTS, reversed(ODD_TEXTS), strict=True)),
    ],
    ids=["texts", "pairs"],
)
def test_transformers_opens_the_tokenizer(saved, classifier, rows):
    """AutoTokenizer.from_pretrained makes the ids that the estimator makes."""
    theirs = AutoTokenizer.from_pretrained(saved)
    assert theirs.model_max_length == classifier.max_length_
    texts = check_texts([row if len(row) == 2 else row[0] for row in rows])
    for ours in (classifier.tokenizer_, load(saved).tokenizer_):
        table = ours(texts)
        for row, start, length in zip(rows, table.starts, table.lengths, strict=True):
            # In lists, because transformers takes a lone "" for no second text.
            expected = theirs(*([text] for text in row), truncation=True)
            tokens = slice(start, start + length)
            assert table.ids[tokens].tolist() == expected["input_ids"][0]
            if len(row) == 2:
                types = table.type_ids[tokens].tolist()
                assert types == expected["token_type_ids"][0]


@pytest.mark.parametrize("pooling", ["cls", "max", "mean", "pooler"])
def test_the_folder_is_a_checkpoint(fit_classifier, fit_embedder, tmp_path, pooling):
    """A saved folder serves as checkpoint, and pooling="auto" finds its pooling."""
    clf = fit_classifier(pooling=pooling, y=["a", "b", "c"] * 2)
    save(clf, tmp_path / "model")

    embedder = fit_embedder(checkpoint=tmp_path / "model")
    assert embedder.net_.module.pooling == pooling
    assert_array_equal(embedder.transform(TEXTS), clf.transform(TEXTS))

    # With a step size of next to nothing the encoder stays what it was.
    again = fit_classifier(checkpoint=tmp_path / "model", learning_rate=1e-30)
    assert again.net_.module.pooling == pooling
    assert_array_equal(again.classes_, ["neg", "pos"])
    assert_array_equal(again.transform(TEXTS), clf.transform(TEXTS))


@pytest.mark.parametrize("normalize", [False, True])
def test_an_embedder_is_a_checkpoint(fit_embedder, tmp_path, normalize):
    """The checkpoint of a saved embedder keeps its length limit and its scaling."""
    first = fit_embedder(normalize=normalize, max_length=12)
    save(first, tmp_path / "model")
    second = fit_embedder(checkpoint=tmp_path / "model")
    assert second.max_length_ == 12
    answer, again = first.transform(TEXTS), second.transform(TEXTS)
    np.testing.assert_allclose(again, answer, rtol=0, atol=1e-6)


def test_a_checkpoint_replaced_while_it_is_read(fit_embedder, tmp_path, monkeypatch):
    """The encoder and the pooling are of one estimator: all is read again."""
    first, second = fit_embedder(pooling="cls"), fit_embedder(pooling="max")
    with torch.no_grad():
        for weight in second.net_.module.parameters():
            weight.mul_(1.5)
    folder = tmp_path / "model"
    save(first, folder)
    reads = []

    def read_encoder(*args, **kwargs):  # the pooling has been read before
        if not reads:
            save(second, folder)
        reads.append(args)
        return _checkpoint_encoder.read_encoder(*args, **kwargs)

    monkeypatch.setattr(_checkpoint, "read_encoder", read_encoder)
    again = fit_embedder(checkpoint=folder)
    assert len(reads) == 2
    assert_array_equal(again.transform(TEXTS), second.transform(TEXTS))


@pytest.mark.filterwarnings("ignore")  # its own, which are none of ours
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_sentence_transformers_opens_the_folder(
    fit_embedder, tmp_path, pooling, normalize
):
    """SentenceTransformer(folder).encode gives the vectors of the embedder."""
    package = pytest.importorskip("sentence_transformers")
    embedder = fit_embedder(pooling=pooling, normalize=normalize)
    save(embedder, tmp_path / "model")
    model = package.SentenceTransformer(str(tmp_path / "model"), device="cpu")
    again = fit_embedder(checkpoint=tmp_path / "model")
    theirs = model.encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(again.transform(TEXTS), theirs, atol=1e-4)
    np.testing.assert_allclose(embedder.transform(TEXTS), theirs, atol=1e-4)
    assert model.max_seq_length == embedder.max_length_


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize(
    ("umask", "file_mode", "folder_mode"),
    [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)],
)
def test_files_have_the_usual_permissions(
    classifier, tmp_path, umask, file_mode, folder_mode
):
    """Who may read the files is up to the umask, as for any new file."""
    previous = os.umask(umask)
    try:
        save(classifier, tmp_path / "model")
    finally:
        os.umask(previous)
    for path in [tmp_path / "model", *(tmp_path / "model").rglob("*")]:
        expected = folder_mode if path.is_dir() else file_mode
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


# -- damage ------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 0.5, 1], ids=["first", "middle", "last"])
@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_found(copied, name, place):
    """`load` names the file in which one byte differs, wherever it is."""
    path = copied / name
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} is damaged"):
        load(copied)


@pytest.mark.parametrize("size", [0, 0.5, -1], ids=["empty", "half", "one-less"])
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_found(copied, name, size):
    """`load` names the file that is cut short."""
    path = copied / name
    data = path.read_bytes()
    if name == "estimator.json":
        data = data.rstrip()  # the last line break says nothing
    path.write_bytes(data[: int(size * len(data)) if size >= 0 else size])
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} is damaged"):
        load(copied)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copied, name):
    """`load` names the file that is not there."""
    (copied / name).unlink()
    with pytest.raises(
        FileNotFoundError, match=f"{re.escape(str(copied / name))} is missing"
    ):
        load(copied)


def test_a_missing_folder_is_named(tmp_path):
    """`load` says which folder is none of ours."""
    folder = tmp_path / "nothing"
    with pytest.raises(
        FileNotFoundError, match=f"{re.escape(str(folder))} is not a folder written by"
    ):
        load(folder)


def test_a_foreign_class_is_refused(copied):
    """`load` builds nothing but our estimators, even if the checksum is right."""
    edit_manifest(copied, **{"class": "SVC"})
    with pytest.raises(ValueError, match=r"estimator.json names the class 'SVC'"):
        load(copied)


def test_a_newer_format_is_refused(copied):
    """`load` of a folder from the future says by whom it was written."""
    edit_manifest(copied, format=99, versions={"sklearn_bert": "9.9.9"})
    with pytest.raises(
        ValueError, match=r"has format 99, written by sklearn_bert 9\.9\.9.*Upgrade"
    ):
        load(copied)


def test_weights_that_do_not_fit_are_refused(copied):
    """Weights of another shape are an error even if all checksums are right."""
    content = json.loads((copied / "estimator.json").read_text())["content"]
    edit_manifest(copied, model=content["model"] | {"n_outputs": 3})
    with pytest.raises(ValueError, match=r"copied holds weights that do not fit"):
        load(copied)


@pytest.mark.parametrize(
    "manifest",
    [
        *("", "null", "[]", "{}", '"text"', "7", '{"content": {}}', '{"sha256": ""}'),
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_a_manifest_of_another_shape_is_refused(copied, manifest):
    """A manifest that is not even shaped like one is damaged."""
    (copied / "estimator.json").write_text(manifest)
    with pytest.raises(ValueError, match=r"estimator.json is damaged"):
        load(copied)


@pytest.fixture(scope="module")
def fuzzed(saved, tmp_path_factory):
    """A copy of the saved folder whose manifest is overwritten again and again."""
    folder = tmp_path_factory.mktemp("fuzz") / "model"
    return Path(shutil.copytree(saved, folder))


@given(data=st.data())
@hypothesis_settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_mutation_of_the_manifest_breaks_load(saved, fuzzed, data):
    """Whatever is in the manifest, load works, or says what is wrong with it."""
    original = (saved / "estimator.json").read_bytes()
    start = data.draw(st.integers(0, len(original)), "start")
    end = start + data.draw(st.sampled_from([0, 1, 2, 8, 64, 10**9]), "removed")
    inserted = data.draw(
        st.binary(max_size=8)
        | st.sampled_from([b'"', b"{", b"null", b"\\ud800", b"1e999", b"[" * 5000])
    )
    mutated = original[:start] + inserted + original[end:]
    (fuzzed / "estimator.json").write_bytes(mutated)
    try:
        load(fuzzed)
    except (ValueError, FileNotFoundError) as error:
        assert "estimator.json is damaged" in str(error)  # noqa: PT017
    else:
        assert json.loads(mutated)["content"] == json.loads(original)["content"]


# -- what is not saved -------------------------------------------------------------


@pytest.mark.parametrize("cls", [BertClassifier, BertEmbedder])
def test_unfitted_estimators_are_refused(tmp_path, cls):
    """`save` of an unfitted estimator is scikit-learn's error, and writes nothing."""
    with pytest.raises(NotFittedError, match=f"This {cls.__name__} instance is not"):
        save(cls(), tmp_path / "model")
    assert not any(tmp_path.iterdir())


def test_pipelines_are_refused(classifier, tmp_path):
    """`save` sends a pipeline to joblib, and writes nothing."""
    with pytest.raises(TypeError, match=r"got Pipeline.*joblib\.dump"):
        save(make_pipeline(classifier), tmp_path / "model")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("callbacks", [object()]),
        ("class_weight", {"pos": object()}),
        ("random_state", np.random.RandomState(np.random.PCG64(0))),
    ],
)
def test_what_json_cannot_hold_is_refused(classifier, tmp_path, name, value):
    """A parameter that is no JSON is named before anything is written."""
    clf = copy.deepcopy(classifier).set_params(**{name: value})
    with pytest.raises(TypeError, match=f"{name} holds .* cannot be saved as JSON"):
        save(clf, tmp_path / "new" / "model")
    assert not any(tmp_path.iterdir())


# -- the place ---------------------------------------------------------------------


def test_parent_folders_are_made(classifier, tmp_path):
    """`save` makes the folders above, and leaves nothing beside the new one."""
    save(classifier, tmp_path / "a" / "b" / "model")
    assert files_of(tmp_path) == [f"a/b/model/{name}" for name in AND_CARD]


def test_an_empty_folder_is_filled(classifier, tmp_path):
    """`save` writes into an empty folder."""
    (tmp_path / "model").mkdir()
    save(classifier, str(tmp_path / "model"))
    assert files_of(tmp_path) == [f"model/{name}" for name in AND_CARD]


def test_a_saved_model_is_replaced(classifier, embedder, tmp_path):
    """A second save replaces the first one as a whole."""
    save(classifier, tmp_path / "model")
    save(embedder, tmp_path / "model")
    assert type(load(tmp_path / "model")) is BertEmbedder
    assert "head.safetensors" not in files_of(tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]


def test_a_link_stays_a_link(classifier, embedder, tmp_path):
    """Saving through a symbolic link replaces the folder it points to."""
    save(classifier, tmp_path / "v1")
    try:
        (tmp_path / "latest").symlink_to(tmp_path / "v1", target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links here")
    save(embedder, tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert type(load(tmp_path / "v1")) is BertEmbedder
    assert sorted(os.listdir(tmp_path)) == ["latest", "v1"]


def test_a_relative_folder(classifier, tmp_path, monkeypatch):
    """A relative path means the working directory."""
    monkeypatch.chdir(tmp_path)
    save(classifier, "model")
    assert_array_equal(load("model").predict(TEXTS), classifier.predict(TEXTS))
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("version", [1, 4])
def test_files_of_others_stay_in_the_folder(classifier, embedder, copied, version):
    """README.md, `.git` and whatever else `save` has not written is there afterwards.

    So it is in folders of older formats.
    """
    edit_manifest(copied, format=version)
    others = {"README.md", "notes.txt", ".git/config", "sub/more", "1_Pooling/mine"}
    for name in others:
        (copied / name).parent.mkdir(exist_ok=True)
        (copied / name).write_text(f"mine: {name}")
    (copied / "link").symlink_to("README.md")
    mine = {name: (copied / name).read_bytes() for name in others}
    save(embedder, copied)
    of_embedder = {name for name in FILES if name != "head.safetensors"}
    assert set(files_of(copied)) == of_embedder | others | {"link"}
    assert {name: (copied / name).read_bytes() for name in others} == mine
    assert os.readlink(copied / "link") == "README.md"
    assert_array_equal(load(copied).transform(TEXTS), embedder.transform(TEXTS))
    manifest = json.loads((copied / "estimator.json").read_text())
    assert set(manifest["content"]["files"]) == of_embedder - {"estimator.json"}
    save(classifier, copied)
    assert {name: (copied / name).read_bytes() for name in others} == mine


def test_a_file_of_others_is_not_overwritten(classifier, embedder, tmp_path):
    """Where the new model needs the name of a file of others, `save` refuses."""
    save(embedder, tmp_path / "model")
    (tmp_path / "model" / "head.safetensors").write_text("mine")
    before = snapshot_of(tmp_path)
    with pytest.raises(FileExistsError, match=r"head\.safetensors was not saved by"):
        save(classifier, tmp_path / "model")
    assert snapshot_of(tmp_path) == before


@pytest.mark.parametrize("manifest", ["", "{}", "[]", '{"content": {"files": 3}}'])
def test_a_folder_of_unknown_files_is_refused(classifier, copied, manifest):
    """Where nobody knows any more what `save` has written, nothing is replaced."""
    (copied / "estimator.json").write_text(manifest)
    before = snapshot_of(copied)
    with pytest.raises(FileExistsError, match="manifest that cannot be read"):
        save(classifier, copied)
    assert snapshot_of(copied) == before


@pytest.mark.parametrize("letter", ["m", "é", "語"])
def test_a_folder_name_may_be_long(embedder, tmp_path, letter):
    """`save` writes to any name that the file system allows."""
    folder = tmp_path / (letter * (255 // len(letter.encode())))
    save(embedder, folder)
    save(embedder, folder)
    assert type(load(folder)) is BertEmbedder
    assert len(os.listdir(tmp_path)) == 1


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_other_peoples_things_are_not_replaced(classifier, tmp_path, kind):
    """`save` touches nothing where the path holds something else."""
    target = tmp_path / "thesis"
    path = target / "chapter.txt" if kind == "folder" else target
    path.parent.mkdir(exist_ok=True)
    path.write_text("years of work")
    before = snapshot_of(tmp_path)
    with pytest.raises(FileExistsError, match="thesis exists and was not saved by"):
        save(classifier, target)
    assert snapshot_of(tmp_path) == before


# -- a save that does not end ------------------------------------------------------

STEPS = [
    "json.dumps",
    "pathlib.Path.mkdir",
    "pathlib.Path.write_bytes",
    "pathlib.Path.write_text",
    "sklearn_bert.model._files.save",
    "sklearn_bert.estimators._save.sha256_of",
]
PUT_FIRST = "pathlib.Path.rename"
PUT_LATER = "sklearn_bert._process._atomic_folder.exchange"


def interrupted(function, at, when):
    """A function whose call number `at` is interrupted before or after its work."""
    numbers = itertools.count(1)

    def wrapper(*args, **kwargs):
        is_last = next(numbers) == at
        if is_last and when == "before":
            raise KeyboardInterrupt
        result = function(*args, **kwargs)
        if is_last:
            raise KeyboardInterrupt
        return result

    return wrapper


def save_interrupted(monkeypatch, interruption, estimator, folder):
    """Whether the save met the interruption."""
    step, at, when = interruption
    with monkeypatch.context() as patch:
        patch.setattr(step, interrupted(pkgutil.resolve_name(step), at, when))
        try:
            save(estimator, folder)
        except KeyboardInterrupt:
            return True
    return False


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [*STEPS, PUT_FIRST])
def test_an_interrupted_first_save_leaves_nothing(
    classifier, tmp_path, monkeypatch, step, when
):
    """Wherever Ctrl-C meets a first save, there is no folder, or all of it."""
    for at in itertools.count(1):
        parent = tmp_path / str(at)
        parent.mkdir()
        if not save_interrupted(
            monkeypatch, (step, at, when), classifier, parent / "m"
        ):
            break
        if os.listdir(parent):
            assert (step, when) == (PUT_FIRST, "after")  # it was all done
            assert os.listdir(parent) == ["m"]
            load(parent / "m")
    assert at > 1, f"{step} was not called"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.skipif(sys.platform != "linux", reason="folders are exchanged")
@pytest.mark.parametrize("step", [*STEPS, PUT_LATER])
def test_an_interrupted_save_leaves_the_old_model(
    classifier, embedder, tmp_path, monkeypatch, step, when
):
    """Wherever Ctrl-C meets a later save, the old model is there, or all of the new."""
    save(classifier, tmp_path / "m")
    old = snapshot_of(tmp_path)
    for at in itertools.count(1):
        if not save_interrupted(
            monkeypatch, (step, at, when), embedder, tmp_path / "m"
        ):
            break
        assert os.listdir(tmp_path) == ["m"]
        if snapshot_of(tmp_path) != old:
            assert (step, at, when) == (PUT_LATER, 1, "after")
            assert type(load(tmp_path / "m")) is BertEmbedder
            save(classifier, tmp_path / "m")
            old = snapshot_of(tmp_path)
    assert at > 1, f"{step} was not called"


def test_a_full_disk_leaves_the_old_model(classifier, tmp_path, monkeypatch):
    """An error in the middle of a save comes out, and the old model stays."""

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    save(classifier, tmp_path / "m")
    old = snapshot_of(tmp_path)
    monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        save(classifier, tmp_path / "m")
    assert snapshot_of(tmp_path) == old


FORK = multiprocessing.get_context("fork") if sys.platform == "linux" else None
N_KILLED = 4


@pytest.mark.skipif(FORK is None, reason="a process is forked and killed")
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "later"])
def test_a_killed_save_leaves_no_mixture(large_classifier, tmp_path, is_first):
    """A process that is killed while it saves leaves the old model, or none."""
    old = large_classifier
    new = copy.deepcopy(old).set_params(verbose=1)
    start = time.perf_counter()
    save(old, tmp_path / "once" / "m")
    duration = time.perf_counter() - start
    delays = random.Random(0)
    n_killed = 0
    for attempt in range(50):
        parent = tmp_path / str(attempt)
        parent.mkdir()
        if not is_first:
            save(old, parent / "m")
        process = start_save(new, parent / "m")
        while not list(parent.glob(".m.*.saving")) and process.is_alive():
            time.sleep(1e-4)
        time.sleep(delays.uniform(0, duration))
        process.kill()  # SIGKILL
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        n_killed += bool(list(parent.glob(".m.*.saving")))
        if (parent / "m").exists():
            loaded = load(parent / "m")
            assert loaded.verbose == 1 or not is_first
            assert_array_equal(loaded.predict_proba(TEXTS), old.predict_proba(TEXTS))
        else:  # killed before the last step
            assert is_first
        shutil.rmtree(parent)
        if n_killed == N_KILLED:
            return
    pytest.fail(f"only {n_killed} of {attempt + 1} processes were killed while saving")


def start_save(estimator, folder):
    """A process that saves the estimator, and does nothing else."""
    process = FORK.Process(target=save, args=(estimator, folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads
        process.start()
    return process


# -- pickles -----------------------------------------------------------------------


def through_pickle(estimator, folder):
    """Through bytes."""
    return pickle.loads(pickle.dumps(estimator))


def through_joblib(estimator, folder):
    """Through a file."""
    joblib.dump(estimator, folder / "estimator.joblib")
    return joblib.load(folder / "estimator.joblib")


def through_deepcopy(estimator, folder):
    """Through no bytes at all."""
    return copy.deepcopy(estimator)


@pytest.mark.parametrize(
    "copied_by", [through_pickle, through_joblib, through_deepcopy]
)
def test_pickled_estimators_predict_the_same(classifier, embedder, tmp_path, copied_by):
    """`pickle`, joblib and deepcopy give estimators whose results are bit-equal."""
    clf = copied_by(classifier, tmp_path)
    assert clf.net_ is not classifier.net_
    assert clf.get_params() == classifier.get_params()
    assert clf.history_ == classifier.history_
    assert sorted(vars(clf)) == sorted(vars(classifier))
    for method in ("predict", "predict_proba", "decision_function", "transform"):
        assert_array_equal(
            getattr(clf, method)(TEXTS), getattr(classifier, method)(TEXTS)
        )
    assert_array_equal(
        copied_by(embedder, tmp_path).transform(TEXTS), embedder.transform(TEXTS)
    )


def test_a_pipeline_can_be_pickled(classifier, tmp_path):
    """`joblib` takes a whole pipeline, as save says."""
    pipeline = make_pipeline(classifier)
    loaded = through_joblib(pipeline, tmp_path)
    assert_array_equal(loaded.predict_proba(TEXTS), pipeline.predict_proba(TEXTS))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol_works(classifier, protocol):
    """An estimator survives every protocol of pickle that is in use."""
    loaded = pickle.loads(pickle.dumps(classifier, protocol))
    assert_array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


def test_a_pickle_is_as_large_as_the_weights(large_classifier, tmp_path):
    """A pickle weighs 1.05 times the weights at most, after predict too."""
    state = large_classifier.net_.module.state_dict()
    limit = 1.05 * sum(value.nbytes for value in state.values())
    assert limit > 8e6
    fresh = pickle.dumps(large_classifier)
    large_classifier.predict(TEXTS)
    used = pickle.dumps(large_classifier)
    joblib.dump(large_classifier, tmp_path / "clf.joblib")
    assert len(fresh) < limit
    assert len(used) == len(fresh)
    assert (tmp_path / "clf.joblib").stat().st_size < limit


def test_a_pickle_holds_nothing_of_torch(classifier):
    """A pickle names no class or function of torch, so no optimizer and no tensor."""
    named = set()

    class Recorder(pickle.Unpickler):
        def find_class(self, module, name):
            named.add(f"{module}.{name}")
            return super().find_class(module, name)

    data = pickle.dumps(classifier)
    Recorder(io.BytesIO(data)).load()
    assert "sklearn_bert.estimators._classifier.BertClassifier" in named
    assert not [name for name in named if name.startswith(("torch", "transformers"))]
    # The names that occur as strings, for those that the recorder would not see.
    strings = [arg for _, arg, _ in pickletools.genops(data) if isinstance(arg, str)]
    modules = [arg for arg in strings if arg.startswith("torch")]
    assert not modules


def test_an_unfitted_estimator_is_small(large_classifier):
    """The pickle of an unfitted clone is below 10 kB."""
    assert len(pickle.dumps(clone(large_classifier))) < 10_000


def test_a_pickled_estimator_can_be_fitted_again(fit_classifier):
    """`fit` after unpickling gives the model that fit before pickling gives."""
    clf = fit_classifier(max_epochs=2)
    loaded = pickle.loads(pickle.dumps(clf))
    y = ["pos", "neg", "odd"] * 2
    assert_array_equal(
        loaded.fit(TEXTS, y).predict_proba(TEXTS),
        clf.fit(TEXTS, y).predict_proba(TEXTS),
    )
    assert_array_equal(loaded.classes_, ["neg", "odd", "pos"])


def test_a_loaded_estimator_can_be_pickled(saved, classifier):
    """What load gives can be pickled, copied and saved again."""
    loaded = pickle.loads(pickle.dumps(copy.deepcopy(load(saved))))
    assert_array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


def test_saving_what_was_loaded_gives_the_same_files(saved, tmp_path):
    """`load` and `save` are inverse: the second folder is the first, byte for byte."""
    save(load(saved), tmp_path / "again")
    assert snapshot_of(tmp_path / "again") == snapshot_of(saved)


# -- several labels, numbers and tags -------------------------------------------------


SPARSE = csr_array(np.array([[1, 0, 1], [0, 1, 0]] * 3))
WORDS = [text.split() for text in TEXTS]
TAGS = [["B-X" if w in ("film", "cat") else "O" for w in words] for words in WORDS]
NEW_KINDS = {
    "int indicator": (BertClassifier, TEXTS, SPARSE.toarray()),
    "bool indicator": (BertClassifier, TEXTS, SPARSE.toarray().astype(bool)),
    "sparse array": (BertClassifier, TEXTS, SPARSE),
    "sparse matrix": (BertClassifier, TEXTS, csr_matrix(SPARSE.astype(np.uint8))),
    "numbers": (BertRegressor, TEXTS, np.arange(6) * 1e100),
    "a table of one number": (BertRegressor, TEXTS, np.arange(6.0)[:, None]),
    "several numbers": (BertRegressor, TEXTS, np.arange(12.0).reshape(6, 2)),
    "tags": (BertTokenClassifier, WORDS, TAGS),
    "flat tags": (
        BertTokenClassifier,
        WORDS,
        [["N" if t == "B-X" else "V" for t in row] for row in TAGS],
    ),
    "numbers as tags": (
        BertTokenClassifier,
        WORDS,
        [[-3 if t == "B-X" else 4 for t in row] for row in TAGS],
    ),
}


@pytest.fixture(scope="module")
def fitted_kinds(checkpoint):
    """A fitted estimator of each kind of target; not to be changed."""
    settings = {
        "checkpoint": checkpoint,
        "max_epochs": 1,
        "random_state": 0,
        "device": "cpu",
        "precision": "float32",
    }
    return {name: cls(**settings).fit(X, y) for name, (cls, X, y) in NEW_KINDS.items()}


def through_save(estimator, folder):
    save(estimator, folder / "model")
    return load(folder / "model")


def answers_of(estimator, X):
    """Everything that an estimator says of X, as lists of dense arrays."""
    methods = ["predict", "predict_proba", "decision_function", "transform"]
    found = []
    for method in methods:
        if hasattr(estimator, method):
            answer = getattr(estimator, method)(X)
            found += answer if isinstance(answer, list) else [answer]
    return [a.toarray() if issparse(a) else np.asarray(a) for a in found]


def fitted_values(estimator):
    """The fitted attributes that are no network and no tokenizer."""
    return {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_") and name not in ("net_", "tokenizer_")
    }


@pytest.mark.parametrize("name", NEW_KINDS)
def test_every_kind_of_target_comes_back(fitted_kinds, tmp_path, name):
    """`load` of `save` answers, and remembers, as the original, bit by bit."""
    _, X, y = NEW_KINDS[name]
    estimator = fitted_kinds[name]
    loaded = through_save(estimator, tmp_path)
    assert type(loaded) is type(estimator)
    assert loaded.get_params() == estimator.get_params()
    for ours, theirs in zip(
        answers_of(loaded, X), answers_of(estimator, X), strict=True
    ):
        assert ours.dtype == theirs.dtype
        assert_array_equal(ours, theirs)
    before, after = fitted_values(estimator), fitted_values(loaded)
    assert set(before) == set(after)
    for attribute, value in before.items():
        assert type(after[attribute]) is type(value)
        np.testing.assert_equal(after[attribute], value)
        if isinstance(value, np.ndarray):
            assert after[attribute].dtype == value.dtype
    assert loaded.score(X, y) == estimator.score(X, y)


@pytest.mark.parametrize("name", ["sparse array", "sparse matrix", "bool indicator"])
def test_the_kind_of_an_indicator_comes_back(fitted_kinds, tmp_path, name):
    """A loaded classifier predicts the kind of indicator that it was fitted with."""
    y = NEW_KINDS[name][2]
    predicted = through_save(fitted_kinds[name], tmp_path).predict(TEXTS)
    assert type(predicted) is type(y)
    assert predicted.dtype == y.dtype


@pytest.mark.parametrize(
    ("way", "name"),
    [
        *(("save", name) for name in NEW_KINDS),
        *(("pickle", name) for name in ("sparse array", "numbers", "tags")),
    ],
)
def test_what_comes_back_learns_on(fitted_kinds, tmp_path, name, way):
    """partial_fit of a loaded estimator gives what that of the original gives."""
    _, X, y = NEW_KINDS[name]
    estimator = copy.deepcopy(fitted_kinds[name])
    loaded = (
        through_save(estimator, tmp_path)
        if way == "save"
        else pickle.loads(pickle.dumps(estimator))
    )
    estimator.partial_fit(X, y)
    loaded.partial_fit(X, y)
    assert loaded.n_iter_ == estimator.n_iter_ == 2
    for ours, theirs in zip(
        answers_of(loaded, X), answers_of(estimator, X), strict=True
    ):
        assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", NEW_KINDS)
def test_saving_any_kind_twice_gives_the_same_files(fitted_kinds, tmp_path, name):
    """`load` and `save` are inverse for every kind of target."""
    save(fitted_kinds[name], tmp_path / "one")
    save(load(tmp_path / "one"), tmp_path / "two")
    assert snapshot_of(tmp_path / "one") == snapshot_of(tmp_path / "two")


@pytest.mark.parametrize("cls", [BertClassifier, BertRegressor, BertTokenClassifier])
def test_requests_of_metadata_come_back(fitted_kinds, tmp_path, cls):
    """What an estimator asks scikit-learn for is kept, and nothing more."""
    name = next(name for name, kind in NEW_KINDS.items() if kind[0] is cls)
    estimator = copy.deepcopy(fitted_kinds[name])
    with sklearn.config_context(enable_metadata_routing=True):
        estimator.set_fit_request(
            sample_weight=True, groups="documents", X_val=False, y_val=None
        )
        estimator.set_partial_fit_request(sample_weight=True)
        estimator.set_score_request(sample_weight=False)
    loaded = through_save(estimator, tmp_path)
    for method in ("fit", "partial_fit", "score"):
        ours = getattr(loaded.get_metadata_routing(), method).requests
        theirs = getattr(estimator.get_metadata_routing(), method).requests
        assert ours == theirs
    assert ours == {"sample_weight": False}


def test_class_weights_of_labels_come_back(checkpoint, tmp_path):
    """A list of dicts survives as a parameter, with the types of its keys."""
    weights = [{0: 1, 1: 2.5}, {0: 1, 1: 1}, {0: np.float64(0.5), 1: 1}]
    clf = BertClassifier(
        checkpoint, max_epochs=1, device="cpu", class_weight=weights, layer_decay=0.9
    )
    loaded = through_save(clf.fit(TEXTS, SPARSE), tmp_path)
    assert loaded.class_weight == weights
    assert [type(key) for key in loaded.class_weight[0]] == [int, int]
    assert loaded.layer_decay == 0.9
