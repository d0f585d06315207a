"""
Find label errors
=================

Labels that people gave are wrong here and there. A classifier that was fitted without a
text finds its label unlikely if it is wrong: cross-validation gives such probabilities
for all texts, and cleanlab makes a list of them, the worst first.
"""

# %%
# Plant some errors
# -----------------
# One label in twenty of the training messages is replaced by another, so that we know
# which to find.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import cross_val_predict

from sklearn_bert import BertClassifier, TruncationWarning
from sklearn_bert.datasets import load_support_tickets

warnings.simplefilter("ignore", TruncationWarning)
tickets = load_support_tickets().frame
train = tickets[tickets["split"] == "train"].reset_index(drop=True)

rng = np.random.default_rng(0)
classes, truth = np.unique(train["category"], return_inverse=True)
planted = rng.choice(len(train), len(train) // 20, replace=False)
given = truth.copy()
given[planted] = (given[planted] + rng.integers(1, 5, len(planted))) % 5
print(f"{len(planted)} of {len(train)} labels are wrong")

# %%
# Probabilities of texts not seen
# -------------------------------
# With ``trainable="head"`` BERT itself stays as it is. Each message passes through it
# once, in whatever fold it is.

clf = BertClassifier(trainable="head", max_length=128, random_state=0)
proba = cross_val_predict(
    clf, train["message"], classes[given], cv=5, method="predict_proba"
)

# %%
# Confident learning
# ------------------
# cleanlab counts how often a text of one class looks like one of another, and says how
# many of the labels, and which, are likely to be wrong.

issues = find_label_issues(
    given, proba, return_indices_ranked_by="self_confidence", n_jobs=1
)
found = np.isin(issues, planted)
print(f"{len(issues)} suspects, {found.sum()} of the {len(planted)} errors among them")

# %%
# How far must one read?
# ----------------------
# All messages in order of how well their label fits:

order = np.argsort(get_label_quality_scores(given, proba))
share_found = np.isin(order, planted).cumsum() / len(planted)
share_read = np.arange(1, len(order) + 1) / len(order)

fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.plot(share_read, share_found, color="#D55E00", linewidth=2.5, label="by cleanlab")
ax.plot([0, 1], [0, 1], color="gray", linestyle=":", label="in any order")
ax.set(xlabel="messages read", ylabel="label errors found", xlim=(0, 1), ylim=(0, 1.02))
ax.xaxis.set_major_formatter("{x:.0%}")
ax.yaxis.set_major_formatter("{x:.0%}")
ax.legend()

# %%
# The first ones, with the label that was given and the class that seems likelier:

for row in issues[:6]:
    text = " ".join(train["message"][row].split())[:70]
    likely = classes[proba[row].argmax()]
    print(f"{classes[given[row]]:9} -> {likely:9} {text}")

# %%
# What is left
# ------------
# Suspects that nobody planted are messages on the border of two classes. Which classes
# these are shows the confusion matrix of the true labels:

fig, ax = plt.subplots(figsize=(5, 4.5), layout="constrained")
ConfusionMatrixDisplay.from_predictions(
    train["category"],
    classes[proba.argmax(axis=1)],
    cmap="Blues",
    colorbar=False,
    xticks_rotation=30,
    ax=ax,
)
plt.show()

# %%
# :doc:`/inspection` shows how to see the words that made such a prediction.
