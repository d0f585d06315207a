"""Count the functions of this package that one cold fit, and one predict, pass through.

Run by hand: `python tools/trace_fit.py`. It prints, for each call, how many calls there
are of functions of the package, of how many distinct functions in how many files, how
often the file changes from a caller to what it calls, and how deep calls lie. With
`--list` it names the functions, and the deepest chain of calls.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

import sklearn_bert
from sklearn_bert import BertClassifier

PACKAGE = str(Path(sklearn_bert.__file__).parent) + os.sep
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "good",
    "bad",
    "film",
    "the",
    "a",
    "was",
]


def write_checkpoint(folder: Path) -> None:
    """Write a tiny BERT with random weights."""
    ids = {word: i for i, word in enumerate(WORDS)}
    backend = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ("pad", "unk", "cls", "sep", "mask")
    special = {f"{name}_token": f"[{name.upper()}]" for name in names}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=32, **special
    )
    tokenizer.save_pretrained(folder)
    BertModel(
        BertConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
        )
    ).save_pretrained(folder)


class Trace:
    """Follows calls among functions of the package while it is active."""

    def __init__(self) -> None:
        self.n_calls = self.n_changes = 0
        self.functions: set[tuple[str, str]] = set()
        self.deepest: list[tuple[str, str]] = []
        self._open: list[tuple[str, str]] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Take note of a call or a return, as `sys.setprofile` reports it."""
        file, name = frame.f_code.co_filename, frame.f_code.co_qualname
        # Comprehensions and generators are no stops for a reader.
        if not file.startswith(PACKAGE) or name.endswith(">"):
            return
        if event == "call":
            self.n_calls += 1
            self.functions.add((file, name))
            self.n_changes += bool(self._open) and self._open[-1][0] != file
            self._open.append((file, name))
            if len(self._open) > len(self.deepest):
                self.deepest = self._open.copy()
        elif event == "return" and self._open:
            self._open.pop()

    def of(self, function: Callable[[], Any]) -> str:
        """Run a function, and describe what it passed through."""
        sys.setprofile(self)
        try:
            function()
        finally:
            sys.setprofile(None)
        n_files = len({file for file, _ in self.functions})
        return (
            f"{self.n_calls} calls of {len(self.functions)} functions in {n_files} "
            f"files, {self.n_changes} changes of file, at most {len(self.deepest)} deep"
        )

    def print_list(self, title: str) -> None:
        """Print every function that was called, and the deepest chain of calls."""
        print(title)
        for file, name in sorted(self.functions):
            print(f"  {file.removeprefix(PACKAGE)}: {name}")
        print("  the deepest chain:")
        for file, name in self.deepest:
            print(f"    {file.removeprefix(PACKAGE)}: {name}")


def main() -> None:
    """Trace one cold fit of two updates, and a prediction of two new texts."""
    texts, labels = ["a good film", "the film was bad"] * 4, ["good", "bad"] * 4
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder))
        clf = BertClassifier(
            folder, max_epochs=1, batch_size=4, device="cpu", precision="float32"
        )
        fit, predict = Trace(), Trace()
        print("fit:    ", fit.of(lambda: clf.fit(texts, labels)))
        print("predict:", predict.of(lambda: clf.predict(["good", "a bad film"])))
        if "--list" in sys.argv:
            fit.print_list("fit")
            predict.print_list("predict")


if __name__ == "__main__":
    main()
