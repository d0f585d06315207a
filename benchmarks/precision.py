"""Float32, bfloat16 and TF32: their time, and what they change in the predictions.

A classifier is fitted in each precision, for its time. The one fitted in float32 then
predicts in each precision, so that all differences come from the prediction.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator

import numpy as np
from _common import (
    DEVICE,
    ON_GPU,
    WARM_UP,
    add_model,
    add_size,
    checkpoint,
    command_line,
    finish,
    table,
    timed,
)
from _data import need_data
from accuracy import cola, sst2s, trec

from sklearn_bert import BertClassifier, cache_info
from sklearn_bert.training._net import BertNet

TASKS = {"SST-2, sentences": sst2s, "TREC": trec, "CoLA": cola}
PRECISIONS = ["float32", "bfloat16", *(["tf32"] if ON_GPU else [])]


def main() -> None:
    """Compare the precisions, print the table, write the results."""
    parser = command_line(__doc__)
    add_model(parser)
    add_size(parser, "--n-fit", cpu=256, gpu=4096, of="texts to fit on")
    add_size(parser, "--n-predict", cpu=300, gpu=500, of="texts to predict")
    options = parser.parse_args()
    need_data("sst2_sentence", "trec", "cola")
    with checkpoint(options.model) as folder:
        rows = [row for name in TASKS for row in compared(folder, name, options)]
    finish("precision", options, [table(f"Precisions on {DEVICE.type}", rows)])


def compared(folder: str, task: str, options) -> Iterator[dict]:
    """One row for each precision, on one data set."""
    train, (texts, _) = (shuffled(*part) for part in TASKS[task]())
    train = [column[: options.n_fit] for column in train]
    texts = texts[: options.n_predict]

    fitted, fit_seconds = {}, {}
    for precision in PRECISIONS:
        clf = BertClassifier(folder, precision=precision, max_epochs=1, random_state=0)
        clf.fit(*(column[:WARM_UP] for column in train))
        cache_info(clear=True)
        fit_seconds[precision] = timed(clf.fit, *train)
        fitted[precision] = clf
    exact = fitted["float32"]
    expected = exact.predict_proba(texts)
    for precision in PRECISIONS:
        clf = predicting_in(precision, exact)
        seconds = predict_seconds(clf, texts, options.rounds)
        yield {
            "data": task,
            "precision": precision,
            "fit_texts_per_second": len(train[0]) / fit_seconds[precision],
            "predict_texts_per_second": len(texts) / seconds,
            **differences(clf.predict_proba(texts), expected),
        }


def shuffled(texts: list[str], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The texts in another order, the same in every run."""
    order = np.random.default_rng(0).permutation(len(texts))
    return np.array(texts, dtype=object)[order], np.asarray(labels)[order]


def predicting_in(precision: str, clf: BertClassifier) -> BertClassifier:
    """The same weights, computed with in another precision."""
    other = copy.copy(clf)
    settings = {**clf.net_.settings(), "precision": precision}
    other.net_ = BertNet(clf.net_.module, **settings)
    return other


def predict_seconds(clf: BertClassifier, texts: np.ndarray, rounds: int) -> float:
    """The median time of `predict_proba`, without what it remembers."""
    clf.predict_proba(texts[:32])
    seconds = []
    for _ in range(rounds):
        cache_info(clear=True)
        seconds.append(timed(clf.predict_proba, texts))
    return statistics.median(seconds)


def differences(proba: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """How far probabilities are from those of float32, and how often labels agree."""
    gap = np.abs(proba - expected)
    same = proba.argmax(axis=1) == expected.argmax(axis=1)
    return {
        "largest_difference": float(gap.max()),
        "mean_difference": float(gap.mean()),
        "same_label": float(same.mean()),
    }


if __name__ == "__main__":
    main()
