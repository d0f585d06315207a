"""The private names of scikit-learn that the package uses."""

from sklearn.base import _fit_context as fit_context
from sklearn.metrics._scorer import _Scorer as Scorer
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_params,
)
from sklearn.utils._repr_html.estimator import _VisualBlock as VisualBlock
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _get_feature_names as get_feature_names

__all__ = [
    "HasMethods",
    "Interval",
    "InvalidParameterError",
    "Scorer",
    "StrOptions",
    "VisualBlock",
    "check_sample_weight",
    "fit_context",
    "get_feature_names",
    "safe_indexing",
    "validate_params",
]
