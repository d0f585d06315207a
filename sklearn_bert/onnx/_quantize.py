"""Weights of a graph in 8 bits."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_bert.onnx._session import weights_beside


def quantize_graph(path: Path) -> None:
    """Replace a graph by one with weights of the encoder, and activations, in int8.

    The weights of products get a scale for each column (per channel), activations one
    while they are computed, and embeddings one for each row. The head, which is small,
    stays as it is.

    Weights use 7 of the 8 bits. Without VNNI, processors add two products in 16 bits,
    which 8 bits would overflow: the answers would be others than those that were
    checked, on another machine. Per channel, the bit changes next to no answer; with
    one scale for a matrix it would.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # Not a protocol buffer in memory: of more than 2 GiB there is none.
    with _without_advice():
        quantize_dynamic(
            path,
            path,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    model = onnx.load(path)
    quantize_embeddings(model.graph)
    onnx.save(model, path)
    weights_beside(path).unlink(missing_ok=True)  # those in float32


def quantize_embeddings(graph: Any) -> None:
    """Store tables of embeddings in int8, with a scale for each row."""
    tables = {value.name: value for value in graph.initializer if len(value.dims) == 2}
    uses = [name for node in graph.node for name in node.input]
    nodes = []
    for node in graph.node:
        name = node.input[0] if node.op_type == "Gather" else ""
        # A table that is read elsewhere, too, has to stay.
        if name in tables and uses.count(name) == 1:
            nodes += _quantized(node, tables[name], graph.initializer)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # which says what the tables were


def _quantized(node: Any, table: Any, tables: Any) -> list[Any]:
    """Replace a table by one in int8, and return what reads it, instead of `node`."""
    from onnx import TensorProto, helper, numpy_helper

    rows = numpy_helper.to_array(table)
    scales = np.abs(rows).max(axis=1, keepdims=True) / 127
    scales = np.maximum(scales, np.finfo(np.float32).tiny).astype(np.float32)
    codes = np.rint(rows / scales).astype(np.int8)
    name, ids, out = table.name, node.input[1], node.output[0]
    tables.remove(table)
    tables.append(numpy_helper.from_array(codes, name))
    tables.append(numpy_helper.from_array(scales, f"{name}_scales"))
    to = TensorProto.FLOAT
    return [
        helper.make_node("Gather", [name, ids], [f"{out}_codes"]),
        helper.make_node("Gather", [f"{name}_scales", ids], [f"{out}_scales"]),
        helper.make_node("Cast", [f"{out}_codes"], [f"{out}_cast"], to=to),
        helper.make_node("Mul", [f"{out}_cast", f"{out}_scales"], [out]),
    ]


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep off the root logger the advice to prepare a graph, which is for images."""

    def is_other(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(is_other)
    try:
        yield
    finally:
        root.removeFilter(is_other)
