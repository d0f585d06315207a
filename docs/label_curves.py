"""Sphinx extension: `.. label-curves::` shows the scores by number of labelled texts.

It gives a picture, light and dark, and a table of the same figures, drawn from the runs
that `benchmarks/data_sizes.py` has on file.
"""

import json
import sys
from pathlib import Path

from performance_results import rst_table
from sphinx.util.docutils import SphinxDirective

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from _size_report import (  # noqa: E402
    NAMES,
    exceptions,
    frame_of,
    means,
    panels,
    plot,
)

RECORDS = BENCHMARKS / "results" / "data_sizes.jsonl"
ALT = "Mean score of five methods by number of labelled texts; the figures are below."
IN_WORDS = {
    "banking77": "Banking77",
    "cola": "CoLA",
    "germeval2018": "GermEval 2018",
    "goemotions": "GoEmotions",
    "mrpc": "MRPC",
    "nltk_movie_reviews": "film reviews",
    "sms_spam": "SMS spam",
    "sst2_sentence": "SST-2",
    "stsb": "STS-B",
    "trec": "TREC",
}


class LabelCurves(SphinxDirective):
    """The picture, and below it the table and what it is of."""

    def run(self):
        self.env.note_reread()  # runs come without the page being changed
        runs = runs_on_file()
        folder = Path(self.env.srcdir) / "generated"
        folder.mkdir(exist_ok=True)
        blocks = []
        for file, dark in (("data_sizes.svg", False), ("data_sizes-dark.svg", True)):
            plot(runs, folder / file, dark=dark)
            lines = [f".. image:: /generated/{file}", f"   :alt: {ALT}"]
            lines += ["   :class: only-dark" if dark else "   :class: only-light"]
            blocks.append("\n".join(lines))
        blocks.append(rst_table({"title": "Mean score", "rows": list(figures(runs))}))
        blocks += in_words(runs)
        return self.parse_text_to_nodes("\n\n".join(blocks))


def runs_on_file():
    """The runs of the records file."""
    lines = RECORDS.read_text("utf-8").splitlines()
    return frame_of([json.loads(line) for line in lines])


def figures(runs):
    """A row per size: the mean scores, the best in bold."""
    for _, _, own in panels(runs):
        for size, scores in means(own, "score").iterrows():
            row = {"labelled texts": size_in_words(size)}
            for method, name in NAMES.items():
                score = scores.get(method, float("nan"))
                row[name] = "" if score != score else f"{score:.2f}"
                if score == scores.max():
                    row[name] = f"**{row[name]}**"
            yield row


def size_in_words(size):
    """As "8 per class" or "any 50"."""
    if size.endswith(" rows"):
        return f"any {size.removesuffix(' rows')}"
    return size.replace("/", " per ")


def in_words(runs):
    """What the means are of, and where ours is behind."""
    (_, by_class, _), (_, in_all, _) = panels(runs)
    yield (
        f"*By number per class: the mean over {listed(by_class)}. By number in all: "
        f"over {listed(in_all)}. Each of one to five draws of the labelled texts.*"
    )
    behind = [cell["set"].split(", ") for cell in exceptions(runs)]
    found = [f"{IN_WORDS.get(name, name)} ({size_in_words(s)})" for name, s in behind]
    text = ", ".join(found) or "nowhere"
    yield f"*More than two standard errors behind the best peer: {text}.*"


def listed(names):
    """Names with commas between them, those of sets as people write them."""
    return ", ".join(IN_WORDS.get(name, name) for name in names)


def setup(app):
    app.add_directive("label-curves", LabelCurves)
    return {"parallel_read_safe": True}
