"""Sphinx configuration of the sklearn_bert documentation."""

import os
import re
import sys
from pathlib import Path

from sphinx_gallery.sorting import FunctionSortKey

import sklearn_bert

sys.path.append(str(Path(__file__).parent))  # where extensions of our own are

project = "sklearn_bert"
author = "The sklearn_bert developers"
copyright = "The sklearn_bert developers, BSD-3-Clause"
version = release = sklearn_bert.__version__
html_title = f"sklearn_bert {version}"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "matplotlib.sphinxext.plot_directive",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "label_curves",
    "markdown_page",
    "mathml",
    "parameter_groups",
    "performance_results",
]

# Links into the documentation of others take the network, so a build asks for them:
# DOCS_LINKS=1 make docs. Without them the same names are plain code.
if os.environ.get("DOCS_LINKS"):
    extensions.append("sphinx.ext.intersphinx")
intersphinx_mapping = {
    "sklearn": ("https://scikit-learn.org/stable", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "pandas": ("https://pandas.pydata.org/docs", None),
    "skorch": ("https://skorch.readthedocs.io/en/stable", None),
    "torch": ("https://docs.pytorch.org/docs/stable", None),
}

# `name` in a docstring is code, as in scikit-learn.
default_role = "literal"
smartquotes = False  # quotes in types are code
templates_path = ["_templates"]
# The gallery writes its pages to auto_examples; its sources are no pages.
exclude_patterns = ["_build", "_templates", "examples", "auto_examples/*.ipynb"]

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say more
toc_object_entries_show_parents = "hide"
# The class template lists the methods itself.
numpydoc_show_class_members = False

EXAMPLES = [  # in the order of the gallery
    "plot_tfidf_to_bert.py",
    "plot_data_frame.py",
    "plot_few_labels.py",
    "plot_long_texts.py",
    "plot_label_errors.py",
    "plot_service.py",
    "plot_several_labels.py",
    "plot_embeddings.py",
    "plot_pretraining.py",
    "plot_vocabulary.py",
    "plot_generation.py",
]
plot_formats = [("png", 100)]
plot_html_show_formats = plot_html_show_source_link = False
plot_include_source = True
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "within_subsection_order": FunctionSortKey(EXAMPLES.index),
    "gallery_dirs": "auto_examples",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "logo": {
        "text": "sklearn_bert",
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo-dark.svg",
    },
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system
html_math_renderer = "mathml"
html_favicon = "_static/logo.svg"
html_sidebars = {"index": []}
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_show_sourcelink = False
html_copy_source = False


def unlink_foreign_references(app, what, name, obj, options, lines):
    """Turn the references of inherited methods into text: their targets are not here.

    A title means a page of scikit-learn's user guide, a bare label one of its gallery.
    """
    if not (getattr(obj, "__module__", None) or "").startswith("sklearn."):
        return
    text = "\n".join(lines)
    text = re.sub(r":ref:`([^`<]+?)\s*<[^`>]+>`", r"scikit-learn \1", text)
    text = re.sub(r":ref:`[^`]+`", "scikit-learn's gallery", text)
    text = re.sub(r":term:`([^`]+)`", r"\1", text)
    lines[:] = text.split("\n")


def setup(app):
    app.connect("autodoc-process-docstring", unlink_foreign_references, priority=400)
