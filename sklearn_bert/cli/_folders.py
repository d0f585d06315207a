"""Saved models: what a folder holds is known before its weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sklearn_bert
from sklearn_bert._process._atomic_folder import whole_folder
from sklearn_bert.model import _manifest as saved
from sklearn_bert.onnx import _manifest as exported


@dataclass(frozen=True)
class ModelFolder:
    """A folder that `save` or `export` has written.

    Attributes
    ----------
    path : Path
    layout : {"sklearn_bert", "transformers", "onnx"}
    content : dict
        Of its manifest, as JSON has it.
    """

    path: Path
    layout: str
    content: dict[str, Any]

    @property
    def kind(self) -> str:
        """The name of the estimator's class."""
        return str(self.content.get("class"))

    def fitted(self, name: str) -> Any:
        """Return an attribute that ends with `_`; None where there is none."""
        if self.layout == "onnx":
            return plain(self.content.get(name.rstrip("_")))
        return plain(self.content.get("fitted", {}).get(name))

    def load(self) -> Any:
        """Load the model. One in ONNX answers without torch."""
        if self.layout == "onnx":
            return sklearn_bert.onnx.load(self.path)
        return sklearn_bert.load(self.path)


def is_model(path: str) -> bool:
    """Tell whether a path is a folder with a model, saved or exported."""
    return any(
        (whole_folder(Path(path), name) / name).is_file()
        for name in (saved.MANIFEST, exported.MANIFEST)
    )


def read_folder(path: str, *kinds: str, layouts: tuple[str, ...] = ()) -> ModelFolder:
    """Read the manifest of a folder, and nothing else.

    Parameters
    ----------
    path : str
    *kinds : str
        Names of classes, one of which is expected. None: any.
    layouts : tuple of str
        One of which is expected. None: any.

    Raises
    ------
    ValueError
        If there is no such folder, or it holds something else.
    """
    if not is_model(path):
        what = "holds no model" if Path(path).is_dir() else "is no folder"
        raise ValueError(
            f"{path} {what}; expected a folder that sklearn-bert fit or export, or "
            "sklearn_bert.save, has written."
        )
    folder = _read(Path(path))
    if layouts and folder.layout not in layouts:
        raise ValueError(
            f"{path} is of the layout {folder.layout}; expected {' or '.join(layouts)}."
        )
    if kinds and folder.kind not in kinds:
        raise ValueError(
            f"{path} holds a {folder.kind}; this command takes a {' or '.join(kinds)}."
        )
    return folder


def _read(path: Path) -> ModelFolder:
    source = whole_folder(path, saved.MANIFEST)
    if (source / saved.MANIFEST).is_file():
        content = saved.read_manifest(source / saved.MANIFEST)
        return ModelFolder(path, content.get("layout", "sklearn_bert"), content)
    source = whole_folder(path, exported.MANIFEST)
    return ModelFolder(path, "onnx", exported.read_manifest(source))


def plain(value: Any) -> Any:
    """Return a value of a manifest without what it says of types."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("kind") == "dict":
        return {str(name): plain(item) for name, item in value["items"]}
    if value.get("kind") == "path":
        return value["path"]
    if value.get("kind") == "scalar":
        return plain(value["array"])[0]
    if "items" in value:  # of an array, a list or a tuple
        return plain(value["items"])
    return {name: plain(item) for name, item in value.items()}
