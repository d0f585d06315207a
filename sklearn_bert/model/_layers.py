"""The layers of an encoder: which are trained, and how to split an encoder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

# The attributes in which model families keep their layers.
LAYERS = ("encoder.layer", "encoder.layers", "transformer.layer", "layers", "layer")
# The families whose lower and upper layers can run separately.
SPLIT = ("bert", "distilbert", "electra", "roberta", "xlm-roberta")
BELOW_THE_LAYERS = ("embeddings", "embeddings_project")


def check_trainable(encoder: nn.Module, trainable: int) -> None:
    """Raise ValueError if the encoder does not have so many layers."""
    if isinstance(trainable, bool):
        raise ValueError(
            f"trainable is {trainable}; expected 'all', 'head' or a number of layers."
        )
    family = encoder.config.model_type  # type: ignore[union-attr]
    if _path(encoder) is None:
        raise ValueError(
            f"trainable is {trainable}, but the layers of a checkpoint of the family "
            f"{family!r} cannot be told apart; expected 'all' or 'head' (a number "
            f"works for families such as {', '.join(SPLIT)})."
        )
    n_layers = len(_layers(encoder))
    if trainable > n_layers:
        raise ValueError(
            f"trainable is {trainable}, but the checkpoint has {n_layers} layers; "
            f"expected 'all', 'head' or a number from 1 to {n_layers}."
        )


def layer_depths(model: nn.Module) -> dict[str, int]:
    """Return the depth of each parameter of a `TextModel` below the head, by its name.

    The head and the pooling are at depth 0, the top layer at 1, and the embeddings one
    below the lowest layer.

    Raises
    ------
    ValueError
        If the layers of this family cannot be told apart.
    """
    encoder: Any = model.encoder
    names = [name for name, _ in model.named_parameters()]
    if encoder is None:
        return dict.fromkeys(names, 0)
    path = _path(encoder)
    if path is None:
        family = encoder.config.model_type
        raise ValueError(
            f"layer_decay needs to know the layers of the checkpoint, and those of the "
            f"family {family!r} cannot be told apart; expected layer_decay=1.0 (less "
            f"works for families such as {', '.join(SPLIT)})."
        )
    n_layers = len(_layers(encoder))
    start = f"encoder.{path}."
    above = tuple(f"encoder.{name}." for name in _above(encoder))

    def depth(name: str) -> int:
        if name.startswith(start):
            return n_layers - int(name.removeprefix(start).partition(".")[0])
        if name.startswith("encoder.") and not name.startswith(above):
            return n_layers + 1
        return 0

    return {name: depth(name) for name in names}


def lower_modules(encoder: nn.Module, n_trained: int) -> list[nn.Module]:
    """Return the parts of the encoder below its top layers, of which so many learn."""
    layers = _layers(encoder)
    return [*_below(encoder), *layers[: len(layers) - n_trained]]


def _below(encoder: nn.Module) -> list[nn.Module]:
    """Return the largest parts of the encoder that lie below its layers."""
    path = _path(encoder)
    kept = (path, *_above(encoder))

    def parts(module: nn.Module, start: str) -> list[nn.Module]:
        found = []
        for name, child in module.named_children():
            name = start + name
            if f"{path}.".startswith(f"{name}.") and name != path:
                found += parts(child, f"{name}.")
            elif name not in kept:
                found.append(child)
        return found

    return parts(encoder, "")


def _above(encoder: nn.Module) -> list[str]:
    """Return the names of the modules above the layers: a pooler and a final norm.

    Everything else lies below the layers, or serves all of them, as relative positions
    do.
    """
    above, start, parent = ["pooler"], "", encoder
    for part in str(_path(encoder)).split("."):
        children = dict(parent.named_children())
        later = list(children)[list(children).index(part) + 1 :]
        # Families give the final norm different names, but all register it after the
        # layers. DeBERTa registers the norm of its relative positions there, too, and
        # that one is not above the layers.
        if "rel_embeddings" not in children:
            norms = [n for n in later if "Norm" in type(children[n]).__name__]
            above += [start + name for name in norms]
        parent, start = children[part], f"{start}{part}."
    return above


def split(model: Any) -> tuple[Callable[..., Tensor] | None, Any]:
    """Split a model where the frozen part ends; both parts share its weights.

    Parameters
    ----------
    model : TextModel

    Returns
    -------
    lower : callable or None
        Takes the inputs of a `TextModel` and returns the inputs of the upper part:
        vectors, (n_texts, width), or states, (n_texts, n_tokens, width). None: nothing
        is frozen, or the family is not in `SPLIT`.
    upper : TextModel
        Takes `vectors` or `lower_states`; it holds everything that is trained.
    """
    if model.trainable == "all":
        return None, model
    if model.trainable == "head":
        lower = model.vectors if model.freezes_vectors else _states_of(model)
        return lower, with_submodule(model, "encoder", None)
    if not can_split(model):
        return None, model
    # The lower part is the model with the lower layers only, and no pooler. The upper
    # part has the other layers, and modules that pass the states on as embeddings.
    layers = _layers(model.encoder)
    n_below = len(layers) - int(model.trainable)
    path = f"encoder.{_path(model.encoder)}"
    below = with_submodule(model, path, layers[:n_below])
    # Without this the pooler would run for nothing in the lower part.
    if getattr(model.encoder, "pooler", None) is not None:
        below = with_submodule(below, "encoder.pooler", None)
    upper = with_submodule(model, path, layers[n_below:])
    for name in BELOW_THE_LAYERS:
        if hasattr(model.encoder, name):
            upper = with_submodule(upper, f"encoder.{name}", PassOn())
    return _states_of(below), upper


class PassOn(nn.Module):
    """Module in the place of the embeddings, which the states have passed already."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the one tensor of states among the arguments."""
        found = [x for x in (*args, *kwargs.values()) if _has_states(x)]
        assert len(found) == 1
        return found[0]


def _has_states(x: object) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()


def _states_of(model: Any) -> Callable[..., Tensor]:
    """Return a function from the inputs of a `TextModel` to its token states."""

    def states(*args: Any, **inputs: Any) -> Tensor:
        return model.states(*args, **inputs).last_hidden_state

    return states


def can_split(model: Any) -> bool:
    """Return whether a part of the model is frozen and can run without the rest."""
    if isinstance(model.trainable, str):
        return bool(model.trainable == "head")
    # The states of two texts are no feature of the pair that holds them.
    is_of_pairs = model.pooling == "similarity"
    return model.encoder.config.model_type in SPLIT and not is_of_pairs


def _path(encoder: nn.Module) -> str | None:
    """Return the path of the encoder's list of layers; None: it has no such list."""
    modules = dict(encoder.named_modules())
    found = (path for path in LAYERS if isinstance(modules.get(path), nn.ModuleList))
    return next(found, None)


def _layers(encoder: nn.Module) -> nn.ModuleList:
    return encoder.get_submodule(_path(encoder))  # type: ignore[arg-type,return-value]


def with_submodule(module: Any, path: str, new: nn.Module | None) -> Any:
    """Return a copy of the module with one other submodule; the rest is shared."""
    name, _, rest = path.partition(".")
    # nn.Module keeps its submodules in the dict `_modules`. Copying only that dict, on
    # the path to the submodule, leaves the parameters shared and the module unchanged.
    changed = copy.copy(module)
    changed._modules = dict(module._modules)
    below = getattr(module, name)
    changed._modules[name] = with_submodule(below, rest, new) if rest else new
    return changed
