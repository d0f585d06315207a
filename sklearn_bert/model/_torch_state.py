"""The default state of torch and transformers, whatever the caller has set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from transformers.utils import logging

from sklearn_bert._process._fork import process_lock
from sklearn_bert.model._draws import OwnDraws

# transformers' settings and torch's default dtype belong to the process, so only one
# thread at a time may change them.
_settings_lock = process_lock()


@contextmanager
def own_torch_state() -> Iterator[None]:
    """Suspend the modes that the caller has set for this thread.

    These are `no_grad`, `inference_mode`, `autocast` and a default device.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
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
    with _settings_lock, own_torch_state(), OwnDraws():
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
