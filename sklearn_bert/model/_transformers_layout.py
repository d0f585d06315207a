"""A `TextModel` as a network of transformers with its family's own head.

The head of a `TextModel` gets the vector of a text scaled to mean 0 and deviation 1.
Only ModernBERT has such a head. To other families one more layer is added, which pools
and scales, and their head is set so that it is linear.

Three identities make the scores those of the `TextModel`, but for rounding:

- A LayerNorm with the constant `eps` makes of `a * x` what one with `eps / a**2` makes
  of `x`. So the first norm of the added layer, given `a = sqrt(eps / EPS)`, is the
  scaling of `TextModel`; and the second, given so little that `eps` outweighs the
  variance, multiplies by a constant.
- Where queries and keys are 0, every token attends to all alike: to their mean. The
  state that is added to it is made so small that it does not count.
- `act(z) - act(-z) == z` for ReLU, GELU and SiLU; and `tanh(z) / z` is 1 for small z.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from safetensors.torch import save
from torch import Tensor

from sklearn_bert._process._random import seeded
from sklearn_bert.model._damage import CONFIG
from sklearn_bert.model._text_model import ENCODER_FILE, TextModel
from sklearn_bert.model._torch_state import building, quiet_transformers
from sklearn_bert.text._tokenizer import TextTokenizer

# The entry of a configuration that says that the top layer is added.
ADDED = "sklearn_bert_added_layer"
EPS = 1e-5  # of the LayerNorm in `TextModel.scaled`
# What the state of the first token counts beside the mean of all.
RESIDUAL_BITS = 20
# How far the input of the added layer's second norm lies below the root of its eps.
BELOW_EPS = 2.0**-6
# Logits times this lie where tanh is linear: an error of 1e-9 of a logit of 1.
SMALL = 2.0**-14
# Infinite in float16, which cannot hold the numbers of the added layer: so its answers
# are NaN there, and never wrong. In the other formats it is multiplied by 0.
GUARD = 2.0**20


@dataclass(frozen=True)
class Family:
    """The names of the parts of a family's layers and of its head.

    Attributes
    ----------
    layers : str or None
        In the encoder; None: they share their weights.
    norms : tuple of str
        In a layer: the norms after attention and after the feed-forward part.
    outer : str
        The second linear map of the feed-forward part.
    attention : tuple of str, or None
        The linear maps to the values and from them; None: attention depends on more
        than queries and keys, so that it cannot be made uniform.
    head : tuple of str
        In the network: the linear maps before and after the head's activation.
    is_tanh : bool
        Whether that activation is tanh.
    """

    layers: str | None
    norms: tuple[str, str]
    outer: str
    attention: tuple[str, str] | None
    head: tuple[str, str]
    is_tanh: bool


def _like_bert(head: tuple[str, str], **changes: Any) -> Family:
    names: dict[str, Any] = {
        "layers": "encoder.layer",
        "norms": ("attention.output.LayerNorm", "output.LayerNorm"),
        "outer": "output.dense",
        "attention": ("attention.self.value", "attention.output.dense"),
        "is_tanh": True,
    }
    return Family(**{**names, "head": head, **changes})


OF_ROBERTA = ("classifier.dense", "classifier.out_proj")
FAMILIES = {
    "bert": _like_bert(("bert.pooler.dense", "classifier")),
    "roberta": _like_bert(OF_ROBERTA),
    "xlm-roberta": _like_bert(OF_ROBERTA),
    "camembert": _like_bert(OF_ROBERTA),
    "electra": _like_bert(OF_ROBERTA, is_tanh=False),
    "distilbert": Family(
        layers="transformer.layer",
        norms=("sa_layer_norm", "output_layer_norm"),
        outer="ffn.lin2",
        attention=("attention.v_lin", "attention.out_lin"),
        head=("pre_classifier", "classifier"),
        is_tanh=False,
    ),
    "albert": _like_bert(("albert.pooler", "classifier"), layers=None),
    # Its positions change the attention of every layer by the same weights.
    "mpnet": _like_bert(
        OF_ROBERTA, attention=None, norms=("attention.LayerNorm", "output.LayerNorm")
    ),
    # Its values are in one matrix with the queries and keys.
    "deberta": _like_bert(
        ("pooler.dense", "classifier"), attention=None, is_tanh=False
    ),
    "deberta-v2": _like_bert(
        ("pooler.dense", "classifier"),
        attention=("attention.self.value_proj", "attention.output.dense"),
        is_tanh=False,
    ),
}
MODERNBERT = "modernbert"


class Head(NamedTuple):
    """What a network says of a text: `factor * logits + shift`, per output.

    Attributes
    ----------
    factor, shift : ndarray of shape (n_outputs,)
    labels : list of str, or None
        The names of the outputs; None: they have none.
    problem_type : str or None
        The word of transformers for the kind of targets.
    of_words : bool
        Whether each word gets scores, and not the whole text.
    """

    factor: np.ndarray
    shift: np.ndarray
    labels: list[str] | None
    problem_type: str | None
    of_words: bool


class Linear(NamedTuple):
    """A linear map in float64, whose products are rounded once, at the end.

    Attributes
    ----------
    weight : Tensor of shape (n_out, n_in)
    bias : Tensor of shape (n_out,)
    """

    weight: Tensor
    bias: Tensor

    def write_to(self, module: Any) -> None:
        """Set the parameters of a module: first rows and columns; the others are 0."""
        n_out, n_in = self.weight.shape
        module.weight.zero_()[:n_out, :n_in] = self.weight
        module.bias.zero_()[:n_out] = self.bias


class AddedLayer(NamedTuple):
    """What a configuration says of the added layer.

    Attributes
    ----------
    scale : float
        What the norm below it was multiplied by.
    pooling : str
        Of the `TextModel`.
    """

    scale: float
    pooling: str


# -- a TextModel -> a network of transformers --------------------------------------


def as_transformers(model: TextModel, head: Head) -> transformers.PreTrainedModel:
    """Build the network of transformers that gives the scores of a model.

    Raises
    ------
    ValueError
        If its family has none; the message names what to fit with.
    """
    pooling = "cls" if head.of_words else model.pooling
    encoder: Any = model.encoder
    kind = encoder.config.model_type
    assert model.head is not None
    _check(model, kind, pooling, head)
    config = _config_of(model, head)
    is_added = kind != MODERNBERT and pooling != "pooler"
    if is_added:
        config.num_hidden_layers += 1
    if kind == MODERNBERT:
        config.classifier_pooling, config.classifier_activation = pooling, "linear"
    network = _build(config, encoder, of_words=head.of_words)
    weight, bias = (p.detach().cpu().double() for p in model.head.parameters())
    factor, shift = (torch.from_numpy(x).double() for x in (head.factor, head.shift))
    scores = Linear(factor[:, None] * weight, factor * bias + shift)
    with torch.no_grad():
        if kind == MODERNBERT:
            _scale_by_head(network.head)
            scores.write_to(network.classifier)
        elif not is_added:
            first, last = (network.get_submodule(n) for n in FAMILIES[kind].head)
            if getattr(network.base_model, "pooler", None) is None:
                first.load_state_dict(encoder.pooler.dense.state_dict())
            scores.write_to(last)
        else:
            scale, gain = _set_added_layer(network, pooling)
            added = AddedLayer(scale, model.pooling)
            setattr(network.config, ADDED, added._asdict())
            if head.of_words:
                Linear(scores.weight * gain, scores.bias).write_to(network.classifier)
            else:
                _set_linear_head(network, Linear(weight * gain, bias), factor, shift)
    return network


def _check(model: TextModel, kind: str, pooling: str, head: Head) -> None:
    """Raise ValueError if the family has no network with these scores."""
    family, what, way_out = FAMILIES.get(kind), "", "save it with the default layout"
    if model.left_to_right:
        what = "it reads from left to right, which no head of transformers does"
    elif kind != MODERNBERT and family is None:
        what = f"the head of a {kind!r} is not known here"
        way_out += f", or fit one of {', '.join([*FAMILIES, MODERNBERT])}"
    elif pooling in ("max", "attention", "similarity"):
        what = f"no head of transformers has pooling={pooling!r}"
        way_out = "fit with pooling='mean', 'cls' or 'pooler'"
    elif family is None or pooling == "pooler":
        return
    elif family.layers is None:
        what = f"the layers of a {kind!r} share their weights, so that none is added"
        if not head.of_words:
            way_out = "fit with pooling='pooler'"
    elif pooling == "mean" and family.attention is None:
        what = f"the attention of a {kind!r} cannot be made to pool with 'mean'"
        way_out = "fit with pooling='cls'"
    elif not head.of_words:
        n_outputs, most = len(head.factor), model.width // (2 - family.is_tanh)
        if n_outputs > most:
            what = f"there are {n_outputs} classes, and its head has room for {most}"
    if what:
        raise ValueError(
            f"layout='transformers' cannot hold this estimator: {what}; nothing was "
            f"written. To go on, {way_out}."
        )


def _config_of(model: TextModel, head: Head) -> transformers.PreTrainedConfig:
    values = model.transformers_config()
    values = {k: v for k, v in values.items() if k not in ("_name_or_path", ADDED)}
    labels = head.labels or [f"LABEL_{i}" for i in range(len(head.factor))]
    values |= {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
        "num_labels": len(labels),
        "problem_type": head.problem_type,
        "dtype": "float32",
        "_attn_implementation": None,
    }
    config: transformers.PreTrainedConfig = transformers.CONFIG_MAPPING[
        values["model_type"]
    ].from_dict(values)
    return config


def _build(
    config: transformers.PreTrainedConfig, encoder: Any, *, of_words: bool
) -> Any:
    """Build the network with the encoder's weights; its head has random ones."""
    kind: Any = transformers.AutoModelForSequenceClassification
    if of_words:
        kind = transformers.AutoModelForTokenClassification
    with seeded(0, torch.device("cpu")), building():
        network = kind.from_config(config, trust_remote_code=False).eval()
        known = {name for name, _ in network.base_model.named_parameters()}
        weights = {
            name: value
            for name, value in encoder.state_dict().items()
            # The heads of some families bring a pooler of their own, or none.
            if name in known or not name.startswith("pooler.")
        }
        _, unexpected = network.base_model.load_state_dict(weights, strict=False)
    assert not unexpected, unexpected
    network.config.architectures = [type(network).__name__]
    return network


