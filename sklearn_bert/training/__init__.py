"""Second floor: one training run, and one forward pass over many texts.

The only window to skorch.
"""

from sklearn_bert.training._callbacks import BestWeights, FitProgress, FitTasks
from sklearn_bert.training._device import (
    available_device,
    resolve_device,
    resolve_precision,
)
from sklearn_bert.training._examples import Examples
from sklearn_bert.training._memory import BertOutOfMemoryError
from sklearn_bert.training._net import BertNet
from sklearn_bert.training._objectives import (
    ManyLabels,
    Numbers,
    Objective,
    OneLabel,
    WordTags,
)
from sklearn_bert.training._turn import device_turn

__all__ = [
    "BertNet",
    "BertOutOfMemoryError",
    "BestWeights",
    "Examples",
    "FitProgress",
    "FitTasks",
    "ManyLabels",
    "Numbers",
    "Objective",
    "OneLabel",
    "WordTags",
    "available_device",
    "device_turn",
    "resolve_device",
    "resolve_precision",
]
