"""Reports on texts that were cut and on unknown words, with one warning per call."""

from __future__ import annotations

import numpy as np

from sklearn_bert.text._reports import (
    count_unknown,
    truncation_report,
    unknown_report,
    warn_if_cut,
    warn_if_unknown,
)
from sklearn_bert.text._table import TokenTable
from sklearn_bert.text._tokenizer import TextTokenizer

Reports = dict[str, dict[str, int]]


def text_reports(
    tokenizer: TextTokenizer, table: TokenTable, row_of: np.ndarray | None = None
) -> Reports:
    """Count the texts of a table that were cut, and the tokens that are unknown.

    Parameters
    ----------
    tokenizer : TextTokenizer
    table : TokenTable
        Sentences of words, and texts that are packed, are not cut: there is no
        `truncation_report_` of those.
    row_of : ndarray of shape (n_texts,), or None
        The row of the table that holds each text; None: each row is a text.

    Returns
    -------
    dict
        `unknown_report_`, and `truncation_report_`.
    """
    counts = count_unknown(tokenizer, table)
    lengths, is_cut = table.whole_lengths, table.is_cut
    # Equal texts share a row, but the caller counts each of them.
    if row_of is not None:
        counts, lengths = counts[row_of], lengths[row_of]
        is_cut = None if is_cut is None else is_cut[row_of]
    reports = {"unknown_report_": unknown_report(counts)}
    # No report instead of one with zeros, which would say that no text was cut.
    if is_cut is not None:
        report = truncation_report(lengths, tokenizer.max_length, is_cut)
        reports["truncation_report_"] = report
    return reports


def warn_of(reports: Reports) -> None:
    """Warn once of texts that were cut, and once of unknown words, where there are."""
    if "truncation_report_" in reports:
        warn_if_cut(reports["truncation_report_"])
    warn_if_unknown(reports["unknown_report_"])