def _set_added_layer(network: Any, pooling: str) -> tuple[float, float]:
    """Make the top layer pool and scale; the docstring of the module says how.

    Returns
    -------
    scale : float
        What the norm below it is multiplied by.
    gain : float
        What makes of its states vectors of deviation 1.
    """
    family = FAMILIES[network.config.model_type]
    *_, below, layer = network.base_model.get_submodule(family.layers)
    first, second = (layer.get_submodule(name) for name in family.norms)
    eps = getattr(first, "eps", None) or first.variance_epsilon
    for parameter in layer.parameters():
        parameter.zero_()
    layer.get_submodule(family.outer).weight.fill_(GUARD)
    amplitude = math.sqrt(eps / EPS)
    scale = amplitude
    if pooling == "mean":
        assert family.attention is not None
        scale = 2.0 ** (math.floor(math.log2(amplitude)) - RESIDUAL_BITS)
        values, dense = (layer.get_submodule(name) for name in family.attention)
        values.weight.fill_diagonal_(1 / scale)
        dense.weight.fill_diagonal_(amplitude)
    norm = below.get_submodule(family.norms[1])
    norm.weight.mul_(scale)
    norm.bias.mul_(scale)
    small = BELOW_EPS * math.sqrt(eps)
    first.weight.fill_(small)
    second.weight.fill_(1.0)
    return scale, math.sqrt(small**2 + eps) / small


