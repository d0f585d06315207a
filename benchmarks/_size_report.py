"""Tables and curves of the runs of data_sizes.py.

A frame of runs has a row per set, size, draw and method; the names of these are ordered
categories.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

SIZES = [f"{n}/class" for n in (8, 16, 32, 64, 256, 1000)]
SIZES += [f"{n} rows" for n in (50, 100, 300, 1000)] + ["all"]
NAMES = {
    "tfidf": "TF-IDF + linear model",
    "embedder": "BertEmbedder + linear model",
    "cosine": "cosine of a pair + linear model",
    "trainer": "Trainer",
    "setfit": "SetFit",
    "ours": "BertClassifier",
}
# Colours of Okabe and Ito, which the colour-blind tell apart; markers do so in print.
LOOKS = {
    "tfidf": {"color": "#CC79A7", "marker": "^"},
    "embedder": {"color": "#009E73", "marker": "s"},
    "cosine": {"color": "#0072B2", "marker": "P"},
    "trainer": {"color": "#E69F00", "marker": "D"},
    "setfit": {"color": "#56B4E9", "marker": "v"},
    "ours": {"color": "#D55E00", "marker": "o", "linewidth": 3, "markersize": 9},
}
MIN_SETS = 3  # a mean over fewer says little
CORRELATIONS = {"cola", "stsb"}  # what their scores are; those of others are shares


def standard_error(values: pd.Series) -> float | None:
    """Of a mean; a single value has none."""
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None


def by_set(runs: pd.DataFrame) -> Iterator[dict]:
    """A row per set and size: mean and standard error of each method."""
    for (name, size), group in runs.groupby(["set", "size"], observed=True):
        row = {"set": f"{name}, {size}", "n": int(group["n_train"].mean())}
        for method, own in group.groupby("method", observed=True):
            error = standard_error(own["score"])
            more = "" if error is None else f" ± {error:.3f}"
            row[method] = f"{own['score'].mean():.3f}{more}"
        yield row


def paired(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs of peers with ours of the same rows beside them, in columns with "_ours".

    Seconds are missing where the two runs are not of one machine and its packages.
    """
    is_ours = runs["method"] == "ours"
    same = ["set", "size", "draw"]
    pairs = runs[~is_ours].merge(runs[is_ours], on=same, suffixes=("", "_ours"))
    is_one = pairs["environment"] == pairs["environment_ours"]
    seconds = [name for name in pairs if "seconds" in name]
    pairs[seconds] = pairs[seconds].where(is_one)
    return pairs


def over_sets(runs: pd.DataFrame) -> Iterator[dict]:
    """A row per size and peer: means over the sets that both have, and the difference.

    Its standard error is over the sets.
    """
    names = [
        name for name in ("score", "log_loss", "ece", "fit_cpu_seconds") if name in runs
    ]
    names = [column for name in names for column in (name, f"{name}_ours")]
    by_cell = paired(runs).groupby(["size", "method", "set"], observed=True)
    means = by_cell[names].mean()
    for (size, peer), group in means.groupby(["size", "method"], observed=True):
        difference = group["score_ours"] - group["score"]
        row = {"size": size, "peer": peer, "sets": len(group)}
        row |= {"difference": f"{difference.mean():+.3f}"}
        row |= {"error": standard_error(difference)}
        values = group[names].mean().dropna()
        yield row | {name: float(value) for name, value in values.items()}


def exceptions(runs: pd.DataFrame) -> Iterator[dict]:
    """Sets and sizes where ours is more than two standard errors below the best peer.

    The error is that of the difference over draws. One draw has none: there it is that
    of two correlations, or two shares, of the test rows.
    """
    for cell, group in paired(runs).groupby(["set", "size"], observed=True):
        best = group.groupby("method", observed=True)["score"].mean().idxmax()
        group = group[group["method"] == best]
        means = group[["score", "score_ours"]].mean()
        difference = float(means["score_ours"] - means["score"])
        error = standard_error(group["score_ours"] - group["score"])
        if error is None:
            is_correlation = cell[0] in CORRELATIONS
            variances = (1 - means**2) ** 2 if is_correlation else means * (1 - means)
            error = float((variances.sum() / group["test_rows"].mean()) ** 0.5)
        if difference < -2 * error:
            yield {
                "set": ", ".join(cell),
                "best_peer": best,
                "score": float(means["score"]),
                "ours": float(means["score_ours"]),
                "difference": difference,
                "error": error,
            }


