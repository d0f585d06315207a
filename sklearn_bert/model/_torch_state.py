"""The default state of torch and transformers, whatever the caller has set.

Settings of the process and the thread, and the generator of random numbers: other
libraries are made to draw from that of this thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers.utils import logging

from sklearn_bert._process._fork import process_lock
from sklearn_bert._process._interrupts import interrupts_wait
from sklearn_bert._process._random import OWN, going_back
from sklearn_bert.model._attention import NAME, attend_plainly
from sklearn_bert.model._dropout import drop

# transformers' settings and torch's default dtype belong to the process, so only one
# thread at a time may change them.
_settings_lock = process_lock()


class _OfThread(threading.local):
    depth = 0  # how many `OwnDraws` the thread has entered


_thread = _OfThread()
# The functions of torch that take a `generator`. Those of torch.nn.init pass it on by
# name, also where another library has replaced them.
DRAWING = {
    *(
        getattr(Tensor, name)
        for name in (
            *("bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_"),
            *("normal_", "random_", "uniform_"),
        )
    ),
    *(torch.bernoulli, torch.multinomial, torch.normal, torch.poisson),
    *(torch.rand, torch.randint, torch.randn, torch.randperm),
}
# Those of them that fill a tensor, and what torch.nn.init hands to a mode as a whole.
FILLING = {
    *(func for func in DRAWING if func.__name__.endswith("_")),
    *(nn.init.kaiming_uniform_, nn.init.normal_, nn.init.uniform_),
}


@contextmanager
def own_torch_state() -> Iterator[None]:
    """Suspend the modes that the caller has set for this thread.

    These are `no_grad`, `inference_mode`, `autocast` and a default device.
    """
    with ExitStack() as stack:
        # What is made in inference mode can never learn, not even outside of it.
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda", "mps", "xpu"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


@contextmanager
def building() -> Iterator[None]:
    """Build networks in here: one thread at a time, from a known state of torch.

    While transformers reads a checkpoint, it changes settings of the process: it
    switches off the tying of weights and sets torch's default dtype. Another thread
    must not build a network meanwhile.
    """
    # An interrupt in torch's or transformers' own contexts would leave them entered.
    with _settings_lock, interrupts_wait(), own_torch_state(), OwnDraws():
        dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep progress bars and load reports off stderr; restore the caller's settings."""
    with building():
        # They belong to the process; the lock of `building` holds other threads off.
        verbosity = logging.get_verbosity()
        had_bar = logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if had_bar:
                logging.enable_progress_bar()


class OwnDraws(TorchFunctionMode):
    """Context in which torch draws on a CPU from the generator of this thread.

    It serves what other libraries draw: random initial weights, and dropout in the
    attention of a model family that keeps its own. Other threads are not affected.
    """

    def __enter__(self) -> OwnDraws:
        _thread.depth = _thread.depth + 1
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        _thread.depth = _thread.depth - 1
        super().__exit__(*error)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, with the generator if it draws random numbers."""
        kwargs = kwargs or {}
        generator = OWN.cpu
        if generator is not None:
            if func in DRAWING or "generator" in kwargs:
                is_on_cpu = _device_of(args, kwargs).type == "cpu"
                if is_on_cpu and kwargs.get("generator") is None:
                    kwargs = {**kwargs, "generator": generator}
            # These two draw inside of torch, which takes no generator for them.
            elif func is functional.dropout:
                func = _dropout
            elif func is functional.scaled_dot_product_attention:
                func = _attention
        return func(*args, **kwargs)


class Undrawn(TorchFunctionMode):
    """Context in which new weights are 0, for files overwrite them."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, but none that fills a tensor at random."""
        kwargs = kwargs or {}
        if func in FILLING:
            # Not what is in memory: `trunc_normal_` draws until all are within bounds.
            tensor = args[0] if args else kwargs["tensor"]
            tensor.detach().zero_()
            return tensor
        return func(*args, **kwargs)


def same_draws() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Return the contexts in which `torch.utils.checkpoint` runs forward and again.

    The second pass draws the numbers of the first. torch would set the generator of the
    process for it, which belongs to the caller.
    """
    # torch leaves the mode during `backward`, so the second pass enters it again.
    return nullcontext(), _again(going_back(), OwnDraws() if _thread.depth else None)


@contextmanager
def _again(
    same_numbers: AbstractContextManager[None], mode: OwnDraws | None
) -> Iterator[None]:
    with same_numbers, mode or nullcontext():
        yield


def draws_of(model: Any) -> AbstractContextManager[Any]:
    """Return the context in which a model draws from the generator of this thread."""
    encoder = model.encoder
    is_own = encoder is None or encoder.config._attn_implementation == NAME
    return nullcontext() if is_own else OwnDraws()


def _device_of(args: Any, kwargs: Any) -> torch.device:
    """Return the device on which a function draws."""
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            return value.device
    return torch.device("cpu")


def _dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    if input.device.type != "cpu" or inplace or not (training and 0 < p < 1):
        return functional.dropout(input, p, training, inplace)
    return drop(input, p)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if dropout_p > 0 and query.device.type == "cpu":
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        if is_causal:
            n_queries, n_keys = query.shape[-2], key.shape[-2]
            attn_mask = torch.ones(n_queries, n_keys, dtype=torch.bool).tril()
        if enable_gqa:  # several query heads share one head of keys and values
            n_sharing = query.shape[-3] // key.shape[-3]
            key = key.repeat_interleave(n_sharing, -3)
            value = value.repeat_interleave(n_sharing, -3)
        return attend_plainly(query, key, value, attn_mask, scale, dropout_p)
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask,
        dropout_p,
        is_causal,
        scale=scale,
        enable_gqa=enable_gqa,
    )
