"""Second floor: one training run, and one forward pass over many texts.

The only window to skorch.
"""

from sklearn_bert.training._callbacks import BestWeights, FitProgress
from sklearn_bert.training._device import (
    available_device,
    resolve_device,
    resolve_precision,
)
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._memory import BertOutOfMemoryError
from sklearn_bert.training._net import BertNet

__all__ = [
    "BertNet",
    "BertOutOfMemoryError",
    "BestWeights",
    "Examples",
    "FitProgress",
    "available_device",
    "resolve_device",
    "resolve_precision",
]
