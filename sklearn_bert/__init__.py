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
- `save`, `load`, `model_card`, `onnx`, `stream`, `distributed`, `inspection`,
  `datasets`, `testing`: what is done with a fitted estimator

A name is imported when it is first used: `import sklearn_bert` imports no library.
"""

import importlib

# Not later: it has to see every fork of this process.
import sklearn_bert._process._fork  # noqa: F401
from sklearn_bert._version import __version__ as __version__

# Where each public name is defined; `__init__.pyi` says the same to type checkers.
_MODULES = {
    "BertClassifier": "estimators._classifier",
    "BertEmbedder": "estimators._embedder",
    "BertGenerator": "estimators._generator",
    "BertOutOfMemoryError": "compute._memory",
    "BertPretrainer": "estimators._pretrainer",
    "BertRegressor": "estimators._regressor",
    "BertTokenClassifier": "estimators._token_classifier",
    "CheckpointError": "_process._errors",
    "CheckpointNotFoundError": "_process._errors",
    "DamagedCheckpointError": "_process._errors",
    "GatedCheckpointError": "_process._errors",
    "OfflineCheckpointError": "_process._errors",
    "TruncationWarning": "text._reports",
    "UnknownWordsWarning": "text._reports",
    "WordPieceVocabulary": "estimators._wordpiece_vocabulary",
    "cache_info": "_process._cache",
    "load": "persistence",
    "model_card": "estimators._model_card",
    "save": "persistence",
    "stream": "distributed._stream",
}
_SUBPACKAGES = ("datasets", "distributed", "inspection", "onnx", "testing")

__all__ = sorted(["__version__", *_MODULES])


def __getattr__(name: str) -> object:
    """Import a public name, or a subpackage, when it is first asked for (PEP 562)."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"sklearn_bert.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'sklearn_bert' has no attribute {name!r}")
    module = importlib.import_module(f"sklearn_bert.{_MODULES[name]}")
    globals()[name] = value = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_SUBPACKAGES})
