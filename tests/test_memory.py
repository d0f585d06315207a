"""What a process keeps in memory after fits, and for every length of texts."""

import json
import re
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from sklearn_bert import (
    BertClassifier,
    BertOutOfMemoryError,
    BertRegressor,
    cache_info,
)
from sklearn_bert._process._cache import FEATURES, TOKENS, WEIGHTS
from sklearn_bert.compute._memory import is_shortage, make_room
from sklearn_bert.estimators import _base
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.training import _update

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="reads /proc, and glibc's arenas are meant"
)
START = """
import json
from pathlib import Path
from sklearn_bert import BertClassifier, BertTokenClassifier, cache_info
from sklearn_bert.model._checkpoint import load_checkpoint

def resident():
    status = Path("/proc/self/status").read_text().split("VmRSS:")[1]
    return int(status.split()[0]) / 1024

NAME = "sentence-transformers/all-MiniLM-L6-v2"
"""
FITS = """
import torch
torch.set_num_threads(1)
X = ["the parcel never arrived", "a great film, really"] * 4
y = ["bad", "good"] * 4
clf = BertClassifier(max_epochs=1, random_state=0, device="cpu", precision="float32")
clf.fit(X, y)  # imports, and reads the weights
before = resident()
for _ in range(20):
    clf.fit(X, y)
print(json.dumps([before, resident()]))
"""
ESTIMATORS = FITS.replace(
    "    clf.fit(X, y)\n", "    clf = BertClassifier(**clf.get_params()).fit(X, y)\n"
)
LENGTHS = """
checkpoint = load_checkpoint(NAME, shared=True)
checkpoint.text_tokenizer(100)
before = resident()
for max_length in range(4, 64):
    checkpoint.text_tokenizer(max_length).fingerprint
n_bytes = sum(p.nbytes for p in checkpoint.encoder.parameters())
print(json.dumps([before, resident(), cache_info()["weights"]["bytes"] - n_bytes]))
"""


