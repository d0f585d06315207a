"""Each key is computed once, in bounded memory, whatever threads and forks do."""

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_bert import cache_info
from sklearn_bert._process import _cache
from sklearn_bert._process._cache import (
    ENTRY_BYTES,
    FEATURES,
    TOKENS,
    WEIGHTS,
    BoundedCache,
)

NOTHING = {"entries": 0, "bytes": 0, "hits": 0, "misses": 0}


def get(cache, keys, size=1):
    """Ask for keys; what of them was computed. The value of a key is the key."""
    asked = []

    def compute(missing):
        asked.extend(keys[place] for place in missing)
        return [keys[place] for place in missing]

    assert cache.get(keys, compute, size=lambda value: size) == keys
    return asked


def counts(cache):
    """What a cache tells about itself, but for its limit."""
    return {name: n for name, n in cache.info().items() if name != "max_bytes"}


def room_for(n_entries, size=1):
    """A cache of so many values."""
    return BoundedCache(n_entries * (size + ENTRY_BYTES))


def test_only_what_is_missing_is_computed():
    """Values come in the order asked for, and known ones are not computed again."""
    cache = room_for(10)
    assert get(cache, ["a", "b"]) == ["a", "b"]
    assert get(cache, ["c", "b", "d", "a"]) == ["c", "d"]
    assert get(cache, ["d", "c", "b", "a"]) == []
    assert get(cache, []) == []
    assert counts(cache) == {
        "entries": 4,
        "bytes": 4 * (1 + ENTRY_BYTES),
        "hits": 6,
        "misses": 4,
    }


def test_cache_drops_first_what_was_used_longest_ago():
    """Asking for a value again keeps it longer than younger ones."""
    cache = room_for(3)
    for key in "abc":
        get(cache, [key])
    get(cache, ["a"])
    get(cache, ["d"])
    assert get(cache, ["c", "a", "d"]) == []
    get(cache, ["e"])
    assert get(cache, ["a"]) == []
    assert get(cache, ["b"]) == ["b"]


def test_call_too_large_is_not_kept():
    """What would fill more than half is computed, returned, and drives out nothing."""
    cache = room_for(8)
    get(cache, ["a", "b"])
    large = ["a", *range(5)]
    assert get(cache, large) == [*range(5)]
    assert get(cache, large) == [*range(5)]
    assert counts(cache)["entries"] == 2
    assert get(cache, ["a", *range(4)]) == [*range(4)]
    assert get(cache, ["b", *range(4)]) == []


def test_none_is_a_value():
    """A value of None is remembered like any other."""
    cache = room_for(2)
    for _ in range(2):
        found = cache.get(["a"], lambda missing: [None], size=lambda value: 0)
        assert found == [None]
    assert (cache.info()["misses"], cache.info()["hits"]) == (1, 1)


def test_clear_forgets_values_and_counts():
    """After clearing everything is computed again, and counting starts at 0."""
    cache = room_for(4)
    get(cache, ["a", "b"])
    get(cache, ["a"])
    cache.clear()
    assert counts(cache) == NOTHING
    assert get(cache, ["a", "b"]) == ["a", "b"]


calls = st.one_of(
    st.just("clear"),
    st.tuples(
        st.lists(st.integers(0, 9), unique=True, max_size=6),
        st.lists(st.integers(0, 400), min_size=10, max_size=10),
    ),
)


@settings(deadline=None)
@given(st.integers(0, 3000), st.lists(calls, max_size=20))
def test_cache_is_that_of_a_plain_model(max_bytes, calls):
    """Any sequence of calls hits, misses, keeps and drops what a plain list would."""
    cache = BoundedCache(max_bytes)
    known = []  # (key, value, bytes), the last used one at the end
    hits = misses = 0
    for number, call in enumerate(calls):
        if call == "clear":
            cache.clear()
            known, hits, misses = [], 0, 0
            continue
        keys, sizes = call
        asked = []

        def compute(missing, keys=keys, sizes=sizes, number=number, asked=asked):
            asked += missing
            return [(keys[i], number, sizes[keys[i]]) for i in missing]

        found = cache.get(keys, compute, size=lambda value: value[2])

        values = {key: value for key, value, _ in known}
        new = [key for key in keys if key not in values]
        assert [keys[place] for place in asked] == new
        values |= {key: (key, number, sizes[key]) for key in new}
        assert found == [values[key] for key in keys]

        for entry in sorted(
            (entry for entry in known if entry[0] in keys),
            key=lambda entry: keys.index(entry[0]),
        ):
            known.remove(entry)
            known.append(entry)
        entries = [(key, values[key], sizes[key] + ENTRY_BYTES) for key in new]
        if 2 * sum(entry[2] for entry in entries) <= max_bytes:
            known += entries
        while sum(entry[2] for entry in known) > max_bytes:
            del known[0]
        hits, misses = hits + len(keys) - len(new), misses + len(new)
        assert cache.info() == {
            "entries": len(known),
            "bytes": sum(entry[2] for entry in known),
            "max_bytes": max_bytes,
            "hits": hits,
            "misses": misses,
        }
        assert cache.info()["bytes"] <= max_bytes


