"""The README.md of a saved estimator: a model card as the Hub reads it."""

from __future__ import annotations

import html
import inspect
import json
import os
import platform
import re
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_bert._process._versions import versions
from sklearn_bert.estimators._base import BertEstimator
from sklearn_bert.model._find import known_version
from sklearn_bert.text._columns import as_python, excerpt

MOST_CLASSES = 100  # that a card names
# A name on the Hub: "owner/name", or "name".
HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
# The Hub's word for what an estimator does.
TASKS = {
    "BertClassifier": "text-classification",
    "BertRegressor": "text-classification",
    "BertTokenClassifier": "token-classification",
    "BertEmbedder": "feature-extraction",
    "BertPretrainer": "fill-mask",
    "BertGenerator": "text-generation",
}
LOAD = """```python
from sklearn_bert import load

estimator = load("path/of/this/folder")
```"""
PIPELINE = """```python
from transformers import pipeline

answer = pipeline("{task}", "path/of/this/folder")
```

Its numbers need float32 or bfloat16; float16 may give NaN. Texts are cut at {length}
tokens, which `truncation=True` asks for. Servers of classifiers read the folder, too,
but the head of a ModernBERT is for transformers alone."""
LANGUAGE_TASKS = ("fill-mask", "text-generation")


def model_card(estimator: BertEstimator, **facts: str) -> str:
    """Write the model card of a fitted estimator, to be edited.

    It has a front matter as the Hub reads it, and says what the estimator was made of:
    checkpoint, classes, parameters that are not the defaults, training, versions. It
    holds no text that the estimator has read; language and licence are left open.
    `save` writes the same card, as README.md.

    Parameters
    ----------
    estimator : estimator of this package
        Fitted.
    **facts : str
        What only you know, by its name: `intended_use="Tickets of one shop."`

    Returns
    -------
    str
        Markdown.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is no estimator of this package with a network, or a fact is no str.

    See Also
    --------
    save : Writes a card where there is none, and leaves one that you have changed.

    Examples
    --------
    >>> from sklearn_bert import BertEmbedder, model_card
    >>> embedder = BertEmbedder().fit(["any text"])
    >>> card = model_card(embedder, intended_use="Search in tickets.")
    >>> for line in card.splitlines()[:4]:
    ...     print(line)
    ---
    library_name: sklearn-bert
    tags: ["sklearn-bert", "scikit-learn", "bert"]
    pipeline_tag: feature-extraction
    """
    if type(estimator).__name__ not in TASKS:
        raise TypeError(
            "model_card takes an estimator of this package with a network, such as "
            f"BertClassifier; got {type(estimator).__name__}."
        )
    check_is_fitted(estimator)
    for name, fact in facts.items():
        if not isinstance(fact, str):
            raise TypeError(
                f"{name} is {excerpt(fact)} of type {type(fact).__name__}; expected a "
                "str, the text that the card is to say."
            )
    return write_card(estimator, "sklearn_bert", facts)


def write_card(estimator: Any, layout: str, facts: dict[str, str]) -> str:
    """Write the card of a folder of this layout."""
    kind = type(estimator).__name__
    base = _base_name(estimator)
    parts = [_front_matter(estimator, layout, base), f"# {kind}", _summary(estimator)]
    if facts:
        parts += ["## Facts", *(_fact(name, text) for name, text in facts.items())]
    parts += ["## Use", _use(estimator, layout)]
    if hasattr(estimator, "classes_"):
        parts += ["## Classes", _classes(estimator.classes_.tolist())]
    if changed := _changed_params(estimator):
        table = [
            f"| `{name}` | {value.replace('|', '&#124;')} |"
            for name, value in changed.items()
        ]
        head = ["| parameter | value, where it is not the default |", "|---|---|"]
        parts += ["## Parameters", "\n".join(head + table)]
    if history := getattr(estimator, "history_", []):
        parts += ["## Training", _training(history)]
    elif getattr(estimator, "max_epochs_", None) == 0:
        parts += ["## Training", "The encoder is as it was; the head alone is fitted."]
    made_with = {"python": platform.python_version()} | versions()
    parts += ["## Versions", ", ".join(f"{n} {v}" for n, v in made_with.items())]
    return "\n\n".join(parts) + "\n"


