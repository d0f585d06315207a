"""Second floor: one training run, and one forward pass over many texts.

The only window to skorch.
"""

from sklearn_bert.compute._device import (
    available_device,
    resolve_device,
    resolve_precision,
)
from sklearn_bert.compute._gpu_lock import device_turn
from sklearn_bert.compute._memory import BertOutOfMemoryError, give_back, is_shortage
from sklearn_bert.training._callbacks import BestWeights, FitProgress, FitTasks
from sklearn_bert.training._contrastive import OwnClass, OwnPartner, RightOrder
from sklearn_bert.training._examples import DrawnExamples, Examples, ViewedExamples
from sklearn_bert.training._losses import (
    Guesses,
    ManyLabels,
    Numbers,
    Objective,
    OneLabel,
    WordTags,
)
from sklearn_bert.training._net import BertNet
from sklearn_bert.training._user_callbacks import copy_callbacks

__all__ = [
    "BertNet",
    "BertOutOfMemoryError",
    "BestWeights",
    "DrawnExamples",
    "Examples",
    "FitProgress",
    "FitTasks",
    "Guesses",
    "ManyLabels",
    "Numbers",
    "Objective",
    "OneLabel",
    "OwnClass",
    "OwnPartner",
    "RightOrder",
    "ViewedExamples",
    "WordTags",
    "available_device",
    "copy_callbacks",
    "device_turn",
    "give_back",
    "is_shortage",
    "resolve_device",
    "resolve_precision",
]
