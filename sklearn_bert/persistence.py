"""Save a fitted estimator to a folder, and load it: JSON and safetensors, no pickle."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import uuid
from pathlib import Path
from typing import Any, get_args

import numpy as np
import sklearn
import skorch
import torch
import transformers
from safetensors import SafetensorError
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sklearn_bert._classifier import BertClassifier
from sklearn_bert._embedder import BertEmbedder
from sklearn_bert._regressor import BertRegressor
from sklearn_bert._token_classifier import BertTokenClassifier
from sklearn_bert._version import __version__
from sklearn_bert.model import model_settings, read_model, write_model
from sklearn_bert.text import TextTokenizer
from sklearn_bert.training import BertNet

FORMAT = 3
MANIFEST = "estimator.json"
Estimator = BertClassifier | BertRegressor | BertTokenClassifier | BertEmbedder
ESTIMATORS = {cls.__name__: cls for cls in get_args(Estimator)}
# Fitted state that is not public, and fitted state that has files of its own.
PRIVATE_STATE = (
    "_template",
    "_missing",
    "_indicator",
    "_is_1d",
    "_made_of",
    "_sklearn_output_config",
)
IN_OWN_FILES = ("net_", "tokenizer_")
# What classifiers of earlier formats did not have.
SINCE_FORMAT_3: dict[str, dict[str, Any]] = {
    "BertClassifier": {"multilabel_": False, "_indicator": None, "_made_of": {}}
}
METHODS_WITH_METADATA = ("fit", "partial_fit", "score")


def save(estimator: Estimator, folder: str | os.PathLike) -> None:
    """Write a fitted estimator to a folder.

    The folder holds JSON, safetensors and tokenizer files, and nothing that could run
    code. `transformers.AutoModel.from_pretrained` and `sentence_transformers` open it
    as well, and it can be the `checkpoint` of another estimator.

    The files are written beside the folder and put in its place at the end: a save that
    is killed leaves the old model or none, never a mixture.

    Parameters
    ----------
    estimator : estimator of this package
        Fitted. A whole pipeline is saved with `joblib.dump`.
    folder : str or path
        Made if needed; replaced if it holds a saved estimator.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        Where the estimator is not fitted.
    TypeError
        Where it is no estimator of this package, or a parameter cannot be written as
        JSON (`callbacks`).
    FileExistsError
        Where the folder holds something else.

    See Also
    --------
    load : The way back.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_bert import BertEmbedder, load, save
    >>> embedder = BertEmbedder().fit(["any text"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(embedder, f"{folder}/embedder")
    ...     load(f"{folder}/embedder").transform(["Hello"]).shape
    (1, 384)
    """
    if type(estimator).__name__ not in ESTIMATORS:
        raise TypeError(
            f"save takes {' or '.join(ESTIMATORS)}; got {type(estimator).__name__}. "
            "Save a pipeline or another estimator with joblib.dump."
        )
    check_is_fitted(estimator)
    content = _describe(estimator)  # complains before anything is written
    target = Path(folder).resolve()  # what a link points to, not the link, is replaced
    check_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.parent / f".{target.name}.{uuid.uuid4().hex}.saving"
    try:
        draft.mkdir()
        write_model(
            estimator.net_.module,
            draft,
            tokenizer=estimator.tokenizer_,
            labels=_label_names(estimator),
        )
        content["files"] = {
            path.relative_to(draft).as_posix(): _sha256(path.read_bytes())
            for path in sorted(draft.rglob("*"))
            if path.is_file()
        }
        manifest = {"sha256": _sha256(_canonical(content)), "content": content}
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
        _put_in_place(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load(folder: str | os.PathLike) -> Estimator:
    """Read an estimator that `save` wrote; runs no code from the folder.

    Parameters
    ----------
    folder : str or path

    Returns
    -------
    estimator of the class that was saved
        Fitted. The device is chosen here anew: a model that was trained on a GPU works
        on the CPU where there is none.

    Raises
    ------
    FileNotFoundError
        Where there is no such folder, or a file is missing; the message names it.
    ValueError
        Where a file is damaged (its sha256 differs), was written by a newer version,
        or names a class that is no estimator of this package.

    See Also
    --------
    save : The way there, with an example.
    """
    source = Path(folder)
    content = _read_manifest(source)
    for name, sha256 in content["files"].items():
        path = source / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; the saved folder is damaged.")
        if _sha256(path.read_bytes()) != sha256:
            raise ValueError(
                f"{path} is damaged: its sha256 is not the one noted when it was "
                "saved. Save the estimator again."
            )
    cls = ESTIMATORS[content["class"]]
    estimator = cls(**_decode(content["params"]))
    try:
        model = read_model(source, content["model"])
    except (RuntimeError, KeyError, SafetensorError) as error:
        raise ValueError(f"{source} holds weights that do not fit: {error}") from error
    _set_requests(estimator, content.get("requests", {}))
    fitted = _decode(content["fitted"])
    for name, value in SINCE_FORMAT_3.get(content["class"], {}).items():
        fitted.setdefault(name, value)
    fitted["net_"] = BertNet(model, **content["net"])
    fitted["tokenizer_"] = TextTokenizer.from_json(
        (source / "tokenizer.json").read_text("utf-8"), content["tokenizer"]
    )
    for name, value in fitted.items():
        setattr(estimator, name, value)
    return estimator


# -- writing -----------------------------------------------------------------------


def _describe(estimator: BaseEstimator) -> dict[str, Any]:
    """Everything but the weights, as JSON."""
    params = estimator.get_params(deep=False)
    fitted = {
        name: value
        for name, value in vars(estimator).items()
        if (name.endswith("_") and name not in IN_OWN_FILES) or name in PRIVATE_STATE
    }
    return {
        "format": FORMAT,
        "class": type(estimator).__name__,
        "params": {name: _encode(value, name) for name, value in params.items()},
        "fitted": {name: _encode(value, name) for name, value in fitted.items()},
        "requests": _requests(estimator),
        "model": model_settings(estimator.net_.module),
        "net": estimator.net_.settings(),
        "tokenizer": estimator.tokenizer_.settings(),
        "versions": {
            "python": platform.python_version(),
            "sklearn_bert": __version__,
            "scikit-learn": sklearn.__version__,
            "skorch": skorch.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def _requests(estimator: BaseEstimator) -> dict[str, dict[str, Any]]:
    """Which metadata the user lets scikit-learn pass on, by method and name."""
    routing = estimator.get_metadata_routing()
    found = {name: getattr(routing, name).requests for name in METHODS_WITH_METADATA}
    asked = {
        method: {name: wish for name, wish in wishes.items() if wish is not None}
        for method, wishes in found.items()
    }
    return {method: wishes for method, wishes in asked.items() if wishes}


def _set_requests(
    estimator: BaseEstimator, requests: dict[str, dict[str, Any]]
) -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        for method, wishes in requests.items():
            getattr(estimator, f"set_{method}_request")(**wishes)


def _label_names(estimator: BaseEstimator) -> list[str] | None:
    classes = getattr(estimator, "classes_", None)
    return None if classes is None else [str(label) for label in classes]


def check_replaceable(target: Path) -> None:
    """Raise FileExistsError where `save` would not write."""
    if not target.exists() or (target / MANIFEST).is_file():
        return
    if target.is_dir() and not any(target.iterdir()):
        return
    raise FileExistsError(
        f"{target} exists and is not a saved estimator (it has no {MANIFEST}); nothing "
        "was written. Choose another folder."
    )


def _put_in_place(draft: Path, target: Path) -> None:
    old = draft.with_suffix(".old")
    try:
        if target.exists():
            target.rename(old)
        draft.rename(target)
    finally:  # an interrupt may come before, between and after the two
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(old, ignore_errors=True)


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
        is_intact = _sha256(_canonical(content)) == manifest["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: it cannot be read ({error}).") from error
    if not is_intact:
        raise ValueError(
            f"{path} is damaged: its content is not what was saved. Save again."
        )
    if content["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {content['format']}, written by sklearn_bert "
            f"{content['versions']['sklearn_bert']}; this is {__version__} and reads "
            f"up to format {FORMAT}. Upgrade sklearn_bert."
        )
    if content["class"] not in ESTIMATORS:
        raise ValueError(
            f"{path} names the class {content['class']!r}; expected one of "
            f"{sorted(ESTIMATORS)}."
        )
    return content


def _canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- values as JSON: whatever JSON lacks becomes {"kind": ..., ...} -------------------


def _encode(value: Any, name: str) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        if isinstance(value, np.generic):  # numpy's float64 and str_ are subclasses
            return _encode_scalar(value, name)
        return value
    if isinstance(value, os.PathLike):
        return {"kind": "path", "path": os.fsdecode(value)}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {"kind": kind, "items": [_encode(item, name) for item in value]}
    if isinstance(value, dict):
        items = [[_encode(k, name), _encode(v, name)] for k, v in value.items()]
        return {"kind": "dict", "items": items}
    if isinstance(value, np.generic):
        return _encode_scalar(value, name)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufUOmM":
        flat = value.view("i8") if value.dtype.kind in "mM" else value
        items = [_encode(item, name) for item in flat.ravel().tolist()]
        dtype = value.dtype.str
        return {"kind": "array", "dtype": dtype, "shape": value.shape, "items": items}
    if isinstance(value, np.random.RandomState):
        state = value.get_state(legacy=False)
        if state["bit_generator"] == "MT19937":  # set_state takes no other
            return {"kind": "RandomState", "state": _encode(state, name)}
    raise TypeError(
        f"{name} holds {value!r} of type {type(value).__name__}, which cannot be saved "
        "as JSON; nothing was written. Set it to None, or pickle the estimator."
    )


def _encode_scalar(value: np.generic, name: str) -> Any:
    return {"kind": "scalar", "array": _encode(np.array([value]), name)}


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
        flat = np.empty(len(items), dtype="i8" if dtype.kind in "mM" else dtype)
        flat[:] = items
        return flat.view(dtype).reshape(value["shape"])
    if kind == "RandomState":
        random_state = np.random.RandomState()
        random_state.set_state(_decode(value["state"]))
        return random_state
    return {name: _decode(item) for name, item in value.items()}
