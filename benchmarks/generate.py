"""Text that BERT writes: what training on a corpus does to its perplexity.

`BertGenerator` on the written texts of MASC, a tenth of the documents held out: from
nothing (4 layers, width 256, a vocabulary of 8,000 pieces), and from all-MiniLM-L6-v2,
which has never read from left to right. The perplexity is per token of the model's own
vocabulary, so that only rows of the same start compare.
"""

from __future__ import annotations

import math
import time

from _common import CHECKPOINT, command_line, finish, table
from _data import masc

from sklearn_bert import BertGenerator, WordPieceVocabulary

PROMPTS = ["The president said", "I think that", "In the morning", "We have"]
STARTS = {"from nothing": 5e-4, "all-MiniLM-L6-v2": 2e-4}


def generator(start: str, vocabulary: WordPieceVocabulary, epochs: int):
    """An estimator with this start."""
    where = {"checkpoint": CHECKPOINT}
    if start == "from nothing":
        where = {"checkpoint": None, "vocabulary": vocabulary}
    return BertGenerator(
        **where,
        max_length=128,
        max_epochs=epochs,
        learning_rate=STARTS[start],
        random_state=0,
    )


def main() -> None:
    """Train, print the tables, write the JSON."""
    parser = command_line(__doc__)
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--sentences", type=int, default=12000)
    options = parser.parse_args()

    documents = masc()
    test = [s for d in documents[::10] for s in d][:1000]
    train = [s for i, d in enumerate(documents) if i % 10 for s in d]
    train = train[: options.sentences]
    vocabulary = WordPieceVocabulary(vocab_size=8000).fit(train)
    rows = []
    for start in STARTS:
        for epochs in options.epochs:
            begin = time.perf_counter()
            model = generator(start, vocabulary, epochs).fit(train)
            seconds = time.perf_counter() - begin
            begin = time.perf_counter()
            settings = {"temperature": 0.8, "top_p": 0.9, "random_state": 0}
            written = model.generate(PROMPTS, 40, **settings)
            rows.append(
                {
                    "start": start,
                    "epochs": epochs,
                    "perplexity_train": math.exp(-model.score(train[:1000])),
                    "perplexity_held_out": math.exp(-model.score(test)),
                    "seconds": seconds,
                    "seconds_for_160_tokens": time.perf_counter() - begin,
                    "written": written,
                }
            )
            print(rows[-1], flush=True)
    finish("generate", options, [table("Perplexity on MASC", rows)])


if __name__ == "__main__":
    main()
