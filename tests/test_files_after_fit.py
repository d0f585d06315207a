"""A fitted or loaded estimator needs no file of its checkpoint any more."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertGenerator,
    BertPretrainer,
    BertRegressor,
    BertTokenClassifier,
    cache_info,
    load,
    save,
)
from sklearn_bert.model._checkpoint import load_checkpoint

TEXTS = ["the film was good", "a bad movie", "great plot !", "it is dull ."]
LABELS = ["good", "bad", "good", "bad"]
SENTENCES = [text.split() for text in TEXTS]
TAGS = [["long" if len(word) > 3 else "short" for word in s] for s in SENTENCES]

ESTIMATORS = [
    *[(BertClassifier, {"trainable": t}) for t in ("all", "head", 1)],
    *[(BertRegressor, {"trainable": t}) for t in ("all", "head", 1)],
    *[(BertTokenClassifier, {"trainable": t}) for t in ("all", "head", 1)],
    (BertEmbedder, {}),
    (BertEmbedder, {"objective": "supervised", "max_epochs": 1}),
    (BertPretrainer, {}),
    (BertGenerator, {}),
]
NAMES = [f"{cls.__name__}-{list(p.values())}" for cls, p in ESTIMATORS]


@pytest.fixture(scope="session")
def checkpoint(shallow_checkpoint):
    """One layer, but where layers are told apart."""
    return shallow_checkpoint


@pytest.fixture
def fitted(checkpoint, two_layer_checkpoint, tmp_path, request):
    """A fitted estimator, and the folder of the checkpoint that it began with."""
    cls, params = request.param
    source = two_layer_checkpoint if params.get("trainable") == 1 else checkpoint
    folder = shutil.copytree(source, tmp_path / "checkpoint")
    if cls is not BertEmbedder:
        params = {"max_epochs": 1, "random_state": 0, **params}
    estimator = cls(checkpoint=folder, device="cpu", precision="float32", **params)
    if cls is BertTokenClassifier:
        return estimator.fit(SENTENCES, TAGS), folder
    y = {BertRegressor: [1.0, 0.0, 2.0, 3.0], BertGenerator: None, BertPretrainer: None}
    return estimator.fit(TEXTS, y.get(cls, LABELS)), folder


def answers(estimator):
    """What the estimator says, computed anew."""
    cache_info(clear=True)
    if isinstance(estimator, BertTokenClassifier):
        return np.concatenate(estimator.predict_proba(SENTENCES))
    if isinstance(estimator, (BertPretrainer, BertGenerator)):
        return np.array(estimator.score_samples(TEXTS))
    if isinstance(estimator, BertRegressor):
        return estimator.predict(TEXTS)
    method = "transform" if isinstance(estimator, BertEmbedder) else "predict_proba"
    return getattr(estimator, method)(TEXTS)


def overwrite(path):
    """Write other bytes into the same file."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"\0" * size)


def truncate(path):
    """Leave nothing in the file."""
    with path.open("r+b") as file:
        file.truncate(0)


def replace(path):
    """Put another file into its place."""
    other = path.with_name("other")
    other.write_bytes(b"\1" * 1000)
    other.replace(path)


def assert_needs_no_file(estimator, folder):
    """Whatever becomes of the folder's files, the answers stay, to the last bit."""
    expected = answers(estimator)
    # In this order: on a file that is mapped, the second would end the process.
    for spoil in (overwrite, truncate, replace, Path.unlink):
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            spoil(path)
        np.testing.assert_array_equal(answers(estimator), expected)


@pytest.mark.parametrize("fitted", ESTIMATORS, ids=NAMES, indirect=True)
def test_fitted_estimators_need_no_checkpoint(fitted):
    """Overwriting, truncating or removing a checkpoint changes no fitted estimator."""
    assert_needs_no_file(*fitted)


@pytest.mark.parametrize("fitted", ESTIMATORS, ids=NAMES, indirect=True)
def test_loaded_estimators_need_no_folder(fitted, tmp_path):
    """Nor does a loaded estimator need the folder that it was loaded from."""
    save(fitted[0], tmp_path / "saved")
    assert_needs_no_file(load(tmp_path / "saved"), tmp_path / "saved")


def test_frozen_encoders_are_one(checkpoint):
    """Estimators that only read an encoder share one copy, and it is counted."""
    cache_info(clear=True)
    settings = {"checkpoint": checkpoint, "device": "cpu", "precision": "float32"}
    embedder = BertEmbedder(**settings).fit(TEXTS)
    classifier = BertClassifier(**settings, trainable="head").fit(TEXTS, LABELS)
    tagger = BertTokenClassifier(**settings, trainable="head").fit(SENTENCES, TAGS)
    encoder = load_checkpoint(checkpoint, shared=True).encoder
    for estimator in (embedder, classifier, tagger):
        assert estimator.net_.module.encoder is encoder
    n_bytes = sum(p.nbytes for p in encoder.parameters())
    info = cache_info()["weights"]
    assert info["entries"] == 1
    assert n_bytes <= info["bytes"] <= n_bytes + 100_000
