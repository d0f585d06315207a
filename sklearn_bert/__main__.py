"""The command line: `python -m sklearn_bert demo`."""

from __future__ import annotations

import argparse
import lzma
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split

from sklearn_bert import BertClassifier, save
from sklearn_bert._process._atomic_folder import check_replaceable
from sklearn_bert.datasets import load_support_tickets
from sklearn_bert.estimators._save import files_written

N_SHOWN = 3
MIN_ROWS = 10  # a smaller file does not show whether a column holds labels
MANY_NUMBERS = 20  # more different numbers are probably quantities, not labels
FEW_ROWS = 5  # fewer rows per label are suspicious
# The errors of pandas, beside OSError, for a file that is no CSV, compressed or not.
UNREADABLE = (
    ValueError,
    EOFError,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status of the process."""
    options = _parser().parse_args(arguments)
    try:
        return _demo(options)
    except (OSError, ValueError, TypeError, FloatingPointError) as error:
        _say(f"error: {error}", sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sklearn_bert", description="BERT as scikit-learn estimators."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="fine-tune a classifier on a CSV file, or on the bundled support tickets",
    )
    demo.add_argument("--data", type=Path, help="CSV file; default: support tickets")
    demo.add_argument("--text", help="its column of texts")
    demo.add_argument("--target", help="its column of labels")
    chosen = "default: chosen by the number of texts"
    demo.add_argument("--epochs", type=int, help=chosen)
    demo.add_argument("--learning-rate", type=float, help=chosen)
    demo.add_argument(
        "--out",
        type=Path,
        help="folder for the model; default: support-ticket-model, or, of --data "
        "reviews.csv, reviews-model",
    )
    return parser


def _demo(options: argparse.Namespace) -> int:
    out = options.out or _default_folder(options.data)
    # Checked before minutes of training, not after.
    check_replaceable(out, files_written)
    for folder in out.absolute().parents:
        if folder.exists() and not folder.is_dir():
            raise ValueError(
                f"--out {out} lies in {folder}, which is a file; expected a folder."
            )
    X_train, X_test, y_train, y_test = _read(options)
    clf = BertClassifier(
        max_epochs="auto" if options.epochs is None else options.epochs,
        learning_rate=(
            "auto" if options.learning_rate is None else options.learning_rate
        ),
        random_state=0,
        verbose=1,
    )
    if out.exists() and any(out.iterdir()):
        _say(f"The model in {out} will be replaced; another --out keeps it.")
    n_labels = len(set(y_train))
    _say(
        f"Fine-tuning {clf.checkpoint} on {len(X_train)} texts with {n_labels} labels "
        "..."
    )
    clf.fit(X_train, y_train)
    save(clf, out)  # before anything else can go wrong
    seconds = sum(epoch["seconds"] for epoch in clf.history_)
    _say(f"{clf.n_iter_} epochs in {seconds:.0f} s; model saved in {out}\n")
    _say(classification_report(y_test, clf.predict(X_test), zero_division=0))
    for text, proba in zip(
        X_test[:N_SHOWN], clf.predict_proba(X_test[:N_SHOWN]), strict=True
    ):
        best = sorted(zip(proba, clf.classes_, strict=True), reverse=True)[:2]
        chances = ", ".join(f"{label} {p:.0%}" for p, label in best)
        _say(f"{_shortened(text)!r}\n  -> {chances}")
    _say(f"\nOpen the model with sklearn_bert.load({str(out)!r})")
    return 0


def _say(line: str, stream: TextIO | None = None) -> None:
    """Print a line; characters that the console lacks become backslash codes."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    line = line.encode(encoding, "backslashreplace").decode(encoding)
    print(line, file=stream, flush=True)


def _default_folder(data: Path | None) -> Path:
    return Path("support-ticket-model" if data is None else f"{data.stem}-model")


def _read(options: argparse.Namespace) -> list[list[Any]]:
    """Read training and test texts and labels, from a file or the bundled data."""
    if options.data is None:
        frame = load_support_tickets().frame
        parts = [frame[frame["split"] == split] for split in ("train", "test")]
        train, test = [(part["message"], part["category"]) for part in parts]
        return [list(train[0]), list(test[0]), list(train[1]), list(test[1])]
    if not options.text or not options.target:
        raise ValueError("--data needs --text COLUMN and --target COLUMN.")
    texts, labels = _read_columns(options.data, options.text, options.target)
    stratify = labels if labels.value_counts().min() > 1 else None
    try:
        parts = train_test_split(
            texts, labels, test_size=0.2, random_state=0, stratify=stratify
        )
    except ValueError as error:
        raise ValueError(
            f"{options.data} has {len(texts)} rows with text and label, too few to "
            f"train and test on: {error}"
        ) from error
    return [list(part) for part in parts]


def _read_columns(path: Path, text: str, target: str) -> tuple[pd.Series, pd.Series]:
    try:
        # Only an empty cell is missing: "None" or "NA" may be a label.
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except UNREADABLE as error:  # whose message does not name the file
        raise ValueError(f"{path} cannot be read as CSV: {error}") from error
    except OSError as error:
        raise OSError(
            f"--data {path} cannot be opened ({error.strerror or error}); expected a "
            "CSV file."
        ) from error
    for column in (text, target):
        if column not in frame:
            raise ValueError(f"{path} has no column {column!r}; it has {list(frame)}.")
    complete = frame.dropna(subset=[text, target])
    if len(complete) < len(frame):
        _say(f"Left out: {len(frame) - len(complete)} rows without text or label.")
    _check_labels(path, complete[target])
    return complete[text], complete[target]


def _check_labels(path: Path, labels: pd.Series) -> None:
    """Raise ValueError if a column holds no labels; print a note if it may not."""
    n_rows, n_labels = len(labels), labels.nunique()
    if n_rows < MIN_ROWS:
        return
    found = f"column {labels.name!r} of {path} holds {n_labels} different values"
    if n_rows < 2 * n_labels:
        raise ValueError(
            f"{found} in {n_rows} rows; expected labels, each of several rows. Choose "
            "another --target; for numbers, see BertRegressor."
        )
    are_quantities = is_numeric_dtype(labels) and n_labels > MANY_NUMBERS
    if are_quantities or n_rows < FEW_ROWS * n_labels:
        _say(
            f"Note: {found} in {n_rows} rows, and each is learnt as a label of its "
            "own. For numbers, see BertRegressor."
        )


def _shortened(text: str, width: int = 90) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 3] + "..."


if __name__ == "__main__":
    sys.exit(main())
