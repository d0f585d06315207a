"""Accuracy and cost by number of labels: defaults against peers, on many public sets.

sizes    "8/class": so many rows of each class (of a class with fewer, all it has; a set
         has the size where half of its classes or more reach it). With several labels
         per text, so many rows of each label. "50 rows": as they come. "all".
draws    A draw is a random choice of rows, the same for every method. A class that it
         lacks is unknown to the methods, and counts in the test.
methods  tfidf     TfidfVectorizer and a linear model
         embedder  BertEmbedder and the same linear model; a pair is read as one
         cosine    of pairs: BertEmbedder of either half, and the same linear model of
                   the cosine of the two, standardised
         trainer   transformers.Trainer with its defaults: 3 epochs, batches of 8, 5e-5,
                   float32. For wnut17 a plain loop, with batches of 32
         setfit    SetFit with its defaults, for 8 and 16 rows per class of single texts
         ours      BertClassifier, BertRegressor or BertTokenClassifier
         The linear model is LogisticRegression (one per label of several), or Ridge.
figures  score     accuracy, or what the set is known by: Matthews correlation (cola),
                   mean over labels of the average precision (goemotions), Spearman
                   correlation (stsb), F1 of entities (wnut17)
         macro_f1  mean over the classes of the test, or over labels at probability 1/2
         log_loss  mean of -log(p), p the probability of the true class (or of each
                   label's truth), 1e-6 at least, as for a class that the sample lacks
         ece       expected calibration error in 15 bins, of the class predicted, or of
                   each label
         seconds   to fit, by the clock and of all cores; to predict the test rows

Each run is a line of the records file. Runs that are there, by set, size, draw, method,
test rows and version of the package, are not made again.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path

import _data
import numpy as np
import pandas as pd
from _common import CHECKPOINT, RESULTS, table, variant, wait_for_gpu
from _data import WHERE_DATA
from _figures import class_figures, label_figures
from _peers import setfit_proba, setfit_steps, trainer_scores
from _records import append, on_file, record_environment
from _size_report import SIZES, by_set, exceptions, frame_of, over_sets, plot
from _target_peers import token_loop
from scipy.special import expit, softmax
from scipy.stats import spearmanr
from seqeval.metrics import f1_score as entity_f1
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    matthews_corrcoef,
)
from sklearn.metrics.pairwise import paired_cosine_distances
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_bert import (
    BertClassifier,
    BertEmbedder,
    BertRegressor,
    BertTokenClassifier,
    __version__,
    cache_info,
)
from sklearn_bert.model._find import find_checkpoint

LARGE = {"256/class", "1000/class", "1000 rows"}
SETFIT_SIZES = {"8/class", "16/class"}

# A label that a sample lacks has a constant in place of a model.
warnings.filterwarnings("ignore", message="Label .* is present in all training")


# -- sets --------------------------------------------------------------------------


@dataclass(frozen=True)
class TextSet:
    """Where a set's two parts come from, what is learned, and how it is scored."""

    read: Callable[[str], tuple]
    parts: tuple[str, str] = ("train", "test")
    target: str = "classes"  # or "labels", "numbers", "tags"
    metric: Callable = accuracy_score


def film_reviews(part: str) -> tuple[list[str], np.ndarray]:
    """Long reviews: 600 to test, the others to learn from."""
    texts, labels = _data.movie_reviews(2000)
    rows = slice(600) if part == "test" else slice(600, None)
    return texts[rows], labels[rows]


