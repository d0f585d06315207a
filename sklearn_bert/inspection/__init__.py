"""See why an estimator predicts what it predicts.

- `_subject`, `_reading`, `_goals`: from an estimator and X to numbers f to explain
- `_word_shares`, `_methods`: f by how much of each word is there, and scores of words
- `explain`, `faithfulness`: a data frame of words, and how well it tells what counts
"""

from sklearn_bert.inspection._explain import explain

__all__ = ["explain"]
