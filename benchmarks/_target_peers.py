"""The peers for targets other than one class per text, as their users write them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
import transformers
from _peers import DEVICE, Rows
from scipy.special import expit
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

MAX_LENGTH = 128
NO_WORD = -100  # the label of a piece that is not the first of a word


# -- transformers.Trainer: several labels, or a number -----------------------------


class NumberRows(Rows):
    """Tokenised texts with floats, one or several for each, as their labels."""

    def __getitem__(self, row):
        """Give one text's ids and floats."""
        item = {name: values[row] for name, values in self.encoded.items()}
        if self.labels is not None:
            item["labels"] = self.labels[row]
        return item


def multi_label_trainer(
    folder: str, texts: list[str], indicator: np.ndarray, *, epochs: int, seed: int = 0
) -> Callable[[list[str]], np.ndarray]:
    """Fine-tune for several labels of a text; return what predicts probabilities."""
    targets = indicator.astype(np.float32)
    settings = {
        "problem_type": "multi_label_classification",
        "num_labels": indicator.shape[1],
    }
    scores = _trainer(folder, texts, targets, settings, epochs, seed)
    return lambda new_texts: expit(scores(new_texts))


def regression_trainer(
    folder: str, pairs: pd.DataFrame, numbers: np.ndarray, *, epochs: int, seed: int = 0
) -> Callable[[pd.DataFrame], np.ndarray]:
    """Fine-tune on pairs and their scores as they are, as the example run_glue does."""
    settings = {"problem_type": "regression", "num_labels": 1}
    targets = numbers.astype(np.float32)
    scores = _trainer(folder, _columns(pairs), targets, settings, epochs, seed)
    return lambda new_pairs: scores(_columns(new_pairs)).ravel()


def _columns(pairs: pd.DataFrame) -> tuple[list[str], ...]:
    return tuple(pairs[name].tolist() for name in pairs)


def _trainer(folder, texts, targets, settings, epochs, seed):
    """Fine-tune with the defaults of a Trainer; return what computes scores."""
    transformers.set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, **settings
    )
    with tempfile.TemporaryDirectory() as output:
        run = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=output,
                num_train_epochs=epochs,
                per_device_train_batch_size=32,
                per_device_eval_batch_size=64,
                learning_rate=5e-5,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                seed=seed,
            ),
            train_dataset=NumberRows(tokenizer, texts, targets, MAX_LENGTH),
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        run.remove_callback(PrinterCallback)
        run.train()

    def scores(new_texts) -> np.ndarray:
        return run.predict(NumberRows(tokenizer, new_texts, None, MAX_LENGTH))[0]

    return scores


# -- a loop over token states ------------------------------------------------------


def token_loop(
    folder: str,
    sentences: Sequence[Sequence[str]],
    tags: Sequence[Sequence[str]],
    *,
    epochs: int,
    seed: int = 0,
) -> Callable[[Sequence[Sequence[str]]], list[list[str]]]:
    """Fine-tune on tagged words by a plain loop; return what predicts their tags."""
    transformers.set_seed(seed)
    names = sorted({tag for sentence in tags for tag in sentence})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForTokenClassification.from_pretrained(
        folder, num_labels=len(names), dtype=torch.float32
    ).to(DEVICE)

    codes = [[names.index(tag) for tag in sentence] for sentence in tags]
    batches = DataLoader(
        [
            _first_pieces(tokenizer, *pair)
            for pair in zip(sentences, codes, strict=True)
        ],
        batch_size=32,
        shuffle=True,
        collate_fn=DataCollatorForTokenClassification(tokenizer),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    n_updates = epochs * len(batches)
    schedule = LambdaLR(optimizer, lambda step: 1 - step / n_updates)
    model.train()
    for _ in range(epochs):
        for batch in batches:
            model(**batch.to(DEVICE)).loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval()

    @torch.inference_mode()
    def predict(new_sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        predicted = []
        for begin in range(0, len(new_sentences), 64):
            some = new_sentences[begin : begin + 64]
            batch = tokenizer(
                some,
                is_split_into_words=True,
                padding=True,
                truncation=True,
                max_length=MAX_LENGTH,
                return_tensors="pt",
            ).to(DEVICE)
            best = model(**batch).logits.argmax(-1).tolist()
            for row, words in enumerate(some):
                places = _first_piece_of_word(batch.word_ids(row))
                # A word that was cut, or of which no piece is left, has no place.
                found = {word: names[best[row][place]] for word, place in places}
                predicted.append([found.get(word, "O") for word in range(len(words))])
        return predicted

    return predict


def _first_pieces(tokenizer, words: Sequence[str], codes: Sequence[int]) -> dict:
    """Ids of a sentence's pieces; its labels stand at the first piece of each word."""
    encoded = tokenizer(
        words, is_split_into_words=True, truncation=True, max_length=MAX_LENGTH
    )
    labels = [NO_WORD] * len(encoded["input_ids"])
    for word, place in _first_piece_of_word(encoded.word_ids()):
        labels[place] = codes[word]
    return {**encoded, "labels": labels}


def _first_piece_of_word(word_ids: list[int | None]) -> list[tuple[int, int]]:
    """Pairs of a word and the place of its first piece."""
    before = [None, *word_ids]
    return [
        (word, place)
        for place, word in enumerate(word_ids)
        if word is not None and word != before[place]
    ]
