"""Tokenising texts that were seen before.

As in the second fold of a cross-validation: the same texts, a second time.
"""

from __future__ import annotations

import statistics

from _common import (
    CHECKPOINT,
    add_size,
    command_line,
    finish,
    ratios,
    table,
    timed,
)
from _data import sst2_phrases

from sklearn_bert import cache_info
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.text._input import check_texts


def main() -> None:
    """Time both calls, print the table, write the results."""
    parser = command_line(__doc__)
    add_size(parser, "--n-texts", cpu=10000, gpu=50000, of="phrases")
    options = parser.parse_args()
    texts, _ = sst2_phrases(options.n_texts)
    tokenizer = load_checkpoint(CHECKPOINT).text_tokenizer(None)
    checked = check_texts(texts)

    first, second = [], []
    for _ in range(options.rounds):
        cache_info(clear=True)
        first.append(timed(tokenizer, checked))
        second.append(timed(tokenizer, checked))
    rows = [
        {
            "contender": "first call",
            "microseconds_per_text": per_text(first, len(texts)),
            **ratios(first, second),
        },
        {
            "contender": "second call",
            "microseconds_per_text": per_text(second, len(texts)),
        },
    ]
    title = f"Tokenising {len(texts):,} texts a first and a second time"
    finish("token_cache", options, [table(title, rows)])


def per_text(seconds: list[float], n_texts: int) -> float:
    """Microseconds per text in the median round."""
    return 1e6 * statistics.median(seconds) / n_texts


if __name__ == "__main__":
    main()
