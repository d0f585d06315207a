"""What AdamW steps: float32 weights, in groups, at a rate that changes over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_bert.compute._self_check import agree, is_proven
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.training._ranks import Ranks

# The head starts from nothing and the encoder does not, so the head takes longer steps;
# still longer ones where it learns alone and can spoil nothing below it.
HEAD_RATE = 10.0
LONE_HEAD_RATE = 100.0
HEAD = ("head.", "attention.")  # how the names of its parameters begin
STEP_BOUND = 1e-5  # largest difference of weights by fused and by plain steps
N_FIRST = 10  # updates in which a steady rate is reached


class MasterWeights:
    """The trainable weights of a model in float32, whatever it computes with.

    A bfloat16 number has eight bits: adding a small step to it changes nothing. So the
    optimizer steps float32 masters, and the working weights are rounded copies of them
    (Micikevicius et al., "Mixed Precision Training", 2018, section 3.1). Compared with
    autocast this casts each weight once per update instead of once per use.

    In float32 the masters are the model's own parameters and nothing is copied.

    Parameters
    ----------
    model : TextModel
        Its `half_precision_modules` are cast to `dtype` in place.
    dtype : torch.dtype

    Attributes
    ----------
    trained : dict of str to Tensor
        Names and float32 weights: what the optimizer steps.
    """

    def __init__(self, model: TextModel, dtype: torch.dtype) -> None:
        modules = model.half_precision_modules() if dtype != torch.float32 else []
        # Tied weights are one parameter under two names: each is cast once.
        cast = dict.fromkeys(p for module in modules for p in module.parameters())
        self._halves: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        originals: dict[nn.Parameter, Tensor] = {}
        for parameter in cast:
            original = originals[parameter] = parameter.detach().clone()
            if parameter.requires_grad:
                self._halves.append((parameter, original, torch.empty_like(original)))
            parameter.data = parameter.data.to(dtype)
        named = dict(model.named_parameters())
        self._float32 = {n: originals.get(p, p) for n, p in named.items()}
        self.trained = {
            n: self._float32[n] for n, p in named.items() if p.requires_grad
        }

    @torch.no_grad()
    def collect_gradients(self) -> None:
        """Hand the working weights' gradients to the masters, adding in float32."""
        # The first part of a batch copies, the others add: nothing is zeroed between.
        there = [half for half in self._halves if half[0].grad is not None]
        new = [half for half in there if half[1].grad is None]
        known = [half for half in there if half[1].grad is not None]
        if new:
            torch._foreach_copy_(
                [h[2] for h in new],
                [h[0].grad for h in new],  # type: ignore[misc]
            )
        if known:
            parts = [h[0].grad.float() for h in known]  # type: ignore[union-attr]
            torch._foreach_add_([h[2] for h in known], parts)
        for working, master, gradient in there:
            master.grad, working.grad = gradient, None

    @torch.no_grad()
    def update_working(self) -> None:
        """Round the stepped masters into the working weights, and drop gradients."""
        if self._halves:
            working: list[Tensor] = [half[0] for half in self._halves]
            torch._foreach_copy_(working, [half[1] for half in self._halves])
        self.drop_gradients()

    def drop_gradients(self) -> None:
        """Forget what was collected."""
        for working, _, _ in self._halves:
            working.grad = None
        for parameter in self.trained.values():
            parameter.grad = None

    def snapshot(self) -> dict[str, Tensor]:
        """Return a copy of the trained weights on the CPU, by name."""
        return {n: p.detach().to("cpu", copy=True) for n, p in self.trained.items()}

    @torch.no_grad()
    def put_back(self, snapshot: dict[str, Tensor]) -> None:
        """Go on from a snapshot, on the device and in the format of the training."""
        for name, weight in self.trained.items():
            weight.copy_(snapshot[name])
        self.update_working()

    def take_from_first(self, ranks: Ranks) -> None:
        """Go on from the weights of the first process, which are this one's."""
        # But for rounding, where their processors differ.
        if ranks.size > 1:
            ranks.take_from_first(list(self.trained.values()))
            self.update_working()

    @torch.no_grad()
    def restore(self, model: nn.Module, snapshot: dict[str, Tensor] | None) -> None:
        """Leave the model in float32 with its masters, or with a snapshot of them."""
        # Frozen weights come back as they were before they were rounded.
        weights = self._float32 | (snapshot or {})
        for name, parameter in model.named_parameters():
            parameter.data = weights[name].detach().to(parameter.device)
            parameter.grad = None


