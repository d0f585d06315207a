# The names that `__init__.py` imports on demand, for type checkers.

from sklearn_bert.onnx._export import export
from sklearn_bert.onnx._model import load

__all__ = ["export", "load"]
