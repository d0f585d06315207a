"""Seeds of one call: an independent one for each use, by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_random_state

# A new use goes to the end: its place is its key, which must not move.
USES = ("split", "init", "shuffle", "masks", "nested", "views", "probe", "calibrate")


def draw_seed(random_state: Any) -> int:
    """Draw one seed for everything random in a call.

    With `random_state=None` it comes from the operating system, because drawing from
    NumPy's global generator would change the caller's next numbers.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))


class Seeds:
    """Gives each use in a call a seed of its own.

    They are children of one `numpy.random.SeedSequence`, so that switching one use on
    (a validation split, say) leaves the numbers of the others as they are.

    Parameters
    ----------
    random_state : int, RandomState or None
    """

    def __init__(self, random_state: Any) -> None:
        self._entropy = draw_seed(random_state)

    def __call__(self, use: str) -> int:
        """Return the seed of a use, below 2**32; the same one in every call."""
        key = (USES.index(use),)
        child = np.random.SeedSequence(self._entropy, spawn_key=key)
        return int(child.generate_state(1)[0])
