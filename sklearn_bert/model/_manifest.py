"""The manifest of a saved folder: what it holds, sealed, and the sha256 of its files.

`load`, a saved folder that is given as `checkpoint=`, and whatever else lists its files
are checked here before anything in them is parsed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sklearn_bert._process._errors import DamagedCheckpointError
from sklearn_bert._process._file_hash import sha256_of_file
from sklearn_bert.model._damage import check_plain, damaged, length_by_header

MANIFEST = "estimator.json"
CARD = "README.md"
SAVE_AGAIN = "Save the estimator again, to another folder"
SHA256 = re.compile("[0-9a-f]{64}")
# Files lie in the folder or one folder deeper.
MOST_PARTS = 2


def canonical(content: Any) -> bytes:
    # Sorted: what `load` reads back has the same hash, whatever the order of keys.
    return json.dumps(content, sort_keys=True).encode()


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_manifest(path: Path) -> dict[str, Any]:
    """Read `{"sha256": ..., "content": {...}}`, and return the content.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedCheckpointError
        If it is no plain file, cannot be read, or is not what was sealed.
    """
    check_plain(path, path.parent)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; {path.parent} is not a folder written by "
            "sklearn_bert.save."
        )
    try:
        manifest = json.loads(path.read_bytes())
        content = manifest["content"]
        is_intact = sha256_of(canonical(content)) == manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(
            path, f"is damaged: it cannot be read ({error})", SAVE_AGAIN
        ) from error
    if not is_intact:
        raise damaged(path, "is damaged: its content is not what was saved", SAVE_AGAIN)
    if not isinstance(content, dict):
        raise damaged(path, "is damaged: its content is no JSON object", SAVE_AGAIN)
    return content


def files_written(folder: Path) -> set[str] | None:
    """Return the files that `save` wrote into the folder; None: it wrote nothing.

    A card that was changed since is a file of the user's.
    """
    # If the manifest is damaged, no file in the folder is known to be ours.
    try:
        content = json.loads((folder / MANIFEST).read_bytes())["content"]
        ours = {MANIFEST, *content["files"]}
        card = folder / CARD
        if card.is_file() and sha256_of(card.read_bytes()) == content.get("card"):
            ours.add(CARD)
        return ours
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def check_listed(
    manifest: Path,
    files: Any,
    *,
    needed: Collection[str] = (),
    optional: Collection[str] = (),
    remedy: str = SAVE_AGAIN,
) -> None:
    """Raise unless each listed file is there, a plain one, and has the noted sha256.

    Parameters
    ----------
    manifest : Path
        The file with the list; the files lie in its folder.
    files : dict of str to str
        The sha256 of each file, by its path in the folder.
    needed : collection of str
        Names that have to be in the list.
    optional : collection of str
        Names of files that may be missing.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    DamagedCheckpointError
    """
    _check_names(manifest, files, remedy)
    if unlisted := sorted(set(needed) - set(files)):
        raise damaged(manifest, f"does not list the file {unlisted[0]!r}", remedy)
    folder = manifest.parent
    for name, sha256 in files.items():
        path = folder / name
        if not path.is_file():
            if name in optional and not path.exists():
                continue
            raise FileNotFoundError(
                f"{path} is missing; the saved folder is damaged. {remedy}."
            )
        check_plain(path, folder)
        if not _has_own_length(path) or sha256_of_file(path) != sha256:
            raise DamagedCheckpointError(
                f"{path} is damaged: its sha256 is not the one noted when it was "
                f"saved. {remedy}."
            )


def _has_own_length(path: Path) -> bool:
    """Return whether weights are as long as they say: to hash others may not end."""
    if path.suffix != ".safetensors":
        return True  # `check_plain` knows how long it may be
    try:
        return path.stat().st_size == length_by_header(path)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False


def _check_names(manifest: Path, files: Any, remedy: str) -> None:
    if not isinstance(files, Mapping) or not files:
        raise damaged(manifest, "lists no files with their sha256", remedy)
    for name, sha256 in files.items():
        parts = PurePosixPath(name).parts
        is_inside = 0 < len(parts) <= MOST_PARTS and not {"..", "/"} & {*parts}
        if not is_inside or re.search(r"[\\:\0]", name):
            raise damaged(
                manifest, f"lists the file {name!r}, which is not in the folder", remedy
            )
        if not (isinstance(sha256, str) and SHA256.fullmatch(sha256)):
            raise damaged(manifest, f"has no sha256 of the file {name!r}", remedy)
