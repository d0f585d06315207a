"""`sklearn-bert export`: a saved model for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sklearn_bert import onnx, save
from sklearn_bert.cli._answers import read_X
from sklearn_bert.cli._console import show
from sklearn_bert.cli._folders import read_folder
from sklearn_bert.cli._out import check_free_folder
from sklearn_bert.cli._tables import read_table


def run(options: argparse.Namespace) -> None:
    """Write the folder."""
    out = Path(options.folder)
    check_free_folder(out, options.force)
    folder = read_folder(options.model, layouts=("sklearn_bert",))
    result: dict[str, Any] = {"model": str(out), "layout": options.layout}
    if options.layout == "transformers":
        if options.quantize or options.data:
            raise ValueError("--quantize and --data are for --layout onnx alone.")
        save(folder.load(), out, layout="transformers")
        show(result, f"model for transformers saved in {out}", as_json=options.json)
        return
    X = None
    if options.data:
        table = read_table(options.data, options.format, options.encoding)
        X = read_X(table, options.text, folder)
    report = onnx.export(folder.load(), out, quantize=options.quantize, texts=X)
    show(result | report, _lines(out, report), as_json=options.json)


def _lines(out: Path, report: dict[str, Any]) -> str:
    lines = [
        f"model for ONNX Runtime saved in {out}, {report['bytes'] / 1e6:.1f} MB",
        f"largest difference of {report['n_texts']} {report['texts']} texts: "
        f"{report['max_difference']:.2g}",
        f"{report['milliseconds_per_text']:.2f} ms per text; the estimator: "
        f"{report['milliseconds_per_text_of_the_estimator']:.2f} ms",
    ]
    if report.get("n_labels"):
        changed = f"{report['labels_changed']} of {report['n_labels']}"
        lines.insert(2, f"labels that differ: {changed}")
    return "\n".join(lines)