def _set_linear_head(
    network: Any, logits: Linear, factor: Tensor, shift: Tensor
) -> None:
    """Make a head with one activation give `factor * logits + shift`."""
    family = FAMILIES[network.config.model_type]
    first, last = (network.get_submodule(name) for name in family.head)
    weight, bias = logits
    diagonal = torch.diag(factor)
    if family.is_tanh:
        Linear(SMALL * weight, SMALL * bias).write_to(first)
        Linear(diagonal / SMALL, shift).write_to(last)
    else:
        both = Linear(torch.cat([weight, -weight]), torch.cat([bias, -bias]))
        both.write_to(first)
        Linear(torch.cat([diagonal, -diagonal], 1), shift).write_to(last)


def _scale_by_head(head: Any) -> None:
    """Make the head of a ModernBERT, which ends in a norm, scale vectors alone."""
    for parameter in head.parameters():
        parameter.zero_()
    head.dense.weight.fill_diagonal_(math.sqrt(head.norm.eps / EPS))
    head.norm.weight.fill_(1.0)


# -- files -------------------------------------------------------------------------


def write_transformers(
    network: transformers.PreTrainedModel,
    folder: Path,
    tokenizer: TextTokenizer,
    *,
    of_words: bool,
) -> None:
    """Write a folder of transformers: configuration, weights and tokenizer."""
    weights = {n: v.contiguous() for n, v in network.state_dict().items()}
    # `save_file` would make a file that only its owner may read.
    (folder / ENCODER_FILE).write_bytes(save(weights, metadata={"format": "pt"}))
    config = {k: v for k, v in network.config.to_dict().items() if k != "_name_or_path"}
    length = tokenizer.max_length
    # Single words are read as after a space, and so are those of a running text.
    backend = tokenizer.for_words if of_words else tokenizer.backend
    (folder / "tokenizer.json").write_text(backend.to_str(), encoding="utf-8")
    for name, content in {
        CONFIG: config,
        "tokenizer_config.json": {**tokenizer.config, "model_max_length": length},
        # Servers take the length from here.
        "sentence_bert_config.json": {"max_seq_length": length, "do_lower_case": False},
    }.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def plain_scores(
    folder: Path, rows: Sequence[Any], *, of_words: bool
) -> list[np.ndarray]:
    """Compute the scores of texts as anyone does with transformers alone.

    Parameters
    ----------
    folder : Path
    rows : sequence of str, of pairs of str, or of lists of words
    of_words : bool

    Returns
    -------
    list of ndarray of shape (n_outputs,), or (n_words, n_outputs)
    """
    with quiet_transformers():
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True
        )
        kind: Any = transformers.AutoModelForSequenceClassification
        if of_words:
            kind = transformers.AutoModelForTokenClassification
        network = kind.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        ).eval()
    found = []
    for row in rows:
        sides = row if isinstance(row, tuple) else (row,)
        inputs = tokenizer(
            *sides, truncation=True, is_split_into_words=of_words, return_tensors="pt"
        )
        with torch.inference_mode():
            scores = network(**inputs).logits[0].numpy()
        if of_words:
            words = inputs.word_ids()
            scores = scores[[words.index(i) for i in range(len(row))]]
        found.append(scores)
    return found


# -- a folder as a checkpoint ------------------------------------------------------


def without_added_layer(config: transformers.PreTrainedConfig) -> AddedLayer | None:
    """Take the added layer, if there is one, out of a configuration."""
    values = config.__dict__.pop(ADDED, None)
    if values is None:
        return None
    config.num_hidden_layers -= 1
    return AddedLayer(float(values["scale"]), str(values["pooling"]))


def undo_scale(encoder: Any, added: AddedLayer) -> None:
    """Divide the top norm by what `as_transformers` has multiplied it by."""
    family = FAMILIES[encoder.config.model_type]
    assert family.layers is not None
    top = encoder.get_submodule(family.layers)[-1]
    norm = top.get_submodule(family.norms[1])
    for parameter in norm.parameters():
        parameter.data.div_(added.scale)
