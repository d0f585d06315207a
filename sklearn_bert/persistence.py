"""Save a fitted estimator to a folder, and load it: JSON and safetensors, no pickle."""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path
from typing import Any, get_args

import numpy as np
import sklearn
from safetensors import SafetensorError
from sklearn.base import BaseEstimator

from sklearn_bert._process._atomic_folder import read_whole
from sklearn_bert._process._errors import CheckpointError, DamagedCheckpointError
from sklearn_bert._process._versions import warn_of_other_versions
from sklearn_bert._version import __version__
from sklearn_bert.compute._device import resolve_device
from sklearn_bert.compute._memory import is_shortage
from sklearn_bert.estimators._classifier import BertClassifier
from sklearn_bert.estimators._embedder import BertEmbedder
from sklearn_bert.estimators._fitted import check_fitted
from sklearn_bert.estimators._generator import BertGenerator
from sklearn_bert.estimators._pretrainer import BertPretrainer
from sklearn_bert.estimators._regressor import BertRegressor
from sklearn_bert.estimators._save import FORMAT, METHODS_WITH_METADATA, save
from sklearn_bert.estimators._token_classifier import BertTokenClassifier
from sklearn_bert.estimators._wordpiece_vocabulary import WordPieceVocabulary
from sklearn_bert.model._checkpoint_encoder import position_limit
from sklearn_bert.model._checkpoint_tokenizer import read_saved_tokenizer
from sklearn_bert.model._damage import damaged
from sklearn_bert.model._files import files_of_model, read_model
from sklearn_bert.model._manifest import (
    MANIFEST,
    SAVE_AGAIN,
    check_listed,
    read_manifest,
)
from sklearn_bert.model._shared_weights import read_once
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
# The estimators that may be a parameter of another.
NESTED = {cls.__name__: cls for cls in (BertPretrainer, WordPieceVocabulary)}
# The settings of a net and of a tokenizer, and their types.
NET_SETTINGS: dict[str, Any] = {
    "placement": str,
    "precision": str,
    "pad_id": int,
    "fingerprint": str | None,
}
TOKENIZER_SETTINGS: dict[str, Any] = {
    "max_length": int,
    "pad_id": int,
    "has_type_ids": bool,
    "config": dict,
    "long_text": str,
    "window_stride": int | None,
    "n_embeddings": int | None,
}
KEYS = np.empty(624, dtype=np.uint32)  # of a RandomState
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
        Parameter `device` of the estimator: "auto", "cpu", "cuda:1", "mps". None: as
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
    return read_whole(Path(folder), MANIFEST, functools.partial(_load, device=device))


def _load(source: Path, device: str | None) -> Estimator:
    content = _read_content(source)
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
            f"beside it ({type(error).__name__}: {error}). {SAVE_AGAIN}."
        ) from error


def _build(source: Path, content: dict[str, Any], device: str | None) -> Estimator:
    settings, net, name = content["model"], content["net"], content["class"]
    # Compare all files before parsing any, so that damage is reported as such.
    check_listed(source / MANIFEST, content["files"], needed=files_of_model(settings))
    estimator = ESTIMATORS[name](**_decode(content["params"]))
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
    for attribute, value in ADDED_LATER.get(name, {}).items():
        fitted.setdefault(attribute, value)
    check_fitted(name, fitted, settings.get("n_outputs"))
    if device is not None:
        estimator.set_params(device=device)
        net = {**net, "placement": device}
    net = _known(net, NET_SETTINGS, "net")
    encoder: Any = model.encoder
    n_rows = encoder.get_input_embeddings().num_embeddings
    if not 0 <= net["pad_id"] < n_rows:
        raise ValueError(f"pad_id={net['pad_id']} for {n_rows} embeddings")
    fitted["net_"] = BertNet(model, **net)
    fitted["tokenizer_"] = read_saved_tokenizer(
        source,
        _known(content["tokenizer"], TOKENIZER_SETTINGS, "tokenizer"),
        n_rows,
        position_limit(encoder, source / MANIFEST),
    )
    for attribute, value in fitted.items():
        setattr(estimator, attribute, value)
    return estimator


def _known(
    settings: dict[str, Any], known: dict[str, Any], what: str
) -> dict[str, Any]:
    """Return settings of the manifest whose names and types are known."""
    for name, value in settings.items():
        # A bool is an int for Python.
        is_of_type = isinstance(value, known.get(name, ())) and (
            not isinstance(value, bool) or known[name] is bool
        )
        if not is_of_type:
            raise ValueError(f"{name}={value!r} is no setting of the {what}")
    return settings


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
            if method not in METHODS_WITH_METADATA:
                raise ValueError(f"a request for the method {method!r}")
            getattr(estimator, f"set_{method}_request")(**wishes)


# -- reading -----------------------------------------------------------------------


def _read_content(source: Path) -> dict[str, Any]:
    """Read the manifest, and see whether it is of a form that is known."""
    path = source / MANIFEST
    content = read_manifest(path)
    versions, name = content.get("versions"), content.get("class")
    saved_format = content.get("format")
    if not isinstance(versions, dict) or type(saved_format) is not int:
        raise damaged(path, "is damaged: it has no format and no versions", SAVE_AGAIN)
    version = versions.get("sklearn_bert")
    if saved_format > FORMAT:
        raise ValueError(
            f"{path} has format {saved_format}, written by sklearn_bert {version}; "
            f"this is {__version__} and reads up to format {FORMAT}. Upgrade "
            "sklearn_bert."
        )
    if content.get("layout") == "transformers":
        raise ValueError(
            f"{source} was saved with layout='transformers', for transformers and "
            f"servers: it is a checkpoint and no {name}. Give it as the parameter "
            "checkpoint of an estimator, or save the estimator with the default layout."
        )
    if not isinstance(name, str) or name not in ESTIMATORS:
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
        return _decode_array(value)
    if kind == "estimator":
        params = {name: _decode(item) for name, item in value["params"].items()}
        return NESTED[value["class"]](**params)
    if kind == "RandomState":
        return _decode_random_state(_decode(value["state"]))
    return {name: _decode(item) for name, item in value.items()}


def _decode_array(value: dict[str, Any]) -> np.ndarray:
    dtype, items = np.dtype(str(value["dtype"])), [_decode(i) for i in value["items"]]
    # An item of a dtype such as "U1000000000" would take gigabytes.
    longest = max([1, *(len(i) for i in items if isinstance(i, str))])
    is_text = dtype.kind == "U"
    if dtype.kind not in "biufUOmM" or (is_text and dtype.itemsize > 4 * longest):
        raise ValueError(f"an array of {len(items)} items has the dtype {str(dtype)!r}")
    # Filled, not made of the list: NumPy would take lists in it for dimensions.
    flat = np.empty(len(items), dtype="i8" if dtype.kind in "mM" else dtype)
    flat[:] = items
    return flat.view(dtype).reshape(value["shape"])


def _decode_random_state(state: dict[str, Any]) -> np.random.RandomState:
    inner = state["state"]
    keys, position = inner["key"], inner["pos"]
    # NumPy believes these, and would read beyond the keys.
    is_state = (
        state["bit_generator"] == "MT19937"
        and isinstance(keys, np.ndarray)
        and (keys.shape, keys.dtype) == (KEYS.shape, KEYS.dtype)
        and type(position) is int
        and 0 <= position <= len(KEYS)
        and state["has_gauss"] in (0, 1)
        and math.isfinite(state["gauss"])
    )
    if not is_state:
        raise ValueError("a random_state is no state of NumPy's MT19937")
    random_state = np.random.RandomState()
    random_state.set_state(state)
    return random_state
