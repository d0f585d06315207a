"""Texts -> one row for each, by whatever computes them; what was cut is reported."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sklearn_bert.text._input import Texts
from sklearn_bert.text._reports import (
    count_unknown,
    has_unknown,
    truncation_report,
    unknown_report,
    warn_if_cut,
    warn_if_unknown,
)
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer

# How many texts are tokenised while those before them are computed.
TEXTS_PER_PART = 16384


def rows_of_texts(
    tokenizer: TextTokenizer,
    texts: Texts,
    compute: Callable[[TokenTable, bool], np.ndarray],
) -> np.ndarray:
    """Compute a row per text, float32; warn of texts that are cut, or unknown.

    Parameters
    ----------
    tokenizer : TextTokenizer
    texts : Texts
    compute : callable
        From a table, and whether to keep for later what is computed, to its rows.

    Returns
    -------
    ndarray of shape (n_texts, n_outputs), float32
    """
    # Equal texts are computed once, and their row is given back for each.
    texts, row_of = texts.distinct()
    output: np.ndarray | None = None
    whole_lengths, is_cut, unknown, begin = [], [], [], 0
    # A call of several parts is a stream: what it computes is not kept for later.
    remember = len(texts) <= TEXTS_PER_PART
    for table in tokenizer.in_parts(texts, TEXTS_PER_PART, remember=remember):
        part = compute(table, remember)
        # The first part tells how wide a row is.
        if output is None:
            output = np.empty((len(texts), part.shape[1]), dtype=np.float32)
        output[begin : begin + len(part)] = part
        begin += len(part)
        whole_lengths.append(table.whole_lengths)
        assert table.is_cut is not None
        is_cut.append(table.is_cut)
        # Of one part, as a service reads them, nothing is counted that is not there.
        if not remember or has_unknown(tokenizer, table):
            unknown.append(count_unknown(tokenizer, table))
    assert output is not None  # there is at least one text
    cut = np.concatenate(is_cut)[row_of]
    if cut.any():
        lengths = np.concatenate(whole_lengths)[row_of]
        warn_if_cut(truncation_report(lengths, tokenizer.max_length, cut))
    if unknown:
        warn_if_unknown(unknown_report(np.concatenate(unknown)[row_of]))
    # Where no text occurs twice the rows are in order: no need to copy them.
    return output if len(output) == len(row_of) else output[row_of]
