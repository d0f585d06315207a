"""float32 masters of an encoder that works in bfloat16."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sklearn_bert.model._text_model import TextModel


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
    def restore(self, model: nn.Module, snapshot: dict[str, Tensor] | None) -> None:
        """Leave the model in float32 with its masters, or with a snapshot of them."""
        # Frozen weights come back as they were before they were rounded.
        weights = self._float32 | (snapshot or {})
        for name, parameter in model.named_parameters():
            parameter.data = weights[name].detach().to(parameter.device)
            parameter.grad = None
