"""Sphinx extension: writes formulas as MathML, which browsers show without a script.

The renderer that Sphinx has for HTML loads one from the network.
"""

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml


def inline(writer, node):
    """A formula in a line."""
    writer.body.append(tex2mathml(node.astext(), as_block=False))
    raise SkipNode


def block(writer, node):
    """A formula in lines of its own."""
    writer.body.append(tex2mathml(node.astext(), as_block=True))
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True}
