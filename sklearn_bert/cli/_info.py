"""`sklearn-bert info`: what a saved model is, without reading its weights."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sklearn_bert.cli._console import show
from sklearn_bert.cli._folders import ModelFolder, plain, read_folder
from sklearn_bert.estimators._summary import best_score
from sklearn_bert.onnx._manifest import REPORT

MOST_CLASSES = 20  # that the lines name; JSON has them all
CHOSEN = ("learning_rate_", "batch_size_", "temperature_")


def run(options: argparse.Namespace) -> None:
    """Print what the manifest of a folder says."""
    folder = read_folder(options.model)
    facts = _facts(folder)
    width = max(map(len, facts)) + 2
    lines = [
        f"{name.replace('_', ' '):{width}}{_shown(value)}"
        for name, value in facts.items()
    ]
    show(facts, "\n".join(lines), as_json=options.json)


def _facts(folder: ModelFolder) -> dict[str, Any]:
    """Return what is known, by names that are shown; nothing of it is None or empty."""
    content = folder.content
    facts = {
        "model": str(folder.path),
        "class": folder.kind,
        "layout": folder.layout,
        "megabytes": round(_n_bytes(folder.path) / 1e6, 1),
        "checkpoint": plain(content.get("params", {}).get("checkpoint")),
        "columns": folder.fitted("feature_names_in_"),
        "template": plain(content.get("params", content).get("template")),
        "max_length": content.get("tokenizer", {}).get("max_length"),
        "classes": folder.fitted("classes_"),
        "texts": (folder.fitted("truncation_report_") or {}).get("n_texts"),
        "epochs": folder.fitted("n_iter_"),
    }
    facts |= {name.rstrip("_"): folder.fitted(name) for name in CHOSEN}
    if history := folder.fitted("history_"):
        facts["best"] = best_score(history)
        facts["seconds"] = round(sum(epoch.get("seconds", 0) for epoch in history), 1)
    if folder.layout == "onnx":
        report = json.loads((folder.path / REPORT).read_bytes())
        facts |= {f"export_{name}": value for name, value in report.items()}
    facts["versions"] = content.get("versions")
    return {name: value for name, value in facts.items() if value not in (None, [], "")}


def _n_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        more = f" and {len(value) - MOST_CLASSES} more" * (len(value) > MOST_CLASSES)
        return ", ".join(str(item) for item in value[:MOST_CLASSES]) + more
    return f"{value:.4g}" if isinstance(value, float) else str(value)
