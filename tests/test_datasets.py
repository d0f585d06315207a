"""The bundled support tickets: what the documentation promises of them."""

import re

import numpy as np
import pandas as pd
import pytest

from sklearn_bert import datasets
from sklearn_bert.datasets import load_support_tickets

CATEGORIES = ["account", "billing", "delivery", "returns", "technical"]
COLUMNS = ["subject", "message", "channel"]


@pytest.fixture(scope="module")
def tickets():
    """The tickets as pandas objects; not to be changed."""
    return load_support_tickets()


def collapsed(texts):
    """Texts without case and without the length of white space."""
    return texts.str.lower().str.split().str.join(" ")


def test_tickets_are_enough_for_a_demo(tickets):
    """There are at least 400 tickets, in five classes of equal size."""
    assert tickets.target_names == CATEGORIES
    counts = tickets.target.value_counts()
    assert sorted(counts.index) == CATEGORIES
    assert counts.sum() == len(tickets.frame) == 460
    assert set(counts) == {92}


def test_the_split_is_fixed_and_stratified(tickets):
    """Every class has 68 tickets for training and 24 for testing, always the same."""
    counts = pd.crosstab(tickets.target, tickets.split)
    assert counts.to_dict("index") == dict.fromkeys(
        CATEGORIES, {"train": 68, "test": 24}
    )
    pd.testing.assert_frame_equal(load_support_tickets().frame, tickets.frame)


def test_no_message_occurs_twice(tickets):
    """No test message was seen in training, even with other spaces and capitals."""
    messages = collapsed(tickets.frame["message"])
    is_train = tickets.split == "train"
    assert not set(messages[is_train]) & set(messages[~is_train])
    assert messages.is_unique


def test_no_subject_leaks_into_another_message(tickets):
    """No ticket of the test part repeats a training message in its subject."""
    subjects = set(collapsed(tickets.frame["subject"])) - {""}
    assert not subjects & set(collapsed(tickets.frame["message"]))


def test_no_cell_is_missing(tickets):
    """All cells are str, and only subjects may be empty."""
    frame = tickets.frame
    assert not frame.isna().any(axis=None)
    assert all(isinstance(cell, str) for cell in frame.to_numpy().ravel())
    empty = (frame == "").any()
    assert empty[empty].index.tolist() == ["subject"]
    assert set(frame["channel"]) == {"email", "chat", "web form"}
    assert set(frame["split"]) == {"train", "test"}


def test_messages_are_short_and_long(tickets):
    """Fragments of three words and e-mails of 300 occur, in both parts."""
    n_words = tickets.frame["message"].str.split().str.len()
    assert n_words.min() <= 3
    assert n_words.max() >= 300
    for split in ("train", "test"):
        part = n_words[tickets.split == split]
        assert (part <= 10).mean() > 0.1
        assert (part >= 100).mean() > 0.05
        assert part.median() > 20


def test_no_channel_gives_the_class_away(tickets):
    """Every class came in by every channel, in similar shares."""
    shares = pd.crosstab(tickets.target, tickets.frame["channel"], normalize="index")
    assert shares.min(axis=None) > 0.15
    assert (shares.max() - shares.min()).max() < 0.1


def test_addresses_are_invented(tickets):
    """E-mail addresses and links end in example.com, which belongs to nobody."""
    text = "\n".join(tickets.frame[["subject", "message"]].to_numpy().ravel())
    domains = re.findall(r"@([\w-]+(?:\.[\w-]+)+)", text)
    hosts = re.findall(r"(?:https?://|www\.)([\w.-]+\w)", text)
    assert set(domains) == {"example.com"}
    assert all(host.endswith("example.com") for host in hosts)


def test_a_bunch_of_pandas_objects(tickets):
    """By default, data, target and split are columns of the frame."""
    frame = tickets.frame
    assert frame.columns.tolist() == [*COLUMNS, "category", "split"]
    pd.testing.assert_series_equal(tickets.data, frame["message"])
    pd.testing.assert_series_equal(tickets.target, frame["category"])
    pd.testing.assert_series_equal(tickets.split, frame["split"])


def test_a_bunch_of_arrays(tickets):
    """as_frame=False gives arrays of str with the same content, and no frame."""
    arrays = load_support_tickets(as_frame=False)
    assert arrays.frame is None
    assert arrays.target_names == CATEGORIES
    for name, shape in [("data", (460,)), ("target", (460,)), ("split", (460,))]:
        assert type(arrays[name]) is np.ndarray
        assert arrays[name].shape == shape
        assert type(arrays[name].flat[0]) is str
        np.testing.assert_array_equal(arrays[name], tickets[name])


@pytest.mark.parametrize(
    ("as_frame", "types"),
    [(True, (pd.Series, pd.Series)), (False, (np.ndarray, np.ndarray))],
)
def test_x_and_y(tickets, as_frame, types):
    """return_X_y gives the pair (data, target) in the same containers."""
    X, y = load_support_tickets(as_frame=as_frame, return_X_y=True)
    assert (type(X), type(y)) == types
    np.testing.assert_array_equal(X, tickets.data)
    np.testing.assert_array_equal(y, tickets.target)


def test_callers_do_not_share_a_frame(tickets):
    """What one caller does to the tickets is not seen by the next."""
    frame = load_support_tickets().frame
    frame.loc[:, "message"] = "spoilt"
    assert load_support_tickets().frame.equals(tickets.frame)


def test_options_are_named():
    """The options are keyword arguments only."""
    with pytest.raises(TypeError, match="positional argument"):
        load_support_tickets(False)


def test_the_description_is_right(tickets):
    """DESCR and the docstring name the sizes and the columns that are there."""
    train, test = (tickets.target[tickets.split == s] for s in ("train", "test"))
    assert f"{len(tickets.frame)} messages" in tickets.DESCR
    assert f"{train.value_counts().iloc[0]} messages for training" in tickets.DESCR
    assert f"{test.value_counts().iloc[0]} for testing" in tickets.DESCR
    for name in [*tickets.frame.columns, *CATEGORIES]:
        assert name in tickets.DESCR
    assert "BSD-3-Clause" in tickets.DESCR
    assert datasets.__all__ == ["load_support_tickets"]
