"""
Few labels
==========

How many messages must somebody label before a model is of use? None, if the classes can
be described; with a few per class the curves of three models part.
"""

# %%
# No label at all
# ---------------
# Without texts ``y`` is the list of the classes. A message has the class whose
# description is the most similar to it.

import warnings

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_bert import BertClassifier, BertEmbedder, TruncationWarning
from sklearn_bert.datasets import load_support_tickets

warnings.simplefilter("ignore", TruncationWarning)
tickets = load_support_tickets().frame
train = tickets[tickets["split"] == "train"]
test = tickets[tickets["split"] == "test"]

topics = {
    "account": "my account, my login or my password",
    "billing": "what I was charged, or an invoice",
    "delivery": "when a parcel arrives",
    "returns": "sending something back",
    "technical": "the app does not work",
}
described = BertClassifier(class_descriptions=topics, max_length=64, random_state=0)
described.fit(None, list(topics))
without_labels = described.score(test["message"], test["category"])
print(f"accuracy without a label: {without_labels:.2f}")

# %%
# One and eight per class
# -----------------------
# All models learn from the same messages. ``BertClassifier`` keeps the descriptions,
# which count as one text more of each class.

models = {
    "TF-IDF + regression": make_pipeline(TfidfVectorizer(), LogisticRegression(C=10)),
    "BertEmbedder + regression": make_pipeline(
        BertEmbedder(max_length=64), LogisticRegression(C=10)
    ),
    "BertClassifier with descriptions": described,
}
accuracy = {}
for n_labels in (1, 8):
    few = train.groupby("category").sample(n_labels, random_state=0)
    accuracy[n_labels] = {
        name: model.fit(few["message"], few["category"]).score(
            test["message"], test["category"]
        )
        for name, model in models.items()
    }
accuracy = pd.DataFrame(accuracy).T
accuracy.round(2)

# %%
# The curves
# ----------

fig, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
colours = ["#CC79A7", "#009E73", "#D55E00"]
for name, colour, marker in zip(accuracy, colours, "^so", strict=True):
    ax.plot([1, 2], accuracy[name], marker=marker, color=colour, label=name)
ax.plot([0, 1], [without_labels, accuracy.iloc[0, -1]], "o:", color=colours[-1])
ax.axhline(0.2, color="gray", linestyle=":")
ax.set_xticks(range(3), ["0", "1", "8"])
ax.set(xlabel="labelled messages per class", ylabel="accuracy on 120 test messages")
ax.legend()

# %%
# The dotted line at 0.2 is a guess. One draw of so few messages is uncertain by some
# points; :doc:`/index` has the mean over public sets and draws, and :doc:`/training`
# says how descriptions and texts without labels are used.
