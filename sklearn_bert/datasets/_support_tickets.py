"""Customer messages to an online shop, in five classes."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pandas as pd
from sklearn.utils import Bunch

DESCRIPTION = """Support tickets
---------------
460 messages of customers to an online shop with a subscription app, written by hand for
sklearn_bert: many voices, typos, chat fragments of three words and e-mails of 300, and
some that touch the matter of another class. Each class has 68 messages for training and
24 for testing. All persons, orders and addresses are invented. BSD-3-Clause.

========  ==========================================================
subject   what the customer put on top; empty for many chats
message   what the customer wrote
channel   "email", "chat" or "web form"
category  the class: "account", "billing", "delivery", "returns" or "technical"
split     "train" or "test"
========  ==========================================================
"""


def load_support_tickets(*, as_frame: bool = True, return_X_y: bool = False) -> Any:
    """Load 460 customer messages in 5 classes, with a fixed train/test split.

    Parameters
    ----------
    as_frame : bool, default=True
        Whether `data`, `target` and `split` are pandas Series, or arrays.
    return_X_y : bool, default=False
        Whether to return `(data, target)` instead of a Bunch.

    Returns
    -------
    Bunch
        `data` of shape (460,): the messages; `target` of shape (460,): the category;
        `target_names`: the 5 categories; `split` of shape (460,): "train" or "test";
        `frame`: these with the columns "subject" and "channel" (None unless
        `as_frame`); `DESCR`.

    Examples
    --------
    >>> from sklearn_bert.datasets import load_support_tickets
    >>> tickets = load_support_tickets()
    >>> tickets.target_names
    ['account', 'billing', 'delivery', 'returns', 'technical']
    >>> train = tickets.frame[tickets.split == "train"]
    >>> train["category"].value_counts().unique()
    array([68])
    """
    path = resources.files("sklearn_bert.datasets") / "data" / "support_tickets.csv"
    with resources.as_file(path) as file:
        frame = pd.read_csv(file, keep_default_na=False)
    columns: list[Any] = [frame[name] for name in ("message", "category", "split")]
    if not as_frame:
        columns = [column.to_numpy(dtype=object) for column in columns]
    data, target, split = columns
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        target_names=sorted(set(target)),
        split=split,
        frame=frame if as_frame else None,
        DESCR=DESCRIPTION,
    )
