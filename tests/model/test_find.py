import socket
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.errors as hub
import pytest

from sklearn_bert._process._errors import (
    CheckpointError,
    CheckpointNotFoundError,
    DamagedCheckpointError,
    GatedCheckpointError,
    OfflineCheckpointError,
)
from sklearn_bert.model import _find
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.model._find import find_checkpoint

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def test_default_comes_from_its_weight_package(monkeypatch):
    """The default checkpoint is found without a network."""
    monkeypatch.setattr(socket.socket, "connect", _no_network)
    found = load_checkpoint(MINILM)
    assert found.pooling == "mean"
    assert found.ends_normalized()
    assert (found.trained_length, found.longest_length) == (256, 512)
    assert found.encoder.config.hidden_size == 384


def change(path):
    """Change a single byte of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def add(path):
    """Put another file beside it."""
    (path.parent / "adapter_config.json").write_text("{}")


@pytest.mark.parametrize("spoil", [change, add, Path.unlink])
@pytest.mark.parametrize("name", ["tokenizer.json", "1_Pooling/config.json", "all"])
def test_weight_package_is_checked(monkeypatch, tmp_path, spoil, name):
    """Each of its files, not the weights alone: none is changed, missing or added."""
    package = tmp_path / "weights_of_a_test"
    for path in ("tokenizer.json", "1_Pooling/config.json", "model.safetensors"):
        (package / "model" / path).parent.mkdir(parents=True, exist_ok=True)
        (package / "model" / path).write_text(f"some bytes of {path}")
    (package / "__init__.py").write_text("raise AssertionError('not to be run')")
    monkeypatch.syspath_prepend(tmp_path)
    official = _find._sha256_of_files(package / "model")
    monkeypatch.setattr(_find, "BUNDLED_SHA256", official)
    monkeypatch.setattr(_find, "BUNDLED", {MINILM: package.name})
    _find._bundled.cache_clear()
    assert _find._bundled(package.name) == package / "model"
    _find._bundled.cache_clear()
    files = [p for p in (package / "model").rglob("*") if p.is_file()]
    for path in files if name == "all" else [package / "model" / name]:
        spoil(path)
    with pytest.raises(DamagedCheckpointError, match=f"expected {official}.*Reinstall"):
        load_checkpoint(MINILM)


def test_revision_is_not_the_bundled_one(monkeypatch):
    """A pinned revision is looked for on the Hub, not in the weight package."""
    calls = _hub_that_raises(monkeypatch, _http(hub.RevisionNotFoundError))
    with pytest.raises(CheckpointNotFoundError, match="no revision 'v9'"):
        load_checkpoint(MINILM, revision="v9")
    assert [call["local_files_only"] for call in calls] == [True, False]
    assert {call["revision"] for call in calls} == {"v9"}


def test_cache_is_asked_before_the_hub(monkeypatch, checkpoint):
    """What the local Hub cache holds is used without a request."""
    calls = []

    def snapshot(name, *, local_files_only, **kwargs):
        calls.append(local_files_only)
        return checkpoint

    monkeypatch.setattr(_find, "snapshot_download", snapshot)
    assert load_checkpoint("someone/tiny").encoder.config.hidden_size == 32
    assert calls == [True]


def test_hub_is_asked_when_the_cache_has_no_weights(monkeypatch, checkpoint, tmp_path):
    """A cached configuration alone is not enough."""
    monkeypatch.setattr(
        _find,
        "snapshot_download",
        lambda name, *, local_files_only, **kwargs: (
            str(tmp_path) if local_files_only else checkpoint
        ),
    )
    assert load_checkpoint("someone/tiny").encoder.config.hidden_size == 32


@pytest.mark.parametrize("name", ["modules.json", "tokenizer.json"])
def test_a_part_of_a_checkpoint_is_completed(monkeypatch, make_checkpoint, name):
    """What another program left in the cache is completed from the Hub."""
    part, whole = make_checkpoint(), make_checkpoint()
    (part / name).unlink()
    monkeypatch.setattr(
        _find,
        "snapshot_download",
        lambda repo, *, local_files_only, **kwargs: part if local_files_only else whole,
    )
    assert find_checkpoint(f"someone/part-of-{name}", None) == whole


def test_a_part_is_better_than_nothing(monkeypatch, make_checkpoint):
    """Without the Hub, a cached checkpoint that has no modules.json is used."""
    part = make_checkpoint(pooling=None)

    def snapshot(repo, *, local_files_only, **kwargs):
        if local_files_only:
            return part
        raise hub.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(_find, "snapshot_download", snapshot)
    assert load_checkpoint("someone/plain-bert").pooling == "pooler"


def test_downloads_are_quiet(monkeypatch, checkpoint, capfd):
    """The progress bar that a download is given shows nothing."""

    def snapshot(repo, *, local_files_only, tqdm_class, **kwargs):
        for _ in tqdm_class(range(3), desc="downloading"):
            pass
        return checkpoint

    monkeypatch.setattr(_find, "snapshot_download", snapshot)
    load_checkpoint("someone/noisy")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (hub.RepositoryNotFoundError, CheckpointNotFoundError, "Hub has no such name"),
        (hub.GatedRepoError, GatedCheckpointError, "accept its terms"),
        (hub.LocalEntryNotFoundError, OfflineCheckpointError, "cannot be reached"),
        (hub.OfflineModeIsEnabled, OfflineCheckpointError, "cannot be reached"),
    ],
)
def test_errors_tell_causes_apart(monkeypatch, raised, expected, message):
    """No such name, gated, and no network are three different errors."""
    error = _http(raised) if issubclass(raised, hub.HfHubHTTPError) else raised("no")
    _hub_that_raises(monkeypatch, error)
    with pytest.raises(expected, match=f"'someone/thing'.*{message}"):
        load_checkpoint("someone/thing")


def test_offline_for_real(monkeypatch):
    """Without a network, an unknown name says where it was looked for."""
    monkeypatch.setattr(socket, "getaddrinfo", _no_network)
    monkeypatch.setattr(socket.socket, "connect", _no_network)
    with pytest.raises(OfflineCheckpointError, match="no folder.*local Hub cache"):
        load_checkpoint("someone/that-is-not-cached")


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_variable_that_forbids_the_network_is_named(monkeypatch, variable):
    """Where the user's own environment forbids the network, the error says so."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(_find.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OfflineCheckpointError, match=f"because {variable} is set"):
        load_checkpoint(f"someone/not-cached-{variable}")


