"""y as a net learns it.

- `_labels`, `_numbers`, `_tags`, `_views`: classes, numbers, tags of words, pairs
- `_answers`: from scores back to labels, without torch or scikit-learn
- `_descriptions`: texts that say what the classes are
- `_entities`: the F1 of entities that tags mark
- `_sample_weight`, `_validation_split`: how much a row weighs, and which are held out
"""
