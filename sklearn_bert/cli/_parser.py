"""The arguments of every command, and what `--help` says of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sklearn_bert._version import __version__

FORMATS = ("csv", "tsv", "jsonl", "parquet", "xlsx")
DATA = (
    "table: .csv, .tsv or .jsonl, also with .gz, .bz2, .xz or .zip behind it; "
    ".parquet; .xlsx; - is stdin"
)
MODEL = "folder that fit, export or sklearn_bert.save has written"
STATUS = """
Exit status: 0 done; 2 wrong input, told in one line on stderr; 130 interrupted. Notes,
warnings and progress go to stderr, and nothing but the result to stdout.
"""
CHOSEN = "default: chosen by the number of texts"
TARGET = "column of labels, or of numbers"
TEXT_OF_MODEL = "column of texts, twice for pairs (default: the columns of the fit)"


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; `command` is the one that is asked for."""
    top = argparse.ArgumentParser(
        prog="sklearn-bert",
        description="BERT for tables of texts: fine-tune, predict, explain, export.",
        epilog="sklearn-bert COMMAND --help shows the options of a command, with "
        "examples.\n" + STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        *(_add_fit, _add_predict, _add_evaluate, _add_explain, _add_report),
        *(_add_embed, _add_export, _add_info, _add_demo),
    ):
        add(commands)
    return top