def spearman(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Rank correlation."""
    return spearmanr(truth, predicted).statistic


SETS = {
    "trec": TextSet(_data.trec),
    "sst2_sentence": TextSet(_data.sst2_split),
    "sms_spam": TextSet(_data.sms_spam),
    "mrpc": TextSet(_data.mrpc),
    "cola": TextSet(_data.cola, ("train", "dev"), metric=matthews_corrcoef),
    "germeval2018": TextSet(_data.germeval2018, ("training", "test")),
    "trec_fine": TextSet(partial(_data.trec, fine=True)),
    "banking77": TextSet(_data.banking77),
    "clinc150": TextSet(_data.clinc150),
    "goemotions": TextSet(
        _data.goemotions, target="labels", metric=average_precision_score
    ),
    "stsb": TextSet(_data.stsb, target="numbers", metric=spearman),
    "wnut17": TextSet(_data.wnut17, target="tags", metric=entity_f1),
    "nltk_movie_reviews": TextSet(film_reviews),
}


@cache
def read(name: str, test_rows: int) -> tuple[tuple, tuple]:
    """X and y to learn from, X and y to test; of many test rows the same few."""
    text_set = SETS[name]
    train, (X, y) = map(text_set.read, text_set.parts)
    rows = np.random.default_rng(0).permutation(len(X))[:test_rows]
    return train, (take(X, rows), take(y, rows))


def take(column, rows: np.ndarray):
    """These rows of a list, an array or a frame."""
    if isinstance(column, pd.DataFrame):
        return column.iloc[rows]
    if isinstance(column, np.ndarray):
        return column[rows]
    return [column[row] for row in rows]


def sample(y, target: str, size: str, draw: int) -> np.ndarray | None:
    """Rows of a draw, or None where the set has not that many."""
    if size == "all":
        return np.arange(len(y))
    count = int(size.split("/")[0].split()[0])
    order = np.random.default_rng(draw).permutation(len(y))
    if size.endswith("rows"):
        return order[:count] if count < len(y) else None
    if target not in ("classes", "labels"):
        return None
    indicator = np.asarray(y)
    if target == "classes":
        indicator = indicator[:, None] == np.unique(indicator)
    indicator = indicator[order].astype(bool)
    if (indicator.sum(axis=0) >= count).mean() < 0.5:
        return None
    among_first = indicator & (indicator.cumsum(axis=0) <= count)
    rows = order[among_first.any(axis=1)]
    return rows if len(rows) < len(y) else None


# -- methods: what learns from X and y, and returns what predicts --------------------


def linear_model(target: str):
    """The linear model of scikit-learn that suits a target."""
    if target == "numbers":
        return Ridge()
    logistic = LogisticRegression(max_iter=1000)
    return OneVsRestClassifier(logistic) if target == "labels" else logistic


def joined(X) -> list[str]:
    """Texts, of pairs both halves as one."""
    return X.agg(" ".join, axis=1).tolist() if isinstance(X, pd.DataFrame) else X


def predictor(model, target: str) -> Callable:
    """Probabilities of classes and labels, or what is predicted."""
    is_proba = target in ("classes", "labels")
    return model.predict_proba if is_proba else model.predict


def tfidf(X, y, *, target: str, seed: int) -> Callable:
    """Fit a linear model on weighted words."""
    words = make_pipeline(FunctionTransformer(joined), TfidfVectorizer())
    return predictor(make_pipeline(words, linear_model(target)).fit(X, y), target)


def embedder(X, y, *, target: str, seed: int) -> Callable:
    """Fit a linear model on vectors of the checkpoint as it is."""
    model = make_pipeline(BertEmbedder(), linear_model(target))
    return predictor(model.fit(X, y), target)


def similarity(pairs: pd.DataFrame) -> np.ndarray:
    """Cosine of the vectors of the two texts of each pair, (n_pairs, 1)."""
    halves = [BertEmbedder().fit_transform(pairs[name]) for name in pairs]
    return 1 - paired_cosine_distances(*halves)[:, None]


def cosine(X, y, *, target: str, seed: int) -> Callable:
    """Fit a linear model on how similar the checkpoint finds the halves of a pair."""
    alike = make_pipeline(FunctionTransformer(similarity), StandardScaler())
    return predictor(make_pipeline(alike, linear_model(target)).fit(X, y), target)


def trainer(X, y, *, target: str, seed: int) -> Callable:
    """Fine-tune by a Trainer with its defaults, or tags by a plain loop."""
    folder = str(find_checkpoint(CHECKPOINT, None))
    if target == "tags":
        return token_loop(folder, X, y, epochs=3, seed=seed)
    defaults = {"epochs": 3, "batch_size": 8, "max_length": None, "seed": seed}
    if target == "classes":
        classes, y = np.unique(y, return_inverse=True)
        settings = {"n_outputs": len(classes)}
    else:
        y = y.astype(np.float32)
        kind = "multi_label_classification" if target == "labels" else "regression"
        n_outputs = y.shape[1] if target == "labels" else 1
        settings = {"n_outputs": n_outputs, "problem_type": kind}
    scores = trainer_scores(folder, columns(X), y, **settings, **defaults)
    activation = {"classes": partial(softmax, axis=1), "labels": expit}.get(
        target, np.ravel
    )
    return lambda new_X: activation(scores(columns(new_X)))


def columns(X):
    """Texts, or the two columns of pairs, as a tokenizer of transformers wants them."""
    if isinstance(X, pd.DataFrame):
        return tuple(X[name].tolist() for name in X)
    return X


def setfit(X, y, *, target: str, seed: int) -> Callable:
    """Fine-tune by SetFit with its defaults."""
    targets = np.unique(y, return_inverse=True)[1] if target == "classes" else y
    return setfit_proba(str(find_checkpoint(CHECKPOINT, None)), X, targets, seed=seed)


def ours(X, y, *, target: str, seed: int) -> Callable:
    """Fit with defaults."""
    estimators = {"numbers": BertRegressor, "tags": BertTokenClassifier}
    model = estimators.get(target, BertClassifier)(random_state=seed)
    return predictor(model.fit(X, y), target)


METHODS = {
    "tfidf": tfidf,
    "embedder": embedder,
    "cosine": cosine,
    "trainer": trainer,
    "setfit": setfit,
    "ours": ours,
}


def applies(method: str, size: str, target: str, X) -> bool:
    """Whether a method is for this target, these texts and this size."""
    is_pairs = isinstance(X, pd.DataFrame)
    if method == "cosine":
        return is_pairs
    if method == "setfit":
        return size in SETFIT_SIZES and not is_pairs and target in ("classes", "labels")
    return target != "tags" or method in ("trainer", "ours")


# -- runs --------------------------------------------------------------------------


def runs_to_make(options: argparse.Namespace) -> Iterator[dict]:
    """Keys of runs, the cheap ones first."""
    small, large, whole = options.draws
    for size in sorted(options.sizes, key=SIZES.index):
        n_draws = whole if size == "all" else large if size in LARGE else small
        for draw, name, method in product(range(n_draws), options.sets, METHODS):
            if method in options.methods:
                yield {"set": name, "size": size, "draw": draw, "method": method}


def make_run(run: dict, options: argparse.Namespace) -> dict | None:
    """Fit and test; None where the set or the method has not this size."""
    text_set = SETS[run["set"]]
    (X, y), (test_X, test_y) = read(run["set"], options.test_rows)
    rows = sample(y, text_set.target, run["size"], run["draw"])
    if rows is None or not applies(run["method"], run["size"], text_set.target, X):
        return None
    X, y = take(X, rows), take(y, rows)
    is_setfit = run["method"] == "setfit"
    if is_setfit and (n_steps := setfit_steps(y)) > options.setfit_steps:
        print(f"skipped: {named(run)}, {n_steps:,} updates; see --setfit-steps")
        return None
    cache_info(clear=True)
    fit = partial(METHODS[run["method"]], target=text_set.target, seed=run["draw"])
    predict, *fit_seconds = clocked(fit, X, y)
    output, *predict_seconds = clocked(predict, test_X)
    return {
        "n_train": len(rows),
        **figures(text_set, y, test_y, output),
        **dict(zip(["fit_seconds", "fit_cpu_seconds"], fit_seconds, strict=True)),
        "predict_seconds": predict_seconds[0],
    }


def figures(text_set: TextSet, y, test, output) -> dict[str, float]:
    """Score of what was predicted for test rows; of probabilities more."""
    if text_set.target == "classes":
        return class_figures(text_set.metric, np.unique(y), test, output)
    if text_set.target == "labels":
        return label_figures(text_set.metric, test, output)
    return {"score": text_set.metric(test, output)}


def clocked(call: Callable, *arguments) -> tuple:
    """What a call returns, its seconds by the clock, and those of all cores."""
    wait_for_gpu()
    wall, cpu = time.perf_counter(), time.process_time()
    result = call(*arguments)
    wait_for_gpu()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def warmed_up(methods: list[str]) -> list[str]:
    """Use each method once, off the clock; leave out what is not installed."""
    texts, labels = ["good", "bad"] * 4, np.array([1, 0] * 4)
    installed = []
    for method in methods:
        try:
            if applies(method, "8/class", "classes", texts):
                METHODS[method](texts, labels, target="classes", seed=0)(texts)
        except ImportError as error:
            print(f"skipped: {method} ({error})")
            continue
        installed.append(method)
    return installed


def named(run: dict) -> str:
    """A run in words."""
    return f"{run['set']}, {run['size']}, draw {run['draw']}, {run['method']}"


# -- records -----------------------------------------------------------------------


def key(run: dict) -> tuple:
    """What a run is told by."""
    names = ["set", "size", "draw", "method", "test_rows", "version"]
    return tuple(run[name] for name in names)


def measure(options: argparse.Namespace) -> None:
    """Make the runs that are not on file; write each as it is done."""
    done = {key(record) for record in on_file(options.records) if "set" in record}
    environment = record_environment(options.records)
    for run in runs_to_make(options):
        run |= {"test_rows": options.test_rows, "version": __version__}
        if key(run) in done and not options.again:
            continue
        if (found := make_run(run, options)) is not None:
            append(options.records, {**run, "environment": environment, **found})
            score, seconds = found["score"], found["fit_seconds"]
            print(f"{named(run)}: {score:.3f} in {seconds:.1f} s", flush=True)


def chosen(options: argparse.Namespace) -> pd.DataFrame:
    """Runs on file of the sets, sizes and methods asked for; the last of its kind."""
    records = on_file(options.records)
    if not any("set" in record for record in records):
        raise SystemExit(f"{options.records} has no runs; run without --report first.")
    frame = frame_of(records)
    for name in ("set", "size", "method"):
        frame = frame[frame[name].isin(getattr(options, f"{name}s"))]
    frame["set"] = pd.Categorical(frame["set"], list(SETS), ordered=True)
    return frame.sort_values(["set", "size", "draw", "method"])


def report(runs: pd.DataFrame) -> None:
    """Print the tables."""
    table("Score: mean ± standard error over draws", list(by_set(runs)))
    if rows := list(over_sets(runs)):
        table("Means over the sets that ours and a peer have", rows)
    if rows := list(exceptions(runs)):
        table("Ours more than two standard errors below the best peer", rows)
    else:
        print("\nOurs is nowhere more than two standard errors below the best peer.")


# -- command line ------------------------------------------------------------------


def command_line() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=WHERE_DATA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--sets", nargs="+", default=list(SETS), choices=SETS)
    add("--sizes", nargs="+", default=SIZES, choices=SIZES)
    add("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    add(
        "--draws",
        nargs=3,
        type=int,
        default=[5, 2, 1],
        metavar=("SMALL", "LARGE", "ALL"),
        help="up to 64 per class or 300 rows, above, and of all rows (default: 5 2 1)",
    )
    add("--test-rows", type=int, default=1000, help="at most (default: 1000)")
    add(
        "--setfit-steps",
        type=int,
        default=1000,
        help="skip SetFit where it takes more updates (default: 1000)",
    )
    file = RESULTS / f"{variant('data_sizes', {})}.jsonl"
    add("--records", type=Path, default=file, help="(default: %(default)s)")
    add("--again", action="store_true", help="make runs that are on file again")
    add(
        "--quick",
        action="store_true",
        help="two sets at 8/class, one draw, no slow peer",
    )
    add("--report", action="store_true", help="print tables of what is on file")
    add(
        "--plot",
        type=Path,
        metavar="FILE.svg",
        help="draw curves of what is on file, and for a dark ground FILE-dark.svg",
    )
    options = parser.parse_args()
    if options.quick:
        options.sets, options.sizes = ["trec", "sst2_sentence"], ["8/class"]
        options.draws, options.methods = [1, 1, 1], ["tfidf", "embedder", "ours"]
    return options


def main() -> None:
    """Make the runs, or show what is on file."""
    options = command_line()
    if not (options.report or options.plot):
        options.methods = warmed_up(options.methods)
        measure(options)
    runs = chosen(options)
    if options.report or not options.plot:
        report(runs)
    if path := options.plot:
        plot(runs, path)
        plot(runs, path.with_stem(f"{path.stem}-dark"), dark=True)


if __name__ == "__main__":
    main()
