"""First floor: token ids become vectors and scores.

Knows torch and transformers; knows no labels, no skorch and no scikit-learn.
"""

from sklearn_bert.model._checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointNotFoundError,
    DamagedCheckpointError,
    GatedCheckpointError,
    OfflineCheckpointError,
    load_checkpoint,
)
from sklearn_bert.model._files import (
    model_settings,
    pack_model,
    read_model,
    unpack_model,
    write_model,
)
from sklearn_bert.model._heads import TextModel
from sklearn_bert.model._pooling import POOLINGS

__all__ = [
    "POOLINGS",
    "Checkpoint",
    "CheckpointError",
    "CheckpointNotFoundError",
    "DamagedCheckpointError",
    "GatedCheckpointError",
    "OfflineCheckpointError",
    "TextModel",
    "load_checkpoint",
    "model_settings",
    "pack_model",
    "read_model",
    "unpack_model",
    "write_model",
]
