"""Whether the fast path learns what the plain one does: accuracy over several seeds.

The plain path is a loop as one would write it: transformers' own attention and
dropout, batches of a plain shuffle padded to their longest text, all words in the
table, float32. Model, step sizes and number of epochs are the same.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from _common import CHECKPOINT, PLAIN, write
from _data import WHERE_DATA, need_data
from accuracy import sst2s, trec
from torch import nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from sklearn_bert import BertClassifier
from sklearn_bert.model._find import find_checkpoint

EPOCHS, BATCH, RATE, DECAY, WARMUP = 3, 32, 5e-5, 0.01, 0.1


class PlainClassifier(nn.Module):
    """Encoder, mean, layer norm, dropout, linear head."""

    def __init__(self, folder: str, n_classes: int) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(folder, dtype=torch.float32)
        self.head = nn.Linear(self.encoder.config.hidden_size, n_classes)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: dict) -> torch.Tensor:
        """Scores of each text."""
        states = self.encoder(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        vectors = (states * mask).sum(1) / mask.sum(1)
        vectors = functional.layer_norm(vectors, vectors.shape[1:])
        return self.head(functional.dropout(vectors, 0.1, self.training))


def plain(train, test, seed: int) -> float:
    """Accuracy of the loop written by hand."""
    torch.manual_seed(seed)
    texts, labels = train
    classes, codes = np.unique(labels, return_inverse=True)
    folder = str(find_checkpoint(CHECKPOINT, None))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = PlainClassifier(folder, len(classes)).train()
    groups = [
        {
            "params": [parameter],
            "weight_decay": DECAY * (parameter.ndim > 1),
            "peak": RATE * (10 if name.startswith("head") else 1),
        }
        for name, parameter in model.named_parameters()
        if "pooler" not in name
    ]
    optimizer = torch.optim.AdamW(groups)
    parameters = [group["params"][0] for group in groups]
    rng = np.random.default_rng(seed)
    n_updates = EPOCHS * -(-len(texts) // BATCH)
    n_warmup, update = int(WARMUP * n_updates), 0

    def encode(rows):
        chosen = [texts[row] for row in rows]
        return tokenizer(
            chosen, padding=True, truncation=True, max_length=256, return_tensors="pt"
        )

    for _ in range(EPOCHS):
        order = rng.permutation(len(texts))
        for begin in range(0, len(order), BATCH):
            rows = order[begin : begin + BATCH]
            loss = functional.cross_entropy(
                model(encode(rows)), torch.from_numpy(codes[rows])
            )
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            rising = (update + 1) / (n_warmup + 1)
            falling = (n_updates - update) / (n_updates - n_warmup)
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * min(rising, falling, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            update += 1
    texts, expected = test
    model.eval()
    with torch.inference_mode():
        found = [
            model(encode(range(begin, min(begin + 64, len(texts))))).argmax(1)
            for begin in range(0, len(texts), 64)
        ]
    return float((classes[torch.cat(found).numpy()] == expected).mean())


def fast(train, test, seed: int) -> float:
    """Accuracy of the estimator, without what the hand-written loop has not."""
    clf = BertClassifier(CHECKPOINT, max_epochs=EPOCHS, random_state=seed, **PLAIN)
    return float(clf.fit(*train).score(*test))


def main() -> None:
    """Fit both paths with every seed, print means and their difference."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=WHERE_DATA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--n-train", type=int, default=640)
    options = parser.parse_args()
    need_data("sst2_sentence", "trec")
    rows = []
    for name, read in (("sst2s", sst2s), ("trec", trec)):
        (texts, labels), test = read()
        chosen = np.random.default_rng(0).permutation(len(texts))[: options.n_train]
        train = [texts[row] for row in chosen], labels[chosen]
        scores = {
            path.__name__: [path(train, test, seed) for seed in range(options.seeds)]
            for path in (plain, fast)
        }
        means = {path: float(np.mean(values)) for path, values in scores.items()}
        # The standard error of a difference of two means.
        noise = float(np.sqrt(sum(np.var(v, ddof=1) / len(v) for v in scores.values())))
        difference = means["fast"] - means["plain"]
        rows.append({"task": name, "scores": scores, **means})
        rows[-1] |= {"difference": difference, "standard_error": noise}
        print(
            f"{name:6} plain {means['plain']:.4f}   fast {means['fast']:.4f}   "
            f"difference {difference:+.4f} (standard error {noise:.4f})",
            flush=True,
        )
    write("parity", {"n_train": options.n_train, "seeds": options.seeds, "rows": rows})


if __name__ == "__main__":
    main()
