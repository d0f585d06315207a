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
    template_columns,
)
from sklearn_bert.text._tokens import (
    TextTokenizer,
    TokenTable,
    TruncationWarning,
    distinct_rows,
    flat_places,
    truncation_report,
    warn_if_cut,
)

__all__ = [
    "ShuffledBatches",
    "TextTokenizer",
    "Texts",
    "TokenTable",
    "TruncationWarning",
    "check_texts",
    "distinct_rows",
    "flat_places",
    "is_missing",
    "pack",
    "pad",
    "places",
    "template_columns",
    "token_budget_batches",
    "truncation_report",
    "warn_if_cut",
]
