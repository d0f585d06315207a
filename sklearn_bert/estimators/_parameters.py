"""Check parameters: also those that scikit-learn's own check lets through."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from sklearn_bert._process._sklearn import InvalidParameterError
from sklearn_bert.text._columns import excerpt, to_float

LONGEST_MESSAGE = 1_000


class CheckedParameters:
    """Refuses numbers that no library could take, and says what is wrong in short."""

    def _validate_params(self) -> None:
        """Raise ValueError where a parameter is none of its values."""
        owner: Any = self
        for name, value in owner.get_params(deep=False).items():
            if not isinstance(value, Real):
                continue
            wanted = ""
            # A fraction is a number, too, that scikit-learn cannot compare.
            if not isinstance(value, (int, float, np.number, np.bool_)):
                wanted = "an int or a float, of Python or NumPy"
            # Interval compares Python's integers exactly: 10**400 is below infinity.
            elif np.isinf(to_float(value)):
                wanted = "a number that fits into a float"
            if wanted:
                raise InvalidParameterError(
                    f"The {name!r} parameter of {type(self).__name__} must be {wanted}."
                    f" Got {excerpt(value)} instead."
                )
        try:
            super()._validate_params()  # type: ignore[misc]
        except InvalidParameterError as error:
            message = str(error)
            if len(message) <= LONGEST_MESSAGE:
                raise
            # The value stands at its end.
            message = f"{message[:LONGEST_MESSAGE]}...{message[-20:]}"
            raise InvalidParameterError(message) from None
