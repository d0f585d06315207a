"""Save a fitted estimator to a folder, and load it: JSON and safetensors, no pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, get_args

import numpy as np
import sklearn
from safetensors import SafetensorError
from sklearn.base import BaseEstimator

from sklearn_bert._process._errors import CheckpointError, DamagedCheckpointError
from sklearn_bert._process._file_hash import sha256_of_file
from sklearn_bert._process._versions import warn_of_other_versions
from sklearn_bert._version import __version__
from sklearn_bert.compute._device import is_shortage, resolve_device
from sklearn_bert.estimators._classifier import BertClassifier
from sklearn_bert.estimators._embedder import BertEmbedder
from sklearn_bert.estimators._generator import BertGenerator
from sklearn_bert.estimators._pretrainer import BertPretrainer
from sklearn_bert.estimators._regressor import BertRegressor
from sklearn_bert.estimators._save import FORMAT, MANIFEST, canonical, save, sha256_of
from sklearn_bert.estimators._token_classifier import BertTokenClassifier
from sklearn_bert.estimators._wordpiece_vocabulary import WordPieceVocabulary
from sklearn_bert.model._files import read_model
from sklearn_bert.model._shared_weights import read_once
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.training._net import BertNet

__all__ = ["load", "save"]

Estimator = (
    BertClassifier
    | BertRegressor
    | BertTokenClassifier
    | BertEmbedder
    | BertPretrainer
    | BertGenerator
)
ESTIMATORS = {cls.__name__: cls for cls in get_args(Estimator)}
AGAIN = "Save the estimator again, to another folder."
# The errors of reading a damaged manifest.
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    RecursionError,
)
# The estimators that may be a parameter of another.
NESTED = {cls.__name__: cls for cls in (BertPretrainer, WordPieceVocabulary)}
# Fitted attributes that earlier formats did not save: before 3, and before 5.
ADDED_LATER: dict[str, dict[str, Any]] = {
    "BertClassifier": {
        "multilabel_": False,
        "_indicator": None,
        "_made_of": {},
        "temperature_": 1.0,
    }
}


def load(folder: str | os.PathLike, *, device: str | None = None) -> Estimator:
    """Load an estimator from a folder that `save` wrote, without running code from it.

    Parameters
    ----------
    folder : str or path
    device : str or None, default=None
        Parameter `device` of the estimator: "auto", "cpu", "cuda", "cuda:1". None: as
        it was saved.

    Returns
    -------
    estimator of the class that was saved
        Fitted. With `device=None` a model that was trained on a GPU works on the CPU
        where there is none. Estimators of equal files share their weights in memory,
        as long as `cache_info` counts them; a fit that goes on trains a copy.

    Warns
    -----
    sklearn.exceptions.InconsistentVersionWarning
        If it was saved with another minor version of this package or of a library
        that its answers depend on: scikit-learn, skorch, tokenizers, torch or
        transformers.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or a file is missing; the message names it.
    ValueError
        If a file is damaged (its sha256 differs, a weight is not finite: a
        `DamagedCheckpointError`), was written by a newer version, or names a class that
        is no estimator of this package; or this machine has no such `device`.
    TypeError
        If `folder` is no path, or `device` no str.

    See Also
    --------
    save : Save an estimator, with an example.
    """
    if device is not None:
        _check_device(device)
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(
            f"folder is {folder!r} of type {type(folder).__name__}; expected the path "
            "of a folder that sklearn_bert.save has written."
        )
    source = Path(folder)
    content = _read_manifest(source)
    # Before anything can fail, because another version would be the likeliest reason.
    warn_of_other_versions(content["class"], source, content.get("versions", {}))
    try:
        return _build(source, content, device)
    except (CheckpointError, FileNotFoundError, MemoryError, Warning):
        raise
    except Exception as error:  # a manifest may hold anything
        if is_shortage(error):
            raise
        raise DamagedCheckpointError(
            f"{source} cannot be loaded: what {MANIFEST} says does not fit the files "
            f"beside it ({type(error).__name__}: {error}). {AGAIN}"
        ) from error


def _build(source: Path, content: dict[str, Any], device: str | None) -> Estimator:
    # Compare all files before parsing any, so that damage is reported as such.
    for name, sha256 in content["files"].items():
        path = source / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; the saved folder is damaged.")
        if sha256_of_file(path) != sha256:
            raise DamagedCheckpointError(
                f"{path} is damaged: its sha256 is not the one noted when it was "
                f"saved. {AGAIN}"
            )
    cls, settings = ESTIMATORS[content["class"]], content["model"]
    estimator = cls(**_decode(content["params"]))
    try:
        model = read_once(
            content["files"], settings, lambda: read_model(source, settings)
        )
    except (RuntimeError, KeyError, SafetensorError) as error:
        if is_shortage(error):
            raise
        raise DamagedCheckpointError(
            f"{source} holds weights that do not fit: {error}"
        ) from error
    _set_requests(estimator, content.get("requests", {}))
    fitted = _decode(content["fitted"])
    for name, value in ADDED_LATER.get(content["class"], {}).items():
        fitted.setdefault(name, value)
    net = content["net"]
    if device is not None:
        estimator.set_params(device=device)
        net = {**net, "placement": device}
    fitted["net_"] = BertNet(model, **net)
    fitted["tokenizer_"] = TextTokenizer.from_json(
        (source / "tokenizer.json").read_text("utf-8"), content["tokenizer"]
    )
    for name, value in fitted.items():
        setattr(estimator, name, value)
    return estimator


def _check_device(device: object) -> None:
    if not isinstance(device, str):
        raise TypeError(
            f"device is {device!r} of type {type(device).__name__}; expected a str "
            "such as 'cpu' or 'cuda:0', or None for the device that was saved."
        )
    resolve_device(device)


def _set_requests(
    estimator: BaseEstimator, requests: dict[str, dict[str, Any]]
) -> None:
    # scikit-learn refuses requests where routing is off, as it may be in this process.
    with sklearn.config_context(enable_metadata_routing=True):
        for method, wishes in requests.items():
            getattr(estimator, f"set_{method}_request")(**wishes)


# -- reading -----------------------------------------------------------------------


def _read_manifest(source: Path) -> dict[str, Any]:
    path = source / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; {source} is not a folder written by sklearn_bert.save."
        )
    try:
        manifest = json.loads(path.read_bytes())
        content = manifest["content"]
        is_intact = sha256_of(canonical(content)) == manifest["sha256"]
        saved_format = int(content["format"])
        version, name = content["versions"]["sklearn_bert"], str(content["class"])
    except UNREADABLE as error:
        raise DamagedCheckpointError(
            f"{path} is damaged: it cannot be read ({error}). {AGAIN}"
        ) from error
    if not is_intact:
        raise DamagedCheckpointError(
            f"{path} is damaged: its content is not what was saved. {AGAIN}"
        )
    if saved_format > FORMAT:
        raise ValueError(
            f"{path} has format {saved_format}, written by sklearn_bert {version}; "
            f"this is {__version__} and reads up to format {FORMAT}. Upgrade "
            "sklearn_bert."
        )
    if name not in ESTIMATORS:
        raise ValueError(
            f"{path} names the class {name!r}; expected one of {sorted(ESTIMATORS)}."
        )
    return content


def _decode(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kind = value.get("kind")
    if kind in ("list", "tuple"):
        items = [_decode(item) for item in value["items"]]
        return items if kind == "list" else tuple(items)
    if kind == "dict":
        return {_decode(k): _decode(v) for k, v in value["items"]}
    if kind == "path":
        return Path(value["path"])
    if kind == "scalar":
        return _decode(value["array"])[0]
    if kind == "array":
        dtype = np.dtype(value["dtype"])
        items = [_decode(item) for item in value["items"]]
        # Filled, not made of the list: NumPy would take lists in it for dimensions.
        flat = np.empty(len(items), dtype="i8" if dtype.kind in "mM" else dtype)
        flat[:] = items
        return flat.view(dtype).reshape(value["shape"])
    if kind == "estimator":
        params = {name: _decode(item) for name, item in value["params"].items()}
        return NESTED[value["class"]](**params)
    if kind == "RandomState":
        random_state = np.random.RandomState()
        random_state.set_state(_decode(value["state"]))
        return random_state
    return {name: _decode(item) for name, item in value.items()}
