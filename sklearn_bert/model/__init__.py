"""First floor: token ids become vectors and scores.

Knows torch and transformers; knows no labels, no skorch and no scikit-learn.
"""

from sklearn_bert.model._attention import can_pack
from sklearn_bert.model._checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointNotFoundError,
    DamagedCheckpointError,
    GatedCheckpointError,
    OfflineCheckpointError,
    load_checkpoint,
    read_tokenizer,
)
from sklearn_bert.model._draws import draws_of
from sklearn_bert.model._files import (
    model_settings,
    pack_model,
    read_model,
    unpack_model,
    write_model,
)
from sklearn_bert.model._language_model import (
    FOLLOWS,
    POOLER,
    LanguageModel,
    new_language_model,
)
from sklearn_bert.model._layers import can_split, layer_depths, split
from sklearn_bert.model._lora import add_lora
from sklearn_bert.model._pooling import POOLINGS
from sklearn_bert.model._post_processing import First, Normalize, linear_map
from sklearn_bert.model._recompute import Checkpointing, can_checkpoint, twice
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.model._torch_state import own_torch_state

__all__ = [
    "FOLLOWS",
    "POOLER",
    "POOLINGS",
    "Checkpoint",
    "CheckpointError",
    "CheckpointNotFoundError",
    "Checkpointing",
    "DamagedCheckpointError",
    "First",
    "GatedCheckpointError",
    "Normalize",
    "LanguageModel",
    "OfflineCheckpointError",
    "TextModel",
    "add_lora",
    "can_checkpoint",
    "can_pack",
    "can_split",
    "draws_of",
    "layer_depths",
    "linear_map",
    "load_checkpoint",
    "model_settings",
    "new_language_model",
    "own_torch_state",
    "pack_model",
    "read_model",
    "read_tokenizer",
    "split",
    "twice",
    "unpack_model",
    "write_model",
]
