"""The peers, as their users run them: by default, and tuned by someone who reads on."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sklearn.pipeline import Pipeline
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from skorch.hf import HuggingfacePretrainedTokenizer
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

warnings.filterwarnings("ignore", message=".*pin_memory.*")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# What someone who tunes a peer chooses: the short format that the hardware has.
HALF = torch.bfloat16
if DEVICE == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
    HALF = torch.float16


# -- transformers.Trainer ----------------------------------------------------------


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
            item["labels"] = self.labels[row].tolist()  # an int, a float or floats
        return item


def trainer(folder: str, texts, labels: np.ndarray, **settings):
    """Fine-tune by transformers.Trainer; return what predicts from texts."""
    scores = trainer_scores(
        folder, texts, labels, n_outputs=len(np.unique(labels)), **settings
    )
    return lambda new_texts: scores(new_texts).argmax(axis=1)


def trainer_scores(
    folder: str,
    texts,
    targets: np.ndarray,
    *,
    n_outputs: int,
    problem_type: str = "single_label_classification",
    epochs: int,
    batch_size: int = 32,
    max_length: int | None = 128,
    seed: int = 0,
    **arguments,
):
    """Fine-tune by transformers.Trainer; return what computes scores from texts.

    Targets are numbers of classes, or float32 for the other types of problem. Without
    `max_length` texts are cut where the tokenizer says.
    """
    transformers.set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=n_outputs, problem_type=problem_type, dtype=torch.float32
    )
    rows = Rows(tokenizer, texts, targets, max_length)
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
        run.remove_callback(PrinterCallback)
        run.train()

    def scores(new_texts) -> np.ndarray:
        return run.predict(Rows(tokenizer, new_texts, None, max_length)).predictions

    return scores


def tuned_trainer(folder: str, texts, labels: np.ndarray, **settings):
    """Fine-tune by a Trainer with all that makes it fast and needs no other package."""
    arguments = {
        "bf16": torch.bfloat16 == HALF,
        "fp16": torch.float16 == HALF,
        "train_sampling_strategy": "group_by_length",
        "optim": "adamw_torch_fused",
    }
    if DEVICE == "cuda":
        has_tf32 = torch.bfloat16 == HALF  # both came with Ampere
        arguments |= {"tf32": has_tf32, "dataloader_num_workers": 4}
    else:
        arguments["use_cpu"] = True
    return trainer(folder, texts, labels, **arguments, **settings)


# -- setfit ------------------------------------------------------------------------


def setfit_proba(
    folder: str, texts: list[str], targets: np.ndarray, *, seed: int = 0
) -> Callable[[list[str]], np.ndarray]:
    """Fine-tune by SetFit with its defaults; return what predicts probabilities.

    `targets` are numbers of classes, or an indicator of several labels. The defaults:
    one epoch over all pairs of texts, the rarer kind repeated, in batches of 16 at a
    rate of 2e-5, then a logistic regression. Only what it writes and prints is off.
    """
    from datasets import Dataset, disable_progress_bars
    from setfit import SetFitModel, Trainer, TrainingArguments

    disable_progress_bars()
    silence_setfit()
    several = {"multi_target_strategy": "one-vs-rest"} if targets.ndim == 2 else {}
    model = SetFitModel.from_pretrained(folder, device=DEVICE, **several)
    with tempfile.TemporaryDirectory() as output:
        run = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=output,
                save_strategy="no",
                report_to="none",
                show_progress_bar=False,
                seed=seed,
            ),
            train_dataset=Dataset.from_dict({"text": texts, "label": targets.tolist()}),
        )
        run.st_trainer.remove_callback(PrinterCallback)
        run.train()
    return lambda new_texts: np.asarray(model.predict_proba(new_texts, as_numpy=True))


def setfit_steps(targets: np.ndarray) -> int:
    """Updates of SetFit with its defaults, for classes or an indicator of labels.

    Pairs that share a label and pairs that do not are as many, the fewer repeated, and
    16 are a batch. A text makes a pair with itself too.
    """
    if targets.ndim == 1:
        targets = targets[:, None] == np.unique(targets)
    indicator = targets.astype(int)
    n_alike = int(np.triu(indicator @ indicator.T > 0).sum())
    n_pairs = len(indicator) * (len(indicator) + 1) // 2
    return -(-2 * max(n_alike, n_pairs - n_alike) // 16)


def silence_setfit() -> None:
    """Let SetFit say errors only: it tells of the head that it has yet to learn."""
    for name in ("setfit", "setfit.modeling", "setfit.trainer"):
        logging.getLogger(name).setLevel(logging.ERROR)


# -- skorch ------------------------------------------------------------------------


class SequenceClassifier(nn.Module):
    """A model of transformers as skorch wants it: it returns its scores."""

    def __init__(self, folder: str, n_classes: int):
        super().__init__()
        self.model = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=n_classes
        )

    def forward(self, **inputs):
        """Token ids -> scores."""
        return self.model(**inputs).logits


def skorch_recipe(
    folder: str, texts, labels: np.ndarray, *, epochs: int, batch_size: int = 32
) -> Pipeline:
    """Fine-tune as the notebook "Fine-tuning a BERT model with skorch" shows.

    But for the batch size, which is that of the others, and without the notebook's
    held-out part.
    """
    n_updates = epochs * (len(texts) // batch_size + 1)
    net = NeuralNetClassifier(
        SequenceClassifier,
        module__folder=folder,
        module__n_classes=len(np.unique(labels)),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        lr=5e-5,
        max_epochs=epochs,
        batch_size=batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        device=DEVICE,
        verbose=0,
        callbacks=[
            LRScheduler(
                LambdaLR,
                lr_lambda=lambda step: 1 - step / n_updates,
                step_every="batch",
            )
        ],
    )
    steps = [("tokenizer", HuggingfacePretrainedTokenizer(folder)), ("net", net)]
    return Pipeline(steps).fit(texts, labels)


# -- encoders ----------------------------------------------------------------------


def sentence_transformer(folder: str) -> Callable[[list[str]], np.ndarray]:
    """`SentenceTransformer.encode` with its defaults: float32, batches of 32."""
    return SentenceTransformer(folder).encode


def tuned_sentence_transformer(folder: str) -> Callable[[list[str]], np.ndarray]:
    """`encode` in bfloat16 (or float16), in batches of 256."""
    model = SentenceTransformer(folder, model_kwargs={"dtype": HALF})
    return partial(model.encode, batch_size=256)


def setfit_encoder(folder: str) -> Callable[[list[str]], np.ndarray]:
    """`SetFitModel.encode`: what its head is trained on."""
    from setfit import SetFitModel

    silence_setfit()
    return SetFitModel.from_pretrained(folder).encode


def skrub_encoder(folder: str):
    """The text encoder of skrub without its PCA, unfitted."""
    from skrub import LLMEncoder  # called TextEncoder before skrub 0.11

    return LLMEncoder(folder, n_components=None)


def skrub_transform(folder: str) -> Callable[[list[str]], pd.DataFrame]:
    """`LLMEncoder.transform` of a fitted encoder."""
    encoder = skrub_encoder(folder).fit(pd.Series(["a text"], name="text"))
    return lambda texts: encoder.transform(pd.Series(texts, name="text"))


def those_installed(builders: dict[str, Callable], folder: str) -> dict[str, Callable]:
    """Build each peer; print why one is left out."""
    built = {}
    for name, build in builders.items():
        try:
            built[name] = build(folder)
        except ImportError as error:
            print(f"skipped: {name} ({error})")
    return built


# -- prediction --------------------------------------------------------------------


def prediction_loop(
    folder: str, n_classes: int, max_length: int, dtype: torch.dtype
) -> Callable[[Sequence[str]], np.ndarray]:
    """The loop of `CrossEncoder.predict` for single texts: sorted, batches of 32."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=n_classes, dtype=dtype
    )
    model.eval().to(DEVICE)

    @torch.inference_mode()
    def predict_proba(texts: Sequence[str]) -> np.ndarray:
        order = np.argsort([-len(text) for text in texts])
        parts = []
        for begin in range(0, len(texts), 32):
            batch = tokenizer(
                [texts[i] for i in order[begin : begin + 32]],
                padding=True,
                truncation=True,
                max_length=max_length,
                return_tensors="pt",
            ).to(DEVICE)
            parts.append(model(**batch).logits.float().softmax(1).cpu().numpy())
        return np.concatenate(parts)[np.argsort(order)]

    return predict_proba
