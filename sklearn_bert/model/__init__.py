"""First floor: token ids become vectors and scores.

Knows torch and transformers; knows no labels, no skorch and no scikit-learn.
"""
