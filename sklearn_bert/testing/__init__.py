"""scikit-learn's common checks, restated for estimators of text: anybody's.

- `_registry`: what a check is, and which estimators it is for
- `_data`: the texts, words and targets that checks fit
- `_tools`: what checks have in common: fit a clone, ask it, compare its answers
- `_containers`, `_bad_input`, `_odd_strings`, `_rows`: X
- `_label_checks`, `_targets`, `_weights`: y and weights
- `_vectors`, `_word_checks`: transformers, and estimators that tag words
- `_state`, `_manners`, `_guests`: parameters and fitted state, the caller's process,
  and scikit-learn's own meta-estimators
- `_numbers_as_texts`, `_official`: scikit-learn's own checks, on numbers as texts
- `_run`: run them all
"""

from sklearn_bert.testing._run import (
    check_text_estimator,
    parametrize_with_text_checks,
)

__all__ = ["check_text_estimator", "parametrize_with_text_checks"]
