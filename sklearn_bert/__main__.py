"""The command line: `python -m sklearn_bert demo`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split

from sklearn_bert import BertClassifier, save
from sklearn_bert._folder import check_replaceable
from sklearn_bert._save import is_saved_estimator
from sklearn_bert.datasets import load_support_tickets

N_SHOWN = 3


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status of the process."""
    options = _parser().parse_args(arguments)
    try:
        return _demo(options)
    except (OSError, ValueError, TypeError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
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
    demo.add_argument("--epochs", type=int, default=4, help="default: %(default)s")
    demo.add_argument(
        "--learning-rate", type=float, default=2e-4, help="default: %(default)s"
    )
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("support-ticket-model"),
        help="folder for the model; default: %(default)s",
    )
    return parser


def _demo(options: argparse.Namespace) -> int:
    # Now, and not after minutes of training.
    check_replaceable(options.out, is_saved_estimator)
    for folder in options.out.absolute().parents:
        if folder.exists() and not folder.is_dir():
            raise ValueError(
                f"--out {options.out} lies in {folder}, which is a file; expected a "
                "folder."
            )
    X_train, X_test, y_train, y_test = _read(options)
    clf = BertClassifier(
        max_epochs=options.epochs,
        learning_rate=options.learning_rate,
        random_state=0,
        verbose=1,
    )
    print(f"Fine-tuning {clf.checkpoint} on {len(X_train)} texts ...", flush=True)
    clf.fit(X_train, y_train)
    seconds = sum(epoch["seconds"] for epoch in clf.history_)
    print(f"{clf.n_iter_} epochs in {seconds:.0f} s\n")
    print(classification_report(y_test, clf.predict(X_test), zero_division=0))
    for text, proba in zip(
        X_test[:N_SHOWN], clf.predict_proba(X_test[:N_SHOWN]), strict=True
    ):
        best = sorted(zip(proba, clf.classes_, strict=True), reverse=True)[:2]
        chances = ", ".join(f"{label} {p:.0%}" for p, label in best)
        print(f"{_shortened(text)!r}\n  -> {chances}")
    save(clf, options.out)
    print(f"\nModel saved in {options.out}; sklearn_bert.load({str(options.out)!r})")
    return 0


def _read(options: argparse.Namespace) -> list[list[Any]]:
    """Training and test texts and labels, from the caller's file or our own."""
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
    except ValueError as error:  # which does not say of which file it speaks
        raise ValueError(f"{path} cannot be read as CSV: {error}") from error
    except OSError as error:
        raise OSError(
            f"--data {path} cannot be opened ({error.strerror}); expected a CSV file."
        ) from error
    for column in (text, target):
        if column not in frame:
            raise ValueError(f"{path} has no column {column!r}; it has {list(frame)}.")
    whole = frame.dropna(subset=[text, target])
    if len(whole) < len(frame):
        print(f"Left out: {len(frame) - len(whole)} rows without text or label.")
    return whole[text], whole[target]


def _shortened(text: str, width: int = 90) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 3] + "..."


if __name__ == "__main__":
    sys.exit(main())
