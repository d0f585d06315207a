"""Explanations of a fitted classifier: their cost, and how well they tell what counts.

Integrated gradients of short phrases, against captum's for the layer of word
embeddings in a loop over texts, as its tutorial for BERT has it, with as many steps;
and against shap's for a few texts, where it is installed. Beside them one epoch of
training on the same texts. Then completeness and faithfulness of each method on whole
sentences of SST-2.
"""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from _common import alternate, command_line, finish, ratios, table
from _data import sst2_phrases, sst2_sentences

from sklearn_bert import BertClassifier
from sklearn_bert.inspection import explain, faithfulness

N_STEPS = 32
N_SHAP = 5  # texts; it takes hundreds of predictions for each


def captum_loop(clf: BertClassifier) -> Callable:
    """Return a function that explains texts one by one by captum."""
    from captum.attr import LayerIntegratedGradients

    model = clf.net_.module
    layer = LayerIntegratedGradients(
        lambda ids: model(ids) @ torch.tensor([-1.0, 1.0]),
        model.encoder.get_input_embeddings(),
    )
    mask = clf.tokenizer_.special_id("mask")
    special = torch.tensor(clf.tokenizer_.special_ids())

    def run(texts: Sequence[str]) -> list[np.ndarray]:
        scores = []
        for text in texts:
            ids = torch.tensor([clf.tokenizer_.backend.encode(text).ids])
            baseline = torch.where(torch.isin(ids, special), ids, mask)
            found = layer.attribute(ids, baseline, n_steps=N_STEPS)
            scores.append(found.sum(-1)[0].numpy(force=True))
        return scores

    return run


def shap_values(clf: BertClassifier) -> Callable:
    """Return a function that explains texts by shap, for which all words are masked."""
    import shap

    masker = shap.maskers.Text(r"\W+")
    explainer = shap.Explainer(lambda X: clf.predict_proba(list(X)), masker)
    return lambda texts: explainer(list(texts), silent=True)


def cost(n_texts: int, rounds: int) -> list[dict]:
    """Time explanations of short phrases, and an epoch of training on them."""
    texts, labels = sst2_phrases(n_texts)
    # In float32, as the loop by hand.
    settings = {"random_state": 0, "max_epochs": 3, "precision": "float32"}
    clf = BertClassifier(**settings).fit(texts, labels)
    epoch = statistics.median(entry["seconds"] for entry in clf.history_)
    ours = {
        "sklearn_bert, gradient": lambda X: explain(clf, X, method="gradient"),
        "sklearn_bert, occlusion": lambda X: explain(clf, X, method="occlusion"),
        "sklearn_bert": lambda X: explain(clf, X, n_steps=N_STEPS),
    }
    peers = {}
    if importlib.util.find_spec("captum"):
        peers["captum, text by text"] = captum_loop(clf)
    seconds = alternate({**peers, **ours}, texts, rounds=rounds)
    rows = [
        {
            "contender": name,
            "texts_per_second": n_texts / statistics.median(times),
            "epochs": statistics.median(times) / epoch,
            **(ratios(times, seconds["sklearn_bert"]) if name in peers else {}),
            "seconds": times,
        }
        for name, times in seconds.items()
    ]
    tables = [table(f"Explaining short texts: {n_texts:,} texts", rows)]
    if importlib.util.find_spec("shap"):
        few = {"shap": shap_values(clf), "sklearn_bert": ours["sklearn_bert"]}
        seconds = alternate(few, texts[:N_SHAP], rounds=1)
        rows = [
            {"contender": name, "texts_per_second": N_SHAP / times[0], "seconds": times}
            for name, times in seconds.items()
        ]
        tables.append(table(f"Explaining short texts: {N_SHAP} texts", rows))
    return tables


def quality(n_train: int, n_texts: int) -> list[dict]:
    """Measure completeness and faithfulness on whole sentences."""
    clf = BertClassifier(random_state=0).fit(*sst2_phrases(n_train))
    texts, _ = sst2_sentences(n_texts, seed=1)
    rows = []
    for method in ("integrated_gradients", "gradient", "occlusion"):
        found = explain(clf, texts, method=method, n_steps=N_STEPS)
        sums = pd.DataFrame(found.attrs["completeness"])
        change = sums["value"] - sums["baseline"]
        error = (sums["sum"] - change).abs() / change.abs()
        measured = faithfulness(clf, texts, found, random_state=0)
        for measure, values in measured.iterrows():
            rows.append({"contender": f"{method}, {measure}", **values})
        rows.append(
            {
                "contender": f"{method}, sums within 5 %",
                "value": float((error <= 0.05).mean()),
                "n": float(len(error)),
            }
        )
    return [table(f"Explaining SST-2: {n_texts:,} sentences", rows)]


def main() -> None:
    """Measure, print the tables, write the results."""
    parser = command_line(__doc__, rounds=3)
    parser.add_argument("--n-short", type=int, default=100, help="phrases to time")
    parser.add_argument("--n-train", type=int, default=1000, help="phrases to learn")
    parser.add_argument("--n-texts", type=int, default=300, help="sentences to explain")
    options = parser.parse_args()
    tables = cost(options.n_short, options.rounds)
    finish("explain", options, tables + quality(options.n_train, options.n_texts))


if __name__ == "__main__":
    main()