def _command(commands: Any, name: str, does: str, examples: str) -> Any:
    return commands.add_parser(
        name,
        help=does,
        description=f"{does[0].upper()}{does[1:]}.",
        epilog=f"examples:\n{examples}{STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_fit(commands: Any) -> None:
    command = _command(
        commands,
        "fit",
        "fine-tune BERT on a table, and save the model",
        """  sklearn-bert fit reviews.csv --text review --target label --out model
  sklearn-bert fit pairs.tsv --text question --text answer --target same --out model
  sklearn-bert fit prices.parquet --text title --target price --task regress --out model
""",
    )
    command.add_argument("data", metavar="DATA", help=DATA)
    _text(command, "column of texts; twice for pairs of texts", required=True)
    command.add_argument("--target", required=True, metavar="COLUMN", help=TARGET)
    command.add_argument(
        "--out", required=True, metavar="FOLDER", help="folder for the model"
    )
    command.add_argument(
        "--task",
        choices=("classify", "regress"),
        default="classify",
        help="learn labels or numbers (default: classify)",
    )
    command.add_argument(
        "--test-size",
        type=_share,
        metavar="SHARE",
        help="hold out this share of the rows, and score the model on them",
    )
    command.add_argument(
        "--checkpoint", metavar="NAME", help="name on the Hub, or folder, to start from"
    )
    command.add_argument("--epochs", type=int, metavar="N", help=CHOSEN)
    command.add_argument("--learning-rate", type=float, metavar="RATE", help=CHOSEN)
    command.add_argument(
        "--max-length", type=int, metavar="N", help="tokens read of a text"
    )
    command.add_argument(
        "--random-state", type=int, default=0, metavar="N", help="default: 0"
    )
    command.add_argument("--quiet", action="store_true", help="show no progress")
    _force(command, "replace a model that the folder holds")
    _format(command)
    _json(command)


def _add_predict(commands: Any) -> None:
    command = _command(
        commands,
        "predict",
        "write a table with a column of predictions",
        """  sklearn-bert predict model new.csv --out answers.csv
  sklearn-bert predict model new.jsonl --proba --out answers.parquet
  cat new.csv | sklearn-bert predict model - --text body > answers.csv
""",
    )
    _model_and_data(command)
    command.add_argument(
        "--proba", action="store_true", help="add the probability of each class"
    )
    _out(command)
    _format(command)


def _add_evaluate(commands: Any) -> None:
    command = _command(
        commands,
        "evaluate",
        "print the scores of a model on a table with targets",
        """  sklearn-bert evaluate model test.csv --target label
  sklearn-bert evaluate model test.csv --target label --json | jq .accuracy
""",
    )
    _model_and_data(command)
    command.add_argument("--target", required=True, metavar="COLUMN", help=TARGET)
    _format(command)
    _json(command)


def _add_explain(commands: Any) -> None:
    command = _command(
        commands,
        "explain",
        "print the words of a text, by what they do for its prediction",
        """  sklearn-bert explain model "The parcel never arrived."
  sklearn-bert explain model "What a film!" --html why.html
""",
    )
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument(
        "text",
        metavar="TEXT",
        nargs="+",
        help="one text, or the two of a pair; - is stdin",
    )
    command.add_argument(
        "--method",
        choices=("integrated_gradients", "gradient", "occlusion"),
        default="integrated_gradients",
        help="default: integrated_gradients",
    )
    command.add_argument("--html", metavar="FILE", help="write the coloured text there")
    _force(command, "replace FILE")
    _json(command)


def _add_report(commands: Any) -> None:
    command = _command(
        commands,
        "report",
        "write one HTML page that shows where a model errs",
        """  sklearn-bert report model test.csv --target label --out report.html
  sklearn-bert report model test.csv --target label --train train.csv --out report.html
""",
    )
    _model_and_data(command)
    command.add_argument(
        "--target", required=True, metavar="COLUMN", help="column of labels"
    )
    command.add_argument(
        "--train", metavar="DATA", help="table of the fit: its nearest texts are shown"
    )
    command.add_argument("--out", required=True, metavar="FILE", help="HTML file")
    _force(command, "replace the file")
    _format(command)
    _json(command)


def _add_embed(commands: Any) -> None:
    command = _command(
        commands,
        "embed",
        "write a vector for each row of a table",
        """  sklearn-bert embed BAAI/bge-small-en-v1.5 new.csv --text body --out v.npy
  sklearn-bert embed model new.csv --out vectors.parquet
""",
    )
    _model_and_data(command, f"{MODEL}, or the name or folder of a checkpoint")
    _out(command, "; .npy is an array of NumPy")
    _format(command)


def _add_export(commands: Any) -> None:
    command = _command(
        commands,
        "export",
        "write a saved model for other programs",
        """  sklearn-bert export model served
  sklearn-bert export model served --quantize int8 --data new.csv
  sklearn-bert export model for-transformers --layout transformers
""",
    )
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("folder", metavar="FOLDER", help="folder that is written")
    command.add_argument(
        "--layout",
        choices=("onnx", "transformers"),
        default="onnx",
        help="for ONNX Runtime, without torch, or for transformers (default: onnx)",
    )
    command.add_argument(
        "--quantize", choices=("int8",), help="weights in 8 bits: faster on a CPU"
    )
    command.add_argument(
        "--data",
        help="table of texts of the kind that will be served, on which the answers are "
        "compared (default: built-in texts)",
    )
    _text(command, TEXT_OF_MODEL)
    _force(command, "replace a model that the folder holds")
    _format(command)
    _json(command)


def _add_info(commands: Any) -> None:
    command = _command(
        commands,
        "info",
        "print what a saved model is, without reading its weights",
        "  sklearn-bert info model\n  sklearn-bert info model --json | jq .classes\n",
    )
    command.add_argument("model", metavar="MODEL", help=MODEL)
    _json(command)


def _add_demo(commands: Any) -> None:
    command = _command(
        commands,
        "demo",
        "fine-tune a classifier on the bundled support tickets, or on a table",
        "  sklearn-bert demo\n"
        "  sklearn-bert demo --data reviews.csv --text review --target label\n",
    )
    command.add_argument("--data", help="table; default: support tickets")
    command.add_argument("--text", help="its column of texts")
    command.add_argument("--target", help="its column of labels")
    command.add_argument("--epochs", type=int, metavar="N", help=CHOSEN)
    command.add_argument("--learning-rate", type=float, metavar="RATE", help=CHOSEN)
    command.add_argument(
        "--out",
        type=Path,
        help="folder for the model; default: support-ticket-model, or, of --data "
        "reviews.csv, reviews-model",
    )


# -- what several commands share -------------------------------------------------------


def _model_and_data(command: Any, model: str = MODEL) -> None:
    command.add_argument("model", metavar="MODEL", help=model)
    command.add_argument("data", metavar="DATA", help=DATA)
    _text(command, TEXT_OF_MODEL)


def _text(command: Any, does: str, *, required: bool = False) -> None:
    command.add_argument(
        "--text", action="append", metavar="COLUMN", help=does, required=required
    )


def _out(command: Any, more: str = "") -> None:
    command.add_argument(
        "--out",
        default="-",
        metavar="FILE",
        help=f"format by the suffix, as of DATA{more} (default: stdout)",
    )
    _force(command, "replace the file")


def _force(command: Any, does: str) -> None:
    command.add_argument("--force", action="store_true", help=does)


def _format(command: Any) -> None:
    command.add_argument(
        "--format",
        choices=FORMATS,
        help="format of stdin, stdout and files without a known suffix (default: csv)",
    )
    command.add_argument(
        "--encoding",
        default="utf-8",
        help="of the text files that are read, such as cp1252 (default: utf-8)",
    )


def _json(command: Any) -> None:
    command.add_argument("--json", action="store_true", help="print the result as JSON")


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share between 0 and 1")
    return share
