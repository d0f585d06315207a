"""Sphinx extension: on the page of an estimator its parameters stand by purpose.

numpydoc knows no headings among parameters. GROUPS says what each is for; the table
that is made of it stands before the list, and its names link to the entries there.
"""

GROUPS = {
    "Model": [
        "checkpoint",
        "revision",
        "pooling",
        "dropout",
        "adapter",
        "adapter_rank",
        "trainable",
    ],
    "New model": [
        "hidden_size",
        "n_layers",
        "n_heads",
        "position_encoding",
    ],
    "Texts": [
        "template",
        "missing",
        "max_length",
        "long_text",
        "window_stride",
    ],
    "Vocabulary": [
        "vocabulary",
        "vocab_size",
        "lowercase",
        "strip_accents",
        "min_frequency",
        "limit_alphabet",
        "add_special_tokens",
    ],
    "Vectors": [
        "normalize",
        "n_components",
        "whiten",
    ],
    "Objective": [
        "objective",
        "temperature",
        "loss",
        "class_weight",
        "label_smoothing",
        "next_sentence",
        "mask_fraction",
        "whole_words",
        "pack",
    ],
    "Learning": [
        "max_epochs",
        "batch_size",
        "learning_rate",
        "layer_decay",
        "weight_decay",
        "warmup",
        "warm_start",
    ],
    "Few labels": [
        "pretraining",
        "head_init",
        "class_descriptions",
        "self_training",
    ],
    "Calibration": ["calibrate"],
    "Validation": [
        "early_stopping",
        "validation_fraction",
        "n_iter_no_change",
        "scoring",
    ],
    "Hardware": [
        "device",
        "precision",
        "gradient_checkpointing",
    ],
    "Killed fits": [
        "checkpoint_folder",
        "checkpoint_minutes",
    ],
    "Randomness and progress": [
        "random_state",
        "verbose",
        "callbacks",
    ],
}


def grouped(names):
    """Purpose -> those of the names that serve it, without empty purposes."""
    found = {purpose: [n for n in own if n in names] for purpose, own in GROUPS.items()}
    return {purpose: own for purpose, own in found.items() if own}


def insert_table(app, what, name, obj, options, lines):
    """Put the table before the parameters of an estimator, after numpydoc's work."""
    if what != "class" or not hasattr(obj, "_parameter_constraints"):
        return
    if ":Parameters:" not in lines:
        return
    table = [".. rubric:: Parameters by purpose", ""]
    table += [".. list-table::", "   :class: purposes", "   :widths: 25 75", ""]
    for purpose, names in grouped(obj._parameter_constraints).items():
        links = ", ".join(f"`{name} <#parameter-{name}>`__" for name in names)
        table += [f"   * - {purpose}", f"     - {links}"]
    place = lines.index(":Parameters:")
    lines[place:place] = [*table, ""]


def name_entries(app, doctree):
    """Give each entry in a list of parameters the id that the table links to."""
    from docutils import nodes
    from sphinx.addnodes import desc

    for node in doctree.findall(desc):
        if node["objtype"] != "class":
            continue
        for field in node.findall(nodes.field):
            if field[0].astext() != "Parameters":
                continue
            for term in field.findall(nodes.term):
                names = term.next_node(nodes.strong)
                if names is not None:
                    term["ids"].append(f"parameter-{names.astext()}")


def setup(app):
    app.connect("autodoc-process-docstring", insert_table, priority=900)
    app.connect("doctree-read", name_entries)
    return {"parallel_read_safe": True}
