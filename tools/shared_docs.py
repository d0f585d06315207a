"""Write the descriptions that the estimators share, from one place, into each of them.

    python tools/shared_docs.py          writes them
    python tools/shared_docs.py --check  names what is not as here, and fails

An entry of shared_docs.txt is a parameter or an attribute of the classes at the head of
its block. Words in <> differ from class to class; they are in WORDS. What one class
alone has is written there and nowhere else.
"""

import re
import sys
import textwrap
from pathlib import Path

ESTIMATORS = Path(__file__).parents[1] / "sklearn_bert" / "estimators"
ENTRIES = Path(__file__).with_name("shared_docs.txt")
AS_EACH = "averaged by the tokens that are new in each"
IN_BOTH = f"are {AS_EACH}, in training as in prediction"
HEAD = {
    "lora": " [2]_",
    "decay": " [4]_",
    "of_head": " The head, which starts from nothing, takes steps ten times as long, "
    "and a hundred times where it learns alone.",
    "no_head": " The head is not concerned.",
}
TEXT = {"row": "text", "divided": "texts"}
UNTRAINED = {"untrained": "; 0 where the head was fitted and nothing trained"}
SENTENCE = {"row": "sentence", "divided": "sentences", "counted": " (sentences)"}
ROW = {"row": "row", "divided": "texts"}
WORDS = {
    "classifier": {
        **TEXT,
        **HEAD,
        **UNTRAINED,
        "answers": f"probabilities {IN_BOTH}",
        "alike": ", of the same classes or fewer,",
        "of_head": "",
        "kinds": " that have one label each",
        "of_classes": " [13]_",
        "stratified": ", stratified unless texts have several labels",
        "head_tail": " [3]_",
    },
    "regressor": {
        **TEXT,
        **HEAD,
        **UNTRAINED,
        "answers": f"predictions {IN_BOTH}",
        "alike": ", of as many targets,",
        "kinds": "",
        "of_classes": "",
        "none": " 0 where `pooling` takes the similarity of up to 200 pairs.",
        "head_tail": " [3]_",
        "of_head": "",
    },
    "token_classifier": {
        **SENTENCE,
        **HEAD,
        "alike": ", of the same tags,",
        "none": "",
        "by_word": " (computed of all words, each with its tag)",
    },
    "embedder": {
        **TEXT,
        "answers": f"vectors are {AS_EACH} "
        '(with `pooling="max"` their maximum is taken)',
        "head_tail": " [2]_",
    },
    "pretrainer": ROW,
    "generator": ROW,
}
ENTRY = re.compile(r"^(\w+) : .*\n(?:(?: {4}.*)?\n)*?(?=\S|\Z)", re.MULTILINE)


def shared():
    """Read the entries of each class: name of its file -> name -> text."""
    found = {name: {} for name in WORDS}
    for block in re.split(r"^# ", ENTRIES.read_text(encoding="utf-8"), flags=re.M)[1:]:
        classes, _, entries = block.partition("\n")
        for match in ENTRY.finditer(entries.strip() + "\n"):
            for name in classes.split(", "):
                found[name][match[1]] = _filled(match[0], WORDS[name])
    return found


def _filled(entry, words):
    head, _, text = entry.partition("\n")
    row = words["row"]
    words = {**words, "rows": f"{row}s", "Rows": f"{row}s".capitalize()}
    text = re.sub(r"<(\w+)>", lambda slot: words.get(slot[1], ""), text)
    lines = textwrap.wrap(
        " ".join(text.split()), 80, break_on_hyphens=False, break_long_words=False
    )
    return "\n".join([head, *(f"    {line}" for line in lines)]) + "\n"


def written(source, entries):
    """Write these entries into the class docstring of an estimator's source."""
    start = source.index("    Parameters\n    -----", source.index("\nclass Bert"))
    stop = source.index('    """\n', start)
    docstring = textwrap.dedent(source[start:stop])
    docstring = ENTRY.sub(
        lambda match: _keep_blank_line(match[0], entries.get(match[1], match[0])),
        docstring,
    )
    return source[:start] + textwrap.indent(docstring, "    ") + source[stop:]


def _keep_blank_line(old, new):
    return new.rstrip() + old[len(old.rstrip()) :]


def stale():
    """Return the files that are not as here -> what they should be."""
    found = {}
    for name, entries in shared().items():
        path = ESTIMATORS / f"_{name}.py"
        source = path.read_text(encoding="utf-8")
        wanted = written(source, entries)
        if wanted != source:
            found[path] = wanted
    return found


def main(arguments):
    """Write what is stale, or with --check only name it."""
    found = stale()
    for path, wanted in found.items():
        print(path)
        if "--check" not in arguments:
            path.write_text(wanted, encoding="utf-8")
    return 1 if found and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