def _front_matter(estimator: Any, layout: str, base: str | None) -> str:
    is_own = layout == "sklearn_bert"
    family = estimator.net_.module.encoder.config.model_type
    tags = ["sklearn-bert", "scikit-learn", family]
    lines = [
        "---",
        f"library_name: {'sklearn-bert' if is_own else 'transformers'}",
        # A list of JSON is one of YAML.
        f"tags: {json.dumps(tags)}",
        f"pipeline_tag: {_task(estimator)}",
    ]
    if base is not None:
        lines.append(f"base_model: {json.dumps(base)}")
    return "\n".join([*lines, "---"])


def _task(estimator: Any) -> str:
    return TASKS[type(estimator).__name__]


def _base_name(estimator: Any) -> str | None:
    """Return the name of the checkpoint on the Hub; None: it was a folder."""
    name = estimator.checkpoint
    is_name = isinstance(name, str) and HUB_NAME.fullmatch(name) is not None
    return str(name) if is_name and not Path(name).exists() else None


def _summary(estimator: Any) -> str:
    base = _base_name(estimator)
    made_of = "a checkpoint in a folder" if base is None else f"`{base}`"
    if estimator.checkpoint is None:
        made_of = "random weights"
    elif version := known_version(os.fspath(estimator.checkpoint), estimator.revision):
        made_of += f" ({version})"
    lines = [f"An estimator of `sklearn_bert`, made of {made_of}."]
    # That of a language model counts pieces of a corpus.
    report = getattr(estimator, "unknown_report_", {})
    if report and _task(estimator) not in LANGUAGE_TASKS:
        lines.append(f"The last call of `fit` has read {report['n_texts']} texts.")
    if hasattr(estimator, "target_mean_"):
        lines.append(f"It predicts {len(estimator.target_mean_)} number(s) per text.")
    if getattr(estimator, "pooling_", None) == "similarity":
        lines.append("It compares the vectors of the two texts of a pair.")
    lines.append(f"A text is read up to {estimator.max_length_} tokens at a time.")
    return " ".join(lines)


def _fact(name: str, text: str) -> str:
    return f"**{name.replace('_', ' ').capitalize()}**: {text}"


def _use(estimator: Any, layout: str) -> str:
    use = LOAD if layout == "sklearn_bert" else PIPELINE
    return use.format(task=_task(estimator), length=estimator.max_length_)


def _classes(labels: list[Any]) -> str:
    shown = [f"- {_code(str(label))}" for label in labels[:MOST_CLASSES]]
    more = len(labels) - len(shown)
    return "\n".join([*shown, *([f"- and {more} more"] if more else [])])


def _changed_params(estimator: Any) -> dict[str, str]:
    """Return the parameters that differ from the defaults, as the card shows them."""
    defaults = inspect.signature(type(estimator)).parameters
    return {
        name: _shown(value)
        for name, value in estimator.get_params(deep=False).items()
        if not _is_same(value, defaults[name].default)
    }


def _is_same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and value == default


def _shown(value: Any) -> str:
    """Return a value of a parameter, without paths of this machine and texts."""
    value = as_python(value)
    if isinstance(value, os.PathLike) or (
        isinstance(value, str) and (os.path.isabs(value) or Path(value).exists())
    ):
        return "a folder"
    is_plain = value is None or isinstance(value, str | Number)
    if isinstance(value, dict):
        is_plain = all(isinstance(item, Number) for item in value.values())
    if is_plain:
        return _code(excerpt(value))
    size = f" of {len(value)}" if isinstance(value, dict | list) else ""
    return _code(getattr(value, "__name__", type(value).__name__)) + size


def _code(text: str) -> str:
    """Return any text as code in a line of a list or a table."""
    return "<code>" + html.escape(" ".join(text.split())) + "</code>"


def _training(history: list[dict[str, Any]]) -> str:
    """Say in short what `history_` says: the first and the last epoch."""
    last = history[-1]
    lines = [f"{len(history)} epochs."]
    for name in ("train_loss", "valid_loss", "valid_score"):
        if name in last and np.isfinite(last[name]):
            first = f"{history[0][name]:.3g}, then " if len(history) > 1 else ""
            lines.append(f"`{name}`: {first}{last[name]:.3g}.")
    seconds = sum(epoch.get("seconds", 0.0) for epoch in history)
    lines.append(f"{seconds:.0f} seconds in all.")
    return " ".join(lines)
