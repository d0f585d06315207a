"""Pretraining on masked words, next to transformers.Trainer.

One epoch over sentences of MASC with a new BERT of 4 layers and width 256, from texts
to a fitted model. Trainer works with `DataCollatorForLanguageModeling` on the same
texts, cut into the same full rows, with its defaults and tuned (bfloat16 and a fused
optimizer). Making the model, tokenising and packing are part of both.
"""

from __future__ import annotations

import tempfile
import time
import warnings

import numpy as np
from _common import ON_GPU, command_line, finish, ratios, table
from _data import masc
from pretrain import SHAPE, add_training, pretrainer
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from sklearn_bert import WordPieceVocabulary, cache_info

warnings.filterwarnings("ignore", message=".*pin_memory.*")


def trainer(folder: str, texts: list[str], options, **arguments) -> None:
    """Masked words by transformers.Trainer, on rows of full length."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    stream = [i for text in ids for i in [*text, tokenizer.sep_token_id]]
    room = options.max_length - 2
    rows = [
        {
            "input_ids": [
                tokenizer.cls_token_id,
                *stream[begin : begin + room],
                tokenizer.sep_token_id,
            ]
        }
        for begin in range(0, len(stream), room)
    ]
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=SHAPE["hidden_size"],
            num_hidden_layers=SHAPE["n_layers"],
            num_attention_heads=SHAPE["n_heads"],
            intermediate_size=4 * SHAPE["hidden_size"],
            max_position_embeddings=options.max_length,
        )
    )
    with tempfile.TemporaryDirectory() as output:
        run = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=output,
                num_train_epochs=1,
                per_device_train_batch_size=options.batch_size,
                learning_rate=options.learning_rate,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                **arguments,
            ),
            train_dataset=rows,
            data_collator=DataCollatorForLanguageModeling(tokenizer),
        )
        run.remove_callback(PrinterCallback)
        run.train()


def throughput(vocabulary: WordPieceVocabulary, texts: list[str], options) -> dict:
    """Seconds for one epoch over masked words, alternating."""
    tuned = {"bf16": True, "optim": "adamw_torch_fused"}
    if not ON_GPU:
        tuned["use_cpu"] = True
    with tempfile.TemporaryDirectory() as folder:
        vocabulary.save(f"{folder}/vocabulary", max_length=options.max_length)
        contenders = {
            "Trainer": lambda t: trainer(f"{folder}/vocabulary", t, options),
            "Trainer, tuned": lambda t: trainer(
                f"{folder}/vocabulary", t, options, **tuned
            ),
            "BertPretrainer": lambda t: pretrainer(
                f"{folder}/vocabulary", options, max_epochs=1
            ).fit(t),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for run in contenders.values():
            run(texts[:50])
        for number in range(options.rounds):
            names = list(contenders)
            for name in names if number % 2 == 0 else reversed(names):
                cache_info(clear=True)
                start = time.perf_counter()
                contenders[name](texts)
                seconds[name].append(time.perf_counter() - start)
    n_tokens = sum(map(len, vocabulary.transform(texts))) - 2 * len(texts)
    ours = seconds["BertPretrainer"]
    rows = [
        {
            "contender": name,
            "tokens_per_second": n_tokens / float(np.median(times)),
            **({} if times is ours else ratios(times, ours)),
            "seconds": times,
        }
        for name, times in seconds.items()
    ]
    return table("One epoch of masked words", rows, n_tokens=n_tokens)


def main() -> None:
    """Run the contenders, print the table, write the JSON."""
    parser = command_line(__doc__)
    add_training(parser, max_length=128, learning_rate=5e-4, epochs=1)
    parser.add_argument("--sentences", type=int, default=3000)
    options = parser.parse_args()

    texts = [s for document in masc() for s in document][: options.sentences]
    vocabulary = WordPieceVocabulary(vocab_size=options.vocab_size).fit(texts)
    finish("pretrain_speed", options, [throughput(vocabulary, texts, options)])


if __name__ == "__main__":
    main()
