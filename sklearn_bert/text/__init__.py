"""Ground floor: what the caller hands in becomes token ids.

Knows NumPy, data frames and tokenizers; knows no model and no estimator.
"""

from sklearn_bert.text._batches import (
    ShuffledBatches,
    pack,
    pad,
    places,
    token_budget_batches,
)
from sklearn_bert.text._input import (
    Texts,
    check_texts,
    is_missing,
    rows_of_column,
    shown,
    template_columns,
)
from sklearn_bert.text._long import LONG_TEXT, Windows
from sklearn_bert.text._tokens import (
    TextTokenizer,
    TokenTable,
    TruncationWarning,
    distinct_rows,
    flat_places,
    truncation_report,
    warn_if_cut,
)
from sklearn_bert.text._words import WordTable, check_words, tokenize_words

__all__ = [
    "LONG_TEXT",
    "ShuffledBatches",
    "TextTokenizer",
    "Texts",
    "TokenTable",
    "TruncationWarning",
    "Windows",
    "WordTable",
    "check_texts",
    "check_words",
    "distinct_rows",
    "flat_places",
    "is_missing",
    "pack",
    "pad",
    "places",
    "rows_of_column",
    "shown",
    "template_columns",
    "token_budget_batches",
    "tokenize_words",
    "truncation_report",
    "warn_if_cut",
]
