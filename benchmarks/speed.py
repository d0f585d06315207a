"""Fitting against `transformers.Trainer`, embedding against sentence-transformers.

Each round runs the peer and ours, in alternating order, on the same texts; the figure
is the median ratio of texts per second over the rounds. Both sides start from texts
and a folder of weights.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from _common import CHECKPOINT, WHERE_DATA, need_data, sst2_phrases, write
from _peers import trainer
from sentence_transformers import SentenceTransformer

from sklearn_bert import BertClassifier, BertEmbedder
from sklearn_bert.model._checkpoint import _find


def seconds(run) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(name: str, n_texts: int, peer, ours, rounds: int) -> dict:
    """Alternate peer and ours; report both speeds and the median ratio."""
    times: dict[str, list[float]] = {"peer": [], "ours": []}
    peer()
    ours()  # warm up: files, kernels, caches of the operating system
    for number in range(rounds):
        order = [("peer", peer), ("ours", ours)]
        for who, run in order if number % 2 == 0 else reversed(order):
            times[who].append(seconds(run))
    ratios = [p / o for p, o in zip(times["peer"], times["ours"], strict=True)]
    row = {
        "name": name,
        "n_texts": n_texts,
        "rounds": rounds,
        "peer_texts_per_second": n_texts / statistics.median(times["peer"]),
        "ours_texts_per_second": n_texts / statistics.median(times["ours"]),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }
    print(
        f"{name:28} peer {row['peer_texts_per_second']:8.0f}/s   "
        f"ours {row['ours_texts_per_second']:8.0f}/s   ratio {row['ratio']:.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )
    return row


def main() -> None:
    """Run both comparisons, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=WHERE_DATA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--n-fit", type=int, default=1200)
    parser.add_argument("--n-embed", type=int, default=3000)
    options = parser.parse_args()
    need_data("sst2")
    folder = str(_find(CHECKPOINT, None))
    rows = []

    texts, labels = sst2_phrases(options.n_fit)
    rows.append(
        compare(
            "fit: Trainer, its defaults",
            len(texts),
            lambda: trainer(folder, texts, labels, epochs=1),
            lambda: BertClassifier(max_epochs=1, random_state=0).fit(texts, labels),
            options.rounds,
        )
    )

    texts, _ = sst2_phrases(options.n_embed)
    encoder = SentenceTransformer(folder)
    embedder = BertEmbedder().fit(texts[:1])
    rows.append(
        compare(
            "embed: encode, its defaults",
            len(texts),
            lambda: encoder.encode(texts),
            lambda: embedder.transform(texts),
            options.rounds,
        )
    )
    exact = BertEmbedder(precision="float32").fit(texts[:1])
    rows.append(
        compare(
            "embed in float32: encode",
            len(texts),
            lambda: encoder.encode(texts),
            lambda: exact.transform(texts),
            options.rounds,
        )
    )
    difference = np.abs(exact.transform(texts) - encoder.encode(texts)).max()
    print(f"float32 vectors differ from encode's by {difference:.1e} at most")
    write("speed", {"rows": rows, "float32_difference": float(difference)})


if __name__ == "__main__":
    main()
