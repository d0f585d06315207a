"""Files of a checkpoint that may be damaged: the error says how."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open

from sklearn_bert._process._errors import CheckpointError, DamagedCheckpointError

# The first bytes of files that are not what their names say.
PICKLE = (
    "is a pickle of torch (or another zip archive) under a wrong name",
    "Open it where you trust it, and write it anew with save_pretrained",
)
POINTER = (
    "is a Git LFS pointer and not the file itself",
    "Fetch the file: git lfs install, and git lfs pull in that folder",
)
WEB_PAGE = (
    "is a web page and not the file itself",
    "Download the file again, with an account that may read it",
)
FOREIGN: dict[bytes, tuple[str, str]] = {
    b"version https://git-lfs": POINTER,
    b"PK\x03\x04": PICKLE,
    b"<!doctype": WEB_PAGE,
    b"<html": WEB_PAGE,
}
# What to do.
AGAIN = "Download or copy the folder again, or write it anew with save_pretrained"
FIT = "Take config.json and weights of the same checkpoint"
OWN_COPY = "Copy what it points to into the folder"
SAVE_TOKENIZER = "Write it with tokenizer.save_pretrained(folder)"
OF_THE_WEIGHTS = ", of the tokenizer that the weights were trained with"
NO_LIMIT = 10**9
LARGEST_NUMBER = 1e18  # of a weight
CONFIG, WEIGHTS = "config.json", "model.safetensors"
# The endings of files that a library below may read, and how large they may be: JSON
# takes some 30 times its bytes in memory.
READABLE = {".json", ".txt", ".model", ".safetensors", ".jinja", ".codes", ".spm"}
MOST_BYTES = 2**24
MOST_BYTES_OF = {
    "tokenizer.json": 2**28,
    "vocab.json": 2**28,
    "vocab.txt": 2**28,
    "merges.txt": 2**28,
    "estimator.json": 2**28,
}
LARGE = {".model": 2**28, ".safetensors": 2**63}


def damaged(path: Path, problem: str, remedy: str = AGAIN) -> DamagedCheckpointError:
    """Return an error that names a file, its damage and a remedy."""
    return DamagedCheckpointError(f"{path} {problem}. {remedy}.")


@contextmanager
def damage_named(what: str, remedy: str = AGAIN) -> Iterator[None]:
    """Turn any error of a library about a damaged file into a CheckpointError."""
    try:
        yield
    except (CheckpointError, MemoryError):
        raise
    except BaseException as error:
        # tokenizers is written in Rust: a panic there is no subclass of Exception.
        is_panic = type(error).__name__ == "PanicException"
        if not (isinstance(error, Exception) or is_panic):
            raise
        text = " ".join(str(error).split())[:300] or "no reason given"
        if "trust_remote_code" in text:  # advice that does not hold here
            raise DamagedCheckpointError(
                f"{what} cannot be read: it needs code of its own, which is never run "
                "here. Choose a checkpoint of a family that transformers has itself."
            ) from error
        raise DamagedCheckpointError(
            f"{what} cannot be read: {text} ({type(error).__name__}). {remedy}."
        ) from error


def check_plain_files(folder: Path, root: Path) -> None:
    """Raise DamagedCheckpointError if a file that may be read is not a plain one.

    Parameters
    ----------
    folder : Path
        `root`, or a folder in it.
    root : Path
        The checkpoint's folder.
    """
    root = root.resolve()
    if not folder.resolve().is_relative_to(root):
        raise damaged(folder, f"is a link out of {root}", OWN_COPY)
    if folder.is_dir():
        for path in folder.iterdir():
            if path.suffix in READABLE:
                check_plain(path, root)


def check_plain(path: Path, root: Path) -> None:
    """Raise DamagedCheckpointError if a file is a device, a link outside or too large.

    What is missing, or a folder, is for others to name.
    """
    try:
        status = path.stat()
    except OSError:
        return
    if stat.S_ISDIR(status.st_mode):
        return
    if not stat.S_ISREG(status.st_mode):
        raise damaged(path, "is a device, a pipe or a socket; expected a file")
    root = root.resolve()
    places = [root]
    if root.parent.name == "snapshots":  # in the Hub's cache, links point to the blobs
        places.append(root.parent.parent / "blobs")
    target = path.resolve()
    if not any(target.is_relative_to(place) for place in places):
        raise damaged(path, f"is a link to {target}, out of the folder", OWN_COPY)
    most = MOST_BYTES_OF.get(path.name, LARGE.get(path.suffix, MOST_BYTES))
    if status.st_size > most:
        raise damaged(path, f"has {status.st_size:,} bytes; expected {most:,} at most")


def check_file(path: Path, remedy: str = AGAIN) -> None:
    """Raise DamagedCheckpointError if a file is missing, empty or of another kind."""
    if path.is_dir():
        raise damaged(path, "is a folder; expected a file", remedy)
    if not path.is_file():
        raise damaged(path, "is missing", remedy)
    try:
        with path.open("rb") as file:
            begin = file.read(64)
    except OSError as error:
        raise damaged(
            path, f"cannot be opened ({error.strerror})", "Look at its permissions"
        ) from error
    if not begin.strip():
        raise damaged(path, "is empty", remedy)
    for start, (problem, way_on) in FOREIGN.items():
        if begin.lower().lstrip().startswith(start.lower()):
            raise damaged(path, problem, way_on)


def read_json(path: Path, default: Any, remedy: str = AGAIN) -> Any:
    """Read a JSON file of the type of `default`; a missing file gives `default`."""
    if not (path.exists() or path.is_symlink()):
        return default
    check_file(path, remedy)
    return parse_json(path, path.read_bytes(), default, remedy)


def parse_json(path: Path, read: bytes, default: Any, remedy: str = AGAIN) -> Any:
    """Parse what was read of a JSON file."""
    try:
        content = json.loads(read.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"is not JSON in UTF-8 ({error})", remedy) from error
    if type(content) is not type(default):
        raise damaged(
            path,
            f"holds JSON of type {type(content).__name__}; expected "
            f"{type(default).__name__}",
            remedy,
        )
    return content


def as_path(name: str) -> Path:
    """Return the path of this name, with "~" expanded where there is such a user."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # "~nobody/...": a folder may have this very name
        return Path(name)


