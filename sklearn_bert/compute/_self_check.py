"""Fast paths prove themselves: at their first use on a GPU, against the plain path.

A fast path relies on kernels, a driver and a device that no test may have seen. So the
first time that a process would take one on a GPU, small batches are computed both ways.
Where the results differ, or the fast path raises, the plain path is taken from then on,
and one warning says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from sklearn_bert._process._random import seeded
from sklearn_bert._process._techniques import Technique, uses
from sklearn_bert._process._warn import warn
from sklearn_bert.model._attention import attend, attend_plainly
from sklearn_bert.model._pooling import pool_packed
from sklearn_bert.model._torch_state import own_torch_state

# The techniques that are such paths, in the words of the warning.
FAST_PATHS: dict[Technique, str] = {
    "packing": "attention without padding",
    "cuda_graphs": "the update as a CUDA graph",
    "fused_optimizer": "the fused optimizer",
    "pinned_copies": "the copy by way of pinned memory",
}
# Largest difference from float32, by its norm, of what is computed in a short format.
SCORE_BOUND, GRADIENT_BOUND = 1e-2, 2e-2
BATCHES = (5, 1, 17, 9), (64, 30)  # tokens of their texts

_passed: set[tuple[object, ...]] = set()
_failed: set[tuple[Technique, str]] = set()


def is_proven(
    technique: Technique,
    device: torch.device,
    check: Callable[..., None],
    *kind: object,
) -> bool:
    """Return whether a fast path is switched on and computes what the plain path does.

    Parameters
    ----------
    technique : Technique
        One of `FAST_PATHS`.
    device : torch.device
        On a CPU nothing is checked: the tests run there.
    check : callable
        Takes the device and `kind`, and raises an error where the path goes wrong.
    *kind : object
        What chooses the kernel, a number format for example. Each is checked once.
    """
    if not uses(technique):
        return False
    if device.type == "cpu":
        return True
    path = _path(technique, device)
    if path not in _failed and (path, kind) not in _passed:
        # In the order of locks of a fit, which is seeded before it comes here.
        with seeded(0, device), own_torch_state():
            if path not in _failed and (path, kind) not in _passed:
                _run(technique, device, check, kind)
    return path not in _failed and (path, kind) in _passed


def give_up(technique: Technique, device: torch.device, error: Exception) -> None:
    """Take the plain path from now on, and warn once of the reason."""
    path = _path(technique, device)
    if path in _failed:
        return
    _failed.add(path)
    reason = str(error).partition("\n")[0].rstrip(".")
    warn(
        f"{FAST_PATHS[technique]} does not work on {device} ({_described(device)}): "
        f"{type(error).__name__}: {reason}. This process goes on without it, more "
        "slowly and with the same results.",
        RuntimeWarning,
    )


def agree(what: str, found: Tensor, expected: Tensor, bound: float) -> None:
    """Raise ArithmeticError where numbers differ by more than a share of their norm."""
    found, expected = found.detach().float(), expected.detach().float()
    difference = float((found - expected).norm() / expected.norm())
    if not difference <= bound:  # nor is NaN
        raise ArithmeticError(
            f"{what} differ from those of the plain path by {difference:.2g} of their "
            f"norm; expected at most {bound:g}"
        )


def check_packing(device: torch.device, dtype: torch.dtype, head_size: int) -> None:
    """Attend to packed texts and pool them, in `dtype`; compare with text by text."""
    draws = torch.Generator().manual_seed(0)
    for lengths, left_to_right in itertools.product(BATCHES, (False, True)):
        # Queries, keys and values of two heads; what the scores weigh in the gradients.
        states = torch.randn(3, 2, sum(lengths), head_size, generator=draws).to(device)
        weights = torch.randn(len(lengths), 2 * head_size, generator=draws).to(device)
        exact, short = states.clone().requires_grad_(), states.to(dtype)
        texts = _one_by_one(exact, lengths, left_to_right)
        expected = torch.stack([text.mean(0) for text in texts])
        ends = torch.tensor([0, *lengths], device=device).cumsum(0).int()
        short.requires_grad_()
        scores = pool_packed(_packed(short, ends, left_to_right), ends, "mean")
        agree("scores", scores, expected, SCORE_BOUND)
        (given,) = torch.autograd.grad((expected * weights).sum(), exact)
        (found,) = torch.autograd.grad((scores * weights).sum(), short)
        agree("gradients", found, given, GRADIENT_BOUND)
        # Attention is linear in its values: with one mask of dropout, they times the
        # gradient of half the squared result are that square (Euler's theorem).
        dropped = _packed(short, ends, left_to_right, dropout=0.5)
        (found,) = torch.autograd.grad(dropped, short, dropped.detach())
        products = (found[2].float() * short[2].float()).sum()
        agree("gradients of dropout", products, dropped.square().sum(), GRADIENT_BOUND)


def _one_by_one(
    states: Tensor, lengths: tuple[int, ...], left_to_right: bool
) -> list[Tensor]:
    """Return what the tokens of each text attend to, by the formula."""
    found = []
    for q, k, v in zip(*(x.split(lengths, dim=1) for x in states), strict=True):
        n = q.shape[1]
        earlier = torch.ones(n, n, dtype=torch.bool, device=q.device).tril()
        mask = earlier if left_to_right else None
        out = attend_plainly(q, k, v, mask, q.shape[-1] ** -0.5, 0.0)
        found.append(out.transpose(0, 1).flatten(1))
    return found


def _packed(
    states: Tensor, ends: Tensor, left_to_right: bool, dropout: float = 0.0
) -> Tensor:
    """Return the same of texts in one line, (n_tokens, width), float32."""
    query, key, value = states[:, None]
    out, _ = attend(
        torch.nn.Identity(),
        *(query, key, value, None),
        scaling=states.shape[-1] ** -0.5,
        dropout=dropout,
        cu_seq_lens=ends,
        longest=int(ends.diff().max()),
        left_to_right=left_to_right,
    )
    return out[0].flatten(1).float()


def _path(technique: Technique, device: torch.device) -> tuple[Technique, str]:
    return technique, f"{device.type}:{device.index or 0}"


def _run(
    technique: Technique,
    device: torch.device,
    check: Callable[..., None],
    kind: tuple[object, ...],
) -> None:
    try:
        check(device, *kind)
    except torch.OutOfMemoryError:
        return  # it tells nothing of the path, which may be taken later
    except Exception as error:  # of any kind: there is another way
        give_up(technique, device, error)
    else:
        _passed.add((_path(technique, device), kind))


def _described(device: torch.device) -> str:
    """Return the name of a device, and the versions that its kernels are of."""
    parts = [f"torch {torch.__version__}"]
    if torch.version.hip is not None:
        parts.append(f"ROCm {torch.version.hip}")
    elif torch.version.cuda is not None:
        parts.append(f"CUDA {torch.version.cuda}")
    with suppress(Exception):  # a device that is broken may not know its own name
        parts.insert(0, torch.get_device_module(device.type).get_device_name(device))
    return ", ".join(parts)
