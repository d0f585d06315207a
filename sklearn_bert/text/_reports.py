"""What of the texts is cut, or unknown: counted, and warned of once."""

from __future__ import annotations

import numpy as np

from sklearn_bert._process._warn import warn
from sklearn_bert.text._table import TokenTable, blocks_of
from sklearn_bert.text._tokenizer import TextTokenizer
from sklearn_bert.text._words import WordTable

# Measured with the default checkpoint: of English and German posts up to 0.4 % are
# unknown, of Chinese 60 to 75 %, of Hindi 40 %.
SHARE_TO_WARN = 0.1

MAXIMA = ("max_length", "longest")  # what is no count in a report

Reports = dict[str, dict[str, int]]


class TruncationWarning(UserWarning):
    """Some texts are longer than the model reads, and were cut."""

    __module__ = "sklearn_bert"


class UnknownWordsWarning(UserWarning):
    """The checkpoint does not know many of the words, or any word of some texts."""

    __module__ = "sklearn_bert"


def count_unknown(tokenizer: TextTokenizer, table: TokenTable) -> np.ndarray:
    """Count the unknown tokens, and all tokens, that are read of each text.

    Special tokens are not counted, nor is a space that is a token of its own.

    Returns
    -------
    int64 ndarray of shape (n_texts, 2)
        For a `WordTable` of whole sentences: one row per sentence.
    """
    counts = np.concatenate(
        [_count_block(tokenizer, table.copied(rows)) for rows in blocks_of(table)]
    )
    if isinstance(table, WordTable) and len(table.row_counts):
        of_rows, counts = counts, np.zeros((len(table.row_counts), 2), dtype=np.int64)
        np.add.at(counts, table.sentence_of_row(), of_rows)
    return counts


def _count_block(tokenizer: TextTokenizer, table: TokenTable) -> np.ndarray:
    """Count the unknown tokens, and all, of rows that follow each other."""
    unknown = tokenizer.unknown_token_id
    other = [i for i in tokenizer.named_ids.values() if i != unknown]
    space = tokenizer.backend.token_to_id("\u2581")
    is_word = ~np.isin(table.ids, other if space is None else [*other, space])
    is_unknown = is_word & (table.ids == (-1 if unknown is None else unknown))
    sums = np.zeros((len(table.ids) + 1, 2), dtype=np.int64)
    np.cumsum(np.stack([is_unknown, is_word], axis=1), axis=0, out=sums[1:])
    return sums[table.starts + table.lengths] - sums[table.starts]


def has_unknown(tokenizer: TextTokenizer, table: TokenTable) -> bool:
    """Return whether any token of a table is unknown, much faster than by counting."""
    unknown = tokenizer.unknown_token_id
    return unknown is not None and bool((table.ids == unknown).any())


def unknown_report(counts: np.ndarray) -> dict[str, int]:
    """Sum the counts of `count_unknown`."""
    unknown, tokens = counts.T
    return {
        "n_texts": len(counts),
        "n_unknown_texts": int(((unknown == tokens) & (tokens > 0)).sum()),
        "n_tokens": int(tokens.sum()),
        "n_unknown": int(unknown.sum()),
    }


def warn_if_unknown(report: dict[str, int]) -> None:
    """Emit one `UnknownWordsWarning` if a text is all unknown, or many words are."""
    n_tokens, n_unknown = report["n_tokens"], report["n_unknown"]
    if not report["n_unknown_texts"] and n_unknown <= SHARE_TO_WARN * n_tokens:
        return
    warn(
        f"{report['n_unknown_texts']} of {report['n_texts']} texts have no word that "
        f"the checkpoint knows, and {n_unknown} of {n_tokens} tokens "
        f"({n_unknown / n_tokens:.1%}) stand for unknown words, which are all read "
        "alike. Emoji, other scripts and words of more than 100 letters are often "
        "unknown; use a checkpoint that was trained on such texts.",
        UnknownWordsWarning,
    )


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


def sum_reports(parts: list[Reports]) -> Reports:
    """Return the reports of all texts, from those of their parts."""
    return {
        name: {
            key: (max if key in MAXIMA else sum)(part[name][key] for part in parts)
            for key in report
        }
        for name, report in parts[0].items()
    }


def warn_of(reports: Reports) -> None:
    """Warn once of texts that were cut, and once of unknown words, where there are."""
    if "truncation_report_" in reports:
        warn_if_cut(reports["truncation_report_"])
    warn_if_unknown(reports["unknown_report_"])
