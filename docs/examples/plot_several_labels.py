"""
Several labels per text, each with a threshold of its own
=========================================================

A support ticket has a category, and it came by some channel: here both are labels, and
each ticket has two of eight. :class:`~sklearn_bert.BertClassifier` gives every label a
probability of its own. Whether one half is the right threshold is another question, and
a matter of scikit-learn's tools.
"""

# %%
# An indicator of labels
# ----------------------
# One column per label, 1 where a text has it:

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import f1_score, precision_recall_curve
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import MultiLabelBinarizer

from sklearn_bert import BertClassifier, TruncationWarning
from sklearn_bert.datasets import load_support_tickets

warnings.simplefilter("ignore", TruncationWarning)
tickets = load_support_tickets()
train = tickets.frame[tickets.split == "train"]
test = tickets.frame[tickets.split == "test"]

binarizer = MultiLabelBinarizer()
Y = binarizer.fit_transform(zip(train["category"], train["channel"], strict=True))
Y_test = binarizer.transform(zip(test["category"], test["channel"], strict=True))
shares = Y.mean(axis=0).round(2).tolist()
print(Y.shape, dict(zip(binarizer.classes_, shares, strict=True)))

# %%
# Fit, and choose thresholds on texts that were not trained on
# ------------------------------------------------------------
# ``trainable="head"`` computes the vector of each text once, so that the folds cost
# next to nothing. Of each label the threshold with the best F1 is taken.

clf = BertClassifier(trainable="head", max_epochs=20, random_state=0)
proba = cross_val_predict(
    clf, train["message"].tolist(), Y, cv=5, method="predict_proba"
)


def best_threshold(y, scores):
    """The threshold at which F1 is highest."""
    precision, recall, thresholds = precision_recall_curve(y, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return thresholds[f1[:-1].argmax()]


thresholds = np.array(
    [best_threshold(y, scores) for y, scores in zip(Y.T, proba.T, strict=True)]
)

# %%
# What it changes
# ---------------
# Labels that most tickets lack gain most: at one half they are hardly ever given.

clf.fit(train["message"].tolist(), Y)
proba_test = clf.predict_proba(test["message"].tolist())
at_half = f1_score(Y_test, proba_test > 0.5, average=None, zero_division=0)
tuned = f1_score(Y_test, proba_test > thresholds, average=None, zero_division=0)
print(f"macro F1 at one half {at_half.mean():.3f}, tuned {tuned.mean():.3f}")

places = np.arange(len(binarizer.classes_))
figure, axes = plt.subplots(figsize=(8, 4))
axes.barh(places - 0.2, at_half, height=0.4, label="at one half", color="#9bbcf0")
axes.barh(places + 0.2, tuned, height=0.4, label="tuned", color="#3b7ddd")
axes.set_yticks(places, binarizer.classes_)
axes.invert_yaxis()
axes.set_xlabel("F1 on the test tickets")
axes.legend()
figure.tight_layout()
