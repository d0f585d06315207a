"""Vectors that learn: what each objective does to the similarity of sentences.

The Spearman correlation, in the test part of the STS Benchmark, of the cosine of two
vectors with what people said, before and after `BertEmbedder.fit`: without labels, from
sentences of the training parts of SST-2 and STS-B ("simcse", "mlm"); from the scored
pairs of STS-B ("pairs"); and from those of them that people scored 4 and more, as pairs
without scores. The checkpoint, all-MiniLM-L6-v2, has learnt from a billion pairs.
"""

from __future__ import annotations

import time

import numpy as np
from _common import CHECKPOINT, command_line, finish, table
from _data import sst2_sentences, stsb
from scipy.stats import spearmanr

from sklearn_bert import BertEmbedder, cache_info


def spearman(embedder: BertEmbedder, split: str) -> float:
    """Of cosines and scores, of a part of STS-B."""
    pairs, scores = stsb(split)
    first, second = (embedder.transform(pairs.iloc[:, side]) for side in (0, 1))
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(spearmanr((first * second).sum(1) / norms, scores).statistic)


def main() -> None:
    """Run the objectives, print the table, write the JSON."""
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=5000)
    options = parser.parse_args()

    pairs, scores = stsb("train")
    sentences = sst2_sentences(options.sentences // 2)[0]
    sentences += pairs.iloc[:, 0].drop_duplicates()[: options.sentences // 2].tolist()
    close = np.asarray(scores) >= 4
    ways = {
        "as it is": (None, sentences, None, {}),
        "whitened": (None, sentences, None, {"whiten": True}),
        "simcse": ("simcse", sentences, None, {"max_epochs": 1}),
        "mlm": ("mlm", sentences, None, {"max_epochs": 1}),
        "pairs, without scores": ("pairs", pairs[close], None, {"max_epochs": 1}),
        "pairs, with scores": ("pairs", pairs, scores, {"max_epochs": 1}),
    }
    rows = []
    for name, (objective, X, y, settings) in ways.items():
        found: dict[str, list[float]] = {"dev": [], "test": []}
        start = time.perf_counter()
        n_seeds = options.seeds if objective else 1
        for seed in range(n_seeds):
            embedder = BertEmbedder(
                CHECKPOINT, objective=objective, random_state=seed, **settings
            ).fit(X, y)
            for split, values in found.items():
                values.append(spearman(embedder, split))
            cache_info(clear=True)
        rows.append(
            {
                "way": name,
                "dev": float(np.mean(found["dev"])),
                "test": float(np.mean(found["test"])),
                "n": len(X),
                "seconds": (time.perf_counter() - start) / n_seeds,
                "by_seed": found,
            }
        )
        print(rows[-1], flush=True)
    finish("embed_learning", options, [table("Spearman on STS-B", rows)])


if __name__ == "__main__":
    main()
