"""A BERT from nothing learns what a hand-written loop learns.

A WordPiece vocabulary and a BERT of 4 layers and width 256 are trained on the written
texts of MASC (592,514 words), of which every tenth document is held out: on masked
words and next sentences. The loop is `transformers.BertForPreTraining` in float32 with
AdamW, by hand. It starts with the same weights and is given the very batches, masks and
pairs; only the dropout is drawn otherwise, and ours works in the machine's quickest
format.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from functools import partial

import numpy as np
import torch
import transformers
from _common import command_line, finish, table
from _data import masc
from skorch.callbacks import Callback
from torch.nn.functional import log_softmax
from transformers import BertForPreTraining

from sklearn_bert import BertPretrainer, WordPieceVocabulary
from sklearn_bert.compute._inference import Feed
from sklearn_bert.estimators._pretrainer import _masked_rows
from sklearn_bert.text._table import TokenTable
from sklearn_bert.training._optimizer import parameter_groups, warmup_then_decay

SHAPE = {"hidden_size": 256, "n_layers": 4, "n_heads": 4}
IGNORED = -100  # transformers' label of what is not to be guessed


def add_training(
    parser: argparse.ArgumentParser,
    *,
    max_length: int,
    learning_rate: float,
    epochs: int,
) -> None:
    """Offer what decides how long a training takes."""
    parser.add_argument("--vocab-size", type=int, default=8000)
    parser.add_argument("--max-length", type=int, default=max_length)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=learning_rate)
    parser.add_argument("--epochs", type=int, default=epochs)


def pretrainer(vocabulary: WordPieceVocabulary, options: argparse.Namespace, **changes):
    """An estimator of the shape that is compared."""
    settings = {
        "checkpoint": None,
        "vocabulary": vocabulary,
        "max_length": options.max_length,
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "max_epochs": options.epochs,
        "random_state": 0,
        **SHAPE,
    }
    return BertPretrainer(**(settings | changes))


class Recorder(Callback):
    """Keeps the weights that a training starts with, and all of its batches."""

    def __init__(self, kept: dict) -> None:
        self.kept = kept

    def __deepcopy__(self, memo: dict) -> Recorder:
        """Stay the one: an estimator copies its callbacks."""
        return self

    def on_train_begin(self, net, **kwargs) -> None:
        """Keep the first weights."""
        state = net.module_.full_state()
        # In bfloat16 the masters are what was there.
        masters = dict(net.masters_.trained)
        for name, value in masters.items():
            name = name.replace("language_head.", "").replace("encoder.", "bert.", 1)
            state[name] = value.detach()
        self.kept["state"] = {n: v.clone().float().cpu() for n, v in state.items()}
        self.kept["config"] = copy.deepcopy(net.module_.encoder.config)
        self.kept["batches"] = []

    def on_batch_begin(self, net, batch=None, **kwargs) -> None:
        """Keep a batch as transformers takes it."""
        examples = net.examples_
        feed = Feed(torch.device("cpu"), net.pad_id)
        self.kept["batches"].append(
            as_transformers_takes_it(feed(examples.table, batch))
        )


def as_transformers_takes_it(inputs: dict) -> dict:
    """Places and words become labels; what follows, the label of the second head."""
    places, words = inputs.pop("word_positions"), inputs.pop("labels")
    labels = torch.full_like(inputs["input_ids"], IGNORED).flatten()
    labels[places] = words
    inputs["labels"] = labels.view_as(inputs["input_ids"])
    if "next_sentence_labels" in inputs:
        inputs["next_sentence_label"] = 1 - inputs.pop("next_sentence_labels")
    if "attention_mask" in inputs:
        inputs["attention_mask"] = inputs["attention_mask"].long()
    return inputs


def as_pairs(table) -> TokenTable:
    """The rows alone, without what is to be guessed in them."""
    return TokenTable(
        table.ids, table.starts, table.lengths, table.lengths, table.type_ids
    )


def hand_written(kept: dict, options: argparse.Namespace) -> tuple:
    """The loop: a model and its mean losses by epoch."""
    config = kept["config"]
    config._attn_implementation = "sdpa"
    transformers.set_seed(1)
    model = BertForPreTraining(config)
    model.load_state_dict(kept["state"], strict=False)
    model.tie_weights()
    model.train()
    n_updates = len(kept["batches"])
    rate = partial(warmup_then_decay, n_updates=n_updates, warmup=0.1)
    optimizer = torch.optim.AdamW(
        parameter_groups(model.named_parameters(), 0.01), lr=options.learning_rate
    )
    losses = []
    for update, batch in enumerate(kept["batches"]):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * rate(update)
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    by_epoch = np.array_split(losses, options.epochs)
    return model.eval(), [float(part.mean()) for part in by_epoch]


@torch.inference_mode()
def of_transformers(model, batches: list[dict]) -> dict[str, float]:
    """Held-out loss and accuracy of masked words, and accuracy of next sentences."""
    gains, hits, follows = [], [], []
    for batch in batches:
        output = model(**batch)
        labels = batch["labels"]
        asked = labels != IGNORED
        logs = log_softmax(output.prediction_logits[asked].float(), 1)
        gains.append(logs.gather(1, labels[asked][:, None])[:, 0])
        hits.append(logs.argmax(1) == labels[asked])
        guess = output.seq_relationship_logits.argmax(1)
        follows.append(guess == batch["next_sentence_label"])
    return figures(torch.cat(gains), torch.cat(hits), torch.cat(follows))


def figures(gains, hits, follows) -> dict[str, float]:
    """Means, and the standard errors of the shares."""
    hits, follows = np.asarray(hits, float), np.asarray(follows, float)
    return {
        "masked_loss": -float(np.asarray(gains, float).mean()),
        "masked_accuracy": float(hits.mean()),
        "masked_accuracy_se": float(hits.std() / len(hits) ** 0.5),
        "next_sentence_accuracy": float(follows.mean()),
        "next_sentence_se": float(follows.std() / len(follows) ** 0.5),
        "n_words": len(hits),
        "n_pairs": len(follows),
    }


def follow(
    vocabulary: WordPieceVocabulary, train: list, test: list, options
) -> tuple[dict, dict]:
    """Train both on the same batches, and hold them against each other."""
    kept: dict = {}
    ours = pretrainer(
        vocabulary, options, next_sentence=True, callbacks=[Recorder(kept)]
    )
    start = time.perf_counter()
    ours.fit(train)
    print(f"ours: {time.perf_counter() - start:.0f} s", flush=True)
    if options.save:
        ours.set_params(callbacks=None).save(options.save)
    rng = np.random.default_rng(0)
    draw = _masked_rows(ours.tokenizer_, test, rng, in_pairs=True, **ours._layout)
    drawn = (draw() for _ in range(options.test_draws))
    tables = [table.drawn(np.arange(len(table))) for table in drawn]
    recall = np.concatenate([ours.net_.token_log_likelihood(t) for t in tables])
    scores = np.concatenate(
        [ours.net_.next_sentence_logits(as_pairs(table)) for table in tables]
    )
    right = np.concatenate([t.next_sentence_labels for t in tables])
    own = figures(recall[:, 0], recall[:, 1], scores.argmax(1) == 1 - right)

    feed = Feed(torch.device("cpu"), ours.tokenizer_.pad_id)
    batches = [
        as_transformers_takes_it(feed(t, rows))
        for t in tables
        for rows in np.array_split(np.arange(len(t)), max(1, len(t) // 32))
    ]
    same = equal_loss(ours, batches[0])
    start = time.perf_counter()
    model, losses = hand_written(kept, options)
    print(f"loop: {time.perf_counter() - start:.0f} s", flush=True)
    rows = [
        {"contender": "hand-written loop", **of_transformers(model, batches)},
        {"contender": "BertPretrainer", **own},
    ]
    history = [
        {"epoch": row["epoch"], "loop_loss": loss, "our_loss": row["train_loss"]}
        for row, loss in zip(ours.history_, losses, strict=True)
    ]
    size = {"n_documents": len(train), "n_updates": len(kept["batches"])}
    return (
        table("Held-out documents, the same batches in training", rows, **size),
        table("Training loss by epoch", history, equal_loss_difference=same),
    )


@torch.inference_mode()
def equal_loss(ours: BertPretrainer, batch: dict) -> float:
    """How far the loss on equal weights, ids and masks is from transformers'."""
    model = copy.deepcopy(ours.net_.module)
    config = copy.deepcopy(model.encoder.config)
    config._attn_implementation = "sdpa"  # transformers' own, not ours
    whole = BertForPreTraining(config)
    whole.load_state_dict(model.full_state(), strict=False)
    whole.tie_weights()
    theirs = whole.eval()(**batch).loss.item()
    inputs = dict(batch)
    labels = inputs.pop("labels").flatten()
    places = (labels != IGNORED).nonzero()[:, 0]
    follows = 1 - inputs.pop("next_sentence_label")
    if "attention_mask" in inputs:
        inputs["attention_mask"] = inputs["attention_mask"].bool()
    words, pairs = model(
        **inputs, word_positions=places, labels=labels[places], follows=follows
    )
    difference = abs(theirs - (words.mean() + pairs.mean()).item())
    print(f"loss on equal ids and masks differs by {difference:.1e}", flush=True)
    return difference


def main() -> None:
    """Train both, print the tables, write the JSON."""
    parser = command_line(__doc__)
    add_training(parser, max_length=64, learning_rate=1e-3, epochs=6)
    parser.add_argument("--test-draws", type=int, default=5, help="pairs and masks")
    parser.add_argument("--save", metavar="FOLDER", help="keep our model there")
    parser.add_argument("--documents", type=int, help="so many only")
    options = parser.parse_args()

    documents = masc()[: options.documents]
    test = documents[::10]
    train = [d for i, d in enumerate(documents) if i % 10]
    sentences = [sentence for document in train for sentence in document]
    vocabulary = WordPieceVocabulary(vocab_size=options.vocab_size).fit(sentences)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary.save(f"{folder}/vocabulary", max_length=options.max_length)
        tables = follow(f"{folder}/vocabulary", train, test, options)
    options.save = None  # a path of this machine
    finish("pretrain", options, list(tables))


if __name__ == "__main__":
    main()
