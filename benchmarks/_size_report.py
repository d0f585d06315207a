"""Tables and curves of the runs of data_sizes.py.

A frame of runs has a row per set, size, draw and method; the names of these are ordered
categories.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd


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
    """Runs of peers with ours of the same rows beside them, in columns with "_ours"."""
    is_ours = runs["method"] == "ours"
    same = ["set", "size", "draw"]
    return runs[~is_ours].merge(runs[is_ours], on=same, suffixes=("", "_ours"))


def over_sets(runs: pd.DataFrame) -> Iterator[dict]:
    """A row per size and peer: means over the sets that both have, and the difference.

    Its standard error is over the sets.
    """
    names = [
        name for name in ("score", "log_loss", "ece", "fit_seconds") if name in runs
    ]
    names = [column for name in names for column in (name, f"{name}_ours")]
    by_cell = paired(runs).groupby(["size", "method", "set"], observed=True)
    means = by_cell[names].mean()
    for (size, peer), group in means.groupby(["size", "method"], observed=True):
        difference = group["score_ours"] - group["score"]
        row = {"size": size, "peer": peer, "sets": len(group)}
        row |= {"difference": f"{difference.mean():+.3f}"}
        row |= {"error": standard_error(difference)}
        yield row | {name: float(group[name].mean()) for name in names}


def exceptions(runs: pd.DataFrame) -> Iterator[dict]:
    """Sets and sizes where ours is more than two standard errors below the best peer.

    The error is that of the difference over draws. One draw has none: there it is that
    of two shares of the test rows, which takes the score for a share.
    """
    for cell, group in paired(runs).groupby(["set", "size"], observed=True):
        best = group.groupby("method", observed=True)["score"].mean().idxmax()
        group = group[group["method"] == best]
        means = group[["score", "score_ours"]].mean()
        difference = float(means["score_ours"] - means["score"])
        error = standard_error(group["score_ours"] - group["score"])
        if error is None:
            shares = means.clip(0, 1)
            variances = shares * (1 - shares) / group["test_rows"].mean()
            error = float(variances.sum() ** 0.5)
        if difference < -2 * error:
            yield {
                "set": ", ".join(cell),
                "best_peer": best,
                "score": float(means["score"]),
                "ours": float(means["score_ours"]),
                "difference": difference,
                "error": error,
            }


def plot(runs: pd.DataFrame, path: str) -> None:
    """Draw the mean score by size, over the sets that all methods have."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib") from error
    scores = runs.pivot_table("score", ["size", "set"], "method", observed=True)
    by_size = scores.dropna().groupby("size", observed=True)
    means, n_sets = by_size.mean(), by_size.size()
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    per_class = means.index.str.endswith("/class")
    for panel, rows in zip(panels, (means[per_class], means[~per_class]), strict=True):
        for method in rows:
            panel.plot(range(len(rows)), rows[method], "o-", label=method)
        ticks = [f"{size}\n{n_sets[size]} sets" for size in rows.index]
        panel.set_xticks(range(len(rows)), ticks)
    panels[0].set_ylabel("mean score")
    panels[0].legend()
    figure.savefig(path)
    print(f"written: {path}")
