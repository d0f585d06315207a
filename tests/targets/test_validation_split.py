import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sklearn_bert.targets._validation_split import check_groups, hold_out

lenient = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**31 - 1)


def split(rows, share, *, codes=None, groups=None, seed=0):
    train, valid = hold_out(
        np.asarray(rows), share, codes=codes, groups=groups, seed=seed
    )
    # Together they are the rows, each once.
    assert sorted([*train, *valid]) == sorted(rows)
    assert len(train) > 0
    assert len(valid) > 0
    return train, valid


@lenient
@given(st.integers(11, 60), st.sampled_from([0.1, 0.2, 0.5, 0.9]), seeds)
def test_a_share_of_the_rows(n, share, seed):
    """Without classes and groups, a share of the rows is held out at random."""
    _, valid = split(np.arange(n) * 3, share, seed=seed)
    assert len(valid) == int(np.ceil(n * share))


@lenient
@given(
    st.lists(st.integers(10, 40), min_size=2, max_size=4),
    st.sampled_from([0.2, 0.3, 0.5]),
    seeds,
)
def test_classes_keep_their_shares(sizes, share, seed):
    """Each class has its share of the held-out part, but for rounding."""
    codes = np.random.default_rng(seed).permutation(np.repeat(range(len(sizes)), sizes))
    _, valid = split(range(len(codes)), share, codes=codes, seed=seed)
    found = np.bincount(codes[valid], minlength=len(sizes))
    assert abs(len(valid) - len(codes) * share) < 1
    assert np.abs(found - np.array(sizes) * len(valid) / len(codes)).max() < 1


@lenient
@given(st.integers(4, 12), st.sampled_from([0.25, 0.5]), seeds)
def test_groups_stay_together(n_groups, share, seed):
    """No group is on both sides, and a share of the groups is held out."""
    groups = np.random.default_rng(seed).integers(0, n_groups, 50)
    n_there = len(set(groups))
    assume(n_there > 2)
    train, valid = split(range(50), share, groups=groups, seed=seed)
    assert not set(groups[train]) & set(groups[valid])
    assert len(set(groups[valid])) == int(np.ceil(n_there * share))


@lenient
@given(seeds)
def test_groups_and_classes(seed):
    """Groups stay together, and classes keep their shares as far as groups allow."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(50), 6))
    codes = (rng.uniform(size=300) < 0.2).astype(int)
    train, valid = split(range(300), 0.2, codes=codes, groups=groups, seed=seed)
    assert not set(groups[train]) & set(groups[valid])
    assert len(valid) == pytest.approx(60, abs=12)
    assert codes[valid].mean() == pytest.approx(codes.mean(), abs=0.08)


@pytest.mark.parametrize("share", [0.1, 0.15, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75])
@pytest.mark.parametrize("with_classes", [False, True])
def test_the_share_of_groups(share, with_classes):
    """As many groups are held out as the share says, with classes or without."""
    groups = np.repeat(np.arange(60), 5)
    codes = np.tile([0, 1, 0, 1, 1], 60) if with_classes else None
    _, valid = split(range(300), share, codes=codes, groups=groups)
    assert len(set(groups[valid])) / 60 == pytest.approx(share, abs=0.035)


CASES = {
    "plain": {},
    "classes": {"codes": np.arange(60) % 3},
    "groups": {"groups": np.arange(60) % 20},
    "both": {"codes": np.arange(60) // 20, "groups": np.arange(60) % 20},
}


@pytest.mark.parametrize("how", CASES.values(), ids=CASES)
def test_the_seed_decides(how):
    """Equal seeds split alike, other seeds do not, and NumPy's own is left alone."""
    before = np.random.get_state()[1].tolist()
    first, again = [
        hold_out(np.arange(60), 0.2, **given, seed=7)
        for given in ({"codes": None, "groups": None} | how,) * 2
    ]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    others = [split(range(60), 0.2, **how, seed=seed)[1].tolist() for seed in range(9)]
    assert len({tuple(sorted(rows)) for rows in others}) > 5
    assert np.random.get_state()[1].tolist() == before


@pytest.mark.parametrize("how", CASES.values(), ids=CASES)
def test_only_the_rows_are_split(how):
    """Texts that are not among the rows are on neither side; codes go by text."""
    rows = np.arange(0, 60, 2)[::-1]
    train, valid = split(rows, 0.25, **how)
    if "codes" in how:
        assert set(how["codes"][train]) == set(how["codes"][rows])
    if "groups" in how:
        groups = how["groups"]
        assert not set(groups[train]) & set(groups[valid])


def test_few_texts_of_a_class_are_still_split_by_group():
    """Where a class is too rare for equal shares, groups alone are kept together."""
    groups = np.repeat(np.arange(10), 5)
    codes = np.zeros(50, dtype=int)
    codes[[0, 6, 12, 18]] = 1  # four texts in four groups
    train, valid = split(range(50), 0.1, codes=codes, groups=groups)
    assert not set(groups[train]) & set(groups[valid])
    assert set(codes[train]) == {0, 1}


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"codes": np.array([0] * 9 + [1])}, "least populated class"),
        ({"groups": np.zeros(10, dtype=int)}, "n_samples=1"),
        (
            {"codes": np.arange(10) % 2, "groups": np.zeros(10, dtype=int)},
            "n_samples=1",
        ),
    ],
    ids=["a class of one", "one group", "one group and classes"],
)
def test_what_cannot_be_split_is_refused(how, match):
    """A class of one text, or a single group, cannot be on two sides."""
    with pytest.raises(ValueError, match=match):
        split(range(10), 0.2, **how)


def test_a_class_that_would_be_lost_is_refused():
    """Where all texts of a class are held out, that is said."""
    groups = np.repeat([0, 1], 5)  # each class is a group
    with pytest.raises(ValueError, match="all texts of 1 classes are in the held-out"):
        split(range(10), 0.5, codes=groups.copy(), groups=groups)


# -- groups ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "groups",
    [
        ["b", "a", "b"],
        np.array([7, 3, 7]),
        pd.Series(["b", "a", "b"], index=[9, 9, 9]),
        pd.Series(["b", "a", "b"], dtype="category"),
        (2.5, 1.5, 2.5),
    ],
    ids=["strings", "numbers", "Series", "categories", "tuple"],
)
def test_groups_become_numbers(groups):
    """Whatever names the groups, equal names get equal numbers."""
    assert check_groups(groups, ["x", "y", "z"]).tolist() == [1, 0, 1]


def test_split_without_groups():
    """Where there are no groups, there are no numbers."""
    assert check_groups(None, ["x"]) is None


def test_groups_of_other_length_are_refused():
    """There is a group for each text."""
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[3, 2\]"):
        check_groups([1, 2], ["x", "y", "z"])
