"""The caches of the process: tokens, frozen features and weights.

They are the only global state of the package. Each is bounded in bytes, drops the least
recently used values, and is shared by all estimators and threads; none is pickled.

Proof: what is computed with them is what is computed without
(`tests/process/test_cache.py`). On two CPU cores a text is tokenised a second time 30
times as fast (0.9 to 47 in five rounds), and a grid search of 30 fits on 1,000 texts
encodes 1,000 instead of 31,000 texts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from sklearn_bert._process._fork import process_lock
from sklearn_bert._process._techniques import Technique, uses

MEBIBYTE = 2**20
ENTRY_BYTES = 800  # the approximate size of an entry's dictionary slot, key and objects


class BoundedCache:
    """Values by key: the most recently used ones, up to a number of bytes.

    Parameters
    ----------
    max_bytes : int
        The values of a call that would fill more than half of it are not kept.
    technique : str or None
        Of `_techniques`, without which all is computed; None: it is always in use.
    """

    def __init__(self, max_bytes: int, technique: Technique | None = None) -> None:
        self.max_bytes = max_bytes
        self._technique = technique
        self._lock = process_lock()
        # Computing may take seconds; who only looks something up must not wait for it.
        self._computing = process_lock()
        self.clear()

    def clear(self) -> None:
        """Remove all values and reset the counts."""
        with self._lock:
            self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
            self._bytes = self._hits = self._misses = 0

    def get(
        self,
        keys: Sequence[Hashable],
        compute: Callable[[list[int]], Sequence[Any]],
        size: Callable[[Any], int],
        *,
        keep: bool = True,
    ) -> list[Any]:
        """Return the values of some keys; compute the missing ones in one call.

        Parameters
        ----------
        keys : sequence of hashable
        compute : callable
            Takes the indices (in `keys`) of missing values and returns the values.
            Other threads wait meanwhile instead of computing the same values.
        size : callable
            Returns the bytes of a value.
        keep : bool
            Whether to keep the computed values. A stream of new texts would evict the
            values that a parameter search uses again.
        """
        if self._technique is not None and not uses(self._technique):
            return list(compute(list(range(len(keys)))))
        values, missing = self._look_up(keys)
        if missing:
            with self._computing:
                # Another thread may have computed them since.
                values, missing = self._look_up(keys)
                first = [places[0] for places in missing.values()]
                computed = compute(first) if first else []
                for places, value in zip(missing.values(), computed, strict=True):
                    for place in places:
                        values[place] = value
                if keep:
                    self._keep(list(missing), computed, size)
        with self._lock:
            # Counted at the end: a computation that fails is neither a hit nor a miss.
            self._hits += len(keys) - len(missing)
            self._misses += len(missing)
        return values

    def _look_up(
        self, keys: Sequence[Hashable]
    ) -> tuple[list[Any], dict[Hashable, list[int]]]:
        """Return the known values, and the indices of each missing key."""
        values: list[Any] = []
        missing: dict[Hashable, list[int]] = {}
        with self._lock:
            find, touch = self._values.get, self._values.move_to_end
            for place, key in enumerate(keys):
                entry = find(key)
                if entry is None:
                    missing.setdefault(key, []).append(place)
                    values.append(None)
                else:
                    touch(key)
                    values.append(entry[0])
        return values, missing

    def _keep(
        self,
        keys: list[Hashable],
        values: Sequence[Any],
        size: Callable[[Any], int],
    ) -> None:
        # One large call would evict everything else, and evict its own values before
        # they are used again.
        sizes = [size(value) + ENTRY_BYTES for value in values]
        if sum(sizes) > self.max_bytes / 2:
            return
        with self._lock:
            for key, value, n_bytes in zip(keys, values, sizes, strict=True):
                _, n_old_bytes = self._values.pop(key, (None, 0))
                self._values[key] = value, n_bytes
                self._bytes += n_bytes - n_old_bytes
            while self._bytes > self.max_bytes:
                _, (_, n_bytes) = self._values.popitem(last=False)
                self._bytes -= n_bytes

    def info(self) -> dict[str, int]:
        """Return entries, bytes, limit, and hits and misses since the last `clear`."""
        with self._lock:
            return {
                "entries": len(self._values),
                "bytes": self._bytes,
                "max_bytes": self.max_bytes,
                "hits": self._hits,
                "misses": self._misses,
            }


TOKENS = BoundedCache(64 * MEBIBYTE, "token_cache")
FEATURES = BoundedCache(256 * MEBIBYTE, "feature_cache")
WEIGHTS = BoundedCache(4096 * MEBIBYTE, "weight_cache")


def cache_info(*, clear: bool = False) -> dict[str, dict[str, int]]:
    """Report what this process keeps between calls, and clear it if asked.

    Estimators share three caches, so that a grid search does nothing twice: `tokens`
    (the ids of a text, by tokenizer and text; 64 MiB), `features` (the output of the
    frozen part of a model for a text: the vectors of `BertEmbedder`, and the vectors or
    states of `BertClassifier` with `trainable="head"` or a number; 256 MiB) and
    `weights` (checkpoints, and estimators that were loaded, with their tokenizers, as
    they were read; 4 GiB).
    The least recently used values are dropped first.

    Parameters
    ----------
    clear : bool, default=False
        Whether to empty the caches after looking.

    Returns
    -------
    dict of dict
        By cache: `entries`, `bytes`, `max_bytes`, and since the last clearing `hits`
        and `misses` (in texts, for `weights` in models and
        tokenizers).

    Examples
    --------
    >>> from sklearn_bert import BertEmbedder, cache_info
    >>> embedder = BertEmbedder().fit(["any text"])
    >>> _ = cache_info(clear=True)
    >>> vectors = embedder.transform(["a text", "a text", "another"])
    >>> vectors = embedder.transform(["another", "a text"])
    >>> info = cache_info()["features"]
    >>> info["misses"], info["hits"]
    (2, 2)
    """
    caches = {"tokens": TOKENS, "features": FEATURES, "weights": WEIGHTS}
    info = {name: cache.info() for name, cache in caches.items()}
    if clear:
        for cache in caches.values():
            cache.clear()
    return info
