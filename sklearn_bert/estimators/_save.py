"""Write a fitted estimator to a folder: JSON and safetensors, no pickle."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sklearn_bert._process._atomic_folder import new_folder
from sklearn_bert._process._versions import versions
from sklearn_bert.estimators._base import BertEstimator
from sklearn_bert.estimators._model_card import write_card
from sklearn_bert.estimators._transformers_layout import write_for_transformers
from sklearn_bert.model._files import write_model
from sklearn_bert.model._manifest import (
    CARD,
    MANIFEST,
    canonical,
    files_written,
    sha256_of,
)

FORMAT = 5
PACKAGE = "sklearn_bert."
# What older versions wrote; scikit-learn's own; and what has files of its own.
OTHER_STATE = ("_missing", "_sklearn_output_config")
IN_OWN_FILES = ("net_", "tokenizer_")
LAYOUTS = ("sklearn_bert", "transformers")
METHODS_WITH_METADATA = ("fit", "partial_fit", "score")


def save(
    estimator: BertEstimator,
    folder: str | os.PathLike,
    *,
    layout: str = "sklearn_bert",
) -> None:
    """Write a fitted estimator to a folder.

    The folder holds JSON, safetensors and tokenizer files, and nothing that could run
    code. It can be the `checkpoint` of another estimator. `transformers` and
    `sentence_transformers` open it as well, but the encoder only: the head of a
    classifier is in a file of its own, which `load` alone reads.

    At every moment, and after a kill or a loss of power, the folder holds a whole
    model, the old one or the new one; the next save removes what a killed one has left
    beside it. Several processes may save to one folder, and load from it meanwhile.
    Files of others in the folder, such as `.git`, stay, and so does a README.md that is
    not the model card which `save` has written there, or was changed since. The modes
    of the folder and of each file that is replaced stay, too. See Notes for what
    depends on the system.

    Parameters
    ----------
    estimator : estimator of this package
        Fitted. A whole pipeline is saved with `joblib.dump`.
    folder : str or path
        Made if needed; a saved estimator in it is replaced.
    layout : {"sklearn_bert", "transformers"}, default="sklearn_bert"
        "transformers": a `...ForSequenceClassification` or `...ForTokenClassification`
        with its labels, for servers and the `pipeline` of transformers. Its scores of
        built-in sentences are compared with the estimator's before it is put in place.
        It can be a `checkpoint`; `load` does not read it.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        Where the estimator is not fitted.
    TypeError
        Where it is no estimator of this package, or a parameter cannot be written as
        JSON (`callbacks`, or `scoring` that is a function).
    ValueError
        Where transformers cannot say what the estimator says; the message names what to
        fit with.
    FileExistsError
        Where the folder holds something else and no saved estimator, or a file of
        others has a name that is needed now.
    OSError
        Where the disk is full, or the folder read-only (`PermissionError`). The old
        model stays.

    See Also
    --------
    load : The way back.
    model_card : The text of README.md, for editing.

    Notes
    -----
    On Linux the new folder and the old one change places at one moment. Where they
    cannot, the files are replaced one by one: on other systems and on network folders;
    where the folder is a mount point or holds one, as a volume of a container does;
    where it is the working directory or above it; where nothing may be written beside
    it. Meanwhile the new model lies in its sub-folder `.sklearn_bert.saved`. After a
    kill in these milliseconds `load` and `checkpoint=` find it there, and the next save
    finishes; `transformers` and others find files missing until then.

    Savers take turns by `flock` of the folder. Where the file system has no such lock
    (Windows), or does not tell other machines of it (some network folders), two saves
    at a time may leave no whole model, and drafts of killed ones
    (`.<name>.*.saving` beside the folder) stay: for a day on network folders and after
    a restart, for ever where there is no lock.

    A process that works in the folder (a shell) is in the removed one after the save of
    another process, and does `cd .` to be in the new one.

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
    # A subclass defined elsewhere could not be loaded: `load` imports nothing that a
    # folder names.
    is_ours = type(estimator).__module__.startswith(PACKAGE)
    if not (is_ours and isinstance(estimator, BertEstimator)):
        raise TypeError(
            "save takes an estimator of this package with a network, such as "
            f"BertClassifier; got {type(estimator).__name__}. Save a pipeline or "
            "another estimator with joblib.dump, and a WordPieceVocabulary with its "
            "method save."
        )
    check_is_fitted(estimator)
    if layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}; expected one of {LAYOUTS}.")
    content = _about(estimator) | {"layout": layout}
    if layout == "sklearn_bert":
        content |= _describe(estimator)  # complains before anything is written
    # A card that is not ours, or that was changed, stays.
    has_card = os.path.lexists(Path(folder) / CARD)
    writes_card = not has_card or CARD in (files_written(Path(folder)) or ())
    with new_folder(Path(folder), written=files_written, last=MANIFEST) as draft:
        if layout == "transformers":
            write_for_transformers(estimator, draft)
        else:
            write_model(estimator.net_.module, draft, tokenizer=estimator.tokenizer_)
        content["files"] = {
            path.relative_to(draft).as_posix(): sha256_of(path.read_bytes())
            for path in sorted(draft.rglob("*"))
            if path.is_file()
        }
        if writes_card:
            card = write_card(estimator, layout, {}).encode()
            (draft / CARD).write_bytes(card)
            content["card"] = sha256_of(card)
        manifest = {"sha256": sha256_of(canonical(content)), "content": content}
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


# -- writing -----------------------------------------------------------------------


def _about(estimator: BertEstimator) -> dict[str, Any]:
    """Return what the manifest says in every layout."""
    return {
        "format": FORMAT,
        "class": type(estimator).__name__,
        "versions": {"python": platform.python_version()} | versions(),
    }


def _describe(estimator: BertEstimator) -> dict[str, Any]:
    """Describe everything but the weights, as JSON."""
    params = estimator.get_params(deep=False)
    private = {*estimator._private_state, *OTHER_STATE}
    fitted = {
        name: value
        for name, value in vars(estimator).items()
        if (name.endswith("_") and name not in IN_OWN_FILES) or name in private
    }
    return {
        "params": {name: _encode(value, name) for name, value in params.items()},
        "fitted": {name: _encode(value, name) for name, value in fitted.items()},
        "requests": _requests(estimator),
        "model": estimator.net_.module.settings(),
        "net": estimator.net_.settings(),
        "tokenizer": estimator.tokenizer_.settings(),
    }


def _requests(estimator: BaseEstimator) -> dict[str, dict[str, Any]]:
    """Return the metadata that scikit-learn is asked to pass on, by method and name."""
    routing = estimator.get_metadata_routing()
    found = {name: getattr(routing, name).requests for name in METHODS_WITH_METADATA}
    asked = {
        method: {name: wish for name, wish in wishes.items() if wish is not None}
        for method, wishes in found.items()
    }
    return {method: wishes for method, wishes in asked.items() if wishes}


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
        # tolist() turns times into dates or integers, depending on their unit.
        flat = value.view("i8") if value.dtype.kind in "mM" else value
        if value.dtype.kind == "f" and value.dtype.itemsize > 8:
            flat = value.astype(str)  # Python has no such float
        items = [_encode(item, name) for item in flat.ravel().tolist()]
        dtype = value.dtype.str
        return {"kind": "array", "dtype": dtype, "shape": value.shape, "items": items}
    if isinstance(value, BaseEstimator) and type(value).__module__.startswith(PACKAGE):
        params = value.get_params(deep=False)
        return {
            "kind": "estimator",
            "class": type(value).__name__,
            "params": {n: _encode(p, f"{name}__{n}") for n, p in params.items()},
        }
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
