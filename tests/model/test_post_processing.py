import json

import pytest
import torch
from torch import nn

from sklearn_bert.model._post_processing import (
    IDENTITY,
    First,
    Normalize,
    build_steps,
    linear_map,
    n_features_after,
    plan_of,
    read_step,
    write_step,
)

PLAN = [["normalize"], ["dense", 6, 4, True], ["dense", 4, 3, False], ["first", 2]]


@pytest.fixture
def vectors():
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(0))


def test_a_plan_makes_steps_of_which_it_is_the_plan():
    """Plans go through JSON and steps, and come back."""
    steps = build_steps(json.loads(json.dumps(PLAN)))
    assert plan_of(steps) == PLAN
    assert plan_of(build_steps([])) == []


def test_steps_follow_each_other(vectors):
    """Vectors are scaled, mapped and shortened in the order of the plan."""
    steps = build_steps(PLAN)
    first, second = steps[1], steps[2]
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    expected = (unit @ first.weight.T + first.bias) @ second.weight.T
    torch.testing.assert_close(steps(vectors), expected[:, :2])


@pytest.mark.parametrize("n_steps", range(5))
def test_n_features_after(vectors, n_steps):
    """The number of entries is known before there are vectors."""
    steps = build_steps(PLAN[:n_steps])
    assert n_features_after(steps, 6) == steps(vectors).shape[1]


@pytest.mark.parametrize("has_bias", [True, False])
def test_a_linear_map_comes_back_from_its_folder(tmp_path, vectors, has_bias):
    """What is read is what was written, to the bit, and does not learn."""
    step = nn.Linear(6, 4, bias=has_bias)
    write_step(step, tmp_path / "2_Dense", 6)
    again = read_step(tmp_path / "2_Dense")
    assert torch.equal(again(vectors), step(vectors))
    assert not any(p.requires_grad for p in again.parameters())


def test_shortening_is_written_as_a_linear_map(tmp_path, vectors):
    """A Dense module of ones and zeros picks the same entries."""
    write_step(First(4), tmp_path / "2_Dense", 6)
    assert torch.equal(read_step(tmp_path / "2_Dense")(vectors), First(4)(vectors))


def test_scaling_has_no_files(tmp_path):
    """A Normalize module is known by its name."""
    write_step(Normalize(), tmp_path / "2_Normalize", 6)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"activation_function": "torch.nn.modules.activation.Tanh"},
        {"use_residual": True},
        {"module_input_name": "token_embeddings"},
        {"module_output_name": "another"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_dense_modules_are_not_taken_for_linear_maps(tmp_path, change):
    """A Dense module that does more than multiply and add is not read."""
    path = tmp_path / "2_Dense"
    write_step(nn.Linear(6, 4), path, 6)
    config = json.loads((path / "config.json").read_text())
    assert config["activation_function"] == IDENTITY
    (path / "config.json").write_text(json.dumps(config | change))
    assert read_step(path) is None
    assert read_step(tmp_path / "not_there") is None


def test_linear_map_is_weight_times_vector_plus_bias(vectors):
    """Arrays become a map that does not learn."""
    step = linear_map(torch.eye(6).numpy()[:2], torch.tensor([1.0, 2.0]).numpy())
    torch.testing.assert_close(step(vectors), vectors[:, :2] + torch.tensor([1.0, 2.0]))
    assert not any(p.requires_grad for p in step.parameters())