def run(script):
    """The figures that a script prints in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", START + script]
    done = subprocess.run(command, check=True, capture_output=True, timeout=300)
    return json.loads(done.stdout.splitlines()[-1])


@linux
@pytest.mark.slow
@pytest.mark.parametrize("script", [FITS, ESTIMATORS], ids=["one", "new each time"])
def test_fits_leave_little_behind(script):
    """Of twenty fits after a first one nothing stays: the weights alone are 87 MiB."""
    before, after = run(script)
    assert after - before <= 20


def test_lengths_share_a_backend(checkpoint):
    """Tokenizers of all lengths are one and the same inside, and few are kept."""
    loaded = load_checkpoint(checkpoint)
    first = loaded.text_tokenizer(4)
    assert {id(loaded.text_tokenizer(n).backend) for n in range(5, 60)} == {
        id(first.backend)
    }
    assert loaded.tokenizer_of_length.cache_info().currsize <= 4


@linux
@pytest.mark.slow
def test_lengths_share_a_tokenizer():
    """Sixty lengths keep no more than one, and the cache counts the tokenizer."""
    before, after, n_counted = run(LENGTHS)
    assert after - before < 20
    assert 2e6 < n_counted < 2e7


def test_bounds_are_those_of_the_documentation():
    """64 MiB of tokens, 256 MiB of features, 4 GiB of weights."""
    bounds = {name: row["max_bytes"] for name, row in cache_info().items()}
    gibibyte = 1_073_741_824
    expected = {"tokens": gibibyte / 16, "features": gibibyte / 4}
    assert bounds == {**expected, "weights": 4 * gibibyte}
    assert [c.max_bytes for c in (TOKENS, FEATURES, WEIGHTS)] == list(bounds.values())


def test_room_is_made_of_what_refers_to_itself():
    """What only a cycle holds is freed before a smaller batch is tried."""

    class Node:
        pass

    node = Node()
    node.itself = node
    gone = weakref.ref(node)
    del node
    make_room(torch.device("cpu"))
    assert gone() is None


CPU_SHORTAGES = [
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate "
    "memory: you tried to allocate 400000000000 bytes. Error code 12 (Cannot allocate "
    "memory)",
    "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: "
    "you tried to allocate 400000000000 bytes.",
    "std::bad_alloc",
]


def test_shortage_of_a_cpu_is_recognised():
    """What torch raises for a size that no machine has is a shortage, others not."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58, dtype=torch.uint8, device="cpu")
    assert is_shortage(caught.value)
    assert all(is_shortage(RuntimeError(message)) for message in CPU_SHORTAGES)
    assert not is_shortage(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize("message", CPU_SHORTAGES)
def test_batches_are_halved_on_a_cpu(settings, reviews, monkeypatch, message):
    """Training and predicting go on with smaller batches where a CPU is short."""
    texts, labels = reviews
    clf = BertClassifier(**(settings | {"max_epochs": 1}))
    expected = clf.fit(texts, labels).predict_proba(texts)
    sizes = []
    attend = _update.nn.functional.layer_norm

    def of_few(x, *args, **kwargs):
        if x.ndim == 3 and x.shape[0] > 4:
            raise RuntimeError(message)
        sizes.append(len(x))
        return attend(x, *args, **kwargs)

    monkeypatch.setattr("torch.nn.functional.layer_norm", of_few)
    found = clf.fit(texts, labels)
    assert found.predict_proba(texts).shape == expected.shape
    assert max(sizes) <= 40
    assert found.net_.batch_size_used_ == 4


WORDS = "Unable to allocate 9 TiB for an array"  # of NumPy's MemoryError
ROADS = {
    "classes": (BertClassifier, {}),
    "few labels": (BertClassifier, {"max_epochs": "auto"}),
    "self-training": (BertClassifier, {"max_epochs": "auto"}),
    "held out": (BertClassifier, {"early_stopping": True}),
    "numbers": (BertRegressor, {}),
}


def fit_road(road, settings, reviews):
    """Fit one of the roads on which a head starts from a probe."""
    cls, params = ROADS[road]
    X, y = reviews
    if road in ("few labels", "self-training"):
        X, y = X[:8], y[:8]
    if cls is BertRegressor:
        y = np.arange(len(X))
    more = {"unlabeled": reviews[0]} if road == "self-training" else {}
    return cls(**{**settings, "max_epochs": 1, **params}).fit(X, y, **more)


@pytest.mark.parametrize("road", ROADS)
def test_probes_and_calibration_are_halved(
    settings, reviews, monkeypatch, quick_room, road
):
    """What is computed before and after a training goes on with smaller batches."""
    plainly = _update.nn.functional.layer_norm
    refused = []

    def of_few(x, *args, **kwargs):
        if x.ndim == 3 and x.shape[0] > 4:
            refused.append(len(x))
            raise MemoryError(WORDS)
        return plainly(x, *args, **kwargs)

    monkeypatch.setattr("torch.nn.functional.layer_norm", of_few)
    model = fit_road(road, settings, reviews)
    assert len(model.predict(reviews[0])) == len(reviews[0])
    assert len(refused) > 1


@pytest.mark.parametrize("road", ["classes", "numbers"])
@pytest.mark.parametrize("where", ["texts", "a probe"])
def test_no_room_at_all_is_one_error(
    settings, reviews, monkeypatch, quick_room, road, where
):
    """Where nothing can be halved, the error is ours, and says what to do."""

    def fail(*args, **kwargs):
        raise MemoryError(WORDS)

    if where == "texts":
        monkeypatch.setattr("torch.nn.functional.layer_norm", fail)
    else:
        for cls in (LogisticRegression, Ridge):
            monkeypatch.setattr(cls, "fit", fail)
    with pytest.raises(
        BertOutOfMemoryError, match=r"memory .*choose a smaller"
    ) as error:
        fit_road(road, settings, reviews)
    assert WORDS in str(error.value)


def test_other_errors_are_no_shortage(settings, reviews, monkeypatch):
    """They are raised as they are."""

    def fail(*args, **kwargs):
        raise RuntimeError("of a library")

    monkeypatch.setattr(LogisticRegression, "fit", fail)
    with pytest.raises(RuntimeError, match="^of a library$"):
        fit_road("classes", settings, reviews)


def test_an_interrupt_while_memory_is_given_back(settings, reviews, monkeypatch):
    """Ctrl-C at the very end of a fit leaves a fitted estimator, of the new fit."""
    texts, labels = reviews
    clf = BertClassifier(**settings, max_epochs=1).fit(texts, labels)
    before = clf.net_

    def interrupt(device):
        raise KeyboardInterrupt

    monkeypatch.setattr(_base, "give_back", interrupt)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(texts, labels)
    assert clf.net_ is not before
    assert len(clf.predict(texts)) == len(texts)


def bytes_kept(encoder, n_tokens):
    """What torch keeps of a text for the backward pass, without the weights."""
    model = TextModel(encoder, pooling="mean", n_outputs=2).train()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes(), tensor  # it may not be freed
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(torch.ones(1, n_tokens, dtype=torch.long))
    return sum(n for address, (n, _) in kept.items() if address not in weights)


@pytest.mark.parametrize(
    ("dtype", "dropout", "expected"),
    [
        (torch.float32, 0.0, 64),
        (torch.float32, 0.1, 72),
        (torch.bfloat16, 0.0, 32),
        (torch.bfloat16, 0.1, 36),
    ],
)
def test_layers_keep_what_the_guide_says(make_encoder, dtype, dropout, expected):
    """Bytes per token, layer and width, on the page of devices; for any length."""
    width, found = 128, []
    for n_tokens in (160, 320):  # over SHORT, where a kernel keeps no matrix
        one, two = (
            bytes_kept(
                make_encoder(
                    "bert",
                    dropout=dropout,
                    attention_probs_dropout_prob=0.0,
                    num_hidden_layers=n_layers,
                    hidden_size=width,
                    num_attention_heads=1,
                    intermediate_size=4 * width,
                    max_position_embeddings=400,
                ).to(dtype),
                n_tokens,
            )
            for n_layers in (1, 2)
        )
        found.append((two - one) / (n_tokens * width))
    assert found == pytest.approx([expected] * 2, abs=0.5)
    page = Path(__file__).parents[1] / "docs" / "devices.rst"
    assert re.search(rf"\b{expected}\b.* \*h L N\*", page.read_text("utf-8"))
