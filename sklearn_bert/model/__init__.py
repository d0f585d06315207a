"""First floor: token ids become vectors and scores.

Knows torch and transformers; knows no labels, no skorch and no scikit-learn.
"""

from sklearn_bert.model._adapter import add_lora
from sklearn_bert.model._attention import can_pack
from sklearn_bert.model._checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointNotFoundError,
    DamagedCheckpointError,
    GatedCheckpointError,
    OfflineCheckpointError,
    load_checkpoint,
)
from sklearn_bert.model._checkpointing import Checkpointing
from sklearn_bert.model._files import (
    model_settings,
    pack_model,
    read_model,
    unpack_model,
    write_model,
)
from sklearn_bert.model._heads import TextModel
from sklearn_bert.model._layers import layer_depths, split
from sklearn_bert.model._pooling import POOLINGS

__all__ = [
    "POOLINGS",
    "Checkpoint",
    "CheckpointError",
    "CheckpointNotFoundError",
    "Checkpointing",
    "DamagedCheckpointError",
    "GatedCheckpointError",
    "OfflineCheckpointError",
    "TextModel",
    "add_lora",
    "can_pack",
    "layer_depths",
    "load_checkpoint",
    "model_settings",
    "pack_model",
    "read_model",
    "split",
    "unpack_model",
    "write_model",
]
