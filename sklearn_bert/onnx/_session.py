"""A graph that ONNX Runtime computes, over the rows of a table."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_bert._process._fork import process_lock
from sklearn_bert._process._progress import tell
from sklearn_bert.text._table import (
    TokenTable,
    ragged_indices,
    token_budget_batches,
)

# Tokens of a batch, padding included: it stays in the cache of the processor.
TOKENS_PER_BATCH = 2048
# Fusions of ONNX Runtime that cost time: its sum and norm in one take five times as
# long as one after the other, a quarter of an int8 batch of short texts.
SLOWER = ["SkipLayerNormFusion"]
# Sessions of parents of this process: to free one would wait for its threads for ever.
OF_PARENTS: list[Any] = []


class Session:
    """A graph in ONNX Runtime, for any thread, and for a forked process.

    A child computes with its parent's memory where a call takes one thread. Threads do
    not live on in a child, so that for several there is a session of its own.

    Parameters
    ----------
    path : Path
        Of the graph.
    read : callable
        Returns the bytes of the file, or raises an error where it is damaged.
    n_threads : int
    """

    def __init__(self, path: Path, read: Callable[[], bytes], n_threads: int) -> None:
        self.path = path
        self.read = read
        self.n_threads = n_threads
        self._lock = process_lock()
        self._start()

    def _start(self) -> None:
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = self.n_threads
        options.inter_op_num_threads = 1
        # It would plan, and keep, the memory of each new number of texts and tokens.
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        data: Any = self.read()
        # Weights beside the graph are found by the path of the graph.
        if has_weights_beside(self.path):
            data = str(self.path)
        self._session = InferenceSession(
            data,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=SLOWER,
        )
        self.inputs = [value.name for value in self._session.get_inputs()]
        self.outputs = {v.name: v.shape[-1] for v in self._session.get_outputs()}
        self._process = os.getpid()

    def run(self, output: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Compute one output of a batch."""
        # The threads of the parent do not live on here, and would be waited for.
        if self._process != os.getpid() and self.n_threads > 1:
            with self._lock:
                if self._process != os.getpid():
                    OF_PARENTS.append(self._session)
                    self._start()
        found: list[Any] = self._session.run([output], inputs)
        return found[0]

    def compute(self, table: TokenTable, output: str, pad_id: int) -> np.ndarray:
        """Compute an output of each distinct row once, in batches of similar length.

        Returns
        -------
        ndarray of shape (n_rows, width), float32
            In the table's order; of words (n_words, width).
        """
        if len(table) == 1:  # as a service is asked most often
            return self._batch(table, np.zeros(1, dtype=np.int64), output, pad_id)
        rows, row_of = table.distinct()
        counts = table.n_outputs(rows)
        starts = np.cumsum(counts) - counts
        values = np.empty((int(counts.sum()), self.outputs[output]), dtype=np.float32)
        n_done = 0
        for batch in token_budget_batches(table.lengths[rows], TOKENS_PER_BATCH):
            where = ragged_indices(starts[batch], counts[batch])
            values[where] = self._batch(table, rows[batch], output, pad_id)
            n_done += len(batch)
            tell(n_done, len(rows))
        if len(rows) == len(row_of) and np.array_equal(row_of, np.arange(len(rows))):
            return values  # each row once, in order
        return values[ragged_indices(starts[row_of], counts[row_of])]

    def _batch(
        self, table: TokenTable, rows: np.ndarray, output: str, pad_id: int
    ) -> np.ndarray:
        laid_out = table.lay_out(rows, pad_id, packed=False, multiple=None)
        if "attention_mask" not in laid_out:  # there is no padding
            shape = laid_out["input_ids"].shape
            laid_out["attention_mask"] = np.ones(shape, dtype=bool)
        return self.run(output, {name: laid_out[name] for name in self.inputs})


def has_weights_beside(path: Path) -> bool:
    """Tell whether a graph is so large that its weights have a file of their own."""
    return weights_beside(path).exists()


def weights_beside(path: Path) -> Path:
    """Return the file that has the weights of such a graph."""
    return path.with_name(f"{path.name}.data")