def frame_of(records: list[dict]) -> pd.DataFrame:
    """Runs among the records, of each kind the last; sizes and methods are ordered."""
    runs = pd.DataFrame([record for record in records if "set" in record])
    runs = runs.drop_duplicates(["set", "size", "draw", "method"], keep="last")
    for name, order in {"size": SIZES, "method": list(NAMES)}.items():
        runs[name] = pd.Categorical(runs[name], order, ordered=True)
    return runs


def shared_draws(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs of the draws that all methods of a size have.

    A method with fewer than MIN_SETS sets of a size is not compared there, and a size
    with fewer is left out.
    """
    kept = []
    for _, group in runs.groupby("size", observed=True):
        n_sets = group.groupby("method", observed=True)["set"].nunique()
        methods = n_sets.index[n_sets >= MIN_SETS]
        group = group[group["method"].isin(methods)]
        n_methods = group.groupby(["set", "draw"])["method"].transform("nunique")
        group = group[n_methods == len(methods)]
        if group["set"].nunique() >= MIN_SETS:
            kept.append(group)
    return pd.concat(kept)


def panels(runs: pd.DataFrame) -> Iterator[tuple[str, list[str], pd.DataFrame]]:
    """Title, sets and shared runs: of sizes per class, then of sizes in all.

    Within a panel all methods have the same draws at each size, and the sets are the
    same at all sizes, so that a curve rises by its labels alone.
    """
    runs = shared_draws(runs)
    per_class = runs["size"].str.endswith("/class")
    titles = {"labelled texts per class": per_class, "labelled texts": ~per_class}
    for title, rows in titles.items():
        by_size = runs[rows].groupby("size", observed=True)["set"]
        sets = sorted(set.intersection(*map(set, by_size.unique())))
        yield title, sets, runs[rows & runs["set"].isin(sets)]


def means(runs: pd.DataFrame, figure: str) -> pd.DataFrame:
    """Mean over sets of the mean over draws: a row per size, a column per method."""
    by_set = runs.pivot_table(figure, ["size", "set"], "method", observed=True)
    return by_set.groupby("size", observed=True).mean()


def plot(runs: pd.DataFrame, path: Path, *, dark: bool = False) -> None:
    """Draw the mean score by the number of labels, on a white or a dark ground."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    ground, ink = ("#14181e", "#ced6dd") if dark else ("white", "#222832")
    settings = {"svg.fonttype": "none", "svg.hashsalt": "", "font.size": 11}
    settings |= {"text.color": ink, "axes.labelcolor": ink, "axes.edgecolor": ink}
    settings |= {"xtick.color": ink, "ytick.color": ink, "font.family": "sans-serif"}
    settings |= {"axes.spines.top": False, "axes.spines.right": False}
    settings |= {"font.sans-serif": ["DejaVu Sans", "Arial", "sans-serif"]}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(7.5, 4), layout="constrained", facecolor=ground)
        all_axes = figure.subplots(1, 2, sharey=True)
        for axes, (title, sets, own) in zip(all_axes, panels(runs), strict=True):
            draw(axes, means(own, "score"))
            axes.set(
                xlabel=title, title=f"mean over {len(sets)} sets", facecolor=ground
            )
        all_axes[0].set_ylabel("score")
        handles, labels = all_axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=3, frameon=False
        )
        figure.savefig(path, metadata={"Date": None})


def draw(axes, scores: pd.DataFrame) -> None:
    """One curve for each method."""
    for method, column in scores.items():
        column = column.dropna()
        places = [scores.index.get_loc(size) for size in column.index]
        axes.plot(places, column, label=NAMES[method], **LOOKS[method])
    ticks = [size.removesuffix("/class").removesuffix(" rows") for size in scores.index]
    axes.set_xticks(range(len(scores)), ticks)
    axes.set_xmargin(0.12)
    axes.grid(axis="y", alpha=0.25)
