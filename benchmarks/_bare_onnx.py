"""An exported classifier in ONNX Runtime by hand, as one would write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession, SessionOptions
from tokenizers import Tokenizer


def bare(folder: str) -> Callable[[Sequence[str]], np.ndarray]:
    """Read `model.onnx` and `tokenizer.json`; return what computes probabilities."""
    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(Path(folder) / "model.onnx", options)
    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()

    def answer(texts: Sequence[str]) -> np.ndarray:
        rows = tokenizer.encode_batch(list(texts))
        inputs = {
            "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
            "attention_mask": np.array([row.attention_mask for row in rows], bool),
        }
        (scores,) = session.run(["scores"], inputs)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    return answer
