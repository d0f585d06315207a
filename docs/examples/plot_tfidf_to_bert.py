"""
From TF-IDF to BERT in one line
===============================

An online shop sorts the messages of its customers into five classes. A pipeline of
TF-IDF and a logistic regression does it already. One line of it changes, and BERT reads
the messages; another line, and BERT learns from them.
"""

# %%
# What there is
# -------------
# The tickets come with the package, and so does the split: 340 messages to learn from,
# and 120 to test.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_bert import BertClassifier, BertEmbedder, TruncationWarning
from sklearn_bert.datasets import load_support_tickets
from sklearn_bert.inspection import WordImportanceDisplay

tickets = load_support_tickets().frame
train = tickets[tickets["split"] == "train"]
test = tickets[tickets["split"] == "test"]
train[["message", "category"]].head()

# %%
# The pipeline counts words:

words = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10))
words.fit(train["message"], train["category"])

# %%
# The one line
# ------------
# :class:`~sklearn_bert.BertEmbedder` takes the place of ``TfidfVectorizer``. It turns
# each message into a vector by a BERT that has read English before; the logistic
# regression stays. A warning would tell that some messages are longer than 64 tokens
# and were cut. What a customer wants shows in the first lines, so here it is ignored.

warnings.simplefilter("ignore", TruncationWarning)

vectors = make_pipeline(BertEmbedder(max_length=64), LogisticRegression(C=10))
vectors.fit(train["message"], train["category"])

# %%
# Fine-tuning
# -----------
# :class:`~sklearn_bert.BertClassifier` needs no regression behind it: it has a linear
# head, and trains BERT together with it.

tuned = BertClassifier(max_length=64, random_state=0)
tuned.fit(train["message"], train["category"])

# %%
# What it brings
# --------------

models = {
    "TF-IDF + regression": words,
    "BertEmbedder + regression": vectors,
    "BertClassifier": tuned,
}
right = [
    (model.predict(test["message"]) == test["category"]).to_numpy()
    for model in models.values()
]
accuracy = np.mean(right, axis=1)
error = np.std(right, axis=1) / len(test) ** 0.5

fig, ax = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
ax.barh(list(models), accuracy, xerr=error, color=["#CC79A7", "#009E73", "#D55E00"])
ax.bar_label(ax.containers[1], [f"{a:.2f}" for a in accuracy], padding=6)
ax.invert_yaxis()
ax.set(xlim=(0.5, 1), xlabel="accuracy on 120 test messages, with its standard error")

# %%
# Only one message in seven about a delivery contains that word. A model that counts
# words has to learn from 340 messages that "parcel" and "courier" belong there too; a
# pretrained one brings this along. Vectors and a regression are the cheaper attempt,
# because nothing in BERT is trained, and with so few test messages a difference of one
# or two points between two models says nothing.
#
# What it looks for
# -----------------
# The words that speak most for a class, over the test messages (:doc:`/inspection`):

WordImportanceDisplay.from_estimator(
    tuned,
    test["message"],
    target="delivery",
    method="gradient",
    n_words=10,
    min_count=3,
    random_state=0,
)
plt.show()
