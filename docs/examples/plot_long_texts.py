"""
Long texts
==========

A checkpoint reads so many tokens, and a text may have more. What is beyond the limit is
cut, or is read in a second window: ``long_text`` says which.
"""

# %%
# How long are the texts?
# -----------------------
# ``truncation_report_`` of a fitted estimator tells. The default checkpoint reads 256
# tokens, and few messages have more. To see what a limit does it is set lower here.

import warnings

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_bert import BertEmbedder, TruncationWarning
from sklearn_bert.datasets import load_support_tickets

warnings.simplefilter("ignore", TruncationWarning)
tickets = load_support_tickets().frame
train = tickets[tickets["split"] == "train"]
test = tickets[tickets["split"] == "test"]

embedder = BertEmbedder(max_length=16).fit(train["message"])
print(embedder.truncation_report_)

# %%
# Three ways to read
# ------------------
# ``"truncate"`` reads the beginning, ``"head_tail"`` the beginning and the end, and
# ``"window"`` all of it, piece by piece.

limits = [16, 32, 64, 128]
accuracy = {}
for long_text in ("truncate", "head_tail", "window"):
    for limit in limits:
        model = make_pipeline(
            BertEmbedder(max_length=limit, long_text=long_text),
            LogisticRegression(C=10, max_iter=1000),
        ).fit(train["message"], train["category"])
        accuracy[long_text, limit] = model.score(test["message"], test["category"])
accuracy = pd.Series(accuracy).unstack(level=0)[["truncate", "head_tail", "window"]]
accuracy.round(3)

# %%
# What is lost
# ------------

lengths = [
    len(ids) for ids in embedder.tokenizer_.backend.encode_batch(list(train["message"]))
]
fig, (above, below) = plt.subplots(
    2, sharex=True, figsize=(6.5, 5), height_ratios=[2, 1], layout="constrained"
)
colours = ["#CC79A7", "#0072B2", "#D55E00"]
for name, colour, marker in zip(accuracy, colours, "^so", strict=True):
    above.plot(accuracy.index, accuracy[name], marker=marker, color=colour, label=name)
above.set(ylabel="accuracy on the test messages")
above.legend(title="long_text")
below.hist(lengths, bins=40, color="gray")
below.set(
    xlabel="max_length, and tokens of a message", ylabel="messages", xlim=(0, 300)
)

# %%
# The lower the limit, the more of a message is lost, and the more ``"window"`` keeps.
# It takes time in proportion to the length. Where the limit is that of the checkpoint
# and most texts are longer, the difference is as large as it is here on the left:
# :doc:`/long_texts` has the figures for film reviews.
