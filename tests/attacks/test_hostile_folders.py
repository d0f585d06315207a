"""Folders that were made to do harm: they are read, or refused in words of ours."""

import collections
import importlib.util
import os
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
    load,
    save,
)
from sklearn_bert._process._file_hash import sha256_of_file
from sklearn_bert.model import _damage, _manifest

SPEC = importlib.util.spec_from_file_location(
    "_hostile_folders", Path(__file__).with_name("_hostile_folders.py")
)
_hostile_folders = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(_hostile_folders)

TEXTS = ["the good film", "the awful plot", "i love it", "i hate it"]
WORDS = [text.split() for text in TEXTS]
TAGS = [["one"] + ["more"] * (len(words) - 1) for words in WORDS]
FITS = {
    "classifier": (BertClassifier, {"pooling": "attention"}, TEXTS, ["a", "b"] * 2),
    "regressor": (BertRegressor, {}, TEXTS, [1.0, 2.0, 3.0, 4.0]),
    "tagger": (BertTokenClassifier, {}, WORDS, TAGS),
    "embedder": (BertEmbedder, {"normalize": True}, TEXTS, None),
    "pretrainer": (BertPretrainer, {}, TEXTS, None),
    "generator": (BertGenerator, {}, TEXTS, None),
}
# In the default run, and in the slow one.
N_QUICK, N_SLOW = 8, 3000
N_BITS = 60


@pytest.fixture(scope="module")
def bases(checkpoint, tmp_path_factory):
    """A folder with the folders that are made hostile; not to be changed."""
    parent = tmp_path_factory.mktemp("bases")
    shutil.copytree(checkpoint, parent / "checkpoint")
    settings = {"device": "cpu", "precision": "float32"}
    for name, (cls, params, X, y) in FITS.items():
        if cls is not BertEmbedder:
            random_state = np.random.RandomState(0)
            params = {"max_epochs": 1, "random_state": random_state, **params}
        save(cls(checkpoint, **settings, **params).fit(X, y), parent / name)
    return parent


def check(found):
    """No code, death, hang, foreign error or error without the folder's name."""
    bad = {
        seed: (entry["said"], entry["word"])
        for seed, entry in found.items()
        if entry["word"] not in ("read", "refused")
    }
    assert not bad, bad
    assert max(entry["seconds"] for entry in found.values()) < 10
    words = collections.Counter(entry["word"] for entry in found.values())
    # Otherwise nothing hostile was made, or nothing was read.
    assert words["refused"] > len(found) / 3
    assert words["read"] > 0


def test_some_hostile_folders(bases):
    """Folders of fixed seeds are read or refused: no code, no death, no hang."""
    check(_hostile_folders.attack(bases, 0, N_QUICK))


@pytest.mark.slow
def test_many_hostile_folders(bases):
    """So are three thousand others."""
    check(_hostile_folders.attack(bases, N_QUICK, N_QUICK + N_SLOW))


def test_every_flipped_bit_is_found(bases, tmp_path):
    """One bit of a saved folder is flipped: neither reader takes it."""
    folder = tmp_path / "saved"
    shutil.copytree(bases / "classifier", folder)
    # Its card is for people to read, and to change.
    (folder / "README.md").unlink()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    rng = np.random.default_rng(0)
    for turn in range(N_BITS):
        path = files[turn % len(files)]
        data = path.read_bytes()
        # The last byte of the manifest is a line break, which says nothing.
        place, bit = int(rng.integers(len(data) - 1)), int(rng.integers(8))
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        for use in (load, lambda f: BertEmbedder(f, device="cpu").fit(TEXTS)):
            with pytest.raises(ValueError, match="is damaged") as caught:
                use(folder)
            assert str(folder) in str(caught.value)
        path.write_bytes(data)
    load(folder)
    BertEmbedder(folder, device="cpu").fit(TEXTS)


