# The names that `__init__.py` imports on demand, for type checkers.

from sklearn_bert import datasets as datasets
from sklearn_bert import distributed as distributed
from sklearn_bert import inspection as inspection
from sklearn_bert import onnx as onnx
from sklearn_bert import testing as testing
from sklearn_bert._process._cache import cache_info
from sklearn_bert._process._errors import (
    CheckpointError,
    CheckpointNotFoundError,
    DamagedCheckpointError,
    GatedCheckpointError,
    OfflineCheckpointError,
)
from sklearn_bert._version import __version__
from sklearn_bert.compute._memory import BertOutOfMemoryError
from sklearn_bert.distributed._stream import stream
from sklearn_bert.estimators._classifier import BertClassifier
from sklearn_bert.estimators._embedder import BertEmbedder
from sklearn_bert.estimators._generator import BertGenerator
from sklearn_bert.estimators._model_card import model_card
from sklearn_bert.estimators._pretrainer import BertPretrainer
from sklearn_bert.estimators._regressor import BertRegressor
from sklearn_bert.estimators._token_classifier import BertTokenClassifier
from sklearn_bert.estimators._wordpiece_vocabulary import WordPieceVocabulary
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
    "model_card",
    "save",
    "stream",
]
