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
from sklearn_bert.text._corpus import (
    Corpus,
    SentencePairs,
    packed_rows,
    read_corpus,
    running_rows,
    text_rows,
)
from sklearn_bert.text._documents import (
    check_documents,
    check_single_texts,
    split_sentences,
)
from sklearn_bert.text._input import (
    Texts,
    cell_name,
    check_texts,
    holds_lists,
    is_missing,
    rows_of_column,
    shown,
    template_columns,
)
from sklearn_bert.text._long import LONG_TEXT, Windows
from sklearn_bert.text._masking import (
    MaskedTable,
    Masking,
    guess_at,
    next_tokens,
    one_by_one,
    where_masked,
)
from sklearn_bert.text._tokenizer import (
    SPECIAL,
    TextTokenizer,
    TokenTable,
    TruncationWarning,
    distinct_rows,
    encode_batch,
    flat_places,
    truncation_report,
    warn_if_cut,
)
from sklearn_bert.text._unknown import (
    UnknownWordsWarning,
    count_unknown,
    unknown_report,
    warn_if_unknown,
)
from sklearn_bert.text._wordpiece import (
    SPECIAL_TOKENS,
    build_tokenizer,
    is_stream,
    join_pieces,
    piece_ids,
    read_pieces,
    read_stream,
    train_pieces,
)
from sklearn_bert.text._words import WordTable, check_words, tokenize_words

__all__ = [
    "LONG_TEXT",
    "SPECIAL",
    "SPECIAL_TOKENS",
    "Corpus",
    "MaskedTable",
    "Masking",
    "SentencePairs",
    "ShuffledBatches",
    "TextTokenizer",
    "Texts",
    "TokenTable",
    "TruncationWarning",
    "UnknownWordsWarning",
    "Windows",
    "WordTable",
    "build_tokenizer",
    "cell_name",
    "check_documents",
    "check_single_texts",
    "check_texts",
    "check_words",
    "count_unknown",
    "distinct_rows",
    "encode_batch",
    "flat_places",
    "guess_at",
    "holds_lists",
    "is_missing",
    "is_stream",
    "join_pieces",
    "next_tokens",
    "one_by_one",
    "pack",
    "packed_rows",
    "pad",
    "piece_ids",
    "places",
    "read_corpus",
    "read_pieces",
    "read_stream",
    "rows_of_column",
    "running_rows",
    "shown",
    "split_sentences",
    "template_columns",
    "text_rows",
    "token_budget_batches",
    "tokenize_words",
    "train_pieces",
    "truncation_report",
    "unknown_report",
    "warn_if_cut",
    "warn_if_unknown",
    "where_masked",
]