@pytest.mark.parametrize(
    "name",
    ["special_tokens_map.json", "added_tokens.json", "adapter_config.json"],
)
def test_a_file_beside_a_saved_model_is_not_read(bases, tmp_path, name):
    """What the manifest does not list, and a checkpoint would read, is refused."""
    folder = tmp_path / "saved"
    shutil.copytree(bases / "embedder", folder)
    (folder / "notes.json").write_text("mine")
    BertEmbedder(folder, device="cpu").fit(TEXTS)
    (folder / name).write_text("{}")
    with pytest.raises(ValueError, match=f"{name} is not in estimator.json"):
        BertEmbedder(folder, device="cpu").fit(TEXTS)
    load(folder)  # which reads what is listed, and nothing else


def test_a_saved_folder_may_lack_its_head(bases, tmp_path):
    """As a checkpoint it may: the Hub's download leaves the head out."""
    folder = tmp_path / "saved"
    shutil.copytree(bases / "classifier", folder)
    (folder / "head.safetensors").unlink()
    BertEmbedder(folder, pooling="mean", device="cpu").fit(TEXTS)
    (folder / "modules.json").unlink(missing_ok=True)
    (folder / "sentence_bert_config.json").unlink()
    with pytest.raises(ValueError, match="sentence_bert_config.json is missing"):
        BertEmbedder(folder, pooling="mean", device="cpu").fit(TEXTS)


@pytest.mark.parametrize("name", ["checkpoint", "embedder"])
def test_weights_of_nothing_are_neither_mapped_nor_hashed(
    bases, tmp_path, monkeypatch, name
):
    """A file that is larger than its header says is refused before that."""
    folder = tmp_path / name
    shutil.copytree(bases / name, folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(2**36)  # which takes no place on the disk
    monkeypatch.setattr(_damage, "safe_open", None)

    def sha256_of_small_file(path):
        assert path.stat().st_size < 2**30
        return sha256_of_file(path)

    monkeypatch.setattr(_manifest, "sha256_of_file", sha256_of_small_file)
    match = "has 68,719,476,736 bytes; by its header|is damaged: its sha256"
    with pytest.raises(ValueError, match=match):
        BertEmbedder(folder, device="cpu").fit(TEXTS)


def link_to(target):
    """Put a link to another file in the place of one."""
    return lambda path: path.symlink_to(target)


def large(path):
    """A file of 64 GiB that takes no place on the disk."""
    with path.open("wb") as file:
        file.truncate(2**36)


ENDLESS = {
    "zeros": link_to("/dev/zero"),
    "log of the kernel": link_to("/proc/kmsg"),
    "pipe": lambda path: os.mkfifo(path),
    "large": large,
}


@pytest.mark.skipif(os.name != "posix", reason="devices and pipes")
@pytest.mark.parametrize("kind", ENDLESS)
@pytest.mark.parametrize(
    "use", [load, lambda f: BertEmbedder(f).fit(TEXTS)], ids=["load", "checkpoint"]
)
def test_a_manifest_without_an_end_is_not_read(bases, tmp_path, monkeypatch, kind, use):
    """A device, a pipe or 64 GiB in the place of the manifest are refused at once."""
    folder = tmp_path / "saved"
    shutil.copytree(bases / "embedder", folder)
    (folder / "estimator.json").unlink()
    ENDLESS[kind](folder / "estimator.json")
    read_bytes = Path.read_bytes

    def read_plain(path):
        assert path.is_file()
        assert path.resolve().is_relative_to(tmp_path)
        assert path.stat().st_size < 2**30
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read_plain)
    with pytest.raises((ValueError, FileNotFoundError), match=str(folder)):
        use(folder)


def test_a_journal_elsewhere_is_not_read(bases, tmp_path):
    """What lies in the place of a save's journal is read in the folder itself only."""
    folder = tmp_path / "saved"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "new").symlink_to(bases / "embedder")
    (folder / ".sklearn_bert.saved").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"saved/estimator.json is missing"):
        load(folder)
