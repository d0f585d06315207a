"""The manifest of an exported folder: what its files are, and how to answer with them.

NumPy alone, for the side that serves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_bert._process._errors import DamagedCheckpointError
from sklearn_bert._version import __version__

FORMAT = 1
MANIFEST = "onnx.json"
TOKENIZER = "tokenizer.json"
REPORT = "report.json"
AGAIN = "Export the estimator again, or copy the folder again"


def write_manifest(folder: Path, content: dict[str, Any], files: Iterable[str]) -> None:
    """Write the manifest of a folder, with the sha256 of its files."""
    sums = {name: _sha256((folder / name).read_bytes()) for name in files}
    content = {"format": FORMAT, **content, "files": sums}
    manifest = {"sha256": _sha256(_canonical(content)), "content": content}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def files_written(folder: Path) -> set[str] | None:
    """Return the files that `export` wrote into the folder; None: it wrote nothing."""
    try:
        return {MANIFEST, *read_manifest(folder)["files"]}
    except (OSError, ValueError):
        return None


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's manifest.

    Raises
    ------
    FileNotFoundError
        Where there is none.
    DamagedCheckpointError
        Where it cannot be read, or is not what was written.
    ValueError
        Where a newer version wrote it.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; {folder} is not a folder written by "
            "sklearn_bert.onnx.export."
        )
    try:
        manifest = json.loads(path.read_bytes())
        content = dict(manifest["content"])
        is_intact = _sha256(_canonical(content)) == manifest["sha256"]
        is_newer = int(content["format"]) > FORMAT
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedCheckpointError(
            f"{path} is damaged: it cannot be read ({error}). {AGAIN}."
        ) from error
    if not is_intact:
        raise DamagedCheckpointError(
            f"{path} is damaged: its content is not what was exported. {AGAIN}."
        )
    if is_newer:
        raise ValueError(
            f"{path} has format {content['format']}; this is sklearn_bert "
            f"{__version__}, which reads up to format {FORMAT}. Upgrade sklearn_bert."
        )
    return content


def read_file(folder: Path, name: str, content: dict[str, Any]) -> bytes:
    """Return the bytes of a file, which are those that were exported."""
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; the folder is damaged. {AGAIN}.")
    data = path.read_bytes()
    if _sha256(data) != content["files"][name]:
        raise DamagedCheckpointError(
            f"{path} is damaged: its sha256 is not the one noted when it was exported. "
            f"{AGAIN}."
        )
    return data


def encode_array(array: np.ndarray) -> dict[str, Any]:
    """Describe a one-dimensional array as JSON can."""
    # tolist() turns times into dates or integers, depending on their unit.
    is_time = array.dtype.kind in "mM"
    items = (array.view("i8") if is_time else array).tolist()
    return {"dtype": array.dtype.str, "items": items}


def decode_array(described: dict[str, Any]) -> np.ndarray:
    """Build the array that `encode_array` described."""
    dtype = np.dtype(described["dtype"])
    items = described["items"]
    array = np.empty(len(items), dtype="i8" if dtype.kind in "mM" else dtype)
    array[:] = items
    return array.view(dtype)


def _canonical(content: Any) -> bytes:
    # Sorted: what is read back has the same hash, whatever the order of keys.
    return json.dumps(content, sort_keys=True).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