def parameter_groups(
    named_parameters: Iterable[tuple[str, Tensor]],
    weight_decay: float,
    rate_factors: Mapping[str, float] | None = None,
    *,
    new_parameters: tuple[str, ...] = ("head.",),
) -> list[dict[str, Any]]:
    """Group the weights that are stepped alike: by weight decay and factor on the rate.

    Matrices decay; biases and the scales of norms, which are vectors, do not (as in
    Devlin et al., 2019, appendix A.2).

    Parameters
    ----------
    named_parameters : iterable of (str, Tensor)
    weight_decay : float
    rate_factors : mapping of str to float, or None
        By parameter, from `layer_factors`; None: 1.
    new_parameters : tuple of str
        How the names of weights begin that start from nothing.
    """
    named = list(named_parameters)
    is_alone = all(name.startswith(HEAD) for name, _ in named)
    # AdamW steps a group in one kernel: few groups, whatever the number of layers.
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for name, parameter in named:
        factor = 1.0 if rate_factors is None else rate_factors[name]
        if is_alone:
            factor = LONE_HEAD_RATE
        elif name.startswith(new_parameters):
            factor = HEAD_RATE
        groups.setdefault((factor, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if is_matrix else 0.0,
            "rate_factor": factor,
        }
        for (factor, is_matrix), parameters in groups.items()
    ]


def layer_factors(
    depths: Mapping[str, int], layer_decay: float
) -> dict[str, float] | None:
    """Return the share of the rate of each parameter: less, the farther below the head.

    K. Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than
    Generators", ICLR 2020, appendix B: the top layer steps at `layer_decay` times the
    rate, the one below at its square, the embeddings last. None: all step alike.
    """
    if layer_decay == 1:
        return None
    return {name: float(layer_decay) ** depth for name, depth in depths.items()}


def adamw(
    parameters: Iterable[Any], lr: float, device: torch.device
) -> torch.optim.AdamW:
    """Make AdamW that steps each group of weights in one kernel, where that works."""
    is_fused = is_proven("fused_optimizer", device, check_fused)
    return torch.optim.AdamW(parameters, lr=lr, fused=is_fused or None)


def check_fused(device: torch.device) -> None:
    """Step the same weights twice, fused and not; raise where they part."""
    found = []
    for fused in (True, None):
        draws = torch.Generator().manual_seed(0)
        shapes = (64, 16), (16,)
        weights = [torch.randn(shape, generator=draws).to(device) for shape in shapes]
        optimizer = torch.optim.AdamW(weights, lr=0.1, weight_decay=0.1, fused=fused)
        for _ in range(2):
            for weight in weights:
                weight.grad = torch.randn(weight.shape, generator=draws).to(device)
            optimizer.step()
        found.append(torch.cat([weight.flatten() for weight in weights]))
    fused_weights, plain_weights = found
    agree("stepped weights", fused_weights, plain_weights, STEP_BOUND)


def steady(update: int) -> float:
    """Return the peak rate, where nobody knows how many updates there will be.

    It is reached after ten updates, because AdamW begins with steps of full length in
    every direction, until it has seen which gradients last.
    """
    return min(1.0, (update + 1) / N_FIRST)


def warmup_then_decay(update: int, n_updates: int, warmup: float) -> float:
    """Return a rate that goes up in a line, and then down in a line.

    Parameters
    ----------
    update : int
        Updates done.
    n_updates : int
        Updates of the whole fit.
    warmup : float
        Share of the updates that it takes to reach the peak.

    Returns
    -------
    float
        A share of the peak rate. It is never 0, so that neither the first nor the last
        update is lost.
    """
    n_warmup = int(warmup * n_updates)
    if update < n_warmup:
        return (update + 1) / (n_warmup + 1)
    return max(n_updates - update, 1) / max(n_updates - n_warmup, 1)
