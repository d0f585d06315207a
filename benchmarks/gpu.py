"""Whether a GPU computes what it should, and how fast: all in one command.

Versions and device; the tests marked `gpu`; parity of the number formats, of packed
texts and of CUDA graphs; fitting, embedding and predicting against transformers.Trainer
and sentence-transformers; what each technique brings; memory, Ctrl-C and twenty fits.
The weights are random, so nothing is downloaded. Results are written after each
section, as JSON and as Markdown; a section that fails or takes twice its time is left,
and the next begins.

An H100 takes 6 minutes; for a T4 give it 15 (`--minutes 15`). `--quick` looks in a
minute whether everything runs, and `--device cpu` where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from _common import ON_GPU, RESULTS, checkpoint, environment, machine_peak, shown
from _data import WHERE_DATA
from _gpu_bench import Bench
from _gpu_health import ctrl_c, fits_in_a_row, gpu_tests, peak_memory
from _gpu_parity import accuracies, formats, graphs
from _gpu_speed import ablation, embed, fit_long, fit_short, predict

# Seconds of each section on an H100, in the order of what is wanted first.
SECTIONS = {
    "tests": (75, gpu_tests),
    "formats": (15, formats),
    "graphs": (10, graphs),
    "fit short": (45, fit_short),
    "fit long": (35, fit_long),
    "embed": (45, embed),
    "predict": (20, predict),
    "fits in a row": (15, fits_in_a_row),
    "ctrl-c": (15, ctrl_c),
    "memory": (15, peak_memory),
    "accuracy": (50, accuracies),
    "ablation": (20, ablation),
}
MINUTES = sum(seconds for seconds, _ in SECTIONS.values()) / 60


def main() -> None:
    """Run the sections one after the other."""
    options = command_line()
    if options.device == "cpu" and ON_GPU:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # which torch reads but once
        os.execv(sys.executable, [sys.executable, *sys.argv])
    chosen = options.only or list(SECTIONS)
    scale = 0.1 if options.quick else options.minutes / MINUTES
    tables: list[dict] = []
    log: list[dict] = []
    with checkpoint("tiny" if options.quick else options.model) as folder:
        peak = machine_peak()
        for name in chosen:
            seconds, section = SECTIONS[name]
            bench = Bench(folder, peak, options.quick, seconds * scale)
            start, outcome = time.perf_counter(), "done"
            try:
                with time_limit(2 * bench.seconds + 45):
                    for table in section(bench):
                        tables.append(table)
                        write(options, peak, tables, log)
            except Exception as error:  # the other sections are worth as much
                outcome = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
                print(f"\n{name}: {outcome}", flush=True)
            took = time.perf_counter() - start
            log.append({"section": name, "seconds": took, "outcome": outcome})
            write(options, peak, tables, log)
    print(f"\nwritten: {options.out}.json, {options.out}.md")


def command_line() -> argparse.Namespace:
    """Options; results of a look are not kept beside those that count."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=WHERE_DATA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--model", choices=["base", "large", "tiny"], default="base")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION")
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto")
    parser.add_argument("--quick", action="store_true", help="a tiny model, few texts")
    parser.add_argument("--out", type=Path, help="without a suffix")
    options = parser.parse_args()
    if options.out is None:
        is_look = options.quick or not ON_GPU or options.device == "cpu"
        folder = Path(tempfile.gettempdir()) if is_look else RESULTS
        options.out = folder / ("gpu-look" if is_look else "gpu")
    return options


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in here after so many seconds."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"not done in {seconds:.0f} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def write(
    options: argparse.Namespace, peak: dict, tables: list[dict], log: list[dict]
) -> None:
    """Write what there is so far."""
    settings = {"model": options.model, "minutes": options.minutes}
    settings |= {"quick": options.quick}
    content = {
        "settings": settings,
        "device": device_facts(),
        "peak": peak,
        "tables": [*tables, {"title": "Sections", "rows": log}],
        **environment(),
    }
    options.out.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n")
    lines = [f"# {content['gpu'] or content['cpu']}", ""]
    lines += [f"{name}: {value}  " for name, value in content["device"].items()]
    for one in content["tables"]:
        lines += ["", f"## {one['title']}", "", *markdown(one["rows"])]
    options.out.with_suffix(".md").write_text("\n".join(lines) + "\n")


def device_facts() -> dict[str, object]:
    """Versions and limits of the device, as far as torch knows them."""
    facts: dict[str, object] = {"torch": torch.__version__, "cuda": torch.version.cuda}
    if ON_GPU:
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "name": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "memory_gibibytes": round(properties.total_memory / 2**30, 1),
            "driver_api": getattr(torch._C, "_cuda_getDriverVersion", lambda: None)(),
            "bfloat16": torch.cuda.is_bf16_supported(including_emulation=False),
        }
    return facts


def markdown(rows: list[dict]) -> list[str]:
    """A table of the cells; what is a list, such as the seconds of each round, not."""
    names = list(
        dict.fromkeys(
            name
            for row in rows
            for name, value in row.items()
            if not isinstance(value, (list, dict))
        )
    )
    head = [name.replace("_per_second", "/s").replace("_", " ") for name in names]
    cells = [[shown(row.get(name)) for name in names] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells)]


if __name__ == "__main__":
    main()
