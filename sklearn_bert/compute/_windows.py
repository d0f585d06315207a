"""From the values of a text's windows to those of the text.

Each function takes the values of the windows, (n_windows, width); for each of them the
number of its text, (n_windows,); the share of its text that is new in it, (n_windows,);
and the number of texts. It returns (n_texts, width).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MergeWindows = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def mean_of_windows(
    values: Tensor, text_of_row: Tensor, shares: Tensor, n_texts: int
) -> Tensor:
    """Average the windows of each text, by their shares of it."""
    return sum_by_text(values * shares[:, None], text_of_row, n_texts)


def maximum_of_windows(
    values: Tensor, text_of_row: Tensor, shares: Tensor, n_texts: int
) -> Tensor:
    """Take the maximum over the windows of each text, whatever their shares."""
    return maximum_by_text(values, text_of_row, n_texts)


def sum_by_text(values: Tensor, text_of_row: Tensor, n_texts: int) -> Tensor:
    """Add up the rows of each text: (n_rows, width) -> (n_texts, width)."""
    sums = values.new_zeros(n_texts, values.shape[1])
    return sums.index_add(0, text_of_row, values)


def log_sum_by_text(logs: Tensor, text_of_row: Tensor, n_texts: int) -> Tensor:
    """Add up what the rows of each text are logarithms of; the logarithm of the sum."""
    # The largest of a text is taken out first: the others cannot overflow beside it.
    top = maximum_by_text(logs.detach(), text_of_row, n_texts)
    shares = (logs - top[text_of_row]).exp()
    return top + sum_by_text(shares, text_of_row, n_texts).log()


def maximum_by_text(values: Tensor, text_of_row: Tensor, n_texts: int) -> Tensor:
    """Take the maximum of each text's rows: (n_rows, width) -> (n_texts, width)."""
    lowest = values.new_full((n_texts, values.shape[1]), -torch.inf)
    texts = text_of_row[:, None].expand_as(values)
    return lowest.scatter_reduce(0, texts, values, "amax")
