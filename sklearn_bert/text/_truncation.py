"""Count the texts that were cut, and warn of them once."""

from __future__ import annotations

import numpy as np

from sklearn_bert._process._warn import warn


class TruncationWarning(UserWarning):
    """Some texts are longer than the model reads, and were cut."""

    __module__ = "sklearn_bert"


def truncation_report(
    whole_lengths: np.ndarray, max_length: int, is_cut: np.ndarray | None = None
) -> dict[str, int]:
    """Count the texts that were cut: `is_cut`, or longer than `max_length` tokens."""
    if is_cut is None:
        is_cut = whole_lengths > max_length
    return {
        "n_texts": len(whole_lengths),
        "n_truncated": int(is_cut.sum()),
        "max_length": max_length,
        "longest": int(whole_lengths.max()),
    }


def warn_if_cut(report: dict[str, int]) -> None:
    """Emit one `TruncationWarning` if any text was cut."""
    if report["n_truncated"] == 0:
        return
    warn(
        f"{report['n_truncated']} of {report['n_texts']} texts are longer than "
        f"{report['max_length']} tokens and were cut; the longest has "
        f"{report['longest']}. Raise max_length if the checkpoint allows it, or "
        "read them whole with long_text='window'.",
        TruncationWarning,
    )
