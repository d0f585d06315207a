"""NumPy's scalars as Python's."""

from typing import Any

import numpy as np


def as_python(value: Any) -> Any:
    """A scalar of NumPy as Python's: 'b' instead of np.str_('b')."""
    if isinstance(value, np.floating):
        return float(value)  # item() of a longdouble is none of Python's
    return value.item() if isinstance(value, np.generic) else value


def to_float(number: Any) -> float:
    """A number as Python's, infinite where it is too large for that."""
    try:
        return float(number)
    except OverflowError:
        return np.inf if number > 0 else -np.inf