@pytest.mark.parametrize("name", ["/does/not/exist", "./nowhere", "a/b/c"])
def test_missing_folder(name):
    """A path that does not exist is not taken for a Hub name."""
    with pytest.raises(CheckpointNotFoundError, match=f"{name}.*no such folder"):
        load_checkpoint(name)


def test_missing_default_names_the_extra(monkeypatch):
    """Where the weight package is missing, the error names the extra that brings it."""
    monkeypatch.setattr(_find, "_bundled", lambda package: None)
    _hub_that_raises(monkeypatch, hub.LocalEntryNotFoundError("no"))
    with pytest.raises(OfflineCheckpointError, match=r"sklearn-bert\[minilm\]"):
        load_checkpoint(MINILM)


def test_errors_are_value_and_os_errors():
    """Both a `except ValueError` and a `except OSError` catch a bad checkpoint."""
    assert issubclass(CheckpointNotFoundError, (ValueError, OSError))
    assert issubclass(CheckpointError, ValueError)
    assert issubclass(CheckpointError, OSError)


def _no_network(*args, **kwargs):
    raise OSError("no network in this test")


def _http(error):
    return error("no", response=SimpleNamespace(headers={}, request=None))


def _hub_that_raises(monkeypatch, error):
    """Let the cache be empty and the Hub answer with an error; list the calls."""
    calls = []

    def snapshot(name, **kwargs):
        calls.append(kwargs)
        if kwargs["local_files_only"]:
            raise hub.LocalEntryNotFoundError("empty cache")
        raise error

    monkeypatch.setattr(_find, "snapshot_download", snapshot)
    return calls
