"""Compare the versions that made a saved estimator with the installed ones."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sklearn.exceptions import InconsistentVersionWarning

from sklearn_bert._process._warn import warn
from sklearn_bert._version import __version__

# The libraries on which the predictions of a saved estimator depend.
LIBRARIES = ("scikit-learn", "skorch", "tokenizers", "torch", "transformers")
PICKLED_VERSION = "_sklearn_bert_version"


class OtherVersionsWarning(InconsistentVersionWarning):
    """scikit-learn's InconsistentVersionWarning, with advice on what to do."""

    def __init__(self, message: str, *, estimator: str, then: str, now: str) -> None:
        super().__init__(
            estimator_name=estimator,
            current_sklearn_version=now,
            original_sklearn_version=then,
        )
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the keyword-only arguments, too."""
        make = functools.partial(
            type(self),
            estimator=self.estimator_name,
            then=self.original_sklearn_version,
            now=self.current_sklearn_version,
        )
        return make, (self.message,)

    def __str__(self) -> str:
        return self.message


def versions() -> dict[str, str]:
    """Return the installed versions, by the library's name."""
    return {"sklearn_bert": __version__} | _versions_of_libraries()


@functools.cache  # each is parsed out of a file of its package
def _versions_of_libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):  # a frozen application has no metadata
            found[name] = version(name)
    return found


def warn_of_other_versions(name: str, folder: object, then: Mapping[str, Any]) -> None:
    """Warn if a folder was saved with other minor versions than the installed ones.

    A new minor version may read the same files differently; a patch should not. A
    library without an entry in the folder is not compared.
    """
    now = versions()
    differ = [n for n in now if n in then and _minor(str(then[n])) != _minor(now[n])]
    if not differ:
        return
    was, is_now = (", ".join(f"{n} {v[n]}" for n in differ) for v in (then, now))
    message = (
        f"{folder} was saved with {was}, and is read with {is_now}: its {name} may "
        "answer otherwise than before. Compare, and save it again."
    )
    warn(OtherVersionsWarning(message, estimator=name, then=was, now=is_now))


class PickledWithVersion:
    """Mixin that pickles the package's version, and warns when another unpickles it."""

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        return {**state, PICKLED_VERSION: __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        then = state.pop(PICKLED_VERSION, "0.1 or older")  # which stored no version
        if _minor(then) != _minor(__version__):
            name = type(self).__name__
            message = (
                f"this {name} was pickled with sklearn_bert {then}; this is "
                f"{__version__}, where it may answer otherwise, or fail. Fit it again; "
                f"or unpickle it with sklearn_bert {then}, save it there to a folder, "
                "and read the folder here."
            )
            warn(
                OtherVersionsWarning(
                    message, estimator=name, then=then, now=__version__
                )
            )
        super().__setstate__(state)  # type: ignore[misc]


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
