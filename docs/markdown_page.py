"""Sphinx extension: `.. markdown:: FILE` shows a Markdown file of the repository.

It knows what those files are made of: headings, lists, tables, links, code. The title
of the file is left out, because the page has one.
"""

import re
from pathlib import Path

from sphinx.util.docutils import SphinxDirective

MARKS = "=-^~"


class Markdown(SphinxDirective):
    """The file as reStructuredText; its path is relative to the page."""

    required_arguments = 1

    def run(self):
        page = Path(self.get_source_info()[0])
        path = (page.parent / self.arguments[0]).resolve()
        self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(
            as_rst(path.read_text("utf-8")), allow_section_headings=True
        )


def as_rst(text):
    """The file without its title, block by block."""
    lines = text.split("\n")[1:]
    blocks = []
    while lines:
        is_code = lines[0].lstrip().startswith("```")
        is_table = lines[0].startswith("|")
        if is_code:
            blocks += code(lines)
        elif is_table:
            blocks += table(lines)
        elif heading := re.match(r"(#+) (.*)", lines[0]):
            words = inline(heading[2])
            blocks += [words, MARKS[len(heading[1]) - 1] * len(words)]
            lines.pop(0)
        else:
            blocks += paragraph(lines)
    return "\n".join(blocks)


def code(lines):
    """A fenced block as a directive of the same indent."""
    indent, language = re.match(r"( *)```(\w*)", lines.pop(0)).groups()
    found = [f"{indent}.. code-block:: {language or 'text'}", ""]
    while not lines[0].lstrip().startswith("```"):
        found.append("   " + lines.pop(0))
    lines.pop(0)
    return [*found, ""]


def table(lines):
    """A table of pipes as a list-table, without the line under its header."""
    found = [".. list-table::", "   :header-rows: 1", ""]
    while lines and lines[0].startswith("|"):
        cells = [inline(cell.strip()) for cell in lines.pop(0).strip("|").split("|")]
        if set("".join(cells)) <= set("-: "):
            continue
        marks = ["   * -", *["     -"] * (len(cells) - 1)]
        found += [f"{m} {c}" for m, c in zip(marks, cells, strict=True)]
    return [*found, ""]


def paragraph(lines):
    """Lines up to the next block; code and links may run over their ends."""
    found = [lines.pop(0)]
    while lines and not re.match(r"\s*```|\||#|\s*$", lines[0]):
        found.append(lines.pop(0))
    return inline("\n".join(found)).split("\n")


def inline(text):
    """Code and links in the other markup, each with a separable end."""
    text = re.sub(r"`([^`]+)`", r"``\1``\\ ", text)
    return re.sub(r"\[([^\]]+)\]\(([^)]+)\)", link, text)


def link(match):
    """A link to the web; one to a file of the repository is its name."""
    words, target = match.groups()
    return f"`{words} <{target}>`__" if "://" in target else words


def setup(app):
    app.add_directive("markdown", Markdown)
    return {"parallel_read_safe": True}
