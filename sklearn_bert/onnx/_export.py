"""Export a fitted estimator: graph, tokenizer, and the proof that they are right."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from importlib.util import find_spec
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_bert._process._atomic_folder import check_replaceable, new_folder
from sklearn_bert._version import __version__
from sklearn_bert.model._graph import write_graphs
from sklearn_bert.onnx._check import check
from sklearn_bert.onnx._manifest import (
    MANIFEST,
    REPORT,
    TOKENIZER,
    encode_array,
    files_written,
    write_manifest,
)
from sklearn_bert.onnx._model import KINDS, MODEL, load
from sklearn_bert.onnx._quantize import quantize_graph
from sklearn_bert.text._columns import excerpt
from sklearn_bert.text._words import check_words

EXTRA = ("onnx", "onnxscript", "onnxruntime")
PACKAGE = "sklearn_bert."


def export(
    estimator: Any,
    folder: str | os.PathLike,
    *,
    quantize: str | None = None,
    texts: Any = None,
    max_label_changes: float = 0.02,
) -> dict[str, Any]:
    """Write a fitted estimator as ONNX, which `load` serves without torch.

    The folder holds a graph (encoder, pooling, scalings, head and temperature), the
    tokenizer, a manifest with the sha256 of each file, and a report: the answers of the
    exported model are compared with those of the estimator in float32. A folder whose
    answers differ too much is not written, nor a part of one where the process is
    killed.

    Parameters
    ----------
    estimator : BertClassifier, BertRegressor, BertTokenClassifier or BertEmbedder
        Fitted.
    folder : str or path
        Made if needed; an exported model in it is replaced.
    quantize : {None, "int8"}, default=None
        "int8": weights in 8 bits, a quarter of the size, and on a CPU about half of the
        time; some answers change. None: float32, no answer changes by more than 1e-4.
    texts : as X of the estimator, default=None
        What to compare the answers on; best are some hundreds of the kind that will be
        served. None: 204 texts of a bundled set, because `fit` keeps none of yours.
    max_label_changes : float, default=0.02
        The share of labels (of words, for a token classifier) that int8 may change. A
        regressor and an embedder have no labels; see the report.

    Returns
    -------
    dict
        The report, as `report.json` in the folder: `texts` ("given" or "built-in"),
        `n_texts`, `max_difference` (of probabilities; of numbers, in deviations of the
        target; of vectors, as a share of their length), `labels_changed` of `n_labels`,
        `bytes` of the graph, `milliseconds_per_text` in one call of all texts, and
        `milliseconds_per_text_of_the_estimator`, in float32 on the CPU.

    Raises
    ------
    ModuleNotFoundError
        Where onnx, onnxscript or onnxruntime is not installed.
    sklearn.exceptions.NotFittedError
        Where the estimator is not fitted.
    TypeError
        Where it is another estimator.
    ValueError
        Where a parameter is wrong, the family of the checkpoint cannot be exported, or
        the answers differ too much.
    FileExistsError
        Where the folder holds something else.

    See Also
    --------
    load : The way back.
    sklearn_bert.save : Write an estimator that can be trained further.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_bert import BertClassifier, onnx
    >>> texts = ["I love it", "Great!", "Awful", "I hate it"] * 8
    >>> labels = ["good", "good", "bad", "bad"] * 8
    >>> clf = BertClassifier(trainable="head").fit(texts, labels)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = onnx.export(clf, f"{folder}/model", texts=texts)
    ...     model = onnx.load(f"{folder}/model")
    >>> report["labels_changed"], report["n_labels"]
    (0, 32)
    >>> model.predict(["I really love it", "I really hate it"])
    array(['good', 'bad'], dtype='<U4')
    """
    _check_parameters(estimator, quantize, max_label_changes)
    check_is_fitted(estimator)
    if texts is not None:  # what is wrong with them is said before minutes of work
        reads_words = type(estimator).__name__ == "BertTokenClassifier"
        check_words(texts, "texts") if reads_words else estimator._read_X_again(texts)
    target = Path(folder)
    check_replaceable(target.resolve(), files_written)
    with new_folder(target, written=files_written, last=MANIFEST) as draft:
        content = _describe(estimator)
        (draft / TOKENIZER).write_text(estimator.tokenizer_.to_json(), "utf-8")
        _write_graph(estimator, draft, content, quantize)
        write_manifest(draft, content, _files(draft))
        report = {
            "class": type(estimator).__name__,
            "quantize": quantize,
            **check(estimator, load(draft), texts, quantize, max_label_changes),
            "bytes": (draft / MODEL).stat().st_size,
        }
        (draft / REPORT).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
        write_manifest(draft, content, _files(draft))
    return report


def _check_parameters(estimator: Any, quantize: Any, max_label_changes: Any) -> None:
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"export needs {', '.join(missing)}, which is not installed. Install it: "
            'pip install "sklearn-bert[onnx]".'
        )
    name = type(estimator).__name__
    # What a subclass of somebody else's changes would be lost.
    if name not in KINDS or not type(estimator).__module__.startswith(PACKAGE):
        raise TypeError(
            f"export takes a fitted {', '.join(KINDS)}; got {name}. Of a pipeline or a "
            "search export the estimator in it, e.g. search.best_estimator_."
        )
    if quantize not in (None, "int8"):
        raise ValueError(
            f"quantize is {excerpt(quantize)}; expected None (float32) or 'int8'."
        )
    is_number = isinstance(max_label_changes, Real)
    if not (is_number and 0 <= max_label_changes <= 1):
        raise ValueError(
            f"max_label_changes is {excerpt(max_label_changes)}; expected a share from "
            "0 to 1."
        )


def _write_graph(
    estimator: Any, draft: Path, content: dict[str, Any], quantize: str | None
) -> None:
    """Write the graph of an estimator; the temperature is in it where that is right."""
    reads_words = content["class"] == "BertTokenClassifier"
    tokenizer = estimator.tokenizer_
    reads_windows = not reads_words and tokenizer.long_text == "window"
    reads_pairs = content["n_features_in"] == 2 and content["template"] is None
    temperature = 1.0
    # That of windows divides the scores of the text that they make.
    if not reads_windows:
        temperature, content["temperature"] = content["temperature"], 1.0
    write_graphs(
        estimator.net_.module,
        draft,
        temperature=temperature,
        reads_types=reads_pairs and tokenizer.has_type_ids,
        reads_words=reads_words,
        reads_windows=reads_windows,
    )
    if quantize == "int8":
        quantize_graph(draft / MODEL)


def _describe(estimator: Any) -> dict[str, Any]:
    """Describe all but graph and tokenizer.json that an answer takes."""
    fitted = vars(estimator)
    names = fitted.get("feature_names_in_")
    content: dict[str, Any] = {
        "class": type(estimator).__name__,
        "template": fitted.get("_template"),
        "missing": fitted.get("missing", "error"),
        "n_features_in": estimator.n_features_in_,
        "feature_names_in": None if names is None else [str(name) for name in names],
        "temperature": float(fitted.get("temperature_", 1.0)),
        "merges_maximum": estimator.net_.module.pooling == "max",
        "tokenizer": estimator.tokenizer_.settings(),
        "versions": {
            "sklearn_bert": __version__,
            **{name: version(name) for name in (*EXTRA, "tokenizers", "torch")},
        },
    }
    if "classes_" in fitted:
        content["classes"] = encode_array(np.asarray(estimator.classes_))
        content["indicator"] = fitted.get("_indicator")
    if "target_mean_" in fitted:
        content["target_mean"] = estimator.target_mean_.tolist()
        content["target_scale"] = estimator.target_scale_.tolist()
        content["is_1d"] = bool(estimator._is_1d)
    return content


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != MANIFEST)
