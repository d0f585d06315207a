"""Serve a fitted estimator without torch: `export` it, and `load` the folder.

`load` needs numpy, tokenizers and onnxruntime alone; `export` needs the whole package.

- `_export`, `_check`, `_quantize`: from an estimator to a folder
- `_model`, `_session`, `_windows`: from a folder to answers
- `_manifest`: what both know of the folder
"""

import importlib

from sklearn_bert.onnx._model import load as load

# Imported when first asked for: it imports torch.
_MODULES = {"export": "_export"}

__all__ = ["export", "load"]


def __getattr__(name: str) -> object:
    """Import `export` when it is first asked for (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'sklearn_bert.onnx' has no attribute {name!r}")
    module = importlib.import_module(f"sklearn_bert.onnx.{_MODULES[name]}")
    globals()[name] = value = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
