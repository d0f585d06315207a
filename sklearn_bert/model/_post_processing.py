"""Steps after pooling: scale vectors to length 1, shorten them, map them linearly.

A plan describes the steps as JSON can: `["normalize"]`, `["first", n]`,
`["dense", n_in, n_out, has_bias]`. In a folder each is a module of
sentence-transformers: Normalize, or Dense without an activation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from sklearn_bert.model._damage import (
    CONFIG,
    FIT,
    WEIGHTS,
    check_finite,
    check_weights,
    damaged,
    read_json,
)
from sklearn_bert.model._torch_state import building
from sklearn_bert.model._weight_file import read_weights

# The file with the steps of a folder that sentence-transformers cannot pool.
OWN_MODULES = "sklearn_bert_modules.json"
IDENTITY = "torch.nn.modules.linear.Identity"


class Normalize(nn.Module):
    """Scale vectors to length 1."""

    def forward(self, vectors: Tensor) -> Tensor:
        """Normalise vectors: (n_texts, width) -> the same shape."""
        return functional.normalize(vectors)


class First(nn.Module):
    """Keep the first entries of vectors.

    Parameters
    ----------
    n : int
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, vectors: Tensor) -> Tensor:
        """Shorten vectors: (n_texts, width) -> (n_texts, n)."""
        return vectors[:, : self.n]


def build_steps(plan: Iterable[Any]) -> nn.Sequential:
    """Build the steps of a plan; linear maps have random weights."""
    kinds = {"normalize": Normalize, "first": First, "dense": nn.Linear}
    return nn.Sequential(*(kinds[kind](*sizes) for kind, *sizes in plan))


def plan_of(steps: Iterable[nn.Module]) -> list[list[Any]]:
    """Return the plan from which `build_steps` builds these steps."""
    return [_describe(step) for step in steps]


def n_features_after(steps: Iterable[nn.Module], width: int) -> int:
    """Return how many entries vectors of this width have after the steps."""
    for step in steps:
        if isinstance(step, First):
            width = step.n
        elif isinstance(step, nn.Linear):
            width = step.out_features
    return width


def check_widths(
    folder: Path, steps: Iterable[tuple[str, nn.Module | None]], width: int
) -> None:
    """Raise DamagedCheckpointError if a linear map reads vectors of another width."""
    for kind, step in steps:
        if step is None:  # nothing is known of it, and it is refused when it is used
            return
        if isinstance(step, nn.Linear) and step.in_features != width:
            raise damaged(
                folder,
                f"has a module {kind} for vectors of {step.in_features} entries after "
                f"those of {width}",
                FIT,
            )
        width = n_features_after([step], width)


def linear_map(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    """Build x -> weight x + bias, which is not trained; weight: (n_out, n_in)."""
    n_out, n_in = weight.shape
    # skip_init draws no random weights, which would only be overwritten.
    with building():
        linear = nn.utils.skip_init(nn.Linear, n_in, n_out)
    values = {"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)}
    linear.load_state_dict(values)
    return linear.requires_grad_(False)


def write_step(step: nn.Module, path: Path, width: int) -> None:
    """Write a step as the folder of a module; Normalize needs no folder."""
    if isinstance(step, Normalize):
        return
    if isinstance(step, First):
        # sentence-transformers has no such module: a Dense with the first rows of the
        # identity does the same there.
        with building():
            linear = nn.utils.skip_init(nn.Linear, width, step.n, bias=False)
            linear.weight.data = torch.eye(step.n, width)
    else:
        assert isinstance(step, nn.Linear)
        linear = step
    path.mkdir()
    config = {
        "in_features": linear.in_features,
        "out_features": linear.out_features,
        "bias": linear.bias is not None,
        "activation_function": IDENTITY,
    }
    (path / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    weights = {f"linear.{n}": p.detach() for n, p in linear.named_parameters()}
    data = save(weights, metadata={"format": "pt"})
    # `save_file` would make a file that only its owner may read.
    (path / WEIGHTS).write_bytes(data)


def read_step(path: Path) -> nn.Linear | None:
    """Read the linear map in the folder of a Dense module; None: it is not linear."""
    if not ((path / CONFIG).is_file() and (path / WEIGHTS).is_file()):
        return None
    config = read_json(path / CONFIG, {})
    is_linear = config.get("activation_function") == IDENTITY
    # A Dense may also map token states, or a value under another name: not a step here.
    reads_vectors = {config.get(f"module_{x}_name") for x in ("input", "output")} <= {
        None,
        "sentence_embedding",
    }
    if not (is_linear and reads_vectors) or config.get("use_residual"):
        return None
    shapes = check_weights(path / WEIGHTS)
    sizes = config["in_features"], config["out_features"]
    if shapes.get("linear.weight") != sizes[::-1]:
        raise damaged(path / CONFIG, "does not fit the weights beside it", FIT)
    with building():
        linear = nn.utils.skip_init(nn.Linear, *sizes, bias=config["bias"])
    linear.load_state_dict(read_step_weights(path), strict=True)
    check_finite(path, linear.state_dict().items())
    return linear.requires_grad_(False)


def read_step_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a linear map, by their names in it."""
    weights = read_weights(path / WEIGHTS)
    return {name.removeprefix("linear."): value for name, value in weights.items()}


def _describe(step: nn.Module) -> list[Any]:
    if isinstance(step, First):
        return ["first", step.n]
    if isinstance(step, nn.Linear):
        return ["dense", step.in_features, step.out_features, step.bias is not None]
    return ["normalize"]
