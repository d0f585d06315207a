"""BERT as scikit-learn estimators.

From the ground up; imports point down only:

- `_process`: caches, locks, seeds: what belongs to the process
- `text`: X becomes rows of token ids (NumPy, data frames, tokenizers)
- `model`: token ids become vectors and scores (torch, transformers)
- `compute`: a model over many texts, on a device
- `training`: one training run (skorch)
- `targets`: y as a net learns it
- `estimators` (scikit-learn), in the order of a BERT's life: `WordPieceVocabulary`,
  `BertPretrainer`; `BertClassifier`, `BertRegressor`, `BertTokenClassifier`,
  `BertEmbedder`; `BertGenerator`
- `save`, `load`, `datasets`, `testing`: what is done with a fitted estimator
"""

from sklearn_bert._process._cache import cache_info
from sklearn_bert._version import __version__
from sklearn_bert.compute._device import BertOutOfMemoryError
from sklearn_bert.estimators._classifier import BertClassifier
from sklearn_bert.estimators._embedder import BertEmbedder
from sklearn_bert.estimators._generator import BertGenerator
from sklearn_bert.estimators._pretrainer import BertPretrainer
from sklearn_bert.estimators._regressor import BertRegressor
from sklearn_bert.estimators._token_classifier import BertTokenClassifier
from sklearn_bert.estimators._wordpiece_vocabulary import WordPieceVocabulary
from sklearn_bert.model._damage import (
    CheckpointError,
    CheckpointNotFoundError,
    DamagedCheckpointError,
    GatedCheckpointError,
    OfflineCheckpointError,
)
from sklearn_bert.persistence import load, save
from sklearn_bert.text._reports import TruncationWarning, UnknownWordsWarning

__all__ = [
    "BertClassifier",
    "BertEmbedder",
    "BertGenerator",
    "BertOutOfMemoryError",
    "BertPretrainer",
    "BertRegressor",
    "BertTokenClassifier",
    "CheckpointError",
    "CheckpointNotFoundError",
    "DamagedCheckpointError",
    "GatedCheckpointError",
    "OfflineCheckpointError",
    "TruncationWarning",
    "UnknownWordsWarning",
    "WordPieceVocabulary",
    "__version__",
    "cache_info",
    "load",
    "save",
]
