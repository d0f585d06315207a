"""What a process remembers between calls: tokens, frozen features, weights.

The only global state of the package. Each cache is bounded in bytes, forgets what was
used longest ago, and is shared by all estimators and threads of a process; none is in
a pickle.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

MEBIBYTE = 2**20
ENTRY_BYTES = 200  # of the dictionary, the key and the value's own object, about


class BoundedCache:
    """Values by key, at most so many bytes of them, the last used ones.

    Parameters
    ----------
    max_bytes : int
        A call that alone would fill more than half of it is computed and not kept, so
        that a stream of new texts does not drive out what a search comes back to.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._renew_lock()
        self.clear()
        # A child process that is forked while another thread works here would wait for
        # that thread, which it does not have, for ever.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.RLock()

    def clear(self) -> None:
        """Forget everything, the counts included."""
        with self._lock:
            self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
            self._bytes = self._hits = self._misses = 0

    def get(
        self,
        keys: Sequence[Hashable],
        compute: Callable[[list[int]], Sequence[Any]],
        size: Callable[[Any], int],
    ) -> list[Any]:
        """The values of distinct keys, those that are not here computed in one go.

        Parameters
        ----------
        keys : sequence of hashable
        compute : callable
            Takes the places (in `keys`) of what is missing, returns their values. Other
            threads wait meanwhile instead of computing the same.
        size : callable
            Bytes of a value.
        """
        with self._lock:
            values: list[Any] = [None] * len(keys)
            missing = []
            for place, key in enumerate(keys):
                entry = self._values.get(key)
                if entry is None:
                    missing.append(place)
                    continue
                self._values.move_to_end(key)
                values[place] = entry[0]
            self._hits += len(keys) - len(missing)
            self._misses += len(missing)
            if missing:
                computed = compute(missing)
                for place, value in zip(missing, computed, strict=True):
                    values[place] = value
                self._keep([(keys[place], values[place]) for place in missing], size)
            return values

    def _keep(
        self, items: list[tuple[Hashable, Any]], size: Callable[[Any], int]
    ) -> None:
        sizes = [size(value) + ENTRY_BYTES for _, value in items]
        if sum(sizes) > self.max_bytes / 2:
            return
        for (key, value), n_bytes in zip(items, sizes, strict=True):
            self._values[key] = value, n_bytes
        self._bytes += sum(sizes)
        while self._bytes > self.max_bytes:
            _, (_, n_bytes) = self._values.popitem(last=False)
            self._bytes -= n_bytes

    def info(self) -> dict[str, int]:
        """Entries, bytes, limit, hits and misses since the last `clear`."""
        with self._lock:
            return {
                "entries": len(self._values),
                "bytes": self._bytes,
                "max_bytes": self.max_bytes,
                "hits": self._hits,
                "misses": self._misses,
            }


TOKENS = BoundedCache(64 * MEBIBYTE)
FEATURES = BoundedCache(256 * MEBIBYTE)
WEIGHTS = BoundedCache(4096 * MEBIBYTE)


def cache_info(*, clear: bool = False) -> dict[str, dict[str, int]]:
    """Tell what this process keeps between calls, and forget it if asked.

    Estimators share three caches, so that a grid search does nothing twice: `tokens`
    (the ids of a text, by tokenizer and text; 64 MiB), `features` (what the frozen part
    of a model makes of a text: the vectors of `BertEmbedder`, and of `BertClassifier`
    with `trainable="head"` or a number; 256 MiB) and `weights` (checkpoints as they
    were read; 4 GiB). What was used longest ago goes first.

    Parameters
    ----------
    clear : bool, default=False
        Whether to empty the caches after looking.

    Returns
    -------
    dict of dict
        By cache: `entries`, `bytes`, `max_bytes`, and since the last clearing `hits`
        and `misses` (in texts, for `weights` in checkpoints).

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
