"""What a launcher tells the processes that it starts."""

import multiprocessing
from types import SimpleNamespace

import pytest

from sklearn_bert._process._launch import (
    NEEDED,
    alone,
    is_alone,
    local_rank,
    rank_and_size,
)

LAUNCHED = dict(zip(NEEDED, ["1", "4", "127.0.0.1", "29500"], strict=True))


@pytest.fixture
def launched(monkeypatch):
    """Set the variables of a launcher, but for some changes."""

    def launch(**changes):
        for name, value in (LAUNCHED | changes).items():
            monkeypatch.setenv(name, value)

    return launch


def test_a_launched_process_knows_its_number(launched):
    """torchrun's variables tell which process it is, and of how many."""
    assert rank_and_size() == (0, 1)
    launched()
    assert rank_and_size() == (1, 4)


@pytest.mark.parametrize(
    "changes", [{"MASTER_ADDR": ""}, {"RANK": "captain"}, {"WORLD_SIZE": "-1"}]
)
def test_other_variables_of_these_names(changes, launched):
    """Variables that are no launcher's, or not all of them, mean nothing."""
    launched(**changes)
    assert rank_and_size() == (0, 1)


def test_workers_of_a_launched_process(launched, monkeypatch):
    """A process that Python has started is none of those that were launched."""
    launched()
    parent = SimpleNamespace(pid=1)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
    assert rank_and_size() == (0, 1)


def test_alone_ends_with_its_block():
    """Blocks may be nested, and end also by an error."""
    with alone():
        with pytest.raises(KeyError), alone():
            raise KeyError
        assert is_alone()
    assert not is_alone()


def test_local_rank(monkeypatch):
    """It is what LOCAL_RANK says, where that is a number."""
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert local_rank() is None
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert local_rank() == 3
