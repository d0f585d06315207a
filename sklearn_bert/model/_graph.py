"""A text model as an ONNX graph, by torch's exporter.

It needs the packages `onnx` and `onnxscript`, which an extra installs.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from sklearn_bert.model._text_model import TextModel
from sklearn_bert.model._torch_state import own_torch_state

MODEL_FILE = "model.onnx"
FINISH_FILE = "finish.onnx"
# A protocol buffer holds 2 GiB; the weights of a larger graph have a file of their own.
MOST_BYTES = 2_000_000_000


class Graph(nn.Module):
    """What is computed of a batch of texts: scores, vectors, or both.

    Parameters
    ----------
    model : TextModel
    temperature : float
        Divides the scores.
    finishes : bool
        Whether the vectors are finished; False: those of windows, which are merged
        before.
    """

    def __init__(self, model: TextModel, temperature: float, finishes: bool) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.finishes = finishes

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        word_positions: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the outputs, by their names."""
        model = self.model
        inputs = {} if word_positions is None else {"word_positions": word_positions}
        vectors = model.vectors(
            input_ids, attention_mask, token_type_ids, by_formula=True, **inputs
        )
        outputs = {}
        if model.head is not None:
            outputs["scores"] = model.head(model.scaled(vectors)) / self.temperature
        if word_positions is None:
            outputs["vectors"] = model.finish(vectors) if self.finishes else vectors
        return outputs


class Finish(nn.Module):
    """What becomes of the vectors of whole texts, after their windows are merged."""

    def __init__(self, model: TextModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, vectors: Tensor) -> dict[str, Tensor]:
        """Finish vectors: (n_texts, width) -> (n_texts, n_features)."""
        return {"finished": self.model.finish(vectors)}


def write_graphs(
    model: TextModel,
    folder: Path,
    *,
    temperature: float = 1.0,
    reads_types: bool = False,
    reads_words: bool = False,
    reads_windows: bool = False,
) -> None:
    """Write the graph of a model at rest, with texts and tokens of any number.

    Parameters
    ----------
    model : TextModel
    folder : Path
        Gets `MODEL_FILE`, and `FINISH_FILE` where vectors of windows have to be
        finished.
    temperature : float
        Divides the scores.
    reads_types, reads_words, reads_windows : bool
        Whether rows have token types, are sentences of words, or windows of a text.

    Raises
    ------
    ValueError
        Where torch cannot export a model of this family.
    """
    ids = torch.tensor([[5, 6, 7, 8, 0], [5, 6, 7, 8, 9]])
    inputs = {"input_ids": ids, "attention_mask": ids > 0}
    texts, tokens = Dim("texts"), Dim("tokens")
    shapes: dict[str, Any] = dict.fromkeys(inputs, {0: texts, 1: tokens})
    if reads_types:
        inputs["token_type_ids"] = torch.zeros_like(ids)
        shapes["token_type_ids"] = {0: texts, 1: tokens}
    if reads_words:
        inputs["word_positions"] = torch.tensor([1, 6, 7])
        shapes["word_positions"] = {0: Dim("words")}
    graph = Graph(model, temperature, finishes=not reads_windows)
    _write(graph, inputs, shapes, folder / MODEL_FILE)
    if reads_windows and model.head is None and (len(model.steps) or model.normalize):
        inputs = {"vectors": torch.ones(2, model.width)}
        _write(Finish(model), inputs, {"vectors": {0: texts}}, folder / FINISH_FILE)


def _write(
    module: nn.Module, inputs: dict[str, Tensor], shapes: dict[str, Any], path: Path
) -> None:
    module.eval()
    with own_torch_state(), torch.no_grad(), _quietly():
        names = list(module(**inputs))
        n_bytes = sum(p.numel() * p.element_size() for p in module.parameters())
        try:
            program = torch.onnx.export(
                module,
                kwargs=inputs,
                input_names=list(inputs),
                output_names=names,
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # of torch's tracer, or of its decompositions
            family = module.model.encoder.config.model_type  # type: ignore[union-attr]
            reason = str(error.__cause__ or error).strip().partition("\n")[0]
            raise ValueError(
                f"a checkpoint of the family {family!r} cannot be exported to ONNX: "
                f"torch's exporter fails ({type(error).__name__}: {reason}). Take one "
                "of a family that can, such as BERT, RoBERTa or DistilBERT."
            ) from error
        assert program is not None
        # Of each operation, the lines of the files on this machine that it comes from.
        for node in program.model.graph.all_nodes():
            node.metadata_props.clear()
        program.save(path, external_data=n_bytes > MOST_BYTES)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep to itself what the exporter says of its own parts, which nobody can act on.

    It logs that torchvision is absent, and warns of deprecated functions of torch.
    """
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