@pytest.mark.parametrize("fault", ["compute", "size", "number"])
def test_error_leaves_the_cache_as_it_was(fault):
    """An error reaches the caller; what was known stays, and nothing is half kept."""
    cache = room_for(8)
    get(cache, ["a", "b"])
    before = counts(cache)

    def compute(missing):
        if fault == "compute":
            raise ZeroDivisionError("no value")
        return [0] * (len(missing) - (fault == "number"))

    def size(value):
        raise ZeroDivisionError("no value")

    with pytest.raises((ZeroDivisionError, ValueError), match="no value|shorter"):
        cache.get(["a", "c", "d"], compute, size=size)
    assert counts(cache)["bytes"] == before["bytes"]
    assert get(cache, ["a", "b"]) == []
    assert get(cache, ["c", "d"]) == ["c", "d"]


def test_threads_compute_each_key_once():
    """Eight threads that want the same keys at once wait instead of computing twice."""
    cache = room_for(1000)
    computed = Counter()
    start = threading.Barrier(8)

    def work(seed):
        rng = random.Random(seed)
        start.wait(timeout=20)
        for _ in range(20):
            keys = rng.sample(range(100), 20)

            def compute(missing, keys=keys):
                time.sleep(0.001)  # others run meanwhile
                computed.update(keys[place] for place in missing)
                return [-keys[place] for place in missing]

            found = cache.get(keys, compute, size=lambda value: 1)
            assert found == [-key for key in keys]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert set(computed.values()) == {1}
    assert counts(cache) == {
        "entries": len(computed),
        "bytes": len(computed) * (1 + ENTRY_BYTES),
        "hits": 8 * 20 * 20 - len(computed),
        "misses": len(computed),
    }


def test_threads_keep_the_bound():
    """Threads that drive out each other's values leave counts that add up."""
    cache = room_for(10)

    def work(seed):
        rng = random.Random(seed)
        for _ in range(300):
            get(cache, rng.sample(range(40), 3))
            assert cache.info()["bytes"] <= cache.max_bytes

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # many changes of thread, so that a race would show
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
    finally:
        sys.setswitchinterval(interval)
    info = cache.info()
    assert info["entries"] == 10
    assert info["bytes"] == cache.max_bytes
    assert info["hits"] + info["misses"] == 8 * 300 * 3


# The package alone is put in its place: all that it imports takes long.
FORK = """
import os, runpy, signal, sys, threading, types
sys.modules["sklearn_bert"] = package = types.ModuleType("sklearn_bert")
package.__path__ = [os.path.dirname(os.path.dirname({path!r}))]
names = runpy.run_path({path!r})
cache = names["BoundedCache"](10_000)
cache.get(["known"], lambda missing: [1], size=lambda value: 1)
is_inside, may_end = threading.Event(), threading.Event()

def compute(missing):
    is_inside.set()
    may_end.wait()
    return [2]

thread = threading.Thread(target=cache.get, args=(["new"], compute, lambda value: 1))
thread.start()
is_inside.wait()
child = os.fork()
if child == 0:
    signal.alarm(10)  # ends the child if it waits for the thread it does not have
    ok = cache.get(["known", "new"], lambda missing: [3], lambda value: 1) == [1, 3]
    os._exit(0 if ok and cache.info()["entries"] == 2 else 1)
_, status = os.waitpid(child, 0)
may_end.set()
thread.join()
assert status == 0, status
assert cache.info()["entries"] == 2
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_child_does_not_wait_for_a_thread():
    """A child forked while another thread computes can use the cache."""
    script = FORK.format(path=_cache.__file__)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60
    )


def test_info_tells_of_all_caches_and_clears_them():
    """`cache_info` names the three caches, and empties them only where asked."""
    cache_info(clear=True)
    caches = {"tokens": TOKENS, "features": FEATURES, "weights": WEIGHTS}
    for n, cache in enumerate(caches.values(), start=1):
        get(cache, [("of this test", i) for i in range(n)])
        get(cache, [("of this test", 0)])
    info = cache_info()
    assert info == {name: cache.info() for name, cache in caches.items()}
    assert [row["entries"] for row in info.values()] == [1, 2, 3]
    assert [row["hits"] for row in info.values()] == [1, 1, 1]
    assert cache_info(clear=True) == info
    for name, cache in caches.items():
        assert counts(cache) == NOTHING
        assert cache_info()[name] == cache.info()