def path_in(folder: Path, name: object, source: Path) -> Path:
    """Return the path of a part that a file names; it must lie directly in the folder.

    The cache notices changes of files only to this depth.
    """
    if not isinstance(name, str):
        raise damaged(source, f"names the part {name!r}; expected a path")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise damaged(source, f"names the part {name!r}, outside of the folder")
    if len(Path(name).parts) > 1:
        raise damaged(
            source,
            f"names the part {name!r}, a path of several folders",
            "Move it into the folder itself, and correct the path",
        )
    return folder / name


def token_limit(value: Any, name: str, source: Path) -> int:
    """Return a limit in tokens from a file; 0, -1 and None mean no limit."""
    if value is None:
        return NO_LIMIT
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or math.isnan(value):
        raise damaged(
            source, f"limits texts to {value!r} ({name}); expected a number of tokens"
        )
    return int(min(value, NO_LIMIT)) if value > 0 else NO_LIMIT


def check_weights(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a file's tensors, by its header.

    Raises
    ------
    DamagedCheckpointError
        If the file is damaged or quantised.
    """
    check_file(path)
    n_bytes = path.stat().st_size
    with damage_named(str(path)):
        n_expected = length_by_header(path)
    # Before it is mapped: a file of nothing could fill the address space.
    if n_bytes != n_expected:
        raise damaged(
            path, f"has {n_bytes:,} bytes; by its header it has {n_expected:,}"
        )
    shapes = {}
    with damage_named(str(path)), safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - it is no dict
            tensor = file.get_slice(name)
            kind = tensor.get_dtype()
            shapes[name] = tuple(tensor.get_shape())
            if name.endswith(".weight") and kind not in ("F64", "F32", "F16", "BF16"):
                raise damaged(
                    path,
                    f"holds {name!r} in {kind}: quantised weights are not read",
                    "Choose the checkpoint that they were made from",
                )
    return shapes


def length_by_header(path: Path) -> int:
    """Return how many bytes a file of safetensors has by its own header.

    Raises
    ------
    ValueError, LookupError, TypeError, AttributeError
        If it has no such header.
    """
    with path.open("rb") as file:
        n_bytes = int.from_bytes(file.read(8), "little")
        if n_bytes > MOST_BYTES:
            raise ValueError(f"a header of {n_bytes:,} bytes")
        header = json.loads(file.read(n_bytes))
    ends = [row["data_offsets"][1] for k, row in header.items() if k != "__metadata__"]
    return 8 + n_bytes + max(ends, default=0)


def check_finite(folder: Path, tensors: Iterable[tuple[str, Any]]) -> None:
    """Raise DamagedCheckpointError at the first tensor that makes answers infinite.

    It holds NaN, infinity, or a number whose square is as good as infinite.
    """
    for name, value in tensors:
        if not value.is_floating_point() or not value.numel():
            continue
        low, high = (float(number) for number in value.aminmax())
        if -LARGEST_NUMBER <= low <= high <= LARGEST_NUMBER:
            continue
        is_finite = math.isfinite(low) and math.isfinite(high)
        what = f"{max(high, -low):.2g}" if is_finite else "NaN or infinity"
        raise DamagedCheckpointError(
            f"the weights in {folder} are damaged: {name!r} holds {what}, and every "
            f"result would be infinite. {AGAIN}."
        )
