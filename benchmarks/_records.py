"""Records in a file of JSON lines: a run can be interrupted, and goes on later."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from _common import environment


def on_file(path: Path) -> list[dict]:
    """Records of a file, runs and environments, first to last.

    A line that an interruption cut short is dropped.
    """
    if not path.exists():
        return []
    text = path.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, "utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def append(path: Path, record: dict) -> None:
    """Write a record at the end of a file, its numbers with five digits that matter."""
    record = {
        name: float(f"{value:.5g}") if isinstance(value, float) else value
        for name, value in record.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, separators=(",", ":")) + "\n")


def record_environment(path: Path) -> str:
    """Write versions and machine into a file, once; return the name they go by."""
    found = environment()
    found["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    text = json.dumps(found, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:8]
    record = {"environment": name, "is": found}
    if record not in on_file(path):
        append(path, record)
    return name
