"""NumPy's scalars as Python's."""

from typing import Any

import numpy as np


def as_python(value: Any) -> Any:
    """Convert a scalar of NumPy to Python's: 'b' instead of np.str_('b')."""
    if isinstance(value, np.floating):
        return float(value)  # item() of a longdouble returns a longdouble
    return value.item() if isinstance(value, np.generic) else value


def to_float(number: Any) -> float:
    """Convert a number to a float, infinite if it is too large."""
    try:
        return float(number)
    except OverflowError:
        return np.inf if number > 0 else -np.inf
