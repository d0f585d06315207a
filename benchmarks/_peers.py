"""The peers, as their users run them by default."""

from __future__ import annotations

import tempfile

import numpy as np
import torch
import transformers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()


class Rows(torch.utils.data.Dataset):
    """Tokenised texts, row by row, as `datasets.Dataset.map` would leave them."""

    def __init__(self, tokenizer, texts, labels, max_length):
        columns = texts if isinstance(texts, tuple) else (texts,)
        self.encoded = tokenizer(*columns, truncation=True, max_length=max_length)
        self.labels = labels

    def __len__(self):
        """Count the texts."""
        return len(self.encoded["input_ids"])

    def __getitem__(self, row):
        """Give one text's ids."""
        item = {name: values[row] for name, values in self.encoded.items()}
        if self.labels is not None:
            item["labels"] = int(self.labels[row])
        return item


def trainer(
    folder: str,
    texts,
    labels: np.ndarray,
    *,
    epochs: int,
    batch_size: int = 32,
    max_length: int = 128,
    seed: int = 0,
    **arguments,
):
    """Fine-tune by transformers.Trainer; return what predicts from texts."""
    transformers.set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=len(np.unique(labels)), dtype=torch.float32
    )
    rows = Rows(tokenizer, texts, labels, max_length)
    with tempfile.TemporaryDirectory() as output:
        run = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=output,
                num_train_epochs=epochs,
                per_device_train_batch_size=batch_size,
                per_device_eval_batch_size=64,
                learning_rate=5e-5,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                seed=seed,
                **arguments,
            ),
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        run.train()

    def predict(new_texts) -> np.ndarray:
        scores = run.predict(Rows(tokenizer, new_texts, None, max_length)).predictions
        return scores.argmax(axis=1)

    return predict
