"""matplotlib, and colours that colour-blind people tell apart."""

from __future__ import annotations

from typing import Any

# Okabe and Ito's: for a target, and against it.
FOR, AGAINST = "#e69f00", "#56b4e9"
STRONGEST = 0.75  # the opacity of the highest score; text stays readable on it


def pyplot(user: object) -> Any:
    """Return matplotlib.pyplot, or raise an ImportError that names the extra."""
    try:
        from matplotlib import pyplot as found
    except ImportError as error:
        raise ImportError(
            f"{type(user).__name__}.plot needs matplotlib; install it with "
            "pip install 'sklearn-bert[plot]'."
        ) from error
    return found


def opacity(score: float, largest: float) -> float:
    """Return how strong the colour of a score is, beside the largest of its text."""
    return STRONGEST * abs(score) / largest if largest > 0 else 0.0
