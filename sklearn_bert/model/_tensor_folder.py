"""A folder of numbers and tensors that tells whether it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from sklearn_bert.model._damage import DamagedCheckpointError, check_plain

NUMBERS, TENSORS = "state.json", "tensors.safetensors"
FILES = frozenset({NUMBERS, TENSORS})


def write_tensors(
    folder: Path, numbers: dict[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Write numbers as JSON and tensors as safetensors, with the sha256 of both.

    Raises
    ------
    OSError
        Where the disk is full, or the folder cannot be written to.
    TypeError
        Where JSON has no word for one of the numbers.
    """
    try:
        save_file(
            {name: value.detach().contiguous() for name, value in tensors.items()},
            folder / TENSORS,
        )
    except SafetensorError as error:  # also for a disk that is full
        raise OSError(str(error)) from error
    content = {"numbers": numbers, "tensors": _sha256_of(folder / TENSORS)}
    state = {"sha256": _sha256(content), "content": content}
    (folder / NUMBERS).write_text(json.dumps(state), encoding="utf-8")


def read_numbers(folder: Path) -> dict[str, Any]:
    """Return the numbers of a folder both of whose files are as they were written.

    Raises
    ------
    DamagedCheckpointError
        Where one of them is not.
    """
    for name in FILES:
        check_plain(folder / name, folder)
    try:
        state = json.loads((folder / NUMBERS).read_bytes())
        content = state["content"]
        if _sha256(content) != state["sha256"]:
            raise ValueError("its sha256 is another")
        sha256, numbers = content["tensors"], content["numbers"]
        if not isinstance(numbers, dict):
            raise TypeError(f"it holds a {type(numbers).__name__}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedCheckpointError(
            f"{folder / NUMBERS} is damaged ({type(error).__name__}: {error})"
        ) from error
    try:
        is_whole = _sha256_of(folder / TENSORS) == sha256
    except OSError as error:
        raise DamagedCheckpointError(
            f"{folder / TENSORS} cannot be read ({error})"
        ) from error
    if not is_whole:
        raise DamagedCheckpointError(
            f"{folder / TENSORS} is damaged: its sha256 is another"
        )
    return numbers


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder, in memory of their own."""
    # Not mapped into memory: what becomes of the file later must not reach them.
    try:
        return load((folder / TENSORS).read_bytes())
    except (OSError, SafetensorError) as error:
        raise DamagedCheckpointError(
            f"{folder / TENSORS} cannot be read ({error})"
        ) from error


def _sha256(content: Any) -> str:
    # Sorted: what is read back has the same hash, whatever the order of keys.
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
