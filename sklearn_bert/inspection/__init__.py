"""See why an estimator predicts what it predicts.

- `_subject`, `_reading`, `_goals`: from an estimator and X to numbers f to explain
- `_word_shares`, `_methods`: f by how much of each word is there, and scores of words
- `explain`, `faithfulness`: a data frame of words, and how well it tells what counts
- `error_report`: a page of what a classifier gets wrong
- `TextAttributionDisplay`, `WordImportanceDisplay`, `TrainingHistoryDisplay`: pictures
"""

from sklearn_bert.inspection._error_report import error_report
from sklearn_bert.inspection._explain import explain
from sklearn_bert.inspection._faithfulness import faithfulness
from sklearn_bert.inspection._history_display import TrainingHistoryDisplay
from sklearn_bert.inspection._text_display import TextAttributionDisplay
from sklearn_bert.inspection._word_display import WordImportanceDisplay

__all__ = [
    "TextAttributionDisplay",
    "TrainingHistoryDisplay",
    "WordImportanceDisplay",
    "error_report",
    "explain",
    "faithfulness",
]
