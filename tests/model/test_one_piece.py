import copy
import os
import pickle
import sys

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_bert import BertClassifier, load, save
from sklearn_bert.model._one_piece import move_to_one_piece

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="weights are moved on Linux alone"
)


def span(parameters):
    """The bytes from the first to behind the last of some weights."""
    begins = [p.data_ptr() for p in parameters]
    ends = [p.data_ptr() + p.nbytes for p in parameters]
    return max(ends) - min(begins)


@pytest.mark.parametrize("shapes", [[(3, 5), (7,), (2, 2)], [(1,)], []])
def test_values_stay_and_places_are_neighbours(shapes):
    """Weights have the values that they had, in aligned places that do not overlap."""
    weights = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    before = [p.detach().clone() for p in weights]
    move_to_one_piece([*weights, *weights])
    assert all(torch.equal(p, old) for p, old in zip(weights, before, strict=True))
    assert all(p.data_ptr() % 64 == 0 and p.is_contiguous() for p in weights)
    for p in weights:
        with torch.no_grad():
            p.fill_(1)
    assert [p.sum().item() for p in weights] == [p.numel() for p in weights]


@pytest.mark.parametrize("trainable", ["all", 1, "head"])
def test_a_fit_leaves_what_it_trained_in_one_piece(
    settings, reviews, tmp_path, trainable
):
    """Weights of its own lie together; copies, pickles and folders hold the same."""
    texts, labels = reviews
    clf = BertClassifier(**settings, trainable=trainable).fit(texts, labels)
    # An encoder that is frozen whole is the checkpoint's.
    part = clf.net_.module.head if trainable == "head" else clf.net_.module
    own = list(part.parameters())
    assert span(own) <= sum(p.nbytes + 64 for p in own)
    expected = clf.predict_proba(texts)
    save(clf, tmp_path / "saved")
    for other in (
        copy.deepcopy(clf),
        pickle.loads(pickle.dumps(clf)),
        load(tmp_path / "saved"),
    ):
        np.testing.assert_array_equal(other.predict_proba(texts), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_writes_into_its_own_weights():
    """What a forked process does to its weights, its parent does not see."""
    weight = nn.Parameter(torch.ones(8))
    move_to_one_piece([weight])
    child = os.fork()
    if child == 0:
        weight.data.zero_()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert weight.sum() == 8
