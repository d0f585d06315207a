"""Sphinx extension: shows what the scripts in `benchmarks/` have measured.

`.. benchmark:: NAME` gives the tables of `benchmarks/results/NAME.json`, then those of
its variants with other models and on GPUs, `NAME-*.json`; without results, a sentence.
`.. benchmark-figures::` draws the ratios of times, one figure per variant.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter, ScalarFormatter
from sphinx.util.docutils import SphinxDirective

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
IN_FIGURE = ["fit_short", "fit_long", "embed", "predict", "grid_search"]
HEADINGS = {
    "contender": "",
    "texts_per_second": "texts/s",
    "tokens_per_second": "tokens/s",
    "utilisation": "share of peak",
    "ratio": "times as long",
    "best_accuracy": "best accuracy",
}
MODELS = {
    "minilm": "all-MiniLM-L6-v2",
    "base": "BERT-base",
    "large": "BERT-large",
    "tiny": "a BERT of one layer",
}
ALT = "Time of the peers divided by that of sklearn_bert; the numbers are below."
PERCENT = {"utilisation", "same_label"}


class Benchmark(SphinxDirective):
    """The tables of one script, and the machine that each comes from."""

    required_arguments = 1

    def run(self):
        self.env.note_reread()  # results come and go without the page being changed
        (name,) = self.arguments
        blocks = []
        for _, result in sorted(variants(name).items()):
            blocks += [rst_table(table) for table in tables(result)]
            blocks.append(machine(result))
        text = "\n\n".join(blocks)
        return self.parse_text_to_nodes(
            text or f"Not measured yet: run `benchmarks/{name}.py`."
        )


class BenchmarkFigures(SphinxDirective):
    """A bar for each peer: how many times as long it takes."""

    def run(self):
        self.env.note_reread()
        folder = Path(self.env.srcdir) / "generated"
        folder.mkdir(exist_ok=True)
        by_variant = {}
        for name in IN_FIGURE:
            for suffix, result in variants(name).items():
                by_variant.setdefault(suffix, []).append(result)
        blocks = []
        for suffix, results in sorted(by_variant.items()):
            file = f"performance{suffix}.svg"
            draw(results, folder / file)
            blocks.append(f".. image:: /generated/{file}\n   :alt: {ALT}")
        return self.parse_text_to_nodes("\n\n".join(blocks)) if blocks else []


def variants(name):
    """What a script has written, by what follows its name in the file's."""
    paths = [RESULTS / f"{name}.json", *RESULTS.glob(f"{name}-*.json")]
    return {
        path.stem.removeprefix(name): json.loads(path.read_text("utf-8"))
        for path in paths
        if path.is_file()
    }


def tables(result):
    """The tables of a result; that of the accuracies is a single one."""
    return result.get("tables") or [{"title": "Accuracy", "rows": result["rows"]}]


def rst_table(table):
    """A table of a result file as a list-table."""
    rows = [readable(row) for row in table["rows"]]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    headings = [HEADINGS.get(name, name.replace("_", " ")) for name in columns]
    lines = [f".. list-table:: {table['title']}", "   :header-rows: 1", ""]
    for cells in [headings, *([row.get(name, "") for name in columns] for row in rows)]:
        marks = ["   * -", *["     -"] * (len(cells) - 1)]
        lines += [f"{m} {c}".rstrip() for m, c in zip(marks, cells, strict=True)]
    return "\n".join(lines)


def readable(row):
    """The cells of a row as text; a ratio in one cell with its range."""
    cells = {
        name: in_words(name, value)
        for name, value in row.items()
        if not isinstance(value, (list, dict))
        and name not in ("ratio_min", "ratio_max")
    }
    if "ratio" in row:
        low, high = number(row["ratio_min"]), number(row["ratio_max"])
        cells["ratio"] = f"{number(row['ratio'])} ({low} to {high})"
    return cells


def in_words(name, value):
    if value is None:
        return ""
    if name in PERCENT:
        return f"{value:.1%}"
    return value if isinstance(value, str) else number(value)


def number(value):
    """Three digits that matter, and commas between thousands."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def machine(result):
    """One line on hardware, model and versions."""
    versions = [f"{name} {text}" for name, text in result["versions"].items()]
    return f"*{hardware(result)}; {', '.join(versions)}.*"


def hardware(result):
    text = result["gpu"] or f"{result['cpu']}, {result['cores']} cores"
    model = result.get("settings", {}).get("model")
    return f"{text}; {MODELS[model]}" if model else text


def ratio_bars(result):
    """(label, median, lowest, highest) of each peer in a result."""
    return [
        (
            f"{table['title']}\n{row['contender']}",
            row["ratio"],
            row["ratio_min"],
            row["ratio_max"],
        )
        for table in tables(result)
        for row in table["rows"]
        if "ratio" in row
    ]


def draw(results, path):
    """Horizontal bars from 1, with their ranges, on a logarithmic axis."""
    bars = [bar for result in results for bar in ratio_bars(result)]
    labels, medians, lows, highs = zip(*bars, strict=True)
    figure, axes = plt.subplots(figsize=(8, 1 + 0.5 * len(bars)))
    below = [median - low for median, low in zip(medians, lows, strict=True)]
    above = [high - median for median, high in zip(medians, highs, strict=True)]
    widths = [median - 1 for median in medians]
    axes.barh(labels, widths, left=1, color="#3b7ddd")
    axes.errorbar(medians, labels, xerr=(below, above), fmt="none", color="#333333")
    axes.axvline(1, color="#333333")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100) if t <= 1.5 * max(highs)]
    axes.set_xticks(ticks)
    axes.invert_yaxis()
    axes.set_xlabel("time of the peer divided by that of sklearn_bert")
    axes.set_title(hardware(results[0]), fontsize="medium")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def setup(app):
    app.add_directive("benchmark", Benchmark)
    app.add_directive("benchmark-figures", BenchmarkFigures)
    return {"parallel_read_safe": True}
